use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use ztna_model::{Time, secs};
use ztna_net::clock::Clock;

use super::trouble::{Trouble, While as _};

/// This binary, run again as another part of the product: an OS process of its own.
///
/// It ends with the demonstration in any case: its standard input is a pipe that nobody writes to, and it was told to
/// end when that does.
pub(crate) struct Process {
    name: String,
    child: Child,
    /// Its standard input: it ends with this. Waiting for a child would close it.
    _input: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<Line>,
    log: PathBuf,
}

/// A line that a process wrote.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// When it came.
    pub(crate) at: Time,
    /// The line.
    pub(crate) text: String,
}

impl Process {
    /// Starts `openztna` with `args`. What it writes is kept in `dir` as well, in `NAME.log`.
    pub(crate) async fn start(name: &str, dir: &Path, args: &[&str]) -> Result<Self, Trouble> {
        Self::start_with(name, dir, args, &[]).await
    }

    /// The same with variables in its environment: what must not show in a list of processes.
    pub(crate) async fn start_with(
        name: &str,
        dir: &Path,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, Trouble> {
        let doing = format!("starting the {name}");
        let binary = std::env::current_exe().while_doing(&doing)?;
        let log = dir.join(format!("{name}.log"));
        let mut command = Command::new(binary);
        command
            .arg("--with-parent")
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0) // Ctrl-C is for the demonstration, which ends the others
            .kill_on_drop(true);
        let mut child = command.spawn().while_doing(&doing)?;
        let (sender, lines) = mpsc::unbounded_channel();
        let file = File::options().create(true).append(true).open(&log).await.while_doing(&doing)?;
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            let copy = file.try_clone().await.while_doing(&doing)?;
            tokio::spawn(follow(out, file, sender.clone()));
            tokio::spawn(follow(err, copy, sender));
        }
        let _input = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, _input, lines, log })
    }

    /// Waits for the first line that `pick` makes something of.
    pub(crate) async fn says<T>(
        &mut self,
        within: Duration,
        pick: impl Fn(&str) -> Option<T>,
    ) -> Result<(Time, T), Trouble> {
        let search = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(found) = pick(&line.text) {
                    return Some((line.at, found));
                }
            }
            None
        };
        match timeout(within, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(self.trouble("it ended")),
            Err(_) => Err(self.trouble("it does not say what it should")),
        }
    }

    /// Waits until a connector says that it is signed out; returns when, and why.
    pub(crate) async fn signed_out(&mut self, within: Duration) -> Result<(Time, String), Trouble> {
        self.says(within, |line| Some(line.strip_prefix("Signed out: ")?.trim_end_matches('.').to_owned()))
            .await
    }

    /// The lines that have come and were not looked at.
    pub(crate) fn said(&mut self) -> Vec<Line> {
        std::iter::from_fn(|| self.lines.try_recv().ok()).collect()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, within: Duration) -> Result<ExitStatus, Trouble> {
        match timeout(within, self.child.wait()).await {
            Ok(status) => status.while_doing(&format!("waiting for the {}", self.name)),
            Err(_) => Err(self.trouble("it does not end")),
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if self.ended(PATIENCE).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends it as a power cut does.
    pub(crate) async fn kill(&mut self) {
        let _ = self.child.kill().await; // it has ended already
    }

    /// Lets it sleep, as a device does whose lid is closed.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Wakes it.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal); // it has ended already
        }
    }

    fn trouble(&self, what: &str) -> Trouble {
        Trouble::new(&format!("the {}", self.name), format!("{what}; see {}", self.log.display()))
    }
}

/// Passes on what a process writes, line by line.
async fn follow(from: impl AsyncRead + Unpin, mut log: File, to: mpsc::UnboundedSender<Line>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let line = Line { at: Clock.now(), text };
        // The log is for people who look for what went wrong; a full disk is their first finding.
        let _ = log.write_all(format!("{}\n", line.text).as_bytes()).await;
        let _ = log.flush().await;
        if to.send(line).is_err() {
            return;
        }
    }
}

const PATIENCE: Duration = secs(5);
