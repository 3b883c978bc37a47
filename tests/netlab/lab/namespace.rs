use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// One machine: a network namespace, and a thread in it that runs what tests do there.
pub(crate) struct Namespace {
    pub(crate) name: String,
    tasks: Handle,
    /// Ends the thread with this value.
    _end: oneshot::Sender<()>,
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Self {
        call("ip", &["netns", "add", name], "");
        call("ip", &["-n", name, "link", "set", "lo", "up"], "");
        let (send, receive) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let path = format!("/run/netns/{name}");
        thread::spawn(move || {
            let namespace = File::open(path).expect("the namespace is there");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("as root");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            send.send(runtime.handle().clone()).expect("it is waited for");
            let _ = runtime.block_on(ended); // the sender is gone: that is what was waited for
        });
        Self { name: name.into(), tasks: receive.recv().expect("the thread runs"), _end: end }
    }

    /// Does something on this machine: sockets that it opens are this machine's.
    pub(crate) async fn within<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.tasks.spawn(task).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The same, and goes on meanwhile.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Runs `ip` on this machine.
    pub(crate) fn ip(&self, args: &str) -> String {
        let args: Vec<&str> = ["-n", &self.name].into_iter().chain(args.split_whitespace()).collect();
        call("ip", &args, "")
    }

    /// Runs a program on this machine.
    pub(crate) fn run(&self, program: &str, args: &[&str], input: &str) -> String {
        call("ip", &[&["netns", "exec", &self.name, program], args].concat(), input)
    }

    /// Adds rules of nftables.
    pub(crate) fn nft(&self, rules: &str) {
        self.run("nft", &["-f", "-"], rules);
    }

    /// Sets a value of the kernel's, such as `net.ipv4.ip_forward`.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.run("sysctl", &["-q", "-w", &format!("{key}={value}")], "");
    }

    /// The arguments to `ip` that run a program on this machine.
    pub(crate) fn exec<'a>(&'a self, program: &'a str, args: &[&'a str]) -> Vec<&'a str> {
        [&["netns", "exec", self.name.as_str(), program], args].concat()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The sandbox's end removes it otherwise.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A wire between two machines, one device at each end.
pub(crate) fn wire(a: (&Namespace, &str), b: (&Namespace, &str)) {
    let args =
        ["link", "add", a.1, "netns", &a.0.name, "type", "veth", "peer", "name", b.1, "netns", &b.0.name];
    call("ip", &args, "");
    a.0.ip(&format!("link set {} up", a.1));
    b.0.ip(&format!("link set {} up", b.1));
}

/// Runs a program to its end, which must be a good one; what it said.
pub(crate) fn call(program: &str, args: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("needs `{program}`: {error}"));
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())); // it may not want to read
    let output = child.wait_with_output().expect("it ends");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}
