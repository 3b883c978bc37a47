use std::io;
use std::net::IpAddr;

use thiserror::Error;
use ztna_model::Inner;

/// What a TUN device should be like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunConfig {
    /// Its name, 1 to 15 bytes; `%d` in it becomes the first free number.
    pub name: String,
    /// The longest packet in bytes: 1280 at least, as IPv6 asks for.
    pub mtu: u16,
    /// How many packets wait for this process at most.
    pub queue_length: u32,
    /// Its own addresses, each without any neighbours.
    pub addresses: Vec<IpAddr>,
    /// Whether long packets may pass, where the kernel can do that.
    pub offload: bool,
}

/// Why there is no TUN device.
#[derive(Debug, Error)]
pub enum TunError {
    /// The kernel has no TUN driver, or this container none of its devices.
    #[error(
        "there is no /dev/net/tun: the kernel module `tun` is not loaded, or this container was not given the device"
    )]
    NoDriver,
    /// The process lacks a privilege.
    #[error(
        "to make a TUN device takes the capability CAP_NET_ADMIN (run as root, or grant it to this program)"
    )]
    NoPrivilege,
    /// A network device of that name exists.
    #[error("there is a network device `{0}` already")]
    NameTaken(String),
    /// No device can have that name.
    #[error("`{0}` cannot be the name of a network device")]
    BadName(String),
    /// IPv6 needs 1280 bytes.
    #[error("an MTU of {0} bytes is below 1280, which IPv6 needs")]
    ShortMtu(u16),
    /// The device was made, and is gone again.
    #[error("the TUN device `{name}` did not get {what}: {cause}")]
    Unconfigured {
        /// Its name.
        name: String,
        /// What it lacks.
        what: &'static str,
        /// The operating system's words.
        cause: io::Error,
    },
    /// Anything else.
    #[error("cannot make a TUN device: {0}")]
    System(#[from] io::Error),
}

impl TunConfig {
    /// A device's end of its tunnels: the addresses that are the same on every device.
    pub fn device(mtu: u16) -> Self {
        Self {
            name: NAME.into(),
            mtu,
            queue_length: QUEUE,
            addresses: vec![Inner::DEVICE.v4.into(), Inner::DEVICE.v6.into()],
            offload: true,
        }
    }

    #[cfg(any(target_os = "linux", test))]
    pub(super) fn check(&self) -> Result<(), TunError> {
        let bad = |byte: u8| byte == b'/' || byte == b':' || !byte.is_ascii_graphic();
        let name = self.name.as_bytes();
        if name.is_empty()
            || name.len() > MOST_NAME
            || name == b"."
            || name == b".."
            || name.iter().copied().any(bad)
        {
            return Err(TunError::BadName(self.name.clone()));
        }
        if self.mtu < LEAST_MTU { Err(TunError::ShortMtu(self.mtu)) } else { Ok(()) }
    }
}

const NAME: &str = "openztna%d";
/// Two bursts of 64 KiB in packets of 1280 bytes fit ten times: the kernel's own 500 are lost in one.
const QUEUE: u32 = 1_000;
#[cfg(any(target_os = "linux", test))]
const MOST_NAME: usize = 15;
#[cfg(any(target_os = "linux", test))]
const LEAST_MTU: u16 = 1_280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_device_can_be_like() {
        let rows = [
            ("openztna0", 1_280, ""),
            ("openztna%d", 1_420, ""),
            ("", 1_280, "`` cannot be the name of a network device"),
            ("sixteen-letters-", 1_280, "`sixteen-letters-` cannot be the name of a network device"),
            ("a/b", 1_280, "`a/b` cannot be the name of a network device"),
            ("a b", 1_280, "`a b` cannot be the name of a network device"),
            ("..", 1_280, "`..` cannot be the name of a network device"),
            ("tun0", 1_279, "an MTU of 1279 bytes is below 1280, which IPv6 needs"),
        ];
        for (name, mtu, expected) in rows {
            let config = TunConfig { name: name.into(), ..TunConfig::device(mtu) };
            assert_eq!(config.check().err().map_or(String::new(), |error| error.to_string()), expected);
        }
    }
}
