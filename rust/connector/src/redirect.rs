use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use ztna_model::secs;

/// Where the person's browser brings the answer of a sign-in (RFC 8252, 7.3): loopback by literal address, bound
/// before the browser opens, gone after the answer.
#[derive(Debug)]
pub(crate) struct Redirect {
    listener: TcpListener,
    address: String,
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

impl Redirect {
    pub(crate) async fn bind() -> Result<Self, RedirectBindError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = format!("http://{}{PATH}", listener.local_addr()?);
        Ok(Self { listener, address })
    }

    /// The redirect URI.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The next request that looks like an answer. Anything else is turned away.
    pub(crate) async fn next(&self) -> Brought {
        loop {
            let (browser, _) = ztna_net::tcp::accept(&self.listener).await;
            if let Ok(Some(brought)) = timeout(PATIENCE, self.read(browser)).await {
                return brought;
            }
        }
    }

    async fn read(&self, mut browser: TcpStream) -> Option<Brought> {
        let head = read_head(&mut browser).await.ok()?;
        let target =
            head.strip_prefix("GET ").and_then(|rest| rest.split_once(" HTTP/1.")).map(|(target, _)| target);
        let origin = self.address.strip_suffix(PATH).unwrap_or_default();
        let host = origin.strip_prefix("http://").unwrap_or_default();
        let for_us = head.lines().any(|line| {
            line.split_once(':')
                .is_some_and(|(name, value)| name.eq_ignore_ascii_case("host") && value.trim() == host)
        });
        let query = target.and_then(|target| target.strip_prefix(PATH)).filter(|rest| rest.starts_with('?'));
        let Some(query) = query.filter(|_| for_us) else {
            let _ = browser.write_all(page("404 Not Found", "Nothing is here.").as_bytes()).await;
            return None;
        };
        Some(Brought { address: format!("{}{query}", self.address), browser })
    }
}

impl Brought {
    /// Shows the person how it went, in a page that leaves no trace of the answer.
    pub(crate) async fn answer(mut self, went_well: bool) {
        let text = if went_well {
            "You are signed in. You can close this window."
        } else {
            "This answer belongs to another sign-in. Go back to the connector and start again."
        };
        // The browser may be gone; the sign-in goes on all the same.
        let _ = self.browser.write_all(page("200 OK", text).as_bytes()).await;
        let _ = self.browser.shutdown().await;
    }
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
const LONGEST_HEAD: usize = 16 * 1024;
const PATIENCE: Duration = secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    async fn browse(redirect: &Redirect, request: &str) -> TcpStream {
        let mut browser = TcpStream::connect(redirect.listener.local_addr().unwrap()).await.unwrap();
        browser.write_all(request.as_bytes()).await.unwrap();
        browser
    }

    #[tokio::test]
    async fn the_answer_comes_back_whole_and_the_page_keeps_nothing_of_it() {
        let redirect = Redirect::bind().await.unwrap();
        let host = redirect.listener.local_addr().unwrap();
        // What is not the answer is turned away and does not end the wait.
        let strangers = [
            format!("GET /favicon.ico HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("POST /back?code=c HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            "GET /back?code=c HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
            format!("GET /back HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ];
        for stranger in &strangers {
            drop(browse(&redirect, stranger).await);
        }
        let mut browser =
            browse(&redirect, &format!("GET /back?code=c&state=s HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let brought = redirect.next().await;
        assert_eq!(brought.address, format!("http://{host}/back?code=c&state=s"));
        brought.answer(true).await;
        let mut page = String::new();
        browser.read_to_string(&mut page).await.unwrap();
        assert!(page.contains("signed in") && page.contains("no-store") && !page.contains("code"), "{page}");
    }
}
