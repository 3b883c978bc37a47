use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE};
use thiserror::Error;
use ztna_api::discovery::{self, Discovery, Versions};
use ztna_api::keyset::{KeySet, KeySetError};
use ztna_api::token::{self, Nonce, TokenError, TokenErrorCode, TokenResponse, id_nonce};
use ztna_api::{WireError, wire};
use ztna_model::{OrgString, Random, RootHash, Secret, SignError, Time, base64url, minutes};

use crate::call::{CallError, Outbox, Output, Request, Response, form};
use crate::possession::Possession;
use crate::provider::{Issued, Provider, ProviderError, Step};
use crate::redirect::{self, RedirectError};
use crate::tokens::Tokens;

/// What a sign-in needs to know before it starts.
#[derive(Clone, Debug)]
pub struct SignInPlan {
    /// The organisation, and the root to pin if it is known.
    pub org: OrgString,
    /// Where the browser brings the answer; already listening.
    pub redirect: String,
    /// What people call this device.
    pub device_name: String,
    /// A token that admits the device, if there is one.
    pub enrolment_token: Option<Secret<String>>,
}

/// One pending sign-in: single use, over after ten minutes.
#[derive(Debug)]
pub struct SignIn {
    plan: SignInPlan,
    possession: Possession,
    state: State,
    deadline: Time,
    outbox: Outbox<SignedIn, SignInError>,
}

/// A sign-in that went well.
#[derive(Debug)]
pub struct SignedIn {
    /// The session's tokens.
    pub tokens: Tokens,
    /// The device key, with the broker's clock and next nonce.
    pub possession: Possession,
    /// What the organisation says of itself.
    pub discovery: Discovery,
    /// Its keys.
    pub keys: KeySet,
    /// The root that signed them: to be pinned from here on.
    pub root: RootHash,
    /// The identity provider's refresh token, by which fresh evidence is had without a browser.
    pub provider_refresh: Option<Secret<String>>,
}

