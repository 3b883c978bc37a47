//! The one task that owns an organisation's decisions: everybody else sends it messages, and none of them waits for it
//! longer than for its answer.
//!
//! ```text
//!   HTTP, streams, administrators ── messages ──▶ Desk ── handle ──▶ Pdp ── poll ──▶ answers, frames, batches, alarms
//!                                                  ▲                                    │
//!                                                  └────────── committed, or not ───────┘ store, in groups
//! ```
//!
//! A stream whose reader does not keep up is cut; it never holds up anybody else.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use ztna_api::admin::AdminError;
use ztna_model::OrgId;
use ztna_net::clock::Clock;
use ztna_pdp::rows::One;
use ztna_pdp::{Batch, BatchId, Input, NotCommitted, Now, Output, Pdp, RequestId, StreamId};

use crate::store::Store;

mod handle; // how others reach it
pub(crate) use handle::{Handle, Overloaded, Told};

mod message; // what it is told
use message::{Message, Waiting};

mod outbox; // what waits to be said on a stream
pub(crate) use outbox::{Goodbye, Outbox, Saying, outbox};

mod alarms; // what whoever looks after the broker should know
pub use alarms::Alarms;

/// An organisation's decisions at work.
pub(crate) struct Desk {
    org: OrgId,
    pdp: Pdp,
    store: Arc<dyn Store>,
    clock: Clock,
    urgent: mpsc::Receiver<Message>,
    ordinary: mpsc::Receiver<Message>,
    waiting: BTreeMap<RequestId, Waiting>,
    streams: BTreeMap<StreamId, (Outbox, Kind)>,
    /// Inputs that follow from what was done.
    follow: VecDeque<Input>,
    /// Batches that wait for the one on its way.
    batches: Vec<Batch>,
    commit: Option<Commit>,
    alarms: Alarms,
    title: watch::Sender<String>,
}

/// Whose stream it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Device,
    Gateway,
}

impl Kind {
    const fn closed(self, stream: StreamId) -> Input {
        match self {
            Self::Device => Input::DeviceClosed(stream),
            Self::Gateway => Input::GatewayClosed(stream),
        }
    }
}

type Commit = JoinHandle<Vec<(BatchId, Result<(), NotCommitted>)>>;

/// What happens next.
enum Next {
    Message(Option<Message>),
    Committed(Vec<(BatchId, Result<(), NotCommitted>)>),
    Woken,
}

impl Desk {
    /// A desk and the way to it. It keeps `title` at what the organisation is called.
    pub(crate) fn new(
        org: OrgId,
        pdp: Pdp,
        store: Arc<dyn Store>,
        alarms: Alarms,
        title: watch::Sender<String>,
    ) -> (Self, Handle) {
        let (urgently, urgent) = mpsc::channel(MOST_URGENT);
        let (ordinarily, ordinary) = mpsc::channel(MOST_ORDINARY);
        let handle = Handle::new(urgently, ordinarily, title.subscribe());
        let mut desk = Self {
            org,
            pdp,
            store,
            clock: Clock,
            urgent,
            ordinary,
            waiting: BTreeMap::new(),
            streams: BTreeMap::new(),
            follow: VecDeque::new(),
            batches: vec![],
            commit: None,
            alarms,
            title,
        };
        desk.tell_title();
        (desk, handle)
    }

    /// Works until everybody who could tell it something is gone, or until it is told to stop; what is on its way to the
    /// store arrives there first.
    pub(crate) async fn run(mut self) {
        self.drain();
        loop {
            match self.next().await {
                Next::Message(None | Some(Message::Stop)) => break,
                Next::Message(Some(message)) => self.take(message),
                Next::Committed(outcomes) => self.committed(outcomes),
                Next::Woken => self.handle(Input::Woken),
            }
            self.drain();
        }
        self.finish().await;
    }

