//! `openztna demo`: the whole product on loopback, and attacks on it that fail.
//!
//! ```text
//!   openztna demo ─┬─ openztna broker      HTTPS, control streams, administrators' socket
//!                  ├─ openztna gateway     dials out, one UDP socket
//!                  ├─ openztna demo-app    the private applications, which only the gateway dials
//!                  └─ openztna connect     Ana's connector, its local proxy ◀── what plays Ana's applications
//! ```

use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use rustix::process::geteuid;
use ztna_model::Random as _;
use ztna_net::process::raise_descriptor_limit;
use ztna_net::random::SystemRandom;

use crate::exit::Exit;
use crate::stop::asked_to_stop;

mod stage; // what runs
use stage::{Connected, Stage};
mod process; // one of the product's processes
mod app; // the private applications
pub(crate) use app::serve as serve_application;

mod browser; // what fills in the login page
mod application; // what uses the local proxy
mod modified; // a client that says what it likes
mod turncoat; // a gateway in the wrong hands
mod dice; // choices that a seed repeats
mod trouble; // why a step could not be tried
use trouble::Trouble;

mod tale; // how it is told
use tale::Tale;
mod story; // what happens
mod after; // what is left for the reader to try

/// Watch the whole product work, and defend itself, on this machine: no root, nothing to install
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Let everything run afterwards, and say how to use it
    #[arg(long)]
    keep: bool,
    /// Afterwards, open a shell as Mallory, with what was stolen at hand
    #[arg(long)]
    attack: bool,
    /// Sign in with your own browser
    #[arg(long)]
    browser: bool,
    /// Keep all files in this directory, which must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Repeat the random choices of an earlier run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// A private application of the demonstration.
#[derive(Clone, Debug, Args)]
pub(crate) struct AppArgs {
    name: String,
    address: std::net::SocketAddr,
}

/// Serves a private application.
pub(crate) async fn application(args: AppArgs) -> Exit {
    raise_descriptor_limit();
    match serve_application(&args.name, args.address).await {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("the application cannot serve: {error}");
            Exit::Failed
        }
    }
}

/// Plays the whole story.
pub(crate) async fn run(args: DemoArgs, json: bool) -> Exit {
    raise_descriptor_limit();
    let (dir, is_temporary) = match place(args.data.clone()) {
        Ok(place) => place,
        Err(trouble) => {
            eprintln!("the demonstration cannot begin: {trouble}");
            return Exit::Failed;
        }
    };
    let exit = tokio::select! {
        exit = play(&args, json, dir.clone()) => exit,
        () = asked_to_stop() => Exit::Interrupted,
    };
    if is_temporary {
        // What cannot be removed was never made.
        let _ = std::fs::remove_dir_all(&dir);
    }
    exit
}

async fn play(args: &DemoArgs, json: bool, dir: PathBuf) -> Exit {
    let seed = args.seed.unwrap_or_else(|| u64::from_le_bytes(SystemRandom::new().array()) >> 16);
    let mut tale = Tale::begin(json, seed);
    tale.title("OpenZTNA Connector: the whole product on this machine, and what it withstands");
    if geteuid().is_root() {
        tale.admit("Running as root, which nothing here needs.");
    }
    let (stage, ana) = match tell(&mut tale, args, dir, seed).await {
        Ok(played) => played,
        Err(trouble) => {
            tale.give_up(&trouble.to_string());
            return Exit::Failed;
        }
    };
    let kept = tale.end();
    if args.attack {
        after::attack(&stage).await;
    } else if args.keep {
        after::keep(&stage).await;
    } else if !json {
        after::hint();
    }
    let Connected { mut process, .. } = ana;
    process.stop().await;
    stage.strike().await;
    if kept { Exit::Done } else { Exit::PromiseBroken }
}

async fn tell(
    tale: &mut Tale,
    args: &DemoArgs,
    dir: PathBuf,
    seed: u64,
) -> Result<(Stage, Connected), Trouble> {
    tale.doing("starting broker, gateway and applications");
    let stage = Stage::set(dir).await?;
    story::play(tale, stage, args.browser, seed).await
}

/// Where the files go, and whether they go away again.
fn place(data: Option<PathBuf>) -> Result<(PathBuf, bool), Trouble> {
    let is_temporary = data.is_none();
    let dir = data.unwrap_or_else(|| {
        let number: [u8; 8] = SystemRandom::new().array();
        std::env::temp_dir().join(format!("openztna-demo-{:016x}", u64::from_le_bytes(number)))
    });
    let doing = format!("making {}", dir.display());
    ztna_net::fs::create_private_dir(&dir).map_err(|error| Trouble::new(&doing, error))?;
    let is_empty = std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_none());
    let dir = dir.canonicalize().map_err(|error| Trouble::new(&doing, error))?;
    if is_empty { Ok((dir, is_temporary)) } else { Err(Trouble::new(&doing, "it is not empty")) }
}

/// Opens the person's browser, as far as there is one.
fn open_browser(address: &str) {
    let _ = Command::new("xdg-open").arg(address).spawn(); // the address is printed as well
}
