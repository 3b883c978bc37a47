//! The gate does what a plain list of leases would do, whatever comes in which order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ztna_api::gateway::{FromGateway, LeaseError, List, Over, Renewed};
use ztna_datapath::Sealed;
use ztna_model::{DenyReason, Epoch, Holder, Incarnation, LeaseId, Time, millis};

use super::draft::Draft;
use super::site::{Came, Device, START, Site, flow, packet, to_app};

/// What happens next. Devices and applications are few, so that things meet.
#[derive(Clone, Debug)]
enum Step {
    Offer(Signed),
    Renew(Vec<Signed>),
    Floor { device: u8, epoch: u64, keep: Vec<Signed> },
    List { live: BTreeSet<(u8, u8)> },
    Over { device: u8, app: u8 },
    Wait { millis: u64 },
    Jump,
    Welcome,
    Restore,
    Rekey { device: u8 },
    Send { device: u8, app: u8, what: What },
    Answer { device: u8, app: u8 },
}

/// A lease, as it is signed: its age says how long ago its beat was.
#[derive(Clone, Debug)]
struct Signed {
    device: u8,
    app: u8,
    epoch: u64,
    age: i64,
    ttl: u64,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Sound,
    OtherPort,
    OtherSource,
}

/// Leases as a plain list.
#[derive(Default)]
struct Model {
    now: Time,
    jumped: u64,
    leases: BTreeMap<(u8, u8), Entry>,
    floors: BTreeMap<u8, (u64, Time)>,
    keys: [u8; DEVICES as usize],
    /// When a device last shook hands with the peer that it is.
    heard: BTreeMap<u8, Time>,
    ended: BTreeMap<LeaseId, (Ending, bool, bool)>,
}

#[derive(Clone, Debug)]
struct Entry {
    epoch: u64,
    at: u64,
    ttl: u64,
    key: u8,
    /// When its flow was last seen, if it has one.
    flow: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    RanOut,
    For(DenyReason),
}

const DEVICES: u8 = 3;
const APPS: u8 = 4;
const MOST: usize = 6;

impl Entry {
    fn deadline(&self) -> Time {
        Time::from_millis(self.at) + millis(self.ttl)
    }
}

impl Model {
    fn begin(&mut self, now: Time) {
        self.now = self.now.max(now);
        let second = |time: Time| time.as_millis() / 1_000;
        for entry in self.leases.values_mut() {
            entry.flow = entry.flow.filter(|seen| second(self.now) - second(*seen) <= 120);
        }
        let over = self.leases.iter().filter(|(_, entry)| entry.deadline() <= self.now).map(|(at, _)| *at);
        for at in over.collect::<Vec<_>>() {
            self.end(at, Ending::RanOut);
        }
        self.floors.retain(|_, (_, until)| self.now < *until);
    }

    fn end(&mut self, at: (u8, u8), ending: Ending) {
        let Some(entry) = self.leases.remove(&at) else { return };
        // A device that waits for longer and hears nothing begins to doubt its session.
        let is_heard = self.heard.get(&at.0).is_some_and(|heard| self.now.since(*heard) < millis(14_000));
        self.ended.insert(id(at), (ending, entry.flow.is_some(), is_heard));
    }

    fn end_all(&mut self, ending: Ending) {
        for at in self.leases.keys().copied().collect::<Vec<_>>() {
            self.end(at, ending);
        }
    }

    /// A session whose leases are all gone is no peer any more.
    fn finish(&mut self) {
        let leases = &self.leases;
        self.heard.retain(|device, _| leases.keys().any(|(holder, _)| holder == device));
    }

