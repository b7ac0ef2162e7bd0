//! When a delivery that failed is tried again.

use std::time::Duration;

use crate::config;
use crate::fhir::types::Instant;

const HOUR_S: u64 = 3_600;
/// However long a server wants to be left alone, it is asked again after this time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(HOUR_S);

/// The waits between the attempts of one delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Seconds from the first attempt to the second, from the second to the third, and so on.
    pub steps_s: Vec<u64>,
    /// Seconds between attempts after that; 0: there are none.
    pub then_every_s: u64,
    /// Seconds after the first failure after which no attempt begins.
    pub give_up_s: u64,
    /// The part of a wait by which it is longer or shorter at random, 0 to 1: what failed together does not come back together.
    pub jitter: f64,
}

/// What is done after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next attempt, not before this moment.
    At(Instant),
    GiveUp,
}

impl Schedule {
    pub fn new(settings: &config::Delivery) -> Self {
        Self {
            steps_s: settings.retry_steps_s.clone(),
            then_every_s: settings.then_every_s,
            give_up_s: u64::from(settings.give_up_h) * HOUR_S,
            jitter: settings.retry_jitter,
        }
    }

    /// The longest wait that it can come to, in microseconds.
    pub fn longest_us(&self) -> i64 {
        let longest_s = self.steps_s.iter().copied().chain([self.then_every_s]).max().unwrap_or(0);
        let jittered = Duration::from_secs(longest_s).mul_f64(1.0 + self.jitter);
        micros(jittered.max(RETRY_AFTER_MAX))
    }

    /// What follows the failure at `now` of attempt number `attempt` (the first is 1), when the first failure was at
    /// `failing_since`. `retry_after` is what the server asked for: it counts when it is longer than the wait that is due, up to
    /// an hour. `random` is from 0 to 1; 0.5 leaves the wait as it is.
    pub fn next(
        &self,
        attempt: u32,
        failing_since: Instant,
        now: Instant,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Next {
        let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait_s = match self.steps_s.get(step) {
            Some(step_s) => *step_s,
            None if self.then_every_s == 0 => return Next::GiveUp,
            None => self.then_every_s,
        };
        let planned = micros(Duration::from_secs(wait_s)) as f64 * (1.0 + self.jitter * (2.0 * random - 1.0));
        let asked = micros(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
        // As: of a float that fits no integer, the nearest one that does.
        let at = now.0.saturating_add((planned as i64).max(asked));
        let end = failing_since.0.saturating_add(micros(Duration::from_secs(self.give_up_s)));
        if at > end { Next::GiveUp } else { Next::At(Instant(at)) }
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    const SECOND: i64 = 1_000_000;

    /// Of a schedule without chance: seconds from now.
    fn wait(schedule: &Schedule, attempt: u32, failing_for_s: i64, retry_after_s: Option<u64>) -> Option<i64> {
        let now = Instant(1_700_000_000 * SECOND);
        let since = Instant(now.0 - failing_for_s * SECOND);
        match schedule.next(attempt, since, now, retry_after_s.map(Duration::from_secs), 0.5) {
            Next::At(at) => Some((at.0 - now.0) / SECOND),
            Next::GiveUp => None,
        }
    }

    fn default() -> Schedule {
        Schedule::new(&Settings::defaults().expect("defaults").delivery)
    }

    #[test]
    fn waits_grow_until_they_are_even_and_end_after_a_week() {
        let waits: Vec<_> = (1..10).map(|attempt| wait(&default(), attempt, 0, None)).collect();
        assert_eq!(waits, [1, 5, 30, 120, 300, 900, 1_800, 3_600, 3_600].map(Some));
        let week = 7 * 86_400;
        assert_eq!(wait(&default(), u32::MAX, week - 3_600, None), Some(3_600));
        assert_eq!(wait(&default(), 200, week - 3_599, None), None);
        assert_eq!(wait(&default(), 1, week, None), None);
    }

    #[test]
    fn a_fixed_number_of_tries_can_be_had() {
        let three = Schedule { steps_s: vec![1, 1], then_every_s: 0, give_up_s: 3_600, jitter: 0.2 };
        assert_eq!([1, 2, 3, 4].map(|attempt| wait(&three, attempt, 0, None)), [Some(1), Some(1), None, None]);
        let one = Schedule { steps_s: vec![], ..three.clone() };
        assert_eq!(wait(&one, 1, 0, None), None);
        let none_later = Schedule { give_up_s: 0, ..three };
        assert_eq!(wait(&none_later, 1, 0, None), None);
    }

    #[test]
    fn a_server_that_wants_more_time_gets_it_within_reason() {
        for (attempt, retry_after_s, expected) in [
            (1, Some(0), Some(1)),
            (1, Some(1), Some(1)),
            (1, Some(60), Some(60)),
            (4, Some(60), Some(120)),
            (1, Some(3_600), Some(3_600)),
            (1, Some(3_601), Some(3_600)),
            (1, Some(u64::MAX), Some(3_600)),
        ] {
            assert_eq!(wait(&default(), attempt, 0, retry_after_s), expected, "{attempt}, {retry_after_s:?}");
        }
        // What it asks for does not prolong the whole.
        assert_eq!(wait(&default(), 1, 7 * 86_400 - 60, Some(61)), None);
    }

    #[test]
    fn chance_moves_a_wait_by_a_fifth() {
        let now = Instant(0);
        for (random, micros) in [(0.0, 80), (0.25, 90), (0.5, 100), (1.0, 120)] {
            let schedule = Schedule { steps_s: vec![100], ..default() };
            let Next::At(at) = schedule.next(1, now, now, None, random) else { unreachable!("an attempt") };
            assert!((at.0 - micros * SECOND).abs() <= 1, "{random}: {at:?}");
        }
        let exact = Schedule { jitter: 0.0, ..default() };
        assert_eq!(exact.next(1, now, now, None, 1.0), Next::At(Instant(SECOND)));
    }

    #[test]
    fn nothing_overflows() {
        let wide = Schedule { steps_s: vec![u64::MAX], then_every_s: u64::MAX, give_up_s: u64::MAX, jitter: 1.0 };
        for random in [0.0, 1.0, f64::NAN, f64::INFINITY] {
            for attempt in [0, 1, u32::MAX] {
                let _next = wide.next(attempt, Instant(i64::MIN), Instant(i64::MAX), Some(Duration::MAX), random);
            }
        }
    }
}
