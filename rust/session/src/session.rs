use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ztna_api::device::{Notice, Reachable};
use ztna_api::keyset::KeySet;
use ztna_api::statement::Body;
use ztna_model::{
    Carrier, DenyReason, GatewayId, Host, Lease, Port, Protocol, Random, Secret, Signer, Time, WallTime,
    WgPublic, secs,
};
use ztna_names::Book;
use ztna_tunnel::wg_public;

use crate::account::Account;
use crate::dials::Dials;
use crate::facts::Facts;
use crate::lookups::Lookups;
use crate::network::Network;
use crate::output::{DialId, Output, Plane};
use crate::resources::Resources;
use crate::saved::Saved;
use crate::sign_in::Task;
use crate::state::State;
use crate::stream::{Patience, Stream};
use crate::transitions::{self, Happened};

/// The client's decisions, for one organisation at a time.
///
/// *After each `handle…` and each command, drain [`Session::poll`].*
pub struct Session {
    pub(crate) profile: Profile,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) random: Box<dyn Random + Send>,
    pub(crate) state: State,
    pub(crate) account: Option<Account>,
    /// The person wants the tunnel.
    pub(crate) wanted: bool,
    pub(crate) task: Task,
    pub(crate) task_number: u32,
    pub(crate) stream: Stream,
    pub(crate) patience: Patience,
    /// Since when the broker is away.
    pub(crate) lost_at: Option<Time>,
    pub(crate) sign_in_by: Option<WallTime>,
    tunnel_key: Option<TunnelKey>,
    pub(crate) facts: Facts,
    pub(crate) resources: Resources,
    pub(crate) dials: Dials,
    pub(crate) lookups: Lookups,
    /// What was last wished for.
    pub(crate) network: Network,
    pub(crate) book: Book,
    pub(crate) carriers: Vec<Carrier>,
    pub(crate) avoid: Option<GatewayId>,
    pub(crate) notices: Vec<Notice>,
    /// The latest time that anything was told.
    pub(crate) now: Time,
    outbox: VecDeque<Output>,
}

/// What the client says of itself.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What people call this device.
    pub device_name: String,
    /// The connector's name and version.
    pub software: String,
    /// The operating system's family: `linux`, `android`, `ios`.
    pub platform: String,
}

/// A local application's wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dial {
    /// The driver's number for it.
    pub id: DialId,
    /// Where to. An address that stands in for a name means the name; the flow goes to the address.
    pub host: Host,
    /// What it speaks.
    pub protocol: Protocol,
    /// On which port. Echo has none: any will do.
    pub port: Port,
}

/// This run's WireGuard key.
#[derive(Debug)]
struct TunnelKey {
    public: WgPublic,
    made: Time,
}

impl Session {
    /// A client with what was kept of it, if anything. `book_secret` is kept for the organisation.
    pub fn new(
        profile: Profile,
        signer: Arc<dyn Signer>,
        saved: Option<Saved>,
        book_secret: Secret<[u8; 32]>,
        random: Box<dyn Random + Send>,
    ) -> Self {
        let account = saved.map(|saved| saved.into_account(signer.clone()));
        let state = if account.is_some() { State::Off } else { State::SignedOut { why: None } };
        Self {
            profile,
            signer,
            random,
            state,
            account,
            wanted: false,
            task: Task::None,
            task_number: 0,
            stream: Stream::Closed,
            patience: Patience::default(),
            lost_at: None,
            sign_in_by: None,
            tunnel_key: None,
            facts: Facts::default(),
            resources: Resources::default(),
            dials: Dials::default(),
            lookups: Lookups::default(),
            network: Network::default(),
            book: Book::new(book_secret),
            carriers: Vec::new(),
            avoid: None,
            notices: Vec::new(),
            now: Time::ZERO,
            outbox: VecDeque::new(),
        }
    }

    /// The state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The organisation's keys, if somebody is signed in: grants are checked against them before they come in here.
    pub fn keys(&self) -> Option<&KeySet> {
        self.account.as_ref().map(|account| &account.keys)
    }

