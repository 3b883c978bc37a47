use std::collections::VecDeque;
use std::fmt;

use ztna_model::Secret;

use crate::destination::Destination;
use crate::head::{self, Head};
use crate::password::Password;
use crate::refusal::{Kind, Refusal};
use crate::reply::{self, After};
use crate::request::Request;
use crate::socks;
use crate::upstream::Upstream;
use crate::verdict::Verdict;

/// One local connection, from its first byte until it is a stream or closed.
///
/// *After each [`handle`](Self::handle) and [`answer`](Self::answer), drain [`poll`](Self::poll).* It holds at most
/// one request's head, 16 KiB. How long it may wait is the caller's to say, by
/// [`is_waiting_for_head`](Self::is_waiting_for_head).
///
/// ```text
///          0x05                  password            right
/// fresh ────────▶ greeting ────────────▶ credentials ──────▶ request ──┐
///   │ else                                                             ├──▶ asked ──▶ stream
///   └───────────▶ head ◀──┐ ────────────────────────────── right ──────┘      │
///                  └ 407 ─┘                anything else: refused and closed ◀┘
/// ```
pub struct Conversation {
    password: Password,
    state: State,
    /// What has come of the message that is being read.
    held: Vec<u8>,
    outputs: VecDeque<Output>,
}

/// What the caller is to do, in this order.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Write this to the app.
    Reply(Vec<u8>),
    /// Find out whether the app may go there, and call [`Conversation::answer`].
    Ask(Destination),
    /// From here on pass bytes through, both ways: to the application first `first`, then what the app sends,
    /// beginning with what [`Conversation::handle`] did not take, as far as `upstream` lets it pass.
    Stream {
        /// The rewritten head of a plain request; empty for a tunnel.
        first: Vec<u8>,
        /// How much of the rest may follow.
        upstream: Upstream,
    },
    /// It is over. Stop writing, then read and throw away for a moment before closing: a socket closed with unread
    /// bytes is reset, and the reply is lost with it.
    Close,
}

enum State {
    Fresh,
    Greeting,
    Credentials,
    Request,
    Head { challenges: u8 },
    Asked(Asked),
    Over,
}

/// How the answer is to be given.
enum Asked {
    Socks,
    Tunnel,
    Forward { first: Vec<u8>, upstream: Upstream, bare: bool },
}

impl Conversation {
    /// A connection just accepted. `secret` is the password to ask for; an empty one lets nobody in.
    pub fn new(secret: &Secret<String>) -> Self {
        let password = Password::new(secret);
        Self { password, state: State::Fresh, held: Vec::new(), outputs: VecDeque::new() }
    }

