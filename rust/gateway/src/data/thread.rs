use std::collections::{BTreeMap, BTreeSet};
use std::io;

use tokio::sync::mpsc;
use ztna_api::gateway::{Declined, FromGateway, LeaseError};
use ztna_gate::{Gate, Output};
use ztna_model::{Flow, LeaseId, Time};
use ztna_net::clock::{Clock, JumpWatch};
use ztna_net::inbox::Inbox;
use ztna_net::poll::Poller;
use ztna_net::random::SystemRandom;
use ztna_net::udp::{Batch, UdpPort};
use ztna_netstack::{Netstack, StreamId};
use ztna_tunnel::PeerId;

use super::echoes::Echoes;
use super::flows::{Flows, Forwarded};
use super::forward::Extent;
use super::kernel::Kernel;
use super::outgoing::Outgoing;
use crate::asking::{Lookup, Pace};
use crate::dial::DialRefusal;
use crate::order::{Dial, Order, SiteSocket};
use crate::seldom::Seldom;
use crate::status::Questions;

/// What the data thread is made of.
pub(crate) struct Parts {
    pub(crate) gate: Gate,
    pub(crate) netstack: Netstack,
    pub(crate) port: UdpPort,
    pub(crate) poller: Poller,
    pub(crate) inbox: Inbox<Order>,
    /// Where the broker is told.
    pub(crate) told: mpsc::UnboundedSender<FromGateway>,
    /// Where flows are connected.
    pub(crate) dials: mpsc::Sender<Dial>,
    /// Where names are asked for.
    pub(crate) lookups: mpsc::Sender<Lookup>,
    /// The way through the kernel, where that is how packets go on.
    pub(crate) kernel: Option<Kernel>,
}

/// Owns tunnels, flow table, netstack and sockets, and waits for nothing but its poller.
pub(crate) struct DataThread {
    pub(super) gate: Gate,
    pub(super) netstack: Netstack,
    pub(super) outgoing: Outgoing,
    pub(super) poller: Poller,
    inbox: Inbox<Order>,
    told: mpsc::UnboundedSender<FromGateway>,
    pub(super) dials: mpsc::Sender<Dial>,
    pub(super) lookups: mpsc::Sender<Lookup>,
    pub(super) pace: Pace,
    declined: Seldom,
    pub(super) echoes: Echoes,
    pub(super) kernel: Option<Kernel>,
    pub(super) questions: Questions,
    jumps: JumpWatch,
    pub(super) flows: Flows,
    /// Flows that are over: the table hears of it once their last packets are out.
    pub(super) over: Vec<(PeerId, Flow)>,
    pub(super) refused_dials: BTreeMap<DialRefusal, u64>,
    /// How many bytes may still be moved between sockets and flows in this turn.
    pub(super) budget: usize,
    pub(super) batch: Batch,
    /// Where datagrams are opened.
    pub(super) opened: Box<[u8]>,
}