    /// Turns the tunnel on.
    pub fn connect(&mut self, now: Time) {
        if self.account.is_none() || self.wanted {
            return;
        }
        self.wanted = true;
        self.happen(Happened::ConnectAsked);
        self.follow_network();
        self.open_stream(now);
    }

    /// Turns the tunnel off. The person stays signed in.
    pub fn disconnect(&mut self) {
        self.wanted = false;
        self.drop_stream();
        self.forget_rights(DenyReason::SignedOut);
        self.tunnel_key = None;
        self.push(Output::Plane(Plane::Clear(DenyReason::SignedOut)));
        self.happen(Happened::DisconnectAsked);
    }

    /// Where gateways can send datagrams to this device, best first.
    pub fn handle_reachable(&mut self, carriers: Vec<Carrier>) {
        if self.carriers == carriers {
            return;
        }
        self.carriers.clone_from(&carriers);
        if matches!(self.stream, Stream::Open(_)) {
            self.push(Output::Send(Box::new(Reachable { carriers }.into())));
        }
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.pass_time_on_task(now);
        self.pass_time_on_stream(now);
        self.pass_time_on_dials(now);
        self.pass_time_on_lookups(now);
        self.pass_time_on_facts(now);
        if self.key_wake().is_some_and(|at| now >= at) {
            self.state_tunnel_key(now);
        }
        if self.leases_over_at().is_some_and(|at| now >= at) {
            self.forget_rights(DenyReason::BrokerAway);
            self.push(Output::Plane(Plane::Clear(DenyReason::BrokerAway)));
            self.tunnel_key = None;
            self.happen(Happened::LeasesOver);
        }
    }

    /// What to do next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When to come back at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        let wakes = [
            self.task_wake(),
            self.stream_wake(),
            self.dials_wake(),
            self.lookups_wake(),
            self.facts_wake(),
            self.key_wake(),
            self.leases_over_at(),
        ];
        wakes.into_iter().flatten().min()
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outbox.push_back(output);
    }

    /// Goes where the life of a client goes.
    pub(crate) fn happen(&mut self, happened: Happened) {
        let before = std::mem::replace(&mut self.state, State::SigningIn);
        self.state = transitions::next(before.clone(), happened);
        if self.state != before {
            self.push(Output::Changed);
        }
    }

    pub(crate) fn save(&mut self) {
        if let Some(account) = &self.account {
            let saved = Saved::of(account);
            self.push(Output::Save(Box::new(saved)));
        }
    }

    /// Vouches for this run's WireGuard key, and makes one where there is none or where it is a day old.
    pub(crate) fn state_tunnel_key(&mut self, now: Time) {
        let old = |key: &TunnelKey| now >= key.made + KEY_LIFE;
        if self.tunnel_key.as_ref().is_none_or(old) {
            let mut bytes = [0; 32];
            self.random.fill(&mut bytes);
            let secret = Secret::new(bytes);
            self.tunnel_key = Some(TunnelKey { public: wg_public(&secret), made: now });
            self.resources.grants.clear();
            self.cut_all_lookups();
            self.push(Output::Plane(Plane::Key(secret)));
        }
        if let Some(key) = &self.tunnel_key {
            self.declare(Body::TunnelKey { wg_pub: key.public }, now);
        }
    }

    /// When the WireGuard key is a day old, if there is somebody to vouch for another one to.
    fn key_wake(&self) -> Option<Time> {
        let key = self.tunnel_key.as_ref().filter(|_| matches!(self.stream, Stream::Open(_)));
        key.map(|key| key.made + KEY_LIFE)
    }

    /// When every lease has run out since the broker went away: the gateways will have closed by then.
    fn leases_over_at(&self) -> Option<Time> {
        let may_be_open = matches!(self.state, State::Reconnecting | State::Connecting);
        self.lost_at.filter(|_| may_be_open).map(|at| at + Lease::LONGEST)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

const KEY_LIFE: Duration = secs(24 * 60 * 60);
