//! The private applications of the demonstration: small HTTP servers that only the gateway dials.
//!
//! | path | what it does |
//! |---|---|
//! | `/` | a page |
//! | `/flood` | sends without end, as fast as the reader reads |
//! | `/hold` | sends a line, then keeps the connection open and counts what comes in |
//!
//! An application writes a line to its standard output for each connection that ends: the boot clock's milliseconds
//! of the last byte that came in, and how many there were. That is how the demonstration knows, from the far side of
//! the gateway, when the last byte came through.

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
            let mut connection = Connection { stream, clock: Clock, last: Time::ZERO, bytes: 0 };
            // However it ends, its end is told.
            let _ = connection.serve(&page).await;
            println!("ended {} {}", connection.last.as_millis(), connection.bytes);
        });
    }
}

struct Connection {
    stream: TcpStream,
    clock: Clock,
    last: Time,
    bytes: u64,
}

impl Connection {
    async fn serve(&mut self, page: &str) -> io::Result<()> {
        loop {
            let Some(target) = self.request().await? else { return Ok(()) };
            match target.as_str() {
                "/flood" => return self.flood().await,
                "/hold" => return self.hold().await,
                _ => self.stream.write_all(page.as_bytes()).await?,
            }
        }
    }

    /// The path of the next request, unless the other side is done.
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

    async fn hold(&mut self) -> io::Result<()> {
        self.stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nheld\n").await?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.stream.read(&mut chunk).await? {
                0 => return Ok(()),
                read => self.count(read),
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        self.last = self.clock.now();
        self.bytes += bytes as u64;
    }
}

fn page(name: &str) -> String {
    let body = format!("<!doctype html><title>{name}</title><h1>This is the {name}.</h1>\n");
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const LONGEST_HEAD: usize = 16 * 1024;
const CHUNK: usize = 64 * 1024;
