//! Recorded leases, each named by what must come of it, and recorded frames that must do no harm.
//!
//! The keys that signed them are gone: `keys.jws` is what the broker showed, `root.txt` what the gateway had pinned.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use ztna_api::gateway::{FromGateway, LeaseError, Offered, ToGateway, Welcome};
use ztna_api::wire;

use super::site::{INCARNATION, RUN, Site, gate};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/gate")
}

fn recorded(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of the files in `below` that end in `ending`, without it.
fn names(below: &str, ending: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder().join(below)).unwrap().map(|file| file.unwrap().file_name());
    let names = files.map(|name| name.into_string().unwrap());
    names.filter_map(|name| Some(name.strip_suffix(ending)?.to_owned())).collect()
}

/// The site at which all was recorded: session 3 has been decided anew, and session 1 holds the first lease.
fn site(most_leases: usize) -> Site {
    let mut site = Site::unwelcomed(0);
    site.gate = gate(recorded("root.txt").trim().parse().unwrap(), RUN, most_leases);
    let keys = recorded("keys.jws");
    site.hear(Welcome { version: 1, gateway: "gw-1".parse().unwrap(), incarnation: INCARNATION, keys });
    assert_eq!(site.refused_keys, 0);
    site.floor(3, 2);
    assert_eq!(offer(&mut site, recorded("held-first.jws")), Ok(()));
    site.told.clear();
    site
}

fn offer(site: &mut Site, lease: String) -> Result<(), LeaseError> {
    site.told.clear();
    site.hear(Offered { lease, carriers: vec![] });
    match &site.told[..] {
        [FromGateway::Held(_)] => Ok(()),
        [FromGateway::Declined(declined)] => Err(declined.code),
        other => panic!("{other:?}"),
    }
}

/// What the name of a file says must come of it.
fn expected(name: &str) -> Result<(), LeaseError> {
    if name.starts_with("held-") {
        return Ok(());
    }
    let code = LeaseError::ALL.iter().find(|code| name.starts_with(wire::write(code).trim_matches('"')));
    Err(*code.unwrap_or_else(|| panic!("{name} is named by no error")))
}

#[test]
fn recorded_leases_are_taken_or_refused_as_their_names_say() {
    let mut seen = BTreeSet::new();
    for name in names("", ".jws").into_iter().filter(|name| name != "keys") {
        let most_leases = if name.starts_with("too-many") { 1 } else { 10 };
        let outcome = offer(&mut site(most_leases), recorded(&format!("{name}.jws")));
        assert_eq!(outcome, expected(&name), "{name}");
        seen.extend(outcome.err());
    }
    assert_eq!(seen, LeaseError::ALL.iter().copied().collect(), "every refusal has an example");
}

#[test]
fn c02_not_one_character_of_a_lease_can_be_another() {
    let lease = recorded("held-prefix.jws");
    let mut site = site(10);
    for at in 0..lease.len() {
        let other = if lease.get(at..=at) == Some("A") { "B" } else { "A" };
        let mut changed = lease.clone();
        changed.replace_range(at..=at, other);
        assert!(offer(&mut site, changed).is_err(), "character {at}");
    }
    assert_eq!(offer(&mut site, lease), Ok(()));
}

#[test]
fn recorded_frames_take_nothing_that_is_not_signed_and_leave_nothing_behind() {
    let names = names("frames", ".json");
    assert!(!names.is_empty());
    for name in names {
        let mut site = site(10);
        let before = site.leases();
        let frame = ToGateway::read(recorded(&format!("frames/{name}.json")).as_bytes())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        site.hear(frame);
        let after = site.leases();
        assert!(after.iter().all(|lease| before.contains(lease)), "{name}: nothing was taken");
        let gone: Vec<_> = before.into_iter().filter(|lease| !after.contains(lease)).collect();
        let ended: Vec<_> = site.ended().into_iter().map(|(lease, _)| lease).collect();
        assert_eq!(gone, ended, "{name}: every end is told");
        assert_eq!(site.gate.datapath.tunnel.peers().count(), after.len(), "{name}: no lease, no peer");
        assert_eq!(name.starts_with("ends-"), after.is_empty(), "{name}");
        assert!(site.gate.next_wake().is_none_or(|wake| wake > site.now), "{name}");
    }
}
