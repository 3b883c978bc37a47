//! `openztna`: the connector from a terminal, and the commands that start broker, gateway and demo.

mod args; // the command line
mod connect; // the connector, in the foreground
mod show; // how it stands, in words
mod demo; // the whole product on this machine, and attacks on it
mod broker; // the organisation's decisions, served
mod gateway; // what stands beside the applications
mod admin; // what administrators ask
mod exit; // how the program ends
mod stop; // when
mod progress; // what is waited for
mod logging; // what is logged, and how
mod table; // rows in columns
mod counted; // how many of something
mod plain; // text from elsewhere, fit to be shown

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    stop::end_quietly_with_the_reader();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output, mistakes to standard error.
            let _ = error.print();
            let is_mistake = error.use_stderr();
            return if is_mistake { Exit::Usage } else { Exit::Done }.into();
        }
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build() {
        Ok(runtime) => runtime.block_on(run(args)).into(),
        Err(error) => {
            eprintln!("the program cannot start: {error}");
            Exit::Failed.into()
        }
    }
}

async fn run(args: Args) -> Exit {
    let Args { json, logging, with_parent, command } = args;
    if with_parent {
        stop::end_with_standard_input();
    }
    // What serves may have its logging configured.
    let serves = matches!(command, Command::Broker(_) | Command::Gateway(_));
    if !serves {
        logging.begin();
    }
    match command {
        Command::Demo(args) => demo::run(args, json).await,
        Command::DemoApp(args) => demo::application(args).await,
        Command::Connect(args) => connect::connect(args, json).await,
        Command::SignIn(args) => connect::sign_in(args, json).await,
        Command::SignOut(args) => connect::sign_out(args, json).await,
        Command::Status(args) => connect::status(args, json).await,
        Command::Posture(args) => connect::posture(args, json).await,
        Command::Admin(args) => admin::run(args, json).await,
        Command::Audit(args) => admin::audit(args, json).await,
        Command::Broker(args) => broker::run(args, &logging, json).await,
        Command::Gateway(args) => gateway::run(args, &logging, json).await,
    }
}

/// What reads and evaluates policies calls itself for each level of them.
const STACK: usize = 8 << 20;
