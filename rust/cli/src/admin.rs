//! `openztna admin …` and `openztna audit …`: what administrators ask, in words.

use std::collections::BTreeMap;
use std::io;

use thiserror::Error;
use ztna_api::admin::{Answer, Invited, Op};
use ztna_broker::admin::{self, Client, LocalAnswer, LocalOp};

use crate::exit::Exit;
use crate::progress::awaited;

mod args; // the command line
pub(crate) use args::{AdminArgs, SocketArgs};
mod ask; // what is asked for
use ask::Ask;
mod who; // who or what a word on the command line means
mod print; // answers in words
mod own; // answers on the broker's own matters
mod audit; // the log
pub(crate) use audit::{AuditArgs, run as audit};

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] admin::CallError),
    /// Something on the command line names nobody or nothing, or too much.
    #[error("{0}")]
    NotFound(String),
    /// A file could not be read or written.
    #[error("`{path}`: {cause}")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
}

impl CallError {
    /// Tells a person, and says how the program ends.
    fn end(&self) -> Exit {
        eprintln!("{self}");
        match self {
            Self::Broker(admin::CallError::Connect(_)) => {
                eprintln!("the broker prints where its socket is when it starts: give that to --socket");
                Exit::NotRunning
            }
            Self::Broker(_) | Self::NotFound(_) | Self::File { .. } => Exit::Failed,
        }
    }
}

/// Asks the broker, and prints what it says.
pub(crate) async fn run(args: AdminArgs, json: bool) -> Exit {
    match answered(args, json).await {
        Ok(exit) => exit,
        Err(error) => error.end(),
    }
}

async fn answered(args: AdminArgs, json: bool) -> Result<Exit, CallError> {
    let mut broker = Client::connect(&args.socket.path).await?;
    match args.command.into_ask(&mut broker).await? {
        Ask::Decision(op) => {
            let answer = awaited(ANSWER, broker.ask(op)).await?;
            let names = if !json && print::wants_names(&answer) {
                who::names(&mut broker).await?
            } else {
                BTreeMap::new()
            };
            Ok(print::answer(&answer, &names, json))
        }
        Ask::Nothing(text) => {
            print!("{text}");
            Ok(Exit::Done)
        }
        Ask::Own(op) => Ok(own::answer(&awaited(ANSWER, broker.ask_local(op)).await?, json)),
        Ask::Account(op) => {
            check_groups(&mut broker, &op).await?;
            let answer = awaited(ANSWER, broker.ask_local(op.clone())).await?;
            invite(&mut broker, op, &answer).await?;
            Ok(own::answer(&answer, json))
        }
    }
}

/// Groups that are not there yet are a mistake, to be found before there is an account.
async fn check_groups(broker: &mut Client, op: &LocalOp) -> Result<(), CallError> {
    let LocalOp::AccountAdd { groups: wanted, .. } = op else { return Ok(()) };
    let Answer::Groups { groups } = broker.ask(Op::Groups {}).await? else { return Ok(()) };
    match wanted.iter().find(|id| !groups.iter().any(|group| group.id == **id)) {
        None => Ok(()),
        Some(id) => {
            let hint = format!("there is no group `{id}`; make it first: openztna admin groups put {id}");
            Err(CallError::NotFound(hint))
        }
    }
}

/// Lets the person of an account come in: whoever signs in without an invitation is turned away.
async fn invite(broker: &mut Client, op: LocalOp, answer: &LocalAnswer) -> Result<(), CallError> {
    if let (LocalAnswer::Account { account, .. }, LocalOp::AccountAdd { groups, display_name, .. }) =
        (answer, op)
    {
        let who = Invited::Person(account.person.clone());
        let groups = groups.into_iter().collect();
        broker.ask(Op::PersonInvite { who, name: display_name, groups }).await?;
    }
    Ok(())
}

/// What is waited for.
const ANSWER: &str = "waiting for the broker";
