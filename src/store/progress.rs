//! How far imports have come.

use diesel::sql_types as st;

use super::conn::Conn;
use super::error::StoreError;

/// Units of `source` that are committed, 0 when it is new.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn load(conn: &mut Conn, source: &str) -> Result<i64, StoreError> {
    let mut select = conn.sql("SELECT units FROM import_progress WHERE source = ");
    select.str(source);
    Ok(conn.first::<(st::BigInt,), (i64,)>(&select).await?.map_or(0, |row| row.0))
}

/// Records, in the transaction that stored them, that `units` of `source` are done.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn save(conn: &mut Conn, source: &str, units: i64) -> Result<(), StoreError> {
    let mut upsert = conn.sql("INSERT INTO import_progress (source, units) VALUES (");
    upsert.str(source).text(", ").i64(units).text(") ON CONFLICT (source) DO UPDATE SET units = excluded.units");
    conn.execute(&upsert).await.map(|_rows| ())
}

/// Forgets a source that was imported to its end.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn clear(conn: &mut Conn, source: &str) -> Result<(), StoreError> {
    let mut delete = conn.sql("DELETE FROM import_progress WHERE source = ");
    delete.str(source);
    conn.execute(&delete).await.map(|_rows| ())
}
