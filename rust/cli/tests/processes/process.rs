use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use ztna_model::secs;

/// The program under test.
pub(crate) use crate::OPENZTNA;

/// The program as a process that stays. It is killed with this value, and ends by itself if the test is killed.
pub(crate) struct Process {
    child: Child,
    _input: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<String>,
    /// Everything it wrote: standard output, standard error.
    written: [Arc<Mutex<String>>; 2],
}

/// The program as a command that has ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `program` to its end.
pub(crate) async fn run(program: &str, args: &[&str], stdin: &str) -> Said {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let _ = input.write_all(stdin.as_bytes()).await; // it may not want to read
    drop(input);
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{args:?} does not end")).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_by(&[], args)
    }

    /// The same, by the command `by`, which becomes the program: `ip netns exec NAME`.
    pub(crate) fn start_by(by: &[&str], args: &[&str]) -> Self {
        let whole = [by, &[OPENZTNA, "--with-parent"], args].concat();
        let mut command = Command::new(whole[0]);
        command.args(&whole[1..]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        let written: [Arc<Mutex<String>>; 2] = Default::default();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        tokio::spawn(follow(out, Arc::clone(&written[0]), sender.clone()));
        tokio::spawn(follow(err, Arc::clone(&written[1]), sender));
        let _input = child.stdin.take();
        Self { child, _input, lines, written }
    }

    /// Waits for the first line, of those that were not looked at, that `pick` makes something of.
    pub(crate) async fn says<T>(&mut self, pick: impl Fn(&str) -> Option<T>) -> T {
        let search = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(found) = pick(&line) {
                    return Some(found);
                }
            }
            None
        };
        match timeout(PATIENCE, search).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("it ended, after:\n{}", self.whole()),
            Err(_) => panic!("it does not say what it should, but:\n{}", self.whole()),
        }
    }

    /// Everything that it wrote to standard output and to standard error.
    pub(crate) fn written(&self) -> (String, String) {
        let [out, err] = &self.written;
        (out.lock().unwrap().clone(), err.lock().unwrap().clone())
    }

    fn whole(&self) -> String {
        let (out, err) = self.written();
        format!("{out}{err}")
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        match timeout(within, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("it does not end within {within:?}, after:\n{}", self.whole()),
        }
    }

    /// Ends it as a power cut does.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Tells it to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Tells it to stop, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.expect("it runs"), signal).unwrap();
    }
}

async fn follow(
    from: impl AsyncRead + Unpin,
    written: Arc<Mutex<String>>,
    to: mpsc::UnboundedSender<String>,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        written.lock().unwrap().push_str(&format!("{line}\n"));
        let _ = to.send(line); // whoever looks at what was written needs no lines
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asked = timeout(PATIENCE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(BREATH).await;
        }
    });
    asked.await.unwrap_or_else(|_| panic!("this does not come about: {what}"))
}

/// Nothing here takes as long, whatever else this machine does.
pub(crate) const PATIENCE: Duration = secs(30);
const BREATH: Duration = ztna_model::millis(20);
