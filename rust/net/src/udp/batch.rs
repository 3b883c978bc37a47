use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::RecvMeta;

/// Room for what one system call receives, to be used again and again.
pub struct Batch {
    bytes: Box<[u8]>,
    meta: [RecvMeta; BUFFERS],
    filled: usize,
}

/// One datagram received.
#[derive(PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// Where it says it comes from. An IPv4 address is never in its IPv6-mapped form.
    pub source: SocketAddr,
    /// What it carries, never empty; free to be opened in place.
    pub contents: &'a mut [u8],
}

impl Batch {
    /// An empty one, of half a mebibyte.
    pub fn new() -> Self {
        let bytes = vec![0; BUFFERS * BUFFER].into_boxed_slice();
        Self { bytes, meta: [RecvMeta::default(); BUFFERS], filled: 0 }
    }

    /// The datagrams, in the order they came. Empty ones only open a path, and are passed over.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        self.bytes.chunks_exact_mut(BUFFER).zip(&self.meta).take(self.filled).flat_map(|(buffer, meta)| {
            let source = canonical(meta.addr);
            let joined = buffer.get_mut(..meta.len).unwrap_or_default();
            joined.chunks_mut(meta.stride.max(1)).map(move |contents| Datagram { source, contents })
        })
    }

    /// Lets `receive` fill the buffers; it answers how many it filled.
    pub(super) fn fill(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.filled = 0;
        let mut buffers = self.bytes.chunks_exact_mut(BUFFER);
        let mut buffers: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
        self.filled = receive(&mut buffers, &mut self.meta)?;
        Ok(())
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("filled", &self.filled).finish_non_exhaustive()
    }
}

/// A port open to both families sees IPv4 sources in their mapped form.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => (v4, v6.port()).into(),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// Messages a system call; each may hold 64 datagrams that the kernel joined.
const BUFFERS: usize = 8;
/// More than the longest message the kernel hands over.
const BUFFER: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// What datagrams come of messages of so many bytes, joined of pieces of that size.
    fn check(messages: &[(usize, usize)], expected: &[usize]) {
        let mut batch = Batch::new();
        let filled = batch.fill(|buffers, meta| {
            for ((buffer, meta), (len, stride)) in buffers.iter_mut().zip(meta).zip(messages) {
                buffer[..*len].fill(7);
                (meta.len, meta.stride) = (*len, *stride);
                meta.addr = "[::ffff:192.0.2.1]:9".parse().unwrap();
            }
            Ok(messages.len())
        });
        filled.unwrap();
        let datagrams: Vec<_> = batch.datagrams().collect();
        assert!(datagrams.iter().all(|datagram| datagram.source == "192.0.2.1:9".parse().unwrap()));
        assert_eq!(datagrams.iter().map(|d| d.contents.len()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn messages_are_cut_into_datagrams() {
        check(&[], &[]);
        check(&[(0, 0)], &[]);
        check(&[(100, 100)], &[100]);
        check(&[(250, 100)], &[100, 100, 50]);
        check(&[(1, 1), (0, 0), (20, 10)], &[1, 10, 10]);
        check(&[(65_536, 65_536)], &[65_536]);
        check(&[(65_537 - 1, 40_000)], &[40_000, 25_536]);
    }

    #[test]
    fn a_failed_receive_leaves_nothing_of_the_last_one() {
        let mut batch = Batch::new();
        let one = |_: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]| {
            (meta[0].len, meta[0].stride) = (4, 4);
            Ok(1)
        };
        batch.fill(one).unwrap();
        assert_eq!(batch.datagrams().count(), 1);
        assert!(batch.fill(|_, _| Err(io::ErrorKind::WouldBlock.into())).is_err());
        assert_eq!(batch.datagrams().count(), 0);
    }
}
