use tokio::sync::oneshot;
use ztna_datapath::policy;
use ztna_model::{DenyReason, Endpoint, Flow, Inner, Protocol};
use ztna_netstack::{Cause, ConnectError, Event, StreamId};

use crate::plane::carriage::{Carriage, Ending, Progress};
use crate::plane::command::{Load, Ticket};
use crate::plane::handle::OpenError;
use crate::plane::packets::SCOPE;
use crate::plane::streams::{Phase, Stream};
use crate::plane::thread::DataThread;

/// The lives of flows.
impl DataThread {
    pub(super) fn open(
        &mut self,
        ticket: Ticket,
        destination: Endpoint,
        answer: oneshot::Sender<Result<StreamId, OpenError>>,
    ) {
        match self.connect(destination) {
            Ok((id, flow)) => self.streams.add(id, flow, Phase::Opening(ticket, answer)),
            // Who gave up waiting needs no answer.
            Err(cause) => drop(answer.send(Err(cause))),
        }
    }

    /// Begins a flow to `destination` from an unpredictable free port (RFC 6056).
    fn connect(&mut self, destination: Endpoint) -> Result<(StreamId, Flow), OpenError> {
        self.look_for_rule(destination)?;
        let source = Endpoint::new(Inner::DEVICE.like(destination.address), 0);
        let wish = Flow { protocol: Protocol::Tcp, source, destination };
        let id = self.netstack.connect(SCOPE, wish, self.now).map_err(|cause| match cause {
            ConnectError::OtherProtocol | ConnectError::BadEnds => OpenError::Denied(DenyReason::NoRule),
            ConnectError::Taken | ConnectError::TooManyFlows | ConnectError::NoBuffers => {
                OpenError::Denied(DenyReason::TooManyFlows)
            }
        })?;
        let (_, flow) = self.netstack.flow(id).ok_or(OpenError::Denied(DenyReason::Fault))?;
        Ok((id, flow))
    }

    /// The table judges every packet; asked first, it can say at once why there is no point in sending any.
    fn look_for_rule(&self, to: Endpoint) -> Result<(), OpenError> {
        let Some(datapath) = &self.datapath else { return Err(OpenError::Denied(DenyReason::SignedOut)) };
        let covers = |rule: &policy::Rule| {
            let terms = &rule.terms;
            terms.protocol == Protocol::Tcp
                && terms.ports.contains(to.port)
                && terms.covers.covers(to.address)
        };
        if !datapath.table.rules().any(|(_, rule)| covers(rule)) {
            return Err(OpenError::Denied(DenyReason::NoRule));
        }
        if datapath.table.flows() >= self.config.table.flows {
            return Err(OpenError::Denied(DenyReason::TooManyFlows));
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, ticket: Ticket) {
        if let Some(id) = self.streams.with_ticket(ticket) {
            self.drop_stream(id);
        }
    }

    /// Takes an application's socket. If the flow is over by now, nobody is told but by the load's own end.
    pub(super) fn take(&mut self, load: Load) {
        let (id, mut carriage) = Carriage::new(load);
        let watched = carriage.connection().watch(&self.poller, id.index());
        match self.streams.get(id).filter(|stream| matches!(stream.phase, Phase::Open)) {
            Some(stream) if watched.is_ok() => {
                stream.phase = Phase::Carrying(Box::new(carriage));
                self.streams.mark_busy(id);
            }
            Some(_) | None => {
                carriage.end(Ending::Broken);
                self.drop_stream(id);
            }
        }
    }

    /// Resets a flow that nobody wants any more.
    pub(super) fn drop_stream(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(id, self.now) {
            self.netstack.abort(id);
            end(stream, Ending::Broken, OpenError::Ended);
        }
    }

    /// Resets a flow that nothing allows any more, both ways.
    pub(super) fn cut_stream(&mut self, id: StreamId, reason: DenyReason) {
        if let Some(stream) = self.streams.remove(id, self.now) {
            self.netstack.abort(id);
            end(stream, Ending::Cut(reason), OpenError::Denied(reason));
        }
    }

    /// Does what follows from news of a flow.
    pub(super) fn follow(&mut self, id: StreamId, event: Event) {
        match event {
            Event::Connected => self.connected(id),
            Event::Readable | Event::Writable => self.streams.mark_busy(id),
            Event::PeerClosed => {
                if let Some(stream) = self.streams.get(id) {
                    stream.is_finished_down = true;
                    self.streams.mark_busy(id);
                }
            }
            Event::Closed => self.over(id, Ending::Finished, OpenError::Refused),
            Event::Reset(Cause::Silence) => self.over(id, Ending::Broken, OpenError::Silent),
            Event::Reset(Cause::Peer) => self.over(id, Ending::Broken, OpenError::Refused),
            Event::Reset(Cause::Aborted | Cause::Broken) => {
                self.over(id, Ending::Broken, OpenError::Denied(DenyReason::Fault));
            }
        }
    }

    fn connected(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let told = match std::mem::replace(&mut stream.phase, Phase::Open) {
            Phase::Opening(_, answer) => answer.send(Ok(id)).is_ok(),
            phase @ (Phase::Open | Phase::Carrying(_)) => {
                stream.phase = phase;
                true
            }
        };
        if !told {
            self.drop_stream(id);
        }
    }

    fn over(&mut self, id: StreamId, ending: Ending, unopened: OpenError) {
        if let Some(stream) = self.streams.remove(id, self.now) {
            end(stream, ending, unopened);
        }
    }

    /// Moves the bytes of those flows that have any to move, one turn each, until much has been moved.
    pub(super) fn carry(&mut self) {
        let mut moved = 0;
        for _ in 0..self.streams.busy() {
            if moved >= MUCH {
                return;
            }
            let Some(stream) = self.streams.next_busy() else { return };
            let (id, is_finished_down) = (stream.id, stream.is_finished_down);
            let Phase::Carrying(carriage) = &mut stream.phase else { continue };
            let before = carriage.traffic().total();
            let progress = carriage.advance(&mut self.netstack, id);
            moved += carriage.traffic().total() - before;
            match progress {
                Progress::Broken => self.drop_stream(id),
                Progress::More => self.streams.mark_busy(id),
                Progress::Waits if is_finished_down => carriage.finish_down(),
                Progress::Waits => {}
            }
        }
    }
}

/// Tells whoever waits for a flow that it is over.
fn end(stream: Stream, ending: Ending, unopened: OpenError) {
    match stream.phase {
        // Who gave up waiting needs no answer.
        Phase::Opening(_, answer) => drop(answer.send(Err(unopened))),
        Phase::Open => {}
        Phase::Carrying(carriage) => carriage.end(ending),
    }
}

/// How much is moved before other things have their turn, in bytes: half a millisecond's work.
const MUCH: u64 = 1 << 20;
