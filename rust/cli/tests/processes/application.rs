use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::process::PATIENCE;

/// Serves a page that names `name`, for as long as the test runs. `GET /many/N` brings N bytes, `PUT` takes what it is
/// given and says how many bytes that was, and `GET /stay` keeps the connection open. `GET /with/HOST` brings a page that
/// runs HOST's `/script`, which gives that page another title.
pub(crate) async fn serve(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, name));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, name: &str) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head);
    if let Some(number) = between(&head, "GET /many/", " ") {
        return send(&mut stream, number).await;
    }
    let page = match between(&head, "PUT ", " HTTP/1.1") {
        Some(_) => take(&mut stream, between(&head, "Content-Length: ", "\r\n")?).await?,
        None if head.starts_with("GET /script ") => format!("document.title = 'by the {name}';"),
        None => match between(&head, "GET /with/", " ") {
            Some(other) => format!("<title>alone</title><script src=\"http://{other}/script\"></script>"),
            None => format!("This is the {name}.\n"),
        },
    };
    let (length, kind) = (page.len(), if page.starts_with('<') { "text/html" } else { "text/plain" });
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{page}"
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    if head.starts_with("GET /stay ") {
        while stream.read_u8().await.is_ok() {} // for as long as the other side likes
    }
    stream.shutdown().await.ok()
}

async fn send(stream: &mut TcpStream, number: &str) -> Option<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {number}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let (chunk, mut left) = (vec![7; 1 << 17], number.parse::<usize>().ok()?);
    while left > 0 {
        left -= stream.write(chunk.get(..left).unwrap_or(&chunk)).await.ok()?;
    }
    stream.shutdown().await.ok()
}

async fn take(stream: &mut TcpStream, number: &str) -> Option<String> {
    let (mut chunk, mut left) = (vec![0; 1 << 17], number.parse::<usize>().ok()?);
    while left > 0 {
        left -= stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
    }
    Some(format!("{number} bytes\n"))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Where local applications reach their work.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) password: String,
}

impl Proxy {
    /// What a connector's status says of it.
    pub(crate) fn of(status: &Value) -> Self {
        let text = |key: &str| status["proxy"][key].as_str().unwrap_or_else(|| panic!("{status}"));
        Self { address: text("address").parse().unwrap(), password: text("password").to_owned() }
    }

    /// Fetches `http://HOST/`: the status, and the whole answer.
    pub(crate) async fn get(&self, host: &str) -> (u16, String) {
        let fetched = async {
            let mut stream = self.ask(host, "/").await;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await; // a reset ends it as well
            answer
        };
        let answer = timeout(PATIENCE, fetched).await.unwrap_or_else(|_| panic!("{host} does not answer"));
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or(0), answer)
    }

    /// Opens a connection to `host` that stays open, and reads until its page is there.
    pub(crate) async fn stay(&self, host: &str) -> TcpStream {
        let mut stream = self.ask(host, "/stay").await;
        let mut answer = Vec::new();
        let read = async {
            while !answer.ends_with(b".\n") {
                match stream.read_u8().await {
                    Ok(byte) => answer.push(byte),
                    Err(error) => panic!("{host}: {error} after {}", String::from_utf8_lossy(&answer)),
                }
            }
        };
        timeout(PATIENCE, read).await.unwrap();
        stream
    }

    async fn ask(&self, host: &str, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let credentials = STANDARD.encode(format!("openztna:{}", self.password));
        let request = format!(
            "GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {credentials}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}
