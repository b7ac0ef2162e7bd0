//! Who reads where. On SQLite a read runs on the thread that has the request, on a connection of that thread: handing it
//! to another thread would cost more than the read. A search starts there too, and moves to a reader thread when it turns
//! out to be long. On PostgreSQL short reads of a thread share one connection, on which they are pipelined, and each search
//! has a connection for itself.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::conn::{Conn, Database, Use};
use super::error::{StoreError, UnitError};
use super::limit::Guard;
use super::pool::{Pool, Shared};
use super::{Limits, View};

/// A search on its way to a reader thread.
type Job = Box<dyn FnOnce(&mut Option<Conn>, &Database) + Send>;

pub(super) struct Readers {
    database: Database,
    limits: Limits,
    /// SQLite only.
    long: Option<crossbeam_channel::Sender<Job>>,
    /// Tells the connections of this store from those of another in the same thread.
    store: u64,
}

thread_local! {
    static SQLITE: RefCell<Vec<(u64, Conn)>> = const { RefCell::new(Vec::new()) };
}

impl Readers {
    pub(super) fn start(database: &Database, limits: &Limits) -> Result<Self, StoreError> {
        static STORES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let long = match database {
            Database::Postgres { .. } => None,
            Database::Sqlite { .. } => {
                let (send, jobs) = crossbeam_channel::bounded::<Job>(limits.queue_max);
                for _ in 0..limits.readers.max(1) {
                    let (jobs, database) = (jobs.clone(), database.clone());
                    std::thread::Builder::new()
                        .name("store-reader".into())
                        .spawn(move || {
                            let mut conn = None;
                            while let Ok(job) = jobs.recv() {
                                job(&mut conn, &database);
                            }
                        })
                        .map_err(StoreError::unavailable)?;
                }
                Some(send)
            }
        };
        let store = STORES.fetch_add(1, Ordering::Relaxed);
        Ok(Self { database: database.clone(), limits: limits.clone(), long, store })
    }

    pub(super) async fn read<T, E, F>(&self, unit: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Conn) -> Result<T, E>,
        E: UnitError,
    {
        match &self.database {
            Database::Sqlite { .. } => self.on_this_thread(|conn| at_once(unit(conn))),
            Database::Postgres { .. } => {
                let mut conn = Shared::get(self.store, &self.database).await?;
                unit(&mut conn).await
            }
        }
    }

    pub(super) async fn search<T, E, F>(&self, view: View, unit: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Conn) -> Result<T, E> + Send + Sync + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        let Some(long) = &self.long else {
            let limit_ms = self.limits.search_ms;
            let mut lease = Pool::lease(self.store, &self.database, limit_ms, &self.limits).await?;
            let found = run(lease.conn(), view, &unit).await;
            if let Err(error) = &found
                && error.store_error().is_some()
            {
                lease.discard();
            }
            lease.give_back();
            return found;
        };
        let inline = Duration::from_millis(self.limits.search_inline_ms);
        let first = self.on_this_thread(|conn| {
            let _limited = Guard::new(inline, None);
            at_once(run(conn, view, &unit))
        });
        match first {
            Err(error) if matches!(error.store_error(), Some(StoreError::TimeLimit)) => {}
            done => return done,
        }
        let cancelled = Flag(Arc::new(AtomicBool::new(false)));
        let (send, receive) = oneshot::channel();
        let (flag, limit) = (Arc::clone(&cancelled.0), Duration::from_millis(self.limits.search_ms));
        let job: Job = Box::new(move |conn, database| {
            if flag.load(Ordering::Relaxed) {
                return;
            }
            let found = open_sqlite(conn, database).map_err(E::from).and_then(|conn| {
                let _limited = Guard::new(limit, Some(flag));
                at_once(run(conn, view, &unit))
            });
            let _gone = send.send(found);
        });
        long.try_send(job).map_err(|_full| E::from(StoreError::Busy))?;
        receive.await.unwrap_or_else(|_dropped| Err(E::from(StoreError::Cancelled)))
    }

    fn on_this_thread<T, E: From<StoreError>>(&self, unit: impl FnOnce(&mut Conn) -> Result<T, E>) -> Result<T, E> {
        // Taken out while in use, so that nothing is borrowed when `unit` runs.
        let kept = SQLITE.with_borrow_mut(|conns| {
            let at = conns.iter().position(|(store, _)| *store == self.store)?;
            Some(conns.swap_remove(at).1)
        });
        let mut conn = match kept {
            Some(conn) => conn,
            None => at_once(Conn::open(&self.database, Use::Read))?,
        };
        let result = unit(&mut conn);
        SQLITE.with_borrow_mut(|conns| conns.push((self.store, conn)));
        result
    }
}

/// Set when the future of a search is dropped: its client has gone.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn open_sqlite<'c>(conn: &'c mut Option<Conn>, database: &Database) -> Result<&'c mut Conn, StoreError> {
    if conn.is_none() {
        *conn = Some(at_once(Conn::open(database, Use::Read))?);
    }
    conn.as_mut().ok_or(StoreError::Cancelled)
}

async fn run<T, E, F>(conn: &mut Conn, view: View, unit: &F) -> Result<T, E>
where
    F: AsyncFn(&mut Conn) -> Result<T, E>,
    E: From<StoreError>,
{
    if view == View::Current {
        return unit(conn).await;
    }
    let begin = conn.dialect().begin_snapshot();
    let found = match conn.share() {
        // The first statement need not wait until the transaction has begun.
        Some(mut beside) => {
            let (begun, found) = tokio::join!(biased; beside.batch(begin), unit(conn));
            begun?;
            found
        }
        None => {
            conn.batch(begin).await?;
            unit(conn).await
        }
    };
    match (conn.batch("COMMIT").await, found) {
        (Err(error), Ok(_)) => Err(error.into()),
        (_, found) => found,
    }
}

/// The result of a future that waits for nothing, as all futures on SQLite.
fn at_once<T, E: From<StoreError>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    future.now_or_never().unwrap_or_else(|| Err(E::from(StoreError::Corrupt("a read on SQLite waited".into()))))
}
