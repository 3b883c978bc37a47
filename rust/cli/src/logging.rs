use std::fmt;
use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing::field::Field;
use tracing::{Level, Metadata};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};
use ztna_net::settings::{LogConfig, LogFormat};

use crate::plain::plain;

/// What is logged, and how. Logs go to standard error.
#[derive(Clone, Debug, Args)]
pub(crate) struct Logging {
    /// What to log: a level (error, warn, info, debug, trace), or targets with levels such as ztna_gateway=debug.
    /// Names and addresses are logged at debug and below only, packets at trace only
    #[arg(long, global = true, value_name = "FILTER", env = "OPENZTNA_LOG")]
    log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORM", env = "OPENZTNA_LOG_FORM")]
    log_form: Option<Form>,
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
    /// Begins to log as the command line says, or else warnings and errors for people.
    pub(crate) fn begin(&self) {
        self.begin_at("warn", Form::Text);
    }

    /// Begins to log as the command line says, or else as the configuration does.
    pub(crate) fn begin_as(&self, config: LogConfig) {
        let form = match config.format {
            LogFormat::Text => Form::Text,
            LogFormat::Json => Form::Json,
        };
        self.begin_at(config.level.as_str(), form);
    }

    /// A filter that is not understood is told and replaced by `level`.
    fn begin_at(&self, level: &str, form: Form) {
        let filter = self.log.as_deref().unwrap_or(level);
        let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
            eprintln!("the log filter `{filter}` is not understood ({error}); logging at {level}");
            EnvFilter::new(level)
        });
        let quiet = QUIET.iter().filter_map(|quiet| quiet.parse().ok());
        let filter = quiet.fold(filter, EnvFilter::add_directive);
        let filter = filter.and(filter_fn(is_ours_or_discreet));
        let logger =
            tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        match self.log_form.unwrap_or(form) {
            Form::Text => registry().with(logger.fmt_fields(fields()).with_filter(filter)).init(),
            Form::Json => registry().with(logger.json().with_filter(filter)).init(),
        }
    }
}

/// Fields as people read them. What came from elsewhere can neither steer a terminal nor begin a line of its own.
fn fields() -> impl for<'writer> FormatFields<'writer> + 'static {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let text = plain(&format!("{value:?}"));
        if field.name() == "message" { write!(writer, "{text}") } else { write!(writer, "{field}={text}") }
    };
    debug_fn(field).delimited(" ")
}

/// Libraries trace what passes through them, and do not know what of it is secret.
fn is_ours_or_discreet(line: &Metadata<'_>) -> bool {
    let is_ours = line.target().starts_with("ztna_") || line.target().starts_with("openztna");
    is_ours || *line.level() <= Level::DEBUG
}

/// The WireGuard engine reports the normal end of a session as an error, and the verifier what its caller reports.
const QUIET: [&str; 2] = ["boringtun=off", "rustls_platform_verifier=off"];

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn h04_what_is_logged_stays_on_its_line() {
        let log = Log::default();
        let to = log.clone();
        let logger = tracing_subscriber::fmt::layer().with_writer(move || to.clone()).with_ansi(false);
        let logger = logger.without_time().fmt_fields(fields());
        tracing::subscriber::with_default(registry().with(logger), || {
            let error = "no\n2026-01-01 ERROR a line of its own\u{1b}[2J";
            tracing::info!(%error, name = "a\nb", number = 7, "it is not believed: {error}");
        });
        let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let text = r"no\n2026-01-01 ERROR a line of its own\u{1b}[2J";
        let told = format!("it is not believed: {text} error={text} name=\"a\\nb\" number=7\n");
        assert!(written.ends_with(&told) && written.lines().count() == 1, "{written}");
    }
}