    fn judge(&self, signed: &Signed) -> Result<Entry, LeaseError> {
        let at = self.now.as_millis().saturating_add_signed(-signed.age);
        let key = self.keys[usize::from(signed.device)];
        let entry = Entry { epoch: signed.epoch, at, ttl: signed.ttl, key, flow: None };
        if Time::from_millis(at) > self.now {
            return Err(LeaseError::NotYet);
        }
        if signed.ttl > 300_000 {
            return Err(LeaseError::TooLong);
        }
        if entry.deadline() <= self.now || at < self.jumped {
            return Err(LeaseError::Expired);
        }
        if self.floors.get(&signed.device).is_some_and(|(epoch, _)| signed.epoch < *epoch) {
            return Err(LeaseError::BelowFloor);
        }
        if let Some(held) = self.leases.get(&(signed.device, signed.app)) {
            let is_same = held.key == key && held.epoch <= signed.epoch;
            return if is_same {
                Ok(Entry { flow: held.flow, ..entry })
            } else {
                Err(LeaseError::NotTheSame)
            };
        }
        if self.leases.iter().any(|((device, _), held)| *device == signed.device && held.key != key) {
            return Err(LeaseError::SecondKey);
        }
        if self.leases.len() >= MOST { Err(LeaseError::TooMany) } else { Ok(entry) }
    }

    fn take(&mut self, signed: &Signed) -> Result<(), LeaseError> {
        let entry = self.judge(signed)?;
        self.leases.insert((signed.device, signed.app), entry);
        Ok(())
    }

    fn take_again(&mut self, signed: &[Signed]) {
        for signed in signed {
            if self.leases.contains_key(&(signed.device, signed.app)) {
                let _refused = self.take(signed);
            }
        }
    }

    fn floor(&mut self, device: u8, epoch: u64, keep: &[Signed]) {
        let epoch = self.floors.get(&device).map_or(epoch, |(before, _)| epoch.max(*before));
        self.floors.insert(device, (epoch, self.now + millis(300_000)));
        self.take_again(keep);
        let below =
            self.leases.iter().filter(|((holder, _), entry)| *holder == device && entry.epoch < epoch);
        for at in below.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.end(at, Ending::For(DenyReason::DeviceUnfit));
        }
    }

    /// What a device's packet comes to, whatever the device may think of it.
    fn send(&mut self, device: u8, app: u8, what: What) -> Came {
        let key = self.keys[usize::from(device)];
        if !self.leases.iter().any(|((holder, _), entry)| *holder == device && entry.key == key) {
            return Came::ToNobody;
        }
        self.heard.insert(device, self.now);
        let now = self.now;
        match (what, self.leases.get_mut(&(device, app))) {
            (What::OtherSource, _) => Came::Denied(DenyReason::SpoofedSource),
            (What::Sound, Some(entry)) => {
                entry.flow = Some(now);
                Came::Through(id((device, app)))
            }
            (What::Sound | What::OtherPort, _) => Came::Denied(DenyReason::NoRule),
        }
    }

    /// Whether an answer to the device's flow gets as far as its tunnel.
    fn answer(&mut self, device: u8, app: u8) -> bool {
        let now = self.now;
        let flow = self.leases.get_mut(&(device, app)).and_then(|entry| entry.flow.as_mut());
        flow.map(|seen| *seen = now).is_some()
    }
}

/// Model and gate, side by side.
struct Pair {
    model: Model,
    site: Site,
    devices: Vec<Device>,
    restores: u8,
    /// What each device has stated about each of its keys: the same words each time.
    statements: BTreeMap<(u8, u8), String>,
}

impl Pair {
    fn new() -> Self {
        let devices = (0..DEVICES).map(Device::new).collect();
        let model = Model { now: START, keys: [0, 1, 2], ..Model::default() };
        Self { model, site: Site::with_room_for(MOST), devices, restores: 0, statements: BTreeMap::new() }
    }

    fn texts(&mut self, signed: &[Signed]) -> Vec<String> {
        signed.iter().map(|signed| self.draft(signed).text(&self.site)).collect()
    }

    fn draft(&mut self, signed: &Signed) -> Draft {
        let mut draft = Draft::new(&self.site, &self.devices[usize::from(signed.device)], signed.app);
        draft.lease.id = id((signed.device, signed.app));
        draft.lease.at = self.site.now.as_millis().saturating_add_signed(-signed.age);
        (draft.lease.ttl, draft.lease.epoch) = (signed.ttl, Epoch(signed.epoch));
        let key = (signed.device, self.model.keys[usize::from(signed.device)]);
        let Holder::Tunnel { statement, .. } = &draft.lease.holder;
        let statement = self.statements.entry(key).or_insert_with(|| statement.clone()).clone();
        draft.put_statement(statement);
        draft
    }

