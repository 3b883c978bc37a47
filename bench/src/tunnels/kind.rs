use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::daemon::{Daemon, pause};
use super::keys::{Keys, hexadecimal};
use super::lab::{Lab, Place};
use crate::measure::Outcome;

/// What carries the packets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// Nothing: the cable itself.
    Cable,
    /// wireguard-go, which everything is compared with.
    WireguardGo,
    /// boringtun-cli, where this machine has it.
    Boringtun,
    /// gotatun-cli, where this machine has it.
    Gotatun,
    /// The product's path alone, with all that a Linux device can do.
    Path,
    /// The same without offload on the device, as on phones.
    PathWithoutOffload,
}

/// A tunnel that stands.
pub(crate) struct Standing {
    /// The processes at A and B; none for the cable.
    pub(crate) daemons: Vec<Daemon>,
    /// Where B is reached.
    pub(crate) target: String,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Cable,
        Self::WireguardGo,
        Self::Boringtun,
        Self::Gotatun,
        Self::Path,
        Self::PathWithoutOffload,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cable => "cable",
            Self::WireguardGo => "wireguard-go",
            Self::Boringtun => "boringtun",
            Self::Gotatun => "gotatun",
            Self::Path => "path",
            Self::PathWithoutOffload => "path-no-offload",
        }
    }

    /// Those that are named, or all that this machine has.
    pub(crate) fn chosen(names: &[String]) -> Outcome<Vec<Self>> {
        if let Some(unknown) = names.iter().find(|name| Self::ALL.iter().all(|kind| kind.name() != **name)) {
            return Err(format!("`{unknown}` is none of: {}", Self::ALL.map(Self::name).join(", ")).into());
        }
        let is_chosen = |kind: &Self| {
            if names.is_empty() { kind.is_here() } else { names.iter().any(|name| name == kind.name()) }
        };
        Ok(Self::ALL.into_iter().filter(is_chosen).collect())
    }

    fn is_here(&self) -> bool {
        self.program().is_none_or(|(program, _)| find(program).is_some())
    }

    /// A program that speaks WireGuard's configuration protocol, and its arguments ahead of the interface.
    const fn program(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Cable | Self::Path | Self::PathWithoutOffload => None,
            Self::WireguardGo => Some(("wireguard-go", &["-f"])),
            Self::Boringtun => Some(("boringtun-cli", &["-f", "--disable-drop-privileges"])),
            Self::Gotatun => Some(("gotatun", &["-f", "--disable-drop-privileges"])),
        }
    }

    /// Starts it at both ends.
    pub(crate) fn start(self, lab: &Lab) -> Outcome<Standing> {
        let keys = Keys::new();
        let daemons = match self {
            Self::Cable => Vec::new(),
            Self::WireguardGo | Self::Boringtun | Self::Gotatun => {
                let daemons = Place::BOTH.map(|place| self.start_program(lab, place, &keys));
                daemons.into_iter().collect::<Outcome<_>>()?
            }
            Self::Path => start_path(lab, &keys, "on")?,
            Self::PathWithoutOffload => start_path(lab, &keys, "off")?,
        };
        let target = if self == Self::Cable { Place::B.cable() } else { Place::B.tunnel() };
        Ok(Standing { daemons, target: target.to_string() })
    }

    fn start_program(self, lab: &Lab, place: Place, keys: &Keys) -> Outcome<Daemon> {
        let (program, arguments) = self.program().ok_or("no program")?;
        let path = find(program).ok_or_else(|| format!("`{program}` is not on this machine"))?;
        let mut command = lab.command(place, &path.to_string_lossy());
        command.args(arguments).arg(place.interface());
        let mut daemon = Daemon::start(command)?;
        await_interface(lab, place, &mut daemon)?;
        let settings = env::temp_dir().join(format!("ztna-bench-{}.conf", place.interface()));
        std::fs::write(&settings, keys.settings(place))?;
        let mut configure = lab.command(place, "wg");
        configure.args(["setconf", place.interface()]).arg(&settings);
        // Its socket may come a moment after its interface.
        let mut attempts = 0..50;
        while !configure.stderr(Stdio::null()).status()?.success() {
            attempts.next().ok_or("`wg setconf` is refused")?;
            pause(MOMENT);
        }
        lab.ip(place, &["addr", "add", &format!("{}/32", place.tunnel()), "dev", place.interface()])?;
        lab.ip(place, &["link", "set", place.interface(), "mtu", MTU, "up"])?;
        route(lab, place)?;
        Ok(daemon)
    }
}

