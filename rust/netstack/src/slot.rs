use ztna_model::Flow;

use crate::output::{Item, News};
use crate::stream::Scope;
use crate::syn::Syn;
use crate::tcp::Tcp;
use crate::told::Told;
use crate::udp::Udp;

/// One flow, and what everyone keeps about it.
pub(crate) struct Slot {
    /// Which of those that had this place one after the other.
    pub(crate) generation: u32,
    /// Whose it is.
    pub(crate) scope: Scope,
    /// The flow, as packets that arrive show it.
    pub(crate) arriving: Flow,
    /// Whether this end began it.
    pub(crate) ours: bool,
    /// Whether its name is still good.
    pub(crate) named: bool,
    /// What it is.
    pub(crate) body: Body,
    /// What is still to be said about it.
    pub(crate) news: News,
    /// Whether it stands in the queue of those with something to say.
    pub(crate) telling: bool,
    /// Whether it stands in the queue of those with something to do.
    pub(crate) ready: bool,
    /// Whether its peer waits for an answer, and it counts so.
    pub(crate) waiting: bool,
    /// Whether the next flow may have its place.
    pub(crate) free: bool,
}

/// What a flow is.
pub(crate) enum Body {
    /// A wish for a connection, not answered yet.
    Wanted(Syn),
    /// A wish that is to be answered by a reset.
    Unwanted(Syn),
    /// A connection.
    Tcp(Tcp),
    /// Datagrams.
    Udp(Udp),
    /// Datagrams that are to be answered with *prohibited*.
    Prohibited,
    /// A connection that was closed in good order, and answers its peer's last segment again.
    Lingering(Told),
    /// Nothing any more.
    Gone,
}

impl Body {
    /// Whether it counts as a flow.
    pub(crate) const fn is_alive(&self) -> bool {
        match self {
            Self::Wanted(_) | Self::Tcp(_) | Self::Udp(_) => true,
            Self::Unwanted(_) | Self::Prohibited | Self::Lingering(_) | Self::Gone => false,
        }
    }

    /// The size of each of its two buffers.
    pub(crate) const fn buffer(&self) -> usize {
        match self {
            Self::Tcp(tcp) => tcp.buffer(),
            Self::Udp(udp) => udp.buffer(),
            Self::Wanted(_) | Self::Unwanted(_) | Self::Prohibited | Self::Lingering(_) | Self::Gone => 0,
        }
    }
}

impl Slot {
    /// A flow of `scope` whose packets will arrive as `arriving`, begun at this end or not.
    pub(crate) fn new(scope: Scope, arriving: Flow, ours: bool, body: Body) -> Self {
        Self {
            generation: 0,
            scope,
            arriving,
            ours,
            named: true,
            body,
            news: News::default(),
            telling: false,
            ready: false,
            waiting: !ours,
            free: false,
        }
    }

    /// The flow, seen from the packets of whoever began it.
    pub(crate) const fn flow(&self) -> Flow {
        if self.ours { self.arriving.reversed() } else { self.arriving }
    }

    /// The next piece of news. After the last one its name is void.
    pub(crate) fn tell(&mut self) -> Option<Item> {
        if self.news.is_empty() && self.named {
            match &mut self.body {
                Body::Tcp(tcp) => tcp.tell(&mut self.news),
                Body::Udp(udp) if !self.waiting => udp.tell(&mut self.news),
                Body::Udp(_)
                | Body::Wanted(_)
                | Body::Unwanted(_)
                | Body::Prohibited
                | Body::Lingering(_)
                | Body::Gone => {}
            }
        }
        let item = self.news.take();
        self.named &= !item.as_ref().is_some_and(Item::is_last);
        item
    }
}
