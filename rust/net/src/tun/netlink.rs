use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use super::config::{TunConfig, TunError};

/// Gives the device called `name` its MTU, queue and addresses, and brings it up (rtnetlink(7)).
///
/// It gets no link-local address, so that the kernel has nothing to say on it by itself.
pub(super) fn set_up(name: &str, config: &TunConfig) -> Result<(), TunError> {
    let lacks = |what| move |cause| TunError::Unconfigured { name: name.into(), what, cause };
    let mut kernel = Kernel::connect()?;
    let index = name_to_index(&kernel.socket, name).map_err(|errno| lacks("a number")(errno.into()))?;
    let sizes = [(IFLA_MTU, u32::from(config.mtu)), (IFLA_TXQLEN, config.queue_length)];
    kernel
        .ask(&link(index, 0, |message| {
            sizes.iter().for_each(|(kind, value)| message.attribute(*kind, &value.to_ne_bytes()));
        }))
        .map_err(lacks("its MTU and queue"))?;
    // A machine without IPv6 has nothing to turn off.
    kernel.ask(&link(index, 0, Message::without_link_local)).ok();
    kernel.ask(&link(index, UP, |_| ())).map_err(lacks("up"))?;
    for address in &config.addresses {
        match kernel.ask(&own_address(index, *address)) {
            Err(cause) if address.is_ipv6() && is_without_ipv6(&cause) => {
                tracing::info!(%cause, "IPv6 is turned off on this machine, and is so inside tunnels");
            }
            outcome => outcome.map_err(lacks("its address"))?,
        }
    }
    Ok(())
}

fn is_without_ipv6(cause: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(cause),
        Some(Errno::ACCESS | Errno::AFNOSUPPORT | Errno::OPNOTSUPP | Errno::PERM)
    )
}

/// `RTM_NEWLINK`.
fn link(index: u32, flags: u32, fill: impl FnOnce(&mut Message)) -> Message {
    let mut message = Message::new(NEW_LINK, REQUEST | ACK);
    message.bytes.extend([0; 4]); // any family, any type
    message.bytes.extend(index.to_ne_bytes());
    message.bytes.extend(flags.to_ne_bytes());
    message.bytes.extend(flags.to_ne_bytes()); // which of them are to change
    fill(&mut message);
    message
}

/// `RTM_NEWADDR`: one address, and no route but to itself.
fn own_address(index: u32, address: IpAddr) -> Message {
    let mut message = Message::new(NEW_ADDRESS, REQUEST | ACK | CREATE | EXCLUSIVE);
    let (family, bits, bytes) = match address {
        IpAddr::V4(v4) => (AddressFamily::INET, 32, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AddressFamily::INET6, 128, v6.octets().to_vec()),
    };
    message.bytes.extend([family.as_raw() as u8, bits, 0, 0]);
    message.bytes.extend(index.to_ne_bytes());
    message.attribute(IFA_LOCAL, &bytes);
    message.attribute(IFA_ADDRESS, &bytes);
    message.attribute(IFA_FLAGS, &(NO_DAD | NO_PREFIX_ROUTE).to_ne_bytes());
    message
}

/// A request to the kernel in the making.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 4]; // the length, at the end
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]); // the kernel's answers need no number: there is one at a time
        Self { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// `IFLA_INET6_ADDR_GEN_MODE`, two attributes deep.
    fn without_link_local(&mut self) {
        let attribute = |kind: u16, value: &[u8]| {
            let mut message = Self { bytes: Vec::new() };
            message.attribute(kind, value);
            message.bytes
        };
        let mode = attribute(ADDRESS_GENERATION, &[NO_GENERATION]);
        let family = attribute(AddressFamily::INET6.as_raw(), &mode);
        self.attribute(IFLA_AF_SPEC, &family);
    }

    fn with_length(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_ne_bytes();
        bytes.splice(..4, length);
        bytes
    }
}

/// A socket to the kernel's table of devices.
struct Kernel {
    socket: OwnedFd,
}

impl Kernel {
    fn connect() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// Sends a request, and reads what the kernel says to it.
    fn ask(&mut self, message: &Message) -> io::Result<()> {
        send(&self.socket, &message.with_length(), SendFlags::empty())?;
        let mut answer = [0; 1_024];
        let (length, _) = recv(&self.socket, &mut answer[..], RecvFlags::empty())?;
        match answer.get(..length) {
            Some([_, _, _, _, k0, k1, _, _, _, _, _, _, _, _, _, _, e0, e1, e2, e3, ..])
                if u16::from_ne_bytes([*k0, *k1]) == ERROR =>
            {
                match i32::from_ne_bytes([*e0, *e1, *e2, *e3]) {
                    0 => Ok(()),
                    errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
                }
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const UP: u32 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_TXQLEN: u16 = 13;
const IFLA_AF_SPEC: u16 = 26;
const ADDRESS_GENERATION: u16 = 8;
const NO_GENERATION: u8 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const NO_DAD: u32 = 0x02;
const NO_PREFIX_ROUTE: u32 = 0x200;
