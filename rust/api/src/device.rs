//! The control stream between a device and its broker: full state first, then what changes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use ztna_model::{
    ApprovalId, Carrier, Decision, DenyReason, DeviceId, DomainName, EndReason, Fact, FactKind, GatewayId,
    Grant, Incarnation, LeaseId, LinkId, OrgId, Port, Protocol, ResourceId, SessionId, Synthetic, Visible,
    WallTime,
};

use crate::discovery::Versions;
use crate::wire::frames;

frames! {
    /// What a device says.
    pub enum FromDevice (longest 64 * 1024) {
        /// Comes first.
        Hello(Hello) = "hello",
        /// Answers [`ToDevice::IsYours`].
        Mine(Mine) = "mine",
        /// Something that the device key has signed.
        Stated(Stated) = "stated",
        /// Asks for fresh nonces.
        NeedNonces(NeedNonces) = "need-nonces",
        /// Asks for a lease.
        Ask(Ask) = "ask",
        /// Gives a lease back.
        Release(Release) = "release",
        /// Where gateways can send datagrams to this device.
        Reachable(Reachable) = "reachable",
    }
}

frames! {
    /// What the broker says.
    pub enum ToDevice (longest 1024 * 1024) {
        /// Answers `hello`; the rest of the full state follows.
        Welcome(Welcome) = "welcome",
        /// The device waits to be admitted.
        Waiting(Waiting) = "waiting",
        /// Fresh nonces for statements.
        Nonces(Nonces) = "nonces",
        /// Asks for facts.
        FactsPlease(FactsPlease) = "facts-please",
        /// The device's facts as the broker grades them.
        Facts(Facts) = "facts",
        /// All that the device may know of.
        Resources(Resources) = "resources",
        /// Resources whose answer changed, came or went.
        Changed(Changed) = "changed",
        /// A lease is in place.
        Granted(Granted) = "granted",
        /// A lease is refused.
        Refused(Refused) = "refused",
        /// A lease is over.
        Over(Over) = "over",
        /// Asks whether a link is this stream's own: somebody else claims the session.
        IsYours(IsYours) = "is-yours",
        /// Something a person should know.
        Notice(Notice) = "notice",
        /// The session is over.
        Ended(Ended) = "ended",
    }
}

/// Comes first on every stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The organisation.
    pub org: OrgId,
    /// The versions the device speaks.
    pub versions: Versions,
    /// The link of the stream before, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<LinkId>,
    /// This stream's own link, kept on disk before it is sent; a retry repeats it.
    pub next: LinkId,
    /// The connector's name and version.
    pub software: String,
    /// The operating system's family: `linux`, `android`, `ios`.
    pub platform: String,
}

/// Answers [`ToDevice::IsYours`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mine {
    /// The link that was asked about.
    pub next: LinkId,
    /// Whether this device is the one that uses it.
    pub mine: bool,
}

/// Something that the device key has signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stated {
    /// A [`crate::statement`], as a JWS.
    pub statement: String,
}

/// Asks for fresh nonces; the answer is [`Nonces`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NeedNonces {
    /// How many, at most 8.
    pub count: u8,
}

/// Asks for a lease: the first flow to a resource waits for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The device's own number for this request; the answer repeats it.
    pub request: u64,
    /// Where to.
    #[serde(rename = "match")]
    pub wanted: Wanted,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: Port,
    /// Where the gateway can send datagrams to this device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carriers: Vec<Carrier>,
    /// A gateway that did not work just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avoid: Option<GatewayId>,
}

/// What a lease is asked for. An address at one of several sites with the same plan is asked for by its name
/// (`AddressName`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// A name, and the stand-in addresses that the device gave it.
    Name {
        /// The name.
        name: DomainName,
        /// Its stand-ins.
        synthetic: Synthetic,
    },
    /// An address.
    Address(IpAddr),
}

/// Gives a lease back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// The lease.
    pub lease: LeaseId,
}

/// Where gateways can send datagrams to this device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reachable {
    /// Best first, at most 8.
    pub carriers: Vec<Carrier>,
}

/// A place in what the broker has told a device: positions of one incarnation only grow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Position {
    /// The life of the broker's store.
    pub incarnation: Incarnation,
    /// The number within it.
    pub sequence: u64,
}

