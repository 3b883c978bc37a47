use http::Method;
use ztna_api::token;
use ztna_auth::{CallError, RedirectError, Response};
use ztna_auth::{
    Output as AuthOutput, Possession, Renewal, RenewalError, SignIn, SignInError, SignInPlan, SignedIn,
    Tokens,
};
use ztna_model::{DenyReason, EndReason, OrgString, Secret, Time};

use crate::account::Account;
use crate::output::{CallId, Output, Plane};
use crate::session::Session;
use crate::state::Why;
use crate::stream::Stream;
use crate::transitions::Happened;

/// What waits for HTTP answers.
#[derive(Debug, Default)]
pub(crate) enum Task {
    #[default]
    None,
    SignIn(Box<SignIn>),
    Renewal(Box<Renewal>),
    Farewell(Farewell),
}

/// How the broker is told that a session is over. Nothing of it is left here but what this holds.
#[derive(Debug)]
pub(crate) enum Farewell {
    /// The access token was over: a session outlives it by days.
    Renewing(Box<Renewal>),
    Telling,
}

impl Session {
    /// Signs in to `org`. `redirect` is where the browser brings the answer; the driver listens there already.
    pub fn sign_in(
        &mut self,
        org: OrgString,
        redirect: String,
        enrolment_token: Option<Secret<String>>,
        now: Time,
    ) {
        if self.account.is_some() {
            return;
        }
        let possession = Possession::new(org.org.clone(), self.signer.clone());
        let device_name = self.profile.device_name.clone();
        let plan = SignInPlan { org, redirect, device_name, enrolment_token };
        self.begin(Task::SignIn(Box::new(SignIn::begin(plan, possession, now))));
        self.happen(Happened::SignInBegan);
        self.drain_task(now);
    }

    /// The browser brought this address back.
    pub fn handle_redirect(&mut self, address: &str, now: Time) -> Result<(), RedirectError> {
        let Task::SignIn(sign_in) = &mut self.task else { return Err(RedirectError::WrongState) };
        let outcome = sign_in.handle_redirect(address, now, &mut self.random);
        self.drain_task(now);
        outcome
    }

    /// Gives a sign-in up.
    pub fn cancel_sign_in(&mut self) {
        if matches!(self.task, Task::SignIn(_)) {
            self.begin(Task::None);
            self.happen(Happened::SignInFailed(None));
        }
    }

    /// The answer to an HTTP call.
    pub fn handle_answer(&mut self, call: CallId, answer: Result<Response, CallError>, now: Time) {
        if call.task != self.task_number {
            return;
        }
        match &mut self.task {
            Task::None => {}
            Task::SignIn(sign_in) => sign_in.handle_answer(call.number, answer, now, &mut self.random),
            Task::Renewal(renewal) | Task::Farewell(Farewell::Renewing(renewal)) => {
                renewal.handle_answer(call.number, answer, now, &mut self.random);
            }
            Task::Farewell(Farewell::Telling) => self.begin(Task::None),
        }
        self.drain_task(now);
    }

    /// Signs out: here at once, and at the broker when it can be told.
    pub fn sign_out(&mut self, now: Time) {
        let Some(account) = self.account.take() else { return self.cancel_sign_in() };
        let Account { possession, tokens, .. } = account;
        self.sign_out_here(Some(Why::Ended(EndReason::SignedOut)));
        if tokens.access_until > now {
            self.take_leave(&possession, &tokens.access, now);
        } else {
            let renewal = Renewal::begin(possession, tokens.refresh, now, &mut self.random);
            self.begin(Task::Farewell(Farewell::Renewing(Box::new(renewal))));
            self.drain_task(now);
        }
    }

    /// Whether the broker is being told of a sign-out. Nobody has to wait for it: a session that is not told of ends by
    /// itself.
    pub const fn is_taking_leave(&self) -> bool {
        matches!(self.task, Task::Farewell(_))
    }

    fn take_leave(&mut self, possession: &Possession, access: &Secret<String>, now: Time) {
        let request =
            possession.request(Method::POST, token::SIGN_OUT_PATH, Some(access), now, &mut self.random);
        match request.ok().and_then(|request| request.body(vec![]).ok()) {
            Some(request) => {
                self.begin(Task::Farewell(Farewell::Telling));
                self.call(0, request);
            }
            None => self.begin(Task::None),
        }
    }

