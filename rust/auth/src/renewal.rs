use thiserror::Error;
use ztna_api::token::{self, Nonce, REFRESH, TokenError, TokenErrorCode};
use ztna_model::{Random, Secret, SignError, Time};

use crate::call::{CallError, Outbox, Output, Response};
use crate::possession::Possession;
use crate::sign_in::{TokenAnswerError, post, read, token_answer, token_request, wants_nonce};
use crate::tokens::Tokens;

/// One renewal: a refresh token becomes the next pair. Safe to repeat when the answer was lost: the broker gives the
/// same key the same answer until the new pair is used.
#[derive(Debug)]
pub struct Renewal {
    possession: Possession,
    refresh: Secret<String>,
    asked: Asked,
    retried: bool,
    over: bool,
    outbox: Outbox<(Tokens, Possession), RenewalError>,
}

/// What the answer that is awaited is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    /// A nonce and the broker's time: without them no proof is good.
    Nonce,
    /// Tokens.
    Tokens,
}

/// Why tokens were not renewed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RenewalError {
    /// Nobody answered: try again later with the same token.
    #[error("the organisation cannot be reached: {0}")]
    NoAnswer(#[from] CallError),
    /// The session is over: sign in again.
    #[error("the session is over")]
    SessionOver(TokenError),
    /// The organisation does not answer this just now: try again later with the same token.
    #[error("the organisation refuses for the moment: {0:?}")]
    NotNow(TokenErrorCode),
    /// The device key did not sign.
    #[error("device key: {0}")]
    Key(#[from] SignError),
    /// The organisation's answer makes no sense.
    #[error("the organisation's answer is not understood: {0}")]
    NotUnderstood(String),
}

impl Renewal {
    /// Begins to renew with `refresh`.
    pub fn begin(
        possession: Possession,
        refresh: Secret<String>,
        now: Time,
        random: &mut dyn Random,
    ) -> Self {
        let (asked, outbox) = (Asked::Tokens, Outbox::new());
        let mut renewal = Self { possession, refresh, asked, retried: false, over: false, outbox };
        if renewal.possession.clock().is_known() {
            renewal.ask(now, random);
        } else {
            renewal.ask_for_nonce();
        }
        renewal
    }

    /// The answer to call `number`, which arrived at `now`.
    pub fn handle_answer(
        &mut self,
        number: u32,
        answer: Result<Response, CallError>,
        now: Time,
        random: &mut dyn Random,
    ) {
        if self.over || !self.outbox.awaits(number) {
            return;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.end(Err(error.into())),
        };
        match self.asked {
            Asked::Nonce => self.learn(&answer, now, random),
            Asked::Tokens => self.take(&answer, now, random),
        }
    }

    fn learn(&mut self, answer: &Response, now: Time, random: &mut dyn Random) {
        match read::<Nonce>(answer, token::LONGEST) {
            Some(Ok(nonce)) => {
                self.possession.learn(&nonce, now);
                self.ask(now, random);
            }
            Some(Err(error)) => self.end(Err(RenewalError::NotUnderstood(error.to_string()))),
            None => self.end(Err(RenewalError::NotUnderstood(format!("status {}", answer.status())))),
        }
    }

    fn take(&mut self, answer: &Response, now: Time, random: &mut dyn Random) {
        let has_nonce = self.possession.learn_from(answer);
        match token_answer(answer) {
            Ok(response) => {
                let tokens = Tokens::from_response(response, now);
                self.end(Ok((tokens, self.possession.clone())));
            }
            Err(TokenAnswerError::Refused(error)) if wants_nonce(&error) && has_nonce && !self.retried => {
                self.retried = true;
                self.ask(now, random);
            }
            // The broker's clock was set, or this device's stood still: what is known of the one by the other is wrong.
            Err(TokenAnswerError::Refused(error)) if is_bad_proof(&error) && !self.retried => {
                self.retried = true;
                self.ask_for_nonce();
            }
            Err(TokenAnswerError::Refused(error)) => self.end(Err(refused(error))),
            Err(TokenAnswerError::NotUnderstood(what)) => self.end(Err(RenewalError::NotUnderstood(what))),
        }
    }

    /// What to do next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output<(Tokens, Possession), RenewalError>> {
        self.outbox.pop()
    }

    fn ask_for_nonce(&mut self) {
        self.asked = Asked::Nonce;
        self.outbox.call(post(&format!("{}{}", self.possession.org(), token::NONCE_PATH)));
    }

    fn ask(&mut self, now: Time, random: &mut dyn Random) {
        self.asked = Asked::Tokens;
        let fields = [("grant_type", REFRESH), ("refresh_token", self.refresh.expose())];
        match token_request(&self.possession, &fields, now, random) {
            Ok(request) => self.outbox.call(request),
            Err(error) => self.end(Err(error.into())),
        }
    }

    fn end(&mut self, outcome: Result<(Tokens, Possession), RenewalError>) {
        self.over = true;
        self.outbox.push(outcome.map_or_else(Output::Failed, Output::Done));
    }
}

fn is_bad_proof(error: &TokenError) -> bool {
    error.error == TokenErrorCode::InvalidDpopProof
}

/// Only a verdict on the grant itself ends the session; anything else may pass.
fn refused(error: TokenError) -> RenewalError {
    match error.error {
        TokenErrorCode::InvalidGrant | TokenErrorCode::InvalidToken | TokenErrorCode::AccessDenied => {
            RenewalError::SessionOver(error)
        }
        code @ (TokenErrorCode::InvalidRequest
        | TokenErrorCode::UnsupportedGrantType
        | TokenErrorCode::InvalidDpopProof
        | TokenErrorCode::UseDpopNonce
        | TokenErrorCode::SlowDown
        | TokenErrorCode::ServerError) => RenewalError::NotNow(code),
    }
}
