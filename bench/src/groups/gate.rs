use std::hint::black_box;

use ztna_api::gateway::{Floor, Offered, Over, Renewed, ToGateway};
use ztna_api::{lease, statement};
use ztna_gate::Gate;
use ztna_model::{DenyReason, Epoch, Lease, Time, millis};
use ztna_net::clock::Clock;

use crate::buffer::SendBuffer;
use crate::leases::{Session, Signers};
use crate::measure::{Outcome, measure};
use crate::report::{Report, Unit};
use crate::watch::Watch;

/// The gateway's leases.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("gate: 10,000 leases of 1,000 sessions");
    let mut full = Course::new(10_000)?;
    let mut empty = Course::new(0)?;
    let laps = measure(|watch| {
        full.quiet(watch)?;
        full.take(watch, ["arrive", "take", "renew"])?;
        empty.take(watch, ["arrive first", "take first", "renew first"])?;
        full.signatures(watch)?;
        full.floor(watch)
    })?;
    report.row("a batch begins, and nothing is due", Unit::Nanoseconds, laps.of("quiet")?);
    report.row("a session's first lease is taken", Unit::Nanoseconds, laps.of("arrive")?);
    let signatures = laps.both("lease", "statement", |lease, statement| lease + statement)?;
    let share: Vec<f64> = signatures.iter().zip(laps.of("arrive")?).map(|(part, all)| part / all).collect();
    report.row("  the signatures' share", Unit::Share, &share);
    report.row("another lease of it is taken", Unit::Nanoseconds, laps.of("take")?);
    report.row("  the signature's share", Unit::Share, &laps.ratio("lease", "take")?);
    report.row("  against one taken when there is no other", Unit::Times, &laps.ratio("take", "take first")?);
    report.row("a lease is renewed", Unit::Nanoseconds, laps.of("renew")?);
    report.row("  the signature's share", Unit::Share, &laps.ratio("lease", "renew")?);
    report.row("a floor that leaves 100 leases standing", Unit::Nanoseconds, laps.of("floor keeps")?);
    let share = laps.both("lease", "floor keeps", |lease, floor| 100.0 * lease / floor)?;
    report.row("  the signatures' share", Unit::Share, &share);
    report.row("a floor that ends 100 leases", Unit::Nanoseconds, laps.of("floor ends")?);
    Ok(())
}

/// A gateway with leases, and a session that comes and goes.
struct Course {
    signers: Signers,
    gate: Gate,
    guest: Session,
    epoch: Epoch,
    now: Time,
    sink: SendBuffer,
}

impl Course {
    fn new(leases: u64) -> Outcome<Self> {
        let (signers, now) = (Signers::new()?, Clock.now());
        let (gate, guest) = (signers.gate(now)?, signers.session(0)?);
        let mut course = Self { signers, gate, guest, epoch: Epoch(1), now, sink: SendBuffer::new() };
        course.gate.begin_batch(now, &mut course.sink);
        course.tell(ToGateway::Welcome(course.signers.welcome()?));
        for number in 1..=leases / 10 {
            let session = course.signers.session(number)?;
            (0..10).try_for_each(|resource| course.offer(&session, resource))?;
        }
        (0..GUESTS).try_for_each(|resource| course.offer(&course.signers.session(0)?, resource))?;
        let held = course.gate.leases().count() as u64;
        if held == leases + u64::from(GUESTS) {
            Ok(course)
        } else {
            Err(format!("{held} leases are held").into())
        }
    }

    fn quiet(&mut self, watch: &mut Watch) -> Outcome {
        let Self { gate, sink, now, .. } = self;
        watch.time("quiet", QUIET, || {
            for _ in 0..QUIET {
                *now = Time::from_nanos(now.as_nanos() + 1);
                gate.begin_batch(black_box(*now), sink);
            }
        });
        self.drain(0)
    }

