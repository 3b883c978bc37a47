use thiserror::Error;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $sentence:literal,)*) => {
        /// Why a datagram was refused. None of these is told to the sender, but a cookie where one is due.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Error)]
        pub enum Refusal {
            $($(#[$doc])* #[error($sentence)] $name,)*
        }

        impl Refusal {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

refusals! {
    /// No WireGuard message, by length, type or counter. Also an empty datagram that only opened a path.
    Unreadable = "the datagram is no WireGuard message",
    /// No session has its receiver index.
    UnknownIndex = "no session has this index",
    /// An initiation by a key that is no peer's.
    UnknownKey = "no peer has this key",
    /// A handshake message whose first code was made without our public key.
    BadMac = "the message was not made for this key",
    /// Too many handshakes: this sender must first show that its address is its own. It was sent a cookie.
    CookieDue = "too many handshakes, a cookie was sent",
    /// Too many handshakes altogether, from one address or by one peer.
    Busy = "too many handshakes",
    /// A handshake message that this peer's role does not take.
    WrongRole = "the peer may not send this message",
    /// A response or cookie that answers nothing.
    Unasked = "the message answers nothing",
    /// Seen before, or too far behind to tell.
    Replayed = "the datagram was seen before",
    /// Its session is over.
    Expired = "the session is over",
    /// Its tag is wrong.
    Forged = "the datagram is forged or damaged",
    /// Authentic, but no IP packet is inside.
    NotIp = "there is no IP packet inside",
    /// The caller's buffer is shorter than the datagram less its header.
    NoRoom = "the buffer is too small",
}

/// How often a tunnel refused a datagram, for each reason.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Refusals([u64; Refusal::ALL.len()]);

impl Refusals {
    /// How often for this reason.
    pub fn of(&self, reason: Refusal) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// How often for all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.iter().map(|reason| (*reason, self.of(*reason)))
    }

    pub(crate) fn count(&mut self, reason: Refusal) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let mut refusals = Refusals::default();
        for (n, reason) in Refusal::ALL.iter().enumerate() {
            (0..=n).for_each(|_| refusals.count(*reason));
        }
        let counts: Vec<u64> = refusals.iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=Refusal::ALL.len() as u64).collect::<Vec<_>>());
        assert_eq!(refusals.total(), counts.iter().sum::<u64>());
    }
}
