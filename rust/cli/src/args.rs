use clap::{Parser, Subcommand};

use crate::admin::AdminArgs;
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
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Administer an organisation, on the machine where its broker runs
    Admin(AdminArgs),
}
