use std::collections::{BTreeMap, VecDeque};

use ztna_api::gateway::{FromGateway, LeaseError, ToGateway, Welcome};
use ztna_api::keyset::KeySet;
use ztna_datapath::{Datagrams, Datapath};
use ztna_model::{DenyReason, GatewayId, Incarnation, LeaseId, OrgId, Random, RootHash, RunId, Time};
use ztna_policy::Slot;
use ztna_tunnel::PeerId;

use crate::floor::Floors;
use crate::held::Held;
use crate::output::Output;
use crate::peers::Peers;
use crate::reach::Reach;
use crate::renew::Schedule;

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
    /// Whether devices may be on this very machine: a demonstration's are.
    pub serves_own_machine: bool,
}

/// The gateway's leases, and the datapath that they govern.
pub struct Gate {
    pub(crate) config: Config,
    /// Tunnels and flow table. Packets pass through here and nowhere else.
    pub datapath: Datapath,
    pub(crate) keys: Option<KeySet>,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) leases: BTreeMap<LeaseId, Held>,
    pub(crate) peers: Peers,
    pub(crate) floors: Floors,
    pub(crate) schedule: Schedule,
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
            peers: Peers::default(),
            floors: Floors::default(),
            schedule: Schedule::default(),
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
            ToGateway::Renewed(renewed) => self.take_again(&renewed.leases),
            ToGateway::Over(over) => self.end(over.lease, over.reason, sink),
        }
    }

    /// The machine was paused or restored: what was measured on its clock means nothing any more, and neither does what
    /// is still on its way and was measured before. Comes first in a batch.
    pub fn handle_jump(&mut self, sink: &mut impl Datagrams) {
        self.last_jump = self.beat_at_next_reading();
        self.end_all_but(&[], DenyReason::LeaseExpired, sink);
    }

    /// Ends a batch: lets go of peers without a lease, and sends what is due to the others. Whoever was cut has been told
    /// by now, and gets no answer to a handshake.
    pub fn finish(&mut self, sink: &mut impl Datagrams) {
        for peer in self.peers.take_idle() {
            self.datapath.tunnel.remove_peer(peer);
        }
        self.datapath.finish(sink);
    }

    /// What to do next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When a batch must begin at the latest, even an empty one.
    pub fn next_wake(&self) -> Option<Time> {
        [self.datapath.next_wake(), self.schedule.next()].into_iter().flatten().min()
    }

    /// The lease behind a rule of the flow table.
    pub fn held(&self, slot: Slot) -> Option<&Held> {
        self.leases.get(&self.datapath.table.rule(slot)?.lease)
    }

    /// All leases held.
    pub fn leases(&self) -> impl Iterator<Item = &Held> {
        self.leases.values()
    }

    /// The leases that `peer` holds.
    pub fn held_by(&self, peer: PeerId) -> impl Iterator<Item = &Held> {
        self.peers.leases_held_by(peer).filter_map(|lease| self.leases.get(&lease))
    }

    /// The lease of this id, if it is held.
    pub fn lease(&self, lease: LeaseId) -> Option<&Held> {
        self.leases.get(&lease)
    }

    /// How many sessions hold a lease.
    pub fn sessions(&self) -> usize {
        self.peers.sessions()
    }

    /// Where this gateway may go.
    pub const fn reach(&self) -> &Reach {
        &self.config.reach
    }

    /// How many leases were refused, for each reason.
    pub const fn declined(&self) -> &BTreeMap<LeaseError, u64> {
        &self.declined
    }

    pub(crate) fn tell(&mut self, frame: impl Into<FromGateway>) {
        self.outbox.push_back(Output::Tell(Box::new(frame.into())));
    }

    fn welcomed(&mut self, welcome: &Welcome, sink: &mut impl Datagrams) {
        let known = self.keys.as_ref().map_or(0, |keys| keys.seq);
        match KeySet::verify(&welcome.keys, &self.config.org, &self.config.root, known) {
            Ok(keys) => self.keys = Some(keys),
            Err(error) => self.outbox.push_back(Output::KeysRefused(error)),
        }
        if self.incarnation.replace(welcome.incarnation).is_some_and(|before| before != welcome.incarnation) {
            self.end_all_but(&[], DenyReason::Revoked, sink);
        }
        self.beat();
        self.ask_again();
    }
}
