//! Which of the processes on one database deliver, and which of them live.
//!
//! On SQLite it is one: the one that holds a lock on a file beside the database. The others stand by. On PostgreSQL each node
//! holds an advisory lock under its own number on a connection of its own, and sees the numbers of the others. Either lock is
//! gone with the process, however that ends, so that what it held is taken over at once. On the same connection a node hears
//! when another has fanned something out.

use std::fs::{File, OpenOptions, TryLockError};
use std::future::poll_fn;
use std::path::Path;

use diesel::sql_types as st;
use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;
use tokio::sync::watch;
use tokio_postgres::AsyncMessage;

use super::Store;
use super::conn::{Conn, Database};
use super::dialect::Dialect;
use super::error::StoreError;

/// The channel on which nodes of PostgreSQL tell each other that something was fanned out.
const CHANNEL: &str = "plumbline_fanned_out";

/// A process that delivers. It stops to be one when this is dropped.
pub struct Presence {
    node: i64,
    link: Link,
}

enum Link {
    /// The lock is on the open file.
    Sqlite(#[expect(dead_code, reason = "it is held, not read")] File),
    Postgres {
        _client: tokio_postgres::Client,
        driver: tokio::task::JoinHandle<()>,
        heard: watch::Receiver<()>,
    },
}

impl Presence {
    /// Joins those who deliver from this database; `None` when another process does and one is enough.
    ///
    /// # Errors
    /// [`StoreError`] when the database or the file of the lock cannot be used.
    pub async fn join(store: &Store) -> Result<Option<Self>, StoreError> {
        let mut random = [0; 8];
        openssl::rand::rand_bytes(&mut random).map_err(StoreError::unavailable)?;
        // Positive, and never 0.
        let node = (i64::from_be_bytes(random) & i64::MAX) | 1;
        let link = match store.database() {
            Database::Sqlite { file } => match lock(file)? {
                Some(file) => Link::Sqlite(file),
                None => return Ok(None),
            },
            Database::Postgres { config } => listen(config, node).await?,
        };
        Ok(Some(Self { node, link }))
    }

    /// The number of this node; another one each time that it joins.
    pub fn node(&self) -> i64 {
        self.node
    }

    /// The connection on which others see this node is gone.
    pub fn is_lost(&self) -> bool {
        matches!(&self.link, Link::Postgres { driver, .. } if driver.is_finished())
    }

    /// Waits until another node has fanned something out.
    pub async fn heard(&mut self) {
        let is_told = match &mut self.link {
            Link::Sqlite(_) => false,
            Link::Postgres { heard, .. } => heard.changed().await.is_ok(),
        };
        if !is_told {
            std::future::pending().await
        }
    }

    /// The numbers of the nodes that live, this one among them.
    ///
    /// # Errors
    /// [`StoreError`] of the statement.
    pub async fn living(&self, conn: &mut Conn) -> Result<Vec<i64>, StoreError> {
        if conn.dialect() == Dialect::Sqlite {
            return Ok(vec![self.node]);
        }
        let select = conn.sql(
            "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 \
             AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        );
        Ok(conn.rows::<(st::BigInt,), (i64,)>(&select).await?.into_iter().map(|row| row.0).collect())
    }
}

/// Tells the other nodes, once the transaction at hand is committed, that something was fanned out.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn tell(conn: &mut Conn, node: i64) -> Result<(), StoreError> {
    match conn.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => conn.batch(&format!("NOTIFY {CHANNEL}, '{node}'")).await,
    }
}

fn lock(database: &Path) -> Result<Option<File>, StoreError> {
    let mut name = database.as_os_str().to_owned();
    name.push("-delivery");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(name);
    let file = file.map_err(StoreError::unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::unavailable(error)),
    }
}

async fn listen(config: &tokio_postgres::Config, node: i64) -> Result<Link, StoreError> {
    let connector = SslConnector::builder(SslMethod::tls()).map_err(StoreError::unavailable)?.build();
    let connected = config.connect(MakeTlsConnector::new(connector)).await;
    let (client, mut connection) = connected.map_err(StoreError::unavailable)?;
    let (said, heard) = watch::channel(());
    let own = node.to_string();
    let driver = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(AsyncMessage::Notification(told)) if told.payload() != own => {
                    said.send_replace(());
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the connection on which nodes hear of each other was lost");
                    return;
                }
            }
        }
    });
    client
        .batch_execute(&format!("SELECT pg_advisory_lock({node}); LISTEN {CHANNEL}"))
        .await
        .map_err(StoreError::unavailable)?;
    Ok(Link::Postgres { _client: client, driver, heard })
}
