use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt::{
    set_ipv6_v6only, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force,
    set_socket_send_buffer_size, set_socket_send_buffer_size_force,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use serde::Deserialize;
use thiserror::Error;

/// What a port is open to, as settings write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bind {
    /// IPv4 and IPv6, through one socket.
    #[default]
    Dual,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// This machine alone, by IPv4.
    #[serde(rename = "loopback")]
    LoopbackV4,
    /// This machine alone, by IPv6.
    #[serde(rename = "loopback-v6")]
    LoopbackV6,
}

/// Why a UDP port could not be opened.
#[derive(Debug, Error)]
#[error("cannot open a UDP port{} for {wanted:?}: {cause}", written(*number))]
pub struct BindError {
    /// What it was to be open to.
    pub wanted: Bind,
    /// Which port; 0 where any would do.
    pub number: u16,
    /// The operating system's words.
    pub cause: io::Error,
}

impl Bind {
    /// Whether a datagram to `destination` could leave through such a port. Asked before the kernel is: its refusal of
    /// a bad address looks like its refusal of segmentation offload.
    pub(super) fn reaches(self, destination: SocketAddr) -> bool {
        let address = destination.ip();
        let scoped = match destination {
            SocketAddr::V4(_) => true,
            SocketAddr::V6(v6) => !v6.ip().is_unicast_link_local() || v6.scope_id() != 0,
        };
        let fits = match self {
            Self::V4 => destination.is_ipv4(),
            Self::V6 => destination.is_ipv6(),
            Self::Dual => true,
            Self::LoopbackV4 => destination.is_ipv4() && address.is_loopback(),
            Self::LoopbackV6 => destination.is_ipv6() && address.is_loopback(),
        };
        let somebody = !address.is_unspecified() && !address.is_multicast() && destination.port() != 0;
        fits && scoped && somebody && !is_mapped(destination)
    }

    fn address(self, number: u16) -> SocketAddr {
        match self {
            Self::V4 => (Ipv4Addr::UNSPECIFIED, number).into(),
            Self::V6 | Self::Dual => (Ipv6Addr::UNSPECIFIED, number).into(),
            Self::LoopbackV4 => (Ipv4Addr::LOCALHOST, number).into(),
            Self::LoopbackV6 => (Ipv6Addr::LOCALHOST, number).into(),
        }
    }
}

/// A non-blocking socket, and what it is open to.
pub(super) fn open(wanted: Bind, number: u16) -> io::Result<(UdpSocket, Bind)> {
    match open_exactly(wanted, number) {
        Ok(socket) => Ok((socket, wanted)),
        Err(_) if wanted == Bind::Dual => open_exactly(Bind::V4, number).map(|socket| (socket, Bind::V4)),
        Err(cause) => Err(cause),
    }
}

fn open_exactly(wanted: Bind, number: u16) -> io::Result<UdpSocket> {
    let address = wanted.address(number);
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, wanted != Bind::Dual)?;
    }
    bind(&socket, &address)?;
    // A process with the privilege may exceed the machine's limit; others get as much as the limit allows.
    set_socket_recv_buffer_size_force(&socket, BUFFER)
        .or_else(|_| set_socket_recv_buffer_size(&socket, BUFFER))?;
    set_socket_send_buffer_size_force(&socket, BUFFER)
        .or_else(|_| set_socket_send_buffer_size(&socket, BUFFER))?;
    Ok(socket.into())
}

fn written(number: u16) -> String {
    if number == 0 { String::new() } else { format!(" {number}") }
}

/// `::ffff:192.0.2.1`: on the inside of a port, IPv4 is always IPv4.
fn is_mapped(destination: SocketAddr) -> bool {
    destination.ip().to_canonical() != destination.ip()
}

/// What waits in the kernel, each way: 7 ms at 5 Gbit/s.
const BUFFER: usize = 4 << 20;