impl DataThread {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { gate, netstack, port, poller, inbox, told, dials, lookups, kernel } = parts;
        Self {
            gate,
            netstack,
            outgoing: Outgoing(port),
            poller,
            inbox,
            told,
            dials,
            lookups,
            pace: Pace::default(),
            declined: Seldom::default(),
            kernel,
            echoes: Echoes::new(&mut SystemRandom::new()),
            questions: Questions::default(),
            jumps: JumpWatch::new(Clock.now(), Clock.wall()),
            flows: Flows::default(),
            over: Vec::new(),
            refused_dials: BTreeMap::new(),
            budget: 0,
            batch: Batch::new(),
            opened: vec![0; LONGEST_DATAGRAM].into_boxed_slice(),
        }
    }

    /// Takes one turn after another until nobody is left to give orders; then cuts what still lives.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !(self.inbox.is_abandoned() && self.inbox.is_empty()) {
            let deadline = self.next_wake();
            let tun = self.kernel.as_mut().map(Kernel::tun_mut);
            let now = self.poller.wait_with(&mut self.outgoing.0, tun, &self.inbox, deadline)?;
            self.turn(now)?;
        }
        self.cut(|_| true);
        let all = self.gate.leases().map(|held| held.lease.id).collect();
        self.cut_kernel(&all);
        self.forward(Extent::All, Clock.now());
        self.gate.finish(&mut self.outgoing);
        self.flush();
        Ok(())
    }

    fn turn(&mut self, now: Time) -> io::Result<()> {
        self.gate.begin_batch(now, &mut self.outgoing);
        if let Some(jump) = self.jumps.check(now, Clock.wall()) {
            tracing::warn!(ahead_s = jump.ahead.as_secs(), "the machine stood still: all leases end");
            self.gate.handle_jump(&mut self.outgoing);
        }
        self.budget = BYTES_A_TURN;
        self.take_orders(now);
        let any_cut = self.carry_out();
        self.receive(now)?;
        self.read_kernel(now)?;
        self.move_bytes(now);
        // Those that were cut hear it in this very turn: afterwards their tunnel may be gone.
        self.forward(if any_cut { Extent::All } else { Extent::Turn }, now);
        self.over.extend(self.echoes.end_idle(now));
        self.forget_over();
        self.gate.finish(&mut self.outgoing);
        self.flush();
        Ok(())
    }

    fn next_wake(&mut self) -> Option<Time> {
        if self.flows.busy() > 0 {
            return Some(Time::ZERO);
        }
        // A netstack that has packets to send waits for the port, which the poller watches.
        let netstack = if self.outgoing.0.is_blocked() { None } else { self.netstack.next_wake() };
        let kernel = self.kernel.as_ref().and_then(Kernel::next_look);
        [netstack, kernel, self.gate.next_wake(), self.echoes.next_deadline()].into_iter().flatten().min()
    }

    fn take_orders(&mut self, now: Time) {
        let orders: Vec<Order> = self.inbox.drain(ORDERS_A_TURN).collect();
        for order in orders {
            match order {
                Order::Frame(frame) => self.gate.handle_frame(*frame, &mut self.outgoing),
                Order::Dialled(stream, outcome) => self.dialled(stream, outcome, now),
                Order::Pinned(number, outcome) => self.pinned(number, outcome, now),
                Order::EchoOpened(number, outcome) => self.echo_opened(number, outcome, now),
                Order::Answered { peer, from, lease, message } => self.answered(peer, from, lease, &message),
                Order::Report(answer) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.report());
                }
            }
        }
    }

    /// Does what the gate has decided: first cuts, then tells the broker, who takes a word for a deed. Whether anything
    /// was cut.
    fn carry_out(&mut self) -> bool {
        let mut ended: BTreeSet<LeaseId> = BTreeSet::new();
        let mut tell = Vec::new();
        while let Some(output) = self.gate.poll() {
            match output {
                Output::Cut { lease, .. } => _ = ended.insert(lease),
                Output::Tell(frame) => {
                    self.note_declined(&frame);
                    tell.push(frame);
                }
                Output::KeysRefused(error) => tracing::warn!(%error, "the broker's keys are refused"),
            }
        }
        if !ended.is_empty() {
            self.cut(|flow| ended.contains(&flow.lease));
            self.cut_kernel(&ended);
            self.echoes.end_where(|lease| ended.contains(&lease));
        }
        for frame in tell {
            // Without a stream to the broker nobody listens, and leases run out by themselves.
            let _ = self.told.send(*frame);
        }
        !ended.is_empty()
    }

    /// An administrator has to hear that leases are made for what this gateway may not reach.
    fn note_declined(&mut self, frame: &FromGateway) {
        if let FromGateway::Declined(Declined { code, .. }) = frame
            && matches!(code, LeaseError::OutOfReach | LeaseError::ForbiddenTarget)
            && let Some(times) = self.declined.happened(Clock.now())
        {
            tracing::info!(times, %code, "the broker made leases for what is outside `reach`: they were not taken");
        }
    }

    /// Ends flows both ways at once: nothing that is buffered for them goes anywhere any more.
    fn cut(&mut self, is_meant: impl FnMut(&Forwarded) -> bool) {
        for Forwarded { stream, site, .. } in self.flows.remove_where(is_meant) {
            if let Some(site) = site {
                site.reset();
            }
            self.netstack.abort(stream);
        }
    }

    /// A flow has been connected, or could not be.
    fn dialled(&mut self, stream: StreamId, outcome: Result<SiteSocket, DialRefusal>, now: Time) {
        let Some(forwarded) = self.flows.find(stream) else {
            // It was cut or given up meanwhile.
            if let Ok(site) = outcome {
                site.reset();
            }
            return;
        };
        let accepted = outcome.and_then(|mut site| {
            let watched = site.watch(&self.poller, stream.index());
            let accepted = watched.is_ok() && self.netstack.accept(stream, now).is_ok();
            if accepted { Ok(site) } else { Err(DialRefusal::NoRoom) }
        });
        match accepted {
            Ok(site) => {
                forwarded.site = Some(site);
                self.flows.mark_busy(stream);
            }
            Err(refusal) => {
                *self.refused_dials.entry(refusal).or_default() += 1;
                self.netstack.refuse(stream);
                self.end(stream);
            }
        }
    }

    fn flush(&mut self) {
        if let Err(cause) = self.outgoing.0.flush() {
            tracing::trace!(%cause, "datagrams were lost");
        }
    }
}

const ORDERS_A_TURN: usize = 256;
/// A few milliseconds' work: as long as a revocation may have to wait for its turn.
const BYTES_A_TURN: usize = 1 << 20;
const LONGEST_DATAGRAM: usize = 1 << 16;
