use std::collections::BTreeMap;

use ztna_datapath::Datapath;
use ztna_datapath::policy::{Rule, Scope, Via};
use ztna_datapath::tunnel::{PeerId, Stats};
use ztna_model::{Carrier, GatewayId, Time, WgPublic};

use crate::plane::config::Patience;
use crate::plane::status::PeerStatus;
use crate::plane::streams::Streams;

/// Who is at the other end of each tunnel, and whether they answer.
pub(super) struct Gateways {
    known: BTreeMap<GatewayId, Gateway>,
    patience: Patience,
    /// Since when this machine has been awake, as far as this thread can tell: silence before that says nothing.
    awake_since: Time,
}

/// One gateway.
pub(super) struct Gateway {
    pub(super) peer: PeerId,
    pub(super) key: WgPublic,
    pub(super) carriers: Vec<Carrier>,
    /// Whether it may know nothing of the last handshake any more: it was away, started again, or held no lease.
    pub(super) has_forgotten: bool,
    /// The silence that was told.
    silence: Option<Time>,
}

/// A silence that may mean that a gateway is gone.
#[derive(Clone, Copy)]
struct Doubt {
    since: Time,
    /// When it does mean that.
    due: Time,
}

impl Gateway {
    pub(super) const fn new(peer: PeerId, key: WgPublic, carriers: Vec<Carrier>) -> Self {
        Self { peer, key, carriers, has_forgotten: false, silence: None }
    }
}

impl Gateways {
    pub(super) const fn new(patience: Patience) -> Self {
        Self { known: BTreeMap::new(), patience, awake_since: Time::ZERO }
    }

    pub(super) fn get(&mut self, gateway: &GatewayId) -> Option<&mut Gateway> {
        self.known.get_mut(gateway)
    }

    pub(super) fn insert(&mut self, id: GatewayId, gateway: Gateway) {
        self.known.insert(id, gateway);
    }

    pub(super) fn remove(&mut self, gateway: &GatewayId) -> Option<Gateway> {
        self.known.remove(gateway)
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.known.values().map(|gateway| gateway.peer)
    }

    /// Whose tunnel this is.
    pub(super) fn with_peer(&mut self, peer: PeerId) -> Option<(&GatewayId, &mut Gateway)> {
        self.known.iter_mut().find(|(_, gateway)| gateway.peer == peer)
    }

    /// This machine stood still until `now`.
    pub(super) const fn woke(&mut self, now: Time) {
        self.awake_since = now;
    }

    /// The gateways that have fallen silent although flows need them. Each silence is told once. `streams` are the local
    /// proxy's flows; where applications' own packets come here as well, every flow of the table counts.
    pub(super) fn fallen_silent(
        &mut self,
        datapath: &mut Datapath,
        streams: Option<&Streams>,
        now: Time,
    ) -> Vec<GatewayId> {
        let mut silent = Vec::new();
        for (id, gateway) in &mut self.known {
            let Some(stats) = datapath.tunnel.stats(gateway.peer) else { continue };
            let doubt = doubt(&stats, self.patience, self.awake_since);
            match doubt.filter(|doubt| doubt.due <= now) {
                Some(doubt) if gateway.silence == Some(doubt.since) => {}
                Some(doubt) if is_needed(datapath, streams, gateway.peer) => {
                    gateway.silence = Some(doubt.since);
                    silent.push(id.clone());
                }
                Some(_) | None => gateway.silence = None,
            }
        }
        silent
    }

    /// When to look again whether a gateway has fallen silent, if flows need any.
    pub(super) fn next_doubt(&self, datapath: &Datapath, now: Time) -> Option<Time> {
        let doubts = self.known.values().filter_map(|gateway| {
            let stats = datapath.tunnel.stats(gateway.peer)?;
            doubt(&stats, self.patience, self.awake_since).map(|doubt| doubt.due)
        });
        doubts.filter(|due| *due > now).min()
    }

    /// What can be shown of them.
    pub(super) fn status(&self, datapath: &Datapath, now: Time) -> Vec<PeerStatus> {
        self.known.iter().map(|(id, gateway)| gateway.status(id, datapath, now)).collect()
    }
}

impl Gateway {
    fn status(&self, id: &GatewayId, datapath: &Datapath, now: Time) -> PeerStatus {
        let stats = datapath.tunnel.stats(self.peer).unwrap_or_default();
        let age =
            |at: Option<Time>| at.map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX));
        let flows = rules(datapath, self.peer).map(|rule| flows(datapath, rule));
        PeerStatus {
            gateway: id.clone(),
            key: self.key,
            carriers: self.carriers.clone(),
            path: stats.path,
            handshake_age: age(stats.last_handshake),
            heard_age: age(stats.last_received),
            rx_bytes: stats.rx_bytes,
            tx_bytes: stats.tx_bytes,
            leases: rules(datapath, self.peer).count() as u64,
            flows: flows.sum(),
            silent: self.silence.is_some(),
        }
    }
}

/// The rules under which packets go to `peer`.
pub(super) fn rules(datapath: &Datapath, peer: PeerId) -> impl Iterator<Item = &Rule> {
    datapath.table.rules().map(|(_, rule)| rule).filter(move |rule| rule.via == Via(peer.number()))
}

fn flows(datapath: &Datapath, rule: &Rule) -> u64 {
    datapath.table.usage(rule.lease).map_or(0, |usage| usage.flows.into())
}

/// Whether a flow of an application goes to `peer`: one of the proxy's that is over and lingers does not count.
fn is_needed(datapath: &mut Datapath, streams: Option<&Streams>, peer: PeerId) -> bool {
    let Some(streams) = streams else { return rules(datapath, peer).any(|rule| flows(datapath, rule) > 0) };
    streams.flows().any(|flow| {
        let slot = datapath.table.under(Scope::DEVICE, flow);
        slot.and_then(|slot| datapath.table.rule(slot)).is_some_and(|rule| rule.via == Via(peer.number()))
    })
}

/// Packets that wait for a handshake count from its first attempt, sent ones from the first without an answer.
fn doubt(stats: &Stats, patience: Patience, awake_since: Time) -> Option<Doubt> {
    let after = |since: Time, patience| Doubt { since, due: since.max(awake_since) + patience };
    let handshake = stats.trying_since.filter(|_| stats.waiting > 0);
    let handshake = handshake.map(|since| after(since, patience.handshake));
    let answer = stats.unanswered_since.map(|since| after(since, patience.answer));
    [handshake, answer].into_iter().flatten().min_by_key(|doubt| doubt.due)
}
