use serde::Serialize;

use crate::statistics::Statistics;

/// All rows, printed as they come.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    group: &'static str,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    group: &'static str,
    what: String,
    unit: Unit,
    median: f64,
    low: f64,
    high: f64,
    spread: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<Goal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<Met>,
}

/// How a goal fares. What disturbs a machine can only make code look slower: the best sample is nearest to what the
/// code does by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Met {
    /// The median meets it.
    Yes,
    /// Only the best sample does: to be measured again on a machine with less to do.
    ByTheBest,
    /// No sample does.
    No,
}

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// Nanoseconds of CPU time.
    Nanoseconds,
    /// A part of a whole, from 0 to 1.
    Share,
    /// How many times as much.
    Times,
    /// Billions of bits of payload in a second of one core.
    Gbits,
    /// How many in a second of one core.
    PerSecond,
    /// Bytes.
    Bytes,
}

/// What the number should be.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Report {
    /// Begins a group of rows.
    pub(crate) fn begin(&mut self, group: &'static str) {
        self.group = group;
        println!("\n{group:58} {:>11} {:>22} {:>10}   goal", "median", "best, or range", "spread");
    }

    /// Adds a row without a goal.
    pub(crate) fn row(&mut self, what: impl Into<String>, unit: Unit, samples: &[f64]) {
        self.add(what.into(), unit, samples, None);
    }

    /// Adds a row with a goal.
    pub(crate) fn goal(&mut self, what: impl Into<String>, unit: Unit, samples: &[f64], goal: Goal) {
        self.add(what.into(), unit, samples, Some(goal));
    }

    /// Every row.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Says how many goals are met.
    pub(crate) fn conclude(&self) {
        let count = |met| self.rows.iter().filter(|row| row.met == Some(met)).count();
        let (yes, best, no) = (count(Met::Yes), count(Met::ByTheBest), count(Met::No));
        println!("\n{yes} goals met, {best} by the best sample alone, {no} missed");
    }

    fn add(&mut self, what: String, unit: Unit, samples: &[f64], goal: Option<Goal>) {
        let Some(Statistics { median, low, high, spread }) = Statistics::of(samples) else { return };
        let met = goal.map(|goal| goal.met(median, low, high));
        let row = Row { group: self.group, what, unit, median, low, high, spread, goal, met };
        println!("{}", row.line());
        self.rows.push(row);
    }
}

impl Row {
    fn line(&self) -> String {
        let Self { what, unit, .. } = self;
        let best = match unit {
            Unit::Nanoseconds | Unit::Bytes => unit.show(self.low),
            Unit::Gbits | Unit::PerSecond => unit.show(self.high),
            Unit::Share | Unit::Times => format!("{} to {}", unit.show(self.low), unit.show(self.high)),
        };
        let (median, spread) = (unit.show(self.median), unit.show(self.spread));
        let goal = self.goal.map(|goal| goal.show(*unit)).unwrap_or_default();
        let met = self.met.map(Met::word).unwrap_or_default();
        format!("  {what:56} {median:>11} {best:>22} {:>10}   {goal}{met}", format!("± {spread}"))
            .trim_end()
            .to_owned()
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Nanoseconds => show_time(value),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Times => format!("{value:.2} x"),
            Self::Gbits => format!("{value:.2} Gbit/s"),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Bytes => format!("{value:.0} B"),
        }
    }
}

impl Goal {
    fn met(self, median: f64, low: f64, high: f64) -> Met {
        let (by_median, by_best) = match self {
            Self::AtMost(most) => (median <= most, low <= most),
            Self::AtLeast(least) => (median >= least, high >= least),
        };
        match (by_median, by_best) {
            (true, _) => Met::Yes,
            (false, true) => Met::ByTheBest,
            (false, false) => Met::No,
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", unit.show(most)),
            Self::AtLeast(least) => format!("≥ {}", unit.show(least)),
        }
    }
}

impl Met {
    const fn word(self) -> &'static str {
        match self {
            Self::Yes => "",
            Self::ByTheBest => "  by the best",
            Self::No => "  MISSED",
        }
    }
}

fn show_time(nanos: f64) -> String {
    match nanos {
        ..100.0 => format!("{nanos:.2} ns"),
        ..10_000.0 => format!("{nanos:.1} ns"),
        ..10_000_000.0 => format!("{:.1} µs", nanos / 1e3),
        _ => format!("{:.1} ms", nanos / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_the_unit_that_fits() {
        for (nanos, shown) in
            [(5.432, "5.43 ns"), (718.06, "718.1 ns"), (52_340.0, "52.3 µs"), (31_200_000.0, "31.2 ms")]
        {
            assert_eq!(show_time(nanos), shown);
        }
    }

    #[test]
    fn a_goal_is_met_by_the_median_or_at_least_by_the_best() {
        let mut report = Report::default();
        report.goal("share", Unit::Share, &[0.8, 0.7, 0.6], Goal::AtLeast(0.85));
        report.goal("time", Unit::Nanoseconds, &[20.0, 90.0, 25.0], Goal::AtMost(25.0));
        report.goal("disturbed", Unit::Nanoseconds, &[20.0, 90.0, 30.0], Goal::AtMost(25.0));
        report.row("free", Unit::Bytes, &[1.0]);
        let met: Vec<Option<Met>> = report.rows().iter().map(|row| row.met).collect();
        assert_eq!(met, [Some(Met::No), Some(Met::Yes), Some(Met::ByTheBest), None]);
        assert!(report.rows().iter().any(|row| row.line().ends_with("≥ 85.0 %  MISSED")));
    }
}
