//! Devices' control streams: who is on which, what each has shown, and what it was told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ztna_api::device::{FromDevice, Hello, NeedNonces, Nonces, Position, Reachable, ToDevice};
use ztna_model::{Carrier, DeviceId, Fact, LinkId, SessionId, Time, WallTime, minutes};

use crate::input::{DeviceOpened, StreamId};
use crate::nonce::{Purpose, StreamSalt};
use crate::output::Output;
use crate::pdp::Pdp;
use crate::rows::Session;
use crate::visible::VisibleSet;

mod chain; // a session has one stream: which hello follows which
mod open; // a stream is accepted, and welcomed
mod stated; // what a device key has signed

/// What dies with this process of the devices' side.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    streams: BTreeMap<StreamId, Stream>,
    lives: BTreeMap<SessionId, Life>,
    facts: BTreeMap<DeviceId, Vec<Fact>>,
    position: u64,
}

/// One stream of a device.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) sid: SessionId,
    salt: StreamSalt,
    phase: Phase,
    /// When the device key was last shown on this stream.
    present: Option<Time>,
    /// Whether the device has vouched for the session's tunnel key on this stream: a process that started anew has
    /// another, and what was granted to the one before is of no use to it.
    keyed: bool,
    pub(crate) carriers: Vec<Carrier>,
    address: IpAddr,
}

/// Where a stream is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    /// It has not said hello.
    Silent,
    /// It has said hello while another stream of the session may live.
    Claiming(Hello),
    /// Its link is on the way to the store.
    Linking,
    /// It has been welcomed.
    Welcomed,
}

/// What is known of a live session besides its row.
#[derive(Debug, Default)]
struct Life {
    current: Option<StreamId>,
    claimant: Option<StreamId>,
    visible: VisibleSet,
    active: Option<WallTime>,
    due: Option<Time>,
    asks: Asks,
    /// The link on which the device has spoken since it was welcomed: its hello is never repeated.
    spoken: Option<LinkId>,
}

/// Requests in the last while: a bucket that leaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Asks {
    /// Thousandths of requests.
    level: u64,
    at: Time,
}

impl Devices {
    /// Positions of streams begin at the broker's wall clock, so that they grow over its restarts, too.
    pub(crate) fn starting_at(wall: WallTime) -> Self {
        Self { position: wall.as_millis(), ..Self::default() }
    }

    pub(crate) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(&stream)
    }

    /// The session's stream that has been welcomed.
    pub(crate) fn told_stream(&self, sid: &SessionId) -> Option<StreamId> {
        let current = self.lives.get(sid)?.current?;
        let welcomed = self.streams.get(&current).is_some_and(|stream| stream.phase == Phase::Welcomed);
        welcomed.then_some(current)
    }

    /// The session's stream, once its device has vouched for its tunnel key there.
    pub(crate) fn keyed_stream(&self, sid: &SessionId) -> Option<StreamId> {
        self.told_stream(sid).filter(|stream| self.is_keyed(*stream))
    }

    pub(crate) fn is_keyed(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|stream| stream.keyed)
    }

    /// How many streams have been welcomed.
    pub(crate) fn connected(&self) -> usize {
        self.lives.keys().filter(|sid| self.told_stream(sid).is_some()).count()
    }

    /// Where the session's device comes from.
    pub(crate) fn address(&self, sid: &SessionId) -> Option<IpAddr> {
        let current = self.lives.get(sid)?.current?;
        self.streams.get(&current).map(|stream| stream.address)
    }

    pub(crate) fn carriers(&self, sid: &SessionId) -> Vec<Carrier> {
        let current = self.lives.get(sid).and_then(|life| life.current);
        current.and_then(|id| self.streams.get(&id)).map(|stream| stream.carriers.clone()).unwrap_or_default()
    }

    pub(crate) fn set_carriers(&mut self, stream: StreamId, carriers: Vec<Carrier>) {
        if let Some(stream) = self.streams.get_mut(&stream).filter(|_| !carriers.is_empty()) {
            stream.carriers = carriers;
        }
    }

    pub(crate) fn visible(&self, sid: &SessionId) -> Option<&VisibleSet> {
        self.lives.get(sid).map(|life| &life.visible)
    }

    pub(crate) fn set_visible(&mut self, sid: SessionId, visible: VisibleSet) {
        self.lives.entry(sid).or_default().visible = visible;
    }

    /// When the session was last heard of, if that is later than its row says.
    pub(crate) fn active(&self, sid: &SessionId) -> Option<WallTime> {
        self.lives.get(sid)?.active
    }

    pub(crate) fn set_active(&mut self, sid: SessionId, at: WallTime) {
        self.lives.entry(sid).or_default().active = Some(at);
    }

    /// Notes when the session is to be looked at again; false if that is known already.
    pub(crate) fn review_due(&mut self, sid: SessionId, due: Time) -> bool {
        self.lives.entry(sid).or_default().due.replace(due) != Some(due)
    }

    pub(crate) fn is_due(&self, sid: &SessionId, now: Time) -> bool {
        self.lives.get(sid).and_then(|life| life.due).is_some_and(|due| due <= now)
    }

    pub(crate) fn graded(&self, device: &DeviceId) -> Option<Vec<Fact>> {
        self.facts.get(device).cloned()
    }

    pub(crate) fn forget_facts(&mut self) {
        self.facts.clear();
    }

    pub(crate) fn forget_facts_of(&mut self, device: &DeviceId) {
        self.facts.remove(device);
    }

    /// Forgets a session that is over; its streams are the caller's to close.
    pub(crate) fn forget(&mut self, sid: &SessionId) -> Vec<StreamId> {
        self.lives.remove(sid);
        let streams: Vec<StreamId> =
            self.streams.iter().filter(|(_, stream)| stream.sid == *sid).map(|(id, _)| *id).collect();
        streams.iter().for_each(|id| {
            self.streams.remove(id);
        });
        streams
    }

    /// Counts one more request of a session; false if it makes too many.
    pub(crate) fn may_ask(&mut self, sid: SessionId, per_second: u32, now: Time) -> bool {
        let asks = &mut self.lives.entry(sid).or_default().asks;
        let leaked = u64::try_from(now.since(asks.at).as_millis()).unwrap_or(u64::MAX);
        asks.level = asks.level.saturating_sub(leaked.saturating_mul(u64::from(per_second)));
        asks.at = now;
        let fits = asks.level < u64::from(per_second).saturating_mul(BURST * 1_000);
        asks.level = asks.level.saturating_add(if fits { 1_000 } else { 0 });
        fits
    }
}

