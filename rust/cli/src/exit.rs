use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

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

/// Says what is wrong with the configuration of `openztna COMMAND` at `path`, and where to begin if there is none.
pub(crate) fn misconfigured(error: &dyn Error, path: &Path, command: &str) -> Exit {
    eprintln!("{error}");
    if !path.exists() {
        eprintln!(
            "--config names another file; `openztna {command} --print-default-config` prints one to begin with"
        );
    }
    Exit::Usage
}
