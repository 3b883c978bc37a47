//! The control stream between a gateway and its broker, and how a gateway is enrolled.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{
    Carrier, DenyReason, Epoch, GatewayId, Incarnation, LeaseId, OrgId, OrgString, ParseError, PublicKey,
    RunId, Secret, SessionId, SignError, Signer, SiteId, WgPublic,
};

use crate::discovery::Versions;
use crate::jws::{self, Header, JwsError, Unverified};
use crate::wire::frames;

frames! {
    /// What a gateway says.
    pub enum FromGateway (longest 1024 * 1024) {
        /// Comes first.
        Hello(Hello) = "hello",
        /// Tells the gateway's clock.
        Beat(Beat) = "beat",
        /// A lease was taken.
        Held(Held) = "held",
        /// A lease was refused.
        Declined(Declined) = "declined",
        /// Asks for leases to be renewed.
        Renew(Renew) = "renew",
        /// A lease ended here.
        Ended(Ended) = "ended",
        /// A floor is in force here.
        FloorHeld(FloorHeld) = "floor-held",
        /// Where devices can send datagrams to this gateway.
        Reachable(Reachable) = "reachable",
    }
}

frames! {
    /// What the broker says.
    pub enum ToGateway (longest 4 * 1024 * 1024) {
        /// Answers `hello`.
        Welcome(Welcome) = "welcome",
        /// Asks for a beat at once.
        BeatPlease(BeatPlease) = "beat-please",
        /// Voids earlier leases of a session, but for those that stay.
        Floor(Floor) = "floor",
        /// Which leases live: all others go.
        List(List) = "list",
        /// A new lease.
        Lease(Offered) = "lease",
        /// Renewed leases.
        Renewed(Renewed) = "renewed",
        /// A lease that will not be renewed.
        Over(Over) = "over",
    }
}

/// Comes first on every stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "HelloFields", into = "HelloFields")]
pub struct Hello {
    /// The organisation.
    pub org: OrgId,
    /// The versions the gateway speaks.
    pub versions: Versions,
    /// This run of the process, and its clock.
    pub beat: Beat,
    /// The run's WireGuard key.
    pub wg_pub: WgPublic,
    /// The gateway's [`Statement`] about that key, a JWS under its certificate.
    pub statement: String,
    /// Where devices can send datagrams to it.
    pub carriers: Vec<Carrier>,
    /// The program's name and version.
    pub software: String,
}

/// The gateway's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Beat {
    /// The run of the process.
    pub run: RunId,
    /// Its boot clock, in milliseconds.
    pub now: u64,
}

/// A lease was taken: packets under it pass from here on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The lease.
    pub lease: LeaseId,
}

/// A lease was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Declined {
    /// The lease, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// Why.
    pub code: LeaseError,
}

macro_rules! lease_errors {
    ($($name:ident = $sentence:literal,)*) => {
        /// Why a gateway refuses a lease. Each is counted by its name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, Error)]
        #[serde(rename_all = "kebab-case")]
        pub enum LeaseError {
            $(#[doc = $sentence] #[error($sentence)] $name,)*
        }

        impl LeaseError {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

lease_errors! {
    BadSignature = "no lease key signed it, or it is not a lease",
    UnknownCritical = "it holds a restriction that is not understood",
    WrongOrg = "it is another organisation's",
    WrongGateway = "it is for another gateway",
    WrongRun = "it is for another run of this gateway",
    WrongIncarnation = "the broker's store has been restored since",
    NotYet = "it begins after this gateway's clock",
    TooLong = "it lives longer than any lease may",
    Expired = "it is over",
    BelowFloor = "the session was decided anew since",
    KeyTaken = "the WireGuard key is another session's",
    SecondKey = "the session has another WireGuard key",
    BadStatement = "the device's statement does not fit",
    OutOfReach = "the target is outside this gateway's reach",
    ForbiddenTarget = "the target is in a forbidden range",
    BadSynthetic = "the stand-in addresses are not sound, or another name's",
    NotTheSame = "it repeats an id with another content",
    TooMany = "the gateway holds too many leases",
}

/// Asks for leases to be renewed, all at their half-life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "RenewFields", into = "RenewFields")]
pub struct Renew {
    /// The gateway's clock, on which the renewals will be signed.
    pub beat: Beat,
    /// The leases.
    pub leases: Vec<LeaseId>,
}

/// A lease ended here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// The lease.
    pub lease: LeaseId,
    /// Why.
    pub reason: DenyReason,
}

/// A floor is in force here: every packet from now on is judged by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FloorHeld {
    /// The session.
    pub sid: SessionId,
    /// Its epoch.
    pub epoch: Epoch,
}

/// Where devices can send datagrams to this gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reachable {
    /// Best first, at most 8.
    pub carriers: Vec<Carrier>,
}

/// Answers `hello`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both ends speak from here on.
    pub version: u16,
    /// The gateway, as its certificate names it.
    pub gateway: GatewayId,
    /// The life of the broker's store.
    pub incarnation: Incarnation,
    /// The root-signed key set.
    pub keys: String,
}

