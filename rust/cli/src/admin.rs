//! `openztna admin …`: what administrators ask, in words.

mod args;
mod call;
mod print;
mod who;

pub(crate) use args::AdminArgs;
pub(crate) use call::Broker;

use crate::exit::Exit;

/// Asks the broker, and prints what it says.
pub(crate) async fn run(args: AdminArgs, json: bool) -> Exit {
    let mut broker = match Broker::connect(&args.socket).await {
        Ok(broker) => broker,
        Err(error) => {
            eprintln!("{error}");
            return Exit::NotRunning;
        }
    };
    let outcome = match args.command.into_op(&mut broker).await {
        Ok(op) => broker.ask(op).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(answer) => print::answer(&answer, json),
        Err(error) => {
            eprintln!("{error}");
            Exit::Failed
        }
    }
}
