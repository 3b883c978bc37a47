//! True devices, each in a network of its test's own.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, set_capabilities, unshare_unsafe};
use ztna_model::{Inner, Synthetic, Time, millis, secs};
use ztna_packet::{Content, EchoDirection, parse};

use super::*;
use crate::clock::Clock;
use crate::inbox::{Inbox, Post};
use crate::poll::Poller;
use crate::udp::{Bind, Transmit, UdpPort};

const WIKI: Synthetic = Synthetic::from_index(7);

/// Runs `test` on a thread that has a network to itself, with nothing in it.
fn alone<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    #[expect(unsafe_code, reason = "a test that must not touch this machine's network makes its own")]
    let enter = || {
        // SAFETY: the thread shares its descriptors with all others, as before.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
            .expect("needs root: a network namespace could not be made");
        ip("link set lo up");
        test()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A device to which the ranges of names are routed, and what waits on it.
struct Desk {
    tun: TunPort,
    port: UdpPort,
    poller: Poller,
    inbox: Inbox<()>,
    _post: Post<()>,
}

impl Desk {
    fn new(config: &TunConfig) -> Self {
        Self::around(
            TunPort::create(config).unwrap_or_else(|cause| panic!("needs root: {cause}")),
            "openztna0",
        )
    }

    /// The shape of phones: somebody else has opened the device.
    fn adopted() -> Self {
        let config = TunConfig { offload: false, ..TunConfig::device(1_280) };
        let device = device::open(&config).unwrap_or_else(|cause| panic!("needs root: {cause}"));
        netlink::set_up(&device.name, &config).unwrap();
        Self::around(TunPort::from_fd(device.descriptor, 1_280).unwrap(), &device.name)
    }

    fn around(tun: TunPort, name: &str) -> Self {
        ip(&format!("route add 198.18.0.0/16 dev {name}"));
        ip(&format!("-6 route add 2001:2:0:1::/64 dev {name}"));
        let (mut poller, post, inbox) = Poller::new(Clock, 1).unwrap();
        let mut port = UdpPort::bind(Bind::LoopbackV4).unwrap();
        poller.add(&mut port).unwrap();
        poller.add_tun(&tun).unwrap();
        Self { tun, port, poller, inbox, _post: post }
    }

    /// Waits until the device is readable; false if it still is not after `patience`.
    fn wait(&mut self, patience: std::time::Duration) -> bool {
        let give_up = Clock.now() + patience;
        while self.port.is_readable() {
            self.port.recv(&mut crate::udp::Batch::new()).unwrap();
        }
        while !self.tun.is_readable() {
            let now = self
                .poller
                .wait_with(&mut self.port, Some(&mut self.tun), &self.inbox, Some(give_up))
                .unwrap();
            if now >= give_up {
                return false;
            }
        }
        true
    }

    /// The next burst that comes within a second: its packets, and whether it was cut.
    fn next(&mut self, buffer: &mut TunBuffer) -> Option<(Vec<Vec<u8>>, bool)> {
        while self.wait(secs(1)) {
            if let Some(mut burst) = self.tun.recv(buffer).unwrap() {
                let is_cut = burst.size().is_some();
                let mut pieces = burst.pieces().unwrap();
                let mut found = Vec::new();
                while let Some(piece) = pieces.write_next() {
                    assert!(parse(piece.bytes()).unwrap().checksums_hold());
                    found.push(piece.bytes().to_vec());
                }
                return Some((found, is_cut));
            }
        }
        None
    }
}

fn configs() -> [TunConfig; 2] {
    [true, false].map(|offload| TunConfig { offload, ..TunConfig::device(1_280) })
}

#[test]
fn a_device_has_what_it_should_have_and_nothing_to_say() {
    alone(|| {
        for config in configs() {
            let mut desk = Desk::new(&config);
            assert_eq!((desk.tun.name(), desk.tun.mtu()), (Some("openztna0"), 1_280));
            let link = ip("-o link show dev openztna0");
            assert!(
                link.contains("mtu 1280") && link.contains("qlen 1000") && link.contains(",UP"),
                "{link}"
            );
            let addresses = ip("-o addr show dev openztna0");
            assert!(addresses.contains("inet 198.19.0.1/32"), "{addresses}");
            assert!(addresses.contains("inet6 2001:2::1/128") && !addresses.contains("fe80"), "{addresses}");
            assert_eq!(ip("-6 route show dev openztna0").lines().count(), 1, "the test's own");
            assert!(desk.tun.recv(&mut TunBuffer::new()).unwrap().is_none());
            assert!(!desk.wait(millis(1_500)), "the kernel said something by itself");
        }
        assert!(!ip("link").contains("openztna"), "the device is gone with its port");
    });
}

#[test]
fn the_path_is_told() {
    alone(|| {
        let [on, off] = configs().map(|config| Desk::new(&config).tun.path().to_string());
        assert!(on.starts_with("offload TSO"), "{on}");
        assert_eq!(off, "merged writes");
        assert_eq!(Desk::adopted().tun.path(), TunPath::Merged);
    });
}

#[test]
fn datagrams_come_out_whole() {
    alone(|| {
        for config in configs() {
            let (mut desk, mut buffer) = (Desk::new(&config), TunBuffer::new());
            for (own, peer) in [
                (IpAddr::V4(Inner::DEVICE.v4), IpAddr::V4(WIKI.v4)),
                (IpAddr::V6(Inner::DEVICE.v6), IpAddr::V6(WIKI.v6)),
            ] {
                let socket = UdpSocket::bind((own, 0)).unwrap();
                socket.send_to(b"hello", (peer, 53)).unwrap();
                let (found, _) = desk.next(&mut buffer).unwrap();
                let packet = parse(&found[0]).unwrap();
                assert_eq!((packet.payload(), packet.destination()), (&b"hello"[..], peer));
                // And back, to the same socket.
                let flow = packet.flow().unwrap().reversed();
                let mut answer = [0; 100];
                let length = ztna_packet::datagram(flow, b"world!", &mut answer).unwrap();
                assert!(desk.tun.send(&answer[..length]));
                let (length, from) = socket.recv_from(&mut answer).unwrap();
                assert_eq!((&answer[..length], from), (&b"world!"[..], SocketAddr::from((peer, 53))));
            }
        }
    });
}

#[test]
fn many_datagrams_of_one_call_come_as_one_burst() {
    alone(|| {
        for config in configs() {
            let (mut desk, mut buffer) = (Desk::new(&config), TunBuffer::new());
            let mut sender = UdpPort::bind(Bind::V4).unwrap();
            let contents: Vec<u8> = (0..2_500_u32).map(|byte| byte as u8).collect();
            let destination = (WIKI.v4, 53).into();
            sender.send(&Transmit { destination, contents: &contents, segment_size: 1_000 }).unwrap();
            let mut carried = Vec::new();
            while carried.len() < contents.len() {
                let (found, is_cut) = desk.next(&mut buffer).unwrap();
                let long = matches!(desk.tun.path(), TunPath::Offload { datagrams: true, .. });
                assert_eq!((is_cut, found.len()), if long { (true, 3) } else { (false, 1) });
                carried.extend(found.iter().flat_map(|packet| parse(packet).unwrap().payload().to_vec()));
            }
            assert_eq!(carried, contents);
        }
    });
}

#[test]
fn echoes_are_answered_by_the_kernel() {
    alone(|| {
        for config in configs() {
            let (mut desk, mut buffer) = (Desk::new(&config), TunBuffer::new());
            // ICMP echo request 198.18.0.7 → 198.19.0.1, identifier 9.
            let mut request = [
                0x45, 0, 0, 32, 0, 0, 0, 0, 64, 1, 0, 0, 198, 18, 0, 7, 198, 19, 0, 1, 8, 0, 0, 0, 0, 9, 0,
                1, 1, 2, 3, 4,
            ];
            let sum = ztna_packet::checksum(&request[..20]);
            request[10..12].copy_from_slice(&sum.to_be_bytes());
            let sum = ztna_packet::checksum(&request[20..]);
            request[22..24].copy_from_slice(&sum.to_be_bytes());
            assert!(desk.tun.send(&request));
            let (found, _) = desk.next(&mut buffer).unwrap();
            let Content::Echo(echo) = parse(&found[0]).unwrap().content() else { panic!("{found:?}") };
            assert_eq!((echo.direction, echo.identifier), (EchoDirection::Reply, 9));
        }
    });
}

/// A connection of this machine with itself, every packet of it through the device: what applications send is read, cut,
/// turned round, joined and written.
#[test]
fn streams_pass_in_every_way_a_device_can_have() {
    let ways: [fn() -> Desk; 4] = [
        || Desk::new(&configs()[0]),
        || Desk::new(&configs()[1]),
        Desk::adopted,
        || {
            let mut desk = Desk::adopted();
            desk.tun.turn_off_joining();
            desk
        },
    ];
    for way in ways {
        for (own, peer) in [
            (IpAddr::V4(Inner::DEVICE.v4), IpAddr::V4(WIKI.v4)),
            (IpAddr::V6(Inner::DEVICE.v6), IpAddr::V6(WIKI.v6)),
        ] {
            alone(|| stream(way(), own, peer));
        }
    }
}

fn stream(mut desk: Desk, own: IpAddr, peer: IpAddr) {
    const LENGTH: usize = 4 << 20;
    let listener = TcpListener::bind((own, 443)).unwrap();
    let (done, is_done) = mpsc::channel();
    let network = rustix::fs::open("/proc/thread-self/ns/net", OFlags::CLOEXEC, Mode::empty()).unwrap();
    let enter = || rustix::thread::move_into_link_name_space(network.as_fd(), None).unwrap();
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
    let (mut read, mut written, mut cut) = (0, 0, 0);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut received = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
            assert!(
                received.len() == LENGTH && received.iter().enumerate().all(|(at, found)| *found == byte(at))
            );
            done.send(()).unwrap();
        });
        scope.spawn(move || {
            enter();
            let bytes: Vec<u8> = (0..LENGTH).map(byte).collect();
            TcpStream::connect((peer, 443)).unwrap().write_all(&bytes).unwrap();
        });
        let mut buffer = TunBuffer::new();
        let give_up = Clock.now() + secs(20);
        while is_done.try_recv().is_err() {
            assert!(Clock.now() < give_up, "{read} read, {written} written");
            desk.wait(millis(50));
            while let Some(mut burst) = desk.tun.recv(&mut buffer).unwrap() {
                read += 1;
                cut += usize::from(burst.size().is_some());
                let mut opened = Vec::new();
                let mut pieces = burst.pieces().unwrap();
                while let Some(piece) = pieces.write_next() {
                    opened.push(turned(piece.bytes()));
                }
                written += opened.len();
                let mut writer = desk.tun.writer();
                opened.iter().for_each(|packet| writer.write(packet));
                writer.finish();
            }
        }
    });
    assert_eq!(cut > 0, desk.tun.path().is_offload(), "{read} {written} {cut}");
    assert_eq!((desk.tun.lost(), desk.tun.unreadable()), (0, 0));
}

