use std::ffi::{c_int, c_uint};
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl, opcode};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::config::{TunConfig, TunError};
use super::path::TunPath;

/// A device that was just made, without addresses.
pub(super) struct Device {
    pub(super) descriptor: OwnedFd,
    pub(super) name: String,
    pub(super) path: TunPath,
}

/// Makes a device that ends with its descriptor and is nobody else's.
pub(super) fn open(config: &TunConfig) -> Result<Device, TunError> {
    if config.offload
        && let Some(device) = open_offloading(config)?
    {
        return Ok(device);
    }
    let (descriptor, name) = open_with(config, 0)?;
    Ok(Device { descriptor, name, path: TunPath::Merged })
}

/// Nothing if the kernel does not know this offload.
fn open_offloading(config: &TunConfig) -> Result<Option<Device>, TunError> {
    let (descriptor, name) = open_with(config, VNET_HDR)?;
    let datagrams = offload(&descriptor, TSO | USO).is_ok();
    if !datagrams && offload(&descriptor, TSO).is_err() {
        return Ok(None);
    }
    Ok(Some(Device { descriptor, name, path: TunPath::Offload { datagrams, joins: true } }))
}

fn open_with(config: &TunConfig, flags: u16) -> Result<(OwnedFd, String), TunError> {
    let wanted = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(DRIVER, wanted, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => TunError::NoDriver,
        Errno::ACCESS | Errno::PERM => TunError::NoPrivilege,
        other => TunError::System(other.into()),
    })?;
    let mut request = Request::new(&config.name, TUN | NO_PI | EXCLUSIVE | flags);
    attach(&descriptor, &mut request).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => TunError::NoPrivilege,
        Errno::BUSY | Errno::EXIST => TunError::NameTaken(config.name.clone()),
        Errno::INVAL if exists(&config.name) => TunError::NameTaken(config.name.clone()),
        Errno::INVAL => TunError::BadName(config.name.clone()),
        other => TunError::System(other.into()),
    })?;
    Ok((descriptor, request.name()))
}

/// `struct ifreq`, of which the kernel reads name and flags, and writes the name.
#[repr(C, align(8))]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

impl Request {
    fn new(name: &str, flags: u16) -> Self {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(name.bytes().take(15)).for_each(|(to, from)| *to = from);
        Self { name: bytes, flags, rest: [0; 22] }
    }

    fn name(&self) -> String {
        let length = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        String::from_utf8_lossy(self.name.get(..length).unwrap_or_default()).into_owned()
    }
}

#[expect(unsafe_code, reason = "there is no other way to attach a descriptor to a device")]
fn attach(descriptor: &OwnedFd, request: &mut Request) -> Result<(), Errno> {
    // SAFETY: `TUNSETIFF` reads and writes a `struct ifreq`, as long as which `Request` is at least, and keeps no pointer.
    unsafe { ioctl(descriptor, Updater::<TUNSETIFF, Request>::new(request)) }
}

#[expect(unsafe_code, reason = "there is no other way to turn offloads on")]
fn offload(descriptor: &OwnedFd, what: usize) -> Result<(), Errno> {
    // SAFETY: `TUNSETOFFLOAD` takes its argument as a number, and refuses bits that it does not know.
    unsafe { ioctl(descriptor, IntegerSetter::<TUNSETOFFLOAD>::new_usize(what)) }
}

fn exists(name: &str) -> bool {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let index = socket.map_err(io::Error::from).and_then(|socket| Ok(name_to_index(socket, name)?));
    index.is_ok()
}

const DRIVER: &str = "/dev/net/tun";
const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);
const TUNSETOFFLOAD: Opcode = opcode::write::<c_uint>(b'T', 208);
const TUN: u16 = 1;
const NO_PI: u16 = 0x1000;
const VNET_HDR: u16 = 0x4000;
/// Fails where a device of that name exists.
const EXCLUSIVE: u16 = 0x8000;
/// Open checksums, and long TCP packets of both families.
const TSO: usize = 0x01 | 0x02 | 0x04;
/// Long UDP packets of both families.
const USO: usize = 0x20 | 0x40;