    fn take(&mut self, step: &Step) {
        self.model.ended.clear();
        (self.site.told, self.site.cuts) = (Vec::new(), Vec::new());
        match step {
            Step::Offer(signed) => {
                let draft = self.draft(signed);
                assert_eq!(self.site.offer(&draft), self.model.take(signed));
            }
            Step::Renew(signed) => {
                let leases = self.texts(signed);
                self.model.take_again(signed);
                self.site.hear(Renewed { leases });
            }
            Step::Floor { device, epoch, keep } => {
                let texts = self.texts(keep);
                self.model.floor(*device, *epoch, keep);
                self.site.floor_with(*device, *epoch, texts);
            }
            Step::List { live } => {
                for at in self.model.leases.keys().copied().collect::<Vec<_>>() {
                    if !live.contains(&at) {
                        self.model.end(at, Ending::For(DenyReason::Revoked));
                    }
                }
                self.site.hear(List { live: live.iter().map(|at| id(*at)).collect() });
            }
            Step::Over { device, app } => {
                self.model.end((*device, *app), Ending::For(DenyReason::Held));
                self.site.hear(Over { lease: id((*device, *app)), reason: DenyReason::Held });
            }
            Step::Wait { millis: span } => {
                self.site.after(millis(*span));
                self.model.begin(self.site.now);
            }
            Step::Jump => {
                self.model.jumped = self.model.now.as_millis() + 1;
                self.model.end_all(Ending::For(DenyReason::LeaseExpired));
                self.site.jump();
            }
            Step::Welcome => self.site.welcome(),
            Step::Restore => {
                self.restores += 1;
                self.site.broker.incarnation = Incarnation([self.restores; 16]);
                self.model.end_all(Ending::For(DenyReason::Revoked));
                self.site.welcome();
            }
            Step::Rekey { device } => {
                let key = &mut self.model.keys[usize::from(*device)];
                *key = (*key + 10) % 20;
                self.devices[usize::from(*device)].restart(*key, self.site.now);
                self.model.heard.remove(device);
            }
            Step::Send { device, app, what } => {
                self.site.after(millis(25));
                self.model.begin(self.site.now);
                self.model.finish();
                let packet = packet(match what {
                    What::Sound => to_app(5_000, *app),
                    What::OtherPort => flow("198.19.0.1:5000", &format!("198.18.0.{app}:54")),
                    What::OtherSource => flow("198.19.0.9:5000", &format!("198.18.0.{app}:53")),
                });
                let came = self.devices[usize::from(*device)].send_anew(&mut self.site, &packet);
                assert_eq!(came, self.model.send(*device, *app, *what));
            }
            Step::Answer { device, app } => self.answer(*device, *app),
        }
        self.model.finish();
        self.compare();
    }

    fn answer(&mut self, device: u8, app: u8) {
        let peer =
            self.site.gate.leases().find(|held| held.lease.sid.0 == [device; 16]).map(|held| held.peer);
        let is_answer = self.model.answer(device, app);
        let Some(peer) = peer else { return assert!(!is_answer) };
        let back = packet(to_app(5_000, app).reversed());
        let sealed = self.site.batch(|gate, wire| gate.datapath.seal_for(peer, &back, wire));
        // Whether the tunnel has a session is not the gate's to decide.
        let passed = matches!(sealed, Sealed::Sent | Sealed::Lost);
        assert_eq!(passed, is_answer, "{sealed:?}");
    }

