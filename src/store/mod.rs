//! The only SQL. One [`Store`] over an embedded SQLite file or a PostgreSQL database; what differs between the two is in
//! [`conn`], [`migrate`] and [`dialect`], the statements themselves are shared.

pub mod change;
pub mod changes;
mod condition;
pub mod conn;
pub mod dialect;
pub mod error;
pub mod export_jobs;
mod filter;
pub mod history;
pub mod include;
pub mod index;
pub mod lanes;
mod limit;
pub mod migrate;
pub mod notifications;
pub mod page;
mod pool;
mod predicate;
pub mod presence;
pub mod progress;
mod reader;
pub mod records;
pub mod resources;
pub mod shared;
pub mod snapshot;
pub mod sql;
pub mod walk;
mod writer;

use std::sync::Arc;

use tokio::sync::watch;

use conn::{Conn, Database};
use dialect::Dialect;
use error::{StoreError, UnitError};
use reader::Readers;
use snapshot::Snapshot;
use writer::Writers;

/// Bounds of the store; see the settings `store.*`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A search that takes longer is ended and answered 503.
    pub search_ms: u64,
    /// SQLite: a search that takes longer leaves the thread of its request for a reader thread.
    pub search_inline_ms: u64,
    /// SQLite: reader threads for long searches. PostgreSQL: connections for searches of each server thread.
    pub readers: usize,
    /// PostgreSQL: connections that write.
    pub writers: usize,
    /// Requests that may wait for a writer or a reader; more are answered 503.
    pub queue_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { search_ms: 10_000, search_inline_ms: 5, readers: 4, writers: 4, queue_max: 1024 }
    }
}

/// What the statements of a search see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Each what is stored when it begins: enough for a search of one statement.
    Current,
    /// All the same state.
    Snapshot,
}

/// The directory's database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    readers: Arc<Readers>,
    writers: Arc<Writers>,
    additions: watch::Sender<()>,
}

impl Store {
    /// Opens the database at `url` (`sqlite:FILE`, `postgres://…`), brings its tables up to date and starts the writers.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be reached, or was made by a newer release.
    pub async fn open(url: &str, limits: Limits) -> Result<Self, StoreError> {
        let database = Database::parse(url)?;
        let mut conn = Conn::open(&database, conn::Use::Write).await?;
        migrate::run(&mut conn).await?;
        drop(conn);
        let additions = watch::Sender::new(());
        Ok(Self {
            readers: Arc::new(Readers::start(&database, &limits)?),
            writers: Arc::new(Writers::start(&database, &limits, &additions)?),
            database,
            additions,
        })
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Changes when this process has committed something to the log. What others commit has to be looked for.
    pub fn additions(&self) -> watch::Receiver<()> {
        self.additions.subscribe()
    }

    /// To be called after many changes: PostgreSQL chooses indexes by statistics that it would gather by itself only a
    /// minute later, and keeps its plans until then. SQLite needs none: there the text of a statement says it all.
    ///
    /// # Errors
    /// [`StoreError`] of the statement.
    pub async fn gather_statistics(&self) -> Result<(), StoreError> {
        match self.database.dialect() {
            Dialect::Sqlite => Ok(()),
            Dialect::Postgres => self.write(async |conn: &mut Conn| conn.batch("ANALYZE").await).await,
        }
    }

    /// How many units of work are written at the same time.
    pub fn writers(&self) -> usize {
        self.writers.count()
    }

    /// Asks the database for one row.
    ///
    /// # Errors
    /// [`StoreError`] when it does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(async |conn: &mut Conn| {
            let select = conn.sql("SELECT number FROM migration ORDER BY number DESC LIMIT 1");
            conn.first::<(diesel::sql_types::BigInt,), (i64,)>(&select).await.map(|_newest| ())
        })
        .await
    }

    /// Runs `unit` in one transaction: all of what it does becomes durable, or nothing. It runs once more if another
    /// transaction was in its way, so what it does outside the database must bear repetition. It must not wait for
    /// anything but the connection: on SQLite it has the one writer to itself.
    ///
    /// # Errors
    /// The unit's own error, after a rollback; or the store's.
    pub async fn write<T, E, F>(&self, unit: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut Conn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        self.writers.submit(unit).await
    }

    /// Runs a short read: a few rows by key.
    ///
    /// # Errors
    /// The read's own error, or the store's.
    pub async fn read<T, E, F>(&self, unit: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Conn) -> Result<T, E>,
        E: UnitError,
    {
        self.readers.read(unit).await
    }

    /// Runs a search within the time limit. It ends when the returned future is dropped. `unit` may run twice, the
    /// second time where it disturbs nobody.
    ///
    /// # Errors
    /// The search's own error, or the store's; [`StoreError::TimeLimit`] when it took too long.
    pub async fn search<T, E, F>(&self, view: View, unit: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Conn) -> Result<T, E> + Send + Sync + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        self.readers.search(view, unit).await
    }

    /// Runs a long read of one state of the directory, on a thread of its own; it may take its time. It ends when the
    /// returned future is dropped. A state that is read for long keeps SQLite's log of writes from being cut back, and
    /// PostgreSQL from clearing away what was replaced since.
    ///
    /// # Errors
    /// The read's own error, or the store's.
    pub async fn snapshot<T, E, F>(&self, unit: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Snapshot) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: UnitError,
    {
        snapshot::read(self, unit).await
    }
}
