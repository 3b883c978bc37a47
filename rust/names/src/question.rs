use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{DNSClass, RecordType};
use ztna_model::DomainName;

use crate::label::is_within;
use crate::read::Transport;
use crate::topic::Topic;

/// One question of an application's, and how its answer has to look.
#[derive(Clone, Debug)]
pub struct Question {
    pub(crate) id: u16,
    pub(crate) recursion_desired: bool,
    pub(crate) checking_disabled: bool,
    pub(crate) query: Query,
    pub(crate) extension: Option<Extension>,
    /// The longest answer, in bytes.
    pub(crate) longest: u16,
    topic: Topic,
}

/// What the extension says that came with a question (EDNS, RFC 6891).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension {
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// An address: A or AAAA.
    Address,
    /// What only the site can say.
    Site(Sought),
    /// Anything there is (RFC 8482).
    Any,
    /// What no name has here.
    Other,
}

/// What a site is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sought {
    /// Whether there is such a name: A.
    Existence,
    /// PTR.
    Pointer,
    /// SRV (RFC 2782).
    Service,
    /// HTTPS (RFC 9460).
    Https,
    /// SVCB (RFC 9460).
    Binding,
    /// TXT.
    Text,
}

impl Question {
    /// The one question of `message`.
    pub(crate) fn of(message: Message, transport: Transport) -> Option<Self> {
        let extension = message
            .edns
            .as_ref()
            .map(|edns| Extension { version: edns.version(), dnssec_ok: edns.flags().dnssec_ok });
        let longest = match transport {
            Transport::Tcp => u16::MAX,
            Transport::Udp => message.max_payload().clamp(SHORTEST_LIMIT, LONGEST_LIMIT),
        };
        let metadata = message.metadata;
        let query = message.queries.into_iter().next()?;
        let topic = Topic::of(&query.name);
        Some(Self {
            id: metadata.id,
            recursion_desired: metadata.recursion_desired,
            checking_disabled: metadata.checking_disabled,
            query,
            extension,
            longest,
            topic,
        })
    }

    /// What it is about.
    pub const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// What it asks for.
    pub fn kind(&self) -> Kind {
        let asked = self.query.query_type;
        if matches!(asked, RecordType::A | RecordType::AAAA) {
            Kind::Address
        } else if asked == RecordType::ANY {
            Kind::Any
        } else {
            Sought::of(asked).map_or(Kind::Other, Kind::Site)
        }
    }

    /// The narrowest of `zones` that the name stands in, whether a host can have the name or not.
    pub fn zone<'a>(&self, zones: impl IntoIterator<Item = &'a DomainName>) -> Option<&'a DomainName> {
        let around = zones.into_iter().filter(|zone| is_within(&self.query.name, zone));
        around.max_by_key(|zone| zone.as_str().len())
    }

    /// Whether it is about the Internet's names at all (class IN).
    pub(crate) fn is_of_the_internet(&self) -> bool {
        self.query.query_class == DNSClass::IN
    }
}

impl Sought {
    pub(crate) const fn record_type(self) -> RecordType {
        match self {
            Self::Existence => RecordType::A,
            Self::Pointer => RecordType::PTR,
            Self::Service => RecordType::SRV,
            Self::Https => RecordType::HTTPS,
            Self::Binding => RecordType::SVCB,
            Self::Text => RecordType::TXT,
        }
    }

    /// What is asked for by this type.
    pub(crate) fn of(kind: RecordType) -> Option<Self> {
        let all = [Self::Existence, Self::Pointer, Self::Service, Self::Https, Self::Binding, Self::Text];
        all.into_iter().find(|sought| sought.record_type() == kind)
    }
}

/// What every datagram may take (RFC 1035, 4.2.1).
const SHORTEST_LIMIT: u16 = 512;
/// What passes every path in one piece: 1,280 bytes without the headers.
pub(crate) const LONGEST_LIMIT: u16 = 1_232;
