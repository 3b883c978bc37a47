//! The one file that reads the random source.
#![expect(clippy::disallowed_methods, reason = "everyone else is handed random bytes")]

use ring::rand::{SecureRandom as _, SystemRandom as RingRandom};
use ztna_model::Random;

/// The operating system's random source.
#[derive(Clone, Debug)]
pub struct SystemRandom(RingRandom);

impl SystemRandom {
    /// A handle to it.
    pub fn new() -> Self {
        Self(ring_random())
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    /// Ends the process if the operating system has no random bytes: without them there is no security to keep up.
    fn fill(&mut self, bytes: &mut [u8]) {
        if self.0.fill(bytes).is_err() {
            tracing::error!("the operating system gives no random bytes: this process ends");
            std::process::abort();
        }
    }
}

/// ring's own handle, for the operations of ring that draw from it themselves.
pub(crate) fn ring_random() -> RingRandom {
    RingRandom::new()
}
