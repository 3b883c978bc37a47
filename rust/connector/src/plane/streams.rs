use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use ztna_model::{Flow, Time, secs};
use ztna_net::poll::Readiness;
use ztna_netstack::StreamId;

use crate::plane::carriage::Carriage;
use crate::plane::command::Ticket;
use crate::plane::handle::OpenError;

/// All flows of local applications: found by name, by number or by what their packets show.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
    by_flow: BTreeMap<Flow, StreamId>,
    /// Those with something to do.
    busy: VecDeque<StreamId>,
    /// Those that are over, and until when the table lets their last segments pass.
    closing: VecDeque<(Time, Flow)>,
}

/// One flow.
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) flow: Flow,
    pub(super) phase: Phase,
    /// Whether the target sends no more, and all that it sent has been read.
    pub(super) is_finished_down: bool,
    is_busy: bool,
}

/// What a flow is at.
pub(super) enum Phase {
    /// Somebody waits for it to stand.
    Opening(Ticket, oneshot::Sender<Result<StreamId, OpenError>>),
    /// It stands, and waits for an application's socket.
    Open,
    /// It carries bytes.
    Carrying(Box<Carriage>),
}

impl Streams {
    /// Adds a flow that somebody waits for.
    pub(super) fn add(&mut self, id: StreamId, flow: Flow, phase: Phase) {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(id.index()) {
            *slot = Some(Stream { id, flow, phase, is_finished_down: false, is_busy: false });
            self.by_flow.insert(flow, id);
        }
    }

    pub(super) fn get(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.at(id.index()).filter(|stream| stream.id == id)
    }

    fn at(&mut self, index: usize) -> Option<&mut Stream> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// The application's socket of the flow with this number is ready for more. Whether it is a flow that carries any.
    pub(super) fn ready(&mut self, index: usize, readiness: Readiness) -> Option<StreamId> {
        let stream = self.at(index)?;
        match &mut stream.phase {
            Phase::Carrying(carriage) => carriage.connection().is_ready(readiness),
            Phase::Opening(..) | Phase::Open => return None,
        }
        Some(stream.id)
    }

    /// The flow whose packets look like this when they leave.
    pub(super) fn with_flow(&self, flow: &Flow) -> Option<StreamId> {
        self.by_flow.get(flow).copied()
    }

    /// The flow that is being opened under this ticket.
    pub(super) fn with_ticket(&self, ticket: Ticket) -> Option<StreamId> {
        let waits = |stream: &&Stream| matches!(stream.phase, Phase::Opening(found, _) if found == ticket);
        self.slots.iter().flatten().find(waits).map(|stream| stream.id)
    }

    /// Every flow.
    pub(super) fn ids(&self) -> Vec<StreamId> {
        self.by_flow.values().copied().collect()
    }

    /// Every flow, as its packets show it when they leave.
    pub(super) fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.by_flow.keys()
    }

    pub(super) fn count(&self) -> usize {
        self.by_flow.len()
    }

    /// Takes out a flow that is over.
    pub(super) fn remove(&mut self, id: StreamId, now: Time) -> Option<Stream> {
        self.get(id)?;
        let stream = self.slots.get_mut(id.index())?.take()?;
        self.by_flow.remove(&stream.flow);
        self.closing.push_back((now + LINGER, stream.flow));
        Some(stream)
    }

    /// A flow that is over, once its last segments may have passed.
    pub(super) fn next_closed(&mut self, now: Time) -> Option<Flow> {
        let crowded = self.closing.len() > MOST_CLOSING;
        while let Some((_, flow)) = self.closing.pop_front_if(|(at, _)| crowded || *at <= now) {
            // Another flow may live between the same ends by now.
            if !self.by_flow.contains_key(&flow) {
                return Some(flow);
            }
        }
        None
    }

    /// Puts a flow among those with something to do.
    pub(super) fn mark_busy(&mut self, id: StreamId) {
        if let Some(stream) = self.get(id).filter(|stream| !stream.is_busy) {
            stream.is_busy = true;
            self.busy.push_back(id);
        }
    }

    pub(super) fn has_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// How many flows have something to do.
    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// The next flow with something to do; what it does next must be asked for again.
    pub(super) fn next_busy(&mut self) -> Option<&mut Stream> {
        while let Some(id) = self.busy.pop_front() {
            if self.get(id).is_some() {
                let stream = self.get(id)?;
                stream.is_busy = false;
                return Some(stream);
            }
        }
        None
    }
}

/// How long a flow that is over may still repeat its last acknowledgement: two repetitions of a FIN.
const LINGER: Duration = secs(2);
/// How many flows may be over and linger.
const MOST_CLOSING: usize = 1024;
