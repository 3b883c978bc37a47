use crate::message::OVERHEAD;

/// A packet of `length` bytes with its padding behind it.
#[derive(Clone, Copy)]
pub(crate) struct Padded<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) length: usize,
}

impl<'a> Padded<'a> {
    pub(crate) fn packet(self) -> &'a [u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// How packets are padded: to a multiple of 16, so that lengths tell less, but never beyond the MTU
/// (WireGuard, section 5.4.6).
#[derive(Clone, Copy)]
pub(crate) struct Padding {
    mtu: usize,
}

impl Padding {
    pub(crate) const fn new(mtu: u16) -> Self {
        Self { mtu: mtu as usize }
    }

    /// The length of a packet of `length` bytes once padded; nothing for what is empty or above the MTU.
    pub(crate) const fn padded(self, length: usize) -> Option<usize> {
        if length == 0 || length > self.mtu {
            return None;
        }
        let multiple = length.next_multiple_of(MULTIPLE);
        Some(if multiple < self.mtu { multiple } else { self.mtu })
    }

    /// The length of the datagram that carries a packet of `length` bytes.
    pub(crate) const fn sealed(self, length: usize) -> Option<usize> {
        match self.padded(length) {
            Some(padded) => Some(padded + OVERHEAD),
            None => None,
        }
    }

    pub(crate) const fn mtu(self) -> usize {
        self.mtu
    }
}

/// Padding is shorter than this.
pub(crate) const MULTIPLE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_of_16_or_the_mtu() {
        let rows = [
            (1_280, 0, None),
            (1_280, 1, Some(16)),
            (1_280, 16, Some(16)),
            (1_280, 17, Some(32)),
            (1_280, 1_265, Some(1_280)),
            (1_280, 1_280, Some(1_280)),
            (1_280, 1_281, None),
            (1_420, 1_407, Some(1_408)),
            (1_420, 1_409, Some(1_420)),
            (1_420, 1_420, Some(1_420)),
        ];
        for (mtu, length, expected) in rows {
            assert_eq!(Padding::new(mtu).padded(length), expected, "{length} of {mtu}");
            assert_eq!(Padding::new(mtu).sealed(length), expected.map(|padded| padded + 32));
        }
    }
}
