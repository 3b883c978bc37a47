use std::time::Duration;

use ztna_api::dpop::Proof;
use ztna_api::token::{ACCESS_TOKEN, Admission, TokenError, TokenErrorCode, TokenResponse};
use ztna_model::{Jkt, Secret, SessionId, minutes};

use crate::batch::ClaimKind;
use crate::ledger::Change;
use crate::nonce::NONCE_LIFE;
use crate::pdp::Pdp;
use crate::refusal::{denial, refusal};
use crate::rows::{Session, SessionState, Spent, Token, TokenHash, TokenKind};
use crate::sealed::fresh_token;

impl Pdp {
    /// The nonce is ours and at most five minutes old, and the proof is used for the first time (RFC 9449, 8 and 11.1).
    pub(crate) fn check_proof(&self, proof: &Proof) -> Result<(), TokenError> {
        self.nonces.check(proof, self.clock.wall())?;
        if self.is_claimed(ClaimKind::Jti, &jti(proof)) {
            return Err(refusal(TokenErrorCode::InvalidDpopProof, "the proof was used before"));
        }
        Ok(())
    }

    /// Claims the proof for as long as its nonce could carry it.
    pub(crate) fn claim_proof(&self, proof: &Proof, change: &mut Change) {
        change.claim(ClaimKind::Jti, jti(proof), self.clock.wall() + NONCE_LIFE + minutes(2));
    }

    /// The access token, if it is known, not too old, bound to the key that proved itself, and of a live session.
    pub(crate) fn live_token(&self, token: &Secret<String>, jkt: &Jkt) -> Result<Token, TokenError> {
        let invalid = |sentence| refusal(TokenErrorCode::InvalidToken, sentence);
        let row = self.rows.tokens.get(&TokenHash::of(token.expose()));
        let row = row.ok_or_else(|| invalid("the token is not known"))?;
        if row.kind != TokenKind::Access {
            return Err(invalid("this is no access token"));
        }
        if row.jkt != *jkt {
            return Err(invalid("the token is bound to another key"));
        }
        if self.clock.wall() >= row.expires {
            return Err(invalid("the token is too old"));
        }
        match self.rows.sessions.get(&row.sid).filter(|session| session.is_live()) {
            Some(_) => Ok(row.clone()),
            None => Err(denial(TokenErrorCode::InvalidToken, ztna_model::DenyReason::SessionEnded)),
        }
    }

    pub(crate) fn session_of_token(&self, token: &Secret<String>) -> Option<&Session> {
        let row = self.rows.tokens.get(&TokenHash::of(token.expose()))?;
        self.rows.sessions.get(&row.sid)
    }

    /// A pair of a session was used: the refresh token before it may be repeated for a short while only.
    pub(crate) fn follow(&self, sid: SessionId, generation: u64, change: &mut Change) {
        let Some(before) = generation.checked_sub(1) else { return };
        for hash in self.index.tokens_of(&sid) {
            let Some(token) = self.rows.tokens.get(&hash).filter(|token| token.generation == before) else {
                continue;
            };
            if let TokenKind::Refresh { spent: Some(Spent { sealed, followed: None }) } = &token.kind {
                let spent = Spent { sealed: sealed.clone(), followed: Some(self.clock.wall()) };
                change.put(Token { kind: TokenKind::Refresh { spent: Some(spent) }, ..token.clone() });
            }
        }
    }

    /// The next pair of a session, and the answer that carries it.
    pub(super) fn next_pair(
        &mut self,
        session: &Session,
        exchanged: bool,
        change: &mut Change,
    ) -> TokenResponse {
        let (access, refresh) = (fresh_token(&mut *self.random), fresh_token(&mut *self.random));
        let generation = self.generation(&session.sid).map_or(0, |last| last.saturating_add(1));
        let token = |text: &str, expires, kind| Token {
            hash: TokenHash::of(text),
            sid: session.sid,
            jkt: session.jkt,
            expires,
            generation,
            kind,
        };
        let access_ends = session.expires.min(self.clock.wall() + ACCESS_LIFE);
        change.put(token(&access, access_ends, TokenKind::Access));
        change.put(token(&refresh, session.expires, TokenKind::Refresh { spent: None }));
        TokenResponse {
            access_token: access,
            issued_token_type: exchanged.then(|| ACCESS_TOKEN.to_owned()),
            token_type: "DPoP".to_owned(),
            expires_in: ACCESS_LIFE.as_secs(),
            refresh_token: refresh,
            sid: session.sid,
            device: session.device,
            state: match session.state {
                SessionState::Pending | SessionState::Ended { .. } => Admission::Pending,
                SessionState::Open => Admission::Open,
            },
        }
    }

    /// The latest pair's number.
    pub(super) fn generation(&self, sid: &SessionId) -> Option<u64> {
        let tokens = self.index.tokens_of(sid);
        tokens.iter().filter_map(|hash| self.rows.tokens.get(hash)).map(|token| token.generation).max()
    }
}

fn jti(proof: &Proof) -> String {
    format!("{} {}", proof.jkt, proof.jti)
}

const ACCESS_LIFE: Duration = minutes(5);
