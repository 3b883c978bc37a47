use std::hint::black_box;

use ztna_model::{DenyReason, Endpoint, Flow, LeaseId, Match, Protocol};
use ztna_policy::{Rule, Scope, Table, Verdict, Via};

use crate::measure::{Outcome, measure};
use crate::report::{Goal, Report, Unit};
use crate::rules::{LIMITS, Scan, covered, flow, rules, strange, table};
use crate::seed::Seed;
use crate::watch::Watch;

/// The flow table with 10,000 rules.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("policy: 10,000 rules");
    let mut lookups = Lookups::new()?;
    lookups.agree()?;
    let laps = measure(|watch| lookups.lap(watch))?;
    for (what, part, goal) in [
        ("hit, 1 flow", "hit 1", Some(25.0)),
        ("hit, 4,096 flows in turn", "hit all", Some(25.0)),
        ("hit on the way back, 4,096 flows in turn", "back", Some(25.0)),
        ("hit, the table out of the caches", "hit cold", None),
        ("miss, denied", "denied", Some(250.0)),
        ("miss, denied, the table out of the caches", "denied cold", None),
        ("miss, opens a flow", "open", Some(250.0)),
        ("miss, opens a flow, the table out of the caches", "open cold", None),
        ("end of a flow", "close", None),
        ("end of a flow, the table out of the caches", "close cold", None),
        ("all rules looked through, for comparison", "scan", None),
    ] {
        match goal {
            Some(most) => report.goal(what, Unit::Nanoseconds, laps.of(part)?, Goal::AtMost(most)),
            None => report.row(what, Unit::Nanoseconds, laps.of(part)?),
        }
    }
    let times = laps.ratio("scan", "denied")?;
    report.goal("  how much longer than a miss", Unit::Times, &times, Goal::AtLeast(10.0));
    changes(report, lookups.rules)
}

/// One flow table, flows that it knows and flows that it does not.
struct Lookups {
    rules: Vec<Rule>,
    scan: Scan,
    table: Table,
    covered: Vec<Flow>,
    back: Vec<Flow>,
    strange: Vec<Flow>,
}

impl Lookups {
    fn new() -> Outcome<Self> {
        let mut seed = Seed::new(11);
        let rules = rules(&mut seed, SCOPE, Via::SITE)?;
        let covered = covered(&mut seed, &rules, FLOWS)?;
        Ok(Self {
            scan: Scan::of(&rules),
            table: table(&rules)?,
            back: covered.iter().map(|flow| flow.reversed()).collect(),
            covered,
            strange: strange(&mut seed, FLOWS),
            rules,
        })
    }

    /// The first look, the second one and the plain list must say the same of every flow.
    fn agree(&mut self) -> Outcome {
        let flows = [&self.covered[..], &self.strange].concat();
        for flow in &flows {
            let listed = self.scan.find(flow);
            for _ in 0..2 {
                let verdict = self.table.outgoing(SCOPE, flow, LENGTH);
                if lease(&self.table, verdict)? != listed {
                    return Err(format!("{verdict:?} for {flow:?}, where the list says {listed:?}").into());
                }
            }
        }
        let covered = flows.iter().filter(|flow| self.scan.find(flow).is_some()).count();
        if covered == FLOWS { Ok(()) } else { Err(format!("{covered} flows are covered").into()) }
    }

    fn lap(&mut self, watch: &mut Watch) -> Outcome {
        let Self { table, covered, back, strange, scan, .. } = self;
        let (first, _) = covered.split_at_checked(1).ok_or("no flows")?;
        let flows = covered.len() as u64;
        watch.time("hit 1", flows * TURNS, || judge(table, first, flows * TURNS));
        watch.time("hit cold", flows, || judge(table, covered, 1));
        watch.time("hit all", flows * TURNS, || judge(table, covered, TURNS));
        watch.time("back", flows * TURNS, || judge_back(table, back, TURNS));
        watch.time("denied cold", flows, || judge(table, strange, 1));
        watch.time("denied", flows * TURNS, || judge(table, strange, TURNS));
        watch.time("close cold", flows, || close(table, covered));
        watch.time("open cold", flows, || judge(table, covered, 1));
        let mut closed = 0;
        for _ in 0..TURNS {
            closed = watch.time("close", flows, || close(table, covered));
            watch.time("open", flows, || judge(table, covered, 1));
        }
        let few = strange.iter().take(FEW);
        watch.time("scan", FEW as u64, || few.filter_map(|flow| scan.find(black_box(flow))).count());
        if closed == table.flows() as usize { Ok(()) } else { Err("flows were lost".into()) }
    }
}

