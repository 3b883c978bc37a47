use tokio::sync::oneshot;
use ztna_api::admin::{AdminError, Answer};
use ztna_api::token::{Nonce, TokenError, TokenResponse};
use ztna_pdp::{DeviceOpened, EnrolError, EnrolledGateway, GatewayOpened, Input, RequestId, StreamId};

use super::handle::Told;
use super::outbox::Outbox;

/// What the desk is told.
pub(super) enum Message {
    /// Something that wants one answer.
    Ask(Box<Input>, RequestId, Waiting),
    /// Something that wants none.
    Tell(Box<Input>),
    /// A stream is gone.
    Closed(StreamId),
    /// A device wants a stream.
    OpenDevice(Box<DeviceOpened>, Outbox, oneshot::Sender<Told<Result<(), TokenError>>>),
    /// A gateway has a stream.
    OpenGateway(GatewayOpened, Outbox),
    /// Somebody wants a nonce.
    Nonce(oneshot::Sender<Nonce>),
    /// The broker stops.
    Stop,
}

/// Who waits for an answer. Each may be gone by then.
pub(super) enum Waiting {
    Tokens(oneshot::Sender<Told<Result<TokenResponse, TokenError>>>),
    SignedOut(oneshot::Sender<Told<Result<(), TokenError>>>),
    Certified(oneshot::Sender<Result<EnrolledGateway, EnrolError>>),
    Admin(oneshot::Sender<Result<Answer, AdminError>>),
    Stream(oneshot::Sender<Told<Result<(), TokenError>>>),
}

impl Waiting {
    pub(super) fn tokens(self, answer: Result<TokenResponse, TokenError>, nonce: String) {
        if let Self::Tokens(sender) = self {
            let _ = sender.send(Told { answer, nonce });
        }
    }

    pub(super) fn signed_out(self, answer: Result<(), TokenError>, nonce: String) {
        if let Self::SignedOut(sender) = self {
            let _ = sender.send(Told { answer, nonce });
        }
    }

    pub(super) fn certified(self, answer: Result<EnrolledGateway, EnrolError>) {
        if let Self::Certified(sender) = self {
            let _ = sender.send(answer);
        }
    }

    pub(super) fn admin(self, answer: Result<Answer, AdminError>) {
        if let Self::Admin(sender) = self {
            let _ = sender.send(answer);
        }
    }

    pub(super) fn stream(self, answer: Result<(), TokenError>, nonce: String) {
        if let Self::Stream(sender) = self {
            let _ = sender.send(Told { answer, nonce });
        }
    }
}
