use std::fmt;

/// Where the datagrams of a turn are opened, one behind the other, so that their packets can leave together.
///
/// ```
/// use ztna_datapath::Area;
///
/// let mut area = Area::new();
/// let mut datagrams = [[0; 1_312].as_slice(); 100].into_iter().peekable();
/// while datagrams.peek().is_some() {
///     let mut rooms = area.rooms(); // what was opened before has left
///     while let Some(datagram) = datagrams.next_if(|datagram| rooms.fits(datagram.len())) {
///         let _room = rooms.room(datagram.len());
///         // Open it there, and hand what may pass to a writer,
///     }
///     // which writes it all here.
/// }
/// ```
pub struct Area {
    bytes: Box<[u8]>,
}

/// The rooms of an area that are still free.
pub struct Rooms<'a> {
    rest: &'a mut [u8],
}

impl Area {
    /// An empty one, of 64 KiB: what fits the nearer caches, and whatever the kernel joins to one message.
    pub fn new() -> Self {
        Self { bytes: vec![0; CAPACITY].into_boxed_slice() }
    }

    /// All of its rooms.
    pub const fn rooms(&mut self) -> Rooms<'_> {
        Rooms { rest: &mut self.bytes }
    }
}

impl Default for Area {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Rooms<'a> {
    /// Whether there is room for a datagram of `length` bytes. In an empty area there always is.
    pub const fn fits(&self, length: usize) -> bool {
        length <= self.rest.len()
    }

    /// Room for a datagram of `length` bytes, if there is any.
    pub fn room(&mut self, length: usize) -> Option<&'a mut [u8]> {
        self.rest.split_off_mut(..length)
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Area").finish_non_exhaustive()
    }
}

impl fmt::Debug for Rooms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("free", &self.rest.len()).finish()
    }
}

/// No message is longer.
const CAPACITY: usize = 1 << 16;