    fn compare(&mut self) {
        let held =
            self.site.gate.leases().map(|held| (held.lease.id, (held.lease.epoch.0, held.lease.deadline())));
        let expected = self.model.leases.iter().map(|(at, entry)| (id(*at), (entry.epoch, entry.deadline())));
        assert!(held.eq(expected), "the same leases, to the same end");
        let table = &self.site.gate.datapath.table;
        let rules = table.rules().map(|(_, rule)| (rule.lease, rule.deadline));
        assert!(rules.eq(self.site.gate.leases().map(|held| (held.lease.id, held.lease.deadline()))));
        let holders: BTreeSet<u8> = self.model.leases.keys().map(|(device, _)| *device).collect();
        assert_eq!(self.site.gate.datapath.tunnel.peers().count(), holders.len(), "no lease, no peer");
        self.compare_ends();
        for frame in &self.site.told {
            if let FromGateway::Renew(renew) = frame {
                assert!(renew.beat.now <= self.site.now.as_millis());
            }
        }
    }

    /// Every end is told once to the broker and once to the device, and cuts what lived under it.
    fn compare_ends(&mut self) {
        let mut told = self.site.ended();
        told.sort_unstable();
        assert!(told.iter().map(|(lease, _)| lease).eq(self.model.ended.keys()), "{told:?}");
        self.site.cuts.sort_unstable_by_key(|cut| cut.lease);
        assert!(self.site.cuts.iter().map(|cut| &cut.lease).eq(self.model.ended.keys()));
        let mut notices: Vec<String> = Vec::new();
        for device in &mut self.devices {
            notices.extend(device.notices(&mut self.site));
            device.received.clear();
        }
        self.site.sent.clear();
        for ((lease, reason), cut) in told.iter().zip(&self.site.cuts) {
            let (ending, had_flow, is_heard) = self.model.ended[lease];
            match ending {
                Ending::For(expected) => assert_eq!(*reason, expected),
                Ending::RanOut => {
                    assert!(matches!(reason, DenyReason::Silent | DenyReason::LeaseExpired));
                }
            }
            assert_eq!(cut.flows.len(), usize::from(had_flow));
            let notice = format!(r#"{{"lease":"{lease}","reason":"{}"}}"#, reason.code());
            let seen = notices.iter().filter(|text| **text == notice).count();
            assert!(seen == 1 || !is_heard && seen == 0, "{seen} notices of {lease}");
        }
        assert!(notices.len() <= told.len());
    }
}

fn id((device, app): (u8, u8)) -> LeaseId {
    LeaseId([device, app, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
}

fn signed() -> impl Strategy<Value = Signed> {
    let age =
        prop_oneof![4 => Just(0_i64), 3 => 0..20_000_i64, 1 => 100_000..400_000_i64, 1 => -5_000..0_i64];
    let ttl = prop_oneof![4 => Just(120_000_u64), 2 => 1..40_000_u64, 1 => 290_000..310_000_u64];
    (0..DEVICES, 0..APPS, 1..5_u64, age, ttl).prop_map(|(device, app, epoch, age, ttl)| Signed {
        device,
        app,
        epoch,
        age,
        ttl,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let signeds = || prop::collection::vec(signed(), 0..4);
    let at = || (0..DEVICES, 0..APPS);
    let what = prop_oneof![6 => Just(What::Sound), 1 => Just(What::OtherPort), 1 => Just(What::OtherSource)];
    let wait = prop_oneof![Just(25_u64), Just(1_000), 0..61_000_u64, 100_000..310_000_u64];
    prop_oneof![
        8 => signed().prop_map(Step::Offer),
        3 => signeds().prop_map(Step::Renew),
        3 => (0..DEVICES, 1..6_u64, signeds()).prop_map(|(device, epoch, keep)| Step::Floor { device, epoch, keep }),
        1 => prop::collection::btree_set(at(), 0..8).prop_map(|live| Step::List { live }),
        1 => at().prop_map(|(device, app)| Step::Over { device, app }),
        4 => wait.prop_map(|millis| Step::Wait { millis }),
        1 => prop_oneof![Just(Step::Jump), Just(Step::Welcome), Just(Step::Restore)],
        1 => (0..DEVICES).prop_map(|device| Step::Rekey { device }),
        8 => (at(), what).prop_map(|((device, app), what)| Step::Send { device, app, what }),
        2 => at().prop_map(|(device, app)| Step::Answer { device, app }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_gate_does_what_a_plain_list_of_leases_would_do(steps in prop::collection::vec(step(), 1..80)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
        }
    }
}
