use std::collections::VecDeque;

use ztna_model::Carrier;

use crate::message::INITIATION;
use crate::peer_id::PeerId;

/// Datagrams of the tunnel's own that wait to be sent: handshakes, cookies, keepalives, openings of paths.
pub(crate) struct Outbox {
    letters: VecDeque<Letter>,
}

/// A datagram of at most [`INITIATION`] bytes, with where it goes and for whom.
pub(crate) struct Letter {
    pub(crate) to: Carrier,
    pub(crate) peer: Option<PeerId>,
    bytes: [u8; INITIATION],
    length: usize,
}

impl Letter {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self { letters: VecDeque::new() }
    }

    /// Adds a datagram; one too many is dropped, as the network might.
    pub(crate) fn push(&mut self, peer: Option<PeerId>, to: Carrier, datagram: &[u8]) {
        let mut bytes = [0; INITIATION];
        if self.letters.len() < MOST_LETTERS
            && let Some(room) = bytes.get_mut(..datagram.len())
        {
            room.copy_from_slice(datagram);
            self.letters.push_back(Letter { to, peer, bytes, length: datagram.len() });
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Letter> {
        self.letters.pop_front()
    }

    /// Forgets what was meant for a peer that is gone.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        self.letters.retain(|letter| letter.peer != Some(peer));
    }
}

/// More than one batch of datagrams and one round of alarms ever make.
const MOST_LETTERS: usize = 4_096;
