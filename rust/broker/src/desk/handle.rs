use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};
use ztna_api::admin::{AdminError, Answer, Op};
use ztna_api::device::FromDevice;
use ztna_api::dpop::Proof;
use ztna_api::gateway::FromGateway;
use ztna_api::token::{Exchange as ExchangeRequest, Nonce, TokenError, TokenResponse};
use ztna_model::{GatewayId, PublicKey, Secret};
use ztna_pdp::{
    Admin, DeviceOpened, Enrol, EnrolError, EnrolledGateway, Exchange, GatewayOpened, IdToken, Input,
    LoggedOut, Refresh, RenewCertificate, RequestId, SignOut, StreamId,
};

use super::message::{Message, Waiting};
use super::outbox::Outbox;
use crate::id_tokens::Logout;

/// The way to the desk.
#[derive(Clone)]
pub(crate) struct Handle {
    urgent: mpsc::Sender<Message>,
    ordinary: mpsc::Sender<Message>,
    /// Requests and streams share their numbers, so that none is ever taken for another.
    next: Arc<AtomicU64>,
    title: watch::Receiver<String>,
}

/// An answer, and a nonce for the next request.
#[derive(Debug)]
pub(crate) struct Told<T> {
    pub(crate) answer: T,
    pub(crate) nonce: String,
}

/// The desk has more to do than it can, or has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overloaded;

type Answered<T> = Result<T, Overloaded>;

impl Handle {
    pub(super) fn new(
        urgent: mpsc::Sender<Message>,
        ordinary: mpsc::Sender<Message>,
        title: watch::Receiver<String>,
    ) -> Self {
        Self { urgent, ordinary, next: Arc::default(), title }
    }

    /// What people call the organisation.
    pub(crate) fn title(&self) -> String {
        self.title.borrow().clone()
    }

    /// A fresh nonce, and the broker's time.
    pub(crate) async fn nonce(&self) -> Answered<Nonce> {
        let (sender, receiver) = oneshot::channel();
        self.ordinary.try_send(Message::Nonce(sender)).map_err(|_| Overloaded)?;
        receiver.await.map_err(|_| Overloaded)
    }

    pub(crate) async fn exchange(
        &self,
        proof: Proof,
        id_token: IdToken,
        asked: ExchangeRequest,
    ) -> Answered<Told<Result<TokenResponse, TokenError>>> {
        let ExchangeRequest { salt, device_name, enrolment_token: enrolment, .. } = asked;
        let input = |request| {
            Input::Exchange(Box::new(Exchange { request, proof, id_token, salt, device_name, enrolment }))
        };
        self.ask(input, Waiting::Tokens).await
    }

    pub(crate) async fn refresh(
        &self,
        proof: Proof,
        token: Secret<String>,
    ) -> Answered<Told<Result<TokenResponse, TokenError>>> {
        self.ask(|request| Input::Refresh(Refresh { request, proof, token }), Waiting::Tokens).await
    }

    pub(crate) async fn sign_out(
        &self,
        proof: Proof,
        token: Secret<String>,
    ) -> Answered<Told<Result<(), TokenError>>> {
        self.ask(|request| Input::SignOut(SignOut { request, proof, token }), Waiting::SignedOut).await
    }

    /// What an identity provider says of somebody who signed out there: it goes before everything that gives.
    pub(crate) async fn logged_out(&self, logout: Logout) -> Answered<Told<Result<(), TokenError>>> {
        let Logout { issuer, subject, idp_sid, .. } = logout;
        let (sender, receiver) = oneshot::channel();
        let request = self.request();
        let input = Input::LoggedOut(LoggedOut { request, issuer, subject, idp_sid });
        let message = Message::Ask(Box::new(input), request, Waiting::SignedOut(sender));
        self.urgent.send(message).await.map_err(|_| Overloaded)?;
        receiver.await.map_err(|_| Overloaded)
    }

    pub(crate) async fn enrol(
        &self,
        token: Secret<String>,
        key: PublicKey,
    ) -> Answered<Result<EnrolledGateway, EnrolError>> {
        self.ask(|request| Input::Enrol(Enrol { request, token, key }), Waiting::Certified).await
    }

    pub(crate) async fn renew(
        &self,
        gateway: GatewayId,
        key: PublicKey,
    ) -> Answered<Result<EnrolledGateway, EnrolError>> {
        let input = |request| Input::RenewCertificate(RenewCertificate { request, gateway, key });
        self.ask(input, Waiting::Certified).await
    }

    /// What an administrator asks goes before everything else.
    pub(crate) async fn admin(&self, uid: u32, op: Op) -> Answered<Result<Answer, AdminError>> {
        let (sender, receiver) = oneshot::channel();
        let request = self.request();
        let input = Input::Admin(Admin { request, uid, op });
        let message = Message::Ask(Box::new(input), request, Waiting::Admin(sender));
        self.urgent.send(message).await.map_err(|_| Overloaded)?;
        receiver.await.map_err(|_| Overloaded)
    }

    /// Asks for a device's stream. It is open once the answer says so; what the device shall hear goes to `outbox`.
    pub(crate) async fn open_device(
        &self,
        stream: StreamId,
        proof: Proof,
        token: Secret<String>,
        address: IpAddr,
        outbox: Outbox,
    ) -> Answered<Told<Result<(), TokenError>>> {
        let (sender, receiver) = oneshot::channel();
        let opened = Box::new(DeviceOpened { stream, proof, token, address });
        let message = Message::OpenDevice(opened, outbox, sender);
        self.ordinary.try_send(message).map_err(|_| Overloaded)?;
        receiver.await.map_err(|_| Overloaded)
    }

    pub(crate) async fn open_gateway(
        &self,
        stream: StreamId,
        gateway: GatewayId,
        key: PublicKey,
        outbox: Outbox,
    ) -> Answered<()> {
        let message = Message::OpenGateway(GatewayOpened { stream, gateway, key }, outbox);
        self.ordinary.send(message).await.map_err(|_| Overloaded)
    }

    /// Passes on what a device says; waits while the desk has too much to do, so that no more is read.
    pub(crate) async fn device_says(&self, stream: StreamId, frame: FromDevice) -> Answered<()> {
        self.tell(Input::FromDevice(stream, frame)).await
    }

    pub(crate) async fn gateway_says(&self, stream: StreamId, frame: FromGateway) -> Answered<()> {
        self.tell(Input::FromGateway(stream, frame)).await
    }

    /// Says that a stream is gone.
    pub(crate) async fn closed(&self, stream: StreamId) {
        let _ = self.ordinary.send(Message::Closed(stream)).await; // a desk that has stopped has forgotten it
    }

    /// A number for a stream.
    pub(crate) fn stream(&self) -> StreamId {
        StreamId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells the desk to finish.
    pub(crate) async fn stop(&self) {
        let _ = self.urgent.send(Message::Stop).await; // it has stopped already
    }

    async fn ask<T>(
        &self,
        input: impl FnOnce(RequestId) -> Input,
        waiting: fn(oneshot::Sender<T>) -> Waiting,
    ) -> Answered<T> {
        let (sender, receiver) = oneshot::channel();
        let request = self.request();
        let message = Message::Ask(Box::new(input(request)), request, waiting(sender));
        self.ordinary.try_send(message).map_err(|_| Overloaded)?;
        receiver.await.map_err(|_| Overloaded)
    }

    async fn tell(&self, input: Input) -> Answered<()> {
        self.ordinary.send(Message::Tell(Box::new(input))).await.map_err(|_| Overloaded)
    }

    fn request(&self) -> RequestId {
        RequestId(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
