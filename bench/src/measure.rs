use std::env;
use std::error::Error;

use crate::watch::Watch;

/// What can go wrong is that an input is not what it should be: then there is nothing to measure.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The samples of every part of one course.
#[derive(Default, Debug)]
pub(crate) struct Laps {
    parts: Vec<(&'static str, Vec<f64>)>,
}

/// How many samples are taken of everything: 15 unless the environment says otherwise.
pub(crate) fn repeats() -> usize {
    env::var(REPEATS).ok().and_then(|text| text.parse().ok()).unwrap_or(15).max(1)
}

/// Runs `lap` again and again. Each of its parts is timed in every lap, so that whatever disturbs the machine disturbs
/// all parts alike: ratios between them hold where times do not.
pub(crate) fn measure(mut lap: impl FnMut(&mut Watch) -> Outcome) -> Outcome<Laps> {
    // The first one finds everything cold.
    lap(&mut Watch::default())?;
    let mut laps = Laps::default();
    for _ in 0..repeats() {
        let mut sample = Watch::default();
        while sample.mean() < SAMPLE {
            lap(&mut sample)?;
        }
        sample.pace().for_each(|(part, pace)| laps.add(part, pace));
    }
    Ok(laps)
}

impl Laps {
    /// The nanoseconds a piece of one part, a value for each sample.
    pub(crate) fn of(&self, part: &str) -> Outcome<&[f64]> {
        let found = self.parts.iter().find(|(name, _)| *name == part);
        found.map(|(_, samples)| &samples[..]).ok_or_else(|| format!("no part is called `{part}`").into())
    }

    /// A value for each sample, of what one part took.
    pub(crate) fn each(&self, part: &str, value: impl Fn(f64) -> f64) -> Outcome<Vec<f64>> {
        Ok(self.of(part)?.iter().map(|pace| value(*pace)).collect())
    }

    /// A value for each sample, of what two parts took.
    pub(crate) fn both(&self, one: &str, other: &str, value: impl Fn(f64, f64) -> f64) -> Outcome<Vec<f64>> {
        let pairs = self.of(one)?.iter().zip(self.of(other)?);
        Ok(pairs.map(|(one, other)| value(*one, *other)).collect())
    }

    /// How many times as long one part took as another, sample by sample.
    pub(crate) fn ratio(&self, one: &str, other: &str) -> Outcome<Vec<f64>> {
        self.both(one, other, |one, other| one / other)
    }

    fn add(&mut self, part: &'static str, pace: f64) {
        match self.parts.iter_mut().find(|(name, _)| *name == part) {
            Some((_, samples)) => samples.push(pace),
            None => self.parts.push((part, vec![pace])),
        }
    }
}

/// The environment's name for the number of samples.
const REPEATS: &str = "BENCH_REPEATS";
/// How long each part is timed for one sample, in nanoseconds: far longer than it takes to read the clock.
pub(crate) const SAMPLE: u64 = 20_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn laps() -> Laps {
        let mut laps = Laps::default();
        for (part, pace) in [("a", 2.0), ("b", 4.0), ("a", 3.0), ("b", 3.0)] {
            laps.add(part, pace);
        }
        laps
    }

    #[test]
    fn samples_of_one_lap_are_compared_with_each_other() {
        assert_eq!(laps().of("a").unwrap(), [2.0, 3.0]);
        assert_eq!(laps().ratio("a", "b").unwrap(), [0.5, 1.0]);
        assert_eq!(laps().each("b", |pace| 2.0 * pace).unwrap(), [8.0, 6.0]);
    }

    #[test]
    fn a_part_that_nobody_timed_is_an_error() {
        assert_eq!(laps().of("c").unwrap_err().to_string(), "no part is called `c`");
    }

    #[test]
    fn every_part_gets_a_pace_for_every_sample() {
        let laps = measure(|watch| {
            watch.add("slow", 3 * SAMPLE, 3);
            watch.add("fast", SAMPLE, 10);
            watch.add("fast", SAMPLE, 0);
            Ok(())
        });
        let laps = laps.unwrap();
        assert_eq!(laps.of("slow").unwrap(), vec![SAMPLE as f64; repeats()]);
        assert_eq!(laps.of("fast").unwrap(), vec![SAMPLE as f64 / 5.0; repeats()]);
    }
}
