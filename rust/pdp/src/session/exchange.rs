use std::time::Duration;

use ztna_api::token::{TokenError, TokenErrorCode, TokenResponse, id_nonce};
use ztna_model::{DeviceId, EndReason, Epoch, PersonId, SessionId, WallTime, base64url, minutes, secs};

use super::admission::Admitted;
use crate::audit::{By, Draft, Event};
use crate::batch::ClaimKind;
use crate::input::{Exchange, IdToken};
use crate::ledger::{Change, Outcome};
use crate::nonce::{Purpose, SALT_LIFE};
use crate::output::Output;
use crate::pdp::Pdp;
use crate::refusal::{denial, refusal};
use crate::rows::{Auth, Device, Key, Session, SessionState};

impl IdToken {
    /// Whom the issuer speaks of.
    pub(crate) fn person(&self) -> PersonId {
        PersonId { issuer: self.issuer.clone(), subject: self.subject.clone() }
    }
}

impl Pdp {
    /// Opens a session, or opens a live one of the same device and person again into itself.
    pub(crate) fn exchange(&mut self, exchange: Exchange) {
        match self.check_exchange(&exchange) {
            Ok((salted, admitted)) => self.open(exchange, salted, admitted),
            Err(refused) => {
                self.note_refusal(&exchange.id_token.person(), &refused);
                self.out.push_back(Output::Tokens(exchange.request, Err(refused)));
            }
        }
    }

    /// Every check of an exchange, in the order in which they are made.
    fn check_exchange(&mut self, exchange: &Exchange) -> Result<(WallTime, Admitted), TokenError> {
        self.check_proof(&exchange.proof)?;
        self.check_id_token(&exchange.id_token)?;
        let salted = self.check_commitment(exchange)?;
        if self.is_claimed(ClaimKind::IdToken, &base64url::encode(exchange.id_token.hash)) {
            return Err(refusal(TokenErrorCode::InvalidGrant, "the ID token was used before"));
        }
        let admitted = self.admission(exchange)?;
        Ok((salted, admitted))
    }

    /// The ID token is for us, from an issuer we believe, and fresh. Its signature is checked before it comes here.
    fn check_id_token(&self, token: &IdToken) -> Result<(), TokenError> {
        let invalid = |sentence| Err(refusal(TokenErrorCode::InvalidGrant, sentence));
        let now = self.clock.wall();
        let Some(issuer) = self.trust.issuer(&token.issuer) else {
            return invalid("the ID token is another issuer's");
        };
        if token.audiences != [issuer.client_id.as_str()] {
            return invalid("the ID token is for somebody else");
        }
        if token.authorized_party.as_ref().is_some_and(|party| *party != issuer.client_id) {
            return invalid("the ID token was given to somebody else");
        }
        if now >= token.expires + SKEW {
            return invalid("the ID token is over");
        }
        if now.since(token.issued) > OLDEST || token.issued.since(now) > SKEW {
            return invalid("the ID token is not fresh");
        }
        Ok(())
    }

    /// The ID token commits to this organisation, this device key, and a nonce of ours that is later than anything
    /// that voided the person's sign-ins. The provider's clock has no say in that.
    fn check_commitment(&self, exchange: &Exchange) -> Result<WallTime, TokenError> {
        let invalid = |sentence| refusal(TokenErrorCode::InvalidGrant, sentence);
        let expected = id_nonce(&self.rows.org, &exchange.proof.jkt, &exchange.salt);
        if exchange.id_token.nonce.as_ref() != Some(&expected) {
            return Err(invalid("the ID token commits to another key, organisation or nonce"));
        }
        let salted = self.nonces.open(&exchange.salt, Purpose::Request, self.clock.wall(), SALT_LIFE);
        let salted = salted.ok_or_else(|| invalid("the sign-in took too long"))?;
        let person = self.rows.people.get(&exchange.id_token.person());
        if person.is_some_and(|person| salted <= person.not_before) {
            return Err(invalid("the sign-in began before all of them were voided"));
        }
        Ok(salted)
    }

    fn open(&mut self, exchange: Exchange, salted: WallTime, admitted: Admitted) {
        let Admitted { device, mut change, arrived } = admitted;
        let before = self.session_on(&device);
        let session = self.session_for(&exchange, salted, &device, before.as_ref());
        for hash in self.index.tokens_of(&session.sid) {
            change.delete(Key::Token(hash));
        }
        self.claim_proof(&exchange.proof, &mut change);
        let id = base64url::encode(exchange.id_token.hash);
        change.claim(ClaimKind::IdToken, id, self.clock.wall() + OLDEST + SKEW + SKEW);
        let answer = self.next_pair(&session, true, &mut change);
        let pending = !session.is_open();
        let person = change.writes.iter().find_map(|write| match write {
            crate::rows::Write::Put(crate::rows::Row::Person(person)) => Some(person.pseudonym),
            crate::rows::Write::Put(_) | crate::rows::Write::Delete(_) => None,
        });
        if let Some(person) = person {
            let again = before.is_some();
            let opened = Event::SessionOpened { sid: session.sid, person, device: device.id, pending, again };
            change.audit.push(self.entry(By::Person(person), opened));
        }
        let (sid, device) = (session.sid, device.id);
        change.put(session);
        let (request, person) = (exchange.request, exchange.id_token.person());
        self.propose(self.turn.clone(), change, move |pdp, outcome| {
            let answer = pdp.opened(sid, arrived.then_some(device), answer, outcome);
            if let Err(refused) = &answer {
                pdp.note_refusal(&person, refused);
            }
            pdp.out.push_back(Output::Tokens(request, answer));
        });
    }