    async fn next(&mut self) -> Next {
        let wake = self.pdp.next_wake();
        tokio::select! {
            biased;
            outcomes = finished(&mut self.commit) => Next::Committed(outcomes),
            message = self.urgent.recv() => Next::Message(message),
            message = self.ordinary.recv() => Next::Message(message),
            () = async { match wake { Some(wake) => self.clock.sleep_until(wake).await, None => pending().await } } => {
                Next::Woken
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Ask(input, request, waiting) => {
                self.waiting.insert(request, waiting);
                self.handle(*input);
            }
            Message::Tell(input) => self.handle(*input),
            Message::Closed(stream) => {
                self.waiting.remove(&RequestId(stream.0));
                if let Some((_, kind)) = self.streams.remove(&stream) {
                    self.handle(kind.closed(stream));
                }
            }
            Message::OpenDevice(opened, outbox, answer) => {
                self.waiting.insert(RequestId(opened.stream.0), Waiting::Stream(answer));
                self.streams.insert(opened.stream, (outbox, Kind::Device));
                self.handle(Input::DeviceOpened(*opened));
            }
            Message::OpenGateway(opened, outbox) => {
                self.streams.insert(opened.stream, (outbox, Kind::Gateway));
                self.handle(Input::GatewayOpened(opened));
            }
            Message::Nonce(answer) => {
                let nonce = self.pdp.nonce(self.now());
                let _ = answer.send(nonce); // whoever asked may be gone
            }
            Message::Stop => {}
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.pdp.handle(input, now);
    }

    /// Does everything that is to be done, and what follows from it.
    fn drain(&mut self) {
        loop {
            while let Some(output) = self.pdp.poll() {
                self.perform(output);
            }
            match self.follow.pop_front() {
                Some(input) => self.handle(input),
                None => break,
            }
        }
        self.begin_commit();
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Commit(batch) => self.batches.push(batch),
            Output::Tokens(request, answer) => {
                self.answer(request, |waiting, nonce| waiting.tokens(answer, nonce));
            }
            Output::SignedOut(request, answer) => {
                self.answer(request, |waiting, nonce| waiting.signed_out(answer, nonce));
            }
            Output::Enrolled(request, answer) | Output::CertificateRenewed(request, answer) => {
                self.answer(request, |waiting, _| waiting.certified(answer));
            }
            Output::Admin(request, answer) => self.answer(request, |waiting, _| waiting.admin(answer)),
            Output::Stream(stream, answer) => {
                if answer.is_err() {
                    self.streams.remove(&stream);
                }
                self.answer(RequestId(stream.0), |waiting, nonce| waiting.stream(answer, nonce));
            }
            Output::ToDevice(stream, frame) => self.say(stream, Saying::ToDevice(Box::new(frame))),
            Output::ToGateway(stream, frame) => self.say(stream, Saying::ToGateway(Box::new(frame))),
            Output::Close(stream) => {
                self.say(stream, Saying::Goodbye(Goodbye::Done));
                self.streams.remove(&stream);
            }
            Output::Alarm(alarm) => self.alarms.raise(&alarm, self.clock.wall()),
        }
    }

    fn answer(&mut self, request: RequestId, send: impl FnOnce(Waiting, String)) {
        if let Some(waiting) = self.waiting.remove(&request) {
            let nonce = self.pdp.nonce(self.now()).nonce;
            send(waiting, nonce);
        }
    }

    /// Says something on a stream, or cuts it where too much waits to be said already.
    fn say(&mut self, stream: StreamId, saying: Saying) {
        let Some((outbox, kind)) = self.streams.get(&stream) else { return };
        if outbox.put(saying).is_err() {
            tracing::info!(stream = stream.0, ?kind, "a stream does not keep up: it is cut");
            self.follow.push_back(kind.closed(stream));
            self.streams.remove(&stream);
        }
    }

    /// Sends what waits to the store, unless something is on its way: whatever comes meanwhile shares the next commit.
    fn begin_commit(&mut self) {
        if self.commit.is_some() || self.batches.is_empty() {
            return;
        }
        let batches = std::mem::take(&mut self.batches);
        let (org, store) = (self.org.clone(), Arc::clone(&self.store));
        self.commit = Some(tokio::spawn(async move {
            let outcomes = store.commit(&org, &batches).await;
            batches.iter().map(|batch| batch.id).zip(outcomes).collect()
        }));
    }

    fn committed(&mut self, outcomes: Vec<(BatchId, Result<(), NotCommitted>)>) {
        for (batch, outcome) in outcomes {
            self.handle(match outcome {
                Ok(()) => Input::Committed(batch),
                Err(why) => Input::NotCommitted(batch, why),
            });
        }
        self.tell_title();
    }

    fn tell_title(&mut self) {
        let organisation = self.pdp.rows().organisation.get(&One);
        let title = organisation.map(|row| row.settings.title.as_str()).unwrap_or_default();
        self.title.send_if_modified(|known| {
            let changed = known != title;
            if changed {
                title.clone_into(known);
            }
            changed
        });
    }

    /// Tells every stream to come back, and sees what was decided into the store.
    async fn finish(mut self) {
        for (outbox, _) in std::mem::take(&mut self.streams).into_values() {
            let _ = outbox.put(Saying::Goodbye(Goodbye::ComeBack)); // a full one is cut, which says the same
        }
        while self.commit.is_some() {
            let outcomes = finished(&mut self.commit).await;
            self.committed(outcomes);
            self.drain();
        }
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            waiting.admin(Err(AdminError::StoreDown)); // the others are told by their senders' end
        }
    }

    fn now(&self) -> Now {
        Now { boot: self.clock.now(), wall: self.clock.wall() }
    }
}

/// Waits for the commit on its way, for ever if there is none.
async fn finished(commit: &mut Option<Commit>) -> Vec<(BatchId, Result<(), NotCommitted>)> {
    let Some(running) = commit else { return pending().await };
    let outcomes = running.await;
    *commit = None;
    outcomes.unwrap_or_else(|cause| {
        // It neither panics nor is cancelled, but with the whole process.
        tracing::error!(%cause, "a commit came to no end");
        vec![]
    })
}

/// What administrators ask goes before everything else.
const MOST_URGENT: usize = 256;
/// Beyond that, requests are turned away and streams are read no further.
const MOST_ORDINARY: usize = 1024;
