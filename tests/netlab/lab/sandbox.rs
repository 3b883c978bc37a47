use std::process::Command;

use rustix::process::geteuid;

/// A test that runs in a network, a file system and among processes of its own.
pub(crate) struct Sandbox;

/// Runs `body` in namespaces of its own: the test's program is started again inside them, for this test alone. `/etc` and
/// `/run` there are copies that end with it. Outside, its output is the test's, and its end is the test's end.
pub(crate) fn sandbox<F, T>(body: F)
where
    F: FnOnce(Sandbox) -> T,
    T: Future<Output = ()>,
{
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let bounded = async { tokio::time::timeout(LONGEST, body(Sandbox)).await };
        return runtime.expect("a runtime").block_on(bounded).expect("it ends within two minutes");
    }
    assert!(geteuid().is_root(), "needs root: it makes network namespaces (CAP_SYS_ADMIN, CAP_NET_ADMIN)");
    let output = inside(&name_of(&body), &[]).output().expect("`unshare` is there (util-linux)");
    let said = String::from_utf8_lossy(&output.stdout);
    // The sums are the outer runner's to draw.
    said.lines().filter(|line| !line.starts_with("test result:")).for_each(|line| println!("{line}"));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let ran = said.contains("1 passed");
    assert!(output.status.success() && ran, "it failed inside its namespaces, see above");
}

impl Sandbox {
    /// The test's program once more, in the same sandbox, in the part called `part`, started by the command `by` (or by
    /// nothing): a process to be killed, or with fewer rights.
    pub(crate) fn again(&self, by: &[&str], test: &str, part: &str) -> Command {
        let program = std::env::current_exe().expect("this program").display().to_string();
        let whole = [by, &[&program]].concat();
        let mut command = Command::new(whole[0]);
        command.args(&whole[1..]).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(PART, part);
        command
    }

    /// Which part this process plays, if it is not the test itself.
    pub(crate) fn part(&self) -> Option<String> {
        std::env::var(PART).ok()
    }
}

fn inside(test: &str, more: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    // A process namespace ends with its first process, and everything in it.
    command.args(["--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc"]);
    command.args(["sh", "-c", FURNISH, "sh"]).arg(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).args(more).env(INSIDE, "yes");
    command
}

/// The test's name, as the test runner has it, from the closure's: `netlab::nats::a_claim::{{closure}}`.
fn name_of<F>(_: &F) -> String {
    let whole = std::any::type_name::<F>();
    let path = whole.split("::{{closure}}").next().unwrap_or(whole);
    path.split_once("::").map_or(path, |(_, path)| path).to_owned()
}

const FURNISH: &str = "set -e; mount -t tmpfs tmpfs /run; mkdir /run/netns /run/lock /run/tmp; export TMPDIR=/run/tmp; cp -a /etc /run/etc; \
                       mount --bind /run/etc /etc; ip link set lo up; exec \"$@\"";
const LONGEST: std::time::Duration = ztna_model::secs(120);
const INSIDE: &str = "OPENZTNA_NETLAB";
const PART: &str = "OPENZTNA_NETLAB_PART";
