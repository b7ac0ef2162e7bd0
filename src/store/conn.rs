//! A connection to either database, and the two things done with it: fetch rows, execute.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use diesel::connection::{LoadConnection, SimpleConnection};
use diesel::deserialize::FromSqlRow;
use diesel::pg::Pg;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{Connection, QueryResult};
use diesel_async::{AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::TryStreamExt;
use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;

use super::dialect::Dialect;
use super::error::StoreError;
use super::limit;
use super::snapshot::STATEMENT_MAX_MS;
use super::sql::Sql;

/// Prepared statements that one connection keeps. Searches come in endlessly many shapes; what is over the bound is
/// prepared for one use.
const CACHED_STATEMENTS_MAX: usize = 500;

/// What PostgreSQL knows the connections of servers by; those of long reads, which write nothing, have a name of their own.
pub(super) const APPLICATION: &str = "plumbline";
const LONG_READ: &str = "plumbline long read";

/// Which database, as its URL says.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite { file: PathBuf },
    Postgres { config: Box<tokio_postgres::Config> },
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Read,
    Search {
        limit_ms: u64,
    },
    /// A long read of one state.
    Snapshot,
    Write,
}

impl Database {
    /// `sqlite:FILE`, `sqlite://FILE`, `postgres://…` or `postgresql://…`.
    ///
    /// # Errors
    /// [`StoreError::Url`] for anything else: a mistyped URL must not create an empty database file.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let not_understood = || StoreError::Url { url: without_password(url) };
        if let Some(file) = url.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            return if file.is_empty() { Err(not_understood()) } else { Ok(Self::Sqlite { file: file.into() }) };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let mut config: tokio_postgres::Config = url.parse().map_err(|_unreadable| not_understood())?;
            config.application_name(APPLICATION);
            return Ok(Self::Postgres { config: Box::new(config) });
        }
        Err(not_understood())
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres { .. } => Dialect::Postgres,
        }
    }
}

/// A database URL as it may be shown.
pub fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// An open connection. The PostgreSQL one is shared between clones, which pipeline their statements on it.
pub enum Conn {
    Sqlite(Box<SqliteLink>),
    Postgres(Rc<PostgresLink>),
}

pub struct SqliteLink {
    conn: SqliteConnection,
    kept: HashSet<u64>,
}

pub struct PostgresLink {
    conn: AsyncPgConnection,
    kept: RefCell<HashSet<u64>>,
    tls: MakeTlsConnector,
    /// Moves the bytes; done when the connection is lost.
    driver: tokio::task::JoinHandle<()>,
}

/// A row type that both databases can give for the SQL types `ST`.
pub trait FromRow<ST>: FromSqlRow<ST, Sqlite> + FromSqlRow<ST, Pg> {}

impl<ST, U: FromSqlRow<ST, Sqlite> + FromSqlRow<ST, Pg>> FromRow<ST> for U {}

