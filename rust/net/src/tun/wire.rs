use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd, read, writev};
use ztna_packet::{ChecksumDepth, Run, VIRTIO_HEADER, VIRTIO_NOTHING_LEFT};

/// The descriptor of a TUN device, and what stands ahead of each packet.
#[derive(Debug)]
pub(super) struct Wire {
    descriptor: OwnedFd,
    framing: Framing,
}

/// What stands ahead of each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// Nothing.
    Bare,
    /// What is still to be done to it (`IFF_VNET_HDR`).
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only a Linux device of our own has it"))]
    Virtio,
    /// Its address family in four bytes: Apple's `utun`.
    Family,
}

impl Framing {
    /// Its length.
    pub(super) const fn prefix(self) -> usize {
        match self {
            Self::Bare => 0,
            Self::Virtio => VIRTIO_HEADER,
            Self::Family => FAMILY,
        }
    }
}

impl Wire {
    pub(super) const fn new(descriptor: OwnedFd, framing: Framing) -> Self {
        Self { descriptor, framing }
    }

    /// A descriptor that somebody else has opened: it must neither wait nor go on to child processes.
    pub(super) fn adopted(descriptor: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&descriptor, fcntl_getfl(&descriptor)? | OFlags::NONBLOCK)?;
        fcntl_setfd(&descriptor, fcntl_getfd(&descriptor)? | FdFlags::CLOEXEC)?;
        let framing = if cfg!(target_vendor = "apple") { Framing::Family } else { Framing::Bare };
        Ok(Self::new(descriptor, framing))
    }

    pub(super) const fn framing(&self) -> Framing {
        self.framing
    }

    /// Reads one packet with what stands ahead of it, and tells the length of both.
    pub(super) fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        Ok(read(&self.descriptor, room)?)
    }

    /// Writes one packet.
    pub(super) fn write(&self, packet: &[u8]) -> io::Result<()> {
        let slices = [IoSlice::new(self.ahead_of(packet)), IoSlice::new(packet)];
        // A slice of no bytes is nothing to the kernel.
        self.write_all(&slices, packet.len())
    }

    /// Writes the packets of a run as one.
    pub(super) fn write_run(&self, run: &Run<'_>) -> io::Result<()> {
        let is_open = self.framing == Framing::Virtio;
        let depth = if is_open { ChecksumDepth::PseudoHeader } else { ChecksumDepth::Whole };
        let Some(header) = run.header(depth) else { return Ok(()) };
        let virtio = header.virtio(u16::try_from(run.size()).unwrap_or(u16::MAX));
        let ahead = if is_open { &virtio[..] } else { self.ahead_of(header.as_bytes()) };
        let mut slices = [IoSlice::new(&[]); SLICES];
        let all = [ahead, header.as_bytes()].into_iter().chain(run.parts().iter().copied());
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        let length = header.as_bytes().len() + run.parts().iter().map(|part| part.len()).sum::<usize>();
        self.write_all(slices.get(..count).unwrap_or_default(), length)
    }

    /// What stands ahead of a packet that is whole.
    fn ahead_of(&self, packet: &[u8]) -> &'static [u8] {
        match self.framing {
            Framing::Bare => &[],
            Framing::Virtio => &VIRTIO_NOTHING_LEFT,
            Framing::Family => match packet.first().map(|first| first >> 4) {
                Some(6) => &[0, 0, 0, 30],
                _ => &[0, 0, 0, 2],
            },
        }
    }

    /// A device takes a packet whole or not at all.
    fn write_all(&self, slices: &[IoSlice<'_>], length: usize) -> io::Result<()> {
        let taken = writev(&self.descriptor, slices)?;
        if taken < length { Err(Errno::MSGSIZE.into()) } else { Ok(()) }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

const FAMILY: usize = 4;
/// What stands ahead, the header, and as many parts as a run can have.
const SLICES: usize = 2 + 64;