/// The packet from where it was going to where it came from. Its ports stay, and so do its checksums.
fn turned(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (at, length) = if packet[0] >> 4 == 4 { (12, 4) } else { (8, 16) };
    packet[at..at + 2 * length].rotate_left(length);
    packet
}

#[test]
fn the_reasons_that_there_is_no_device() {
    alone(|| {
        let named = |name: &str| TunConfig { name: name.into(), ..TunConfig::device(1_280) };
        let _first = TunPort::create(&named("work0")).unwrap_or_else(|cause| panic!("needs root: {cause}"));
        for name in ["work0", "lo"] {
            let again = TunPort::create(&named(name));
            assert!(matches!(&again, Err(TunError::NameTaken(taken)) if taken == name), "{again:?}");
        }
        assert!(matches!(TunPort::create(&named("a b")), Err(TunError::BadName(_))));
        let address = "ff02::1".parse().unwrap();
        let strange = TunPort::create(&TunConfig { addresses: vec![address], ..named("work1") });
        assert!(matches!(&strange, Err(TunError::Unconfigured { what: "its address", .. })), "{strange:?}");
        assert!(!ip("link").contains("work1"), "nothing is left of it");
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        assert!(matches!(TunPort::create(&named("work2")), Err(TunError::NoPrivilege)));
    });
}

