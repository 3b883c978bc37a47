//! Somebody else's WireGuard and TCP, `wireguard-go`, in the place of a device, and in the place of a gateway.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ztna_model::{Carrier, Protocol, Synthetic, WgPublic};
use ztna_netstack::{Event, StreamId};
use ztna_tunnel::{Refusal, wg_public};

use super::device::Device;
use super::site::{For, Site, application};
use super::*;

#[test]
fn wireguard_go_as_a_device_reaches_what_it_has_a_lease_for() {
    let wiki = web();
    let mut site = Site::new(&[&wiki.to_string()]);
    let (mut peer, mut device) = (Go::start(&DEVICE), Device::new());
    device.wg_pub = peer.public;
    let (gateway, carriers) = (site.link().hello.wg_pub, site.link().hello.carriers.clone());
    let Some(Carrier::Udp(at)) = carriers.first() else { panic!("{carriers:?}") };
    peer.ok(&format!("peer {gateway} {at} 0.0.0.0/0 ::/0"));

    site.grant(&device, &For::tcp(7, wiki));
    for host in [Synthetic::from_index(7).v4.to_string(), format!("[{}]", Synthetic::from_index(7).v6)] {
        assert_eq!(peer.ok(&format!("get http://{host}/bytes")), format!("200 {LENGTH} {}", peer.sum()));
        assert_eq!(peer.ok(&format!("post http://{host}/ {LENGTH}")), format!("200 {LENGTH}"));
    }
    // No lease: a reset, at once.
    let other = Synthetic::from_index(8).v4;
    let refusal = peer.ask(&format!("get http://{other}/bytes")).unwrap_err();
    assert!(refusal.contains("connection was refused"), "{refusal}");

    // A new session takes over from the old one.
    let before = peer.ok("handshake");
    peer.ok("rekey");
    let host = Synthetic::from_index(7).v4;
    assert_eq!(peer.ok(&format!("get http://{host}/bytes")), format!("200 {LENGTH} {}", peer.sum()));
    assert_ne!(peer.ok("handshake"), before);
    let plane = site.plane_when(|plane| plane.flows == 0);
    assert_eq!((plane.leases, plane.unsealed), (1, 0), "{plane:?}");
}

#[test]
fn wireguard_go_without_a_lease_hears_nothing() {
    let wiki = web();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut peer = Go::start(&DEVICE);
    let (gateway, carriers) = (site.link().hello.wg_pub, site.link().hello.carriers.clone());
    let Some(Carrier::Udp(at)) = carriers.first() else { panic!("{carriers:?}") };
    peer.ok(&format!("peer {gateway} {at} 0.0.0.0/0 ::/0"));
    peer.ok("rekey");
    let plane = site.plane_when(|plane| !plane.refused_datagrams.is_empty());
    assert!(plane.refused_datagrams.keys().eq([&Refusal::UnknownKey.to_string()]), "{plane:?}");
    assert_eq!(peer.ok("handshake"), "0.0");
}

#[test]
fn wireguard_go_as_a_gateway_serves_a_device() {
    let (mut peer, mut device) = (Go::start(&["10.77.0.1", "fd77::1"]), Device::new());
    peer.ok(&format!("peer {} - {}/32 {}/128", device.wg_pub, DEVICE[0], DEVICE[1]));
    peer.ok("serve");
    device.meet(peer.public, &[Carrier::Udp(([127, 0, 0, 1], peer.port).into())]);

    for host in ["10.77.0.1", "fd77::1"] {
        assert_eq!(fetch(&mut device, host, "GET /page HTTP/1.0\r\n\r\n", &[]), b"inside");
        let got = fetch(&mut device, host, &format!("GET /bytes?n={LENGTH} HTTP/1.0\r\n\r\n"), &[]);
        assert!(got == pattern(LENGTH), "{host}: {}", got.len());
    }
    // In the middle of what is posted, sessions are made anew. It is always a client that begins.
    let head = format!("POST /hash HTTP/1.0\r\nContent-Length: {LENGTH}\r\n\r\n");
    let stream = open(&mut device, "10.77.0.1");
    device.send(stream, head.as_bytes());
    let bytes = pattern(LENGTH);
    for chunk in bytes.chunks(LENGTH / 3 + 1) {
        device.send(stream, chunk);
        let (before, give_up) = (peer.ok("handshake"), Clock.now() + PATIENCE);
        device.reconnect();
        while peer.ok("handshake") == before {
            assert!(Clock.now() < give_up, "no new session");
            // It hears no more than fifty handshakes a second.
            device.idle_until(Clock.now() + ztna_model::millis(30));
        }
    }
    let sum = format!("{LENGTH} {}", peer.sum());
    assert_eq!(String::from_utf8(body(&mut device, stream)).unwrap(), sum);
}