impl Pdp {
    pub(crate) fn tell(&mut self, stream: StreamId, frame: impl Into<ToDevice>) {
        self.out.push_back(Output::ToDevice(stream, frame.into()));
    }

    /// Tells a session's device, if it is connected.
    pub(crate) fn tell_session(&mut self, sid: &SessionId, frame: impl Into<ToDevice>) {
        if let Some(stream) = self.devices.told_stream(sid) {
            self.tell(stream, frame);
        }
    }

    /// The next place in what devices are told.
    pub(crate) fn next_position(&mut self) -> Position {
        self.devices.position = self.devices.position.saturating_add(1);
        Position { incarnation: self.incarnation(), sequence: self.devices.position }
    }

    pub(crate) fn session_of_stream(&self, stream: StreamId) -> Option<&Session> {
        self.rows.sessions.get(&self.devices.streams.get(&stream)?.sid)
    }

    pub(crate) fn grade_facts(&mut self, session: &Session) {
        if self.devices.graded(&session.device).is_none() {
            let facts = self.graded(&session.device);
            self.devices.facts.insert(session.device, facts);
        }
    }

    pub(crate) fn device_opened(&mut self, opened: DeviceOpened) {
        self.open_stream(opened);
    }

    pub(crate) fn device_says(&mut self, stream: StreamId, frame: FromDevice) {
        let Some(known) = self.devices.streams.get(&stream) else { return };
        let (sid, welcomed) = (known.sid, known.phase == Phase::Welcomed);
        if welcomed {
            self.has_spoken(sid);
        }
        match frame {
            FromDevice::Hello(hello) => self.hello(stream, hello),
            FromDevice::Mine(mine) => self.mine(stream, mine),
            FromDevice::NeedNonces(NeedNonces { count }) => self.give_nonces(stream, count),
            FromDevice::Stated(stated) if welcomed => self.stated(stream, &stated.statement),
            FromDevice::Ask(ask) if welcomed => self.ask(stream, sid, ask),
            FromDevice::Release(release) if welcomed => self.release(sid, release.lease),
            FromDevice::Reachable(reachable) if welcomed => self.device_reachable(stream, reachable),
            // Said before the welcome: whoever speaks our protocol does not.
            FromDevice::Stated(_)
            | FromDevice::Ask(_)
            | FromDevice::Release(_)
            | FromDevice::Reachable(_) => self.close_stream(stream),
        }
    }

    pub(crate) fn close_stream(&mut self, stream: StreamId) {
        self.out.push_back(Output::Close(stream));
        self.device_closed(stream);
    }

    fn give_nonces(&mut self, stream: StreamId, count: u8) {
        let nonces = self.nonces_for(stream, usize::from(count.min(MOST_NONCES)));
        self.tell(stream, Nonces { nonces });
    }

    /// Nonces for statements on this stream and no other.
    pub(crate) fn nonces_for(&mut self, stream: StreamId, count: usize) -> Vec<String> {
        let Some(known) = self.devices.streams.get(&stream) else { return Vec::new() };
        let purpose = Purpose::Statement(known.sid, known.salt);
        let now = self.clock.wall();
        (0..count).map(|_| self.nonces.seal(purpose, now, &mut *self.random)).collect()
    }

    fn device_reachable(&mut self, stream: StreamId, reachable: Reachable) {
        if let Some(stream) = self.devices.streams.get_mut(&stream) {
            stream.carriers = some_carriers(reachable.carriers);
        }
    }

    /// Whether the device key was shown on this stream in the last five minutes.
    pub(crate) fn is_present(&self, stream: StreamId) -> bool {
        let present = self.devices.streams.get(&stream).and_then(|stream| stream.present);
        present.is_some_and(|at| self.clock.boot().since(at) <= PRESENCE)
    }

    /// The session was heard of: its key was proven, or a packet came from its device.
    pub(crate) fn heard_of(&mut self, sid: SessionId) {
        self.devices.set_active(sid, self.clock.wall());
    }
}

/// As many carriers as anybody needs.
pub(crate) fn some_carriers(mut carriers: Vec<Carrier>) -> Vec<Carrier> {
    carriers.truncate(MOST_CARRIERS);
    carriers
}

/// How long the word of the device key holds on a stream.
const PRESENCE: std::time::Duration = minutes(5);
/// The most nonces given at once.
const MOST_NONCES: u8 = 8;
const MOST_CARRIERS: usize = 8;
/// How many seconds' worth of requests may come at once.
const BURST: u64 = 10;

#[cfg(test)]
mod tests;
