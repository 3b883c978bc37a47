use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};

use ztna_model::{Secret, WgPublic, secs};

use crate::gate::CALM;
use crate::message::{COOKIE_REPLY, INITIATION, Message, OVERHEAD, RESPONSE};
use crate::noise::{Held, Identity, Noise};
use crate::refusal::Refusal;

/// The public half of a WireGuard secret.
pub fn wg_public(secret: &Secret<[u8; 32]>) -> WgPublic {
    WgPublic(PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes())
}

/// A local key in boringtun's terms.
///
/// boringtun reads the boot clock in `new`, handshake messages, `update_timers`, `stats` and the rate limiter, the
/// wall clock in `new`, and takes random bytes for ephemeral keys from the system.
pub(crate) struct Boring {
    secret: StaticSecret,
    public: PublicKey,
    /// Counts every handshake of this tunnel, and knows when cookies are due.
    limiter: RateLimiter,
    /// What the machines are given: each checks the codes again, and must not count the message again.
    unlimited: Arc<RateLimiter>,
}

impl Identity for Boring {
    type Noise = Machine;

    fn new(secret: &Secret<[u8; 32]>) -> Self {
        let secret = StaticSecret::from(*secret.expose());
        let public = PublicKey::from(&secret);
        let limiter = RateLimiter::new(&public, CALM.into());
        let unlimited = Arc::new(RateLimiter::new(&public, u64::MAX));
        Self { secret, public, limiter, unlimited }
    }

    fn public(&self) -> WgPublic {
        WgPublic(self.public.to_bytes())
    }

    fn machine(&self, peer: &WgPublic, psk: Option<&Secret<[u8; 32]>>, index: u32) -> Option<Machine> {
        let peer = PublicKey::from(peer.0);
        if !self.secret.diffie_hellman(&peer).was_contributory() {
            return None;
        }
        let psk = psk.map(|psk| *psk.expose());
        let unlimited = Some(Arc::clone(&self.unlimited));
        Some(Machine(Tunn::new(self.secret.clone(), peer, psk, None, index, unlimited)))
    }

    fn screen(
        &self,
        initiation: &[u8],
        from: IpAddr,
        cookie: &mut [u8; COOKIE_REPLY],
    ) -> Result<(), Refusal> {
        // Begins a new count when a second has passed by its own clock.
        self.limiter.reset_count();
        match self.limiter.verify_packet(Some(from), initiation, cookie) {
            Ok(_) => Ok(()),
            Err(TunnResult::WriteToNetwork(_)) => Err(Refusal::CookieDue),
            Err(TunnResult::Err(error)) => Err(refusal(&error)),
            Err(TunnResult::Done | TunnResult::WriteToTunnelV4(..) | TunnResult::WriteToTunnelV6(..)) => {
                Err(Refusal::Unreadable)
            }
        }
    }

    fn sender(&self, initiation: &[u8]) -> Result<WgPublic, Refusal> {
        let Ok(Packet::HandshakeInit(initiation)) = Tunn::parse_incoming_packet(initiation) else {
            return Err(Refusal::Unreadable);
        };
        parse_handshake_anon(&self.secret, &self.public, &initiation)
            .map(|half| WgPublic(half.peer_static_public))
            .map_err(|error| refusal(&error))
    }
}

/// One peer in boringtun's terms.
///
/// Its queue is never used, and its own ideas of when to send are overruled: they count from the last datagram
/// instead of the first unanswered one, so that a tunnel that lay idle would shake hands at each burst. It logs
/// these ideas, and as ERROR that a session ran out, under the target `boringtun::noise::timers`, which the
/// product's log leaves out.
pub(crate) struct Machine(Tunn);

impl Noise for Machine {
    const MEMORY: Duration = secs(540);

    fn stamp(&mut self) -> Held {
        // INVARIANT: there is room for a keepalive, which is thrown away, and none for an initiation, which is then
        // refused before it changes anything. So `update_timers` stamps and ages, and never sends.
        let mut unsent = [0; OVERHEAD];
        self.0.update_timers(&mut unsent);
        Held { session: self.0.time_since_last_handshake().is_some(), handshake: !self.0.is_expired() }
    }