/// What one stream moves between two of them, to be read beside what `speed` prints of ours; it is not judged.
#[test]
fn one_stream_between_two_of_them() {
    let (mut gateway, mut device) = (Go::start(&["10.77.0.1"]), Go::start(&DEVICE));
    gateway.ok(&format!("peer {} - {}/32", device.public, DEVICE[0]));
    gateway.ok("serve");
    device.ok(&format!("peer {} 127.0.0.1:{} 10.77.0.1/32", gateway.public, gateway.port));
    let seconds = if std::env::var_os("OPENZTNA_SPEED_MIB").is_some() { "5" } else { "0.2" };
    let rate = device.ok(&format!("stream http://10.77.0.1/bytes?n=1000000000000 {seconds}"));
    println!("wireguard-go, down: {:.2} Gbit/s ({seconds} s)", rate.parse::<f64>().unwrap() * 8.0 / 1e9);
}

/// The program under `tests/interop/wireguard`, running.
struct Go {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
    public: WgPublic,
    port: u16,
}

impl Go {
    fn start(addresses: &[impl AsRef<str>]) -> Self {
        let secret = Secret::new(SystemRandom::new().array());
        let program = program();
        let mut command = Command::new(&program);
        command.arg(WgPublic(*secret.expose()).to_string());
        command.args(addresses.iter().map(AsRef::as_ref));
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| {
            panic!(
                "`{}` does not start: {error}\n`./tests/run tests` builds it; by hand: \
                 cd tests/interop/wireguard && go build -o {0}",
                program.display()
            )
        });
        let (says, hears) = (BufReader::new(child.stdout.take().unwrap()), child.stdin.take().unwrap());
        let mut go = Self { child, says, hears, public: wg_public(&secret), port: 0 };
        go.port = go.answer().unwrap().parse().unwrap();
        go
    }

    /// What it says to a command that must succeed.
    fn ok(&mut self, command: &str) -> String {
        self.ask(command).unwrap_or_else(|error| panic!("`{command}`: {error}"))
    }

    fn ask(&mut self, command: &str) -> Result<String, String> {
        writeln!(self.hears, "{command}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        match line.trim_end_matches('\n').split_once(' ') {
            Some(("ok", answer)) => Ok(answer.into()),
            Some(("error", why)) => Err(why.into()),
            _ => panic!("wireguard-go ended, or said `{line}`"),
        }
    }

    /// The hash of all bytes that are sent here, by its own account.
    fn sum(&mut self) -> String {
        self.ok(&format!("sum {LENGTH}"))
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the tests' lane keeps the tools that it builds.
fn program() -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let tools = set("OPENZTNA_TOOLS").or_else(|| Some(cache()?.join("openztna")));
    tools.unwrap_or_default().join("bin/openztna-wireguard-go")
}

/// An application behind the gateway: `GET` gets all bytes, `POST` is told how many right ones it brought.
fn web() -> SocketAddr {
    application(|mut stream: TcpStream| {
        let mut request = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        while request.read_line(&mut head).unwrap_or(0) > 2 {
            let line = head.lines().last().unwrap().to_ascii_lowercase();
            length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
        }
        let answer = if head.starts_with("GET") {
            pattern(LENGTH)
        } else {
            let mut bytes = vec![0; length];
            request.read_exact(&mut bytes).unwrap();
            let right = bytes.iter().zip(pattern(length)).filter(|(got, meant)| **got == *meant);
            right.count().to_string().into_bytes()
        };
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len()).unwrap();
        stream.write_all(&answer).unwrap();
    })
}

fn open(device: &mut Device, host: &str) -> StreamId {
    let stream = device.dial_address(Protocol::Tcp, host.parse().unwrap(), 80);
    device.connected(stream);
    stream
}

fn fetch(device: &mut Device, host: &str, head: &str, bytes: &[u8]) -> Vec<u8> {
    let stream = open(device, host);
    device.send(stream, head.as_bytes());
    device.send(stream, bytes);
    body(device, stream)
}

/// What comes on `stream` behind the head of an answer, up to its end.
fn body(device: &mut Device, stream: StreamId) -> Vec<u8> {
    let (mut all, mut room) = (Vec::new(), vec![0; 1 << 20]);
    device.until(|device| {
        while let got @ 1.. = device.netstack.recv(stream, &mut room) {
            all.extend_from_slice(&room[..got]);
        }
        device.events.contains(&(stream, Event::PeerClosed)).then_some(())
    });
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(all.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&all[..end]));
    all.split_off(end + 4)
}

/// The bytes that both sides know: each is its place modulo 251.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

/// Every device's addresses inside a tunnel.
const DEVICE: [&str; 2] = ["198.19.0.1", "2001:2::1"];
const LENGTH: usize = 10_000_000;
