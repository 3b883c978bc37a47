use ztna_api::key;
use ztna_model::Random;

/// Bytes that nobody could tell from random ones, and that are the same in every run.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    seed: u64,
    count: u64,
}

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// Another source, that goes its own way.
    pub(crate) fn fork(&mut self) -> Self {
        let mut seed = [0; 8];
        self.fill(&mut seed);
        Self::new(u64::from_be_bytes(seed))
    }

    /// Whether something that happens `percent` times in a hundred happens now.
    pub(crate) fn happens(&mut self, percent: u8) -> bool {
        let mut byte = [0; 2];
        self.fill(&mut byte);
        u16::from_be_bytes(byte) % 100 < u16::from(percent)
    }
}

impl Random for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            self.count += 1;
            let hash = key::sha256(&[self.seed.to_be_bytes(), self.count.to_be_bytes()].concat());
            chunk.copy_from_slice(&hash[..chunk.len()]);
        }
    }
}
