use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// What is logged, and how. Logs go to standard error.
#[derive(Clone, Debug, Args)]
pub(crate) struct Logging {
    /// What to log: a level (error, warn, info, debug, trace), or targets with levels such as ztna_gateway=debug.
    /// Names and addresses are logged at debug and below only, packets at trace only
    #[arg(long, global = true, value_name = "FILTER", env = "OPENZTNA_LOG", default_value = "warn")]
    log: String,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORM", env = "OPENZTNA_LOG_FORM", default_value = "text")]
    log_form: Form,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// For machines: an object a line.
    Json,
}

impl Logging {
    /// Begins to log. A filter that is not understood is told and replaced by `warn`.
    pub(crate) fn begin(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|error| {
            eprintln!("the log filter `{}` is not understood ({error}); logging at warn", self.log);
            EnvFilter::new("warn")
        });
        // The WireGuard engine reports the normal end of a session as an error.
        let filter = match QUIET.parse() {
            Ok(quiet) => filter.add_directive(quiet),
            Err(_) => filter,
        };
        let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_form {
            Form::Text => logger.init(),
            Form::Json => logger.json().init(),
        }
    }
}

const QUIET: &str = "boringtun=off";
