//! The life of a client. What each state does stands elsewhere; where it goes stands here.
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> SignedOut
//!     SignedOut --> SigningIn: sign in
//!     SigningIn --> SignedOut: failed, cancelled
//!     SigningIn --> Off: signed in
//!     Off --> Connecting: connect
//!     Connecting --> CheckingDevice: welcome
//!     CheckingDevice --> AwaitingAdmission: device waits
//!     AwaitingAdmission --> Connected: admitted, facts graded, something granted or nothing denied
//!     AwaitingAdmission --> NeedsAttention: admitted, facts graded, all denied
//!     CheckingDevice --> Connected: facts graded, something granted or nothing denied
//!     CheckingDevice --> NeedsAttention: facts graded, all denied
//!     Connected --> NeedsAttention: all denied
//!     NeedsAttention --> Connected: something granted
//!     Connected --> Reconnecting: stream lost
//!     NeedsAttention --> Reconnecting: stream lost
//!     Reconnecting --> CheckingDevice: welcome
//!     Reconnecting --> Unreachable: away for longer than a lease
//!     Connecting --> Unreachable: nobody answers
//!     Unreachable --> CheckingDevice: welcome
//!     Connected --> Off: disconnect
//!     Connected --> SignedOut: sign out, session ended
//! ```
//!
//! *disconnect*, *sign out* and *session ended* leave every state in which somebody is signed in.

use crate::state::{State, Why};

/// What happened, as far as the state is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Happened {
    /// A sign-in began.
    SignInBegan,
    /// It failed or was cancelled.
    SignInFailed(Option<Why>),
    /// It went well, or a saved account was found.
    SignedIn,
    /// The tunnel is wanted.
    ConnectAsked,
    /// The broker keeps the device waiting.
    KeptWaiting { code: String },
    /// The broker greets the device.
    Welcomed,
    /// Facts are graded and resources known: whether everything that could be reached is denied.
    Judged { all_denied: bool },
    /// The stream broke, or could not be opened.
    StreamLost,
    /// Leases have run out since the stream broke.
    LeasesOver,
    /// The tunnel is no longer wanted.
    DisconnectAsked,
    /// Nobody is signed in any more.
    SignedOut(Option<Why>),
}

/// Where `state` goes when something happens. What cannot happen in a state leaves it as it is.
pub(crate) fn next(state: State, happened: Happened) -> State {
    match (state, happened) {
        (_, Happened::SignedOut(why)) => State::SignedOut { why },
        (State::SignedOut { .. }, Happened::SignInBegan) => State::SigningIn,
        (State::SigningIn, Happened::SignInFailed(why)) => State::SignedOut { why },
        (State::SignedOut { .. } | State::SigningIn, Happened::SignedIn) => State::Off,
        (state @ (State::SignedOut { .. } | State::SigningIn), _) => state,

        (_, Happened::DisconnectAsked) => State::Off,
        (State::Off, Happened::ConnectAsked) => State::Connecting,
        (State::Off, _) => State::Off,

        // It comes after the welcome.
        (
            State::Connecting
            | State::AwaitingAdmission { .. }
            | State::CheckingDevice
            | State::Reconnecting
            | State::Unreachable
            | State::Asleep,
            Happened::KeptWaiting { code },
        ) => State::AwaitingAdmission { code },
        (
            State::Connecting
            | State::AwaitingAdmission { .. }
            | State::Reconnecting
            | State::Unreachable
            | State::Asleep
            | State::CheckingDevice,
            Happened::Welcomed,
        ) => State::CheckingDevice,

        // Nothing is judged while a device waits: that it is says that somebody admitted it.
        (
            State::AwaitingAdmission { .. }
            | State::CheckingDevice
            | State::Connected
            | State::NeedsAttention,
            Happened::Judged { all_denied },
        ) => {
            if all_denied {
                State::NeedsAttention
            } else {
                State::Connected
            }
        }

        (
            State::Connected
            | State::NeedsAttention
            | State::CheckingDevice
            | State::AwaitingAdmission { .. },
            Happened::StreamLost,
        ) => State::Reconnecting,
        (State::Reconnecting | State::Connecting, Happened::LeasesOver) => State::Unreachable,

        (state, _) => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(life: &[(Happened, &str)]) {
        let mut state = State::SignedOut { why: None };
        for (happened, expected) in life {
            state = next(state, happened.clone());
            assert_eq!(state.name(), *expected, "after {happened:?}");
        }
    }

    #[test]
    fn a_working_day() {
        use Happened as H;
        check(&[
            (H::SignInBegan, "signing in"),
            (H::SignedIn, "off"),
            (H::ConnectAsked, "connecting"),
            (H::Welcomed, "checking device"),
            (H::Judged { all_denied: false }, "connected"),
            (H::StreamLost, "reconnecting"),
            (H::StreamLost, "reconnecting"),
            (H::Welcomed, "checking device"),
            (H::Judged { all_denied: true }, "needs attention"),
            (H::Judged { all_denied: false }, "connected"),
            (H::StreamLost, "reconnecting"),
            (H::LeasesOver, "unreachable"),
            (H::Welcomed, "checking device"),
            (H::DisconnectAsked, "off"),
            (H::SignedOut(None), "signed out"),
        ]);
    }

    #[test]
    fn a_new_device() {
        use Happened as H;
        check(&[
            (H::SignInBegan, "signing in"),
            (H::SignInFailed(None), "signed out"),
            (H::SignInBegan, "signing in"),
            (H::SignedIn, "off"),
            (H::ConnectAsked, "connecting"),
            (H::KeptWaiting { code: "A1B2C3".into() }, "awaiting admission"),
            (H::Welcomed, "checking device"),
            (H::KeptWaiting { code: "A1B2C3".into() }, "awaiting admission"),
            (H::Judged { all_denied: false }, "connected"),
            (H::SignedOut(None), "signed out"),
        ]);
    }

    /// Turning the tunnel off never signs out, and nothing but the person turns it on again.
    #[test]
    fn off_stays_off() {
        let ignored = [
            Happened::Welcomed,
            Happened::Judged { all_denied: false },
            Happened::StreamLost,
            Happened::LeasesOver,
            Happened::SignInBegan,
            Happened::DisconnectAsked,
        ];
        for happened in ignored {
            assert_eq!(next(State::Off, happened), State::Off);
        }
    }

    #[test]
    fn nothing_passes_before_the_device_is_judged() {
        use crate::state::Through;
        let before = [
            State::SignedOut { why: None },
            State::SigningIn,
            State::Off,
            State::Connecting,
            State::AwaitingAdmission { code: String::new() },
            State::CheckingDevice,
        ];
        for state in before {
            assert_ne!(state.lets_through(), Through::Granted, "{state}");
        }
    }
}
