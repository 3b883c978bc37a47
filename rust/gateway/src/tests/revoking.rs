use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ztna_api::gateway::{Floor, Over};
use ztna_model::{DenyReason, Epoch, Protocol, Time, millis};
use ztna_netstack::{Event, StreamId};

use super::device::Device;
use super::site::{For, Site, application, echo};
use super::*;

/// An application that counts its live connections, and notes how each ended.
fn counting() -> (std::net::SocketAddr, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let theirs = Arc::clone(&counts);
    let address = application(move |mut stream: TcpStream| {
        theirs.live.fetch_add(1, Ordering::SeqCst);
        let mut chunk = [0; 1024];
        let ended = loop {
            match stream.read(&mut chunk) {
                Ok(0) => break &theirs.closed,
                Ok(length) => drop(stream.write_all(&chunk[..length])),
                Err(_) => break &theirs.reset,
            }
        };
        ended.fetch_add(1, Ordering::SeqCst);
    });
    (address, counts)
}

#[derive(Default)]
struct Counts {
    live: AtomicUsize,
    closed: AtomicUsize,
    reset: AtomicUsize,
}

impl Counts {
    /// Waits until so many connections have ended in a reset.
    fn await_resets(&self, expected: usize) {
        let give_up = Clock.now() + PATIENCE;
        while self.reset.load(Ordering::SeqCst) < expected {
            assert!(Clock.now() < give_up, "{} of {expected}", self.reset.load(Ordering::SeqCst));
            std::thread::yield_now();
        }
    }
}

fn open(device: &mut Device, index: u16, count: usize) -> Vec<StreamId> {
    let streams: Vec<StreamId> = (0..count).map(|_| device.dial(Protocol::Tcp, index, 80)).collect();
    for stream in &streams {
        device.connected(*stream);
        device.send(*stream, b"hello");
        assert_eq!(device.receive(*stream, 5), b"hello");
    }
    streams
}

#[test]
fn e07_a_floor_cuts_every_flow_below_it_both_ways_and_spares_what_it_keeps() {
    let (wiki, counts) = counting();
    let (kept, spared) = counting();
    let mut site = Site::new(&[&wiki.to_string(), &kept.to_string()]);
    let mut device = site.device();
    let lease = site.grant(&device, &For::tcp(1, wiki));
    let stays = site.grant(&device, &For::tcp(2, kept));
    let streams = open(&mut device, 1, 100);
    let survivors = open(&mut device, 2, 10);

    let stays = Lease { epoch: Epoch(2), ..stays };
    let keep = vec![site.broker.script.sign(&stays)];
    site.link().say(Floor { sid: device.sid, epoch: Epoch(2), keep, reason: DenyReason::Held });
    for stream in &streams {
        device.reset(*stream);
    }
    counts.await_resets(100);
    assert_eq!(counts.closed.load(Ordering::SeqCst), 0);
    let ended = site.block_on_frame(|frame| match frame {
        FromGateway::Ended(ended) => Some(ended),
        _ => None,
    });
    assert_eq!((ended.lease, ended.reason), (lease.id, DenyReason::Held));
    let notice = format!(r#"{{"lease":"{}","reason":"held"}}"#, lease.id);
    device.until(|device| device.notices.contains(&notice).then_some(()));

    for stream in &survivors {
        device.send(*stream, b"still");
        assert_eq!(device.receive(*stream, 5), b"still");
    }
    assert_eq!(spared.reset.load(Ordering::SeqCst), 0);
    let again = device.dial(Protocol::Tcp, 1, 80);
    device.reset(again);
}

#[test]
fn the_last_lease_s_end_takes_the_tunnel_with_it() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut device = site.device();
    let lease = site.grant(&device, &For::tcp(1, wiki));
    let stream = open(&mut device, 1, 1)[0];
    site.link().say(Over { lease: lease.id, reason: DenyReason::SessionEnded });
    device.reset(stream);
    let plane = site.status().plane;
    assert_eq!((plane.leases, plane.sessions, plane.flows), (0, 0, 0));
    // From here on, silence.
    device.idle_until(Clock.now() + millis(50));
    let heard = device.heard;
    device.dial(Protocol::Tcp, 1, 80);
    device.idle_until(Clock.now() + millis(300));
    assert_eq!(device.heard, heard);
}

#[test]
fn e08_a_gateway_cut_off_closes_when_the_lease_is_over() {
    let (wiki, counts) = counting();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut device = site.device();
    let lease = site.grant(&device, &For { ttl: 1_500, ..For::tcp(1, wiki) });
    let stream = open(&mut device, 1, 1)[0];
    site.broker.stop();
    site.link.take().unwrap().kill();
    device.reset(stream);
    counts.await_resets(1);
    let now = Clock.now();
    assert!(now >= lease.deadline(), "not before its time");
    assert!(now.since(lease.deadline()) < secs(1), "{:?} late", now.since(lease.deadline()));
}

#[test]
fn a_lease_is_asked_for_again_and_goes_on_undisturbed() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut device = site.device();
    let lease = site.grant(&device, &For { ttl: 1_000, ..For::tcp(1, wiki) });
    let stream = open(&mut device, 1, 1)[0];
    for _ in 0..4 {
        device.send(stream, b"awake");
        assert_eq!(device.receive(stream, 5), b"awake");
        let renew = site.block_on_frame(|frame| match frame {
            FromGateway::Renew(renew) => Some(renew),
            _ => None,
        });
        assert_eq!(renew.leases, [lease.id]);
        let again = Lease { at: renew.beat.now, ..lease.clone() };
        let leases = vec![site.broker.script.sign(&again)];
        site.link().say(ztna_api::gateway::Renewed { leases });
    }
    device.send(stream, b"after four lives");
    assert_eq!(device.receive(stream, 16), b"after four lives");
}

