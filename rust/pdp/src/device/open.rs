use std::time::Duration;

use ztna_api::device::{FactsPlease, Hello, Resources, Waiting, Welcome};
use ztna_api::discovery::Versions;
use ztna_api::token::{TokenError, TokenErrorCode};
use ztna_model::{SessionId, secs};

use super::{Phase, Stream};
use crate::batch::ClaimKind;
use crate::input::{DeviceOpened, StreamId};
use crate::ledger::{Change, Outcome};
use crate::output::Output;
use crate::pdp::Pdp;
use crate::refusal::refusal;
use crate::rows::{Device, DeviceState, Links, Session};
use crate::timers::Timer;

impl Pdp {
    /// Checks token and proof, and accepts the stream once the proof is claimed.
    pub(super) fn open_stream(&mut self, opened: DeviceOpened) {
        let stream = opened.stream;
        match self.check_stream(&opened) {
            Err(refused) => self.out.push_back(Output::Stream(stream, Err(refused))),
            Ok((sid, mut change)) => {
                self.claim_proof(&opened.proof, &mut change);
                let address = opened.address;
                self.propose(self.turn.clone(), change, move |pdp, outcome| {
                    pdp.stream_claimed(stream, sid, address, outcome);
                });
            }
        }
    }

    fn check_stream(&self, opened: &DeviceOpened) -> Result<(SessionId, Change), TokenError> {
        self.check_proof(&opened.proof)?;
        let token = self.live_token(&opened.token, &opened.proof.jkt)?;
        let too_many = self.devices.streams.values().filter(|stream| stream.sid == token.sid).count();
        if too_many >= MOST_STREAMS {
            return Err(refusal(TokenErrorCode::SlowDown, "the session has too many streams"));
        }
        let mut change = Change::default();
        self.follow(token.sid, token.generation, &mut change);
        Ok((token.sid, change))
    }

    fn stream_claimed(
        &mut self,
        stream: StreamId,
        sid: SessionId,
        address: std::net::IpAddr,
        outcome: Outcome,
    ) {
        let live = self.rows.sessions.get(&sid).is_some_and(Session::is_live);
        let answer = match outcome {
            Outcome::Claimed(ClaimKind::Jti) => {
                Err(refusal(TokenErrorCode::InvalidDpopProof, "the proof was used before"))
            }
            Outcome::Written | Outcome::Overtaken if live => Ok(()),
            Outcome::Written | Outcome::Overtaken => {
                Err(refusal(TokenErrorCode::InvalidToken, "the session is over"))
            }
            Outcome::Claimed(_) | Outcome::StoreDown => {
                Err(refusal(TokenErrorCode::ServerError, "the store takes no writes"))
            }
        };
        if answer.is_ok() {
            let mut salt = [0; 16];
            self.random.fill(&mut salt);
            let carriers = Vec::new();
            let opened =
                Stream { sid, salt, phase: Phase::Silent, present: None, keyed: false, carriers, address };
            self.devices.streams.insert(stream, opened);
            self.timers.set(self.clock.boot() + HELLO, Timer::Hello(stream));
            self.heard_of(sid);
        }
        self.out.push_back(Output::Stream(stream, answer));
    }

    pub(crate) fn hello_overdue(&mut self, stream: StreamId) {
        if self.devices.streams.get(&stream).is_some_and(|stream| stream.phase == Phase::Silent) {
            self.close_stream(stream);
        }
    }

