//! `openztna connect` and its like: the connector in the foreground, and questions to one that runs.

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use ztna_connector::client::{self, SignInOptions};
use ztna_connector::config::Config;
use ztna_connector::keep::Keep;
use ztna_connector::status::{AskError, Question, Status, ask};
use ztna_connector::{Connector, Door, Snapshot, StartError, State, Why};
use ztna_model::{OrgString, Secret, millis};
use ztna_net::tun::inherited;
use ztna_net::uds::ListenError;

use crate::exit::{self, Exit};
use crate::plain::plain;
use crate::progress::awaited;
use crate::show;
use crate::stop::asked_to_stop;

/// Which connector is meant.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectorArgs {
    /// The configuration file; without it, the documented defaults and the environment
    #[arg(long, value_name = "FILE", env = "OPENZTNA_CONFIG")]
    config: Option<PathBuf>,
    /// Where keys and the session are kept, instead of where the configuration says
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The organisation: `https://acme.example`, perhaps with # and the root's hash
    org: Option<OrgString>,
    #[command(flatten)]
    connector: ConnectorArgs,
    /// Print the address of the sign-in page instead of opening a browser
    #[arg(long)]
    no_browser: bool,
    /// Never ask for a sign-in: end with 3 where one is needed
    #[arg(long)]
    no_sign_in: bool,
    /// A single-use token that admits this device
    #[arg(long, value_name = "TOKEN", env = "OPENZTNA_ENROLMENT_TOKEN", hide_env_values = true)]
    enrolment_token: Option<String>,
    /// Reach applications by the local proxy alone: no TUN device, and no privilege needed
    #[arg(long, conflicts_with = "tun_fd")]
    proxy: bool,
    /// Use the TUN device that was opened as this descriptor, instead of making one
    #[arg(long, value_name = "NUMBER")]
    tun_fd: Option<i32>,
    /// Print the documented default configuration and stop
    #[arg(long)]
    print_default_config: bool,
}

/// Runs the connector until Ctrl-C.
pub(crate) async fn connect(args: ConnectArgs, json: bool) -> Exit {
    if args.print_default_config {
        print!("{}", Config::DOCUMENTED);
        return Exit::Done;
    }
    let connector = match start(&args, door).await {
        Ok(connector) => connector,
        Err(exit) => return exit,
    };
    let mut stop = pin!(asked_to_stop());
    let mut snapshots = connector.client.snapshots();
    if let Err(exit) = get_in(&connector, &args, stop.as_mut()).await {
        return exit;
    }
    connector.client.connect().await;
    show::proxy(connector.proxy(), json);
    let exit = follow(&mut snapshots, json, stop).await;
    // The tunnel ends with this process in any case, and nobody here needs what is still to be said.
    let _ = timeout(FAREWELL, stop_well(&connector, &mut snapshots)).await;
    exit
}

async fn stop_well(connector: &Connector, snapshots: &mut watch::Receiver<Snapshot>) {
    connector.client.disconnect().await;
    let is_off = |snapshot: &Snapshot| matches!(snapshot.state, State::Off | State::SignedOut { .. });
    let _ = snapshots.wait_for(is_off).await; // a client that has ended is off as well
    connector.farewell().await;
}

/// Signs in, and leaves the session on the disk.
pub(crate) async fn sign_in(args: ConnectArgs, json: bool) -> Exit {
    let connector = match start(&args, |_, _| Ok(Door::Proxy)).await {
        Ok(connector) => connector,
        Err(exit) => return exit,
    };
    let exit = get_in(&connector, &args, pin!(asked_to_stop())).await.err().unwrap_or(Exit::Done);
    // The browser gets its last page, if it still asks for it.
    let _ = timeout(FAREWELL, connector.farewell()).await;
    show::status(&connector.status().await, json);
    connector.client.disconnect().await;
    exit
}