    fn session_for(
        &mut self,
        exchange: &Exchange,
        salted: WallTime,
        device: &Device,
        before: Option<&Session>,
    ) -> Session {
        let (token, now) = (&exchange.id_token, self.clock.wall());
        let auth = Auth {
            acr: token.acr.clone(),
            amr: token.amr.clone(),
            auth_time: token.auth_time.unwrap_or(token.issued).min(now),
            idp_seen: now.min(token.issued + SKEW),
        };
        Session {
            sid: before.map_or_else(|| SessionId::random(&mut *self.random), |session| session.sid),
            incarnation: self.incarnation(),
            person: token.person(),
            idp_sid: token.idp_sid.clone(),
            device: device.id,
            jkt: exchange.proof.jkt,
            auth,
            epoch: before.map_or_else(Epoch::default, |session| session.epoch),
            state: if device.is_admitted() { SessionState::Open } else { SessionState::Pending },
            opened: before.map_or(now, |session| session.opened),
            salted,
            expires: now + secs(self.settings().session_s),
            active: now,
            links: None, // a person has shown who they are: the chain of streams begins anew
            tunnel: before.and_then(|session| session.tunnel.clone()),
            floored: before.and_then(|session| session.floored),
        }
    }

    fn session_on(&self, device: &Device) -> Option<Session> {
        let sids = self.index.sessions_on(&device.id);
        sids.iter().filter_map(|sid| self.rows.sessions.get(sid)).find(|session| session.is_live()).cloned()
    }

    fn opened(
        &mut self,
        sid: SessionId,
        arrived: Option<DeviceId>,
        answer: TokenResponse,
        outcome: Outcome,
    ) -> Result<TokenResponse, TokenError> {
        let answer = match outcome {
            Outcome::Written => self.still_welcome(sid).map(|()| answer),
            // Something was taken away meanwhile: whoever signs in again meets it in the rows.
            Outcome::Overtaken => {
                self.still_welcome(sid).and(Err(refusal(TokenErrorCode::SlowDown, "try again")))
            }
            Outcome::Claimed(kind) => Err(claimed(kind)),
            Outcome::StoreDown => Err(refusal(TokenErrorCode::ServerError, "the store takes no writes")),
        };
        if let Some(device) = arrived.filter(|_| answer.is_ok()) {
            self.tell_of_device(device);
        }
        if answer.is_ok() {
            self.heard_of(sid);
        }
        answer
    }

    /// While the session was on its way to the store, its person may have been turned out.
    fn still_welcome(&mut self, sid: SessionId) -> Result<(), TokenError> {
        let over = || denial(TokenErrorCode::AccessDenied, ztna_model::DenyReason::SessionEnded);
        let session = self.rows.sessions.get(&sid).filter(|session| session.is_live()).cloned();
        let session = session.ok_or_else(over)?;
        let person = self.rows.people.get(&session.person);
        let device = self.rows.devices.get(&session.device);
        if person.is_some_and(|person| session.salted > person.not_before)
            && device.is_some_and(Device::is_theirs)
        {
            return Ok(());
        }
        let mut change = Change::default();
        match self.rows.devices.get(&session.device).filter(|_| person.is_none()).cloned() {
            Some(device) => self.end_device(&device, EndReason::Removed, By::Broker, &mut change),
            None => self.end_session(&session, EndReason::Administrator, &mut change),
        }
        self.enforce(change, |_, _| ());
        Err(over())
    }

    fn note_refusal(&mut self, person: &PersonId, refused: &TokenError) {
        let mut draft = Draft::new(&mut *self.random);
        let subject = Some(draft.commit(&format!("{} {}", person.issuer, person.subject)));
        let why = refused.error_description.clone().unwrap_or_default();
        let entry = draft.entry(self.clock.wall(), By::Unknown, Event::SignInRefused { why, subject });
        self.record(entry);
    }
}

fn claimed(kind: ClaimKind) -> TokenError {
    match kind {
        ClaimKind::Jti => refusal(TokenErrorCode::InvalidDpopProof, "the proof was used before"),
        ClaimKind::IdToken => refusal(TokenErrorCode::InvalidGrant, "the ID token was used before"),
        ClaimKind::Enrolment => refusal(TokenErrorCode::InvalidGrant, "the enrolment token was used before"),
        ClaimKind::Invitation => refusal(TokenErrorCode::AccessDenied, "the invitation was followed before"),
        ClaimKind::Nonce | ClaimKind::TunnelKey | ClaimKind::Refresh | ClaimKind::Link => {
            refusal(TokenErrorCode::ServerError, "try again")
        }
    }
}

/// How old an ID token may be.
const OLDEST: Duration = minutes(10);
/// How far the provider's clock may lie apart from ours.
const SKEW: Duration = secs(60);
