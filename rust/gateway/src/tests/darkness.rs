use std::io::Read as _;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ztna_gate::Reach;
use ztna_model::{Carrier, Holder, Protocol, millis};
use ztna_net::udp::Bind;

use super::device::Device;
use super::site::{For, Site, echo};
use super::*;
use crate::config::{Config, UdpConfig};

#[test]
fn p5_8_an_unknown_key_hears_nothing() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut known = site.device();
    let mut unknown = site.device();
    let Carrier::Udp(gateway) = site.link().hello.carriers[0];
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    noise.set_nonblocking(true).unwrap();
    for datagram in [&[][..], &[0; 1], &[1, 0, 0, 0], &[1; 148], &[2; 92], &[3; 64], &[4; 1280], &[255; 1500]]
    {
        noise.send_to(datagram, gateway).unwrap();
    }
    unknown.announce();
    unknown.dial(Protocol::Tcp, 1, 80);
    unknown.idle_until(Clock.now() + millis(100));

    site.grant(&known, &For::tcp(1, wiki));
    let stream = known.dial(Protocol::Tcp, 1, 80);
    known.connected(stream);
    // All that came before has been looked at by now.
    assert_eq!(noise.recv(&mut [0; 2048]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(unknown.heard, 0);
    let refused = site.status().plane.refused_datagrams;
    assert!(refused["no peer has this key"] >= 1, "{refused:?}");
}

#[test]
fn c02_a_lease_opens_the_door_to_its_own_key_alone() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut ana = site.device();
    let mut mallory = site.device();
    let lease = site.grant(&ana, &For::tcp(1, wiki));
    // The same right for another session, and then for another key: the first has its holder, the second none.
    let stolen = Lease { id: LeaseId([9; 16]), sid: mallory.sid, ..lease.clone() };
    assert_eq!(site.offer(&stolen), Err(LeaseError::KeyTaken));
    let Holder::Tunnel { statement, .. } = lease.holder;
    let holder = Holder::Tunnel { wg_pub: mallory.wg_pub, statement };
    assert_eq!(site.offer(&Lease { holder, ..stolen }), Err(LeaseError::BadStatement));
    mallory.dial(Protocol::Tcp, 1, 80);
    mallory.idle_until(Clock.now() + millis(100));
    let stream = ana.dial(Protocol::Tcp, 1, 80);
    ana.connected(stream);
    assert_eq!(mallory.heard, 0);
}

#[test]
fn two_devices_never_meet() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut devices: Vec<Device> = (0..2).map(|_| site.device()).collect();
    for device in &devices {
        site.grant(device, &For::tcp(1, wiki));
    }
    // The same addresses and the same ports, in two tunnels.
    let streams: Vec<_> = devices.iter_mut().map(|device| device.dial(Protocol::Tcp, 1, 80)).collect();
    for (device, stream) in devices.iter_mut().zip(&streams) {
        device.connected(*stream);
    }
    for (number, (device, stream)) in (1..).zip(devices.iter_mut().zip(&streams)) {
        device.send(*stream, &[number; 1000]);
        assert_eq!(device.receive(*stream, 1000), [number; 1000]);
    }
    assert_eq!(site.status().plane.sessions, 2);
}

/// The gateway of [`a_gateway_listens_on_no_tcp_port_and_has_one_udp_socket`], a process of its own. It runs until its
/// standard input ends; by itself, this is no test.
#[test]
fn gateway_process() {
    let Some(state_dir) = std::env::var_os(STATE_DIR) else { return };
    let config = Config {
        state_dir: state_dir.into(),
        reach: Reach::new(vec!["127.0.0.1:9".parse().unwrap()]),
        udp: UdpConfig { bind: Bind::LoopbackV4, ..UdpConfig::default() },
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let told_to_end = async {
        let read = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        read.await.unwrap().unwrap();
    };
    runtime.block_on(crate::run(config, told_to_end)).unwrap();
}

#[test]
fn a_gateway_listens_on_no_tcp_port_and_has_one_udp_socket() {
    let mut site = Site::enrolled(&[]);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["tests::darkness::gateway_process", "--exact"])
        .env(STATE_DIR, site.home.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let link = site.runtime.block_on(site.broker.stream());
    let Carrier::Udp(advertised) = link.hello.carriers[0];
    let listening = sockets(&child, &["tcp", "tcp6"]).into_iter().filter(|socket| socket.state == LISTENING);
    assert_eq!(listening.count(), 0);
    let open = sockets(&child, &["udp", "udp6", "udplite", "raw", "raw6"]);
    assert_eq!(open.iter().map(|socket| socket.port).collect::<Vec<_>>(), [advertised.port()]);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

struct Socket {
    port: u16,
    state: u8,
}

/// The sockets of `child` in these tables of its network.
fn sockets(child: &Child, tables: &[&str]) -> Vec<Socket> {
    let process = Path::new("/proc").join(child.id().to_string());
    let links = std::fs::read_dir(process.join("fd")).unwrap();
    // A descriptor may be gone by the time it is looked at.
    let own: Vec<String> = links
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let read = |table: &&str| std::fs::read_to_string(process.join("net").join(table)).unwrap_or_default();
    let rows = tables.iter().map(read).collect::<String>();
    rows.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(9).is_some_and(|inode| own.iter().any(|ours| ours == inode)))
        .map(|fields| {
            let port = fields[1].rsplit(':').next().unwrap();
            Socket {
                port: u16::from_str_radix(port, 16).unwrap(),
                state: u8::from_str_radix(fields[3], 16).unwrap(),
            }
        })
        .collect()
}

const STATE_DIR: &str = "ZTNA_GATEWAY_TEST_STATE_DIR";
const LISTENING: u8 = 0x0a;
