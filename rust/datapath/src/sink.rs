use ztna_model::Carrier;

/// A send buffer into which datagrams are sealed one after another, so that a payload is copied once.
pub trait Datagrams {
    /// Room for one datagram of `length` bytes to `to`. Sends what is there first, where it would not fit behind it.
    fn room(&mut self, to: Carrier, length: usize) -> &mut [u8];

    /// The first `length` bytes of the room given last are a datagram.
    fn commit(&mut self, length: usize);
}