/// Signs out: by the connector that runs, or else by one that is started for it.
pub(crate) async fn sign_out(args: ConnectorArgs, json: bool) -> Exit {
    let config = match load(&args) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match question(&config, Question::SignOut).await {
        Ok(status) => show::state(&status.snapshot, json),
        // One that breaks off is about to be gone.
        Err(AskError::Connect(_) | AskError::Broken(_)) => {
            let connector = match Connector::start(&config, Door::Proxy).await {
                Ok(connector) => connector,
                Err(StartError::Client(client::StartError::NoOrganisation)) => {
                    eprintln!("Nobody is signed in.");
                    return Exit::Done;
                }
                Err(error) => return unstarted(&error),
            };
            connector.client.sign_out().await;
            // Nothing here depends on it.
            let _ = awaited("telling the organisation", timeout(FAREWELL, connector.farewell())).await;
            show::state(&connector.client.snapshots().borrow(), json);
        }
        Err(error) => return failed(&error),
    }
    Exit::Done
}

/// How the running connector stands.
pub(crate) async fn status(args: ConnectorArgs, json: bool) -> Exit {
    asked(args, Question::Status, |status| show::status(status, json)).await
}

/// What this device tells of itself.
pub(crate) async fn posture(args: ConnectorArgs, json: bool) -> Exit {
    asked(args, Question::ReadSignals, |status| show::posture(&status.snapshot, json)).await
}

async fn asked(args: ConnectorArgs, what: Question, show: impl FnOnce(&Status)) -> Exit {
    let config = match load(&args) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match question(&config, what).await {
        Ok(status) => {
            show(&status);
            match status.snapshot.state {
                State::SignedOut { .. } => Exit::SignInNeeded,
                State::NeedsAttention => Exit::Denied,
                State::SigningIn
                | State::AwaitingAdmission { .. }
                | State::CheckingDevice
                | State::Connecting
                | State::Connected
                | State::Reconnecting
                | State::Unreachable
                | State::Asleep
                | State::Off => Exit::Done,
            }
        }
        Err(error @ AskError::Connect(_)) => {
            eprintln!("no connector runs: {error}");
            Exit::NotRunning
        }
        Err(error) => failed(&error),
    }
}

async fn question(config: &Config, what: Question) -> Result<Status, AskError> {
    let socket = Keep::socket_in(&config.state_dir);
    ask(&socket, what).await
}

/// Signs in where nobody is signed in, and waits for how it goes.
async fn get_in(
    connector: &Connector,
    args: &ConnectArgs,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Exit> {
    let mut snapshots = connector.client.snapshots();
    if !matches!(snapshots.borrow_and_update().state, State::SignedOut { .. }) {
        return Ok(());
    }
    if args.no_sign_in {
        eprintln!("Nobody is signed in. Sign in, with the same options, by\n  openztna sign-in");
        return Err(Exit::SignInNeeded);
    }
    let (opened, is_open) = oneshot::channel();
    let no_browser = args.no_browser;
    let open_browser = Box::new(move |address: String| {
        let _ = opened.send(()); // who waits for it shows progress, no more
        open_browser(&address, no_browser);
    });
    let enrolment_token = args.enrolment_token.clone().map(Secret::new);
    connector.client.sign_in(SignInOptions { open_browser, enrolment_token }).await;
    tokio::spawn(awaited("reaching the organisation", is_open));
    loop {
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return Err(Exit::Failed);
                }
            }
            () = &mut stop => return Err(Exit::Interrupted),
        }
        match &snapshots.borrow_and_update().state {
            State::SigningIn => {}
            State::SignedOut { why } => {
                eprintln!("{}", refusal(why.as_ref()));
                if let Some(Why::Failed(text)) = why {
                    HINTS
                        .iter()
                        .filter(|(part, _)| text.contains(part))
                        .for_each(|(_, hint)| eprintln!("{hint}"));
                }
                return Err(Exit::SignInNeeded);
            }
            State::AwaitingAdmission { .. }
            | State::CheckingDevice
            | State::Connecting
            | State::Connected
            | State::Reconnecting
            | State::NeedsAttention
            | State::Unreachable
            | State::Asleep
            | State::Off => return Ok(()),
        }
    }
}

