use std::fmt;
use std::str::FromStr;

use crate::parse::{ParseError, serde_as_text};
use crate::time::WallTime;

/// A day of the calendar in UTC, from 1970 to 9999: `2028-06-30` (RFC 3339, `full-date`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    days: u32, // since 1970-01-01
}

impl Date {
    /// The day on which `time` falls.
    pub fn of(time: WallTime) -> Self {
        let days = time.as_secs() / SECS_A_DAY;
        Self { days: u32::try_from(days).unwrap_or(LAST).min(LAST) }
    }

    /// The moment at which the day begins.
    pub fn start(self) -> WallTime {
        WallTime::from_secs(u64::from(self.days) * SECS_A_DAY)
    }

    /// Whole days from `earlier` to this day; negative if it comes later.
    pub fn days_since(self, earlier: Self) -> i64 {
        i64::from(self.days) - i64::from(earlier.days)
    }

    fn from_calendar(year: u32, month: u32, day: u32) -> Option<Self> {
        let fits = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day);
        let months = (1..month).map(|earlier| days_in_month(year, earlier)).sum::<u32>();
        fits.then(|| Self { days: days_before(year) + months + day - 1 })
    }

    fn calendar(self) -> (u32, u32, u32) {
        // A year has at least 365 days, so the guess is never too early, and a few years late at most.
        let guess = 1970 + self.days / 365;
        let year = (1970..=guess).rev().find(|year| days_before(*year) <= self.days).unwrap_or(1970);
        let mut day = self.days - days_before(year);
        let mut month = 1;
        while day >= days_in_month(year, month) {
            day -= days_in_month(year, month);
            month += 1;
        }
        (year, month, day + 1)
    }
}

impl FromStr for Date {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let number = |part: Option<&str>, length| {
            let part =
                part.filter(|part| part.len() == length && part.bytes().all(|c| c.is_ascii_digit()))?;
            part.parse::<u32>().ok()
        };
        let mut parts = text.splitn(3, '-');
        let (year, month, day) = (parts.next(), parts.next(), parts.next());
        let date = number(year, 4).zip(number(month, 2)).zip(number(day, 2));
        date.and_then(|((year, month), day)| Self::from_calendar(year, month, day))
            .ok_or_else(|| ParseError::new(text, "a date such as 2028-06-30"))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.calendar();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(Date);

/// Days from 1970-01-01 to the first of January of `year`.
const fn days_before(year: u32) -> u32 {
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400 - 477; // 477 of them before 1970
    (year - 1970) * 365 + leap_days
}

const fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

const SECS_A_DAY: u64 = 86_400;
const LAST: u32 = 2_932_896; // 9999-12-31

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_and_their_days() {
        let rows = [
            ("1970-01-01", 0),
            ("1970-12-31", 364),
            ("1972-02-29", 789),
            ("2000-02-29", 11_016),
            ("2000-03-01", 11_017),
            ("2028-06-30", 21_365),
            ("2100-03-01", 47_541),
            ("9999-12-31", u64::from(LAST)),
        ];
        for (text, days) in rows {
            let date: Date = text.parse().unwrap();
            assert_eq!(date.start(), WallTime::from_secs(days * SECS_A_DAY), "{text}");
            assert_eq!(date.to_string(), text);
        }
    }

    #[test]
    fn texts_that_are_no_dates() {
        let texts = [
            "",
            "2028",
            "2028-06",
            "2028-6-30",
            "28-06-30",
            "2028-06-31",
            "2027-02-29",
            "2100-02-29",
            "2028-13-01",
            "2028-00-01",
            "2028-01-00",
            "+028-01-01",
            "2028-06-30-1",
            "2028-06-30 ",
            "1969-12-31",
        ];
        for text in texts {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_day_reads_back(days in 0..=LAST) {
            let date = Date { days };
            prop_assert_eq!(date.to_string().parse(), Ok(date));
            prop_assert_eq!(Date::of(date.start()), date);
            prop_assert_eq!(Date::of(date.start() + crate::secs(SECS_A_DAY - 1)), date);
        }
    }
}
