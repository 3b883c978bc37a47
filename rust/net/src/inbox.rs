//! What other threads and tasks tell a data thread: a bounded queue that wakes its poller, once for many messages.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;
use thiserror::Error;
use tokio::sync::mpsc;

/// The data thread's end.
pub struct Inbox<T> {
    queue: mpsc::Receiver<T>,
    ringing: Arc<AtomicBool>,
    _waker: Arc<Waker>, // a waker that is gone wakes nobody, so it outlives the last sender
}

/// The other end, to be cloned at will.
pub struct Post<T> {
    // Dropped in this order: the thread that the bell wakes for the last time finds the queue closed.
    queue: mpsc::Sender<T>,
    bell: Arc<Bell>,
}

/// Why a message did not go in; it comes back.
#[derive(Clone, PartialEq, Eq, Error)]
pub enum PostError<T> {
    /// The data thread is behind.
    #[error("the data thread's inbox is full")]
    Full(T),
    /// The data thread has ended.
    #[error("the data thread has ended")]
    Ended(T),
}

impl<T> Inbox<T> {
    /// An inbox of `capacity` messages whose arrival wakes a poller through `waker`.
    pub(crate) fn new(capacity: usize, waker: Waker) -> (Post<T>, Self) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let ringing = Arc::new(AtomicBool::new(false));
        let waker = Arc::new(waker);
        let bell = Bell { waker: Arc::clone(&waker), ringing: Arc::clone(&ringing) };
        (Post { queue: sender, bell: Arc::new(bell) }, Self { queue: receiver, ringing, _waker: waker })
    }

    /// Up to `most` of the messages that wait, in the order of their arrival; the poller does not wait while some are
    /// left.
    pub fn drain(&mut self, most: usize) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.queue.try_recv().ok()).take(most)
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether nobody is left who could send: once it is empty as well, the data thread has nothing more to do.
    pub fn is_abandoned(&self) -> bool {
        self.queue.is_closed()
    }

    /// Whether the data thread may go to sleep: from here on, the next message rings.
    ///
    /// A sender first adds its message and then swaps the flag in, the data thread first swaps it out and then looks
    /// for messages. So either the message is seen here, or its sender finds the flag out and wakes the poller; and
    /// while the thread is busy, nobody makes a system call to wake it.
    pub(crate) fn may_sleep(&self) -> bool {
        self.ringing.swap(false, Ordering::SeqCst);
        self.is_empty()
    }
}

impl<T> Post<T> {
    /// Sends `message`, waiting for room if need be.
    pub async fn send(&self, message: T) -> Result<(), PostError<T>> {
        self.queue.send(message).await.map_err(|back| PostError::Ended(back.0))?;
        self.bell.ring();
        Ok(())
    }

    /// Sends `message` if there is room at once.
    pub fn try_send(&self, message: T) -> Result<(), PostError<T>> {
        self.queue.try_send(message).map_err(|back| match back {
            mpsc::error::TrySendError::Full(message) => PostError::Full(message),
            mpsc::error::TrySendError::Closed(message) => PostError::Ended(message),
        })?;
        self.bell.ring();
        Ok(())
    }
}

impl<T> Clone for Post<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

impl<T> fmt::Debug for Post<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("room", &self.queue.capacity()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

// Messages may hold packets: they do not print.
impl<T> fmt::Debug for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Ended(_) => "Ended",
        })
    }
}

struct Bell {
    waker: Arc<Waker>,
    ringing: Arc<AtomicBool>,
}

impl Bell {
    /// Wakes the poller, unless it is awake or being woken.
    fn ring(&self) {
        if !self.ringing.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Err(cause) = self.waker.wake() {
            tracing::error!(%cause, "cannot wake the data thread");
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.wake(); // to notice that nobody is left
    }
}
