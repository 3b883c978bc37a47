use std::collections::BinaryHeap;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ztna_model::{Time, millis, secs};
use ztna_net::clock::Clock;
use ztna_net::tun::{TunBuffer, TunConfig, TunPort};

use super::Namespace;

/// A wire on which things go wrong, as a seed has it. Fractions are of 1000.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Impairment {
    pub(crate) seed: u64,
    /// Packets that are lost.
    pub(crate) loss: u16,
    /// Packets that others overtake.
    pub(crate) reorder: u16,
    /// Packets that come twice.
    pub(crate) duplicate: u16,
    /// How long every packet takes.
    pub(crate) delay: Duration,
    /// How much longer some take, at most; it alone changes no order.
    pub(crate) jitter: Duration,
    /// Bytes a second, in each direction.
    pub(crate) rate: Option<u64>,
    /// Longer packets are lost, and nobody is told.
    pub(crate) mtu: Option<usize>,
    /// Everything is lost.
    pub(crate) is_cut: bool,
}

impl Impairment {
    /// A wire on which nothing goes wrong.
    pub(crate) const NONE: Self = Self {
        seed: 1,
        loss: 0,
        reorder: 0,
        duplicate: 0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        rate: None,
        mtu: None,
        is_cut: false,
    };
}

/// A wire between two machines that passes through this process, and ends with this value.
pub(crate) struct Hop {
    impairment: Arc<Mutex<Impairment>>,
    ended: Arc<AtomicBool>,
}

impl Hop {
    /// Connects two machines by a device at each end.
    pub(crate) async fn between(
        a: (&Namespace, &str),
        b: (&Namespace, &str),
        impairment: Impairment,
    ) -> Self {
        let ends = [device(a).await, device(b).await];
        let impairment = Arc::new(Mutex::new(impairment));
        let ended = Arc::new(AtomicBool::new(false));
        let wire = Wire::new(ends, Arc::clone(&impairment));
        let until = Arc::clone(&ended);
        std::thread::spawn(move || wire.carry(&until));
        Self { impairment, ended }
    }

    /// From here on other things go wrong. The seed stays what it was.
    pub(crate) fn becomes(&self, impairment: Impairment) {
        *self.impairment.lock().unwrap() = impairment;
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

async fn device((machine, name): (&Namespace, &str)) -> TunPort {
    let config =
        TunConfig { name: name.into(), mtu: 1500, queue_length: 1000, addresses: vec![], offload: false };
    machine.within(async move { TunPort::create(&config).unwrap_or_else(|error| panic!("{error}")) }).await
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Fate {
    pub(super) is_lost: bool,
    pub(super) comes_twice: bool,
    /// How much later than its delay.
    pub(super) later: Duration,
    /// Whether others may overtake it meanwhile.
    pub(super) is_overtaken: bool,
}

/// What becomes of packets, one after the other: the same for the same seed.
pub(super) struct Fates(u64);

impl Fates {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws the same number of times whatever goes wrong, so that one change leaves all other fates alone.
    pub(super) fn next(&mut self, impairment: &Impairment) -> Fate {
        let [loss, twice, overtaken, jitter] = [(); 4].map(|()| self.draw());
        let is = |draw: u64, fraction: u16| draw % 1000 < u64::from(fraction);
        let is_overtaken = is(overtaken, impairment.reorder);
        let jitter = impairment.jitter.mul_f64((jitter % 1000) as f64 / 1000.0);
        let later = if is_overtaken { jitter + OVERTAKEN } else { jitter };
        Fate {
            is_lost: is(loss, impairment.loss),
            comes_twice: is(twice, impairment.duplicate),
            later,
            is_overtaken,
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A packet on its way; the one that arrives first is the greatest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Underway {
    due: std::cmp::Reverse<(Time, u64)>,
    to: usize,
    bytes: Vec<u8>,
}

struct Wire {
    ends: [TunPort; 2],
    impairment: Arc<Mutex<Impairment>>,
    fates: [Fates; 2],
    underway: BinaryHeap<Underway>,
    sent: u64,
    /// When the last packet in each direction has left, and when the last one that keeps its place arrives.
    free: [Time; 2],
    last: [Time; 2],
}

impl Wire {
    fn new(ends: [TunPort; 2], impairment: Arc<Mutex<Impairment>>) -> Self {
        let seed = impairment.lock().unwrap().seed;
        let fates = [Fates::new(seed), Fates::new(!seed)];
        let (free, last) = ([Time::ZERO; 2], [Time::ZERO; 2]);
        Self { ends, impairment, fates, underway: BinaryHeap::new(), sent: 0, free, last }
    }

    fn carry(mut self, ended: &AtomicBool) {
        let mut buffer = TunBuffer::default();
        while !ended.load(Ordering::Relaxed) {
            self.wait();
            for from in [0, 1] {
                for _ in 0..64 {
                    // A device that is gone has nothing more to say.
                    let Ok(Some(burst)) = self.ends[from].recv(&mut buffer) else { break };
                    let bytes = burst.bytes().to_vec();
                    if !is_chatter(&bytes) {
                        self.take(from, bytes);
                    }
                }
            }
            self.deliver();
        }
    }

    /// Waits until something comes, or is due.
    fn wait(&self) {
        let now = Clock.now();
        let due = self.underway.peek().map_or(IDLE, |next| next.due.0.0.since(now).min(IDLE));
        let due = Timespec { tv_sec: 0, tv_nsec: due.subsec_nanos().into() };
        let [a, b] = &self.ends;
        let mut both = [a.as_fd(), b.as_fd()].map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN));
        let _ = poll(&mut both, Some(&due)); // interrupted: looked at again
    }

    fn take(&mut self, from: usize, bytes: Vec<u8>) {
        let impairment = *self.impairment.lock().unwrap();
        let fate = self.fates[from].next(&impairment);
        if impairment.is_cut || fate.is_lost || impairment.mtu.is_some_and(|mtu| bytes.len() > mtu) {
            return;
        }
        let now = Clock.now();
        let leaves = if self.free[from] > now { self.free[from] } else { now };
        if leaves.since(now) > LONGEST_QUEUE {
            return;
        }
        let takes =
            impairment.rate.map_or(Duration::ZERO, |rate| secs(1).mul_f64(bytes.len() as f64 / rate as f64));
        self.free[from] = leaves + takes;
        let mut due = leaves + takes + impairment.delay + fate.later;
        if !fate.is_overtaken {
            due = if due > self.last[from] { due } else { self.last[from] };
            self.last[from] = due;
        }
        for _ in 0..if fate.comes_twice { 2 } else { 1 } {
            self.sent += 1;
            self.underway.push(Underway {
                due: std::cmp::Reverse((due, self.sent)),
                to: 1 - from,
                bytes: bytes.clone(),
            });
        }
    }

    fn deliver(&mut self) {
        let now = Clock.now();
        while self.underway.peek().is_some_and(|next| next.due.0.0 <= now) {
            let Some(packet) = self.underway.pop() else { return };
            self.ends[packet.to].send(&packet.bytes);
        }
    }
}

/// What devices say of themselves, whenever they like (MLD, neighbour discovery, IGMP): nobody is at the other end, and
/// fates are for packets that somebody has sent.
fn is_chatter(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(9) == Some(&2),
        Some(6) => matches!(packet.get(6), Some(0 | 58)),
        Some(_) | None => true,
    }
}

/// By how much an overtaken packet is late.
const OVERTAKEN: Duration = millis(3);
/// What does not fit into a router's memory is lost.
const LONGEST_QUEUE: Duration = millis(200);
const IDLE: Duration = millis(100);
