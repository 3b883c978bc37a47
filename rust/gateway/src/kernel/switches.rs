use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::firewall::Family;

/// A setting of the kernel's that is another for as long as it forwards for us.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Switch {
    /// Below `/proc/sys/net`.
    name: String,
    before: String,
    /// What we set it to; nothing where a general switch moves it along.
    after: Option<String>,
}

/// Why a setting of the kernel's stays as it is.
#[derive(Debug, Error)]
#[error("the kernel's setting `net/{name}`: {cause}")]
pub struct SwitchError {
    name: String,
    cause: io::Error,
}

/// What is to be switched so that the kernel forwards both families.
pub(super) fn wanted() -> Vec<Switch> {
    [wanted_v4(), wanted_v6()].concat()
}

/// The families that nobody has the machine forward yet.
pub(super) fn not_forwarded() -> Vec<Family> {
    let off = |name, family| (read(name).as_deref() == Some("0")).then_some(family);
    [off(FORWARD_V4, Family::V4), off(FORWARD_V6, Family::V6)].into_iter().flatten().collect()
}

/// Switches.
pub(super) fn switch(switches: &[Switch]) -> Result<(), SwitchError> {
    for Switch { name, after, .. } in switches {
        let Some(after) = after else { continue };
        write(name, after).map_err(|cause| SwitchError { name: name.clone(), cause })?;
    }
    Ok(())
}

/// Puts everything back. A general switch stands ahead of what it moves along.
pub(super) fn put_back(switches: &[Switch]) {
    let mut is_ours = false;
    for Switch { name, before, after } in switches {
        // What somebody else has set meanwhile is theirs, and so is what goes with it.
        if let Some(after) = after {
            is_ours = read(name).is_some_and(|now| now == *after);
        }
        if !is_ours {
            continue;
        }
        // A device may be gone.
        if let Err(cause) = write(name, before) {
            tracing::debug!(%cause, name, "a setting of the kernel's is not put back");
        }
    }
}

/// What has to change for IPv4. The general switch moves those of all devices, and one more.
fn wanted_v4() -> Vec<Switch> {
    if read(FORWARD_V4).as_deref() != Some("0") {
        return Vec::new();
    }
    let general = change(FORWARD_V4.to_owned(), "0", "1");
    let moved = devices("ipv4").map(|device| format!("ipv4/conf/{device}/forwarding"));
    let moved = moved.chain(["ipv4/conf/all/accept_redirects".to_owned()]).filter_map(as_it_is);
    [general].into_iter().chain(moved).collect()
}

/// What has to change for IPv6: a machine that forwards no longer listens to routers, unless it is told to.
fn wanted_v6() -> Vec<Switch> {
    if read(FORWARD_V6).as_deref() != Some("0") {
        return Vec::new();
    }
    let listens = |device: String| {
        let name = format!("ipv6/conf/{device}/accept_ra");
        (read(&name)? == "1").then(|| change(name, "1", "2"))
    };
    let listening: Vec<Switch> = devices("ipv6").filter_map(listens).collect();
    let moved: Vec<Switch> =
        devices("ipv6").map(|device| format!("ipv6/conf/{device}/forwarding")).filter_map(as_it_is).collect();
    let general = change(FORWARD_V6.to_owned(), "0", "1");
    [listening, vec![general], moved].concat()
}

/// A setting that the general switch moves, to be found as it is at present.
fn as_it_is(name: String) -> Option<Switch> {
    let before = read(&name)?;
    Some(Switch { name, before, after: None })
}

fn change(name: String, before: &str, after: &str) -> Switch {
    Switch { name, before: before.to_owned(), after: Some(after.to_owned()) }
}

fn devices(family: &str) -> impl Iterator<Item = String> {
    let found = fs::read_dir(Path::new(SYSCTL).join(family).join("conf"));
    let names = found.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name != "all")
}

fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new(SYSCTL).join(name), value)
}

fn read(name: &str) -> Option<String> {
    Some(fs::read_to_string(Path::new(SYSCTL).join(name)).ok()?.trim().to_owned())
}

const SYSCTL: &str = "/proc/sys/net";
const FORWARD_V4: &str = "ipv4/ip_forward";
const FORWARD_V6: &str = "ipv6/conf/all/forwarding";
