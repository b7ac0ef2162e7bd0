//! Dates and times at the precision they were written with (FHIRPath 2.0 section 6.2, R4 datatypes.html#dateTime).

use std::cmp::Ordering;

/// Year, month, day, hour, minute and nanoseconds of the minute, as many as were written. A time of day has no date
/// parts, so its parts begin at the hour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temporal {
    parts: [i64; 6],
    /// How many leading parts hold, counted from the year, or from the hour for a time of day.
    known: usize,
    first: usize,
    /// Offset from UTC in minutes.
    zone: Option<i64>,
}

const HOUR: usize = 3;

impl Temporal {
    /// Reads a FHIR date, dateTime, instant or time, or what follows the `@` of a FHIRPath literal (`2015T`, `T10:00`).
    pub(super) fn parse(text: &str) -> Option<Self> {
        // Most strings that get here are no dates: turn them away on the first byte.
        if !text.starts_with(|c: char| c.is_ascii_digit() || c == 'T') {
            return None;
        }
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time),
            None if text.as_bytes().get(2) == Some(&b':') => ("", text),
            None => (text, ""),
        };
        let mut found = Self { parts: [0; 6], known: 0, first: if date.is_empty() { HOUR } else { 0 }, zone: None };
        if !date.is_empty() {
            for (n, part) in date.split('-').enumerate() {
                let (width, low, high) = [(4, 1, 9999), (2, 1, 12), (2, 1, 31)].get(n).copied()?;
                found.push(part, width, low, high)?;
            }
        }
        if time.is_empty() {
            return (found.known > 0).then_some(found);
        }
        if found.first == 0 && found.known < HOUR {
            return None;
        }
        let clock = match time.find(['Z', '+', '-']) {
            Some(at) => {
                let (clock, zone) = time.split_at_checked(at)?;
                found.zone = Some(zone_minutes(zone)?);
                clock
            }
            None => time,
        };
        for (n, part) in clock.split(':').enumerate() {
            match n {
                0 => found.push(part, 2, 0, 24)?,
                1 => found.push(part, 2, 0, 59)?,
                2 => found.push_seconds(part)?,
                _ => return None,
            }
        }
        Some(found)
    }

    fn push(&mut self, digits: &str, width: usize, low: i64, high: i64) -> Option<()> {
        let value = number(digits, width).filter(|value| (low..=high).contains(value))?;
        *self.parts.get_mut(self.first + self.known)? = value;
        self.known += 1;
        Some(())
    }

    fn push_seconds(&mut self, text: &str) -> Option<()> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        // FHIR lets a server drop digits past nanoseconds.
        let fraction = fraction.get(..9).unwrap_or(fraction);
        let places = u32::try_from(9usize.checked_sub(fraction.len())?).ok()?;
        let nanos = number(fraction, fraction.len())? * 10i64.pow(places);
        let seconds = number(whole, 2).filter(|seconds| *seconds <= 60)?;
        *self.parts.get_mut(5)? = seconds * 1_000_000_000 + nanos;
        self.known += 1;
        Some(())
    }

    /// Orders two values; `None` when one is a time of day and the other is not, or when the answer lies beyond the
    /// precision of one of them.
    pub(super) fn compare(mut self, mut other: Self) -> Option<Ordering> {
        if self.first != other.first {
            return None;
        }
        if self.zone != other.zone {
            self.move_to_utc();
            other.move_to_utc();
        }
        let from = self.first;
        let common = self.known.min(other.known);
        let mine = self.parts.get(from..from + common)?;
        let order = mine.cmp(other.parts.get(from..from + common)?);
        (order.is_ne() || self.known == other.known).then_some(order)
    }

    /// Moves a zoned time to UTC. Without a zone a time is taken as UTC already; FHIR allows none but a time of day.
    fn move_to_utc(&mut self) {
        let Some(zone) = self.zone.take() else { return };
        let [year, month, day, hour, minute, _] = &mut self.parts;
        let minutes = days_from_civil(*year, *month, *day) * 1440 + *hour * 60 + *minute - zone;
        (*year, *month, *day) = civil_from_days(minutes.div_euclid(1440));
        (*hour, *minute) = (minutes.rem_euclid(1440) / 60, minutes.rem_euclid(60));
    }
}

fn number(digits: &str, width: usize) -> Option<i64> {
    let plain = digits.len() == width && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn zone_minutes(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (number(hours, 2)? * 60 + number(minutes, 2)?))
}

/// Days since 0000-03-01 of a proleptic Gregorian date: months are counted from March, so leap days come last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day - 1
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_respects_precision_and_zone() {
        let check = |left: &str, right: &str, want: Option<Ordering>| {
            let [a, b] = [left, right].map(|text| Temporal::parse(text).unwrap());
            assert_eq!(a.compare(b), want, "{left} against {right}");
        };
        check("2020", "2021", Some(Ordering::Less));
        check("2020", "2020-05", None);
        check("2019-12-31", "2020-05", Some(Ordering::Less));
        check("2020-02-29T23:30:00-01:00", "2020-03-01T00:30:00Z", Some(Ordering::Equal));
        check("2020-01-01T00:00:00.5Z", "2020-01-01T00:00:00Z", Some(Ordering::Greater));
        check("2020-01-01T00:00:00+14:00", "2019-12-31T10:00:00Z", Some(Ordering::Equal));
        check("T10:00", "09:59:59", Some(Ordering::Greater));
        check("T10:00", "2020-01-01", None);
        for bad in ["", "20", "2020-13", "2020-1-1", "abc", "2020-01-01T", "10", "2020T10:00", "2020-01-01T10:00x"] {
            // A bare trailing T is the literal form of a date (`@2015T`), so it does parse.
            assert_eq!(Temporal::parse(bad).is_some(), bad.ends_with('T'), "{bad}");
        }
    }
}
