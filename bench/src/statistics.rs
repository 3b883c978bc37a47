/// What many samples of one thing come to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Statistics {
    /// Half of the samples are at most this.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) low: f64,
    /// The highest.
    pub(crate) high: f64,
    /// Half the distance between the quartiles: half of the samples are about this near to the median.
    pub(crate) spread: f64,
}

impl Statistics {
    /// The statistics of `samples`, unless there are none.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            low: *sorted.first()?,
            high: *sorted.last()?,
            spread: (quantile(&sorted, 0.75)? - quantile(&sorted, 0.25)?) / 2.0,
        })
    }
}

/// The value below which the share `part` of `sorted` lies, between two samples in proportion.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let at = part * sorted.len().checked_sub(1)? as f64;
    let below = *sorted.get(at.floor() as usize)?;
    let above = *sorted.get(at.ceil() as usize)?;
    Some(below + (above - below) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: &[f64], median: f64, low: f64, high: f64, spread: f64) {
        assert_eq!(Statistics::of(samples), Some(Statistics { median, low, high, spread }), "{samples:?}");
    }

    #[test]
    fn the_middle_the_ends_and_the_quartiles() {
        check(&[7.0], 7.0, 7.0, 7.0, 0.0);
        check(&[4.0, 2.0], 3.0, 2.0, 4.0, 0.5);
        check(&[3.0, 1.0, 2.0], 2.0, 1.0, 3.0, 0.5);
        check(&[5.0, 1.0, 4.0, 2.0, 3.0], 3.0, 1.0, 5.0, 1.0);
        check(&[1.0, 1.0, 1.0, 1.0, 900.0], 1.0, 1.0, 900.0, 0.0);
    }

    #[test]
    fn nothing_has_no_statistics() {
        assert_eq!(Statistics::of(&[]), None);
    }
}
