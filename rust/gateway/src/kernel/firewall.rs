use std::io;
use std::net::IpAddr;

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use thiserror::Error;
use ztna_gate::{Reach, ReachEntry};
use ztna_model::Cidr;

use super::netlink::{ACK, APPEND, CREATE, Message, Talk};

/// One table of the kernel's packet filter (nftables), which is ours alone. After a crash it stays, and with it what it
/// forbids, until the next start.
///
/// The kernel is spoken to directly. The `nft` program is missing on many machines, and the libraries for it either wrap
/// that program or a C library.
#[derive(Debug)]
pub(super) struct Firewall {
    talk: Talk,
    table: String,
}

/// What the table is to say.
#[derive(Clone, Debug)]
pub(super) struct Terms<'a> {
    /// The device that peers' packets come from.
    pub(super) device: &'a str,
    /// The addresses that peers have there.
    pub(super) peers: [Cidr; 2],
    /// Where they may go.
    pub(super) reach: &'a Reach,
    /// For which families the machine forwards nothing but for us.
    pub(super) alone: Vec<Family>,
}

/// Why there is no table.
#[derive(Debug, Error)]
pub enum FirewallError {
    /// The kernel does not let us.
    #[error("the kernel's packet filter needs the capability CAP_NET_ADMIN")]
    NotAllowed,
    /// The kernel has no packet filter, or an old one.
    #[error("the kernel's packet filter (nf_tables) refuses the table `{table}`: {cause}")]
    Refused {
        /// The table.
        table: String,
        /// What the kernel said.
        cause: io::Error,
    },
}

impl Firewall {
    /// Makes the table `table`, in the place of one that a process before left behind.
    pub(super) fn raise(table: &str, terms: &Terms<'_>) -> Result<Self, FirewallError> {
        let talk = Talk::open(Some(NETFILTER)).map_err(|cause| refused(table, cause))?;
        make(&talk, table, terms).map_err(|cause| refused(table, cause))?;
        Ok(Self { talk, table: table.to_owned() })
    }

    /// Takes away the table that a process before left behind, if there is one.
    pub(super) fn raze(table: &str) -> Result<(), FirewallError> {
        let razed = Talk::open(Some(NETFILTER)).and_then(|talk| Batch::removal(table).carry_out(&talk));
        match razed {
            Err(cause) if Errno::from_io_error(&cause) == Some(Errno::NOENT) => Ok(()),
            razed => razed.map_err(|cause| refused(table, cause)),
        }
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        if let Err(cause) = Batch::removal(&self.table).carry_out(&self.talk) {
            tracing::warn!(%cause, table = self.table, "the packet filter's table stays");
        }
    }
}

/// All that the packet filter holds, whosever it is: tables, chains and rules as the kernel lists them.
#[cfg(test)]
pub(crate) fn ruleset() -> Vec<Vec<u8>> {
    let talk = Talk::open(Some(NETFILTER)).unwrap();
    let mut found = Vec::new();
    for (question, answer) in [(GET_TABLE, NEW_TABLE), (GET_CHAIN, NEW_CHAIN), (GET_RULE, NEW_RULE)] {
        let question = Message::new(nft(question), super::netlink::DUMP, 1).head(&[0; 4]);
        // Ahead of the attributes stands how often anything was changed.
        found.extend(talk.list(question, nft(answer)).unwrap().into_iter().map(|body| body[4..].to_vec()));
    }
    found
}