/// Why a sign-in failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SignInError {
    /// Nobody answered, or not who should.
    #[error("`{0}` cannot be reached: {1}")]
    NoAnswer(String, CallError),
    /// The address is no organisation's.
    #[error("`{0}` is not an OpenZTNA organisation")]
    NotAnOrganisation(String),
    /// It says it is another organisation than the one asked for.
    #[error("`{asked}` answers as `{answered}`")]
    AnotherOrganisation {
        /// The one asked for.
        asked: String,
        /// The one that answered.
        answered: String,
    },
    /// Its keys are not under the root.
    #[error("the organisation's keys are not trusted: {0}")]
    BadKeys(#[from] KeySetError),
    /// One of us is too old.
    #[error("this connector and the organisation have no version in common; the older one needs an update")]
    NoCommonVersion,
    /// The identity provider's answers are not believed.
    #[error("identity provider: {0}")]
    Provider(#[from] ProviderError),
    /// What came back from the browser is a refusal.
    #[error("browser: {0}")]
    Redirect(#[from] RedirectError),
    /// The person did not come back in time.
    #[error("the sign-in was not finished within ten minutes")]
    TooLate,
    /// The device key did not sign.
    #[error("device key: {0}")]
    Key(#[from] SignError),
    /// The organisation says no.
    #[error("the organisation refuses: {}", refusal(.0))]
    Refused(TokenError),
    /// The organisation's answer makes no sense.
    #[error("the organisation's answer is not understood: {0}")]
    NotUnderstood(String),
}

#[derive(Debug)]
enum State {
    Discovering,
    Describing(Known, Vec<Response>),
    Salting(Known, Provider),
    InBrowser(Known, Provider, Pending),
    Redeeming(Redeeming, Vec<Response>),
    Exchanging(Exchanging),
    Over,
}

/// A code on its way to the provider's token endpoint.
#[derive(Debug)]
struct Redeeming {
    known: Known,
    provider: Provider,
    pending: Pending,
    code: Secret<String>,
}

/// An ID token on its way to the broker.
#[derive(Debug)]
struct Exchanging {
    known: Known,
    salt: String,
    issued: Issued,
    retried: bool,
}

/// What discovery told.
#[derive(Clone, Debug)]
struct Known {
    discovery: Discovery,
    keys: KeySet,
    root: RootHash,
}

/// What ties the answer of the browser to this sign-in. Never used twice.
#[derive(Debug)]
struct Pending {
    state: Secret<String>,
    verifier: Secret<String>,
    salt: String,
    nonce: String,
}

impl SignIn {
    /// Begins: the first output asks for the organisation's discovery.
    pub fn begin(plan: SignInPlan, possession: Possession, now: Time) -> Self {
        let mut outbox = Outbox::new();
        outbox.call(get(&format!("{}{}", plan.org.org, discovery::PATH)));
        Self { plan, possession, state: State::Discovering, deadline: now + LIFE, outbox }
    }

    /// The answer to call `number`, which arrived at `now`.
    pub fn handle_answer(
        &mut self,
        number: u32,
        answer: Result<Response, CallError>,
        now: Time,
        random: &mut dyn Random,
    ) {
        if !self.outbox.awaits(number) {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        let next = match answer {
            Ok(answer) => self.next(state, answer, now, random),
            Err(error) => Err(SignInError::NoAnswer(self.whom(&state), error)),
        };
        self.land(next);
    }

    /// The address that the browser brought back. One that is not this sign-in's changes nothing but is told.
    pub fn handle_redirect(
        &mut self,
        address: &str,
        now: Time,
        random: &mut dyn Random,
    ) -> Result<(), RedirectError> {
        let (known, provider, pending) = match std::mem::replace(&mut self.state, State::Over) {
            State::InBrowser(known, provider, pending) => (known, provider, pending),
            state @ (State::Discovering
            | State::Describing(..)
            | State::Salting(..)
            | State::Redeeming(..)
            | State::Exchanging(_)
            | State::Over) => {
                self.state = state;
                return Err(RedirectError::WrongState);
            }
        };
        let names_itself = provider.names_itself();
        let expected = redirect::Expected { state: &pending.state, issuer: provider.issuer(), names_itself };
        match redirect::code(address, &expected) {
            Ok(code) => {
                let next = self.redeem(Redeeming { known, provider, pending, code }, vec![], now, random);
                self.land(next);
                Ok(())
            }
            Err(error) if error.is_anothers() => {
                self.state = State::InBrowser(known, provider, pending);
                Err(error)
            }
            Err(error) => {
                self.land(Err(error.clone().into()));
                Err(error)
            }
        }
    }

    /// Gives up once ten minutes are over.
    pub fn handle_time(&mut self, now: Time) {
        if now >= self.deadline && !matches!(self.state, State::Over) {
            self.land(Err(SignInError::TooLate));
        }
    }

    /// What to do next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output<SignedIn, SignInError>> {
        self.outbox.pop()
    }

    /// When to come back at the latest.
    pub const fn next_wake(&self) -> Option<Time> {
        if matches!(self.state, State::Over) { None } else { Some(self.deadline) }
    }

    fn land(&mut self, next: Result<State, SignInError>) {
        self.state = next.unwrap_or_else(|error| {
            self.outbox.push(Output::Failed(error));
            State::Over
        });
    }

    /// One answer further, in the order of a sign-in's life.
    fn next(
        &mut self,
        state: State,
        answer: Response,
        now: Time,
        random: &mut dyn Random,
    ) -> Result<State, SignInError> {
        match state {
            State::Discovering => self.describe(self.know(&answer)?, vec![]),
            State::Describing(known, mut answers) => {
                answers.push(answer);
                self.describe(known, answers)
            }
            State::Salting(known, provider) => self.send_to_browser(known, provider, &answer, now, random),
            State::InBrowser(..) | State::Over => Ok(state),
            State::Redeeming(redeeming, mut answers) => {
                answers.push(answer);
                self.redeem(redeeming, answers, now, random)
            }
            State::Exchanging(exchanging) => self.receive(exchanging, &answer, now, random),
        }
    }

    fn know(&self, answer: &Response) -> Result<Known, SignInError> {
        let org = &self.plan.org.org;
        let discovery: Discovery = read(answer, discovery::LONGEST)
            .ok_or_else(|| SignInError::NotAnOrganisation(org.to_string()))?
            .map_err(not_understood)?;
        if discovery.org != *org {
            let (asked, answered) = (org.to_string(), discovery.org.to_string());
            return Err(SignInError::AnotherOrganisation { asked, answered });
        }
        Versions::OURS.agree(discovery.versions).ok_or(SignInError::NoCommonVersion)?;
        // Without a pin the root is trusted as TLS vouches for it today, and pinned from here on.
        let root = self.plan.org.root.map_or_else(|| KeySet::claimed_root(&discovery.keys), Ok)?;
        let keys = KeySet::verify(&discovery.keys, org, &root, 0)?;
        Ok(Known { discovery, keys, root })
    }

    fn describe(&mut self, known: Known, answers: Vec<Response>) -> Result<State, SignInError> {
        let Discovery { issuer, client_id, .. } = &known.discovery;
        match Provider::discover(issuer, client_id, &self.plan.redirect, &answers)? {
            Step::Needs(request) => {
                self.outbox.call(*request);
                Ok(State::Describing(known, answers))
            }
            Step::Done(provider) => {
                self.outbox.call(post(&format!("{}{}", self.plan.org.org, token::NONCE_PATH)));
                Ok(State::Salting(known, provider))
            }
        }
    }

    fn send_to_browser(
        &mut self,
        known: Known,
        provider: Provider,
        answer: &Response,
        now: Time,
        random: &mut dyn Random,
    ) -> Result<State, SignInError> {
        let nonce: Nonce =
            read(answer, token::LONGEST).ok_or_else(|| unexpected(answer))?.map_err(not_understood)?;
        self.possession.learn(&nonce, now);
        let pending = Pending {
            state: fresh_text(random),
            verifier: fresh_text(random),
            nonce: id_nonce(self.possession.org(), &self.possession.jkt(), &nonce.nonce),
            salt: nonce.nonce,
        };
        let url = provider.authorize_url(
            &known.discovery.scopes,
            &pending.state,
            &pending.nonce,
            &pending.verifier,
        );
        self.outbox.push(Output::OpenBrowser(url));
        Ok(State::InBrowser(known, provider, pending))
    }

    fn redeem(
        &mut self,
        redeeming: Redeeming,
        answers: Vec<Response>,
        now: Time,
        random: &mut dyn Random,
    ) -> Result<State, SignInError> {
        let Redeeming { known, provider, pending, code } = &redeeming;
        let wall = self.possession.clock().at(now);
        match provider.redeem(code, &pending.verifier, &pending.nonce, wall, &answers)? {
            Step::Needs(request) => {
                self.outbox.call(*request);
                Ok(State::Redeeming(redeeming, answers))
            }
            Step::Done(issued) => {
                let salt = pending.salt.clone();
                self.exchange(Exchanging { known: known.clone(), salt, issued, retried: false }, now, random)
            }
        }
    }

    fn exchange(
        &mut self,
        exchanging: Exchanging,
        now: Time,
        random: &mut dyn Random,
    ) -> Result<State, SignInError> {
        let mut fields = vec![
            ("grant_type", token::EXCHANGE),
            ("subject_token_type", token::ID_TOKEN),
            ("subject_token", exchanging.issued.id_token.expose()),
            ("salt", &exchanging.salt),
            ("device_name", &self.plan.device_name),
        ];
        if let Some(token) = &self.plan.enrolment_token {
            fields.push(("enrolment_token", token.expose()));
        }
        self.outbox.call(token_request(&self.possession, &fields, now, random)?);
        Ok(State::Exchanging(exchanging))
    }

    fn receive(
        &mut self,
        exchanging: Exchanging,
        answer: &Response,
        now: Time,
        random: &mut dyn Random,
    ) -> Result<State, SignInError> {
        let has_nonce = self.possession.learn_from(answer);
        match token_answer(answer) {
            Ok(response) => {
                let Exchanging { known: Known { discovery, keys, root }, issued, .. } = exchanging;
                let (tokens, possession) = (Tokens::from_response(response, now), self.possession.clone());
                let provider_refresh = issued.refresh;
                let signed_in = SignedIn { tokens, possession, discovery, keys, root, provider_refresh };
                self.outbox.push(Output::Done(signed_in));
                Ok(State::Over)
            }
            Err(TokenAnswerError::Refused(error))
                if wants_nonce(&error) && has_nonce && !exchanging.retried =>
            {
                self.exchange(Exchanging { retried: true, ..exchanging }, now, random)
            }
            Err(TokenAnswerError::Refused(error)) => Err(SignInError::Refused(error)),
            Err(TokenAnswerError::NotUnderstood(what)) => Err(SignInError::NotUnderstood(what)),
        }
    }

    /// Whom the call that failed was made to, as a person knows them.
    fn whom(&self, state: &State) -> String {
        match state {
            State::Describing(known, _) | State::Redeeming(Redeeming { known, .. }, _) => {
                known.discovery.issuer.clone()
            }
            State::Discovering
            | State::Salting(..)
            | State::InBrowser(..)
            | State::Exchanging(_)
            | State::Over => self.plan.org.org.to_string(),
        }
    }
}

/// Why a token endpoint's answer holds no tokens.
pub(crate) enum TokenAnswerError {
    Refused(TokenError),
    NotUnderstood(String),
}

/// A form for the broker's token endpoint, with its proof.
pub(crate) fn token_request(
    possession: &Possession,
    fields: &[(&str, &str)],
    now: Time,
    random: &mut dyn Random,
) -> Result<Request, SignError> {
    let request = possession.request(Method::POST, token::TOKEN_PATH, None, now, random)?;
    let request = request.header(CONTENT_TYPE, FORM).header(ACCEPT, JSON).body(form(fields));
    request.map_err(|error| SignError::Refused(error.to_string()))
}

/// The tokens in a token endpoint's answer.
pub(crate) fn token_answer(answer: &Response) -> Result<TokenResponse, TokenAnswerError> {
    let outcome = if answer.status().is_success() {
        wire::read(answer.body(), token::LONGEST)
    } else {
        match wire::read(answer.body(), token::LONGEST) {
            Ok(error) => return Err(TokenAnswerError::Refused(error)),
            Err(error) => Err(error),
        }
    };
    outcome.map_err(|error| TokenAnswerError::NotUnderstood(format!("{}: {error}", answer.status())))
}

/// Whether a refusal only asks for a proof over the nonce that came with it (RFC 9449, 8).
pub(crate) fn wants_nonce(error: &TokenError) -> bool {
    error.error == TokenErrorCode::UseDpopNonce
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(
    answer: &Response,
    longest: usize,
) -> Option<Result<T, WireError>> {
    answer.status().is_success().then(|| wire::read(answer.body(), longest))
}

fn unexpected(answer: &Response) -> SignInError {
    SignInError::NotUnderstood(answer.status().to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn not_understood(error: WireError) -> SignInError {
    SignInError::NotUnderstood(error.to_string())
}

fn refusal(error: &TokenError) -> String {
    let said =
        error.reason.map(|reason| reason.sentence().to_owned()).or_else(|| error.error_description.clone());
    said.unwrap_or_else(|| "it gives no reason".into())
}

fn get(uri: &str) -> Request {
    plain(Method::GET, uri)
}

pub(crate) fn post(uri: &str) -> Request {
    plain(Method::POST, uri)
}

fn plain(method: Method, uri: &str) -> Request {
    // An organisation is an origin and the paths are constants: together they are always a URI.
    http::Request::builder().method(method).uri(uri).header(ACCEPT, JSON).body(vec![]).unwrap_or_default()
}

/// 256 random bits as text: a state, or a PKCE verifier (RFC 7636, 4.1: 43 characters).
fn fresh_text(random: &mut dyn Random) -> Secret<String> {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    Secret::new(base64url::encode(bytes))
}

const LIFE: std::time::Duration = minutes(10);
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
