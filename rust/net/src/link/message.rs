use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use ztna_model::Cidr;

use super::{DeviceIndex, Family, Route, Rule, Way};

/// A route as the kernel has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Held {
    pub(super) table: u32,
    pub(super) to: Cidr,
    pub(super) device: Option<DeviceIndex>,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
    metric: u32,
    protocol: u8,
    kind: u8,
}

impl Held {
    pub(super) fn of(message: &RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewRoute(RouteMessage { header, attributes, .. }) = message else {
            return None;
        };
        let any: IpAddr = match header.address_family {
            AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
            AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let (mut to, mut table, mut metric) = (any, u32::from(header.table), 0);
        let (mut device, mut gateway, mut source) = (None, None, None);
        for attribute in attributes {
            match attribute {
                RouteAttribute::Destination(address) => to = ip(address)?,
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Priority(number) => metric = *number,
                RouteAttribute::Oif(index) => device = Some(DeviceIndex(*index)),
                RouteAttribute::Gateway(address) => gateway = ip(address),
                RouteAttribute::Via(_) => gateway = Some(any),
                RouteAttribute::PrefSource(address) => source = ip(address),
                _ => {}
            }
        }
        let to = Cidr::new(to, header.destination_prefix_length)?;
        let (protocol, kind) = (header.protocol.into(), header.kind.into());
        Some(Self { table, to, device, gateway, source, metric, protocol, kind })
    }

    /// Whether the kernel made it because of an address: those there are neighbours.
    pub(super) fn is_connected(&self) -> bool {
        let is_wide = match self.to.first() {
            IpAddr::V4(_) => self.to.length() < 32,
            IpAddr::V6(first) => {
                self.to.length() < 128 && !first.is_unicast_link_local() && !first.is_multicast()
            }
        };
        let is_kernel = self.protocol == u8::from(RouteProtocol::Kernel);
        is_kernel && is_wide && self.gateway.is_none() && self.kind == u8::from(RouteType::Unicast)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.protocol == OURS
    }

    pub(super) fn route(&self) -> Option<Route> {
        let way = match RouteType::from(self.kind) {
            RouteType::Unicast => Way::Device(self.device?),
            RouteType::Unreachable => Way::Unreachable,
            RouteType::Throw => Way::NextTable,
            _ => return None,
        };
        Some(Route { to: self.to, way, metric: self.metric, source: self.source })
    }
}

pub(super) fn any_route(family: Family) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = kernel(family);
    message
}

pub(super) fn route(table: u32, route: &Route) -> RouteMessage {
    let family = Family::of(route.to.first());
    let mut message = any_route(family);
    message.header.destination_prefix_length = route.to.length();
    message.header.protocol = RouteProtocol::from(OURS);
    message.attributes = vec![
        RouteAttribute::Destination(address_in(route.to.first())),
        RouteAttribute::Table(table),
        RouteAttribute::Priority(route.metric),
    ];
    message.header.kind = match route.way {
        Way::Device(DeviceIndex(index)) => {
            message.attributes.push(RouteAttribute::Oif(index));
            RouteType::Unicast
        }
        Way::Unreachable => RouteType::Unreachable,
        Way::NextTable => RouteType::Throw,
    };
    message.header.scope = match (family, route.way) {
        (Family::V4, Way::Device(_)) => RouteScope::Link,
        (Family::V4 | Family::V6, _) => RouteScope::Universe,
    };
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(address_in(source))));
    message
}

pub(super) fn any_rule(family: Family) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = kernel(family);
    message
}

pub(super) fn rule(rule: &Rule) -> RuleMessage {
    let mut message = any_rule(rule.family);
    message.header.action = RuleAction::ToTable;
    message.header.flags = RuleFlags::Invert;
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::FwMark(rule.unless_mark),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Protocol(RouteProtocol::from(OURS)),
    ];
    message
}

pub(super) fn rule_of(message: &RouteNetlinkMessage) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(RuleMessage { header, attributes, .. }) = message else { return None };
    let family = match header.family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        _ => return None,
    };
    let (mut priority, mut table, mut mark, mut is_ours) = (0, u32::from(header.table), None, false);
    for attribute in attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::FwMark(number) => mark = Some(*number),
            RuleAttribute::Protocol(protocol) => is_ours = u8::from(*protocol) == OURS,
            _ => {}
        }
    }
    is_ours.then_some(Rule { family, priority, table, unless_mark: mark? })
}

pub(super) fn any_address() -> AddressMessage {
    AddressMessage::default()
}

pub(super) fn address(device: DeviceIndex, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = kernel(Family::of(address));
    message.header.prefix_len = Cidr::host(address).length();
    message.header.index = device.0;
    // Nobody else is on this link, and routes may name the address from the start.
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
    message
}

pub(super) fn address_of(message: &RouteNetlinkMessage) -> Option<(DeviceIndex, IpAddr)> {
    let RouteNetlinkMessage::NewAddress(AddressMessage { header, attributes, .. }) = message else {
        return None;
    };
    // On a link between two, `Address` is the other one's.
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let any = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some((DeviceIndex(header.index), local.or(any)?))
}

pub(super) fn any_link() -> LinkMessage {
    LinkMessage::default()
}

pub(super) fn turned_on(device: DeviceIndex) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = device.0;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

pub(super) fn name_of(message: &RouteNetlinkMessage) -> Option<(DeviceIndex, String)> {
    let RouteNetlinkMessage::NewLink(LinkMessage { header, attributes, .. }) = message else { return None };
    let name = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    Some((DeviceIndex(header.index), name?))
}

pub(super) fn working_device(message: &RouteNetlinkMessage) -> Option<DeviceIndex> {
    let RouteNetlinkMessage::NewLink(LinkMessage { header, .. }) = message else { return None };
    header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp).then_some(DeviceIndex(header.index))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn address_in(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}

const fn kernel(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// RT_TABLE_MAIN, linux/rtnetlink.h.
pub(super) const MAIN: u32 = 254;
/// By which routes and rules of ours are known (rtm_protocol; 128 to 255 are for programs such as this).
const OURS: u8 = 198;
