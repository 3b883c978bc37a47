use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use ztna_model::secs;

/// Where the person's browser brings the answer of a sign-in (RFC 8252, 7.3): loopback by literal address, bound
/// before the browser opens, gone after the answer.
#[derive(Debug)]
pub(crate) struct Redirect {
    listener: TcpListener,
    /// `http://127.0.0.1:PORT`.
    origin: String,
    /// Connections that have asked for nothing yet: browsers open some to be quick, and others must not wait for them.
    asking: JoinSet<Option<Request>>,
}

/// Why there is nowhere for the browser to go.
#[derive(Debug, Error)]
#[error("no loopback port for the browser's answer: {0}")]
pub(crate) struct RedirectBindError(#[from] io::Error);

/// An answer that waits for its page.
#[derive(Debug)]
pub(crate) struct Brought {
    /// The whole address.
    pub(crate) address: String,
    browser: TcpStream,
}

/// What a browser asks for.
#[derive(Debug)]
struct Request {
    /// Path and query.
    target: String,
    browser: TcpStream,
}

impl Redirect {
    pub(crate) async fn bind() -> Result<Self, RedirectBindError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, origin, asking: JoinSet::new() })
    }

    /// The redirect URI.
    pub(crate) fn address(&self) -> String {
        format!("{}{PATH}", self.origin)
    }

    /// The next request that looks like an answer. Anything else is turned away.
    pub(crate) async fn next(&mut self) -> Brought {
        loop {
            let Request { target, browser } = self.next_request().await;
            if target.strip_prefix(PATH).is_some_and(|rest| rest.starts_with('?')) {
                return Brought { address: format!("{}{target}", self.origin), browser };
            }
            say(browser, &page("404 Not Found", "Nothing is here.")).await;
        }
    }

    /// Tells the person that they are signed in, at an address that has nothing of the answer: what the browser keeps
    /// as its history is harmless.
    pub(crate) async fn accept(mut self, brought: Brought) {
        say(brought.browser, SEE_DONE).await;
        let shown = async {
            loop {
                let Request { target, browser } = self.next_request().await;
                if target == DONE {
                    return say(browser, &page("200 OK", "You are signed in. You can close this window."))
                        .await;
                }
                say(browser, &page("404 Not Found", "Nothing is here.")).await;
            }
        };
        // A browser that does not come back has lost interest; its person is signed in all the same.
        let _ = timeout(LAST_WORD, shown).await;
    }

    async fn next_request(&mut self) -> Request {
        loop {
            tokio::select! {
                (browser, _) = ztna_net::tcp::accept(&self.listener), if self.asking.len() < MOST_ASKING => {
                    let host = self.origin.trim_start_matches("http://").to_owned();
                    self.asking.spawn(async move { timeout(PATIENCE, read(browser, &host)).await.ok()? });
                }
                Some(read) = self.asking.join_next() => {
                    if let Ok(Some(request)) = read {
                        return request;
                    }
                }
            }
        }
    }
}

impl Brought {
    /// Tells the person that this leads nowhere.
    pub(crate) async fn refuse(self) {
        let text = "This answer belongs to another sign-in. Go back to the connector and start again.";
        say(self.browser, &page("200 OK", text)).await;
    }
}

/// The request for a page of `host`. A site that has its name resolve to this machine asks for another.
async fn read(mut browser: TcpStream, host: &str) -> Option<Request> {
    let head = read_head(&mut browser).await.ok()?;
    let target = head.strip_prefix("GET ").and_then(|rest| rest.split_once(" HTTP/1."));
    let is_host = |line: &str| {
        let header = line.split_once(':');
        header.is_some_and(|(name, value)| name.eq_ignore_ascii_case("host") && value.trim() == host)
    };
    if let Some((target, _)) = target.filter(|_| head.lines().any(is_host)) {
        return Some(Request { target: target.to_owned(), browser });
    }
    say(browser, &page("404 Not Found", "Nothing is here.")).await;
    None
}

/// The browser may be gone; the sign-in goes on all the same.
async fn say(mut browser: TcpStream, text: &str) {
    let _ = browser.write_all(text.as_bytes()).await;
    let _ = browser.shutdown().await;
}

async fn read_head(browser: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        let read = browser.read_buf(&mut head).await?;
        if read == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn page(status: &str, text: &str) -> String {
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>OpenZTNA</title>\
         <body style=\"font:1.25rem system-ui;display:grid;place-content:center;min-height:90vh;text-align:center\">\
         <p>{text}</p>"
    );
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\
         Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

const PATH: &str = "/back";
/// Where the browser is sent afterwards.
const DONE: &str = "/signed-in";
const SEE_DONE: &str = "HTTP/1.1 303 See Other\r\nLocation: /signed-in\r\nContent-Length: 0\r\n\
    Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n";
const LONGEST_HEAD: usize = 16 * 1024;
const MOST_ASKING: usize = 16;
const PATIENCE: Duration = secs(10);
const LAST_WORD: Duration = secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    async fn browse(redirect: &Redirect, request: &str) -> TcpStream {
        let mut browser = TcpStream::connect(redirect.listener.local_addr().unwrap()).await.unwrap();
        browser.write_all(request.as_bytes()).await.unwrap();
        browser
    }

    async fn whole(mut browser: TcpStream) -> String {
        let mut text = String::new();
        browser.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn the_answer_comes_back_whole_and_the_browser_keeps_nothing_of_it() {
        let mut redirect = Redirect::bind().await.unwrap();
        let host = redirect.listener.local_addr().unwrap();
        // What is not the answer is turned away and does not end the wait; nor does who says nothing.
        let _silent = TcpStream::connect(host).await.unwrap();
        let strangers = [
            format!("GET /favicon.ico HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("POST /back?code=c HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            "GET /back?code=c HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
            format!("GET /back HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("GET /signed-in HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ];
        for stranger in &strangers {
            drop(browse(&redirect, stranger).await);
        }
        let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let wrong = browse(&redirect, &request("/back?code=another")).await;
        let brought = timeout(PATIENCE / 2, redirect.next()).await.expect("the silent one holds up nobody");
        brought.refuse().await;
        assert!(whole(wrong).await.contains("belongs to another sign-in"));

        let browser = browse(&redirect, &request("/back?code=c&state=s")).await;
        let brought = redirect.next().await;
        assert_eq!(brought.address, format!("http://{host}/back?code=c&state=s"));
        let accepted = tokio::spawn(redirect.accept(brought));
        let answer = whole(browser).await;
        assert!(
            answer.starts_with("HTTP/1.1 303") && answer.contains("Location: /signed-in\r\n"),
            "{answer}"
        );
        let mut browser = TcpStream::connect(host).await.unwrap();
        browser.write_all(request("/signed-in").as_bytes()).await.unwrap();
        let page = whole(browser).await;
        assert!(page.contains("signed in") && page.contains("no-store") && !page.contains("code"), "{page}");
        accepted.await.unwrap();
        assert!(TcpStream::connect(host).await.is_err(), "it is gone after the answer");
    }
}
