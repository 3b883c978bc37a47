//! `openztna broker`: the organisation's decisions, served.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ztna_broker::{Broker, Config};

use crate::exit::{self, Exit};
use crate::logging::Logging;
use crate::progress::awaited;
use crate::stop::asked_to_stop;

/// Serve an organisation: sign-ins, devices, decisions, audit log
#[derive(Clone, Debug, Args)]
pub(crate) struct BrokerArgs {
    /// The configuration file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "OPENZTNA_CONFIG",
        default_value = "/etc/openztna/broker.toml"
    )]
    config: PathBuf,
    /// Print the documented default configuration and stop
    #[arg(long)]
    print_default_config: bool,
    #[command(subcommand)]
    command: Option<BrokerCommand>,
}

#[derive(Clone, Debug, Subcommand)]
enum BrokerCommand {
    /// Put a back-up in the store's place, while no broker runs. Every session ends: everybody signs in again
    Restore {
        /// What `openztna admin back-up` wrote
        file: PathBuf,
    },
}

/// Serves until it is told to stop.
pub(crate) async fn run(args: BrokerArgs, logging: &Logging, json: bool) -> Exit {
    if args.print_default_config {
        print!("{}", Config::DOCUMENTED);
        return Exit::Done;
    }
    let config = match Config::load(&args.config, std::env::vars()) {
        Ok(config) => config,
        Err(error) => return exit::misconfigured(&error, &args.config, "broker"),
    };
    logging.begin_as(config.log);
    match args.command {
        Some(BrokerCommand::Restore { file }) => restore(&config, &file).await,
        None => serve(config, json).await,
    }
}

async fn serve(config: Config, json: bool) -> Exit {
    let broker = match Broker::start(config).await {
        Ok(broker) => broker,
        Err(error) => {
            eprintln!("the broker cannot start: {error}");
            return Exit::Failed;
        }
    };
    let (org, socket) = (broker.org(), broker.admin_socket().display());
    if json {
        println!("{}", serde_json::json!({ "org": org.to_string(), "admin_socket": socket.to_string() }));
    } else {
        println!("Serving. People and devices come in by\n  {org}");
        println!("Administer it with\n  openztna admin --socket {socket} status");
    }
    broker.run(asked_to_stop()).await;
    Exit::Done
}

async fn restore(config: &Config, file: &std::path::Path) -> Exit {
    match awaited("verifying the back-up", ztna_broker::restore(config, file)).await {
        Ok(restored) => {
            println!("Restored. Everybody signs in again; gateways come back by themselves.");
            println!(
                "Holds placed, and devices and gateways ended, since the copy was made: do that again now."
            );
            if let Some(replaced) = restored.replaced {
                println!("What was there before lies in {}.", replaced.display());
            }
            Exit::Done
        }
        Err(error) => {
            eprintln!("nothing was restored: {error}");
            Exit::Failed
        }
    }
}
