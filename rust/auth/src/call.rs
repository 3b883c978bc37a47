use std::collections::VecDeque;

use thiserror::Error;

/// An HTTP request to be made.
pub type Request = http::Request<Vec<u8>>;
/// Its answer: at most 1 MiB, no redirect followed.
pub type Response = http::Response<Vec<u8>>;

/// What a machine asks its driver for.
#[derive(Debug)]
pub enum Output<Done, Error> {
    /// Make this call and hand the answer back with the same number.
    Call(Box<Call>),
    /// Open this address in the person's browser.
    OpenBrowser(String),
    /// It is done.
    Done(Done),
    /// It failed; nothing more will come.
    Failed(Error),
}

/// One HTTP call.
#[derive(Debug)]
pub struct Call {
    /// Its number; answers to earlier numbers are ignored.
    pub number: u32,
    /// The request.
    pub request: Request,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CallError {
    /// No connection, or it broke.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The other end is not who it should be.
    #[error("the connection is not trusted: {0}")]
    Untrusted(String),
    /// Longer than anything that belongs here.
    #[error("the answer is too long")]
    TooLong,
}

/// What a machine has asked for and not yet handed out, and the call it waits for.
#[derive(Debug)]
pub(crate) struct Outbox<Done, Error> {
    queue: VecDeque<Output<Done, Error>>,
    number: u32,
}

impl<Done, Error> Outbox<Done, Error> {
    pub(crate) const fn new() -> Self {
        Self { queue: VecDeque::new(), number: 0 }
    }

    pub(crate) fn push(&mut self, output: Output<Done, Error>) {
        self.queue.push_back(output);
    }

    /// Asks for `request`; the answer to any earlier call counts no more.
    pub(crate) fn call(&mut self, request: Request) {
        self.number += 1;
        self.push(Output::Call(Box::new(Call { number: self.number, request })));
    }

    pub(crate) const fn awaits(&self, number: u32) -> bool {
        self.number == number
    }

    pub(crate) fn pop(&mut self) -> Option<Output<Done, Error>> {
        self.queue.pop_front()
    }
}

/// A form as `POST` carries it.
pub(crate) fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut form = openidconnect::url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish().into_bytes()
}