fn start_path(lab: &Lab, keys: &Keys, offload: &str) -> Outcome<Vec<Daemon>> {
    let program = env::current_exe()?;
    let mut daemons = Vec::new();
    for place in Place::BOTH {
        let other = place.other();
        let mut command = lab.command(place, &program.to_string_lossy());
        command
            .arg("end")
            .env("ROLE", if place == Place::A { "a" } else { "b" })
            .env("INTERFACE", place.interface())
            .env("OWN_TUNNEL_ADDRESS", place.tunnel().to_string())
            .env("PEER_TUNNEL_ADDRESS", other.tunnel().to_string())
            .env("PEER_ADDRESS", other.cable().to_string())
            .env("OWN_PORT", place.port().to_string())
            .env("PEER_PORT", other.port().to_string())
            .env("MTU", MTU)
            .env("PRIVATE_KEY", hexadecimal(keys.private(place)))
            .env("PEER_PUBLIC_KEY", hexadecimal(keys.public(other)))
            .env("OFFLOAD", offload);
        let mut daemon = Daemon::start(command)?;
        await_interface(lab, place, &mut daemon)?;
        route(lab, place)?;
        daemons.push(daemon);
    }
    Ok(daemons)
}

fn await_interface(lab: &Lab, place: Place, daemon: &mut Daemon) -> Outcome {
    for _ in 0..500 {
        daemon.lives()?;
        let path = format!("/sys/class/net/{}/mtu", place.interface());
        if lab.command(place, "cat").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success()
        {
            return Ok(());
        }
        pause(MOMENT);
    }
    Err("the interface never came".into())
}

/// Once the interface is up.
fn route(lab: &Lab, place: Place) -> Outcome {
    let to = place.other().tunnel().to_string();
    let mut attempts = 0..50;
    loop {
        let Err(cause) = lab.ip(place, &["route", "replace", &to, "dev", place.interface()]) else {
            return Ok(());
        };
        attempts.next().ok_or(cause)?;
        pause(MOMENT);
    }
}

/// Where a program is: in the tools of this tree, or on the path.
fn find(program: &str) -> Option<PathBuf> {
    let tools = env::var_os("BENCH_TOOLS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = tools.into_iter().chain(env::split_paths(&path).collect::<Vec<_>>());
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether there is what puts load on tunnels.
pub(crate) fn check_tools() -> Outcome {
    for (tool, package) in
        [("ip", "iproute2"), ("iperf3", "iperf3"), ("ping", "iputils-ping"), ("wg", "wireguard-tools")]
    {
        find(tool).ok_or_else(|| format!("`{tool}` is not on this machine: it is in Debian's {package}"))?;
    }
    let version = Command::new("iperf3").arg("--version").stdout(Stdio::null()).status()?;
    if version.success() { Ok(()) } else { Err("iperf3 does not run".into()) }
}

/// Inside every tunnel.
const MTU: &str = "1420";
const MOMENT: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_chosen_by_name() {
        let chosen =
            |names: &[&str]| Kind::chosen(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(chosen(&["path", "cable"]).unwrap(), [Kind::Cable, Kind::Path]);
        assert!(chosen(&["pathh"]).unwrap_err().to_string().contains("wireguard-go, "));
        assert!(chosen(&[]).unwrap().contains(&Kind::Path));
    }
}
