use clap::{Parser, Subcommand};

use crate::admin::{AdminArgs, AuditArgs};
use crate::broker::BrokerArgs;
use crate::connect::{ConnectArgs, ConnectorArgs};
use crate::demo::{AppArgs, DemoArgs};
use crate::gateway::GatewayArgs;
use crate::logging::Logging;

/// Reach your work's applications, one by one, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "openztna", version, about, max_term_width = 100)]
pub(crate) struct Args {
    /// Print answers as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) logging: Logging,
    /// End when standard input does: for whoever starts this program from another
    #[arg(long, global = true, hide = true)]
    pub(crate) with_parent: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch the whole product work, and defend itself, on this machine: no root, nothing to install
    Demo(DemoArgs),
    /// Serve a private application of the demonstration
    #[command(hide = true)]
    DemoApp(AppArgs),
    /// Sign in if needed, turn the tunnel on, and serve local applications until Ctrl-C
    Connect(ConnectArgs),
    /// Sign in and stop there
    SignIn(ConnectArgs),
    /// Sign out: nothing of the session stays on this device
    SignOut(ConnectorArgs),
    /// How the running connector stands
    Status(ConnectorArgs),
    /// What this device tells of itself, and what to mend
    Posture(ConnectorArgs),
    /// Administer an organisation, on the machine where its broker runs
    Admin(AdminArgs),
    /// The log of all that was decided and done: verify it, export it
    Audit(AuditArgs),
    /// Serve an organisation: sign-ins, devices, decisions, audit log
    Broker(BrokerArgs),
    /// Stand beside applications: dial out to the broker, and let through what it grants
    Gateway(GatewayArgs),
}