    fn initiate(&mut self, out: &mut [u8; INITIATION]) -> Option<u32> {
        self.0.format_handshake_initiation(out, true);
        match Message::read(out) {
            Some(Message::Initiation { sender }) => Some(sender),
            Some(Message::Response { .. } | Message::CookieReply { .. } | Message::Data { .. }) | None => {
                None
            }
        }
    }

    fn answer(&mut self, initiation: &[u8], out: &mut [u8; RESPONSE]) -> Result<u32, Refusal> {
        self.handshake(initiation, out)?;
        match Message::read(out) {
            Some(Message::Response { sender, .. }) => Ok(sender),
            Some(Message::Initiation { .. } | Message::CookieReply { .. } | Message::Data { .. }) | None => {
                Err(Refusal::Unreadable)
            }
        }
    }

    fn finish(&mut self, response: &[u8], out: &mut [u8; OVERHEAD]) -> Result<(), Refusal> {
        self.handshake(response, out)
    }

    fn keep_cookie(&mut self, reply: &[u8]) -> Result<(), Refusal> {
        match self.0.decapsulate(None, reply, &mut []) {
            TunnResult::Done => Ok(()),
            TunnResult::Err(error) => Err(refusal(&error)),
            TunnResult::WriteToNetwork(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => Err(Refusal::Unreadable),
        }
    }

    fn seal(&mut self, padded: &[u8], out: &mut [u8]) -> Option<usize> {
        if out.len() < padded.len() + OVERHEAD {
            return None;
        }
        // Without a session boringtun makes an initiation: the first byte tells.
        match self.0.encapsulate(padded, out) {
            TunnResult::WriteToNetwork(sealed) if sealed.first() == Some(&DATA) => Some(sealed.len()),
            TunnResult::WriteToNetwork(_)
            | TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => None,
        }
    }

    fn open<'a>(&mut self, data: &[u8], out: &'a mut [u8]) -> Result<&'a mut [u8], Refusal> {
        match self.0.decapsulate(None, data, out) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                if packet.len() < SHORTEST_PACKET { Err(Refusal::NotIp) } else { Ok(packet) }
            }
            TunnResult::Done => Ok(&mut []),
            TunnResult::Err(error) => Err(refusal(&error)),
            TunnResult::WriteToNetwork(_) => Err(Refusal::Unreadable),
        }
    }
}

impl Machine {
    fn handshake(&mut self, message: &[u8], out: &mut [u8]) -> Result<(), Refusal> {
        match self.0.decapsulate(None, message, out) {
            TunnResult::WriteToNetwork(_) => Ok(()),
            TunnResult::Err(error) => Err(refusal(&error)),
            TunnResult::Done | TunnResult::WriteToTunnelV4(..) | TunnResult::WriteToTunnelV6(..) => {
                Err(Refusal::Unreadable)
            }
        }
    }
}

/// The one place that reads boringtun's errors. Its `InvalidPacket` comes from data that was opened and holds no
/// packet: headers are read before it sees them.
const fn refusal(error: &WireGuardError) -> Refusal {
    match error {
        WireGuardError::DestinationBufferTooSmall => Refusal::NoRoom,
        WireGuardError::IncorrectPacketLength
        | WireGuardError::WrongPacketType
        | WireGuardError::InvalidTai64nTimestamp
        | WireGuardError::LockFailed => Refusal::Unreadable,
        WireGuardError::UnexpectedPacket => Refusal::Unasked,
        WireGuardError::WrongIndex => Refusal::UnknownIndex,
        WireGuardError::WrongKey => Refusal::UnknownKey,
        WireGuardError::InvalidMac => Refusal::BadMac,
        WireGuardError::InvalidAeadTag => Refusal::Forged,
        WireGuardError::WrongTai64nTimestamp
        | WireGuardError::InvalidCounter
        | WireGuardError::DuplicateCounter => Refusal::Replayed,
        WireGuardError::InvalidPacket => Refusal::NotIp,
        WireGuardError::NoCurrentSession | WireGuardError::ConnectionExpired => Refusal::Expired,
        WireGuardError::UnderLoad => Refusal::Busy,
    }
}

/// The first byte of data (WireGuard, section 5.4.6).
const DATA: u8 = 4;
/// An IPv4 header without options (RFC 791).
const SHORTEST_PACKET: usize = 20;