    /// The guest's leases end, are taken anew and renewed.
    fn take(&mut self, watch: &mut Watch, [arrive, take, renew]: [&'static str; 3]) -> Outcome {
        let leases = self.leases()?;
        self.end(&leases)?;
        let offers = leases.iter().map(|lease| self.offered(lease)).collect::<Outcome<Vec<_>>>()?;
        self.gate.finish(&mut self.sink);
        let mut offers = offers.into_iter().map(ToGateway::Lease);
        let first = offers.next().ok_or("no offers")?;
        watch.time(arrive, 1, || self.tell(first));
        watch.time(take, u64::from(GUESTS) - 1, || offers.for_each(|offer| self.tell(offer)));
        self.drain(GUESTS.into())?;
        let renewed = |lease: &Lease| self.signers.sign(&Lease { at: lease.at + 1, ..lease.clone() });
        let renewed = Renewed { leases: leases.iter().map(renewed).collect::<Outcome<Vec<_>>>()? };
        self.now += millis(2);
        self.gate.begin_batch(self.now, &mut self.sink);
        self.drain(0)?;
        watch.time(renew, GUESTS.into(), || {
            self.gate.handle_frame(ToGateway::Renewed(renewed), &mut self.sink);
        });
        self.drain(0)
    }

    /// What of that is the work of checking signatures.
    fn signatures(&mut self, watch: &mut Watch) -> Outcome {
        let leases = self.leases()?;
        let texts = leases.iter().map(|lease| self.signers.sign(lease)).collect::<Outcome<Vec<_>>>()?;
        let Self { signers, guest, .. } = self;
        watch.time("lease", GUESTS.into(), || {
            texts.iter().try_for_each(|text| lease::verify(text, &signers.keys).map(drop))
        })?;
        let jkt = signers.jkt();
        watch.time("statement", GUESTS.into(), || {
            texts.iter().try_for_each(|_| {
                statement::verify(&guest.statement, &jkt, &signers.org, guest.sid).map(drop)
            })
        })?;
        Ok(())
    }

    /// The guest is decided anew: first all of its leases stay, then none does.
    fn floor(&mut self, watch: &mut Watch) -> Outcome {
        self.epoch = self.epoch.next();
        let keep =
            self.leases()?.iter().map(|lease| self.signers.sign(lease)).collect::<Outcome<Vec<_>>>()?;
        let floor = Floor { sid: self.guest.sid, epoch: self.epoch, keep, reason: DenyReason::Held };
        watch.time("floor keeps", 1, || self.gate.handle_frame(ToGateway::Floor(floor), &mut self.sink));
        self.drain(1)?;
        self.epoch = self.epoch.next();
        let floor = Floor { sid: self.guest.sid, epoch: self.epoch, keep: vec![], reason: DenyReason::Held };
        watch.time("floor ends", 1, || self.gate.handle_frame(ToGateway::Floor(floor), &mut self.sink));
        self.drain(2 * usize::from(GUESTS) + 1)?;
        (0..GUESTS).try_for_each(|resource| self.offer(&self.signers.session(0)?, resource))
    }

    /// The guest's leases, as they would be signed at this moment.
    fn leases(&self) -> Outcome<Vec<Lease>> {
        let lease = |resource| self.signers.lease(&self.guest, resource, self.epoch, self.now);
        (0..GUESTS).map(lease).collect()
    }

    fn end(&mut self, leases: &[Lease]) -> Outcome {
        for lease in leases {
            self.tell(ToGateway::Over(Over { lease: lease.id, reason: DenyReason::Revoked }));
        }
        self.drain(2 * leases.len())
    }

    fn offer(&mut self, session: &Session, resource: u16) -> Outcome {
        let offered = self.signers.offer(session, resource, self.epoch, self.now)?;
        self.tell(ToGateway::Lease(offered));
        self.drain(1)
    }

    fn offered(&self, lease: &Lease) -> Outcome<Offered> {
        Ok(Offered { lease: self.signers.sign(lease)?, carriers: Vec::new() })
    }

    fn tell(&mut self, frame: ToGateway) {
        self.gate.handle_frame(frame, &mut self.sink);
    }

    /// Takes what the gate has to say, which is so much.
    fn drain(&mut self, expected: usize) -> Outcome {
        self.sink.clear();
        let said = std::iter::from_fn(|| self.gate.poll()).count();
        let declined = self.gate.declined();
        if said < expected || !declined.is_empty() {
            return Err(format!("the gate said {said} of {expected} things, declined: {declined:?}").into());
        }
        Ok(())
    }
}

/// Leases of the session that comes and goes.
const GUESTS: u16 = 100;
/// To begin a batch is too quick to be timed once.
const QUIET: u64 = 10_000;
