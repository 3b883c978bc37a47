use std::fmt;

/// How packets go through a TUN device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TunPath {
    /// The kernel gives long TCP packets and takes long ones, checksums open; `datagrams`: long UDP ones as well.
    Offload {
        /// Whether UDP comes uncut too (Linux 6.2).
        datagrams: bool,
        /// Whether what is written is joined.
        joins: bool,
    },
    /// Packet by packet in; joined to long ones, with whole checksums, on the way to applications.
    Merged,
    /// Packet by packet.
    Plain,
}

impl TunPath {
    /// Whether a header stands ahead of each packet.
    pub const fn is_offload(self) -> bool {
        matches!(self, Self::Offload { .. })
    }

    /// Whether packets that follow one another are joined.
    pub const fn joins(self) -> bool {
        match self {
            Self::Offload { joins, .. } => joins,
            Self::Merged => true,
            Self::Plain => false,
        }
    }

    pub(super) const fn without_joining(self) -> Self {
        match self {
            Self::Offload { datagrams, .. } => Self::Offload { datagrams, joins: false },
            Self::Merged | Self::Plain => Self::Plain,
        }
    }
}

impl fmt::Display for TunPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offload { datagrams: true, joins: true } => "offload TSO+USO",
            Self::Offload { datagrams: false, joins: true } => "offload TSO",
            Self::Offload { datagrams: true, joins: false } => "offload TSO+USO, plain writes",
            Self::Offload { datagrams: false, joins: false } => "offload TSO, plain writes",
            Self::Merged => "merged writes",
            Self::Plain => "plain",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_words() {
        let rows = [
            (TunPath::Offload { datagrams: true, joins: true }, "offload TSO+USO"),
            (TunPath::Offload { datagrams: false, joins: true }, "offload TSO"),
            (
                TunPath::Offload { datagrams: false, joins: true }.without_joining(),
                "offload TSO, plain writes",
            ),
            (
                TunPath::Offload { datagrams: true, joins: true }.without_joining(),
                "offload TSO+USO, plain writes",
            ),
            (TunPath::Merged, "merged writes"),
            (TunPath::Merged.without_joining(), "plain"),
        ];
        for (path, expected) in rows {
            assert_eq!(path.to_string(), expected);
        }
    }
}