    /// Takes from what the app sent, and says how many bytes. The rest stays with the caller: it is to be offered
    /// again if the conversation goes on, and belongs to the stream if one begins. Bytes are taken one at a time,
    /// so that it can never matter how they arrive.
    #[must_use]
    pub fn handle(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for byte in bytes {
            if !self.is_waiting_for_head() {
                break;
            }
            self.take(*byte);
            taken += 1;
        }
        taken
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Answers the question asked by [`Output::Ask`]; without one it does nothing.
    pub fn answer(&mut self, verdict: Verdict) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked(asked) => self.tell(asked, Refusal::of(verdict)),
            state @ (State::Fresh
            | State::Greeting
            | State::Credentials
            | State::Request
            | State::Head { .. }
            | State::Over) => self.state = state,
        }
    }

    /// Whether the app is to send something before anything else can happen. An app that keeps this true for long
    /// is to be closed.
    pub const fn is_waiting_for_head(&self) -> bool {
        match self.state {
            State::Fresh | State::Greeting | State::Credentials | State::Request | State::Head { .. } => true,
            State::Asked(_) | State::Over => false,
        }
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.len()
    }

    fn take(&mut self, byte: u8) {
        self.held.push(byte);
        match self.state {
            State::Fresh if byte == socks::VERSION => self.state = State::Greeting,
            State::Fresh => self.read_head(0),
            State::Greeting => self.read_greeting(),
            State::Credentials => self.read_credentials(),
            State::Request => self.read_request(),
            State::Head { challenges } => self.read_head(challenges),
            State::Asked(_) | State::Over => {}
        }
    }

    fn read_greeting(&mut self) {
        match socks::offers_password(&self.held) {
            None => {}
            Some(true) => self.go_on(&socks::METHOD_PASSWORD, State::Credentials),
            Some(false) => self.close(socks::METHOD_NONE.to_vec()),
        }
    }

    fn read_credentials(&mut self) {
        let Some(given) = socks::password(&self.held) else { return };
        if given.is_some_and(|given| self.password.is(given)) {
            self.go_on(&socks::PASSWORD_RIGHT, State::Request);
        } else {
            self.close(socks::PASSWORD_WRONG.to_vec());
        }
    }

    fn read_request(&mut self) {
        match socks::destination(&self.held) {
            None => {}
            Some(Ok(destination)) => self.ask(destination, Asked::Socks),
            Some(Err(code)) => self.close(socks::reply(code).to_vec()),
        }
    }

    fn read_head(&mut self, challenges: u8) {
        self.state = State::Head { challenges };
        match head::is_whole(&self.held) {
            Ok(false) => {}
            Ok(true) => self.read_whole_head(challenges),
            Err(misuse) => self.refuse(&misuse.into(), false),
        }
    }

    fn read_whole_head(&mut self, challenges: u8) {
        let held = std::mem::take(&mut self.held);
        let head = match Head::parse(&held) {
            Ok(head) => head,
            Err(misuse) => return self.refuse(&misuse.into(), false),
        };
        let bare = head.method == "HEAD";
        match Request::read(&head, &self.password) {
            Ok(Request::Tunnel(destination)) => self.ask(destination, Asked::Tunnel),
            Ok(Request::Forward { destination, first, upstream }) => {
                self.ask(destination, Asked::Forward { first, upstream, bare });
            }
            Err(refusal) if refusal.kind == Kind::Unauthenticated && may_try_again(&head, challenges) => {
                let reply = reply::refusal(&refusal, After::KeepAlive, bare);
                self.go_on(&reply, State::Head { challenges: challenges + 1 });
            }
            Err(refusal) => self.refuse(&refusal, bare),
        }
    }

    fn tell(&mut self, asked: Asked, refusal: Option<Refusal>) {
        match (asked, refusal) {
            (Asked::Socks, None) => {
                self.stream(&socks::reply(socks::CONNECTED), Vec::new(), Upstream::ENDLESS);
            }
            (Asked::Tunnel, None) => self.stream(reply::ESTABLISHED, Vec::new(), Upstream::ENDLESS),
            (Asked::Forward { first, upstream, .. }, None) => self.stream(&[], first, upstream),
            (Asked::Socks, Some(refusal)) => self.close(socks::reply(refusal.kind.row().socks).to_vec()),
            (Asked::Tunnel, Some(refusal)) => self.refuse(&refusal, false),
            (Asked::Forward { bare, .. }, Some(refusal)) => self.refuse(&refusal, bare),
        }
    }

    fn go_on(&mut self, reply: &[u8], state: State) {
        self.outputs.push_back(Output::Reply(reply.to_vec()));
        self.held.clear();
        self.state = state;
    }

    fn ask(&mut self, destination: Destination, asked: Asked) {
        self.outputs.push_back(Output::Ask(destination));
        self.held = Vec::new();
        self.state = State::Asked(asked);
    }

    fn stream(&mut self, reply: &[u8], first: Vec<u8>, upstream: Upstream) {
        if !reply.is_empty() {
            self.outputs.push_back(Output::Reply(reply.to_vec()));
        }
        self.outputs.push_back(Output::Stream { first, upstream });
    }

    fn refuse(&mut self, refusal: &Refusal, bare: bool) {
        self.close(reply::refusal(refusal, After::Close, bare));
    }

    fn close(&mut self, reply: Vec<u8>) {
        self.outputs.extend([Output::Reply(reply), Output::Close]);
        self.held = Vec::new();
        self.state = State::Over;
    }
}

/// Whether the connection stays open after a 407. Not where a body is on its way, which would be read as the next
/// request; and not after CONNECT, whose client may already be sending what a stranger put into its tunnel
/// (RFC 9931, 8).
fn may_try_again(head: &Head<'_>, challenges: u8) -> bool {
    let has_body = head.body().map_or(true, |body| !body.is_over());
    challenges < MAX_CHALLENGES && head.is_persistent() && !has_body && head.method != "CONNECT"
}

const MAX_CHALLENGES: u8 = 3;

impl fmt::Debug for Conversation {
    /// Says how far it has come, and nothing that the app said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Fresh => "Fresh",
            State::Greeting => "Greeting",
            State::Credentials => "Credentials",
            State::Request => "Request",
            State::Head { .. } => "Head",
            State::Asked(_) => "Asked",
            State::Over => "Over",
        })
    }
}

impl fmt::Debug for Output {
    /// Counts bytes and does not show them: a head may hold cookies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(bytes) => write!(f, "Reply({} bytes)", bytes.len()),
            Self::Ask(destination) => write!(f, "Ask({:?} {destination})", destination.form),
            Self::Stream { first, upstream } => write!(f, "Stream({} bytes, {upstream:?})", first.len()),
            Self::Close => f.write_str("Close"),
        }
    }
}
