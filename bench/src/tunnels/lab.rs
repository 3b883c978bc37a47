use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use ztna_model::{Inner, Synthetic};

use crate::measure::Outcome;

/// Two network namespaces and a veth pair between them, MTU 1500. They go with it.
pub(crate) struct Lab(());

/// One of the two ends. Connections are opened at `A`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    A,
    B,
}

impl Place {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its address on the cable.
    pub(crate) const fn cable(self) -> Ipv4Addr {
        match self {
            Self::A => Ipv4Addr::new(10, 77, 0, 1),
            Self::B => Ipv4Addr::new(10, 77, 0, 2),
        }
    }

    /// Its address inside a tunnel: a device's own, and that of a resource.
    pub(crate) const fn tunnel(self) -> Ipv4Addr {
        match self {
            Self::A => Inner::DEVICE.v4,
            Self::B => Synthetic::from_index(7).v4,
        }
    }

    /// The name of its tunnel's interface.
    pub(crate) const fn interface(self) -> &'static str {
        match self {
            Self::A => "tuna",
            Self::B => "tunb",
        }
    }

    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::A => 51_820,
            Self::B => 51_821,
        }
    }

    const fn namespace(self) -> &'static str {
        match self {
            Self::A => "ztna-bench-a",
            Self::B => "ztna-bench-b",
        }
    }

    const fn veth(self) -> &'static str {
        match self {
            Self::A => "ztna-veth-a",
            Self::B => "ztna-veth-b",
        }
    }
}

impl Lab {
    /// Builds it, in place of one that an interrupted run has left.
    pub(crate) fn build() -> Outcome<Self> {
        tear_down();
        let lab = Self(());
        for place in Place::BOTH {
            ip(&["netns", "add", place.namespace()])
                .map_err(|cause| format!("needs root, and `ip` of iproute2: {cause}"))?;
        }
        let [a, b] = Place::BOTH;
        let ends =
            [a.veth(), "netns", a.namespace(), "type", "veth", "peer", b.veth(), "netns", b.namespace()];
        ip(&[&["link", "add"][..], &ends].concat())?;
        for place in Place::BOTH {
            lab.ip(place, &["addr", "add", &format!("{}/24", place.cable()), "dev", place.veth()])?;
            lab.ip(place, &["link", "set", place.veth(), "up"])?;
            lab.ip(place, &["link", "set", "lo", "up"])?;
        }
        Ok(lab)
    }

    /// A program at one end.
    pub(crate) fn command(&self, place: Place, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", place.namespace(), program]);
        command
    }

    /// `ip` at one end.
    pub(crate) fn ip(&self, place: Place, words: &[&str]) -> Outcome {
        ip(&[&["-n", place.namespace()], words].concat())
    }

    /// UDP datagrams that have left one end. What the machines say on the cable by themselves is not among them.
    pub(crate) fn datagrams_sent(&self, place: Place) -> Outcome<u64> {
        let output = self.command(place, "cat").arg("/proc/net/snmp").output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, values) = lines.next().zip(lines.next()).ok_or("an unknown form of /proc/net/snmp")?;
        let found = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "OutDatagrams");
        Ok(found.ok_or("no count of datagrams")?.1.parse()?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        tear_down();
    }
}

fn tear_down() {
    for place in Place::BOTH {
        // It may not be there.
        let _ = Command::new("ip").args(["netns", "del", place.namespace()]).stderr(Stdio::null()).status();
    }
}

fn ip(words: &[&str]) -> Outcome {
    let output = Command::new("ip").args(words).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
}