/// Asks for a beat at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BeatPlease {}

/// Voids what was decided before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Floor {
    /// The session.
    pub sid: SessionId,
    /// Leases below this epoch are void.
    pub epoch: Epoch,
    /// This gateway's leases that stay, signed anew.
    pub keep: Vec<String>,
    /// Why the others end.
    pub reason: DenyReason,
}

/// Which leases live.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct List {
    /// All of this gateway's leases that are live; what is not listed goes.
    pub live: Vec<LeaseId>,
}

/// A new lease, and what goes with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offered {
    /// The lease, a JWS.
    pub lease: String,
    /// Where the device can be sent a datagram, so that a path opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carriers: Vec<Carrier>,
}

/// Renewed leases.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Renewed {
    /// The leases, each a JWS.
    pub leases: Vec<String>,
}

/// A lease that will not be renewed and ends at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Over {
    /// The lease.
    pub lease: LeaseId,
    /// Why.
    pub reason: DenyReason,
}

/// What a gateway's certificate key signs: which WireGuard key this run has (JWS ES256, `openztna-gateway+jws`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// The organisation.
    pub org: OrgId,
    /// The gateway.
    pub gw: GatewayId,
    /// The run.
    pub run: RunId,
    /// The run's WireGuard key.
    pub wg_pub: WgPublic,
}

impl Statement {
    /// Signs the statement with the gateway's key; `chain` is its certificates, leaf first, base64url DER.
    pub fn sign(&self, signer: &dyn Signer, chain: Vec<String>) -> Result<String, SignError> {
        jws::sign(signer, TYP, self, Header { x5c: chain, ..Header::default() })
    }

    /// The certificates that come with the statement in `text`: claims, until they are checked.
    pub fn certificates(text: &str) -> Result<Vec<String>, JwsError> {
        Ok(Unverified::parse(text, TYP, &[])?.header().x5c.clone())
    }

    /// The statement in `text`, if the certified key `signer` made it.
    pub fn verify(text: &str, signer: &PublicKey) -> Result<Self, JwsError> {
        Unverified::parse(text, TYP, &[])?.verify(signer)
    }
}

/// Where a gateway enrols: `POST` on the broker's public listener.
pub const ENROL_PATH: &str = "/v1/gateways/enrol";
/// Where a gateway renews its certificate: `POST` on the gateways' listener, under the certificate it has.
pub const RENEW_PATH: &str = "/v1/gateways/renew";
/// The control stream: `GET` on the gateways' listener, WebSocket upgrade.
pub const STREAM_PATH: &str = "/v1/gateways/stream";

/// What a gateway needs to enrol, as one string: `organisation string` `!` `secret`.
///
/// It carries the root's hash, so that a gateway trusts the right broker from its first byte on. Without one (a broker
/// that is publicly trusted), the gateway pins the root of the key set that this broker hands it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnrolmentToken {
    /// The organisation.
    pub organisation: OrgString,
    /// What is good once.
    pub secret: Secret<String>,
}

impl EnrolmentToken {
    /// The token as the one string, for the one who is to have it.
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(format!("{}!{}", self.organisation, self.secret.expose()))
    }
}

