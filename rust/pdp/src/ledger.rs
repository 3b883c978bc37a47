use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ztna_model::{PersonId, WallTime, secs};

use crate::audit::{By, Draft, Entry, Event};
use crate::batch::{Batch, BatchId, Claim, ClaimKind, NotCommitted};
use crate::input::Input;
use crate::output::{Alarm, Output};
use crate::pdp::Pdp;
use crate::review::Affected;
use crate::rows::{Key, Row, Write};
use crate::timers::Timer;

/// Which changes are on their way to the store, and what waits for them.
///
/// There are two kinds of change. One that may give somebody more is *proposed*: it waits for the store, and
/// everything that follows from it waits, too. One that takes something away is *enforced*: it is in force at once,
/// whatever the store says, and is tried again until it is written.
///
/// INVARIANT: rows of the image hold nothing that the store may yet refuse, but for what was taken away. So a change
/// that is refused leaves nothing to undo.
#[derive(Default)]
pub(crate) struct Ledger {
    next: u64,
    flights: BTreeMap<BatchId, Flight>,
    queues: BTreeMap<Lock, VecDeque<Input>>,
    claims: BTreeMap<(ClaimKind, String), WallTime>,
    dirty: BTreeSet<Key>,
    unwritten: Vec<Entry>,
    down: bool,
}

/// A batch on its way.
struct Flight {
    lock: Option<Lock>,
    change: Change,
    then: Then,
    urgent: bool,
    overtaken: bool,
    /// Rows that were restrained while they were on their way.
    again: BTreeSet<Key>,
}

impl Flight {
    fn new(lock: Option<Lock>, change: Change, urgent: bool, then: Then) -> Self {
        Self { lock, change, then, urgent, overtaken: false, again: BTreeSet::new() }
    }

    /// Takes away from this change what `tighter` takes away.
    fn restrain(&mut self, tighter: &Write) {
        let key = tighter.key();
        let Some(at) = self.change.writes.iter().position(|write| write.key() == key) else { return };
        let restrained = match (self.change.writes.get(at), tighter) {
            (Some(Write::Put(row)), Write::Put(tighter)) => row.restrained_by(tighter),
            (_, Write::Put(_) | Write::Delete(_)) => None,
        };
        self.change.writes.retain(|write| write.key() != key);
        match restrained {
            Some(row) => {
                self.change.writes.push(Write::Put(row));
                self.again.insert(key);
            }
            None => self.overtaken = true,
        }
    }
}

/// What follows once the store has answered.
type Then = Box<dyn FnOnce(&mut Pdp, Outcome) + Send>;

/// What became of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is written.
    Written,
    /// It is written, and a row of it was taken away meanwhile.
    Overtaken,
    /// It is not: somebody was there before.
    Claimed(ClaimKind),
    /// It is not: the store takes no writes. What was enforced is in force all the same.
    StoreDown,
}

impl Outcome {
    pub(crate) const fn is_written(self) -> bool {
        matches!(self, Self::Written | Self::Overtaken)
    }
}

/// Whose changes go one after the other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lock {
    /// Everything about one person.
    Person(PersonId),
    /// What administrators configure.
    Configuration,
}

/// What a batch will hold.
#[derive(Clone, Default, Debug)]
pub(crate) struct Change {
    pub(crate) claims: Vec<Claim>,
    pub(crate) writes: Vec<Write>,
    pub(crate) audit: Vec<Entry>,
}

impl Change {
    pub(crate) fn put(&mut self, row: impl Into<Row>) {
        self.writes.push(Write::put(row));
    }

    pub(crate) fn delete(&mut self, key: Key) {
        self.writes.push(Write::Delete(key));
    }

    pub(crate) fn claim(&mut self, kind: ClaimKind, id: impl Into<String>, until: WallTime) {
        self.claims.push(Claim { kind, id: id.into(), until });
    }

    const fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.writes.is_empty() && self.audit.is_empty()
    }
}

impl Pdp {
    /// Proposes a change; `then` follows when the store has answered. Other inputs under the same lock wait so long.
    pub(crate) fn propose(
        &mut self,
        lock: Option<Lock>,
        change: Change,
        then: impl FnOnce(&mut Self, Outcome) + Send + 'static,
    ) {
        for claim in &change.claims {
            self.ledger.claims.insert((claim.kind, claim.id.clone()), claim.until);
        }
        self.send(Flight::new(lock, change, false, Box::new(then)));
    }

    /// Brings a change about at once: rows, decisions and floors first, the store after. `then` follows when the store
    /// has answered.
    pub(crate) fn enforce(&mut self, change: Change, then: impl FnOnce(&mut Self, Outcome) + Send + 'static) {
        let mut change = change;
        let affected = self.overtake(&change.writes.clone());
        self.review(affected, &mut change);
        self.send(Flight::new(None, change, true, Box::new(then)));
    }

    /// Writes something down that nothing waits for.
    pub(crate) fn note(&mut self, by: By, event: Event) {
        let entry = self.entry(by, event);
        self.record(entry);
    }

    /// Writes an entry down that nothing waits for.
    pub(crate) fn record(&mut self, entry: Entry) {
        let change = Change { audit: vec![entry], ..Change::default() };
        self.send(Flight::new(None, change, true, Box::new(|_, _| ())));
    }

    /// An entry that commits to no personal text.
    pub(crate) fn entry(&mut self, by: By, event: Event) -> Entry {
        Draft::new(&mut *self.random).entry(self.clock.wall(), by, event)
    }

    /// Whether somebody was there before, as far as is known here. The store has the last word.
    pub(crate) fn is_claimed(&self, kind: ClaimKind, id: &str) -> bool {
        self.ledger.claims.contains_key(&(kind, id.to_owned()))
    }

