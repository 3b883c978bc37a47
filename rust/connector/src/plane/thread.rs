use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use ztna_datapath::tunnel::PeerId;
use ztna_datapath::{Datapath, Opened, Sealed, flow_of};
use ztna_model::{Carrier, DenyReason, Flow, Time, secs};
use ztna_net::clock::Clock;
use ztna_net::inbox::{Inbox, Post};
use ztna_net::poll::Poller;
use ztna_net::random::SystemRandom;
use ztna_net::udp::{Batch, BindError, UdpPort};
use ztna_netstack::{Netstack, Output, Scope};

use crate::plane::command::Command;
use crate::plane::config::PlaneConfig;
use crate::plane::event::PlaneEvent;
use crate::plane::gateways::Gateways;
use crate::plane::notice::Notice;
use crate::plane::port::Outlet;
use crate::plane::status::PlaneStatus;
use crate::plane::streams::Streams;

/// Everything that packets touch.
pub(super) struct DataThread {
    pub(super) config: PlaneConfig,
    pub(super) random: SystemRandom,
    pub(super) poller: Poller,
    pub(super) inbox: Inbox<Command>,
    events: mpsc::Sender<PlaneEvent>,
    port: UdpPort,
    batch: Batch,
    /// Where datagrams are opened.
    room: Box<[u8]>,
    /// The tunnels and the table, once there is a key.
    pub(super) datapath: Option<Datapath>,
    pub(super) gateways: Gateways,
    pub(super) netstack: Netstack,
    pub(super) streams: Streams,
    /// Flows that were cut, until their resets have left, and by which peer these leave: no rule lets them pass.
    pub(super) parting: BTreeMap<Flow, PeerId>,
    /// The time of this turn.
    pub(super) now: Time,
    turns: u64,
    /// How many times in a row nothing could be received.
    failures: u32,
}

/// Why the data thread did not start.
#[derive(Debug, Error)]
pub enum PlaneError {
    /// There is no UDP port for it.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system gives it no thread, or nothing to wait on.
    #[error("the data thread cannot start: {0}")]
    System(#[from] io::Error),
}

/// Starts the thread; it ends when the last sender is gone.
pub(super) fn start(
    config: PlaneConfig,
    events: mpsc::Sender<PlaneEvent>,
) -> Result<Post<Command>, PlaneError> {
    let mut port = UdpPort::bind(config.bind)?;
    let (mut poller, post, inbox) = Poller::new(Clock, INBOX)?;
    poller.add(&mut port)?;
    let mut random = SystemRandom::new();
    let thread = DataThread {
        netstack: Netstack::new(config.streams, &mut random),
        gateways: Gateways::new(config.patience),
        batch: Batch::new(),
        room: vec![0; LONGEST_DATAGRAM].into(),
        datapath: None,
        streams: Streams::default(),
        parting: BTreeMap::new(),
        now: Time::ZERO,
        turns: 0,
        failures: 0,
        config,
        random,
        poller,
        inbox,
        events,
        port,
    };
    std::thread::Builder::new().name("openztna-data".into()).spawn(move || thread.run())?;
    Ok(post)
}

impl DataThread {
    fn run(mut self) {
        self.tell_carriers();
        while !self.inbox.is_abandoned() {
            if let Err(cause) = self.turn() {
                tracing::error!(%cause, "the data thread ends");
                break;
            }
        }
        self.clear(DenyReason::SignedOut);
        self.flush();
    }

    /// One turn: what was told comes first, so that what is taken back overtakes packets; then what arrived, and
    /// then what leaves. Each step is bounded, and what is left over makes the next turn begin at once.
    fn turn(&mut self) -> io::Result<()> {
        let deadline = self.deadline();
        self.now = self.poller.wait(&mut self.port, &self.inbox, deadline)?;
        self.turns += 1;
        if deadline.is_some_and(|deadline| self.now.since(deadline) > OVERSLEPT) {
            self.gateways.woke(self.now);
        }
        self.begin();
        self.obey();
        self.receive()?;
        self.note_ready();
        self.exchange();
        self.finish();
        Ok(())
    }

    fn begin(&mut self) {
        let Some(datapath) = &mut self.datapath else { return };
        let ended = datapath.begin_batch(self.now);
        while let Some(flow) = self.streams.next_closed(self.now) {
            datapath.table.close(ztna_datapath::policy::Scope::DEVICE, &flow);
        }
        self.cut(ended);
    }

    fn obey(&mut self) {
        let commands: Vec<Command> = self.inbox.drain(COMMANDS).collect();
        for command in commands {
            match command {
                Command::CarryOut(plane) => self.carry_out(*plane),
                Command::Open { ticket, destination, answer } => self.open(ticket, destination, answer),
                Command::Forget(ticket) => self.forget(ticket),
                Command::Carry(load) => self.take(*load),
                Command::Drop(stream) => self.drop_stream(stream),
                Command::NetworkChanged => self.announce(),
                // Who asked may have gone.
                Command::Status(answer) => drop(answer.send(self.status())),
            }
        }
    }

    /// Opens datagrams, and hands what may pass to the flows.
    fn receive(&mut self) -> io::Result<()> {
        for _ in 0..BATCHES {
            if !self.fill()? {
                break;
            }
            let Some(datapath) = &mut self.datapath else { continue };
            for datagram in self.batch.datagrams() {
                let from = Carrier::Udp(datagram.source);
                match datapath.open(datagram.contents, from, &mut self.room, &mut Outlet(&mut self.port)) {
                    Opened::Packet { packet, .. } => {
                        // A packet that no flow wants is dropped here, as anywhere.
                        let _ = self.netstack.handle_packet(SCOPE, packet, self.now);
                    }
                    Opened::Notice { peer, payload } => {
                        if let Some((gateway, _)) = self.gateways.with_peer(peer)
                            && let Ok(Notice { lease, reason }) = Notice::read(payload)
                        {
                            let gateway = gateway.clone();
                            tell(&self.events, PlaneEvent::Notice { gateway, lease, reason });
                        }
                    }
                    Opened::Denied { .. } | Opened::Nothing => {}
                }
            }
        }
        Ok(())
    }

