//! The events of lanes: those to deliver next, those that are held, and the calls that were made.

use diesel::sql_types as st;

use crate::fhir::types::{Instant, ResourceType};

use super::change::Kind;
use super::changes::{kind_of, resource_type};
use super::conn::Conn;
use super::error::StoreError;
use super::resources::decompress;
use super::sql::{Bind, Sql};

/// An event of a lane: a number and the change that it is about.
#[derive(Clone, Debug)]
pub struct Event {
    pub number: i64,
    /// The row of the resource: what has the same one is delivered in order.
    pub subject: i64,
    pub resource_type: ResourceType,
    pub id: String,
    pub version: i64,
    pub at: Instant,
    pub kind: Kind,
    /// The JSON of that version; `None` for a deletion.
    pub body: Option<String>,
}

const SELECT: &str = "SELECT n.number, v.rid, v.rtype, r.id, v.version, v.at, v.kind, v.body, \
    CASE WHEN v.version = r.version THEN r.body END FROM notification n JOIN version v ON v.seq = n.seq \
    JOIN resource r ON r.rid = v.rid WHERE n.lane = ";

type Types = (
    (st::BigInt, st::BigInt, st::SmallInt, st::Text, st::BigInt, st::BigInt, st::SmallInt),
    (st::Nullable<st::Binary>, st::Nullable<st::Text>),
);
type Row = ((i64, i64, i16, String, i64, i64, i16), (Option<Vec<u8>>, Option<String>));

async fn fetch(conn: &mut Conn, sql: &Sql) -> Result<Vec<Event>, StoreError> {
    let rows = conn.rows::<Types, Row>(sql).await?;
    rows.into_iter()
        .map(|((number, subject, rtype, id, version, at, kind), (old, current))| {
            let body = match old {
                Some(old) => Some(decompress(&old)?),
                None => current,
            };
            let (resource_type, kind) = (resource_type(rtype)?, kind_of(kind)?);
            Ok(Event { number, subject, resource_type, id, version, at: Instant(at), kind, body })
        })
        .collect()
}

/// The events after a number and up to another, in order, at most `limit`.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn between(conn: &mut Conn, lane: i64, after: i64, until: i64, limit: i64) -> Result<Vec<Event>, StoreError> {
    let mut sql = conn.sql(SELECT);
    sql.i64(lane).text(" AND n.number > ").i64(after).text(" AND n.number <= ").i64(until);
    sql.text(" ORDER BY n.number LIMIT ").i64(limit);
    fetch(conn, &sql).await
}

/// The events of these numbers, in order.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn of_numbers(conn: &mut Conn, lane: i64, numbers: Vec<i64>) -> Result<Vec<Event>, StoreError> {
    let mut sql = conn.sql(SELECT);
    sql.i64(lane).text(" AND n.number").in_i64s(numbers).text(" ORDER BY n.number");
    fetch(conn, &sql).await
}

/// An event that is not delivered in its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub number: i64,
    pub subject: i64,
    /// 0: it waits behind another.
    pub tries: i64,
    pub since: Instant,
    pub due_at: Instant,
    /// It is not tried any more.
    pub is_dead: bool,
    pub error: Option<String>,
}

/// What a lane holds, in order of the numbers: what is dead, or what is not.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn held(conn: &mut Conn, lane: i64, is_dead: bool, after: i64, limit: i64) -> Result<Vec<Held>, StoreError> {
    let mut sql = conn.sql("SELECT number, subject, tries, since, due_at, dead, error FROM held WHERE lane = ");
    sql.i64(lane).text(" AND dead = ").i16(i16::from(is_dead)).text(" AND number > ").i64(after);
    sql.text(" ORDER BY number LIMIT ").i64(limit);
    type Types = (st::BigInt, st::BigInt, st::BigInt, st::BigInt, st::BigInt, st::SmallInt, st::Nullable<st::Text>);
    let rows = conn.rows::<Types, (i64, i64, i64, i64, i64, i16, Option<String>)>(&sql).await?;
    let one = |(number, subject, tries, since, due_at, dead, error)| Held {
        number,
        subject,
        tries,
        since: Instant(since),
        due_at: Instant(due_at),
        is_dead: dead != 0,
        error,
    };
    Ok(rows.into_iter().map(one).collect())
}

