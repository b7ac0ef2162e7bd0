//! The exports that were asked for: which there are, who works on them, what came of them. What their documents say is
//! theirs to know who keep them.

use diesel::sql_types as st;

use crate::fhir::types::Instant;

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;

/// How far an export is; the number is what the table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Waiting = 1,
    Running = 2,
    Complete = 3,
    Failed = 4,
}

impl State {
    fn from_code(code: i16) -> Option<Self> {
        [Self::Waiting, Self::Running, Self::Complete, Self::Failed].into_iter().find(|it| *it as i16 == code)
    }
}

/// A new export.
#[derive(Clone, Debug)]
pub struct New {
    pub id: String,
    /// Who may see it.
    pub owner: String,
    /// Whom it is counted for.
    pub counted: String,
    /// JSON.
    pub asked: String,
    pub created_at: Instant,
}

/// An export as stored.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub owner: String,
    pub state: State,
    /// JSON.
    pub asked: String,
    /// JSON, once it is complete or has failed.
    pub outcome: Option<String>,
    /// A few words for who waits.
    pub progress: String,
    pub created_at: Instant,
    /// How often it was begun.
    pub attempt: i64,
    /// When it is removed, once it is over.
    pub expires_at: Option<Instant>,
}

/// How many exports there may be: of the one it is counted for, and of all.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub counted_max: i64,
    pub all_max: i64,
}

/// Why there is no room for another export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Counted,
    All,
}

/// Keeps a new export, unless there are too many already.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn insert(conn: &mut Conn, new: &New, bounds: Bounds) -> Result<Result<(), Full>, StoreError> {
    if conn.dialect() == Dialect::Postgres {
        // Two that come at once must not both be the last one that fits.
        conn.batch("LOCK TABLE export_job IN SHARE ROW EXCLUSIVE MODE").await?;
    }
    let mut count = conn.sql("SELECT COUNT(*), COALESCE(SUM(CASE WHEN counted = ");
    count.str(new.counted.as_str()).text(" THEN 1 ELSE 0 END), 0) FROM export_job");
    let (all, counted) = conn.first::<(st::BigInt, st::BigInt), (i64, i64)>(&count).await?.unwrap_or_default();
    if counted >= bounds.counted_max {
        return Ok(Err(Full::Counted));
    }
    if all >= bounds.all_max {
        return Ok(Err(Full::All));
    }
    let mut sql = conn.sql("INSERT INTO export_job (id, owner, counted, state, asked, outcome, progress, created_at, attempt, leased_until, expires_at) VALUES (");
    sql.str(new.id.as_str()).text(", ").str(new.owner.as_str()).text(", ").str(new.counted.as_str()).text(", ");
    sql.i16(State::Waiting as i16).text(", ").str(new.asked.as_str()).text(", NULL, '', ").i64(new.created_at.0);
    sql.text(", 0, 0, NULL)");
    conn.execute(&sql).await?;
    Ok(Ok(()))
}

const COLUMNS: &str =
    "SELECT id, owner, state, asked, outcome, progress, created_at, attempt, expires_at FROM export_job WHERE ";
type Types = (
    (st::Text, st::Text, st::SmallInt, st::Text, st::Nullable<st::Text>),
    (st::Text, st::BigInt, st::BigInt, st::Nullable<st::BigInt>),
);
type Row = ((String, String, i16, String, Option<String>), (String, i64, i64, Option<i64>));

fn job(
    ((id, owner, state, asked, outcome), (progress, created_at, attempt, expires_at)): Row,
) -> Result<Job, StoreError> {
    let state = State::from_code(state).ok_or_else(|| StoreError::Corrupt(format!("state of an export {state}")))?;
    let (created_at, expires_at) = (Instant(created_at), expires_at.map(Instant));
    Ok(Job { id, owner, state, asked, outcome, progress, created_at, attempt, expires_at })
}

