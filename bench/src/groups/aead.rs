use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::measure::{Outcome, measure};
use crate::report::{Report, Unit};
use crate::watch::Watch;

/// What the cipher costs alone: nothing that seals packets can be faster.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("aead: ring's ChaCha20-Poly1305, in place");
    for (length, seal, open) in [
        (80, "seal, 80 B", "open, 80 B"),
        (1_280, "seal, 1280 B", "open, 1280 B"),
        (1_420, "seal, 1420 B", "open, 1420 B"),
    ] {
        let mut cipher = Cipher::new(length, MANY)?;
        let laps = measure(|watch| cipher.lap(watch, seal, open))?;
        for part in [seal, open] {
            report.row(part, Unit::Nanoseconds, laps.of(part)?);
        }
    }
    Ok(())
}

/// A batch of buffers to be sealed where they lie, and opened again.
pub(crate) struct Cipher {
    key: LessSafeKey,
    buffers: Vec<Vec<u8>>,
    sealed: u64,
}

impl Cipher {
    /// So many buffers of `length` bytes each, with room for the tag.
    pub(crate) fn new(length: usize, number: usize) -> Outcome<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| "not a key")?;
        let buffers = vec![vec![0x5a; length + TAG]; number];
        Ok(Self { key: LessSafeKey::new(key), buffers, sealed: 0 })
    }

    /// Seals the batch and opens it.
    pub(crate) fn lap(&mut self, watch: &mut Watch, seal: &'static str, open: &'static str) -> Outcome {
        let batch = self.buffers.len() as u64;
        let sealed = watch.time(seal, batch, || self.seal());
        let opened = watch.time(open, batch, || self.open());
        self.sealed += batch;
        sealed.and(opened).ok_or_else(|| "the cipher failed".into())
    }

    fn seal(&mut self) -> Option<()> {
        for (buffer, counter) in self.buffers.iter_mut().zip(self.sealed..) {
            let (payload, end) = buffer.split_last_chunk_mut::<TAG>()?;
            let tag = self.key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), payload).ok()?;
            end.copy_from_slice(tag.as_ref());
        }
        Some(())
    }

    fn open(&mut self) -> Option<()> {
        for (buffer, counter) in self.buffers.iter_mut().zip(self.sealed..) {
            self.key.open_in_place(nonce(counter), Aad::empty(), buffer).ok()?;
        }
        Some(())
    }
}

/// Counted, as WireGuard does it.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes.iter_mut().skip(4).zip(counter.to_le_bytes()).for_each(|(byte, from)| *byte = from);
    Nonce::assume_unique_for_key(bytes)
}

const TAG: usize = 16;
/// More than the fastest cache holds.
const MANY: usize = 256;
/// What a data thread handles at once: about what one read from a TUN device and one large send hold, in buffers that are
/// used again and again.
pub(crate) const BATCH: usize = 64;
