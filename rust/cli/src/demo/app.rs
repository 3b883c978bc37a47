//! The private applications of the demonstration: small HTTP servers that only the gateway dials.
//!
//! | path | what it does |
//! |---|---|
//! | `/` | a page |
//! | `/flood` | sends without end, as fast as the reader reads |
//! | `/sink` | takes all that comes |
//! | `/hold` | keeps the connection open and sends back what comes in |
//!
//! An application writes a line to its standard output for each connection that ends: what it was about, when the last
//! byte came in and when it ended, in microseconds of the boot clock, and how many bytes there were. That is how the
//! demonstration knows, from the far side of the gateway, when the last byte came through.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use ztna_model::Time;
use ztna_net::clock::Clock;

/// Serves on `address` until the process ends. Prints the address it really has first.
pub(crate) async fn serve(name: &str, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening {}", listener.local_addr()?);
    let page = page(name);
    loop {
        let (stream, _) = ztna_net::tcp::accept(&listener).await;
        let page = page.clone();
        tokio::spawn(async move {
            let mut connection =
                Connection { stream, clock: Clock, path: String::new(), last: Time::ZERO, bytes: 0 };
            // However it ends, its end is told.
            let _ = connection.serve(&page).await;
            let Connection { path, last, bytes, .. } = connection;
            println!("ended {path} {} {} {bytes}", micros(last), micros(Clock.now()));
        });
    }
}

struct Connection {
    stream: TcpStream,
    clock: Clock,
    path: String,
    last: Time,
    bytes: u64,
}

impl Connection {
    async fn serve(&mut self, page: &str) -> io::Result<()> {
        let Some(path) = self.request().await? else { return Ok(()) };
        self.path.clone_from(&path);
        match path.as_str() {
            "/flood" => self.flood().await,
            "/sink" => self.take_in(false).await,
            "/hold" => self.take_in(true).await,
            _ => {
                self.stream.write_all(page.as_bytes()).await?;
                self.stream.shutdown().await
            }
        }
    }

    /// The path of the request, unless the other side is done.
    async fn request(&mut self) -> io::Result<Option<String>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 1];
            if self.stream.read(&mut byte).await? == 0 || head.len() > LONGEST_HEAD {
                return Ok(None);
            }
            self.count(1);
            head.extend_from_slice(&byte);
        }
        let head = String::from_utf8_lossy(&head);
        Ok(head.split(' ').nth(1).map(str::to_owned))
    }

    async fn flood(&mut self) -> io::Result<()> {
        self.stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
        let chunk = vec![b'.'; CHUNK];
        loop {
            self.stream.write_all(&chunk).await?;
        }
    }

    async fn take_in(&mut self, sends_back: bool) -> io::Result<()> {
        self.stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.stream.read(&mut chunk).await? {
                0 => return Ok(()),
                read => {
                    self.count(read);
                    if !sends_back {
                        continue;
                    }
                    self.stream.write_all(chunk.get(..read).unwrap_or_default()).await?;
                }
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        self.last = self.clock.now();
        self.bytes += bytes as u64;
    }
}

/// Microseconds of the boot clock.
const fn micros(time: Time) -> u64 {
    time.as_nanos() / 1_000
}

fn page(name: &str) -> String {
    let body = format!("<!doctype html><title>{name}</title><h1>This is the {name}.</h1>\n");
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const LONGEST_HEAD: usize = 16 * 1024;
const CHUNK: usize = 64 * 1024;
