use std::time::Duration;

use ztna_api::token::{TokenError, TokenErrorCode, TokenResponse};
use ztna_model::{DenyReason, EndReason, SessionId, secs};

use crate::audit::{By, Event};
use crate::batch::ClaimKind;
use crate::input::{Refresh, RequestId, SignOut};
use crate::ledger::{Change, Outcome};
use crate::output::Output;
use crate::pdp::Pdp;
use crate::refusal::{denial, refusal};
use crate::rows::{Key, Session, Spent, Token, TokenHash, TokenKind};
use crate::sealed;

/// What a refresh token gets.
enum Next {
    /// The next pair.
    Pair(Token, Session),
    /// The answer that it got before.
    Again(Session, Box<TokenResponse>),
}

impl Pdp {
    pub(crate) fn refresh(&mut self, refresh: Refresh) {
        let request = refresh.request;
        match self.check_refresh(&refresh) {
            Ok(Next::Pair(token, session)) => self.rotate(&refresh, token, session),
            Ok(Next::Again(session, answer)) => {
                let mut change = Change::default();
                self.claim_proof(&refresh.proof, &mut change);
                self.propose(self.turn.clone(), change, move |pdp, outcome| {
                    pdp.renewed(request, session.sid, *answer, outcome);
                });
            }
            Err(refused) => self.out.push_back(Output::Tokens(request, Err(refused))),
        }
    }

    fn check_refresh(&mut self, refresh: &Refresh) -> Result<Next, TokenError> {
        self.check_proof(&refresh.proof)?;
        let invalid = |sentence| refusal(TokenErrorCode::InvalidGrant, sentence);
        let row = self.rows.tokens.get(&TokenHash::of(refresh.token.expose())).cloned();
        let row = row.ok_or_else(|| invalid("the token is not known"))?;
        let TokenKind::Refresh { spent } = &row.kind else {
            return Err(invalid("this is no refresh token"));
        };
        let over = || denial(TokenErrorCode::InvalidGrant, DenyReason::SessionEnded);
        let session = self.rows.sessions.get(&row.sid).filter(|session| session.is_live()).cloned();
        let session = session.ok_or_else(over)?;
        let own_key = row.jkt == refresh.proof.jkt;
        match spent {
            Some(spent) => match self.answer_again(&refresh.token, spent).filter(|_| own_key) {
                Some(answer) => Ok(Next::Again(session, Box::new(answer))),
                None => Err(self.reused(&session)),
            },
            None if !own_key => {
                let why = "the token is bound to another key".to_owned();
                self.note(By::Unknown, Event::RefreshRefused { sid: row.sid, why });
                Err(invalid("the token is bound to another key"))
            }
            None if self.clock.wall() >= self.ends_at(&session) => {
                self.end_worn_out(&session);
                Err(over())
            }
            None => Ok(Next::Pair(row, session)),
        }
    }

    /// The answer that a spent token got, for as long as it may be repeated: until the new pair is first used, and a
    /// short while after, since the answer to that use may have been lost, too.
    fn answer_again(&self, token: &ztna_model::Secret<String>, spent: &Spent) -> Option<TokenResponse> {
        let now = self.clock.wall();
        let in_time = spent.followed.is_none_or(|followed| now.since(followed) <= GRACE);
        sealed::open(&self.rows.org, token.expose(), spent.sealed.as_deref().filter(|_| in_time)?)
    }

    /// A token was used a second time by somebody who may not: the whole session ends.
    fn reused(&mut self, session: &Session) -> TokenError {
        let mut change = Change::default();
        self.end_session(session, EndReason::TokenReused, &mut change);
        self.enforce(change, |_, _| ());
        denial(TokenErrorCode::InvalidGrant, DenyReason::SessionEnded)
    }

    fn rotate(&mut self, refresh: &Refresh, token: Token, session: Session) {
        let mut change = Change::default();
        self.claim_proof(&refresh.proof, &mut change);
        change.claim(ClaimKind::Refresh, token.hash.to_string(), session.expires);
        self.follow(session.sid, token.generation, &mut change);
        self.drop_old_tokens(&session.sid, token.generation, &mut change);
        let session = Session { active: self.clock.wall(), ..session };
        let answer = self.next_pair(&session, false, &mut change);
        let text = refresh.token.expose();
        let sealed = sealed::seal(&self.rows.org, text, &answer, &mut *self.random);
        let kind = TokenKind::Refresh { spent: Some(Spent { sealed, followed: None }) };
        change.put(Token { kind, ..token });
        let (request, sid) = (refresh.request, session.sid);
        change.put(session);
        self.propose(self.turn.clone(), change, move |pdp, outcome| {
            pdp.renewed(request, sid, answer, outcome);
        });
    }

    /// Access tokens that are over go, and so do refresh tokens spent so long ago that nobody can mean them in earnest.
    fn drop_old_tokens(&self, sid: &SessionId, generation: u64, change: &mut Change) {
        let now = self.clock.wall();
        for hash in self.index.tokens_of(sid) {
            let Some(token) = self.rows.tokens.get(&hash) else { continue };
            let over = match token.kind {
                TokenKind::Access => now >= token.expires,
                TokenKind::Refresh { .. } => token.generation.saturating_add(KEPT) < generation,
            };
            if over {
                change.delete(Key::Token(hash));
            }
        }
    }

    fn renewed(&mut self, request: RequestId, sid: SessionId, answer: TokenResponse, outcome: Outcome) {
        let live = self.rows.sessions.get(&sid).is_some_and(Session::is_live);
        let answer = match outcome {
            Outcome::Written | Outcome::Overtaken if live => Ok(answer),
            Outcome::Written | Outcome::Overtaken => {
                Err(denial(TokenErrorCode::InvalidGrant, DenyReason::SessionEnded))
            }
            Outcome::Claimed(ClaimKind::Jti) => {
                Err(refusal(TokenErrorCode::InvalidDpopProof, "the proof was used before"))
            }
            // Another broker was faster with the same token: asked again, it gives the same answer.
            Outcome::Claimed(_) => Err(refusal(TokenErrorCode::SlowDown, "try again")),
            Outcome::StoreDown => Err(refusal(TokenErrorCode::ServerError, "the store takes no writes")),
        };
        if answer.is_ok() {
            self.heard_of(sid);
        }
        self.out.push_back(Output::Tokens(request, answer));
    }

    /// Ends a session at its own device's wish. It waits for nobody.
    pub(crate) fn sign_out(&mut self, sign_out: SignOut) {
        let request = sign_out.request;
        let checked = self
            .check_proof(&sign_out.proof)
            .and_then(|()| self.live_token(&sign_out.token, &sign_out.proof.jkt));
        let session = match checked {
            Ok(token) => self.rows.sessions.get(&token.sid).cloned(),
            Err(refused) => return self.out.push_back(Output::SignedOut(request, Err(refused))),
        };
        let mut change = Change::default();
        if let Some(session) = session {
            self.end_session(&session, EndReason::SignedOut, &mut change);
        }
        self.enforce(change, move |pdp, _| pdp.out.push_back(Output::SignedOut(request, Ok(()))));
    }
}

/// How long a spent token may be repeated after the new pair was first used.
const GRACE: Duration = secs(30);
/// How many generations of spent refresh tokens are remembered, to know a stolen one by.
const KEPT: u64 = 16;

#[cfg(test)]
mod tests;
