//! The tables, brought up to date when the store is opened. Both folders hold the same migrations under the same names.

use diesel::sql_types as st;

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;

struct Migration {
    number: i64,
    sqlite: &'static str,
    postgresql: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal,)*) => {
        &[$(Migration {
            number: $number,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgresql: include_str!(concat!("../../migrations/postgresql/", $name, ".sql")),
        },)*]
    };
}

const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_directory",
    2 "0002_authorization",
    3 "0003_changes",
    4 "0004_export",
};

/// Runs the migrations that the database lacks, all in one transaction. Nodes that start together wait for each other.
///
/// # Errors
/// [`StoreError::Newer`] when the database has migrations that this release does not know.
pub async fn run(conn: &mut Conn) -> Result<(), StoreError> {
    conn.batch(conn.dialect().begin_write()).await?;
    match run_in_transaction(conn).await {
        Ok(()) => conn.batch("COMMIT").await,
        Err(error) => {
            // The error that ended it says more than a failed rollback would.
            let _rolled_back = conn.batch("ROLLBACK").await;
            Err(error)
        }
    }
}

async fn run_in_transaction(conn: &mut Conn) -> Result<(), StoreError> {
    if conn.dialect() == Dialect::Postgres {
        // Any number that all releases agree on.
        conn.batch("SELECT pg_advisory_xact_lock(7263482)").await?;
    }
    conn.batch("CREATE TABLE IF NOT EXISTS migration (number BIGINT PRIMARY KEY)").await?;
    let done = conn.sql("SELECT COALESCE(MAX(number), 0) FROM migration");
    let found = conn.first::<(st::BigInt,), (i64,)>(&done).await?.map_or(0, |row| row.0);
    let known = MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or(0);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.number > found) {
        conn.batch(match conn.dialect() {
            Dialect::Sqlite => migration.sqlite,
            Dialect::Postgres => migration.postgresql,
        })
        .await?;
        let mut record = conn.sql("INSERT INTO migration (number) VALUES (");
        record.i64(migration.number).text(")");
        conn.execute(&record).await?;
    }
    Ok(())
}
