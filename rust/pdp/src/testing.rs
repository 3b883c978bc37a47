//! A store, devices and gateways for this crate's tests: everything a [`Pdp`] talks to, in one process.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ztna_api::admin::{AdminError, Answer, HoldTarget, Op, Revoked, Settings};
use ztna_api::key;
use ztna_api::keyset::{Key as KeyRow, KeySet, KeyState, KeyUse};
use ztna_model::{Carrier, OrgId, Random, RunId, Signer, Time};
use ztna_net::keys::{Ed25519Key, P256Key};

use crate::audit::{Entry, Event};
use crate::rows::{Row, Rows};
use crate::{
    Admin, Alarm, Batch, BatchId, Claim, ClaimKind, Input, Issuer, Keys, NotCommitted, Now, Output, Pdp,
    RequestId, StreamId, Trust,
};

mod acme; // an organisation to decide for
pub(crate) use acme::{ISSUER, PAYROLL, START, WIKI, person, reading, resource};

mod client; // a device that follows the protocol
pub(crate) use client::Device;

mod gate; // a gateway that does what it is told
pub(crate) use gate::Gate;

pub(crate) fn org() -> OrgId {
    "https://acme.example".parse().unwrap()
}

pub(crate) fn p256() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap()
}

/// Bytes that are never the same twice, and the same in every run.
pub(crate) struct Counter(pub(crate) u64);

impl Random for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            self.0 += 1;
            let hash = key::sha256(&self.0.to_be_bytes());
            chunk.copy_from_slice(&hash[..chunk.len()]);
        }
    }
}

/// What the driver does with batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Store {
    /// Takes them at once.
    Up,
    /// Lets them wait until [`Bench::flush`].
    Slow,
    /// Takes none.
    Down,
}

/// A [`Pdp`] and all it talks to.
pub(crate) struct Bench {
    pub(crate) pdp: Pdp,
    pub(crate) now: Now,
    pub(crate) store: Store,
    pub(crate) claims: BTreeSet<(ClaimKind, String)>,
    pub(crate) stored: Rows,
    pub(crate) audit: Vec<Entry>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) outputs: Vec<Output>,
    /// Gateways that beat when they are asked to while time passes.
    pub(crate) beating: BTreeMap<StreamId, RunId>,
    waiting: Vec<Batch>,
    next: u64,
    keyset: KeySet,
}

