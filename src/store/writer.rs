//! The threads that write. SQLite has one, which commits many waiting units together, so that one sync to the disk serves
//! them all. PostgreSQL has several, each with a connection and one unit at a time: there the database groups commits.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::Limits;
use super::conn::{Conn, Database, Use};
use super::error::{StoreError, UnitError};

/// Units that are committed together.
const GROUP_MAX: usize = 128;
/// Groups that run with savepoints after one in which a unit was refused: refusals come in bursts.
const CAREFUL_GROUPS: u32 = 64;
/// Attempts at a unit that another transaction was in the way of.
const ATTEMPTS_MAX: u32 = 6;

thread_local! {
    /// Whether the transaction at hand adds to the log.
    static ADDS: Cell<bool> = const { Cell::new(false) };
}

/// Notes that the transaction at hand adds to the log: whoever follows it is woken after the commit.
pub(super) fn note_addition() {
    ADDS.set(true);
}

/// Wakes those who follow the log, if what was committed added to it.
fn wake(additions: &watch::Sender<()>, is_committed: bool) {
    if ADDS.take() && is_committed {
        additions.send_replace(());
    }
}

/// A unit of work on its way to a writer.
trait Unit: Send {
    /// Runs the unit; an error when it must be rolled back. The second part is true when the connection is to blame.
    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> LocalBoxFuture<'a, Result<(), Failed>>;
    /// Tells the one who waits, once it is known whether the transaction was committed.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A unit that must be rolled back: for its own reasons, or because another transaction was in its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    Refused,
    Contended,
}

struct Pending<F, T, E> {
    unit: F,
    outcome: Option<Result<T, E>>,
    waiting: oneshot::Sender<Done<F, T, E>>,
}

/// What the one who waits gets: also the unit, so that it is not the writer who frees what it holds.
type Done<F, T, E> = (Result<T, E>, F);