impl FromStr for EnrolmentToken {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str = "an enrolment token such as https://acme.example#sha256-…!…";
        // What is wrong is never repeated: it may be the secret.
        let error = || ParseError::new("…", EXPECTED);
        let (organisation, secret) = text.trim().split_once('!').ok_or_else(error)?;
        let fits = (16..=256).contains(&secret.len()) && secret.bytes().all(|c| c.is_ascii_graphic());
        let organisation = organisation.parse().map_err(|_| error())?;
        if fits { Ok(Self { organisation, secret: Secret::new(secret.to_owned()) }) } else { Err(error()) }
    }
}

/// A request for a gateway's first certificate.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct EnrolRequest {
    /// The secret of the single-use token.
    pub token: Secret<String>,
    /// A certificate signing request for the key the gateway has made (PKCS #10, base64url DER).
    pub request: String,
    /// The program's name and version.
    pub software: String,
}

/// A certificate for a gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// The organisation.
    pub org: OrgId,
    /// The gateway.
    pub gateway: GatewayId,
    /// Its site.
    pub site: SiteId,
    /// Its certificates, leaf first, base64url DER.
    pub chain: Vec<String>,
    /// The root-signed key set.
    pub keys: String,
    /// `host:port` of the gateways' listener.
    pub listener: String,
}

/// A request to renew a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RenewRequest {
    /// A certificate signing request (PKCS #10, base64url DER).
    pub request: String,
}

/// The fields of [`Hello`] side by side: a frame's own must be known by name.
#[derive(Serialize, Deserialize)]
struct HelloFields {
    org: OrgId,
    versions: Versions,
    run: RunId,
    now: u64,
    wg_pub: WgPublic,
    statement: String,
    carriers: Vec<Carrier>,
    software: String,
}

impl From<HelloFields> for Hello {
    fn from(fields: HelloFields) -> Self {
        let HelloFields { org, versions, run, now, wg_pub, statement, carriers, software } = fields;
        Self { org, versions, beat: Beat { run, now }, wg_pub, statement, carriers, software }
    }
}

impl From<Hello> for HelloFields {
    fn from(hello: Hello) -> Self {
        let Hello { org, versions, beat: Beat { run, now }, wg_pub, statement, carriers, software } = hello;
        Self { org, versions, run, now, wg_pub, statement, carriers, software }
    }
}

/// The fields of [`Renew`] side by side.
#[derive(Serialize, Deserialize)]
struct RenewFields {
    run: RunId,
    now: u64,
    leases: Vec<LeaseId>,
}

impl From<RenewFields> for Renew {
    fn from(RenewFields { run, now, leases }: RenewFields) -> Self {
        Self { beat: Beat { run, now }, leases }
    }
}

impl From<Renew> for RenewFields {
    fn from(Renew { beat: Beat { run, now }, leases }: Renew) -> Self {
        Self { run, now, leases }
    }
}

const TYP: &str = "openztna-gateway+jws";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enrolment_tokens() {
        let root = format!("sha256-{}", "ab".repeat(32));
        for text in [
            "https://acme.example!0123456789abcdef",
            &format!("https://acme.example:8443#{root}!{}", "x".repeat(43)),
        ] {
            let token: EnrolmentToken = text.parse().unwrap();
            assert_eq!(token.to_text().expose(), text);
            assert_eq!(format!(" {text}\n").parse(), Ok(token));
        }
        let refused = [
            "",
            "!",
            "https://acme.example",
            "https://acme.example!short",
            "acme.example!0123456789abcdef",
            "https://acme.example#!0123456789abcdef",
            "https://acme.example!0123456789 abcdef",
        ];
        for text in refused {
            let error = text.parse::<EnrolmentToken>().unwrap_err().to_string();
            assert!(!error.contains("0123456789") && !error.contains("short"), "{error}");
        }
    }

    #[test]
    fn a_beat_lies_flat_in_what_carries_it() {
        let renew = Renew { beat: Beat { run: RunId([1; 16]), now: 5 }, leases: vec![] };
        let text = FromGateway::from(renew.clone()).write();
        assert_eq!(text, format!(r#"{{"type":"renew","run":"{}","now":5,"leases":[]}}"#, "01".repeat(16)));
        assert_eq!(FromGateway::read(text.as_bytes()), Ok(FromGateway::Renew(renew)));
    }
}
