use std::net::IpAddr;

use ztna_api::admin::Op;
use ztna_api::device::FromDevice;
use ztna_api::dpop::Proof;
use ztna_api::gateway::FromGateway;
use ztna_model::{GatewayId, PublicKey, Secret, Time, WallTime};

use crate::batch::{BatchId, NotCommitted};

/// Both of the broker's clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// The boot clock: what spans are measured by.
    pub boot: Time,
    /// The wall clock: what tokens, facts and people go by.
    pub wall: WallTime,
}

/// Numbers requests that want one answer; the driver's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Numbers streams, of devices and gateways alike; the driver's own, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// What arrives.
#[derive(Debug)]
pub enum Input {
    /// An ID token is to be exchanged for a session (RFC 8693).
    Exchange(Box<Exchange>),
    /// Tokens are to be renewed (RFC 6749, 6).
    Refresh(Refresh),
    /// A session is to be ended by its own device.
    SignOut(SignOut),
    /// An identity provider says that somebody signed out there (OIDC Back-Channel Logout 1.0).
    LoggedOut(LoggedOut),

    /// A device asks to open a control stream.
    DeviceOpened(DeviceOpened),
    /// A device says something on a stream that was accepted.
    FromDevice(StreamId, FromDevice),
    /// A device's stream is gone.
    DeviceClosed(StreamId),

    /// A gateway wants a certificate for the first time.
    Enrol(Enrol),
    /// A gateway wants its certificate renewed.
    RenewCertificate(RenewCertificate),
    /// A gateway has opened its stream, under a certificate that the driver has verified.
    GatewayOpened(GatewayOpened),
    /// A gateway says something.
    FromGateway(StreamId, FromGateway),
    /// A gateway's stream is gone.
    GatewayClosed(StreamId),

    /// An administrator asks for something.
    Admin(Admin),

    /// A batch is in the store.
    Committed(BatchId),
    /// A batch is not, and never will be.
    NotCommitted(BatchId, NotCommitted),
    /// The time that [`Pdp::next_wake`](crate::Pdp::next_wake) named has come.
    Woken,
}

/// A request to exchange an ID token.
#[derive(Debug)]
pub struct Exchange {
    /// For the answer.
    pub request: RequestId,
    /// The proof, verified but for nonce and first use.
    pub proof: Proof,
    /// The ID token, its signature verified under a key of the issuer by an algorithm on our list.
    pub id_token: IdToken,
    /// The nonce of ours that the sign-in committed to.
    pub salt: String,
    /// What people call the device.
    pub device_name: String,
    /// A single-use token that admits the device.
    pub enrolment: Option<Secret<String>>,
}

/// What an ID token says (OIDC Core 2). Its signature holds; what it says is checked here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdToken {
    /// SHA-256 of the whole token.
    pub hash: [u8; 32],
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`, all of them.
    pub audiences: Vec<String>,
    /// `azp`.
    pub authorized_party: Option<String>,
    /// `exp`.
    pub expires: WallTime,
    /// `iat`.
    pub issued: WallTime,
    /// `nonce`.
    pub nonce: Option<String>,
    /// `sid` (OIDC Back-Channel Logout 1.0).
    pub idp_sid: Option<String>,
    /// `acr`.
    pub acr: Option<String>,
    /// `amr`.
    pub amr: Vec<String>,
    /// `auth_time`.
    pub auth_time: Option<WallTime>,
    /// `email`.
    pub email: Option<String>,
    /// `email_verified`.
    pub email_verified: bool,
    /// `name`, or what comes closest.
    pub name: Option<String>,
    /// `groups`.
    pub groups: Vec<String>,
}

/// A request to renew tokens.
#[derive(Debug)]
pub struct Refresh {
    /// For the answer.
    pub request: RequestId,
    /// The proof, verified but for nonce and first use.
    pub proof: Proof,
    /// The refresh token.
    pub token: Secret<String>,
}

/// A request to end a session.
#[derive(Debug)]
pub struct SignOut {
    /// For the answer.
    pub request: RequestId,
    /// The proof, verified with the access token, but for nonce and first use.
    pub proof: Proof,
    /// The access token.
    pub token: Secret<String>,
}

/// A logout token whose signature and claims the driver has verified; what it says can only end sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedOut {
    /// For the answer, which is a sign-out's.
    pub request: RequestId,
    /// `iss`.
    pub issuer: String,
    /// `sub`, if it says one.
    pub subject: Option<String>,
    /// `sid`, if it says one: only sessions of that sign-in end.
    pub idp_sid: Option<String>,
}

/// A request for a control stream.
#[derive(Debug)]
pub struct DeviceOpened {
    /// The stream, for the answer and everything after.
    pub stream: StreamId,
    /// The proof, verified with the access token, but for nonce and first use.
    pub proof: Proof,
    /// The access token.
    pub token: Secret<String>,
    /// Where the connection comes from.
    pub address: IpAddr,
}

/// A gateway's first request.
#[derive(Debug)]
pub struct Enrol {
    /// For the answer.
    pub request: RequestId,
    /// The single-use token.
    pub token: Secret<String>,
    /// The key of its certificate signing request, whose own signature the driver has verified.
    pub key: PublicKey,
}

/// A gateway's request for another certificate.
#[derive(Debug)]
pub struct RenewCertificate {
    /// For the answer.
    pub request: RequestId,
    /// The gateway, as the certificate it came with names it.
    pub gateway: GatewayId,
    /// The key of its certificate signing request.
    pub key: PublicKey,
}

/// A gateway's stream.
#[derive(Debug)]
pub struct GatewayOpened {
    /// The stream.
    pub stream: StreamId,
    /// The gateway, as its certificate names it.
    pub gateway: GatewayId,
    /// The certificate's key.
    pub key: PublicKey,
}

/// An administrator's request.
#[derive(Debug)]
pub struct Admin {
    /// For the answer.
    pub request: RequestId,
    /// The operating system account at the other end of the socket.
    pub uid: u32,
    /// What is asked for.
    pub op: Op,
}
