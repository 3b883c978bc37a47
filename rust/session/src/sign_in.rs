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
            Task::Renewal(renewal) => renewal.handle_answer(call.number, answer, now, &mut self.random),
        }
        self.drain_task(now);
    }

    /// Signs out: here at once, and at the broker when it can be told.
    pub fn sign_out(&mut self, now: Time) {
        let Some(account) = &self.account else { return self.cancel_sign_in() };
        let access = Some(&account.tokens.access);
        let request =
            account.possession.request(Method::POST, token::SIGN_OUT_PATH, access, now, &mut self.random);
        let request = request.ok().and_then(|request| request.body(vec![]).ok());
        self.sign_out_here(Some(Why::Ended(EndReason::SignedOut)));
        if let Some(request) = request {
            // Nobody waits for the answer: a session that is not told ends by itself.
            self.begin(Task::None);
            let call = CallId { task: self.task_number, number: 0 };
            self.push(Output::Call { call, request: Box::new(request) });
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
            Task::None | Task::Renewal(_) => None,
        }
    }

    fn begin(&mut self, task: Task) {
        self.task = task;
        self.task_number = self.task_number.wrapping_add(1);
    }

    fn drain_task(&mut self, now: Time) {
        loop {
            match &mut self.task {
                Task::None => return,
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