impl Bench {
    /// Ana and Bo are staff; the wiki is open to them, payroll to those with an encrypted disk, the ledger to nobody.
    pub(crate) fn new() -> (Self, Gate) {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Rows)) -> (Self, Gate) {
        let key = p256();
        let mut rows = acme::rows(key.public_key());
        change(&mut rows);
        let mut bench = Self::start(rows, Now { boot: Time::ZERO + Duration::from_secs(1_000), wall: START });
        let gate = bench.gate("gw-1", key);
        (bench, gate)
    }

    pub(crate) fn start(rows: Rows, now: Now) -> Self {
        let lease = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        let row = KeyRow {
            usage: KeyUse::Lease,
            state: KeyState::Current,
            jwk: lease.public_key(),
            certificate: None,
        };
        let keyset = KeySet { org: org(), seq: 1, keys: vec![row] };
        let keys = Keys {
            lease: Box::new(lease),
            nonce: ztna_model::Secret::new([7; 32]),
            keyset: "keys".into(),
            root: ztna_model::RootHash([3; 32]),
        };
        let issuer = Issuer {
            identifier: ISSUER.into(),
            client_id: "openztna".into(),
            domains: vec!["acme.example".into()],
        };
        let trust = Trust { org: org(), issuers: vec![issuer] };
        let stored = rows.clone();
        let seed = now.boot.as_nanos();
        let pdp = Pdp::new(trust, rows, keys, Box::new(Counter(seed)), now).unwrap();
        let mut bench = Self {
            pdp,
            now,
            store: Store::Up,
            claims: BTreeSet::new(),
            stored,
            audit: Vec::new(),
            alarms: Vec::new(),
            outputs: Vec::new(),
            beating: BTreeMap::new(),
            waiting: Vec::new(),
            next: 0,
            keyset,
        };
        bench.drain();
        bench
    }

    /// The broker is killed, and starts again on what its store holds.
    pub(crate) fn restart(&mut self) {
        let mut after = Self::start(self.stored.clone(), self.now);
        after.claims = std::mem::take(&mut self.claims);
        let audit = std::mem::take(&mut self.audit);
        after.audit = audit.into_iter().chain(std::mem::take(&mut after.audit)).collect();
        after.next = self.next;
        *self = after;
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.pdp.handle(input, self.now);
        self.drain();
    }

    /// Time passes; timers ring on the way.
    pub(crate) fn after(&mut self, span: Duration) {
        let end = self.now.boot + span;
        while let Some(wake) = self.pdp.next_wake().filter(|wake| *wake <= end) {
            self.go_to(wake);
            self.handle(Input::Woken);
            self.gates_beat();
        }
        self.go_to(end);
        self.handle(Input::Woken);
        self.gates_beat();
    }

    fn go_to(&mut self, boot: Time) {
        let step = boot.since(self.now.boot);
        self.now = Now { boot: self.now.boot + step, wall: self.now.wall + step };
    }

    fn drain(&mut self) {
        while let Some(output) = self.pdp.poll() {
            match output {
                Output::Commit(batch) => self.take(batch),
                Output::Alarm(alarm) => self.alarms.push(alarm),
                output => self.outputs.push(output),
            }
        }
    }

    fn take(&mut self, batch: Batch) {
        match self.store {
            Store::Slow => self.waiting.push(batch),
            Store::Up => self.write(&batch),
            Store::Down => {
                self.pdp.handle(Input::NotCommitted(batch.id, NotCommitted::StoreDown), self.now);
            }
        }
    }

    /// The slow store takes what waits, in order.
    pub(crate) fn flush(&mut self) {
        while !self.waiting.is_empty() {
            for batch in std::mem::take(&mut self.waiting) {
                self.write(&batch);
            }
            self.drain();
        }
    }

    fn write(&mut self, batch: &Batch) {
        let key = |claim: &Claim| (claim.kind, claim.id.clone());
        let answer = match batch.claims.iter().find(|claim| self.claims.contains(&key(claim))) {
            Some(claim) => Input::NotCommitted(batch.id, NotCommitted::AlreadyClaimed(claim.clone())),
            None => {
                self.claims.extend(batch.claims.iter().map(key));
                for write in &batch.writes {
                    // What cannot be read back would be lost at the next start.
                    if let crate::rows::Write::Put(row) = write {
                        assert_eq!(&Row::read(row.key().table(), &row.document()).unwrap(), row);
                    }
                    self.stored.apply(write);
                }
                self.audit.extend(batch.audit.iter().cloned());
                Input::Committed(BatchId(batch.id.0))
            }
        };
        self.pdp.handle(answer, self.now);
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn events(&self) -> Vec<&Event> {
        self.audit.iter().map(|entry| &entry.record.event).collect()
    }

    pub(crate) fn find<T>(&mut self, mut pick: impl FnMut(&Output) -> Option<T>) -> Option<T> {
        let (n, found) = self.outputs.iter().enumerate().find_map(|(n, output)| Some((n, pick(output)?)))?;
        self.outputs.remove(n);
        Some(found)
    }

    pub(crate) fn admin(&mut self, op: Op) -> Result<Answer, AdminError> {
        let request = RequestId(self.number());
        self.handle(Input::Admin(Admin { request, uid: 0, op }));
        self.admin_answer(request).expect("an answer")
    }

    pub(crate) fn admin_answer(&mut self, wanted: RequestId) -> Option<Result<Answer, AdminError>> {
        self.find(|output| match output {
            Output::Admin(request, answer) if *request == wanted => Some(answer.clone()),
            _ => None,
        })
    }

    pub(crate) fn settings(&mut self, change: impl FnOnce(&mut Settings)) {
        let Ok(Answer::Settings { mut settings }) = self.admin(Op::Settings {}) else {
            panic!("no settings")
        };
        change(&mut settings);
        self.admin(Op::SettingsPut { settings }).unwrap();
    }

    pub(crate) fn policy(&mut self, id: &str, text: &str) {
        self.admin(Op::PolicyPut { policy: id.parse().unwrap(), text: text.into() }).unwrap();
    }

    pub(crate) fn hold(&mut self, target: HoldTarget) -> Revoked {
        match self.admin(Op::HoldPlace { target, reason: "a test".into(), until: None }) {
            Ok(Answer::Revoked(revoked)) => revoked,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn carrier() -> Carrier {
    Carrier::Udp("192.0.2.9:40000".parse().unwrap())
}