#[test]
fn p5_6_a_restart_is_a_new_run_and_every_earlier_lease_is_void() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut device = site.device();
    let lease = site.grant(&device, &For::tcp(1, wiki));
    let stream = open(&mut device, 1, 1)[0];
    let before = site.link().hello.clone();
    site.stop();
    // A gateway that ends says goodbye.
    device.reset(stream);
    site.start(crate::resolver::Resolver::System);
    let after = site.link().hello.clone();
    assert_ne!(before.beat.run, after.beat.run);
    assert_ne!(before.wg_pub, after.wg_pub);
    assert_eq!(site.offer(&lease), Err(LeaseError::WrongRun));
    assert_eq!(site.status().plane.declined[&LeaseError::WrongRun], 1);
}

#[test]
fn a_stream_that_breaks_is_opened_again_and_the_flows_live_on() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut device = site.device();
    let lease = site.grant(&device, &For::tcp(1, wiki));
    let stream = open(&mut device, 1, 1)[0];
    let before = site.link().hello.clone();
    site.link.take().unwrap().kill();
    let link = site.runtime.block_on(site.broker.stream());
    assert_eq!((link.hello.beat.run, link.hello.wg_pub), (before.beat.run, before.wg_pub));
    assert!(link.hello.beat.now >= before.beat.now);
    site.link = Some(link);
    // What the broker does not list goes; here, everything stays.
    site.link().list(vec![lease.id]);
    device.send(stream, b"still here");
    assert_eq!(device.receive(stream, 10), b"still here");
    site.link().list(vec![]);
    device.reset(stream);
}

#[test]
fn a_broker_that_is_cut_off_is_noticed_within_twenty_seconds() {
    let mut site = Site::new(&[]);
    site.link().freeze();
    site.link().say(ztna_api::gateway::BeatPlease {});
    let begun = Clock.now();
    let again = site.runtime.block_on(async { tokio::time::timeout(secs(30), site.broker.stream()).await });
    let noticed = Clock.now().since(begun);
    assert!(again.is_ok() && noticed < secs(20), "{noticed:?}");
}

/// One flow downloads and one uploads as fast as they can while a thousand others are open; then a floor cuts them all.
#[test]
fn e07_after_the_floor_no_byte_reaches_the_application_or_the_device() {
    const OTHERS: usize = 1_000;
    let (many, counts) = counting();
    let source = application(|mut stream: TcpStream| while stream.write_all(&[7; 1 << 16]).is_ok() {});
    let last_heard = Arc::new(Mutex::new(Time::ZERO));
    let heard = Arc::clone(&last_heard);
    let sink = application(move |mut stream: TcpStream| {
        let mut chunk = [0; 1 << 16];
        while let Ok(1..) = stream.read(&mut chunk) {
            *heard.lock().unwrap() = Clock.now();
        }
    });
    let mut site = Site::new(&[&many.to_string(), &source.to_string(), &sink.to_string()]);
    let mut device = site.device();
    for (index, application) in (1..).zip([many, source, sink]) {
        site.grant(&device, &For::tcp(index, application));
    }
    let streams = open(&mut device, 1, OTHERS);
    let mut load = Load::begin(&mut device);
    device.until(|device| (load.carry(device) > 16 << 20).then_some(()));

    let said = Clock.now();
    site.link().say(Floor { sid: device.sid, epoch: Epoch(2), keep: vec![], reason: DenyReason::Held });
    let mut last_byte = said;
    device.until(|device| {
        let before = load.down_bytes;
        load.carry(device);
        if load.down_bytes > before {
            last_byte = Clock.now();
        }
        load.is_cut(device).then_some(())
    });
    streams.iter().for_each(|stream| device.reset(*stream));
    let all_cut = Clock.now();
    counts.await_resets(OTHERS);
    let all_reset = Clock.now();
    site.block_on_frame(|frame| matches!(frame, FromGateway::FloorHeld(_)).then_some(()));
    let last_heard = *last_heard.lock().unwrap();
    println!(
        "after the floor was said: last byte at the application {:?}, at the device {:?}; the last of {OTHERS} flows \
         cut at the device {:?}, at the application {:?}",
        last_heard.since(said),
        last_byte.since(said),
        all_cut.since(said),
        all_reset.since(said)
    );
    assert!(all_reset.since(said) < secs(2) && last_heard.since(said) < secs(1));
    assert_eq!(site.status().plane.flows, 0);
    // Nothing comes after the end.
    let before = load.down_bytes;
    device.idle_until(Clock.now() + millis(100));
    load.carry(&mut device);
    assert_eq!(load.down_bytes, before);
}

/// A download from number 2 and an upload to number 3.
struct Load {
    down: StreamId,
    up: StreamId,
    down_bytes: usize,
    up_bytes: usize,
    room: Vec<u8>,
}

impl Load {
    fn begin(device: &mut Device) -> Self {
        let (down, up) = (device.dial(Protocol::Tcp, 2, 80), device.dial(Protocol::Tcp, 3, 80));
        device.connected(down);
        device.connected(up);
        Self { down, up, down_bytes: 0, up_bytes: 0, room: vec![7; 1 << 18] }
    }

    /// Reads and writes what it can; returns how much the slower of the two has carried.
    fn carry(&mut self, device: &mut Device) -> usize {
        self.down_bytes += device.netstack.recv(self.down, &mut self.room);
        self.up_bytes += device.netstack.send(self.up, &self.room);
        self.down_bytes.min(self.up_bytes)
    }

    fn is_cut(&self, device: &Device) -> bool {
        let cut = |stream| {
            device.events.iter().any(|(whose, event)| *whose == stream && matches!(event, Event::Reset(_)))
        };
        cut(self.down) && cut(self.up)
    }
}
