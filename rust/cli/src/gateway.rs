//! `openztna gateway`: what stands beside the applications and lets through what leases allow.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ztna_gateway::Config;
use ztna_gateway::status::{Source, Status, StatusError};

use crate::exit::{self, Exit};
use crate::logging::Logging;
use crate::progress::awaited;
use crate::stop::asked_to_stop;

/// Stand beside applications: dial out to the broker, and let through what it grants
#[derive(Clone, Debug, Args)]
pub(crate) struct GatewayArgs {
    /// The configuration file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "OPENZTNA_CONFIG",
        default_value = "/etc/openztna/gateway.toml"
    )]
    config: PathBuf,
    /// Print the documented default configuration and stop
    #[arg(long)]
    print_default_config: bool,
    #[command(subcommand)]
    command: Option<GatewayCommand>,
}

#[derive(Clone, Debug, Subcommand)]
enum GatewayCommand {
    /// Make this machine a gateway, by the single-use token from `openztna admin gateways create`
    Enrol {
        /// The token; `-` or none reads it from standard input
        #[arg(env = "OPENZTNA_ENROLMENT_TOKEN", hide_env_values = true)]
        token: Option<String>,
    },
    /// How the gateway that runs here stands
    Status,
}

/// Runs until it is told to stop.
pub(crate) async fn run(args: GatewayArgs, logging: &Logging, json: bool) -> Exit {
    if args.print_default_config {
        print!("{}", Config::DOCUMENTED);
        return Exit::Done;
    }
    let config = match Config::load(&args.config, std::env::vars()) {
        Ok(config) => config,
        Err(error) => return exit::misconfigured(&error, &args.config, "gateway"),
    };
    logging.begin_as(config.log);
    match args.command {
        Some(GatewayCommand::Enrol { token }) => enrol(&config.state_dir, token, json).await,
        Some(GatewayCommand::Status) => status(&config.state_dir, json).await,
        None => match ztna_gateway::run(config, asked_to_stop()).await {
            Ok(_) => Exit::Done,
            Err(error) => {
                eprintln!("the gateway does not run: {error}");
                Exit::Failed
            }
        },
    }
}

async fn enrol(state_dir: &Path, token: Option<String>, json: bool) -> Exit {
    let token = match token.filter(|token| token != "-").map_or_else(token_from_stdin, Ok) {
        Ok(token) => token,
        Err(error) => {
            eprintln!("the token cannot be read: {error}");
            return Exit::Usage;
        }
    };
    match awaited("enrolling at the broker", ztna_gateway::enrol(token.trim(), state_dir)).await {
        Ok(enrolled) if json => {
            let ztna_gateway::Enrolled { org, gateway, site } = enrolled;
            println!("{}", serde_json::json!({ "org": org.to_string(), "gateway": gateway, "site": site }));
            Exit::Done
        }
        Ok(enrolled) => {
            println!("This is gateway {} of site {} now.", enrolled.gateway, enrolled.site);
            println!("It belongs to {}.", enrolled.org);
            Exit::Done
        }
        Err(error) => {
            eprintln!("this machine was not enrolled: {error}");
            Exit::Failed
        }
    }
}

fn token_from_stdin() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line)
}

async fn status(state_dir: &Path, json: bool) -> Exit {
    match ztna_gateway::status::status(state_dir).await {
        Ok(status) if json => {
            // Plain data always has a JSON form.
            println!("{}", serde_json::to_string(&status).unwrap_or_default());
            Exit::Done
        }
        Ok(status) => {
            print_status(&status);
            Exit::Done
        }
        Err(error @ StatusError::Connect(_)) => {
            eprintln!("no gateway runs: {error}");
            Exit::NotRunning
        }
        Err(error) => {
            eprintln!("{error}");
            Exit::Failed
        }
    }
}

fn print_status(status: &Status) {
    let Status { identity, source, plane } = status;
    println!("gateway {} of {}", identity.gateway, identity.org);
    match source {
        Source::Broker { connected_since: Some(_), .. } => println!("  broker    connected"),
        Source::Broker { trouble, .. } => {
            println!("  broker    away: {}", trouble.as_deref().unwrap_or("not reached yet"));
        }
        Source::File { trouble: None, .. } => println!("  leases    from a file"),
        Source::File { trouble: Some(trouble), .. } => println!("  leases    from a file: {trouble}"),
    }
    if let Some(trouble) = source.no_way() {
        println!("  carriers  {trouble}");
    }
    println!("  forwards  {}", plane.forwarding);
    println!("  leases    {} of {} sessions", plane.leases, plane.sessions);
    println!("  flows     {} with {} KiB of buffers", plane.flows, plane.buffered / 1024);
    println!("  offloads  {}", plane.offloads);
    plane.refused_dials.iter().for_each(|(why, count)| println!("  refused   {count} flows: {why}"));
    plane.declined.iter().for_each(|(why, count)| println!("  refused   {count} leases: {why}"));
    plane.denied.iter().for_each(|(reason, count)| println!("  denied    {count} packets: {reason}"));
}