/// Tells what changes until it is asked to stop, or until the session is over.
async fn follow(
    snapshots: &mut watch::Receiver<Snapshot>,
    json: bool,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Exit {
    let mut told = None;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        if told.as_ref() != Some(&snapshot.state) {
            show::state(&snapshot, json);
            told = Some(snapshot.state.clone());
        }
        if let State::SignedOut { why: Some(why) } = &snapshot.state {
            eprintln!("{}", refusal(Some(why)));
            return Exit::SignInNeeded;
        }
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return Exit::Failed;
                }
            }
            () = &mut stop => return Exit::Done,
        }
    }
}

async fn start(
    args: &ConnectArgs,
    door: impl FnOnce(&ConnectArgs, &Config) -> Result<Door, Exit>,
) -> Result<Connector, Exit> {
    let mut config = load(&args.connector)?;
    config.org = args.org.clone().or(config.org);
    let door = door(args, &config)?;
    Connector::start(&config, door).await.map_err(|error| unstarted(&error))
}

/// How applications are to come in.
fn door(args: &ConnectArgs, config: &Config) -> Result<Door, Exit> {
    match args.tun_fd {
        Some(number) => inherited(number).map(Door::Descriptor).map_err(|error| {
            eprintln!("--tun-fd {number}: {error}");
            Exit::Usage
        }),
        None if args.proxy || !config.tun.enabled => Ok(Door::Proxy),
        None => Ok(Door::Device),
    }
}

fn unstarted(error: &StartError) -> Exit {
    match error {
        StartError::Socket(ListenError::Taken { .. }) => {
            eprintln!("the connector runs already: see `openztna status`, or end it first");
        }
        StartError::Keep(_) => {
            eprintln!("{error}\n--state-dir names a place of your own for keys and session");
        }
        StartError::Local(_) => {
            eprintln!(
                "{error}\n`listen` under [proxy], or OPENZTNA_CONNECTOR_PROXY__LISTEN, names another address; port 0 takes a free one"
            );
        }
        StartError::Tun(_) | StartError::System(_) => {
            eprintln!(
                "{error}\nWithout it, applications that use the local proxy reach your work: openztna connect --proxy"
            );
        }
        StartError::Plane(_) | StartError::Client(_) | StartError::Socket(_) | StartError::Descriptor(_) => {
            eprintln!("{error}");
        }
    }
    Exit::Failed
}

fn load(args: &ConnectorArgs) -> Result<Config, Exit> {
    let mut config = match &args.config {
        None => Config::load_defaults(std::env::vars()).map_err(|error| {
            eprintln!("{error}");
            Exit::Usage
        })?,
        Some(path) => Config::load(path, std::env::vars())
            .map_err(|error| exit::misconfigured(&error, path, "connect"))?,
    };
    if let Some(dir) = &args.state_dir {
        config.state_dir.clone_from(dir);
    }
    Ok(config)
}

fn failed(error: &dyn std::error::Error) -> Exit {
    eprintln!("{error}");
    Exit::Failed
}

fn refusal(why: Option<&Why>) -> String {
    match why {
        Some(Why::Ended(reason)) => format!("Signed out: {}.", reason.sentence()),
        Some(Why::Failed(text)) => format!("The sign-in did not work: {}.", plain(text)),
        None => "Signed out.".into(),
    }
}

/// Opens the person's browser, or asks them to.
fn open_browser(address: &str, print_only: bool) {
    let silent = Stdio::null; // what the browser has to say of itself is not for here
    let mut browser = Command::new("xdg-open");
    let browser = browser.arg(address).stdin(silent()).stdout(silent()).stderr(silent());
    if !print_only && browser.spawn().is_ok() {
        eprintln!("Waiting for your browser. If it does not open, go to\n  {address}");
    } else {
        eprintln!("Open this address in a browser on this machine to sign in:\n  {address}");
    }
}

/// What helps, by a part of what went wrong.
const HINTS: [(&str, &str); 2] = [
    (
        "certificate",
        "A broker with a certificate of its own is known by the end of its string, #sha256-…, as it prints it.",
    ),
    (
        "needs a new key",
        "Remove device-*.key from the state directory: the next sign-in makes another, which has to be admitted.",
    ),
];
const FAREWELL: Duration = millis(1_500);
