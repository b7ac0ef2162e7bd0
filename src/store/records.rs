//! What authorization keeps: documents by kind and name. What they hold is theirs to know who keep them.

use diesel::sql_types as st;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fhir::types::Instant;

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;
use super::sql::Sql;

/// The kinds of documents. Each has one type, which names it.
pub trait Record: Serialize + DeserializeOwned {
    const KIND: &'static str;
}

fn read<R: Record>(body: &str) -> Result<R, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Corrupt(format!("a record of kind {}: {error}", R::KIND)))
}

fn write<R: Record>(record: &R) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| StoreError::Corrupt(format!("a record of kind {}: {error}", R::KIND)))
}

fn select(conn: &Conn, kind: &'static str, name: &str) -> Sql {
    let mut sql = conn.sql("SELECT body FROM auth_record WHERE kind = ");
    sql.str(kind).text(" AND name = ").str(name);
    sql
}

/// The record of this name, expired or not.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn get<R: Record>(conn: &mut Conn, name: &str) -> Result<Option<R>, StoreError> {
    let sql = select(conn, R::KIND, name);
    let found = conn.first::<(st::Text,), (String,)>(&sql).await?;
    found.map(|(body,)| read(&body)).transpose()
}

/// The same, for a transaction that goes on to change it: nobody else gets it before that ends.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn get_locked<R: Record>(conn: &mut Conn, name: &str) -> Result<Option<R>, StoreError> {
    let mut sql = select(conn, R::KIND, name);
    if conn.dialect() == Dialect::Postgres {
        sql.text(" FOR UPDATE");
    }
    let found = conn.first::<(st::Text,), (String,)>(&sql).await?;
    found.map(|(body,)| read(&body)).transpose()
}

/// All records of a kind, in order of their names.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn list<R: Record>(conn: &mut Conn) -> Result<Vec<(String, R)>, StoreError> {
    let mut sql = conn.sql("SELECT name, body FROM auth_record WHERE kind = ");
    sql.str(R::KIND).text(" ORDER BY name");
    let found = conn.rows::<(st::Text, st::Text), (String, String)>(&sql).await?;
    found.into_iter().map(|(name, body)| Ok((name, read(&body)?))).collect()
}

/// Which of these there are.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn known(conn: &mut Conn, names: &[(&'static str, &str)]) -> Result<Vec<bool>, StoreError> {
    let mut sql = conn.sql("SELECT kind, name FROM auth_record WHERE");
    for (n, (kind, name)) in names.iter().enumerate() {
        sql.text(if n == 0 { " (kind = " } else { " OR (kind = " })
            .str(*kind)
            .text(" AND name = ")
            .str(*name)
            .text(")");
    }
    let found = conn.rows::<(st::Text, st::Text), (String, String)>(&sql).await?;
    Ok(names.iter().map(|(kind, name)| found.iter().any(|(k, n)| k == kind && n == name)).collect())
}

/// Keeps a record under a name that none of its kind has; false when one has it.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn insert<R: Record>(
    conn: &mut Conn,
    name: &str,
    record: &R,
    expires_at: Option<Instant>,
) -> Result<bool, StoreError> {
    let mut sql = insertion(conn, name, record, expires_at)?;
    sql.text(" ON CONFLICT (kind, name) DO NOTHING");
    Ok(conn.execute(&sql).await? > 0)
}

/// Keeps a record, in the place of the one of its name if there is one.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn put<R: Record>(
    conn: &mut Conn,
    name: &str,
    record: &R,
    expires_at: Option<Instant>,
) -> Result<(), StoreError> {
    let mut sql = insertion(conn, name, record, expires_at)?;
    sql.text(" ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body, expires_at = excluded.expires_at");
    conn.execute(&sql).await.map(|_rows| ())
}

fn insertion<R: Record>(conn: &Conn, name: &str, record: &R, expires_at: Option<Instant>) -> Result<Sql, StoreError> {
    let mut sql = conn.sql("INSERT INTO auth_record (kind, name, body, expires_at) VALUES (");
    sql.str(R::KIND).text(", ").str(name).text(", ").str(write(record)?).text(", ");
    match expires_at {
        Some(at) => sql.i64(at.0).text(")"),
        None => sql.text("NULL)"),
    };
    Ok(sql)
}

/// Forgets a record; false when there is none.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn remove<R: Record>(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    let mut sql = conn.sql("DELETE FROM auth_record WHERE kind = ");
    sql.str(R::KIND).text(" AND name = ").str(name);
    Ok(conn.execute(&sql).await? > 0)
}

/// Forgets the records of a kind that meet a condition. It looks at all of them: for what happens seldom.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn remove_where<R: Record>(conn: &mut Conn, condition: impl Fn(&R) -> bool) -> Result<(), StoreError> {
    for (name, record) in list::<R>(conn).await? {
        if condition(&record) {
            remove::<R>(conn, &name).await?;
        }
    }
    Ok(())
}

/// Forgets what expired before this moment.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn purge(conn: &mut Conn, before: Instant) -> Result<(), StoreError> {
    let mut sql = conn.sql("DELETE FROM auth_record WHERE expires_at < ");
    sql.i64(before.0);
    conn.execute(&sql).await.map(|_rows| ())
}
