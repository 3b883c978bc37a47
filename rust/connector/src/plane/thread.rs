use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use ztna_datapath::policy::Scope;
use ztna_datapath::tunnel::PeerId;
use ztna_datapath::{Area, Datapath};
use ztna_model::{Carrier, DenyReason, Flow, Time, secs};
use ztna_net::clock::Clock;
use ztna_net::inbox::{Inbox, Post};
use ztna_net::poll::Poller;
use ztna_net::random::SystemRandom;
use ztna_net::tun::TunPort;
use ztna_net::udp::{Batch, BindError, UdpPort};
use ztna_netstack::Netstack;

use crate::plane::command::Command;
use crate::plane::config::PlaneConfig;
use crate::plane::event::PlaneEvent;
use crate::plane::gateways::Gateways;
use crate::plane::status::PlaneStatus;
use crate::plane::streams::Streams;
use crate::plane::tun::Tun;

/// Everything that packets touch.
pub(super) struct DataThread {
    pub(super) config: PlaneConfig,
    pub(super) random: SystemRandom,
    pub(super) poller: Poller,
    pub(super) inbox: Inbox<Command>,
    pub(super) events: mpsc::Sender<PlaneEvent>,
    pub(super) port: UdpPort,
    pub(super) batch: Batch,
    /// Where datagrams are opened.
    pub(super) area: Area,
    /// Applications' own packets, if they come here.
    pub(super) tun: Option<Tun>,
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
    pub(super) failures: u32,
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
    tun: Option<TunPort>,
    events: mpsc::Sender<PlaneEvent>,
) -> Result<Post<Command>, PlaneError> {
    let mut port = UdpPort::bind(config.bind)?;
    config.mark.map_or(Ok(()), |mark| port.mark(mark))?;
    let (mut poller, post, inbox) = Poller::new(Clock, INBOX)?;
    poller.add(&mut port)?;
    if let Some(tun) = &tun {
        poller.add_tun(tun)?;
    }
    let mut random = SystemRandom::new();
    let tun = tun.map(|tun| Tun::new(tun, &mut random));
    let thread = DataThread {
        netstack: Netstack::new(config.streams, &mut random),
        gateways: Gateways::new(config.patience),
        batch: Batch::new(),
        area: Area::new(),
        tun,
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
        let (slept, deadline) = (self.now, self.deadline());
        let tun = self.tun.as_mut().map(|tun| &mut tun.port);
        self.now = self.poller.wait_with(&mut self.port, tun, &self.inbox, deadline)?;
        self.turns += 1;
        if deadline.is_some_and(|deadline| has_overslept(slept, deadline, self.now)) {
            self.gateways.woke(self.now);
        }
        self.begin();
        self.obey();
        self.receive()?;
        self.take_packets()?;
        self.note_ready();
        self.exchange();
        self.hear_resolver();
        self.finish();
        Ok(())
    }

    fn begin(&mut self) {
        let Some(datapath) = &mut self.datapath else { return };
        let ended = datapath.begin_batch(self.now);
        while let Some(flow) = self.streams.next_closed(self.now) {
            datapath.table.close(Scope::DEVICE, &flow);
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
                Command::Settle(wish, outcome) => self.settle(&wish, outcome),
                Command::Answer(query, message) => self.answer(query, &message),
                // Who asked may have gone.
                Command::Status(answer) => drop(answer.send(self.status())),
            }
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
        let resolver = self.tun.as_mut().and_then(|tun| tun.desk.resolver.next_wake());
        let needed = self.datapath.as_ref().filter(|_| self.streams.count() > 0 || self.tun.is_some());
        let doubt = needed.and_then(|datapath| self.gateways.next_doubt(datapath, self.now));
        [netstack, datapath, doubt, resolver].into_iter().flatten().min()
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
            tun: self.tun.as_ref().map(Tun::status),
            streams: self.streams.count() as u64,
            buffered: self.netstack.buffered() as u64,
            lost: self.port.lost(),
            turns: self.turns,
            ..tunnels
        }
    }
}

/// Tells the session, unless it is so far behind that it will not miss one more.
pub(super) fn tell(events: &mpsc::Sender<PlaneEvent>, event: PlaneEvent) {
    if let Err(cause) = events.try_send(event) {
        tracing::debug!(%cause, "the session was not told");
    }
}

/// Whether a thread that fell asleep at `slept` to wake at `deadline` was not asleep alone: the machine was.
fn has_overslept(slept: Time, deadline: Time, now: Time) -> bool {
    now.since(deadline.max(slept)) > OVERSLEPT
}

/// What tasks may have asked for and not got yet, and how much of it is done in one turn.
const INBOX: usize = 4096;
const COMMANDS: usize = 256;
/// More than a busy machine keeps a thread waiting.
const OVERSLEPT: Duration = secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_machine_that_slept_oversleeps() {
        let rows = [
            // Asleep for a minute, as it should be.
            (100, 160, 160, false),
            (100, 160, 162, false),
            (100, 160, 164, true),
            // Something to do at once, and it was done.
            (100, 0, 100, false),
            (100, 0, 104, true),
        ];
        for (slept, deadline, now, expected) in rows {
            let at = |seconds| Time::ZERO + secs(seconds);
            assert_eq!(has_overslept(at(slept), at(deadline), at(now)), expected, "{slept} {deadline} {now}");
        }
    }
}