    /// Receives a batch. The kernel may be short of memory for a moment; one that never recovers ends the thread.
    fn fill(&mut self) -> io::Result<bool> {
        match self.port.recv(&mut self.batch) {
            Err(cause) if self.failures < MOST_FAILURES => {
                tracing::debug!(%cause, "nothing could be received");
                self.failures += 1;
                Ok(false)
            }
            outcome => {
                self.failures = 0;
                outcome
            }
        }
    }

    fn note_ready(&mut self) {
        for (index, readiness) in self.poller.ready() {
            if let Some(id) = self.streams.ready(index, readiness) {
                self.streams.mark_busy(id);
            }
        }
    }

    /// Sends and moves bytes in turns, since each makes room for the other.
    fn exchange(&mut self) {
        for _ in 0..ROUNDS {
            self.send();
            if !self.streams.has_busy() {
                return;
            }
            self.carry();
        }
        self.send();
    }

    /// Seals what the flows have to send, as long as there is room for it.
    pub(super) fn send(&mut self) {
        for _ in 0..PACKETS {
            if self.port.is_blocked() {
                return;
            }
            match self.netstack.poll(self.now) {
                Some(Output::Packet { packet, .. }) => {
                    let Some(datapath) = &mut self.datapath else { continue };
                    if let Sealed::Denied(reason) = datapath.seal(packet, &mut Outlet(&mut self.port)) {
                        let flow = flow_of(packet);
                        if let Some(peer) = flow.and_then(|flow| self.parting.remove(&flow)) {
                            datapath.seal_own(peer, packet, &mut Outlet(&mut self.port));
                        } else if let Some(id) = flow.and_then(|flow| self.streams.with_flow(&flow)) {
                            self.cut_stream(id, reason);
                        }
                    }
                }
                Some(Output::Event { stream, event }) => self.follow(stream, event),
                // Nobody begins a flow to a device.
                Some(Output::Incoming { stream, .. }) => self.netstack.refuse(stream),
                None => return self.parting.clear(),
            }
        }
    }

    fn finish(&mut self) {
        if let Some(datapath) = &mut self.datapath {
            datapath.finish(&mut Outlet(&mut self.port));
            for gateway in self.gateways.fallen_silent(datapath, &self.streams, self.now) {
                tracing::info!(%gateway, "a gateway does not answer");
                tell(&self.events, PlaneEvent::Silent { gateway });
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        if let Err(cause) = self.port.flush() {
            tracing::trace!(%cause, "datagrams were lost");
        }
    }

    /// When the next turn begins, if nothing happens before.
    fn deadline(&mut self) -> Option<Time> {
        if self.streams.has_busy() {
            return Some(Time::ZERO);
        }
        // What flows have to send waits for room.
        let netstack = if self.port.is_blocked() { None } else { self.netstack.next_wake() };
        let datapath = self.datapath.as_ref().and_then(Datapath::next_wake);
        let needed = self.datapath.as_ref().filter(|_| self.streams.count() > 0);
        let doubt = needed.and_then(|datapath| self.gateways.next_doubt(datapath, self.now));
        [netstack, datapath, doubt].into_iter().flatten().min()
    }

    /// After the network has changed.
    fn announce(&mut self) {
        self.tell_carriers();
        let Some(datapath) = &mut self.datapath else { return };
        for peer in self.gateways.peers() {
            if let Err(cause) = datapath.tunnel.announce(peer, self.now) {
                tracing::debug!(%cause, "a gateway was not told of the network");
            }
        }
    }

    fn tell_carriers(&self) {
        let carriers = self.port.reachable_at().into_iter().map(Carrier::Udp).collect();
        tell(&self.events, PlaneEvent::Carriers(carriers));
    }

    fn status(&self) -> PlaneStatus {
        let tunnels = self.datapath.as_ref().map_or_else(PlaneStatus::default, |datapath| PlaneStatus {
            peers: self.gateways.status(datapath, self.now),
            flows: datapath.table.flows().into(),
            denied: datapath.counters().all_denied().iter().copied().collect(),
            unsealed: datapath.counters().unsealed,
            refused: datapath.tunnel.refusals().total(),
            ..PlaneStatus::default()
        });
        PlaneStatus {
            address: Some(self.port.local_address()),
            offload: self.port.offloads().to_string(),
            streams: self.streams.count() as u64,
            buffered: self.netstack.buffered() as u64,
            lost: self.port.lost(),
            turns: self.turns,
            ..tunnels
        }
    }
}

fn tell(events: &mpsc::Sender<PlaneEvent>, event: PlaneEvent) {
    if let Err(cause) = events.try_send(event) {
        tracing::warn!(%cause, "the session was not told");
    }
}

/// A client's flows are all its own.
pub(super) const SCOPE: Scope = Scope(0);

/// What tasks may have asked for and not got yet.
const INBOX: usize = 4096;
/// How much is done in one turn: commands, system calls that receive, rounds of moving bytes, packets in a round.
const COMMANDS: usize = 256;
const BATCHES: usize = 2;
const ROUNDS: usize = 4;
const PACKETS: usize = 256;
const MOST_FAILURES: u32 = 1000;
/// The longest that the kernel hands over.
const LONGEST_DATAGRAM: usize = 1 << 16;
/// A thread that wakes so late has not been asleep alone: the machine was.
const OVERSLEPT: Duration = secs(3);
