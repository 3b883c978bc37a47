use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ztna_model::{Protocol, millis};

use super::device::Device;
use super::site::{For, Site, application};
use super::*;

/// More than all buffers between two ends come to: the kernel's at the application, the gateway's and the device's.
const BOUND: usize = 24 << 20;

#[test]
fn a_device_that_does_not_read_stops_the_application() {
    let sent = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&sent);
    let source = application(move |mut stream: TcpStream| {
        while stream.write_all(&[7; 1 << 16]).is_ok() {
            theirs.fetch_add(1 << 16, Ordering::SeqCst);
        }
    });
    let mut site = Site::new(&[&source.to_string()]);
    let mut device = site.device();
    site.grant(&device, &For::tcp(1, source));
    let stream = device.dial(Protocol::Tcp, 1, 80);
    device.connected(stream);
    let stalled = settled(&mut device, |_| sent.load(Ordering::SeqCst));
    assert!(stalled < BOUND, "{stalled}");
    let buffered = site.status().plane.buffered;
    assert!(buffered <= 2 << 20, "{buffered}");
    // It reads again: nothing is lost, and more comes.
    assert_eq!(device.receive(stream, stalled + (1 << 20)), vec![7; stalled + (1 << 20)]);
}

#[test]
fn an_application_that_does_not_read_stops_the_device() {
    let reads = Arc::new(AtomicBool::new(false));
    let got = Arc::new(AtomicUsize::new(0));
    let (may_read, heard) = (Arc::clone(&reads), Arc::clone(&got));
    let sink = application(move |mut stream: TcpStream| {
        while !may_read.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let mut chunk = [0; 1 << 16];
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            heard.fetch_add(length, Ordering::SeqCst);
        }
    });
    let mut site = Site::new(&[&sink.to_string()]);
    let mut device = site.device();
    site.grant(&device, &For::tcp(1, sink));
    let stream = device.dial(Protocol::Tcp, 1, 80);
    device.connected(stream);
    let given = Cell::new(0);
    settled(&mut device, |device| {
        given.set(given.get() + device.netstack.send(stream, &[7; 1 << 16]));
        given.get()
    });
    let given = given.get();
    assert!(given < BOUND, "{given}");
    reads.store(true, Ordering::SeqCst);
    device.until(|device| {
        device.idle_until(Clock.now() + millis(1));
        (got.load(Ordering::SeqCst) == given).then_some(())
    });
}

/// What `count` comes to once it does not grow any more.
fn settled(device: &mut Device, count: impl Fn(&mut Device) -> usize) -> usize {
    let (mut last, mut since) = (count(device), Clock.now());
    let began = since;
    while Clock.now().since(since) <= millis(500) {
        device.idle_until(Clock.now() + millis(2));
        let now = count(device);
        if now != last {
            (last, since) = (now, Clock.now());
        }
        assert!(since.since(began) < PATIENCE, "it does not come to rest: {last}");
    }
    last
}
