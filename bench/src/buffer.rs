use ztna_datapath::Datagrams;
use ztna_model::Carrier;

/// A send buffer as segmentation offload wants it: datagrams one behind the other, made once and used again.
pub(crate) struct SendBuffer {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl SendBuffer {
    /// Room for a large batch.
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; ROOM], ends: Vec::with_capacity(1_024) }
    }

    /// Forgets what is in it: it was sent.
    pub(crate) fn clear(&mut self) {
        self.ends.clear();
    }

    /// How many datagrams are in it.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The datagrams, or packets, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(&0).chain(&self.ends);
        begins.zip(&self.ends).filter_map(|(begin, end)| self.bytes.get(*begin..*end))
    }

    /// Adds a copy of `bytes`. What does not fit is lost, as it would be on a network.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.free().get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.commit(bytes.len());
        }
    }

    /// The free part.
    pub(crate) fn free(&mut self) -> &mut [u8] {
        let end = self.end();
        self.bytes.get_mut(end..).unwrap_or_default()
    }

    fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }
}

impl Datagrams for SendBuffer {
    #[inline]
    fn room(&mut self, _to: Carrier, length: usize) -> &mut [u8] {
        self.free().get_mut(..length).unwrap_or_default()
    }

    #[inline]
    fn commit(&mut self, length: usize) {
        self.ends.push(self.end() + length);
    }
}

const ROOM: usize = 1 << 20;
