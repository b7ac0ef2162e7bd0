//! The clock that everything here goes by. It can be moved, so that what takes days can be tried in seconds.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::fhir::types::Instant;

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;

/// The system's clock, ahead by as much as it was moved. Cheap to clone; all clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Microseconds.
    ahead: Arc<watch::Sender<i64>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { ahead: Arc::new(watch::Sender::new(0)) }
    }
}

impl Clock {
    /// Now, to the millisecond: what `meta.lastUpdated` can show.
    pub fn now(&self) -> Instant {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX / 2_000);
        Instant(millis * 1_000 + *self.ahead.borrow())
    }

    /// Moves the clock ahead. Whoever sleeps until a moment that has come by that wakes up.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX / 4);
        self.ahead.send_modify(|ahead| *ahead = ahead.saturating_add(micros));
    }

    /// Waits until a moment has come.
    pub async fn sleep_until(&self, moment: Instant) {
        let mut moved = self.ahead.subscribe();
        loop {
            let left = moment.0.saturating_sub(self.now().0);
            if left <= 0 {
                return;
            }
            // A clock that the system sets back or forth is looked at again soon.
            let wait = Duration::from_micros(left.min(60 * SECOND).unsigned_abs());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = moved.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_sleeps_wakes_when_the_clock_is_moved() {
        let clock = Clock::default();
        let six_hours = Duration::from_secs(6 * 3_600);
        let moment = Instant(clock.now().0 + 6 * 3_600 * SECOND);
        let (other, ()) = tokio::join!(
            async {
                clock.sleep_until(moment).await;
                clock.now()
            },
            async {
                tokio::task::yield_now().await;
                clock.advance(six_hours);
            }
        );
        assert!(other >= moment);
    }
}