/// What changes the table: all rules anew, and the end of one of them.
fn changes(report: &mut Report, rules: Vec<Rule>) -> Outcome {
    let laps = measure(|watch| watch.time("rebuild", 1, || table(&rules)).map(drop))?;
    report.goal("made anew with all rules", Unit::Nanoseconds, laps.of("rebuild")?, Goal::AtMost(50e6));
    let mut revocation = Revocation::new(&rules)?;
    let laps = measure(|watch| revocation.lap(watch))?;
    report.goal(
        "a lease ends with 1,000 of 65,536 flows",
        Unit::Nanoseconds,
        laps.of("end")?,
        Goal::AtMost(10e6),
    );
    report.row("  for each flow", Unit::Nanoseconds, &laps.each("end", |pace| pace / DOOMED as f64)?);
    Ok(())
}

/// A full table, and the rule that is withdrawn again and again.
struct Revocation {
    table: Table,
    rule: Rule,
    doomed: Vec<Flow>,
}

impl Revocation {
    fn new(rules: &[Rule]) -> Outcome<Self> {
        let mut seed = Seed::new(12);
        let mut table = table(rules)?;
        let mut rule = rules.first().ok_or("no rules")?.clone();
        (rule.lease, rule.terms.covers) = (LeaseId([0xff; 16]), Match::Prefix("172.16.0.0/12".parse()?));
        (rule.terms.protocol, rule.terms.ports) = (Protocol::Tcp, "443".parse()?);
        let doomed = (0..DOOMED).map(|number| {
            let address = std::net::Ipv4Addr::from_bits(0xac10_0000 + 17 * number as u32);
            flow(&mut seed, Protocol::Tcp, Endpoint::new(address.into(), 443))
        });
        let doomed = doomed.collect();
        let others = LIMITS.flows - DOOMED as u32;
        while table.flows() < others {
            judge(&mut table, &covered(&mut seed, rules, 1)?, 1);
        }
        Ok(Self { table, rule, doomed })
    }

    fn lap(&mut self, watch: &mut Watch) -> Outcome {
        self.table.insert(self.rule.clone())?;
        judge(&mut self.table, &self.doomed, 1);
        let ended = watch.time("end", 1, || self.table.end(self.rule.lease, DenyReason::Revoked));
        let flows = ended.ok_or("the rule was not there")?.flows.len();
        if flows == DOOMED { Ok(()) } else { Err(format!("{flows} flows ended").into()) }
    }
}

#[inline(never)]
fn judge(table: &mut Table, flows: &[Flow], turns: u64) {
    for _ in 0..turns {
        for flow in flows {
            let _: Verdict = black_box(table.outgoing(SCOPE, black_box(flow), LENGTH));
        }
    }
}

#[inline(never)]
fn close(table: &mut Table, flows: &[Flow]) -> usize {
    flows.iter().filter(|flow| table.close(SCOPE, black_box(flow))).count()
}

#[inline(never)]
fn judge_back(table: &mut Table, flows: &[Flow], turns: u64) {
    for _ in 0..turns {
        for flow in flows {
            let _: Verdict = black_box(table.returning(SCOPE, Via::SITE, black_box(flow), LENGTH));
        }
    }
}

fn lease(table: &Table, verdict: Verdict) -> Outcome<Option<LeaseId>> {
    match verdict {
        Verdict::Allow(slot) => Ok(Some(table.rule(slot).ok_or("a slot without a rule")?.lease)),
        Verdict::Deny(DenyReason::NoRule) => Ok(None),
        Verdict::Ask(_) | Verdict::Deny(_) => Err(format!("nobody expects {verdict:?}").into()),
    }
}

const SCOPE: Scope = Scope(7);
const FLOWS: usize = 4_096;
const LENGTH: usize = 1_280;
/// A hit is too quick to be timed once.
const TURNS: u64 = 16;
/// To look through all rules takes long.
const FEW: usize = 64;
const DOOMED: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_list_agree_on_every_flow() {
        Lookups::new().unwrap().agree().unwrap();
    }
}