    /// Whether the store took the last write.
    pub(crate) const fn store_is_up(&self) -> bool {
        !self.ledger.down
    }

    /// Whether a change under `lock` is on its way.
    pub(crate) fn is_busy(&self, lock: &Lock) -> bool {
        self.ledger.flights.values().any(|flight| flight.lock.as_ref() == Some(lock))
    }

    /// Whether an input under `lock` has to wait; if so, it waits.
    pub(crate) fn must_wait(&mut self, lock: &Lock, input: Input) -> Option<Input> {
        let busy = self.is_busy(lock);
        match self.ledger.queues.get_mut(lock) {
            Some(queue) => queue.push_back(input),
            None if busy => {
                self.ledger.queues.insert(lock.clone(), [input].into());
            }
            None => return Some(input),
        }
        None
    }

    fn send(&mut self, flight: Flight) {
        self.ledger.next = self.ledger.next.saturating_add(1);
        let id = BatchId(self.ledger.next);
        let Change { claims, writes, audit } = flight.change.clone();
        let batch = Batch { org: self.rows.org.clone(), id, claims, writes, audit, urgent: flight.urgent };
        self.out.push_back(Output::Commit(batch));
        self.ledger.flights.insert(id, flight);
    }

    /// Applies writes that take something away. What is on its way to the same rows keeps the rest of what it says,
    /// and is written once more, since the store will see it first and these after.
    pub(crate) fn overtake(&mut self, writes: &[Write]) -> Affected {
        for flight in self.ledger.flights.values_mut().filter(|flight| !flight.urgent) {
            for tighter in writes {
                flight.restrain(tighter);
            }
        }
        self.apply(writes)
    }

    pub(crate) fn committed(&mut self, id: BatchId) {
        let Some(flight) = self.ledger.flights.remove(&id) else { return };
        if std::mem::take(&mut self.ledger.down) {
            self.out.push_back(Output::Alarm(Alarm::StoreBack));
        }
        if !flight.urgent {
            let affected = self.apply(&flight.change.writes);
            let mut more = Change::default();
            more.writes.extend(flight.again.iter().map(|key| self.rows.as_it_is(key)));
            self.review(affected, &mut more);
            if !more.is_empty() {
                self.send(Flight::new(None, more, true, Box::new(|_, _| ())));
            }
        }
        let outcome = if flight.overtaken { Outcome::Overtaken } else { Outcome::Written };
        (flight.then)(self, outcome);
        self.go_on(flight.lock);
    }

    pub(crate) fn not_committed(&mut self, id: BatchId, why: NotCommitted) {
        let Some(mut flight) = self.ledger.flights.remove(&id) else { return };
        let outcome = match why {
            NotCommitted::AlreadyClaimed(claim) => {
                self.release_claims(&flight.change.claims, Some(&claim));
                Outcome::Claimed(claim.kind)
            }
            NotCommitted::StoreDown => {
                self.store_failed(&mut flight);
                Outcome::StoreDown
            }
        };
        (flight.then)(self, outcome);
        self.go_on(flight.lock);
    }

    fn store_failed(&mut self, flight: &mut Flight) {
        if !std::mem::replace(&mut self.ledger.down, true) {
            self.out.push_back(Output::Alarm(Alarm::StoreDown));
        }
        self.release_claims(&flight.change.claims, None);
        if !flight.urgent {
            return;
        }
        if !flight.change.writes.is_empty() {
            self.out.push_back(Output::Alarm(Alarm::NotDurable));
        }
        self.ledger.dirty.extend(flight.change.writes.iter().map(Write::key));
        let room = MOST_UNWRITTEN.saturating_sub(self.ledger.unwritten.len());
        self.ledger.unwritten.extend(flight.change.audit.drain(..).take(room));
        self.timers.set(self.clock.boot() + RETRY, Timer::Retry);
    }

    fn release_claims(&mut self, claims: &[Claim], but: Option<&Claim>) {
        for claim in claims.iter().filter(|claim| Some(*claim) != but) {
            self.ledger.claims.remove(&(claim.kind, claim.id.clone()));
        }
    }

    /// Tries again to write down what is in force already: the rows as they stand, so nothing newer is lost.
    pub(crate) fn retry(&mut self) {
        if self.ledger.dirty.is_empty() && self.ledger.unwritten.is_empty() {
            return;
        }
        if self.ledger.flights.values().any(|flight| !flight.urgent) {
            self.timers.set(self.clock.boot() + RETRY, Timer::Retry);
            return;
        }
        let writes =
            std::mem::take(&mut self.ledger.dirty).iter().map(|key| self.rows.as_it_is(key)).collect();
        let audit = std::mem::take(&mut self.ledger.unwritten);
        let change = Change { claims: Vec::new(), writes, audit };
        self.send(Flight::new(None, change, true, Box::new(|_, _| ())));
    }

    /// Lets those go on who waited for `lock`.
    fn go_on(&mut self, lock: Option<Lock>) {
        let Some(lock) = lock else { return };
        while !self.is_busy(&lock) {
            let Some(queue) = self.ledger.queues.get_mut(&lock) else { return };
            match queue.pop_front() {
                Some(input) => self.act(input),
                None => {
                    self.ledger.queues.remove(&lock);
                }
            }
        }
    }

    /// Forgets claims whose things are refused for their age by then.
    pub(crate) fn forget_claims(&mut self) {
        let now = self.clock.wall();
        self.ledger.claims.retain(|_, until| *until > now);
    }
}

/// How long to wait before revocations are tried again.
const RETRY: std::time::Duration = secs(2);
/// How many audit rows are kept for a store that is down; new grants have stopped, so few come.
const MOST_UNWRITTEN: usize = 100_000;
