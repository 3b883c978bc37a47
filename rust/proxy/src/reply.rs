//! HTTP answers of the proxy's own (RFC 9112). They hold nothing that came from the app, so none can be made to
//! say what a stranger wrote.

use serde_json::json;

use crate::refusal::{Kind, Refusal, Row};

/// The answer to CONNECT after which bytes are passed through.
pub(crate) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    Close,
    KeepAlive,
}

/// The answer to a request that is refused; `bare` leaves the content out, as an answer to HEAD must.
pub(crate) fn refusal(refusal: &Refusal, after: After, bare: bool) -> Vec<u8> {
    let Row { status, phrase, title, proxy_error, socks: _ } = refusal.kind.row();
    if refusal.kind == Kind::Misdirected {
        return empty(status, phrase);
    }
    let content = problem(refusal, status, title);
    let mut answer = format!("HTTP/1.1 {status} {phrase}\r\n");
    if refusal.kind == Kind::Unauthenticated {
        answer += "Proxy-Authenticate: Basic realm=\"openztna\"\r\n";
    }
    if after == After::Close {
        answer += "Connection: close\r\n";
    }
    // CONNECT's own content is shown by no browser and no `curl`; this field is what `curl -v` prints of it.
    answer += &format!(
        "Proxy-Status: openztna; error={proxy_error}; details=\"{}\"\r\n\
         Content-Type: application/problem+json\r\n\
         Content-Length: {}\r\n\
         Cache-Control: no-store\r\n\r\n",
        refusal.sentence,
        content.len()
    );
    if !bare {
        answer += &content;
    }
    answer.into_bytes()
}

/// A page that found the port learns nothing from it, not even whose it is.
fn empty(status: u16, phrase: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} {phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

/// The problem document (RFC 9457).
fn problem(refusal: &Refusal, status: u16, title: &str) -> String {
    let problem = json!({
        "type": format!("urn:openztna:problem:{}", refusal.code),
        "title": title,
        "status": status,
        "detail": refusal.sentence,
        "reason": refusal.code,
        "fixes": refusal.fixes,
    });
    problem.to_string()
}

#[cfg(test)]
mod tests {
    use ztna_model::DenyReason;

    use super::*;
    use crate::verdict::Verdict;

    #[test]
    fn every_sentence_fits_between_the_quotes_of_a_field() {
        for reason in DenyReason::ALL {
            let refusal = Refusal::of(Verdict::denied(*reason)).unwrap();
            let fits = |byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            assert!(refusal.sentence.bytes().all(fits), "{reason:?}");
        }
    }
}
