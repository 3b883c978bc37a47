use std::fmt;

/// Room for what one system call reads from a TUN device, to be used again and again.
pub struct TunBuffer {
    bytes: Box<[u8]>,
}

impl TunBuffer {
    /// An empty one, of 64 KiB and a little.
    pub fn new() -> Self {
        Self { bytes: vec![0; START + LONGEST + BEHIND].into_boxed_slice() }
    }

    /// All the room there is, with so many bytes ahead of where packets begin.
    pub(super) fn room(&mut self, prefix: usize) -> &mut [u8] {
        self.bytes.get_mut(START.saturating_sub(prefix)..).unwrap_or_default()
    }
}

impl Default for TunBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TunBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunBuffer").finish_non_exhaustive()
    }
}

/// Where packets begin: behind any device's own header, and aligned.
const START: usize = 16;
/// The longest IP packet, an IPv6 header being no part of its own length.
const LONGEST: usize = 40 + u16::MAX as usize;
/// Padding for the last piece of the longest packet.
const BEHIND: usize = 25;
