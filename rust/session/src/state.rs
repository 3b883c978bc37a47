use std::fmt;

use serde::{Deserialize, Serialize};
use ztna_model::EndReason;

/// Where the client is in its life. The apps' further situations are causes shown on one of these.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Nobody is signed in; why, if it was not a wish.
    SignedOut {
        /// Why the last session ended, or why the last sign-in failed.
        why: Option<Why>,
    },
    /// The person is in the browser, or the answer is on its way.
    SigningIn,
    /// The device waits until somebody admits it.
    AwaitingAdmission {
        /// Six characters to read to whoever does.
        code: String,
    },
    /// The device's facts are on their way.
    CheckingDevice,
    /// The control stream is being opened.
    Connecting,
    /// Everything is in place.
    Connected,
    /// The control stream broke; what was granted goes on while its leases last.
    Reconnecting,
    /// Signed in and connected, but posture or policy denies everything that could be reached.
    NeedsAttention,
    /// The control plane has been away for so long that leases have run out.
    Unreachable,
    /// The session lay idle; it wakes without a browser.
    Asleep,
    /// Signed in, tunnel off.
    Off,
}

/// Why nobody is signed in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The session ended.
    Ended(EndReason),
    /// A sign-in failed; says how, in a sentence.
    Failed(String),
}

/// What a state lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Through {
    /// Nothing.
    Nothing,
    /// The broker and the identity provider, outside the tunnel.
    ControlOnly,
    /// The same, and flows under live leases, inside the tunnel.
    Granted,
}

impl State {
    /// What the state lets through: the table in `rust/README.md`.
    pub const fn lets_through(&self) -> Through {
        match self {
            Self::SignedOut { .. } | Self::Off => Through::Nothing,
            Self::SigningIn
            | Self::AwaitingAdmission { .. }
            | Self::CheckingDevice
            | Self::Connecting
            | Self::Unreachable
            | Self::Asleep => Through::ControlOnly,
            Self::Connected | Self::Reconnecting | Self::NeedsAttention => Through::Granted,
        }
    }

    /// The state's name on the wire and in `status`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SignedOut { .. } => "signed out",
            Self::SigningIn => "signing in",
            Self::AwaitingAdmission { .. } => "awaiting admission",
            Self::CheckingDevice => "checking device",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::NeedsAttention => "needs attention",
            Self::Unreachable => "unreachable",
            Self::Asleep => "asleep",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