impl<F, T, E> Unit for Pending<F, T, E>
where
    F: AsyncFnMut(&mut Conn) -> Result<T, E> + Send,
    T: Send,
    E: UnitError,
{
    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> LocalBoxFuture<'a, Result<(), Failed>> {
        Box::pin(async move {
            let outcome = (self.unit)(conn).await;
            let verdict = match &outcome {
                Ok(_) => Ok(()),
                Err(error) if matches!(error.store_error(), Some(StoreError::Contended(_))) => Err(Failed::Contended),
                Err(_) => Err(Failed::Refused),
            };
            self.outcome = Some(outcome);
            verdict
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { unit, outcome, waiting } = *self;
        let outcome = match (outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(E::from(error)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(E::from(StoreError::Cancelled)),
        };
        // The one who waited may have gone; the write stands all the same.
        let _gone = waiting.send((outcome, unit));
    }
}

pub(super) struct Writers {
    queue: mpsc::Sender<Box<dyn Unit>>,
    count: usize,
}

impl Writers {
    /// Starts the writer threads.
    ///
    /// `additions` is told of commits that added to the log.
    pub(super) fn start(
        database: &Database,
        limits: &Limits,
        additions: &watch::Sender<()>,
    ) -> Result<Self, StoreError> {
        let (queue, units) = mpsc::channel(limits.queue_max);
        let count = match database {
            Database::Sqlite { .. } => {
                let (database, additions) = (database.clone(), additions.clone());
                spawn("store-writer", move || sqlite_writer(&database, units, &additions))?;
                1
            }
            Database::Postgres { .. } => {
                let units = std::sync::Arc::new(tokio::sync::Mutex::new(units));
                let count = limits.writers.max(1);
                for _ in 0..count {
                    let (database, units) = (database.clone(), std::sync::Arc::clone(&units));
                    let additions = additions.clone();
                    spawn("store-writer", move || postgres_writer(&database, &units, &additions))?;
                }
                count
            }
        };
        Ok(Self { queue, count })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) async fn submit<T, E, F>(&self, unit: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut Conn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        let (waiting, outcome) = oneshot::channel();
        self.queue
            .try_send(Box::new(Pending { unit, outcome: None, waiting }))
            .map_err(|_full| E::from(StoreError::Busy))?;
        match outcome.await {
            Ok((outcome, _unit)) => outcome,
            Err(_dropped) => Err(E::from(StoreError::Cancelled)),
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    thread::Builder::new().name(name.into()).spawn(run).map(|_detached| ()).map_err(StoreError::unavailable)
}

/// Opens a connection, or keeps the one there is.
async fn connected<'c>(conn: &'c mut Option<Conn>, database: &Database) -> Result<&'c mut Conn, StoreError> {
    if conn.is_none() {
        *conn = Some(Conn::open(database, Use::Write).await?);
    }
    conn.as_mut().ok_or(StoreError::Cancelled)
}

fn sqlite_writer(database: &Database, mut units: mpsc::Receiver<Box<dyn Unit>>, additions: &watch::Sender<()>) {
    let mut conn = None;
    let mut careful = 0;
    let mut group: Vec<Box<dyn Unit>> = Vec::new();
    while let Some(first) = units.blocking_recv() {
        group.push(first);
        while group.len() < GROUP_MAX
            && let Ok(next) = units.try_recv()
        {
            group.push(next);
        }
        // Nothing on SQLite waits, so the future is done at its first poll.
        let written = match connected(&mut conn, database).now_or_never() {
            Some(Ok(open)) => {
                write_group(open, &mut group, &mut careful).now_or_never().unwrap_or(Err(StoreError::Cancelled))
            }
            Some(Err(error)) => Err(error),
            None => Err(StoreError::Cancelled),
        };
        if let Err(error) = &written {
            tracing::error!(error = %error, source = ?std::error::Error::source(error), units = group.len(), "a group of writes was not committed");
            // The connection may be in any state: the next group gets a new one.
            conn = None;
        }
        let committed = written.is_ok();
        wake(additions, committed);
        let mut error = written.err();
        for unit in group.drain(..) {
            unit.finish(if committed {
                Ok(())
            } else {
                Err(error
                    .take()
                    .unwrap_or_else(|| StoreError::unavailable("the writes of this moment were rolled back")))
            });
        }
    }
}

/// Commits a group. A savepoint for each unit lets the others stand when one is refused, but every page that is changed is
/// then copied; so savepoints are used, for a while, only once a unit was refused.
async fn write_group(conn: &mut Conn, group: &mut [Box<dyn Unit>], careful: &mut u32) -> Result<(), StoreError> {
    conn.batch("BEGIN IMMEDIATE").await?;
    let is_alone = group.len() == 1;
    if *careful == 0 || is_alone {
        if run_together(conn, group).await {
            return conn.batch("COMMIT").await;
        }
        conn.batch("ROLLBACK").await?;
        if is_alone {
            return Ok(());
        }
        *careful = CAREFUL_GROUPS;
        conn.batch("BEGIN IMMEDIATE").await?;
    }
    *careful -= 1;
    for unit in group.iter_mut() {
        conn.batch("SAVEPOINT unit").await?;
        if unit.run(conn).await.is_err() {
            conn.batch("ROLLBACK TO unit").await?;
        }
        conn.batch("RELEASE unit").await?;
    }
    conn.batch("COMMIT").await
}

/// Runs the units of a group; false as soon as one has to be rolled back.
async fn run_together(conn: &mut Conn, group: &mut [Box<dyn Unit>]) -> bool {
    for unit in group.iter_mut() {
        if unit.run(conn).await.is_err() {
            return false;
        }
    }
    true
}

fn postgres_writer(
    database: &Database,
    units: &tokio::sync::Mutex<mpsc::Receiver<Box<dyn Unit>>>,
    additions: &watch::Sender<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a writer thread has no runtime");
            return;
        }
    };
    runtime.block_on(async {
        let mut conn = None;
        loop {
            let Some(mut unit) = units.lock().await.recv().await else { return };
            let committed = write_one(&mut conn, database, &mut *unit).await;
            if let Err(error) = &committed {
                tracing::error!(error = %error, source = ?std::error::Error::source(error), "a write was not committed");
                conn = None;
            }
            wake(additions, committed.is_ok());
            unit.finish(committed);
        }
    });
}

/// Runs a unit in a transaction of its own, again when another was in its way.
async fn write_one(conn: &mut Option<Conn>, database: &Database, unit: &mut dyn Unit) -> Result<(), StoreError> {
    for attempt in 1.. {
        let open = match connected(conn, database).await {
            Ok(open) => open,
            Err(error) => return Err(error),
        };
        // The first statement need not wait until the transaction has begun.
        let mut beside = open.share().ok_or(StoreError::Cancelled)?;
        let (begun, ran) = tokio::join!(biased; beside.batch("BEGIN"), unit.run(open));
        if begun.is_err() {
            // The server closed the connection while nobody looked: that is no fault of this unit.
            *conn = None;
            if attempt < ATTEMPTS_MAX {
                continue;
            }
            return Err(StoreError::unavailable("the connection to the database was lost"));
        }
        let failed = match ran {
            Ok(()) => match open.batch("COMMIT").await {
                Ok(()) => return Ok(()),
                Err(StoreError::Contended(_)) if attempt < ATTEMPTS_MAX => Failed::Contended,
                Err(error) => return Err(error),
            },
            Err(failed) => failed,
        };
        if open.batch("ROLLBACK").await.is_err() {
            *conn = None;
        }
        if failed == Failed::Refused || attempt >= ATTEMPTS_MAX {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
    }
    Ok(())
}
