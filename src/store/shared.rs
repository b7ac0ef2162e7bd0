//! Small values that all nodes of one database share.

use diesel::sql_types as st;

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;

/// The value of this name; `new` becomes it when there is none yet. All nodes get the same.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn get_or_insert(conn: &mut Conn, name: &str, new: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut insert = conn.sql("INSERT INTO shared (name, value) VALUES (");
    insert.str(name).text(", ").bind(super::sql::Bind::Bytes(new.to_vec())).text(") ON CONFLICT (name) DO NOTHING");
    conn.execute(&insert).await?;
    let mut select = conn.sql("SELECT value FROM shared WHERE name = ");
    select.str(name);
    let found = conn.first::<(st::Binary,), (Vec<u8>,)>(&select).await?;
    found.map(|row| row.0).ok_or_else(|| StoreError::Corrupt(format!("the shared value {name} is gone")))
}

/// Holds a name until the transaction ends: nobody else who asks for it goes on before. On SQLite there is one writer
/// and nothing to hold.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn lock_name(conn: &mut Conn, name: &str) -> Result<(), StoreError> {
    if conn.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let mut lock = conn.sql("SELECT pg_advisory_xact_lock(hashtextextended(");
    lock.str(name).text(", 0))::text");
    conn.rows::<(st::Text,), (String,)>(&lock).await.map(|_locked| ())
}
