use thiserror::Error;

/// Why a packet was not read. It is dropped without an answer: what cannot be read cannot be answered safely.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Error)]
pub enum PacketError {
    /// It ends before its headers, or before the length that it announces.
    #[error("the packet ends too early")]
    Truncated,
    /// It is neither IPv4 nor IPv6.
    #[error("`{0}` is not a version of IP")]
    BadVersion(u8),
    /// A header says that it is shorter than its fixed part, or longer than the packet.
    #[error("a header has an impossible length")]
    BadHeaderLength,
    /// The length that a header announces does not hold that header, or is more than the packet has.
    #[error("the lengths in the headers contradict each other")]
    LengthMismatch,
    /// It is a piece of a packet; only the first piece has ports, and perhaps not all of them.
    #[error("the packet is a fragment")]
    Fragment,
    /// An IP option is malformed.
    #[error("an IP option is malformed")]
    BadOption,
    /// An IPv4 option names another destination than the header does.
    #[error("the packet carries a source route")]
    SourceRoute,
    /// An IPv6 routing header names another destination than the header does (RFC 5095).
    #[error("the packet carries a routing header")]
    RoutingHeader,
    /// An IPv6 option names another source than the header does (RFC 6275).
    #[error("the packet carries a home address")]
    HomeAddress,
    /// A hop-by-hop header stands elsewhere than first (RFC 8200, section 4.1).
    #[error("a hop-by-hop header is not the first one")]
    MisplacedHeader,
    /// More extension headers than any honest sender uses.
    #[error("the packet has too many extension headers")]
    TooManyHeaders,
    /// What it carries has no ports that can be read: its protocol number.
    #[error("nothing is known about protocol `{0}`")]
    UnknownTransport(u8),
    /// An ICMP message that is neither an echo nor an error about a packet: its type.
    #[error("nothing is known about ICMP messages of type `{0}`")]
    UnknownIcmp(u8),
    /// An ICMP error about an ICMP message that is not an echo (forbidden by RFC 1122, section 3.2.2).
    #[error("the ICMP error quotes an ICMP message other than an echo")]
    QuotesIcmp,
    /// An ICMP error about a packet that its receiver did not send: forged.
    #[error("the ICMP error quotes a packet of another sender")]
    QuotesAnother,
}