/// How many a lane holds: those that are tried again, and those that are dead.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn count_held(conn: &mut Conn) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    let sql = conn.sql("SELECT lane, CAST(SUM(1 - dead) AS BIGINT), CAST(SUM(dead) AS BIGINT) FROM held GROUP BY lane");
    conn.rows::<(st::BigInt, st::BigInt, st::BigInt), (i64, i64, i64)>(&sql).await
}

/// Holds an event, or changes how it is held.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn hold(conn: &mut Conn, lane: i64, it: &Held) -> Result<(), StoreError> {
    let mut sql = conn.sql("INSERT INTO held (lane, number, subject, tries, since, due_at, dead, error) VALUES (");
    sql.i64(lane).text(", ").i64(it.number).text(", ").i64(it.subject).text(", ").i64(it.tries).text(", ");
    sql.i64(it.since.0).text(", ").i64(it.due_at.0).text(", ").i16(i16::from(it.is_dead)).text(", ");
    sql.bind(Bind::NullableText(it.error.clone()));
    sql.text(") ON CONFLICT (lane, number) DO UPDATE SET tries = excluded.tries, since = excluded.since, ");
    sql.text("due_at = excluded.due_at, ");
    sql.text("dead = excluded.dead, error = excluded.error");
    conn.execute(&sql).await.map(|_rows| ())
}

/// Lets events go that were delivered.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn let_go(conn: &mut Conn, lane: i64, numbers: Vec<i64>) -> Result<(), StoreError> {
    let mut sql = conn.sql("DELETE FROM held WHERE lane = ");
    sql.i64(lane).text(" AND number").in_i64s(numbers);
    conn.execute(&sql).await.map(|_rows| ())
}

/// What a call was for; the number is what the table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Handshake = 1,
    Heartbeat = 2,
    Events = 3,
}

/// A call to a recipient.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub attempt: i64,
    pub lane: i64,
    pub call: Call,
    /// The numbers of the first and last event, and how many there were; 0 for none.
    pub first: i64,
    pub last: i64,
    pub events: i64,
    pub at: Instant,
    pub ms: i64,
    /// Of HTTP; `None` when there was no answer.
    pub status: Option<i16>,
    pub is_ok: bool,
    /// The beginning of the answer, or why there was none.
    pub excerpt: Option<String>,
}

/// Records calls.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn record(conn: &mut Conn, attempts: &[Attempt]) -> Result<(), StoreError> {
    for it in attempts {
        let mut sql =
            conn.sql("INSERT INTO attempt (lane, kind, first, last, events, at, ms, status, ok, excerpt) VALUES (");
        sql.i64(it.lane).text(", ").i16(it.call as i16).text(", ").i64(it.first).text(", ").i64(it.last).text(", ");
        sql.i64(it.events).text(", ").i64(it.at.0).text(", ").i64(it.ms).text(", ");
        match it.status {
            Some(status) => sql.i16(status),
            None => sql.text("NULL"),
        };
        sql.text(", ").i16(i16::from(it.is_ok)).text(", ").bind(Bind::NullableText(it.excerpt.clone())).text(")");
        conn.execute(&sql).await?;
    }
    Ok(())
}

