//! A long read of one state, on a thread and a connection of its own: it keeps no request waiting, and no search.
//!
//! It also tells up to which moment it saw everything. A resource gets its `lastUpdated` before its transaction commits,
//! so what is committed later can bear an earlier moment than the read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Clock};

use diesel::sql_types as st;
use tokio::sync::oneshot;

use crate::fhir::types::{Instant, ResourceType};

use super::Store;
use super::conn::{Conn, Use};
use super::dialect::Dialect;
use super::error::{StoreError, UnitError};
use super::limit::Guard;
use super::sql::Bind;

/// The longest read, and the longest single statement of one: whoever waits for more is stuck.
const READ_MAX: Duration = Duration::from_secs(24 * 60 * 60);
pub(super) const STATEMENT_MAX_MS: u64 = 30 * 60 * 1000;
/// A unit of work reads the clock, and only then does PostgreSQL learn that its transaction begins; the clock has steps of
/// a millisecond. So much later every transaction that bears an earlier moment is known to the database.
const SETTLED_AFTER: Duration = Duration::from_millis(50);
/// The longest wait for transactions that were open; and between two looks.
const WAIT_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the state that is read consists of.
enum Mark {
    /// All versions up to this one: there is one writer at a time.
    Sqlite { seq: i64 },
    /// The versions of the transactions that this text of PostgreSQL's type `pg_snapshot` names as done.
    Postgres { snapshot: String },
}

/// A state of the directory that does not change while it is read.
pub struct Snapshot {
    conn: Conn,
    store: Store,
    mark: Mark,
    taken: Clock,
    gone: Arc<AtomicBool>,
}

/// Set when nobody waits for the read any more.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a long read; see [`Store::snapshot`].
pub(super) async fn read<T, E, F>(store: &Store, unit: F) -> Result<T, E>
where
    F: AsyncFnOnce(&mut Snapshot) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: UnitError,
{
    let flag = Flag(Arc::new(AtomicBool::new(false)));
    let (gone, store) = (Arc::clone(&flag.0), store.clone());
    let (mut send, receive) = oneshot::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = match runtime {
            Err(error) => Err(E::from(StoreError::unavailable(error))),
            Ok(runtime) => runtime.block_on(async {
                // On SQLite nothing waits, so that a statement has to look for itself whether it is wanted.
                let _limited = Guard::new(READ_MAX, Some(Arc::clone(&gone)));
                tokio::select! {
                    found = async {
                        let mut snapshot = Snapshot::take(store, gone).await?;
                        unit(&mut snapshot).await
                    } => found,
                    () = send.closed() => Err(E::from(StoreError::Cancelled)),
                }
            }),
        };
        let _gone = send.send(found);
    };
    std::thread::Builder::new().name("store-snapshot".into()).spawn(work).map_err(StoreError::unavailable)?;
    receive.await.unwrap_or_else(|_ended| Err(E::from(StoreError::Cancelled)))
}

impl Snapshot {
    async fn take(store: Store, gone: Arc<AtomicBool>) -> Result<Self, StoreError> {
        let mut conn = Conn::open(store.database(), Use::Snapshot).await?;
        conn.batch(conn.dialect().begin_snapshot()).await?;
        // The first statement takes the snapshot, on both databases.
        let mark = match conn.dialect() {
            Dialect::Sqlite => {
                let newest = conn.sql("SELECT COALESCE(MAX(seq), 0) FROM version");
                let seq = conn.first::<(st::BigInt,), (i64,)>(&newest).await?.map_or(0, |row| row.0);
                Mark::Sqlite { seq }
            }
            Dialect::Postgres => {
                let current = conn.sql("SELECT CAST(pg_current_snapshot() AS text)");
                let snapshot = conn.first::<(st::Text,), (String,)>(&current).await?;
                Mark::Postgres { snapshot: snapshot.map(|row| row.0).unwrap_or_default() }
            }
        };
        Ok(Self { conn, store, mark, taken: Clock::now(), gone })
    }

    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// To be asked between two steps.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] when nobody waits for the read any more.
    pub fn go_on(&self) -> Result<(), StoreError> {
        if self.gone.load(Ordering::Relaxed) { Err(StoreError::Cancelled) } else { Ok(()) }
    }

    /// Ends the read, and tells the latest moment, `now` at most, up to which it saw everything that happened to resources
    /// of these types. `now` is a moment after the read began.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when a transaction that was open does not end in two minutes.
    pub async fn whole_until(&mut self, now: Instant, types: &[ResourceType]) -> Result<Instant, StoreError> {
        self.conn.batch("COMMIT").await?;
        tokio::time::sleep(SETTLED_AFTER.saturating_sub(self.taken.elapsed())).await;
        match self.conn.dialect() {
            // Whatever was waiting or under way is committed when a unit of work has its turn after it.
            Dialect::Sqlite => self.store.write(async |_: &mut Conn| Ok::<_, StoreError>(())).await?,
            Dialect::Postgres => self.wait_for_writers().await?,
        }
        let types = types.iter().map(|it| i64::from(it.code())).collect();
        let mut missed = self.conn.sql("SELECT MIN(v.at) FROM version v WHERE v.rtype");
        missed.in_i64s(types).text(" AND v.at <= ").i64(now.0);
        match &self.mark {
            Mark::Sqlite { seq } => missed.text(" AND v.seq > ").i64(*seq),
            Mark::Postgres { snapshot } => {
                missed
                    .text(" AND v.xid >= CAST(CAST(pg_snapshot_xmin(CAST(")
                    .str(snapshot)
                    .text(" AS pg_snapshot)) AS text) AS bigint) AND NOT pg_visible_in_snapshot(CAST(CAST(v.xid AS text) AS xid8), CAST(")
                    .str(snapshot)
                    .text(" AS pg_snapshot))")
            }
        };
        let missed = self.conn.first::<(st::Nullable<st::BigInt>,), (Option<i64>,)>(&missed).await?;
        // FHIR's instants have milliseconds here.
        Ok(missed.and_then(|row| row.0).map_or(now, |at| Instant(at - 1000)))
    }

    /// Waits until the transactions have ended that may have been open when the snapshot was taken and write: those of
    /// servers, which may wait for a lock before they have a number, and whoever else has written already.
    async fn wait_for_writers(&mut self) -> Result<(), StoreError> {
        let deadline = Clock::now() + WAIT_MAX;
        let mut open = self.writers().await?;
        while !open.is_empty() {
            self.go_on()?;
            if Clock::now() > deadline {
                return Err(StoreError::unavailable(
                    "a transaction has been open for minutes, which hides what it wrote",
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.writers().await?;
            open.retain(|transaction| now.contains(transaction));
        }
        Ok(())
    }

    /// The open transactions of other connections that may write, by PostgreSQL's names for them.
    async fn writers(&mut self) -> Result<Vec<String>, StoreError> {
        let mut sql = self.conn.sql("SELECT DISTINCT l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE a.datname = current_database() AND l.pid <> pg_backend_pid() AND ((l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock') OR (l.locktype = 'virtualxid' AND a.application_name = ");
        sql.bind(Bind::Text(super::conn::APPLICATION.into())).text("))");
        let rows = self.conn.rows::<(st::Text,), (String,)>(&sql).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }
}
