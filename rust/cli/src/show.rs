//! How the connector stands, in words.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use ztna_connector::plane::PeerStatus;
use ztna_connector::status::{ProxyStatus, Status};
use ztna_connector::system::{Applied, Clash, DnsPath};
use ztna_connector::{Snapshot, State, posture};
use ztna_model::{Address, Decision, DenyReason, Visible};
use ztna_net::clock::Clock;

use crate::plain::plain;
use crate::table::Table;

/// Where local applications connect.
pub(crate) fn proxy(proxy: &ProxyStatus, json: bool) {
    if json {
        return print_json(proxy);
    }
    let address = proxy.address;
    println!("Applications reach your work through {address}, by SOCKS5 or HTTP, with this run's password:");
    if io::stdout().is_terminal() {
        println!("  {}", export(proxy));
    } else {
        println!("  openztna status on a terminal shows it."); // and a journal that others may read does not
    }
}

/// What a person pastes into a shell.
fn export(proxy: &ProxyStatus) -> String {
    let ProxyStatus { address, password } = proxy;
    format!("export ALL_PROXY=socks5h://openztna:{password}@{address}")
}

/// A state that has just been reached, in a line.
pub(crate) fn state(snapshot: &Snapshot, json: bool) {
    if json {
        print_json(snapshot);
    } else {
        println!("{}", sentence(snapshot));
    }
}

/// Everything.
pub(crate) fn status(status: &Status, json: bool) {
    if json {
        return print_json(status);
    }
    println!("{}", sentence(&status.snapshot));
    if !matches!(status.snapshot.state, State::SignedOut { .. } | State::SigningIn) {
        resources(&status.snapshot.resources);
    }
    status.plane.peers.iter().for_each(|peer| println!("{}", gateway(peer)));
    println!("datagrams: {}", status.plane.offload);
    match (&status.plane.tun, &status.system) {
        (None, _) => println!("applications: by the local proxy alone"),
        (Some(tun), applied) => {
            let name = tun.name.as_deref().unwrap_or("given by its descriptor");
            println!("applications: by the TUN device {name}, {}", tun.path);
            applied.iter().for_each(network);
        }
    }
    if io::stdout().is_terminal() {
        println!("proxy: {}", export(&status.proxy));
    } else {
        println!("proxy: {}", status.proxy.address);
    }
}

/// What of this machine's network leads into the tunnel, and what does not and should.
fn network(applied: &Applied) {
    println!("names: {}", names(&applied.dns));
    for Clash { granted, own, device } in &applied.clashes {
        println!(
            "{granted} is also this machine's own network {own} ({device}), which keeps it: use the application's name"
        );
    }
    for prefix in &applied.refused {
        println!("{prefix} does not go through the tunnel: no organisation can ask for that");
    }
    for bypass in &applied.bypasses {
        println!("{bypass}. What helps: {}", bypass.remedy());
    }
}

fn names(path: &DnsPath) -> String {
    match path {
        DnsPath::Idle => "none that anything stands behind".into(),
        DnsPath::Resolved => "systemd-resolved asks the tunnel for your organisation's".into(),
        DnsPath::Resolvconf => "all questions come here, by resolvconf; others' are handed on".into(),
        DnsPath::ResolvConf => "all questions come here, by /etc/resolv.conf; others' are handed on".into(),
        DnsPath::Failed { why } => format!("applications cannot find them: {why}. The local proxy can"),
    }
}

fn gateway(peer: &PeerStatus) -> String {
    let PeerStatus { gateway, rx_bytes, tx_bytes, .. } = peer;
    let heard = match peer.heard_age {
        None if tx_bytes == &0 => "not needed yet".to_owned(),
        None => "never heard".to_owned(),
        Some(age) => format!("heard {} s ago", age / 1_000),
    };
    let silent = if peer.silent { ". It does not answer: is UDP to it let through?" } else { "" };
    format!("gateway {gateway}: {heard}, {rx_bytes} B in, {tx_bytes} B out{silent}")
}

