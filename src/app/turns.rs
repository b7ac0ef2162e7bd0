//! Work of a terminology operation, or at a password, beside the threads that answer requests: a large expansion takes a while, and meanwhile
//! the other requests of the same thread, those for its health among them, would wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;

/// How long a request waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The turns that terminology operations take.
pub struct Turns {
    /// For value sets that clients send: what they cost is bounded, but each one anew.
    sent: Arc<Semaphore>,
    /// For what is loaded, most of which was worked out before.
    loaded: Arc<Semaphore>,
    /// For passwords and secrets, whose hashes take long on purpose.
    secrets: Arc<Semaphore>,
    wait_max: Duration,
}

impl Turns {
    /// For a machine with so many cores: sent value sets never keep all of them busy if there are several.
    pub fn new(cores: usize) -> Self {
        let turns = |count: usize| Arc::new(Semaphore::new(count.max(1)));
        Self { sent: turns(cores / 2), loaded: turns(cores * 2), secrets: turns(cores), wait_max: WAIT_MAX }
    }

    /// Does the work of an operation on another thread, when it is its turn; `is_sent` for one that a body came with. A turn ends with the work, not with the
    /// request: a client that has gone does not make room for its next one.
    ///
    /// # Errors
    /// Those of the work; 503 when it does not get a turn in time.
    pub async fn take<T: Send + 'static>(
        &self,
        is_sent: bool,
        work: impl FnOnce() -> Result<T, FhirError> + Send + 'static,
    ) -> Result<T, FhirError> {
        self.at(if is_sent { &self.sent } else { &self.loaded }, work).await
    }

    /// The same for work at a password or a secret.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn at_secrets<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, FhirError> + Send + 'static,
    ) -> Result<T, FhirError> {
        self.at(&self.secrets, work).await
    }

    async fn at<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        work: impl FnOnce() -> Result<T, FhirError> + Send + 'static,
    ) -> Result<T, FhirError> {
        let turn = tokio::time::timeout(self.wait_max, Arc::clone(turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let sentence = "Too many of these are under way; try again later.";
            return Err(FhirError::new(Kind::Unavailable, sentence).code(IssueCode::Throttled));
        };
        let done = tokio::task::spawn_blocking(move || {
            let _until_the_end = turn;
            work()
        });
        done.await.map_err(|failed| FhirError::new(Kind::Internal, "The operation failed.").caused_by(failed))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_thread_goes_on_while_the_work_is_done() {
        let turns = Turns::new(1);
        let (go, wait) = mpsc::channel::<()>();
        let work = turns.take(true, move || Ok(wait.recv().is_ok()));
        // On this one thread the work would never end if it were done here.
        let (done, ()) = tokio::join!(work, async {
            tokio::task::yield_now().await;
            go.send(()).expect("it waits");
        });
        assert!(done.expect("an answer"));
    }

    #[tokio::test]
    async fn who_gets_no_turn_is_sent_away() {
        let turns = Turns { wait_max: Duration::from_millis(1), ..Turns::new(1) };
        let _busy = Arc::clone(&turns.sent).acquire_owned().await.expect("a turn");
        let error = turns.take(true, || Ok(())).await.expect_err("refused");
        assert_eq!(error.kind.status(), 503);
    }
}
