use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ztna_model::Protocol;
use ztna_netstack::StreamId;

use super::device::Device;
use super::site::{For, Site, application};
use super::*;

/// What one stream moves each way, checked byte by byte; the figures are printed, not judged: machines differ.
#[test]
fn one_stream_moves_all_its_bytes_each_way() {
    let bytes = megabytes() << 20;
    let source = application(move |mut stream: TcpStream| {
        let chunk = [7; 1 << 17];
        while stream.write_all(&chunk).is_ok() {}
    });
    let sink = application(move |mut stream: TcpStream| {
        let (mut chunk, mut got) = (vec![0; 1 << 17], 0);
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            assert!(chunk[..length].iter().all(|byte| *byte == 7));
            got += length;
            if got == bytes {
                stream.write_all(b"!").unwrap(); // a device that has said all it has to say waits for nothing else
            }
        }
    });
    let mut site = Site::new(&[&source.to_string(), &sink.to_string()]);
    let mut device = site.device();
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
    report("down", bytes, begun);
    device.netstack.abort(stream);

    let stream = connect(&mut device, 2);
    let (begun, mut left) = (Clock.now(), bytes);
    device.until(|device| {
        if left > 0 {
            left -= device.netstack.send(stream, &[7; 1 << 17][..left.min(1 << 17)]);
        }
        (device.netstack.recv(stream, &mut [0; 1]) == 1).then_some(())
    });
    report("up", bytes, begun);
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

fn report(way: &str, bytes: usize, begun: ztna_model::Time) {
    let seconds = Clock.now().since(begun).as_secs_f64();
    println!("{way}: {:.2} Gbit/s ({} MiB)", bytes as f64 * 8.0 / seconds / 1e9, bytes >> 20);
}

/// Few in a test, more where `OPENZTNA_SPEED_MIB` asks for a measurement.
fn megabytes() -> usize {
    std::env::var("OPENZTNA_SPEED_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}