/// By a process of its own: others open and close descriptors too.
#[test]
fn a_descriptor_is_closed_once() {
    const ALONE: &str = "OPENZTNA_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "tun::tests::a_descriptor_is_closed_once";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads", "1"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let check = |descriptor: OwnedFd| {
        let mut port = TunPort::from_fd(descriptor, 1_280).unwrap();
        assert_eq!(open(), before + 1);
        assert!(port.recv(&mut TunBuffer::new()).unwrap().is_none(), "it does not wait");
    };
    for _ in 0..1_000 {
        let (device, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        // Whatever is closed twice closes what came in its place.
        let other = OwnedFd::from(other);
        let before = open();
        drop(TunPort::from_fd(device.into(), 1_280).unwrap());
        assert_eq!(open(), before - 1);
        drop(other);
    }
    alone(|| {
        let config = TunConfig { offload: false, ..TunConfig::device(1_280) };
        for _ in 0..20 {
            check(device::open(&config).unwrap_or_else(|cause| panic!("needs root: {cause}")).descriptor);
        }
    });
    assert_eq!(open(), before);
}

#[test]
fn a_wait_ends_when_a_packet_comes() {
    alone(|| {
        let (mut desk, mut buffer) = (Desk::new(&configs()[0]), TunBuffer::new());
        assert!(desk.tun.recv(&mut buffer).unwrap().is_none() && !desk.wait(millis(20)));
        let socket = UdpSocket::bind((Inner::DEVICE.v4, 0)).unwrap();
        socket.send_to(b"x", (WIKI.v4, 53)).unwrap();
        let now = desk.poller.wait_with(&mut desk.port, Some(&mut desk.tun), &desk.inbox, None).unwrap();
        assert!(now > Time::ZERO && desk.tun.is_readable());
        // What is readable keeps the thread awake until all was read.
        desk.poller.wait_with(&mut desk.port, Some(&mut desk.tun), &desk.inbox, None).unwrap();
        assert!(desk.tun.recv(&mut buffer).unwrap().is_some());
        assert!(desk.tun.recv(&mut buffer).unwrap().is_none() && !desk.tun.is_readable());
    });
}
