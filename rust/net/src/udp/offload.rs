use std::fmt;

/// Whether several datagrams leave in one system call (`UDP_SEGMENT`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segmentation {
    /// They do.
    On,
    /// The kernel has no such thing.
    Unsupported,
    /// The kernel has it, but the network card or its driver refused it.
    Refused,
    /// Turned off on request.
    TurnedOff,
}

/// What the kernel does for a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offloads {
    /// Cuts one send into datagrams.
    pub segmentation: Segmentation,
    /// Joins datagrams into one receive (`UDP_GRO`).
    pub receive: bool,
    /// Bytes that may wait to be received, by the kernel's own count.
    pub receive_buffer: usize,
    /// Bytes that may wait to be sent, by the kernel's own count.
    pub send_buffer: usize,
}

impl fmt::Display for Segmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Unsupported => "not in this kernel",
            Self::Refused => "refused by the network card",
            Self::TurnedOff => "turned off",
        })
    }
}

impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segmentation, receive, receive_buffer, send_buffer } = *self;
        let receive = if receive { "on" } else { "not in this kernel" };
        let (inward, outward) = (receive_buffer >> 10, send_buffer >> 10);
        write!(f, "segmentation offload {segmentation}, receive offload {receive}, ")?;
        write!(f, "buffers {inward} KiB in and {outward} KiB out")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_words() {
        let offloads = Offloads {
            segmentation: Segmentation::Refused,
            receive: true,
            receive_buffer: 8 << 20,
            send_buffer: 425_984,
        };
        let expected = "segmentation offload refused by the network card, receive offload on, \
                        buffers 8192 KiB in and 416 KiB out";
        assert_eq!(offloads.to_string(), expected);
    }
}
