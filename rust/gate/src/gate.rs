use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ztna_api::gateway::{Ended as EndedFrame, FromGateway, LeaseError, ToGateway, Welcome};
use ztna_api::keyset::KeySet;
use ztna_datapath::{Datagrams, Datapath};
use ztna_model::{
    DenyReason, GatewayId, Incarnation, LeaseId, OrgId, Random, RootHash, RunId, SessionId, Time,
};
use ztna_policy::{Ended, Slot};
use ztna_tunnel::PeerId;

use crate::floor::Floors;
use crate::held::Held;
use crate::output::Output;
use crate::reach::Reach;

/// Who this gateway is, and where it may go.
#[derive(Clone, Debug)]
pub struct Config {
    /// The organisation.
    pub org: OrgId,
    /// The gateway.
    pub gateway: GatewayId,
    /// This run of the process: random, made at start.
    pub run: RunId,
    /// The root under which the organisation's keys are.
    pub root: RootHash,
    /// Where it may go.
    pub reach: Reach,
    /// The most leases it holds.
    pub most_leases: usize,
}

/// The gateway's leases, and the datapath that they govern.
pub struct Gate {
    pub(crate) config: Config,
    /// Tunnels and flow table. Packets pass through here and nowhere else.
    pub datapath: Datapath,
    pub(crate) keys: Option<KeySet>,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) leases: BTreeMap<LeaseId, Held>,
    /// Each session's one WireGuard peer.
    pub(crate) peers: BTreeMap<SessionId, PeerId>,
    pub(crate) floors: Floors,
    /// Peers that may have lost their last lease in this batch.
    pub(crate) bereft: BTreeSet<SessionId>,
    pub(crate) next_beat: Option<Time>,
    /// INVARIANT: no lease's renewal is due before.
    pub(crate) next_renewal: Option<Time>,
    pub(crate) declined: BTreeMap<LeaseError, u64>,
    pub(crate) random: Box<dyn Random + Send>,
    pub(crate) now: Time,
    /// Leases signed on an older reading of the clock are void: it stood still since.
    pub(crate) last_jump: Time,
    pub(crate) outbox: VecDeque<Output>,
}

impl Gate {
    /// A gateway without leases, which lets nothing through.
    pub fn new(config: Config, datapath: Datapath, random: Box<dyn Random + Send>) -> Self {
        Self {
            config,
            datapath,
            keys: None,
            incarnation: None,
            leases: BTreeMap::new(),
            peers: BTreeMap::new(),
            floors: Floors::default(),
            bereft: BTreeSet::new(),
            next_beat: None,
            next_renewal: None,
            declined: BTreeMap::new(),
            random,
            now: Time::ZERO,
            last_jump: Time::ZERO,
            outbox: VecDeque::new(),
        }
    }

    /// Begins a batch of frames and packets at `now`: leases that are over end here, before any packet is judged.
    pub fn begin_batch(&mut self, now: Time, sink: &mut impl Datagrams) {
        self.now = self.now.max(now);
        for ended in self.datapath.begin_batch(self.now) {
            let reason = self.why_over(&ended);
            self.ended(ended, reason, sink);
        }
        self.floors.forget_old(self.now);
        self.ask_for_renewals();
        self.beat_if_due();
    }

    /// The broker said something.
    pub fn handle_frame(&mut self, frame: ToGateway, sink: &mut impl Datagrams) {
        match frame {
            ToGateway::Welcome(welcome) => self.welcomed(&welcome, sink),
            ToGateway::BeatPlease(_) => self.beat(),
            ToGateway::Lease(offered) => self.take_offered(&offered),
            ToGateway::Floor(floor) => self.apply_floor(&floor, sink),
            ToGateway::List(list) => self.end_all_but(&list.live, DenyReason::Revoked, sink),
            ToGateway::Renewed(renewed) => self.take_renewed(&renewed.leases),
            ToGateway::Over(over) => self.end(over.lease, over.reason, sink),
        }
    }

    /// The machine was paused or restored: what was measured on its clock means nothing any more, and neither does what
    /// is still on its way and was measured before. Comes first in a batch.
    pub fn handle_jump(&mut self, sink: &mut impl Datagrams) {
        // A beat from before may bear this very millisecond, so the next one must not.
        self.last_jump = Time::from_millis(self.now.as_millis() + 1);
        self.next_beat = Some(self.last_jump);
        self.end_all_but(&[], DenyReason::LeaseExpired, sink);
    }