    /// Writes the stream's link down, and welcomes it.
    pub(super) fn link(&mut self, stream: StreamId, sid: SessionId, hello: Hello) {
        let Some(session) = self.rows.sessions.get(&sid).cloned() else { return };
        let mut change = Change::default();
        let known = session.links.filter(|links| links.current == hello.next);
        if known.is_none() {
            let links = Links { prev: hello.prev, current: hello.next };
            let after = session
                .links
                .map_or_else(|| session.salted.as_millis().to_string(), |links| links.current.to_string());
            change.claim(ClaimKind::Link, format!("{sid} {after}"), session.expires);
            change.put(Session { links: Some(links), active: self.clock.wall(), ..session.clone() });
        }
        if let Some(device) = self.rows.devices.get(&session.device) {
            let platform: String = hello.platform.chars().filter(|c| !c.is_control()).take(32).collect();
            change.put(Device { platform, seen: self.clock.wall(), ..device.clone() });
        }
        if let Some(known) = self.devices.streams.get_mut(&stream) {
            known.phase = Phase::Linking;
        }
        let versions = hello.versions;
        self.propose(self.turn.clone(), change, move |pdp, outcome| match outcome {
            Outcome::Claimed(ClaimKind::Link) => pdp.cloned(sid),
            Outcome::Written | Outcome::Overtaken => pdp.welcome(stream, sid, versions),
            Outcome::Claimed(_) | Outcome::StoreDown => pdp.close_stream(stream),
        });
    }

    fn welcome(&mut self, stream: StreamId, sid: SessionId, versions: Versions) {
        let Some(session) = self.rows.sessions.get(&sid).filter(|session| session.is_live()).cloned() else {
            return self.close_stream(stream);
        };
        let (Some(version), Some(known)) =
            (Versions::OURS.agree(versions), self.devices.streams.get_mut(&stream))
        else {
            return self.close_stream(stream);
        };
        known.phase = Phase::Welcomed;
        let life = self.devices.lives.entry(sid).or_default();
        (life.current, life.claimant) = (Some(stream), None);
        let settings = self.settings();
        let name = self.rows.people.get(&session.person).map(|person| person.name.clone());
        let nonces = self.nonces_for(stream, FIRST_NONCES);
        let position = self.next_position();
        let welcome = Welcome {
            version,
            sid,
            device: session.device,
            person: name.unwrap_or_default(),
            position,
            time: self.clock.wall(),
            posture: settings.posture,
            facts_max_age_s: self.requirements.shortest_max_age().as_secs(),
            sign_in_by: session.expires.min(session.auth.idp_seen + secs(settings.idp_seen_max_s)),
            keys: self.keys.keyset.clone(),
            nonces,
        };
        self.tell(stream, welcome);
        self.full_state(stream, &session);
    }

    /// All that the device may know, after its welcome or once it is admitted; but for its grants, which wait for its
    /// tunnel key.
    pub(crate) fn full_state(&mut self, stream: StreamId, session: &Session) {
        let waiting = self.rows.devices.get(&session.device).and_then(|device| match &device.state {
            DeviceState::Waiting { approval, code } => {
                Some(Waiting { approval: *approval, code: code.clone() })
            }
            DeviceState::Admitted { .. } | DeviceState::Ended { .. } => None,
        });
        if let Some(waiting) = waiting {
            return self.tell(stream, waiting);
        }
        if !self.has_fresh_facts(session)
            && let Some(nonce) = self.nonces_for(stream, 1).pop()
        {
            self.tell(stream, FactsPlease { nonce });
        }
        self.grade_facts(session);
        // Until there are facts there is no grade to be told: the device is being checked, and its applications wait.
        if self.rows.devices.get(&session.device).is_some_and(|device| device.received.is_some()) {
            self.tell_facts(session);
        }
        let visible = self.visible_to(session);
        let (list, suffixes) = (visible.list(), visible.suffixes().to_vec());
        self.devices.set_visible(session.sid, visible);
        let position = self.next_position();
        self.tell(stream, Resources { position, suffixes, visible: list });
        self.look_again_at(session.sid);
    }

    /// Whether the device's facts are younger than half their age.
    fn has_fresh_facts(&self, session: &Session) -> bool {
        let received = self.rows.devices.get(&session.device).and_then(|device| device.received.as_ref());
        received.is_some_and(|received| {
            self.clock.wall().since(received.as_of) < self.requirements.shortest_max_age() / 2
        })
    }
}

/// Streams of one session that may be open at once: its own, one that takes over, and a clone of each.
const MOST_STREAMS: usize = 4;
/// How long a stream may wait with its hello.
const HELLO: Duration = secs(10);
/// Enough for presence, tunnel key and facts, and one to spare.
const FIRST_NONCES: usize = 4;
