use std::net::IpAddr;
use std::time::Duration;

use ztna_model::{Secret, WgPublic};

use crate::message::{COOKIE_REPLY, INITIATION, OVERHEAD, RESPONSE};
use crate::refusal::Refusal;

/// What an engine knows of the local key: everything that comes before a peer is known.
pub(crate) trait Identity: Sized {
    type Noise: Noise;

    fn new(secret: &Secret<[u8; 32]>) -> Self;

    fn public(&self) -> WgPublic;

    /// A machine for one peer, with 24 bits for its indices; nothing for a key that gives no shared secret.
    fn machine(&self, peer: &WgPublic, psk: Option<&Secret<[u8; 32]>>, index: u32) -> Option<Self::Noise>;

    /// The cheap look at an initiation: its first code, and under load the second, which proves the address.
    /// [`Refusal::CookieDue`] means that `cookie` holds the reply.
    fn screen(&self, initiation: &[u8], from: IpAddr, cookie: &mut [u8; COOKIE_REPLY])
    -> Result<(), Refusal>;

    /// Who sent the initiation, by the key inside. Expensive.
    fn sender(&self, initiation: &[u8]) -> Result<WgPublic, Refusal>;
}

/// One peer's WireGuard state machine.
///
/// The machine makes and reads datagrams. *When* to make one is decided above it, and it never makes one unasked.
pub(crate) trait Noise {
    /// This long after it was made, after its last session began, or after it began a handshake knowing of nothing, the
    /// machine forgets everything, a handshake in progress too.
    const MEMORY: Duration;

    /// Tells the machine the time, which it reads itself. Called at the head of a batch, never within one: what
    /// it stamps and what it ages depends on it.
    fn stamp(&mut self) -> Held;

    /// Makes an initiation, whether or not one is under way; only the last two can be answered, and while the last is
    /// not, a handshake is in progress. Gives the local index in it.
    fn initiate(&mut self, out: &mut [u8; INITIATION]) -> Option<u32>;

    /// Answers an initiation of this peer. Gives the local index in the answer.
    fn answer(&mut self, initiation: &[u8], out: &mut [u8; RESPONSE]) -> Result<u32, Refusal>;

    /// Takes the answer to our initiation, and makes the keepalive that confirms it.
    fn finish(&mut self, response: &[u8], out: &mut [u8; OVERHEAD]) -> Result<(), Refusal>;

    /// Keeps a cookie for the next initiation.
    fn keep_cookie(&mut self, reply: &[u8]) -> Result<(), Refusal>;

    /// Seals a padded packet, or nothing for a keepalive, at the front of `out`, which has [`OVERHEAD`] bytes more
    /// room. Says how many bytes that made; nothing if there is no session.
    fn seal(&mut self, padded: &[u8], out: &mut [u8]) -> Option<usize>;

    /// Opens data into `out`, which has room for all but the header. Gives the packet cut to its own length, or
    /// nothing for a keepalive. [`Refusal::NotIp`] means that the datagram was authentic all the same.
    fn open<'a>(&mut self, data: &[u8], out: &'a mut [u8]) -> Result<&'a mut [u8], Refusal>;
}

/// What a machine still holds once it knows the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    /// A session to seal with.
    pub(crate) session: bool,
    /// The handshake in progress. Without it, its answer would not be understood, and no session is left either.
    pub(crate) handshake: bool,
}
