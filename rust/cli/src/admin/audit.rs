use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ztna_broker::admin::{Client, LocalAnswer, LocalOp};
use ztna_model::OrgString;

use super::{CallError, SocketArgs, own};
use crate::counted::counted;
use crate::exit::Exit;
use crate::progress::awaited;

mod check; // a log that was exported

/// The log of all that was decided and done: verify it, export it
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    socket: SocketArgs,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum AuditCommand {
    /// Follow the log's chain from end to end: whatever was changed, left out or cut off is named
    Verify {
        /// Whose chain, where several brokers share a store; without it, this broker's
        #[arg(long)]
        writer: Option<String>,
        /// A file with a signed end that was kept elsewhere
        #[arg(long, value_name = "FILE")]
        witness: Option<PathBuf>,
    },
    /// Write the log as lines of JSON, ending with its signed end
    Export {
        /// Whose chain, where several brokers share a store; without it, this broker's
        #[arg(long)]
        writer: Option<String>,
        /// Where to; without it, standard output
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Check an exported log, anywhere: with the organisation's string and the keys that its broker publishes
    Check {
        /// The exported log
        file: PathBuf,
        /// The organisation: `https://acme.example`, perhaps with # and the root's hash
        #[arg(long)]
        org: OrgString,
        /// A copy of what the broker publishes at `/.well-known/openztna`, checked by the root's hash; without it, the
        /// broker is asked
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
        /// Whose chain it is
        #[arg(long, default_value = "broker-1")]
        writer: String,
        /// A file with a signed end that was kept elsewhere
        #[arg(long, value_name = "FILE")]
        witness: Option<PathBuf>,
    },
    /// Remove a text about a person, such as a name or an address, from every row. The chain still verifies
    Erase {
        /// The text, exactly as it was written down
        text: String,
    },
}

/// Asks for the log.
pub(crate) async fn run(args: AuditArgs, json: bool) -> Exit {
    match answered(args, json).await {
        Ok(exit) => exit,
        Err(error) => error.end(),
    }
}

async fn answered(args: AuditArgs, json: bool) -> Result<Exit, CallError> {
    if let AuditCommand::Check { file, org, keys, writer, witness } = args.command {
        return check::run(&file, &org, keys.as_deref(), &writer, witness.as_deref()).await;
    }
    let mut broker = Client::connect(&args.socket.path).await?;
    let op = match args.command {
        AuditCommand::Verify { writer, witness } => {
            let witness = witness.as_deref().map(read).transpose()?;
            LocalOp::AuditVerify { writer, witness }
        }
        AuditCommand::Check { .. } => return Ok(Exit::Usage), // it needs no broker's socket: see above
        AuditCommand::Erase { text } => LocalOp::AuditErase { text },
        AuditCommand::Export { writer, to } => {
            let exported = export(&mut broker, writer, to.as_deref());
            match &to {
                Some(file) => {
                    let rows = awaited("writing the log down", exported).await?;
                    eprintln!("{} holds {}.", file.display(), counted(rows, "row", "rows"));
                }
                None => _ = exported.await?, // its lines show that it goes on
            }
            return Ok(Exit::Done);
        }
    };
    Ok(own::answer(&awaited(super::ANSWER, broker.ask_local(op)).await?, json))
}

/// Writes part after part, so that a log of any length passes, and tells how many rows there were.
async fn export(broker: &mut Client, writer: Option<String>, to: Option<&Path>) -> Result<u64, CallError> {
    let name = to.map_or_else(|| "standard output".to_owned(), |to| to.display().to_string());
    let failed = |cause| CallError::File { path: name.clone(), cause };
    let mut new = OpenOptions::new();
    new.write(true).create_new(true).mode(0o600); // it names people
    let mut out: BufWriter<Box<dyn Write>> = BufWriter::new(match to {
        Some(to) => Box::new(new.open(to).map_err(failed)?),
        None => Box::new(io::stdout()),
    });
    let (mut after, mut rows) = (0, 0);
    loop {
        let op = LocalOp::AuditExport { writer: writer.clone(), after };
        let LocalAnswer::Lines { lines, next } = broker.ask_local(op).await? else {
            return Err(CallError::NotFound("the broker does not export its log".into()));
        };
        for line in lines {
            writeln!(out, "{line}").map_err(failed)?;
            rows += 1;
        }
        match next {
            Some(next) => after = next,
            None => return out.flush().map(|()| rows).map_err(failed),
        }
    }
}

fn read(file: &Path) -> Result<String, CallError> {
    let text = std::fs::read_to_string(file);
    text.map(|text| text.trim().to_owned())
        .map_err(|cause| CallError::File { path: file.display().to_string(), cause })
}