/// Answers `hello`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both ends speak from here on.
    pub version: u16,
    /// The session.
    pub sid: SessionId,
    /// The device.
    pub device: DeviceId,
    /// What people call the person.
    pub person: String,
    /// Where the stream begins.
    pub position: Position,
    /// The broker's clock.
    pub time: WallTime,
    /// Which facts are asked for.
    pub posture: Vec<FactKind>,
    /// How old facts may be, in seconds; the device sends again at half of it.
    pub facts_max_age_s: u64,
    /// When a new sign-in will be needed.
    pub sign_in_by: WallTime,
    /// The root-signed key set.
    pub keys: String,
    /// Nonces for the first statements.
    pub nonces: Vec<String>,
}

/// The device waits to be admitted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// What waits.
    pub approval: ApprovalId,
    /// Six characters to read to whoever admits it.
    pub code: String,
}

/// Fresh nonces, each for one statement, good for 5 minutes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nonces {
    /// The nonces.
    pub nonces: Vec<String>,
}

/// Asks for facts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FactsPlease {
    /// For the statement that answers.
    pub nonce: String,
}

/// The device's facts as the broker grades them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// One for each kind.
    pub facts: Vec<Fact>,
}

/// All that the device may know of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Resources {
    /// Where the stream is after this.
    pub position: Position,
    /// Domain names under which everything is the organisation's: names below them are asked of nobody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suffixes: Vec<DomainName>,
    /// The resources with today's answers.
    pub visible: Vec<Visible>,
}

/// What became different.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Changed {
    /// Where the stream is after this.
    pub position: Position,
    /// New resources, and those whose answer is another one.
    pub visible: Vec<Visible>,
    /// Resources that the device may no longer know of.
    pub gone: Vec<ResourceId>,
    /// The organisation's domain names, if they are others than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffixes: Option<Vec<DomainName>>,
}

/// A lease is in place: the gateway has acknowledged it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Granted {
    /// The request, unless nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The right.
    pub grant: Grant,
}

/// A lease is refused. For what is hidden and for what does not exist these are the same bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// The request.
    pub request: u64,
    /// Anything but a yes.
    pub decision: Decision,
}

/// A lease is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Over {
    /// The lease.
    pub lease: LeaseId,
    /// Why.
    pub reason: DenyReason,
}

/// Asks whether a link is this stream's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IsYours {
    /// The link that another stream came with.
    pub next: LinkId,
}

/// Something a person should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "NoticeFields", into = "NoticeFields")]
pub struct Notice {
    /// What happened.
    pub event: NoticeEvent,
}

/// What a person is told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoticeEvent {
    /// Another device of theirs was admitted.
    DeviceAdmitted {
        /// What people call it.
        name: String,
    },
    /// Another device of theirs waits to be admitted.
    DeviceWaiting {
        /// The device, to be confirmed or ended from here.
        device: DeviceId,
        /// What people call it.
        name: String,
        /// The six characters it shows.
        code: String,
    },
    /// Another device's session was ended because two devices used its key.
    DeviceCloned {
        /// What people call it.
        name: String,
    },
}

/// The fields of all [`NoticeEvent`]s side by side: a frame's own must be known by name.
#[derive(Serialize, Deserialize)]
struct NoticeFields {
    event: NoticeKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<DeviceId>,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

#[derive(Serialize, Deserialize)]
enum NoticeKind {
    #[serde(rename = "device-admitted")]
    Admitted,
    #[serde(rename = "device-waiting")]
    Waiting,
    #[serde(rename = "device-cloned")]
    Cloned,
}

impl TryFrom<NoticeFields> for Notice {
    type Error = &'static str;

    fn try_from(fields: NoticeFields) -> Result<Self, Self::Error> {
        let NoticeFields { event, device, name, code } = fields;
        let event = match (event, device, code) {
            (NoticeKind::Admitted, ..) => NoticeEvent::DeviceAdmitted { name },
            (NoticeKind::Cloned, ..) => NoticeEvent::DeviceCloned { name },
            (NoticeKind::Waiting, Some(device), Some(code)) => {
                NoticeEvent::DeviceWaiting { device, name, code }
            }
            (NoticeKind::Waiting, ..) => return Err("a device that waits has an id and shows a code"),
        };
        Ok(Self { event })
    }
}

impl From<Notice> for NoticeFields {
    fn from(Notice { event }: Notice) -> Self {
        match event {
            NoticeEvent::DeviceAdmitted { name } => {
                Self { event: NoticeKind::Admitted, device: None, name, code: None }
            }
            NoticeEvent::DeviceWaiting { device, name, code } => {
                Self { event: NoticeKind::Waiting, device: Some(device), name, code: Some(code) }
            }
            NoticeEvent::DeviceCloned { name } => {
                Self { event: NoticeKind::Cloned, device: None, name, code: None }
            }
        }
    }
}

/// The session is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
}
