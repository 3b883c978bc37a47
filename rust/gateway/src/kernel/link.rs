use std::io;
use std::net::IpAddr;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use thiserror::Error;
use ztna_model::Cidr;

use super::netlink::{ACK, CREATE, Message, Talk};

/// Why the device is of no use.
#[derive(Debug, Error)]
#[error("the device `{device}`: {cause}")]
pub struct LinkError {
    device: String,
    cause: io::Error,
}

/// Lets everything to `ranges` go by a device. The routes go with it.
pub(super) fn route(device: &str, ranges: &[Cidr]) -> Result<(), LinkError> {
    let failed = |cause| LinkError { device: device.to_owned(), cause };
    let index = index(device).map_err(failed)?;
    let talk = Talk::open(None).map_err(failed)?;
    for range in ranges {
        match talk.carry_out(&new_route(index, *range).finish(), 1) {
            // A machine without IPv6.
            Err(cause) if range.first().is_ipv6() => tracing::warn!(%cause, "peers have no IPv6"),
            outcome => outcome.map_err(failed)?,
        }
    }
    Ok(())
}

fn index(device: &str) -> io::Result<u32> {
    let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(&any, device)?)
}

fn new_route(index: u32, range: Cidr) -> Message {
    let (family, address) = match range.first() {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    };
    let head = [family, range.length(), 0, 0, TABLE_MAIN, PROTOCOL_STATIC, SCOPE_LINK, UNICAST, 0, 0, 0, 0];
    Message::new(NEW_ROUTE, ACK | CREATE, 1)
        .head(&head)
        .attribute(ROUTE_TO, &address)
        .attribute(ROUTE_BY, &index.to_ne_bytes())
}

// linux/rtnetlink.h
const NEW_ROUTE: u16 = 24;
const ROUTE_TO: u16 = 1;
const ROUTE_BY: u16 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;