/// The device's facts, each with its source, tier and age, and what to do about those that fail.
pub(crate) fn posture(snapshot: &Snapshot, json: bool) {
    if json {
        return print_json(&snapshot.facts);
    }
    if snapshot.facts_are_preview {
        println!("The organisation has not graded these yet; this is how they look from here.");
    }
    let now = Clock.wall();
    let mut table = Table::new(&["fact", "state", "value", "tier", "age", "source"]);
    for fact in &snapshot.facts {
        let value = fact.value.as_ref().map(ToString::to_string).unwrap_or_default();
        let simulated = if fact.simulated { " (simulated)" } else { "" };
        table.row([
            posture::title(fact.kind).to_owned(),
            fact.state.to_string(),
            value,
            u8::from(fact.tier).to_string(),
            age(now.since(fact.as_of)),
            format!("{}{simulated}", fact.source),
        ]);
    }
    table.print("Nothing is known about this device yet.");
    for fact in &snapshot.facts {
        let Some(advice) = posture::fix(fact.kind, fact.state) else { continue };
        println!("\n{}: {}", posture::title(fact.kind), advice.sentence);
        if !fact.why.is_empty() {
            println!("  {}", plain(&fact.why));
        }
        advice.steps.iter().for_each(|step| println!("  {step}"));
    }
}

fn resources(resources: &[Visible]) {
    let mut table = Table::new(&["application", "address", "access"]);
    for visible in resources {
        let address = match &visible.address {
            Address::Name(pattern) => pattern.to_string(),
            Address::Prefix(prefix) => prefix.to_string(),
        };
        let access = match &visible.decision {
            Decision::Granted => "open".into(),
            Decision::Denied { reason, .. } => format!("denied: {reason}"),
            Decision::StepUp { .. } => "after a fresher sign-in".into(),
            Decision::Pending { .. } => "once somebody has approved".into(),
        };
        table.row([visible.title.clone(), address, access]);
    }
    table.print("There is no application that you may know of.");
}

/// How long ago something was, to two digits at most.
fn age(span: Duration) -> String {
    match span.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// The state in one sentence.
fn sentence(snapshot: &Snapshot) -> String {
    let who = plain(snapshot.person.as_deref().unwrap_or("you"));
    let org = snapshot.title.as_deref().filter(|title| !title.is_empty()).unwrap_or("the organisation");
    let org = plain(org);
    match &snapshot.state {
        State::SignedOut { .. } => "Signed out.".into(),
        State::SigningIn => "Signing in: waiting for your browser.".into(),
        State::AwaitingAdmission { code } => {
            format!("This device waits to be admitted. Tell whoever does it this code: {}", plain(code))
        }
        State::CheckingDevice => "Checking this device.".into(),
        State::Connecting => format!("Connecting to {org}."),
        State::Connected => format!("Connected to {org} as {who}."),
        State::Reconnecting => {
            format!("Reconnecting to {org}. What is open stays open while its leases last.")
        }
        State::NeedsAttention => {
            format!("Connected to {org}, and nothing is open: {}.", why_nothing_is_open(&snapshot.resources))
        }
        State::Unreachable => format!("{org} cannot be reached: access is paused."),
        State::Asleep => format!("{org} is asleep until it is needed."),
        State::Off => format!("Signed in to {org}. The tunnel is off."),
    }
}

/// What stands in the way of everything, if that is one thing.
fn why_nothing_is_open(resources: &[Visible]) -> String {
    let reasons = resources.iter().map(|visible| match &visible.decision {
        Decision::Denied { reason, .. } => Some(*reason),
        Decision::Granted | Decision::StepUp { .. } | Decision::Pending { .. } => None,
    });
    let reasons: BTreeSet<_> = reasons.collect();
    match reasons.iter().collect::<Vec<_>>().as_slice() {
        [] => "there is no application that you may know of".into(),
        [Some(reason @ (DenyReason::DeviceUnfit | DenyReason::DeviceUnproven))] => {
            format!("{reason}; `openztna posture` shows it")
        }
        [Some(reason)] => reason.to_string(),
        _ => "`openztna status` says why for each application, `openztna posture` what this device shows"
            .into(),
    }
}

fn print_json(value: &impl serde::Serialize) {
    // Plain data always has a JSON form.
    println!("{}", serde_json::to_string(value).unwrap_or_default());
}