    /// Ends a batch: sends what is due, and lets go of peers without a lease. Whoever was cut has been told by now.
    pub fn finish(&mut self, sink: &mut impl Datagrams) {
        self.datapath.finish(sink);
        for sid in std::mem::take(&mut self.bereft) {
            if !self.leases.values().any(|held| held.lease.sid == sid)
                && let Some(peer) = self.peers.remove(&sid)
            {
                self.datapath.tunnel.remove_peer(peer);
            }
        }
    }

    /// What to do next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When a batch must begin at the latest, even an empty one.
    pub fn next_wake(&self) -> Option<Time> {
        [self.datapath.next_wake(), self.next_beat, self.next_renewal].into_iter().flatten().min()
    }

    /// The lease behind a rule of the flow table.
    pub fn held(&self, slot: Slot) -> Option<&Held> {
        self.leases.get(&self.datapath.table.rule(slot)?.lease)
    }

    /// All leases held.
    pub fn leases(&self) -> impl Iterator<Item = &Held> {
        self.leases.values()
    }

    /// How many sessions hold a lease.
    pub fn sessions(&self) -> usize {
        self.peers.len()
    }

    /// Where this gateway may go.
    pub const fn reach(&self) -> &Reach {
        &self.config.reach
    }

    /// How many leases were refused, for each reason.
    pub const fn declined(&self) -> &BTreeMap<LeaseError, u64> {
        &self.declined
    }

    /// Ends a lease before its time: no packet passes under it from here on.
    pub(crate) fn end(&mut self, lease: LeaseId, reason: DenyReason, sink: &mut impl Datagrams) {
        if let Some(ended) = self.datapath.table.end(lease, reason) {
            self.ended(ended, reason, sink);
        }
    }

    fn end_all_but(&mut self, live: &[LeaseId], reason: DenyReason, sink: &mut impl Datagrams) {
        let live: BTreeSet<&LeaseId> = live.iter().collect();
        let gone: Vec<LeaseId> = self.leases.keys().filter(|lease| !live.contains(lease)).copied().collect();
        for lease in gone {
            self.end(lease, reason, sink);
        }
    }

    pub(crate) fn tell(&mut self, frame: impl Into<FromGateway>) {
        self.outbox.push_back(Output::Tell(Box::new(frame.into())));
    }

    /// A rule is gone from the table: its flows are cut, the device is told, and the broker.
    fn ended(&mut self, ended: Ended, reason: DenyReason, sink: &mut impl Datagrams) {
        let Ended { rule, flows, .. } = ended;
        let Some(Held { lease, peer, .. }) = self.leases.remove(&rule.lease) else { return };
        self.outbox.push_back(Output::Cut { peer, lease: rule.lease, flows, reason });
        self.datapath.notify(peer, notice(rule.lease, reason).as_bytes(), sink);
        self.bereft.insert(lease.sid);
        self.tell(EndedFrame { lease: rule.lease, reason });
    }

    /// A lease that nobody renewed was either not asked for again, since the device fell silent, or not answered.
    fn why_over(&self, ended: &Ended) -> DenyReason {
        let Some(held) = self.leases.get(&ended.rule.lease) else { return DenyReason::LeaseExpired };
        let silence = std::time::Duration::from_millis(held.lease.limits.silence);
        let silent = self.now.since(ended.usage.last_from_device) >= silence;
        if silent { DenyReason::Silent } else { DenyReason::LeaseExpired }
    }

    fn welcomed(&mut self, welcome: &Welcome, sink: &mut impl Datagrams) {
        let known = self.keys.as_ref().map_or(0, |keys| keys.seq);
        // Keys that are not under the root leave those in place that are.
        if let Ok(keys) = KeySet::verify(&welcome.keys, &self.config.org, &self.config.root, known) {
            self.keys = Some(keys);
        }
        if self.incarnation.replace(welcome.incarnation).is_some_and(|before| before != welcome.incarnation) {
            self.end_all_but(&[], DenyReason::Revoked, sink);
        }
        self.ask_again();
        self.beat();
    }
}

/// What the device is told inside the tunnel.
fn notice(lease: LeaseId, reason: DenyReason) -> String {
    format!(r#"{{"lease":"{lease}","reason":"{}"}}"#, reason.code())
}
