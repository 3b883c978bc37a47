use ztna_model::Flow;

use crate::stream::{Scope, StreamId};

/// What [`crate::Netstack::poll`] hands out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output<'a> {
    /// Send this packet to a peer.
    Packet {
        /// To which one.
        scope: Scope,
        /// The IP packet, to be used before anything else is asked of the netstack.
        packet: &'a [u8],
    },
    /// Somebody wants a flow, and hears nothing until [`crate::Netstack::accept`] or [`crate::Netstack::refuse`].
    Incoming {
        /// Its name at this end.
        stream: StreamId,
        /// Who wants it.
        scope: Scope,
        /// The flow, as its first packet shows it.
        flow: Flow,
    },
    /// Something happened to a flow.
    Event {
        /// The flow.
        stream: StreamId,
        /// What happened.
        event: Event,
    },
}

/// What happens to a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The connection stands: bytes can be sent.
    Connected,
    /// There is something to read. It is said again only after all has been read and more has come.
    Readable,
    /// There is room again, after a send found too little.
    Writable,
    /// The peer sends no more, and all that it sent has been read. The other direction may go on.
    PeerClosed,
    /// Both directions are over, and everything arrived. The flow's name is void.
    Closed,
    /// The flow broke off. What was not read is lost; the flow's name is void.
    Reset(Cause),
}

/// Why a flow broke off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The peer reset or refused it.
    Peer,
    /// The peer did not answer.
    Silence,
    /// This end ended it by [`crate::Netstack::abort_where`].
    Aborted,
    /// A packet that makes no sense broke it.
    Broken,
}

/// What is still to be said about one flow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct News {
    incoming: bool,
    connected: bool,
    readable: bool,
    writable: bool,
    peer_closed: bool,
    end: Option<Event>,
}

/// One piece of news.
pub(crate) enum Item {
    Incoming,
    Event(Event),
}

impl Item {
    /// Whether nothing can follow it.
    pub(crate) const fn is_last(&self) -> bool {
        matches!(self, Self::Event(Event::Closed | Event::Reset(_)))
    }
}

impl News {
    pub(crate) fn incoming(&mut self) {
        self.incoming = true;
    }

    /// Adds an event. One that ends the flow makes earlier ones idle; nobody hears about the end of a flow that nobody
    /// has heard of.
    pub(crate) fn add(&mut self, event: Event) {
        if self.end.is_some() {
            return;
        }
        match event {
            Event::Connected => self.connected = true,
            Event::Readable => self.readable = true,
            Event::Writable => self.writable = true,
            Event::PeerClosed => self.peer_closed = true,
            Event::Closed => self.end = Some(event),
            Event::Reset(_) if self.incoming => *self = Self::default(),
            Event::Reset(_) => *self = Self { end: Some(event), ..Self::default() },
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes out what is to be said first.
    pub(crate) fn take(&mut self) -> Option<Item> {
        use std::mem::take;
        if take(&mut self.incoming) {
            return Some(Item::Incoming);
        }
        let event = if take(&mut self.connected) {
            Event::Connected
        } else if take(&mut self.readable) {
            Event::Readable
        } else if take(&mut self.writable) {
            Event::Writable
        } else if take(&mut self.peer_closed) {
            Event::PeerClosed
        } else {
            self.end.take()?
        };
        Some(Item::Event(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: &[Event], expected: &[Event]) {
        let mut news = News::default();
        events.iter().for_each(|event| news.add(*event));
        let told = std::iter::from_fn(|| news.take()).map(|item| match item {
            Item::Event(event) => event,
            Item::Incoming => panic!("nobody came"),
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert!(news.is_empty());
    }

    #[test]
    fn the_order_of_news() {
        use Event::{Closed, Connected, PeerClosed, Readable, Reset, Writable};
        check(&[Writable, Readable, Connected, Readable], &[Connected, Readable, Writable]);
        check(&[PeerClosed, Closed, Writable], &[PeerClosed, Closed]);
        check(&[Connected, Readable, Reset(Cause::Peer)], &[Reset(Cause::Peer)]);
        check(&[Reset(Cause::Aborted), Reset(Cause::Peer), Readable], &[Reset(Cause::Aborted)]);
    }

    #[test]
    fn a_flow_that_nobody_heard_of_ends_unheard() {
        let mut news = News::default();
        news.incoming();
        news.add(Event::Reset(Cause::Peer));
        assert!(news.is_empty() && news.take().is_none());
    }
}