/// Another program's table, which stays.
#[cfg(test)]
pub(crate) fn somebody_elses(name: &str) {
    let reach = Reach::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let peers = ["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
    let terms = Terms { device: "nowhere", peers, reach: &reach, alone: Vec::new() };
    std::mem::forget(Firewall::raise(name, &terms).unwrap());
}

fn refused(table: &str, cause: io::Error) -> FirewallError {
    match Errno::from_io_error(&cause) {
        Some(Errno::PERM | Errno::ACCESS) => FirewallError::NotAllowed,
        Some(_) | None => FirewallError::Refused { table: table.to_owned(), cause },
    }
}

/// All in one transaction: it is there as a whole, or not at all.
fn make(talk: &Talk, table: &str, terms: &Terms<'_>) -> io::Result<()> {
    let mut batch = Batch::new(table);
    // What is not there cannot be removed, and what is there may say something else.
    batch.add_table();
    batch.remove_table();
    batch.add_table();
    for Chain { name, kind, hook, priority, rules } in chains(terms) {
        batch.add_chain(name, kind, hook, priority);
        for (tests, verdict) in &rules {
            batch.add_rule(name, tests, *verdict);
        }
    }
    batch.carry_out(talk)
}

/// A chain of rules at a place that packets pass.
struct Chain<'a> {
    name: &'static str,
    kind: &'static str,
    hook: u32,
    priority: i32,
    rules: Vec<(Vec<Test<'a>>, Verdict)>,
}

/// What a rule looks at; all must hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Test<'a> {
    CameBy(&'a str),
    LeavesBy(&'a str),
    LeavesElsewhere(&'a str),
    Family(Family),
    From(Cidr),
    NotFrom(Cidr),
    To(Cidr),
    /// The packet answers one that was forwarded.
    Answers,
}

/// One of the two internets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Accept,
    Drop,
    Masquerade,
}

fn chains<'a>(terms: &Terms<'a>) -> [Chain<'a>; 3] {
    let Terms { device, peers, .. } = terms.clone();
    let masquerade = peers.map(|range| {
        (
            vec![Test::LeavesElsewhere(device), Test::Family(family(range)), Test::From(range)],
            Verdict::Masquerade,
        )
    });
    // Peers reach what is behind this machine, never the machine itself.
    let input = vec![(vec![Test::CameBy(device)], Verdict::Drop)];
    [
        Chain { name: "forward", kind: "filter", hook: FORWARD, priority: 0, rules: forward(terms) },
        Chain { name: "input", kind: "filter", hook: INPUT, priority: 0, rules: input },
        Chain {
            name: "postrouting",
            kind: "nat",
            hook: POSTROUTING,
            priority: 100,
            rules: masquerade.into(),
        },
    ]
}

fn forward<'a>(terms: &Terms<'a>) -> Vec<(Vec<Test<'a>>, Verdict)> {
    let (device, inbound) = (terms.device, Test::CameBy(terms.device));
    let mut rules: Vec<(Vec<Test<'a>>, Verdict)> = Vec::new();
    for range in terms.peers {
        rules.push((vec![inbound, Test::Family(family(range)), Test::NotFrom(range)], Verdict::Drop));
    }
    match prefixes(terms.reach) {
        Some(prefixes) => {
            let to =
                |prefix| (vec![inbound, Test::Family(family(prefix)), Test::To(prefix)], Verdict::Accept);
            rules.extend(prefixes.into_iter().map(to));
        }
        // What names stand for is checked when a flow begins, and pinned.
        None => rules.push((vec![inbound], Verdict::Accept)),
    }
    rules.push((vec![inbound], Verdict::Drop));
    rules.push((vec![Test::LeavesBy(device), Test::Answers], Verdict::Accept));
    rules.push((vec![Test::LeavesBy(device)], Verdict::Drop));
    rules.extend(terms.alone.iter().map(|family| (vec![Test::Family(*family)], Verdict::Drop)));
    rules
}

/// What is in reach, where that can be said in addresses, and not in too many.
fn prefixes(reach: &Reach) -> Option<Vec<Cidr>> {
    if reach.entries().len() > MOST_PREFIXES {
        return None;
    }
    let prefix = |entry: &ReachEntry| match entry {
        ReachEntry::Prefix(prefix) => Some(*prefix),
        ReachEntry::Exact(exact) => Some(Cidr::host(exact.ip())),
        ReachEntry::Name(_) => None,
    };
    reach.entries().iter().map(prefix).collect()
}

const fn family(cidr: Cidr) -> Family {
    match cidr.first() {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// Messages that the kernel takes together.
struct Batch<'a> {
    table: &'a str,
    bytes: Vec<u8>,
    count: u32,
}

impl<'a> Batch<'a> {
    fn new(table: &'a str) -> Self {
        let begin = Message::new(BATCH_BEGIN, 0, 0).head(&NFGEN_BATCH);
        Self { table, bytes: begin.finish(), count: 0 }
    }

    fn removal(table: &'a str) -> Self {
        let mut batch = Self::new(table);
        batch.remove_table();
        batch
    }

    fn add_table(&mut self) {
        let table = self.table;
        self.add(NEW_TABLE, CREATE, |m| m.text(TABLE_NAME, table));
    }

    fn remove_table(&mut self) {
        let table = self.table;
        self.add(DELETE_TABLE, 0, |m| m.text(TABLE_NAME, table));
    }

    fn add_chain(&mut self, name: &str, kind: &str, hook: u32, priority: i32) {
        let table = self.table;
        self.add(NEW_CHAIN, CREATE, |m| {
            m.text(CHAIN_TABLE, table)
                .text(CHAIN_NAME, name)
                .nested(CHAIN_HOOK, |m| {
                    m.number(HOOK_NUMBER, hook).number(HOOK_PRIORITY, priority.cast_unsigned())
                })
                .number(CHAIN_POLICY, NF_ACCEPT)
                .text(CHAIN_KIND, kind)
        });
    }

    fn add_rule(&mut self, chain: &str, tests: &[Test<'_>], verdict: Verdict) {
        let table = self.table;
        self.add(NEW_RULE, CREATE | APPEND, |m| {
            m.text(RULE_TABLE, table).text(RULE_CHAIN, chain).nested(RULE_EXPRESSIONS, |m| {
                let tested = tests.iter().fold(m, |m, test| test.write(m));
                verdict.write(tested)
            })
        });
    }

    fn add(&mut self, kind: u16, flags: u16, fill: impl FnOnce(Message) -> Message) {
        self.count += 1;
        let message = Message::new(nft(kind), flags | ACK, self.count).head(&NFGEN_INET);
        self.bytes.extend(fill(message).finish());
    }

    fn carry_out(mut self, talk: &Talk) -> io::Result<()> {
        self.bytes.extend(Message::new(BATCH_END, 0, self.count + 1).head(&NFGEN_BATCH).finish());
        talk.carry_out(&self.bytes, self.count as usize)
    }
}

impl Test<'_> {
    fn write(self, m: Message) -> Message {
        match self {
            Self::CameBy(device) => is_named(m, META_IIFNAME, EQUAL, device),
            Self::LeavesBy(device) => is_named(m, META_OIFNAME, EQUAL, device),
            Self::LeavesElsewhere(device) => is_named(m, META_OIFNAME, UNEQUAL, device),
            Self::Family(family) => compare(load_meta(m, META_NFPROTO), EQUAL, &[family.number()]),
            Self::From(range) => lies_in(m, range, Side::Source, EQUAL),
            Self::NotFrom(range) => lies_in(m, range, Side::Source, UNEQUAL),
            Self::To(range) => lies_in(m, range, Side::Destination, EQUAL),
            Self::Answers => {
                let state = expression(m, "ct", |m| m.number(CT_REGISTER, REGISTER).number(CT_KEY, CT_STATE));
                let wanted = (CT_ESTABLISHED | CT_RELATED).to_ne_bytes();
                compare(mask(state, &wanted), UNEQUAL, &[0; 4])
            }
        }
    }
}

impl Verdict {
    fn write(self, m: Message) -> Message {
        let code = match self {
            Self::Accept => NF_ACCEPT,
            Self::Drop => NF_DROP,
            Self::Masquerade => return expression(m, "masq", |m| m),
        };
        expression(m, "immediate", |m| {
            m.number(IMMEDIATE_REGISTER, VERDICT_REGISTER)
                .nested(IMMEDIATE_DATA, |m| m.nested(DATA_VERDICT, |m| m.number(VERDICT_CODE, code)))
        })
    }
}

impl Family {
    const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

fn expression(m: Message, name: &str, fill: impl FnOnce(Message) -> Message) -> Message {
    m.nested(LIST_ELEMENT, |m| m.text(EXPRESSION_NAME, name).nested(EXPRESSION_DATA, fill))
}

fn load_meta(m: Message, key: u32) -> Message {
    expression(m, "meta", |m| m.number(META_REGISTER, REGISTER).number(META_KEY, key))
}

fn compare(m: Message, how: u32, with: &[u8]) -> Message {
    expression(m, "cmp", |m| {
        m.number(CMP_REGISTER, REGISTER)
            .number(CMP_OPERATION, how)
            .nested(CMP_DATA, |m| m.attribute(DATA_VALUE, with))
    })
}

fn mask(m: Message, mask: &[u8]) -> Message {
    expression(m, "bitwise", |m| {
        m.number(BITWISE_FROM, REGISTER)
            .number(BITWISE_TO, REGISTER)
            .number(BITWISE_LENGTH, mask.len() as u32)
            .nested(BITWISE_MASK, |m| m.attribute(DATA_VALUE, mask))
            .nested(BITWISE_XOR, |m| m.attribute(DATA_VALUE, &vec![0; mask.len()]))
    })
}

fn is_named(m: Message, key: u32, how: u32, device: &str) -> Message {
    let mut name = [0; LONGEST_NAME];
    name.iter_mut().zip(device.bytes()).for_each(|(to, from)| *to = from);
    compare(load_meta(m, key), how, &name)
}

/// Whether an address in the IP header lies in a range: its family has been looked at before.
fn lies_in(m: Message, range: Cidr, side: Side, how: u32) -> Message {
    let (at, first) = match (range.first(), side) {
        (IpAddr::V4(v4), Side::Source) => (12, v4.octets().to_vec()),
        (IpAddr::V4(v4), Side::Destination) => (16, v4.octets().to_vec()),
        (IpAddr::V6(v6), Side::Source) => (8, v6.octets().to_vec()),
        (IpAddr::V6(v6), Side::Destination) => (24, v6.octets().to_vec()),
    };
    let loaded = expression(m, "payload", |m| {
        m.number(PAYLOAD_REGISTER, REGISTER)
            .number(PAYLOAD_BASE, NETWORK_HEADER)
            .number(PAYLOAD_OFFSET, at)
            .number(PAYLOAD_LENGTH, first.len() as u32)
    });
    compare(mask(loaded, &ones(first.len(), range.length())), how, &first)
}

/// A mask of so many bytes whose first bits are set.
fn ones(bytes: usize, length: u8) -> Vec<u8> {
    let bits_of = |byte: usize| usize::from(length).saturating_sub(byte * 8).min(8);
    (0..bytes).map(|byte| !u8::MAX.checked_shr(bits_of(byte) as u32).unwrap_or(0)).collect()
}

const fn nft(kind: u16) -> u16 {
    NFTABLES << 8 | kind
}

const MOST_PREFIXES: usize = 256;
/// The name of a device, with the zero byte at its end.
const LONGEST_NAME: usize = 16;

// linux/netfilter/nfnetlink.h
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// Family, version, and the part that a batch is for.
const NFGEN_BATCH: [u8; 4] = [0, 0, 0, NFTABLES as u8];
/// Both families at once.
const NFGEN_INET: [u8; 4] = [1, 0, 0, 0];

// linux/netfilter.h
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const POSTROUTING: u32 = 4;

// linux/netfilter/nf_tables.h
const NEW_TABLE: u16 = 0;
#[cfg(test)]
const GET_TABLE: u16 = 1;
#[cfg(test)]
const GET_CHAIN: u16 = 4;
#[cfg(test)]
const GET_RULE: u16 = 7;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_KIND: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const IMMEDIATE_REGISTER: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const META_REGISTER: u16 = 1;
const META_KEY: u16 = 2;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const CMP_REGISTER: u16 = 1;
const CMP_OPERATION: u16 = 2;
const CMP_DATA: u16 = 3;
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;
const BITWISE_FROM: u16 = 1;
const BITWISE_TO: u16 = 2;
const BITWISE_LENGTH: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const PAYLOAD_REGISTER: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LENGTH: u16 = 4;
const NETWORK_HEADER: u32 = 1;
const CT_REGISTER: u16 = 1;
const CT_KEY: u16 = 2;
const CT_STATE: u32 = 0;
const CT_ESTABLISHED: u32 = 2;
const CT_RELATED: u32 = 4;
