use std::fmt;

/// Names one peer of one tunnel for as long as that peer is there, and nobody afterwards.
///
/// The low 20 bits are a dense slot number, so that tables can be arrays; the high 12 bits count how often the
/// slot was used before. A slot whose count is exhausted is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u32);

impl PeerId {
    /// The id as one number, for tables that know nothing of tunnels.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The id behind a number. One that was never given out names nobody.
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// The slot: small, dense, and taken over by another peer later.
    pub const fn slot(self) -> usize {
        (self.0 & SLOT_MASK) as usize
    }

    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self(generation << SLOT_BITS | slot & SLOT_MASK)
    }

    pub(crate) const fn generation(self) -> u32 {
        self.0 >> SLOT_BITS
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.slot())?;
        if self.generation() == 0 { Ok(()) } else { write!(f, ".{}", self.generation()) }
    }
}

/// How many peers there can be at once.
pub(crate) const SLOTS: u32 = 1 << SLOT_BITS;
/// How many peers a slot can hold one after the other.
pub(crate) const GENERATIONS: u32 = 1 << (32 - SLOT_BITS);

const SLOT_BITS: u32 = 20;
const SLOT_MASK: u32 = SLOTS - 1;
