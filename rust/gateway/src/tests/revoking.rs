use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
fn a_restart_is_a_new_run_and_every_earlier_lease_is_void() {
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

/// One flow downloads as fast as it can while a thousand others are open; then a floor cuts them all.
#[test]
fn e07_after_the_floor_no_byte_reaches_the_application_or_the_device() {
    const OTHERS: usize = 1_000;
    let (many, counts) = counting();
    let sent = Arc::new(AtomicU64::new(0));
    let last = Arc::new(Mutex::new(Time::ZERO));
    let (their_sent, their_last) = (Arc::clone(&sent), Arc::clone(&last));
    let source = application(move |mut stream: TcpStream| {
        let chunk = [7; 1 << 16];
        while stream.write_all(&chunk).is_ok() {
            their_sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
        *their_last.lock().unwrap() = Clock.now();
    });
    let mut site = Site::new(&[&many.to_string(), &source.to_string()]);
    let mut device = site.device();
    site.grant(&device, &For::tcp(1, many));
    site.grant(&device, &For::tcp(2, source));
    let streams = open(&mut device, 1, OTHERS);
    let download = device.dial(Protocol::Tcp, 2, 80);
    device.connected(download);
    let mut room = vec![0; 1 << 18];
    let mut got = 0;
    device.until(|device| {
        got += device.netstack.recv(download, &mut room);
        (got > 8 << 20).then_some(())
    });

    let said = Clock.now();
    site.link().say(Floor { sid: device.sid, epoch: Epoch(2), keep: vec![], reason: DenyReason::Held });
    // It goes on reading: what still comes, comes from before.
    let mut last_byte = said;
    device.until(|device| {
        let more = device.netstack.recv(download, &mut room);
        if more > 0 {
            last_byte = Clock.now();
        }
        device
            .events
            .iter()
            .any(|(whose, event)| *whose == download && matches!(event, Event::Reset(_)))
            .then_some(())
    });
    for stream in &streams {
        device.reset(*stream);
    }
    let cut_at_device = Clock.now();
    counts.await_resets(OTHERS);
    let cut_at_site = Clock.now();
    site.block_on_frame(|frame| matches!(frame, FromGateway::FloorHeld(_)).then_some(()));
    println!(
        "last byte at the device {:?}, the last of {OTHERS} flows at the device {:?}, at the site {:?}",
        last_byte.since(said),
        cut_at_device.since(said),
        cut_at_site.since(said)
    );
    assert!(cut_at_device.since(said) < secs(2) && cut_at_site.since(said) < secs(2));
    let total = sent.load(Ordering::SeqCst);
    assert!(total > 8 << 20);
    assert_eq!(site.status().plane.flows, 0);
}
