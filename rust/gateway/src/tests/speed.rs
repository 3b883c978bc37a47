use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use ztna_model::Protocol;
use ztna_net::udp::Bind;
use ztna_netstack::StreamId;

use super::device::Device;
use super::nets::{Net, Nets};
use super::site::{For, Site, application_at};
use super::*;
use crate::config::ForwardingMode;
use crate::resolver::Resolver;

/// What one stream moves each way, checked byte by byte; the figures are printed, not judged: machines differ.
#[test]
fn one_stream_moves_all_its_bytes_each_way() {
    let bytes = megabytes() << 20;
    let [source, sink] = applications(bytes, || TcpListener::bind("127.0.0.1:0").unwrap());
    let mut site = Site::new(&[&source.to_string(), &sink.to_string()]);
    let device = site.device();
    move_bytes("loopback", site, device, [source, sink], bytes);
}

/// The same between machines, by sockets of the gateway's and through its kernel.
#[test]
fn one_stream_moves_all_its_bytes_between_machines() {
    for (way, forwarding) in [("sockets", ForwardingMode::Userspace), ("kernel", ForwardingMode::Tun)] {
        let nets = Nets::new();
        let bytes = megabytes() << 20;
        let listener = || nets.server.within(|| TcpListener::bind("10.78.0.2:0").unwrap());
        let applications = applications(bytes, listener);
        let mut site = site_between(&nets.gateway, forwarding);
        let device = site.introduce(nets.device.within(|| Device::bound(Bind::V4)));
        move_bytes(way, site, device, applications, bytes);
    }
}

fn site_between(net: &Net, forwarding: ForwardingMode) -> Site {
    net.within(|| {
        let mut site = Site::enrolled(&["10.78.0.0/24"]);
        site.config.forwarding = forwarding;
        site.config.udp.bind = Bind::V4;
        site.config.udp.port = 51_820;
        site.config.udp.advertise = vec!["10.77.0.1:51820".parse().unwrap()];
        site.start(Resolver::System);
        site
    })
}

/// One that says a lot, and one that hears a lot.
fn applications(bytes: usize, listener: impl Fn() -> TcpListener) -> [SocketAddr; 2] {
    let source = application_at(listener(), move |mut stream: TcpStream| {
        let chunk = [7; 1 << 17];
        while stream.write_all(&chunk).is_ok() {}
    });
    let sink = application_at(listener(), move |mut stream: TcpStream| {
        let (mut chunk, mut got) = (vec![0; 1 << 17], 0);
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            assert!(chunk[..length].iter().all(|byte| *byte == 7));
            got += length;
            if got == bytes {
                stream.write_all(b"!").unwrap(); // a device that has said all it has to say waits for nothing else
            }
        }
    });
    [source, sink]
}

fn move_bytes(way: &str, mut site: Site, mut device: Device, [source, sink]: [SocketAddr; 2], bytes: usize) {
    site.grant(&device, &For::tcp(1, source));
    site.grant(&device, &For::tcp(2, sink));

    let stream = connect(&mut device, 1);
    let (begun, mut left) = (Clock.now(), bytes);
    device.until(|device| {
        while let Some(more) = take(device, stream, &mut left) {
            assert!(more);
        }
        (left == 0).then_some(())
    });
    report(way, "down", bytes, begun);
    device.netstack.abort(stream);

    let stream = connect(&mut device, 2);
    let (begun, mut left) = (Clock.now(), bytes);
    device.until(|device| {
        if left > 0 {
            left -= device.netstack.send(stream, &[7; 1 << 17][..left.min(1 << 17)]);
        }
        (device.netstack.recv(stream, &mut [0; 1]) == 1).then_some(())
    });
    report(way, "up", bytes, begun);
}

fn connect(device: &mut Device, index: u16) -> StreamId {
    let stream = device.dial(Protocol::Tcp, index, 80);
    device.connected(stream);
    stream
}

/// Reads once: whether all was right, or nothing if there was nothing.
fn take(device: &mut Device, stream: StreamId, left: &mut usize) -> Option<bool> {
    let mut right = true;
    let taken = device.netstack.recv_with(stream, |bytes| {
        let taken = bytes.len().min(*left);
        right = bytes[..taken].iter().all(|byte| *byte == 7);
        taken
    });
    *left -= taken;
    (taken > 0).then_some(right)
}

fn report(by: &str, way: &str, bytes: usize, begun: ztna_model::Time) {
    let seconds = Clock.now().since(begun).as_secs_f64();
    println!("by {by}, {way}: {:.2} Gbit/s ({} MiB)", bytes as f64 * 8.0 / seconds / 1e9, bytes >> 20);
}

/// Few in a test, more where `OPENZTNA_SPEED_MIB` asks for a measurement.
fn megabytes() -> usize {
    std::env::var("OPENZTNA_SPEED_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}
