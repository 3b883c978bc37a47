use tokio::sync::mpsc;
use ztna_api::device::ToDevice;
use ztna_api::gateway::ToGateway;

/// What waits to be said on one stream; it takes only so much.
#[derive(Debug)]
pub(crate) struct Outbox(mpsc::Sender<Saying>);

/// What is said.
#[derive(Debug)]
pub(crate) enum Saying {
    /// A frame to a device.
    ToDevice(Box<ToDevice>),
    /// A frame to a gateway.
    ToGateway(Box<ToGateway>),
    /// The last word.
    Goodbye(Goodbye),
}

/// Why a stream is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Goodbye {
    /// All is said.
    Done,
    /// The broker stops or starts again.
    ComeBack,
}

/// There is no room, or nobody who would listen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

/// An outbox for `most` frames, and its other end.
pub(crate) fn outbox(most: usize) -> (Outbox, mpsc::Receiver<Saying>) {
    let (sender, receiver) = mpsc::channel(most);
    (Outbox(sender), receiver)
}

impl Outbox {
    pub(super) fn put(&self, saying: Saying) -> Result<(), Full> {
        self.0.try_send(saying).map_err(|_| Full)
    }
}

impl Saying {
    /// The frame as text; none for a goodbye.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::ToDevice(frame) => Some(frame.write()),
            Self::ToGateway(frame) => Some(frame.write()),
            Self::Goodbye(_) => None,
        }
    }
}
