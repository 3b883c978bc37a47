use std::fmt;

/// Whose packets: at the gateway the number of the peer, since every device may have the same inner address; at a
/// client one number for all. Flows of different scopes never meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope(pub u32);

/// Names a flow at this end, TCP or UDP. Once the flow is over it names nothing: no later flow gets the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl StreamId {
    /// A small number that no other living flow has: good for a table beside this one.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}
