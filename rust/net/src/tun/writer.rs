use std::fmt;

use ztna_packet::{Run, parse};

use super::TunPort;

/// Writes the packets of one turn to a TUN device, TCP segments that follow one another as one.
///
/// Nothing is copied: packets stay where they were opened until [`TunWriter::finish`].
#[must_use = "what is joined is only written by `finish`"]
pub struct TunWriter<'p, 'a> {
    port: &'p mut TunPort,
    run: Run<'a>,
}

impl<'p, 'a> TunWriter<'p, 'a> {
    pub(super) const fn new(port: &'p mut TunPort) -> Self {
        Self { port, run: Run::new() }
    }

    /// Writes a packet, at the latest when all are written; packets stay in order.
    pub fn write(&mut self, packet: &'a [u8]) {
        if self.port.path().joins()
            && let Ok(read) = parse(packet)
        {
            if self.run.push(&read) {
                return;
            }
            self.flush();
            if self.run.push(&read) {
                return;
            }
        }
        self.port.send(packet);
    }

    /// Writes what is still held.
    pub fn finish(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if !self.run.parts().is_empty() {
            self.port.send_run(&self.run);
            self.run.clear();
        }
    }
}

impl fmt::Debug for TunWriter<'_, '_> {
    /// Shows how much is held, never the payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunWriter").field("held", &self.run.parts().len()).finish_non_exhaustive()
    }
}
