use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use ztna_api::problem::Problem;
use ztna_connector::status::ProxyStatus;
use ztna_model::{Time, secs};
use ztna_net::clock::Clock;

use super::trouble::{Trouble, While as _};

/// An application on Ana's machine, which reaches her work through the connector's local proxy (HTTP CONNECT).
#[derive(Clone, Debug)]
pub(crate) struct Application {
    proxy: SocketAddr,
    credentials: String,
}

/// What the proxy said.
pub(crate) enum Reached {
    /// There is a way: bytes pass.
    Open(TcpStream),
    /// There is none, and this is why.
    Denied(Box<Problem>),
}

/// A page, and how long it took.
pub(crate) struct Page {
    /// Its text, head and all.
    pub(crate) text: String,
    /// From the first byte sent to the proxy to the first byte of the page.
    pub(crate) first_byte: Duration,
}

impl Application {
    pub(crate) fn through(proxy: &ProxyStatus) -> Self {
        let credentials = STANDARD.encode(format!("openztna:{}", proxy.password));
        Self { proxy: proxy.address, credentials }
    }

    /// Asks for a way to `host:port`.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<Reached, Trouble> {
        let doing = format!("connecting to {host}:{port}");
        timeout(PATIENCE, self.ask(host, port, &doing)).await.while_doing(&doing)?
    }

    async fn ask(&self, host: &str, port: u16, doing: &str) -> Result<Reached, Trouble> {
        let mut stream = TcpStream::connect(self.proxy).await.while_doing(doing)?;
        let credentials = &self.credentials;
        let request = format!(
            "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.while_doing(doing)?;
        let head = read_head(&mut stream).await.while_doing(doing)?;
        if head.starts_with("HTTP/1.1 2") {
            return Ok(Reached::Open(stream));
        }
        let mut body = Vec::new();
        stream.take(LONGEST).read_to_end(&mut body).await.while_doing(doing)?;
        let problem = serde_json::from_slice(&body).while_doing(doing)?;
        Ok(Reached::Denied(Box::new(problem)))
    }

    /// Fetches the page at `http://host/`; none if that is denied.
    pub(crate) async fn page(&self, host: &str) -> Result<Result<Page, Box<Problem>>, Trouble> {
        let doing = format!("reading the page of {host}");
        let began = Clock.now();
        let mut stream = match self.connect(host, 80).await? {
            Reached::Open(stream) => stream,
            Reached::Denied(problem) => return Ok(Err(problem)),
        };
        stream.write_all(get(host, "/").as_bytes()).await.while_doing(&doing)?;
        let mut text = vec![0; 1];
        timeout(PATIENCE, stream.read_exact(&mut text)).await.while_doing(&doing)?.while_doing(&doing)?;
        let first_byte = Clock.now().since(began);
        let mut rest = stream.take(LONGEST);
        timeout(PATIENCE, rest.read_to_end(&mut text)).await.while_doing(&doing)?.while_doing(&doing)?;
        Ok(Ok(Page { text: String::from_utf8_lossy(&text).into_owned(), first_byte }))
    }

    /// Opens a flow to `host` that stays: what is sent comes back.
    pub(crate) async fn held(&self, host: &str) -> Result<TcpStream, Trouble> {
        self.begin(host, "/hold").await
    }

    /// Begins a download from `host` that never ends by itself.
    pub(crate) async fn download(&self, host: &str) -> Result<TcpStream, Trouble> {
        self.begin(host, "/flood").await
    }

    /// Begins an upload to `host` that never ends by itself.
    pub(crate) async fn upload(&self, host: &str) -> Result<TcpStream, Trouble> {
        self.begin(host, "/sink").await
    }

    async fn begin(&self, host: &str, path: &str) -> Result<TcpStream, Trouble> {
        let doing = format!("opening a flow to {host}");
        match self.connect(host, 80).await? {
            Reached::Open(mut stream) => {
                stream.write_all(get(host, path).as_bytes()).await.while_doing(&doing)?;
                let head = timeout(PATIENCE, read_head(&mut stream)).await.while_doing(&doing)?;
                head.while_doing(&doing)?;
                Ok(stream)
            }
            Reached::Denied(problem) => Err(Trouble::new(&doing, problem.title)),
        }
    }

    /// Waits until `host` can be reached; returns when that was.
    pub(crate) async fn until_reached(&self, host: &str, within: Duration) -> Result<Time, Trouble> {
        let give_up = Clock.now() + within;
        loop {
            match self.page(host).await {
                Ok(Ok(_)) => return Ok(Clock.now()),
                Ok(Err(problem)) if Clock.now() > give_up => {
                    return Err(Trouble::new(&format!("reaching {host} again"), problem.title));
                }
                Err(trouble) if Clock.now() > give_up => return Err(trouble),
                Ok(Err(_)) | Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    }
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// Reads up to the empty line, and not a byte further.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

const PATIENCE: Duration = secs(15);
const BREATH: Duration = ztna_model::millis(50);
const LONGEST: u64 = 1 << 20;
