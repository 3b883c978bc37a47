use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::process::PATIENCE;

/// Serves a page that names `name`, for as long as the test runs.
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
    let page = format!("This is the {name}.\n");
    let length = page.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}");
    stream.write_all(answer.as_bytes()).await.ok()?;
    if String::from_utf8_lossy(&head).starts_with("GET /stay ") {
        while stream.read_u8().await.is_ok() {} // for as long as the other side likes
    }
    stream.shutdown().await.ok()
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
