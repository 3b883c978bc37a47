mod answers; // what each verdict looks like
mod attacks; // who must get nothing
mod corpus; // what real clients send
mod properties; // what always holds
mod requests; // rows of HTTP requests

use crate::{Conversation, Destination, Output, Upstream, Verdict};

pub(crate) const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// `Proxy-Authorization` with the secret.
pub(crate) const AUTH: &str =
    "Proxy-Authorization: Basic YW5hOjBmMWUyZDNjNGI1YTY5Nzg4Nzk2YTViNGMzZDJlMWYw\r\n";

/// All that came of a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// Replies, one after the other.
    pub(crate) replies: Vec<u8>,
    pub(crate) asked: Option<Destination>,
    /// What reached the application.
    pub(crate) passed: Vec<u8>,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) is_closed: bool,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.replies).into_owned()
    }

    pub(crate) fn first_line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    pub(crate) fn destination(&self) -> String {
        self.asked.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn head(&self) -> String {
        String::from_utf8_lossy(&self.passed).into_owned()
    }
}

/// Offers `bytes` in pieces that end at `cuts`, answers any question with `verdict`, and does what a caller does.
pub(crate) fn converse_in_pieces(bytes: &[u8], cuts: &[usize], verdict: &Verdict) -> Seen {
    let mut conversation = Conversation::new(&SECRET.to_owned().into());
    let mut seen = Seen::default();
    let mut waiting = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        waiting.extend(&bytes[start..end]);
        start = end;
        let taken = conversation.handle(&waiting);
        waiting.drain(..taken);
        assert!(conversation.held_bytes() <= 16 * 1024);
        drain(&mut conversation, &mut seen, verdict);
        if let Some(upstream) = &mut seen.upstream {
            let count = upstream.pass(&waiting);
            seen.passed.extend(&waiting[..count]);
            waiting.clear();
        }
    }
    seen
}

fn drain(conversation: &mut Conversation, seen: &mut Seen, verdict: &Verdict) {
    while let Some(output) = conversation.poll() {
        assert!(!seen.is_closed && seen.upstream.is_none(), "{output:?} after the end");
        match output {
            Output::Reply(bytes) => seen.replies.extend(bytes),
            Output::Ask(destination) => {
                assert_eq!(seen.asked.replace(destination), None);
                assert!(!conversation.is_waiting_for_head());
                conversation.answer(verdict.clone());
            }
            Output::Stream { first, upstream } => {
                seen.passed.extend(first);
                seen.upstream = Some(upstream);
            }
            Output::Close => seen.is_closed = true,
        }
    }
}

pub(crate) fn converse(bytes: impl AsRef<[u8]>) -> Seen {
    converse_in_pieces(bytes.as_ref(), &[], &Verdict::Connected)
}

/// A whole SOCKS5 client: greeting, password, request by name.
pub(crate) fn socks(name: &str, port: u16) -> Vec<u8> {
    let mut bytes = b"\x05\x01\x02\x01\x03ana\x20".to_vec();
    bytes.extend(SECRET.as_bytes());
    bytes.extend([5, 1, 0, 3, u8::try_from(name.len()).unwrap()]);
    bytes.extend(name.as_bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}