impl Conn {
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot be opened.
    pub async fn open(database: &Database, purpose: Use) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite { file } => {
                if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    std::fs::create_dir_all(folder).map_err(StoreError::unavailable)?;
                }
                if purpose == Use::Write {
                    make_private(file).map_err(StoreError::unavailable)?;
                }
                let mut conn = SqliteConnection::establish(&file.to_string_lossy()).map_err(StoreError::unavailable)?;
                prepare_sqlite(&mut conn, purpose).map_err(StoreError::from)?;
                Ok(Self::Sqlite(Box::new(SqliteLink { conn, kept: HashSet::new() })))
            }
            Database::Postgres { config } => {
                let mut conn = if purpose == Use::Snapshot {
                    let mut config = config.clone();
                    config.application_name(LONG_READ);
                    Self::Postgres(Rc::new(connect_postgres(&config).await?))
                } else {
                    Self::Postgres(Rc::new(connect_postgres(config).await?))
                };
                let limit_ms = match purpose {
                    Use::Search { limit_ms } => Some(limit_ms),
                    Use::Snapshot => Some(STATEMENT_MAX_MS),
                    Use::Read | Use::Write => None,
                };
                if let Some(limit_ms) = limit_ms {
                    let session = Dialect::SEARCH_SESSION;
                    conn.batch(&format!("SET statement_timeout = {limit_ms}; {session}")).await?;
                }
                Ok(conn)
            }
        }
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A statement for this connection.
    pub fn sql(&self, text: &'static str) -> Sql {
        Sql::new(self.dialect(), text)
    }

    /// All rows of a statement.
    ///
    /// # Errors
    /// [`StoreError`] by what the database says.
    pub async fn rows<ST, U>(&mut self, sql: &Sql) -> Result<Vec<U>, StoreError>
    where
        ST: 'static + Send,
        U: FromRow<ST>,
        Sqlite: diesel::expression::QueryMetadata<ST>,
        Pg: diesel::expression::QueryMetadata<ST>,
    {
        let rows = match self {
            Self::Sqlite(link) => {
                sql.set_cached(link.keeps(sql));
                let mut rows = Vec::new();
                for row in link.conn.load(sql.typed::<ST>())? {
                    rows.push(U::build_from_row(&row?).map_err(diesel::result::Error::DeserializationError)?);
                }
                rows
            }
            Self::Postgres(link) => {
                sql.set_cached(link.keeps(sql));
                let loading = (&mut &link.conn).load(sql.typed::<ST>());
                let mut stream = loading.await?;
                let mut rows = Vec::new();
                while let Some(row) = stream.try_next().await? {
                    rows.push(U::build_from_row(&row).map_err(diesel::result::Error::DeserializationError)?);
                }
                rows
            }
        };
        Ok(rows)
    }

    /// The first row of a statement.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub async fn first<ST, U>(&mut self, sql: &Sql) -> Result<Option<U>, StoreError>
    where
        ST: 'static + Send,
        U: FromRow<ST>,
        Sqlite: diesel::expression::QueryMetadata<ST>,
        Pg: diesel::expression::QueryMetadata<ST>,
    {
        Ok(self.rows::<ST, U>(sql).await?.into_iter().next())
    }

    /// Executes a statement; the number of rows it touched.
    ///
    /// # Errors
    /// [`StoreError`] by what the database says.
    pub async fn execute(&mut self, sql: &Sql) -> Result<usize, StoreError> {
        Ok(match self {
            Self::Sqlite(link) => {
                sql.set_cached(link.keeps(sql));
                link.conn.execute_returning_count(sql)?
            }
            Self::Postgres(link) => {
                sql.set_cached(link.keeps(sql));
                (&mut &link.conn).execute_returning_count(sql.clone()).await?
            }
        })
    }

    /// Executes statements that do not depend on one another; on PostgreSQL all are sent before the first is answered.
    ///
    /// # Errors
    /// [`StoreError`] of the first that fails.
    pub async fn execute_all(&mut self, statements: &[Sql]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => {
                for sql in statements {
                    self.execute(sql).await?;
                }
            }
            Self::Postgres(link) => {
                let link = &**link;
                let sent = statements.iter().map(|sql| {
                    sql.set_cached(link.keeps(sql));
                    (&mut &link.conn).execute_returning_count(sql.clone())
                });
                futures_util::future::try_join_all(sent).await?;
            }
        }
        Ok(())
    }

    /// Statements without binds or rows, several in one text.
    ///
    /// # Errors
    /// [`StoreError`] by what the database says.
    pub async fn batch(&mut self, statements: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(link) => link.conn.batch_execute(statements)?,
            Self::Postgres(link) => (&mut &link.conn).batch_execute(statements).await?,
        }
        Ok(())
    }

    /// Another handle on a PostgreSQL connection, for a statement beside those under way.
    pub(super) fn share(&self) -> Option<Self> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(link) => Some(Self::Postgres(Rc::clone(link))),
        }
    }

    /// The server has closed it.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(link) => link.driver.is_finished(),
        }
    }

    /// What ends the statement that runs on a PostgreSQL connection.
    pub(super) fn cancel_token(&self) -> Option<Cancel> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(link) => Some(Cancel(link.conn.cancel_token(), link.tls.clone())),
        }
    }
}

impl SqliteLink {
    fn keeps(&mut self, sql: &Sql) -> bool {
        let shape = sql.shape();
        self.kept.contains(&shape) || (self.kept.len() < CACHED_STATEMENTS_MAX && self.kept.insert(shape))
    }
}

impl PostgresLink {
    fn keeps(&self, sql: &Sql) -> bool {
        let shape = sql.shape();
        let mut kept = self.kept.borrow_mut();
        kept.contains(&shape) || (kept.len() < CACHED_STATEMENTS_MAX && kept.insert(shape))
    }
}

/// Makes the file of a new database, for its owner's eyes alone: hashes of passwords will be in it. SQLite gives the files
/// beside it the same rights.
fn make_private(file: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn prepare_sqlite(conn: &mut SqliteConnection, purpose: Use) -> QueryResult<()> {
    // Each PRAGMA by itself, the timeout first: changing the journal mode may have to wait for another process.
    conn.batch_execute("PRAGMA busy_timeout = 5000")?;
    if purpose == Use::Write {
        conn.batch_execute("PRAGMA journal_mode = WAL")?;
        // An acknowledged write survives power loss.
        conn.batch_execute("PRAGMA synchronous = FULL")?;
        conn.batch_execute("PRAGMA wal_autocheckpoint = 10000")?;
        conn.batch_execute("PRAGMA journal_size_limit = 67108864")?;
        conn.batch_execute("PRAGMA cache_size = -32768")?;
    } else {
        conn.batch_execute("PRAGMA query_only = ON")?;
        conn.batch_execute("PRAGMA cache_size = -8192")?;
    }
    conn.batch_execute("PRAGMA temp_store = MEMORY")?;
    limit::register(conn)
}

async fn connect_postgres(config: &tokio_postgres::Config) -> Result<PostgresLink, StoreError> {
    let connector = SslConnector::builder(SslMethod::tls()).map_err(StoreError::unavailable)?.build();
    let tls = MakeTlsConnector::new(connector);
    let (client, connection) = config.connect(tls.clone()).await.map_err(StoreError::unavailable)?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "a connection to PostgreSQL was lost");
        }
    });
    let conn = AsyncPgConnection::try_from(client).await.map_err(StoreError::unavailable)?;
    Ok(PostgresLink { conn, kept: RefCell::new(HashSet::new()), tls, driver })
}

/// Ends the statement that runs on a connection.
pub(super) struct Cancel(tokio_postgres::CancelToken, MakeTlsConnector);

impl Cancel {
    pub(super) async fn send(self) {
        if let Err(error) = self.0.cancel_query(self.1).await {
            tracing::debug!(%error, "an abandoned statement could not be cancelled");
        }
    }
}
