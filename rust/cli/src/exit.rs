use std::process::ExitCode;

use ztna_net::settings::SettingsError;

/// How the program ends. *Denied* is not *failed*: a script can tell "you may not" from "it did not work".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// It was done.
    Done = 0,
    /// It did not work.
    Failed = 1,
    /// It worked, and the answer is no.
    Denied = 2,
    /// A sign-in is needed first.
    SignInNeeded = 3,
    /// The program that should have answered does not run.
    NotRunning = 4,
    /// The demonstration saw a promise broken.
    PromiseBroken = 5,
    /// The command line or the configuration makes no sense.
    Usage = 64,
    /// Somebody pressed Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says what is wrong with the configuration of `openztna COMMAND`.
pub(crate) fn misconfigured(error: &SettingsError, command: &str) -> Exit {
    eprintln!("{error}");
    if let SettingsError::Unreadable { .. } = error {
        eprintln!("`openztna {command} --print-default-config` prints one to begin with; `--config` says where it is");
    }
    Exit::Usage
}
