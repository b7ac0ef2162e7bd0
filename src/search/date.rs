//! Dates as ranges (R4 search.html#date): every value is as wide as it is written.

use chrono::{Datelike, NaiveDate};

use crate::fhir::types::Instant;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// A half-open range of microseconds since 1970 UTC: `lo <= t < hi`. An open side is `i64::MIN` or `i64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateRange {
    pub lo: i64,
    pub hi: i64,
}

impl DateRange {
    /// Parses `yyyy[-mm[-dd[Thh:mm[:ss[.f]][zone]]]]`. Without a zone the time is taken as UTC, the server's zone.
    /// `None` when the text is no date or names a day that no calendar has.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once(['T', 't']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year: i32 = number(parts.next()?, 4)?;
        let month: Option<u32> = optional(parts.next(), 2)?;
        let day: Option<u32> = optional(parts.next(), 2)?;
        if parts.next().is_some() || (1..=9999).contains(&year).then_some(()).is_none() {
            return None;
        }
        let first = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1))?;
        let Some(time) = time else {
            let next = match (month, day) {
                (None, _) => NaiveDate::from_ymd_opt(year + 1, 1, 1)?,
                (Some(12), None) => NaiveDate::from_ymd_opt(year + 1, 1, 1)?,
                (Some(month), None) => NaiveDate::from_ymd_opt(year, month + 1, 1)?,
                (Some(_), Some(_)) => first.succ_opt()?,
            };
            return Some(Self { lo: micros(first), hi: micros(next) });
        };
        day?;
        Self::at_time(micros(first), time)
    }

    fn at_time(midnight: i64, time: &str) -> Option<Self> {
        let (clock, offset) = match time.find(['Z', 'z', '+', '-', ' ']) {
            Some(at) => (time.get(..at)?, zone(time.get(at..)?)?),
            None => (time, 0),
        };
        let mut parts = clock.split(':');
        let hour: i64 = number(parts.next()?, 2)?;
        let minute: i64 = number(parts.next()?, 2)?;
        let second = parts.next();
        if parts.next().is_some() || hour > 23 || minute > 59 {
            return None;
        }
        let base = midnight + hour * 60 * MINUTE + minute * MINUTE - offset;
        let Some(second) = second else { return Some(Self { lo: base, hi: base + MINUTE }) };
        let (whole, fraction) = second.split_once('.').map_or((second, None), |(whole, rest)| (whole, Some(rest)));
        let whole: i64 = number(whole, 2)?;
        // A leap second counts as the last second of its minute.
        let lo = base + whole.min(59) * SECOND;
        if whole > 60 {
            return None;
        }
        let Some(fraction) = fraction else { return Some(Self { lo, hi: lo + SECOND }) };
        if fraction.is_empty() || fraction.len() > 18 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = fraction.get(..fraction.len().min(6))?;
        let width = 10_i64.pow(6 - u32::try_from(digits.len()).ok()?);
        let lo = lo + digits.parse::<i64>().ok()? * width;
        Some(Self { lo, hi: lo + width })
    }

    /// The range of a Period: open where an end is missing.
    pub fn period(start: Option<Self>, end: Option<Self>) -> Self {
        Self { lo: start.map_or(i64::MIN, |start| start.lo), hi: end.map_or(i64::MAX, |end| end.hi) }
    }

    /// Widened on both sides by a tenth of the gap between the range and now: what the prefix `ap` compares.
    pub fn approximately(self, now: Instant) -> Self {
        let gap = if now.0 < self.lo { self.lo - now.0 } else { (now.0 - self.hi).max(0) } / 10;
        Self { lo: self.lo.saturating_sub(gap), hi: self.hi.saturating_add(gap) }
    }
}

fn micros(date: NaiveDate) -> i64 {
    // NaiveDate counts days from 0001-01-01 as 1.
    (i64::from(date.num_days_from_ce()) - 719_163) * DAY
}

fn number<N: std::str::FromStr>(text: &str, digits: usize) -> Option<N> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// `Some(None)` when the part is absent, `None` when it is there and bad.
fn optional(text: Option<&str>, digits: usize) -> Option<Option<u32>> {
    match text {
        None => Some(None),
        Some(text) => number(text, digits).map(Some),
    }
}

/// Microseconds to subtract for a zone. A space stands for the `+` that a client forgot to percent-encode.
fn zone(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes): (i64, i64) = (number(hours, 2)?, number(minutes, 2)?);
    (hours <= 14 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_wide_as_written() {
        let check = |text: &str, lo: i64, width: i64| {
            assert_eq!(DateRange::parse(text), Some(DateRange { lo, hi: lo + width }), "{text}");
        };
        check("1970", 0, 365 * DAY);
        check("1970-02", 31 * DAY, 28 * DAY);
        check("1970-01-02", DAY, DAY);
        check("1970-01-01T00:01", MINUTE, MINUTE);
        check("1970-01-01T00:00:01", SECOND, SECOND);
        check("1970-01-01T00:00:01.5Z", 1_500_000, 100_000);
        check("1970-01-01T01:00:00+01:00", 0, SECOND);
        check("1970-01-01T01:00:00 01:00", 0, SECOND);
        check("1969-12-31T19:00:00-05:00", 0, SECOND);
    }

    #[test]
    fn what_no_calendar_has_is_no_date() {
        for text in [
            "",
            "70",
            "1970-13",
            "1970-02-30",
            "1970-1-1",
            "1970-01-01T24:00",
            "1970-01T10:00",
            "x",
            "1970-01-01T10",
            "0000",
        ] {
            assert_eq!(DateRange::parse(text), None, "{text}");
        }
    }
}
