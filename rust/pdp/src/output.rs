use thiserror::Error;
use ztna_api::admin::{AdminError, Answer};
use ztna_api::device::ToDevice;
use ztna_api::gateway::ToGateway;
use ztna_api::token::{TokenError, TokenResponse};
use ztna_model::{GatewayId, SessionId, SiteId, WallTime};

use crate::batch::Batch;
use crate::input::{RequestId, StreamId};

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Write this, and say whether it is written.
    Commit(Batch),
    /// Answer an exchange or a refresh.
    Tokens(RequestId, Result<TokenResponse, TokenError>),
    /// Answer a sign-out, by a device or by an identity provider.
    SignedOut(RequestId, Result<(), TokenError>),
    /// Answer a gateway that enrols: sign its request with these names, or refuse.
    Enrolled(RequestId, Result<EnrolledGateway, EnrolError>),
    /// Answer a gateway that renews: sign its request, or refuse.
    CertificateRenewed(RequestId, Result<EnrolledGateway, EnrolError>),
    /// Answer an administrator.
    Admin(RequestId, Result<Answer, AdminError>),

    /// Accept a device's stream, or refuse it.
    Stream(StreamId, Result<(), TokenError>),
    /// Say this to a device.
    ToDevice(StreamId, ToDevice),
    /// Say this to a gateway.
    ToGateway(StreamId, ToGateway),
    /// Close a stream, once what was said on it is out.
    Close(StreamId),

    /// Tell whoever looks after the broker.
    Alarm(Alarm),
}

/// What a gateway's certificate shall name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnrolledGateway {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its site.
    pub site: SiteId,
}

/// Why a gateway gets no certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum EnrolError {
    /// The token was never given, is used, or is too old.
    #[error("the enrolment token is not good, or was used before")]
    BadToken,
    /// There is no such gateway, or it is not one any more.
    #[error("the gateway was revoked, or is not known")]
    Revoked,
    /// The request is for another key than the gateway's own.
    #[error("the request is for another key than the gateway enrolled with")]
    WrongKey,
    /// The store takes no writes.
    #[error("the broker's store takes no writes")]
    StoreDown,
}

/// What whoever looks after the broker should know at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// The store takes no writes: no new grants until it does.
    StoreDown,
    /// The store takes writes again.
    StoreBack,
    /// A revocation is in force and not written down: a restart would forget it.
    NotDurable,
    /// A gateway did not acknowledge a revocation.
    GatewaySilent {
        /// The gateway.
        gateway: GatewayId,
        /// The session that was cut.
        sid: SessionId,
        /// When what the gateway holds ends by itself.
        ends_by: WallTime,
    },
    /// Two devices used one key.
    Cloned {
        /// The session.
        sid: SessionId,
    },
    /// The lease key did not sign.
    CannotSign,
    /// The wall clock moved by more than 30 s against the boot clock.
    ClockJumped {
        /// By how many milliseconds; negative: backwards.
        by_ms: i64,
    },
}