/// The calls of a lane before this one, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn attempts(conn: &mut Conn, lane: i64, before: i64, limit: i64) -> Result<Vec<Attempt>, StoreError> {
    let mut sql =
        conn.sql("SELECT attempt, kind, first, last, events, at, ms, status, ok, excerpt FROM attempt WHERE lane = ");
    sql.i64(lane).text(" AND attempt < ").i64(before).text(" ORDER BY attempt DESC LIMIT ").i64(limit);
    type Types = (
        (st::BigInt, st::SmallInt, st::BigInt, st::BigInt, st::BigInt),
        (st::BigInt, st::BigInt, st::Nullable<st::SmallInt>, st::SmallInt, st::Nullable<st::Text>),
    );
    type Row = ((i64, i16, i64, i64, i64), (i64, i64, Option<i16>, i16, Option<String>));
    let rows = conn.rows::<Types, Row>(&sql).await?;
    let one = |((attempt, kind, first, last, events), (at, ms, status, ok, excerpt))| {
        let call = match kind {
            1 => Call::Handshake,
            2 => Call::Heartbeat,
            _ => Call::Events,
        };
        Attempt { attempt, lane, call, first, last, events, at: Instant(at), ms, status, is_ok: ok != 0, excerpt }
    };
    Ok(rows.into_iter().map(one).collect())
}

/// Forgets calls before a moment, at most `limit`; how many there were.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn forget_attempts(conn: &mut Conn, before: Instant, limit: i64) -> Result<usize, StoreError> {
    let mut sql = conn.sql("DELETE FROM attempt WHERE attempt IN (SELECT attempt FROM attempt WHERE at < ");
    sql.i64(before.0).text(" ORDER BY at LIMIT ").i64(limit).text(")");
    conn.execute(&sql).await
}

/// Which events are to be sent again.
#[derive(Clone, Debug)]
pub enum Again {
    /// Those that were given up.
    Dead,
    /// These, whether they were delivered or given up.
    Numbers(Vec<i64>),
}

/// Has events sent again, those about one resource only if that is named, each by itself; how many there are. What is not
/// settled yet is sent in any case.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn again(
    conn: &mut Conn,
    lane: i64,
    which: &Again,
    resource: Option<(ResourceType, &str)>,
    now: Instant,
) -> Result<usize, StoreError> {
    let mut sql = conn.sql(
        "INSERT INTO held (lane, number, subject, tries, since, due_at, dead) \
         SELECT n.lane, n.number, v.rid, 0, ",
    );
    sql.i64(now.0).text(", 0, 0 FROM notification n JOIN version v ON v.seq = n.seq JOIN resource r ON r.rid = v.rid ");
    sql.text("JOIN lane l ON l.lane = n.lane WHERE n.number <= l.settled AND n.lane = ").i64(lane);
    match which {
        Again::Dead => {
            sql.text(" AND EXISTS (SELECT 1 FROM held d WHERE d.lane = n.lane AND d.number = n.number AND d.dead = 1)");
        }
        Again::Numbers(numbers) => {
            sql.text(" AND n.number").in_i64s(numbers.clone());
        }
    }
    if let Some((resource_type, id)) = resource {
        sql.text(" AND r.rtype = ").i16(resource_type.code()).text(" AND r.id = ").str(id);
    }
    sql.text(" ON CONFLICT (lane, number) DO UPDATE SET tries = 0, since = excluded.since, due_at = 0, dead = 0");
    conn.execute(&sql).await
}

/// Forgets the oldest events of a lane that were settled, and made before a moment, at most `limit`; how many there were. What
/// is held stays.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn forget(conn: &mut Conn, lane: i64, before: Instant, limit: i64) -> Result<usize, StoreError> {
    let mut sql = conn.sql("DELETE FROM notification WHERE lane = ");
    sql.i64(lane).text(" AND number IN (SELECT n.number FROM (SELECT number, seq FROM notification WHERE lane = ");
    sql.i64(lane).text(" AND number <= (SELECT settled FROM lane WHERE lane = ").i64(lane);
    // Numbers and moments grow together: what is not old enough among the first ends the search.
    sql.text(") ORDER BY number LIMIT ").i64(limit).text(") n JOIN version v ON v.seq = n.seq WHERE v.at < ");
    sql.i64(before.0).text(" AND NOT EXISTS (SELECT 1 FROM held h WHERE h.lane = ").i64(lane);
    sql.text(" AND h.number = n.number))");
    conn.execute(&sql).await
}
