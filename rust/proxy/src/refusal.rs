use thiserror::Error;
use ztna_model::{DenyReason, Fix};

use crate::destination::DestinationError;
use crate::verdict::Verdict;

/// A refusal, ready to be said in either protocol. Nothing in it comes from the app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    /// Why, for machines.
    pub(crate) code: &'static str,
    /// Why, for people.
    pub(crate) sentence: String,
    pub(crate) fixes: Vec<Fix>,
}

/// What an app did wrong in asking, before anything was asked of policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum Misuse {
    #[error("the request could not be read")]
    Malformed,
    #[error("the end of the request's body is not clear")]
    BodyUnclear,
    #[error("addresses with https, ws or wss go through CONNECT")]
    NeedsConnect,
    #[error("the request's head has more than 16 KiB or more than 64 fields")]
    HeadTooLarge,
    #[error("the request asks for something that is not supported")]
    Unsupported,
    #[error("the connector's proxy password is needed")]
    Unauthenticated,
    #[error("nothing is served here")]
    Misdirected,
}

impl Misuse {
    const fn kind(self) -> Kind {
        match self {
            Self::Malformed | Self::BodyUnclear | Self::NeedsConnect => Kind::Malformed,
            Self::HeadTooLarge => Kind::TooLarge,
            Self::Unsupported => Kind::Unsupported,
            Self::Unauthenticated => Kind::Unauthenticated,
            Self::Misdirected => Kind::Misdirected,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BodyUnclear => "body-unclear",
            Self::NeedsConnect => "needs-connect",
            Self::HeadTooLarge => "head-too-large",
            Self::Unsupported => "unsupported",
            Self::Unauthenticated => "unauthenticated",
            Self::Misdirected => "misdirected",
        }
    }
}

/// What sort of refusal it is: a row of the table at [`Verdict`], or one for misuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Malformed,
    TooLarge,
    Unsupported,
    Unauthenticated,
    Misdirected,
    Denied,
    NotFound,
    Away,
    Busy,
    Refused,
    Silent,
}

/// How each protocol says one kind of refusal.
pub(crate) struct Row {
    /// The HTTP status (RFC 9110, 15).
    pub(crate) status: u16,
    /// Its phrase.
    pub(crate) phrase: &'static str,
    /// The problem's title (RFC 9457).
    pub(crate) title: &'static str,
    /// The proxy error type (RFC 9209, 2.3).
    pub(crate) proxy_error: &'static str,
    /// The SOCKS reply code (RFC 1928, 6).
    pub(crate) socks: u8,
}

impl Kind {
    #[rustfmt::skip] // a table
    pub(crate) const fn row(self) -> Row {
        match self {
            Self::Malformed => row(400, "Bad Request", "Bad request", "http_request_error", 1),
            Self::TooLarge => row(431, "Request Header Fields Too Large", "Request too large", "http_request_error", 1),
            Self::Unsupported => row(501, "Not Implemented", "Not supported", "http_request_error", 7),
            Self::Unauthenticated => row(407, "Proxy Authentication Required", "Password needed", "http_request_denied", 2),
            Self::Misdirected => row(421, "Misdirected Request", "Nothing is here", "http_request_denied", 2),
            Self::Denied => row(403, "Forbidden", "Access denied", "http_request_denied", 2),
            Self::NotFound => row(502, "Bad Gateway", "No such application", "destination_not_found", 4),
            Self::Away => row(503, "Service Unavailable", "Out of reach", "destination_unavailable", 3),
            Self::Busy => row(503, "Service Unavailable", "Not possible at present", "proxy_internal_error", 1),
            Self::Refused => row(502, "Bad Gateway", "Connection refused", "connection_refused", 5),
            Self::Silent => row(504, "Gateway Timeout", "No answer", "connection_timeout", 6),
        }
    }

    /// What must look like absence is absence here: `NoRule` is what a table says of a place it has never heard
    /// of, and that may be a hidden one.
    const fn of(reason: DenyReason) -> Self {
        match reason {
            DenyReason::NotFound | DenyReason::NoRule => Self::NotFound,
            DenyReason::SignedOut
            | DenyReason::SessionEnded
            | DenyReason::DeviceNotAdmitted
            | DenyReason::EvidenceTooOld
            | DenyReason::Held
            | DenyReason::DeviceUnfit
            | DenyReason::DeviceUnproven
            | DenyReason::NotEntitled
            | DenyReason::Forbidden
            | DenyReason::PolicyError
            | DenyReason::LeaseExpired
            | DenyReason::Silent
            | DenyReason::Revoked
            | DenyReason::SpoofedSource
            | DenyReason::UnreadablePacket
            | DenyReason::OutOfReach => Self::Denied,
            DenyReason::GatewayAway | DenyReason::BrokerAway | DenyReason::Restarted => Self::Away,
            DenyReason::TooManyFlows | DenyReason::LimitReached | DenyReason::Fault => Self::Busy,
            DenyReason::TargetAway => Self::Silent,
        }
    }
}

const fn row(
    status: u16,
    phrase: &'static str,
    title: &'static str,
    proxy_error: &'static str,
    socks: u8,
) -> Row {
    Row { status, phrase, title, proxy_error, socks }
}

impl Refusal {
    /// How a verdict is told, unless it is a yes.
    pub(crate) fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Connected => None,
            Verdict::Denied { reason, fixes } => Some(Self::denied(reason, fixes)),
            Verdict::StepUp => Some(Self::step_up()),
            Verdict::Pending => Some(Self::pending()),
            Verdict::Refused => Some(Self::refused()),
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(Kind::NotFound, DenyReason::NotFound.code(), DenyReason::NotFound.sentence())
    }

    fn denied(reason: DenyReason, fixes: Vec<Fix>) -> Self {
        let kind = Kind::of(reason);
        if kind == Kind::NotFound {
            return Self::not_found();
        }
        Self { fixes, ..Self::new(kind, reason.code(), reason.sentence()) }
    }

    fn step_up() -> Self {
        let refusal = Self::new(Kind::Denied, "step-up", "a new sign-in is asked for first");
        Self { fixes: vec![Fix::SignIn], ..refusal }
    }

    fn pending() -> Self {
        let refusal = Self::new(Kind::Denied, "pending", "somebody has to approve this access first");
        Self { fixes: vec![Fix::Retry], ..refusal }
    }

    fn refused() -> Self {
        Self::new(Kind::Refused, "target-refused", "the application refused the connection")
    }

    fn new(kind: Kind, code: &'static str, sentence: &str) -> Self {
        Self { kind, code, sentence: sentence.to_owned(), fixes: Vec::new() }
    }
}

impl From<Misuse> for Refusal {
    fn from(misuse: Misuse) -> Self {
        Self::new(misuse.kind(), misuse.code(), &misuse.to_string())
    }
}

impl From<DestinationError> for Refusal {
    fn from(error: DestinationError) -> Self {
        match error {
            DestinationError::Malformed => Misuse::Malformed.into(),
            DestinationError::NoSuchName => Self::not_found(),
        }
    }
}
