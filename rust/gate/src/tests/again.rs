//! The same lease id again: what may change, what may not, and what goes on undisturbed.

use ztna_api::gateway::LeaseError;
use ztna_model::Epoch;

use super::changes::*;
use super::draft::named;
use super::refusals::{Row, check};
use super::site::Device;
use LeaseError::*;

pub(super) const AGAIN: &[Row] = &[
    ("the very same", |site, draft| site.offer(draft).unwrap(), Ok(())),
    ("later", |site, draft| again(site, draft, |draft| draft.lease.at += 1_000), Ok(())),
    ("longer", |site, draft| again(site, draft, |draft| draft.lease.ttl = 300_000), Ok(())),
    ("shorter", |site, draft| again(site, draft, |draft| draft.lease.ttl = 30_000), Ok(())),
    (
        "by another decision",
        |site, draft| again(site, draft, |draft| draft.lease.decision.0 = [2; 16]),
        Ok(()),
    ),
    ("of a higher epoch", |site, draft| again(site, draft, |draft| draft.lease.epoch = Epoch(2)), Ok(())),
    (
        "of a lower epoch",
        |site, draft| again(site, draft, |draft| draft.lease.epoch = Epoch(0)),
        Err(NotTheSame),
    ),
    (
        "of another session",
        |site, draft| again(site, draft, |draft| draft.lease.sid.0 = [2; 16]),
        Err(NotTheSame),
    ),
    (
        "of another device key",
        |site, draft| again(site, draft, |draft| draft.lease.jkt.0 = [2; 32]),
        Err(NotTheSame),
    ),
    (
        "of another person",
        |site, draft| again(site, draft, |draft| draft.lease.person.0 = [2; 16]),
        Err(NotTheSame),
    ),
    (
        "of another device",
        |site, draft| again(site, draft, |draft| draft.lease.device.0 = [2; 16]),
        Err(NotTheSame),
    ),
    ("of another WireGuard key", |site, draft| again(site, draft, another_key), Err(NotTheSame)),
    (
        "under another statement",
        |site, draft| again(site, draft, |draft| draft.state(&Device::new(1).key)),
        Err(NotTheSame),
    ),
    ("for another resource", |site, draft| again(site, draft, other_resource), Err(NotTheSame)),
    ("for another protocol", |site, draft| again(site, draft, other_protocol), Err(NotTheSame)),
    (
        "for more ports",
        |site, draft| again(site, draft, |draft| draft.lease.rule.ports = "*".parse().unwrap()),
        Err(NotTheSame),
    ),
    (
        "for another name",
        |site, draft| again(site, draft, |draft| draft.lease.rule.covers = named("x.demo", 1)),
        Err(NotTheSame),
    ),
    (
        "at another stand-in",
        |site, draft| again(site, draft, |draft| draft.lease.rule.covers = named("app-1.demo", 2)),
        Err(NotTheSame),
    ),
    (
        "to another target",
        |site, draft| again(site, draft, |draft| aim(draft, "10.0.0.1:80")),
        Err(NotTheSame),
    ),
    (
        "with more flows",
        |site, draft| again(site, draft, |draft| draft.lease.limits.flows += 1),
        Err(NotTheSame),
    ),
    (
        "with less silence",
        |site, draft| again(site, draft, |draft| draft.lease.limits.silence = 1),
        Err(NotTheSame),
    ),
    ("when there is no more room", |site, draft| (again(site, draft, |_| {}), fill(site, 2)).1, Ok(())),
    ("below the floor", |site, draft| (site.offer(draft).unwrap(), site.floor(1, 2)).1, Err(BelowFloor)),
];

#[test]
fn p5_3_the_same_id_again_replaces_what_may_change_and_nothing_else() {
    check(AGAIN);
}