    /// Erases everything that was the session's.
    pub(crate) fn sign_out_here(&mut self, why: Option<Why>) {
        self.account = None;
        self.begin(Task::None);
        self.wanted = false;
        self.forget_rights(DenyReason::SignedOut);
        self.drop_stream();
        self.facts.forget();
        self.push(Output::Plane(Plane::Clear(DenyReason::SignedOut)));
        self.push(Output::Erase);
        self.happen(Happened::SignedOut(why));
    }

    /// Renews the tokens.
    pub(crate) fn renew(&mut self, now: Time) {
        if !matches!(self.task, Task::None) {
            return;
        }
        let Some(account) = &self.account else { return };
        let (possession, refresh) = (account.possession.clone(), account.tokens.refresh.clone());
        let renewal = Renewal::begin(possession, refresh, now, &mut self.random);
        self.begin(Task::Renewal(Box::new(renewal)));
        self.drain_task(now);
    }

    pub(crate) fn pass_time_on_task(&mut self, now: Time) {
        if let Task::SignIn(sign_in) = &mut self.task {
            sign_in.handle_time(now);
            self.drain_task(now);
        }
    }

    pub(crate) fn task_wake(&self) -> Option<Time> {
        match &self.task {
            Task::SignIn(sign_in) => sign_in.next_wake(),
            Task::None | Task::Renewal(_) | Task::Farewell(_) => None,
        }
    }

    fn begin(&mut self, task: Task) {
        self.task = task;
        self.task_number = self.task_number.wrapping_add(1);
    }

    fn drain_task(&mut self, now: Time) {
        loop {
            match &mut self.task {
                Task::None | Task::Farewell(Farewell::Telling) => return,
                Task::SignIn(sign_in) => match sign_in.poll() {
                    None => return,
                    Some(AuthOutput::Call(call)) => self.call(call.number, call.request),
                    Some(AuthOutput::OpenBrowser(address)) => self.push(Output::OpenBrowser(address)),
                    Some(AuthOutput::Done(signed_in)) => self.signed_in(signed_in, now),
                    Some(AuthOutput::Failed(error)) => self.sign_in_failed(&error),
                },
                Task::Renewal(renewal) => match renewal.poll() {
                    None => return,
                    Some(AuthOutput::Call(call)) => self.call(call.number, call.request),
                    // A renewal needs no browser.
                    Some(AuthOutput::OpenBrowser(_)) => {}
                    Some(AuthOutput::Done((tokens, possession))) => self.renewed(tokens, possession, now),
                    Some(AuthOutput::Failed(error)) => self.renewal_failed(error, now),
                },
                Task::Farewell(Farewell::Renewing(renewal)) => match renewal.poll() {
                    None => return,
                    Some(AuthOutput::Call(call)) => self.call(call.number, call.request),
                    // A renewal needs no browser.
                    Some(AuthOutput::OpenBrowser(_)) => {}
                    Some(AuthOutput::Done((tokens, possession))) => {
                        self.take_leave(&possession, &tokens.access, now);
                    }
                    Some(AuthOutput::Failed(_)) => self.begin(Task::None),
                },
            }
        }
    }

    fn call(&mut self, number: u32, request: ztna_auth::Request) {
        let call = CallId { task: self.task_number, number };
        self.push(Output::Call { call, request: Box::new(request) });
    }

    fn signed_in(&mut self, signed_in: SignedIn, now: Time) {
        self.begin(Task::None);
        self.account = Some(Account::from(signed_in));
        self.save();
        self.happen(Happened::SignedIn);
        self.connect(now);
    }

    fn sign_in_failed(&mut self, error: &SignInError) {
        self.begin(Task::None);
        self.happen(Happened::SignInFailed(Some(Why::Failed(error.to_string()))));
    }

    fn renewed(&mut self, tokens: Tokens, possession: Possession, now: Time) {
        self.begin(Task::None);
        if let Some(account) = &mut self.account {
            account.tokens = tokens;
            account.possession = possession;
        }
        self.save();
        self.stream = Stream::Closed;
        self.open_stream(now);
    }

    fn renewal_failed(&mut self, error: RenewalError, now: Time) {
        self.begin(Task::None);
        match error {
            RenewalError::SessionOver(_) => self.sign_out_here(Some(Why::Ended(EndReason::Expired))),
            RenewalError::Key(_) => self.sign_out_here(Some(Why::Failed(error.to_string()))),
            RenewalError::NoAnswer(_) | RenewalError::NotNow(_) | RenewalError::NotUnderstood(_) => {
                self.lost_at.get_or_insert(now);
                self.try_later(now);
            }
        }
    }
}
