use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fact::FactKind;
use crate::id::ApprovalId;

/// The broker's answer to *may this session reach this resource now?*
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Decision {
    /// Yes, for as long as a lease says.
    Granted,
    /// No, why, and what would help.
    Denied {
        /// Why not.
        reason: DenyReason,
        /// What would help, most useful first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fixes: Vec<Fix>,
    },
    /// Yes, after a stronger or fresher sign-in (RFC 9470).
    StepUp {
        /// The authentication context class asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acr: Option<String>,
        /// The oldest acceptable sign-in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age: Option<Duration>,
    },
    /// Yes, once somebody has approved.
    Pending {
        /// What waits to be approved.
        approval: ApprovalId,
    },
}

impl Decision {
    /// A refusal with nothing to suggest.
    pub const fn denied(reason: DenyReason) -> Self {
        Self::Denied { reason, fixes: Vec::new() }
    }

    /// Whether this is a yes.
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted)
    }
}

macro_rules! deny_reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $sentence:literal;)*) => {
        /// Why something is refused. The wire's name is the code in `kebab-case`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum DenyReason {
            $($(#[$doc])* $name,)*
        }

        impl DenyReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The wire's name.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The reason in a sentence a person can act on.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

deny_reasons! {
    /// There is no session.
    SignedOut = "signed-out", "you are signed out";
    /// The session is over.
    SessionEnded = "session-ended", "your session has ended";
    /// The device waits to be admitted.
    DeviceNotAdmitted = "device-not-admitted", "this device waits to be admitted";
    /// The last evidence from the identity provider is too old.
    EvidenceTooOld = "evidence-too-old", "your sign-in is too old";
    /// A hold denies it.
    Held = "held", "an administrator has stopped this access";
    /// A fact that policy asks for fails.
    DeviceUnfit = "device-unfit", "this device does not meet what is asked";
    /// A fact that policy asks for is not known well enough.
    DeviceUnproven = "device-unproven", "this device could not show what is asked";
    /// No policy permits it.
    NotEntitled = "not-entitled", "no policy gives you this access";
    /// A policy forbids it.
    Forbidden = "forbidden", "a policy forbids this access";
    /// A policy could not be evaluated, which denies.
    PolicyError = "policy-error", "a policy could not be evaluated";
    /// No lease covers it: the resting state of every table.
    NoRule = "no-rule", "nothing allows this access";
    /// There is no such resource, or none that may be known of.
    NotFound = "not-found", "there is no such application";
    /// The lease ran out.
    LeaseExpired = "lease-expired", "this access ran out";
    /// The device sent nothing for so long that the lease was not renewed.
    Silent = "silent", "this access ended after a long silence";
    /// The broker decided anew.
    Revoked = "revoked", "this access was withdrawn";
    /// The gateway process started again.
    Restarted = "restarted", "the gateway was restarted";
    /// No gateway at the resource's site is up.
    GatewayAway = "gateway-away", "no gateway can be reached";
    /// The broker cannot be reached.
    BrokerAway = "broker-away", "the organisation cannot be reached";
    /// The inner source address is not the peer's.
    SpoofedSource = "spoofed-source", "the sender's address is not its own";
    /// The packet makes no sense, or hides its ports.
    UnreadablePacket = "unreadable-packet", "the packet could not be read";
    /// Too many flows at once.
    TooManyFlows = "too-many-flows", "there are too many connections at once";
    /// The target is outside what the gateway may reach.
    OutOfReach = "out-of-reach", "the gateway may not go there";
    /// The target's name does not resolve, or nothing answers there.
    TargetAway = "target-away", "the application does not answer";
    /// Too much was asked for.
    LimitReached = "limit-reached", "a limit has been reached";
    /// Something broke on our side.
    Fault = "fault", "something went wrong on the organisation's side";
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

/// What would help.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "fix", rename_all = "snake_case")]
pub enum Fix {
    /// Bring this fact in order on the device.
    Device {
        /// The fact.
        fact: FactKind,
    },
    /// Sign in again.
    SignIn,
    /// Wait until an administrator has admitted the device.
    AwaitAdmission,
    /// Ask an administrator.
    AskAdministrator,
    /// Try again in a while.
    Retry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_code_on_the_wire() {
        for reason in DenyReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
        }
    }
}