/// The export of this name.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn get(conn: &mut Conn, id: &str) -> Result<Option<Job>, StoreError> {
    let mut sql = conn.sql(COLUMNS);
    sql.text("id = ").str(id);
    conn.first::<Types, Row>(&sql).await?.map(job).transpose()
}

/// Whether there is an export that nobody works on.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn is_any_free(conn: &mut Conn, now: Instant) -> Result<bool, StoreError> {
    let mut sql = conn.sql("SELECT 1 FROM export_job WHERE state IN (1, 2) AND leased_until < ");
    sql.i64(now.0).text(" LIMIT 1");
    Ok(conn.first::<(st::Integer,), (i32,)>(&sql).await?.is_some())
}

/// Takes the oldest export that nobody works on, until `until` at first. It counts as begun once more.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn claim(conn: &mut Conn, now: Instant, until: Instant) -> Result<Option<Job>, StoreError> {
    let mut sql = conn.sql(COLUMNS);
    sql.text("state IN (1, 2) AND leased_until < ").i64(now.0).text(" ORDER BY created_at, id LIMIT 1");
    if conn.dialect() == Dialect::Postgres {
        sql.text(" FOR UPDATE SKIP LOCKED");
    }
    let Some(found) = conn.first::<Types, Row>(&sql).await?.map(job).transpose()? else { return Ok(None) };
    let mut update = conn.sql("UPDATE export_job SET state = 2, attempt = attempt + 1, leased_until = ");
    update.i64(until.0).text(" WHERE id = ").str(found.id.as_str());
    conn.execute(&update).await?;
    Ok(Some(Job { state: State::Running, attempt: found.attempt + 1, ..found }))
}

/// Keeps an export for who works on it; false when it is theirs no more: it was removed, or somebody else has begun it again.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn renew(
    conn: &mut Conn,
    id: &str,
    attempt: i64,
    until: Instant,
    progress: &str,
) -> Result<bool, StoreError> {
    let mut sql = conn.sql("UPDATE export_job SET leased_until = ");
    sql.i64(until.0).text(", progress = ").str(progress).text(" WHERE state = 2 AND id = ").str(id);
    sql.text(" AND attempt = ").i64(attempt);
    Ok(conn.execute(&sql).await? > 0)
}

/// Notes what came of an export; false when it is no more the one's who worked on it, as in [`renew`].
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn finish(
    conn: &mut Conn,
    id: &str,
    attempt: i64,
    state: State,
    outcome: &str,
    expires_at: Instant,
) -> Result<bool, StoreError> {
    let mut sql = conn.sql("UPDATE export_job SET state = ");
    sql.i16(state as i16).text(", outcome = ").str(outcome).text(", expires_at = ").i64(expires_at.0);
    sql.text(" WHERE state = 2 AND id = ").str(id).text(" AND attempt = ").i64(attempt);
    Ok(conn.execute(&sql).await? > 0)
}

/// Forgets an export; false when there is none.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn remove(conn: &mut Conn, id: &str) -> Result<bool, StoreError> {
    let mut sql = conn.sql("DELETE FROM export_job WHERE id = ");
    sql.str(id);
    Ok(conn.execute(&sql).await? > 0)
}

/// Forgets the exports whose time is over.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn purge(conn: &mut Conn, now: Instant) -> Result<(), StoreError> {
    let mut sql = conn.sql("DELETE FROM export_job WHERE expires_at < ");
    sql.i64(now.0);
    conn.execute(&sql).await.map(|_rows| ())
}

/// Name and attempt of each export, and whether its time is over.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn list(conn: &mut Conn, now: Instant) -> Result<Vec<(String, i64, bool)>, StoreError> {
    let sql = conn.sql("SELECT id, attempt, COALESCE(expires_at, -1) FROM export_job");
    let rows = conn.rows::<(st::Text, st::BigInt, st::BigInt), (String, i64, i64)>(&sql).await?;
    Ok(rows.into_iter().map(|(id, attempt, at)| (id, attempt, at >= 0 && at < now.0)).collect())
}
