//! Lanes: each is a recipient, what it is owed, and how its deliveries go. What a lane is about (a Subscription) is for
//! others to read.

use diesel::sql_types as st;

use crate::fhir::types::Instant;

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;
use super::sql::{Bind, Sql};

/// What a lane is doing; the number is what the table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The recipient has not been greeted yet.
    Starting = 1,
    Active = 2,
    /// Given up until the recipient asks to start again. Events are counted.
    Failed = 3,
    /// Nothing is counted or delivered.
    Off = 4,
}

impl State {
    fn from_code(code: i16) -> Result<Self, StoreError> {
        match code {
            1 => Ok(Self::Starting),
            2 => Ok(Self::Active),
            3 => Ok(Self::Failed),
            4 => Ok(Self::Off),
            _ => Err(StoreError::Corrupt(format!("state of a lane {code}"))),
        }
    }
}

/// One lane.
#[derive(Clone, Debug)]
pub struct Lane {
    pub lane: i64,
    /// `Subscription/ID`.
    pub name: String,
    pub state: State,
    /// Changes that match are numbered.
    pub counts: bool,
    pub is_paused: bool,
    /// The version of the Subscription that `body` is.
    pub version: i64,
    /// The position of that version in the log.
    pub changed: i64,
    pub body: Option<String>,
    /// The last number given.
    pub numbered: i64,
    /// Up to here everything was delivered, or is held.
    pub settled: i64,
    /// Not called before this moment, after a failure.
    pub due_at: Instant,
    /// Failed calls in a row, and since when.
    pub failures: i64,
    pub failing_since: Option<Instant>,
    pub error: Option<String>,
    pub holder: Option<i64>,
    /// Grows when the lane is changed from outside: what was found out before that does not count any more.
    pub epoch: i64,
}

const COLUMNS: &str = "lane, name, state, counts, paused, version, changed, body, numbered, settled, due_at, failures, failing_since, error, holder, epoch";

type Types = (
    (st::BigInt, st::Text, st::SmallInt, st::SmallInt, st::SmallInt, st::BigInt, st::BigInt, st::Nullable<st::Text>),
    (
        st::BigInt,
        st::BigInt,
        st::BigInt,
        st::BigInt,
        st::Nullable<st::BigInt>,
        st::Nullable<st::Text>,
        st::Nullable<st::BigInt>,
        st::BigInt,
    ),
);
type Row = (
    (i64, String, i16, i16, i16, i64, i64, Option<String>),
    (i64, i64, i64, i64, Option<i64>, Option<String>, Option<i64>, i64),
);

fn lane(row: Row) -> Result<Lane, StoreError> {
    let (
        (lane, name, state, counts, paused, version, changed, body),
        (numbered, settled, due_at, failures, failing_since, error, holder, epoch),
    ) = row;
    Ok(Lane {
        lane,
        name,
        state: State::from_code(state)?,
        counts: counts != 0,
        is_paused: paused != 0,
        version,
        changed,
        body,
        numbered,
        settled,
        due_at: Instant(due_at),
        failures,
        failing_since: failing_since.map(Instant),
        error,
        holder,
        epoch,
    })
}

fn select(conn: &Conn) -> Sql {
    let mut sql = conn.sql("SELECT ");
    sql.text(COLUMNS).text(" FROM lane WHERE ");
    sql
}

async fn fetch(conn: &mut Conn, sql: &Sql) -> Result<Vec<Lane>, StoreError> {
    conn.rows::<Types, Row>(sql).await?.into_iter().map(lane).collect()
}

/// The lane of this number.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn get(conn: &mut Conn, lane: i64) -> Result<Option<Lane>, StoreError> {
    let mut sql = select(conn);
    sql.text("lane = ").i64(lane);
    Ok(fetch(conn, &sql).await?.pop())
}

/// The lane of this name.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn named(conn: &mut Conn, name: &str) -> Result<Option<Lane>, StoreError> {
    let mut sql = select(conn);
    sql.text("name = ").str(name);
    Ok(fetch(conn, &sql).await?.pop())
}

/// The lanes of these names, as far as there are any, in order of their names.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn of_names(conn: &mut Conn, names: Vec<String>) -> Result<Vec<Lane>, StoreError> {
    let mut sql = select(conn);
    sql.text("name").in_texts(names).text(" ORDER BY name");
    fetch(conn, &sql).await
}

/// The lanes after this one, by their numbers, at most `limit`.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn list(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<Lane>, StoreError> {
    let mut sql = select(conn);
    sql.text("lane > ").i64(after).text(" ORDER BY lane LIMIT ").i64(limit);
    fetch(conn, &sql).await
}

/// The lanes whose Subscription changed after this position of the log.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn changed_after(conn: &mut Conn, position: i64) -> Result<Vec<Lane>, StoreError> {
    let mut sql = select(conn);
    sql.text("changed > ").i64(position).text(" ORDER BY lane");
    fetch(conn, &sql).await
}

/// What a new version of a Subscription makes of its lane.
#[derive(Clone, Debug)]
pub struct Subscribed {
    pub name: String,
    pub state: State,
    pub version: i64,
    pub changed: i64,
    pub body: Option<String>,
    /// Why it has failed, if it has.
    pub error: Option<String>,
}

/// Makes or changes a lane. Numbers go on where they were. What failed before is tried at once.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn subscribe(conn: &mut Conn, new: &Subscribed) -> Result<(), StoreError> {
    let counts = i16::from(matches!(new.state, State::Active | State::Failed));
    let mut sql = conn.sql("INSERT INTO lane (name, state, counts, version, changed, body, error) VALUES (");
    sql.str(new.name.as_str()).text(", ").i16(new.state as i16).text(", ").i16(counts).text(", ").i64(new.version);
    sql.text(", ").i64(new.changed).text(", ").bind(Bind::NullableText(new.body.clone()));
    sql.text(", ").bind(Bind::NullableText(new.error.clone()));
    sql.text(") ON CONFLICT (name) DO UPDATE SET state = excluded.state, version = excluded.version, ");
    sql.text("changed = excluded.changed, body = excluded.body, epoch = lane.epoch + 1, ");
    // Who was counting goes on while it is greeted anew.
    sql.text("counts = CASE WHEN excluded.state = 1 THEN lane.counts ELSE excluded.counts END");
    if matches!(new.state, State::Starting | State::Active) {
        sql.text(", due_at = 0, failures = 0, failing_since = NULL, error = NULL");
    } else {
        sql.text(", error = excluded.error");
    }
    conn.execute(&sql).await.map(|_rows| ())
}

/// Gives numbers to events: to each lane the next ones, to these versions in order. `also` is the name of a lane that the same
/// transaction goes on to change.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn number(conn: &mut Conn, events: &[(i64, Vec<i64>)], also: Option<&str>) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    // In order, so that nobody who changes several lanes waits for somebody who waits for them.
    let mut sql = conn.sql("SELECT lane, numbered FROM lane WHERE lane");
    sql.in_i64s(events.iter().map(|(lane, _)| *lane).collect());
    sql.text(" OR name = ").str(also.unwrap_or_default()).text(" ORDER BY lane");
    if conn.dialect() == Dialect::Postgres {
        sql.text(" FOR UPDATE");
    }
    let numbered: std::collections::HashMap<i64, i64> =
        conn.rows::<(st::BigInt, st::BigInt), (i64, i64)>(&sql).await?.into_iter().collect();
    let mut rows: [Vec<i64>; 3] = Default::default();
    let [lanes, numbers, seqs] = &mut rows;
    let (mut moved, mut last) = (Vec::new(), Vec::new());
    for (lane, events) in events {
        let Some(before) = numbered.get(lane) else { continue };
        let mut number = *before;
        for seq in events {
            number += 1;
            lanes.push(*lane);
            numbers.push(number);
            seqs.push(*seq);
        }
        moved.push(*lane);
        last.push(number);
    }
    match conn.dialect() {
        Dialect::Sqlite => {
            for ((lane, number), seq) in lanes.iter().zip(&*numbers).zip(&*seqs) {
                let mut insert = conn.sql("INSERT INTO notification (lane, number, seq) VALUES (");
                insert.i64(*lane).text(", ").i64(*number).text(", ").i64(*seq).text(")");
                conn.execute(&insert).await?;
            }
            for (lane, number) in moved.iter().zip(&last) {
                let mut update = conn.sql("UPDATE lane SET numbered = ");
                update.i64(*number).text(" WHERE lane = ").i64(*lane);
                conn.execute(&update).await?;
            }
        }
        Dialect::Postgres => {
            let mut insert = conn.sql("INSERT INTO notification (lane, number, seq) SELECT * FROM unnest(");
            let [lanes, numbers, seqs] = rows;
            insert.bind(Bind::I64s(lanes)).text(", ").bind(Bind::I64s(numbers)).text(", ");
            insert.bind(Bind::I64s(seqs)).text(")");
            let mut update = conn.sql("UPDATE lane l SET numbered = n.number FROM unnest(");
            update.bind(Bind::I64s(moved)).text(", ").bind(Bind::I64s(last));
            update.text(") AS n(lane, number) WHERE l.lane = n.lane");
            conn.execute_all(&[insert, update]).await?;
        }
    }
    Ok(())
}

/// Who delivers, until when it is believed without a sign of life, and which other nodes are known to live.
#[derive(Clone, Debug)]
pub struct Node {
    pub node: i64,
    pub until: Instant,
    pub living: Vec<i64>,
}

/// Takes the lanes that have something to do and that no living node holds, at most `limit`. `beating` are those that
/// always have. A lane that is due after `latest` is due now: the clock was set back. The numbers of those that this node holds now and that have something to do.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn claim(
    conn: &mut Conn,
    by: &Node,
    beating: Vec<i64>,
    now: Instant,
    latest: Instant,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    let mut sql = conn.sql("SELECT lane, holder FROM lane WHERE paused = 0 AND (state = 1 OR (state = 2 AND (settled < numbered OR EXISTS (SELECT 1 FROM held h WHERE h.lane = lane.lane AND h.dead = 0) OR lane");
    sql.in_i64s(beating)
        .text("))) AND (due_at <= ")
        .i64(now.0)
        .text(" OR due_at > ")
        .i64(latest.0)
        .text(") AND (holder IS NULL OR holder = ")
        .i64(by.node)
        .text(" OR held_until < ")
        .i64(now.0);
    sql.text(" OR NOT holder").in_i64s(by.living.clone()).text(") ORDER BY lane LIMIT ").i64(limit);
    if conn.dialect() == Dialect::Postgres {
        sql.text(" FOR UPDATE SKIP LOCKED");
    }
    let found = conn.rows::<(st::BigInt, st::Nullable<st::BigInt>), (i64, Option<i64>)>(&sql).await?;
    let new: Vec<i64> = found.iter().filter(|(_, holder)| *holder != Some(by.node)).map(|(lane, _)| *lane).collect();
    if !new.is_empty() {
        let mut update = conn.sql("UPDATE lane SET holder = ");
        update.i64(by.node).text(", held_until = ").i64(by.until.0).text(" WHERE lane").in_i64s(new);
        conn.execute(&update).await?;
    }
    Ok(found.into_iter().map(|(lane, _)| lane).collect())
}

/// A sign of life: what this node holds it holds until then.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn keep(conn: &mut Conn, node: i64, until: Instant) -> Result<(), StoreError> {
    let mut sql = conn.sql("UPDATE lane SET held_until = ");
    sql.i64(until.0).text(" WHERE lane IN (SELECT lane FROM lane WHERE holder = ").i64(node);
    // In order, as all who change several lanes do.
    sql.text(if conn.dialect() == Dialect::Postgres { " ORDER BY lane FOR UPDATE)" } else { ")" });
    conn.execute(&sql).await.map(|_rows| ())
}

/// How deliveries of a lane went, to be kept.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub lane: i64,
    /// In which epoch this was found out.
    pub epoch: i64,
    pub settled: i64,
    pub due_at: i64,
    pub failures: i64,
    pub failing_since: Option<i64>,
    pub error: Option<String>,
}

/// Keeps how deliveries went, of a lane that the node holds, unless it was changed from outside meanwhile; false when the node
/// does not hold it any more.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn progress(conn: &mut Conn, node: i64, it: &Progress) -> Result<bool, StoreError> {
    let mut sql = conn.sql("UPDATE lane SET settled = ");
    sql.i64(it.settled).text(", due_at = ").i64(it.due_at).text(", failures = ").i64(it.failures);
    sql.text(", failing_since = ");
    match it.failing_since {
        Some(at) => sql.i64(at),
        None => sql.text("NULL"),
    };
    sql.text(", error = ").bind(Bind::NullableText(it.error.clone()));
    sql.text(" WHERE lane = ").i64(it.lane).text(" AND holder = ").i64(node).text(" AND epoch = ").i64(it.epoch);
    if conn.execute(&sql).await? > 0 {
        return Ok(true);
    }
    Ok(get(conn, it.lane).await?.is_some_and(|lane| lane.holder == Some(node)))
}

/// Holds a lane back, or lets it go on; what had to wait is tried at once. Like all that changes a lane from outside, it has
/// whoever works at the lane begin anew with what is stored.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn pause(conn: &mut Conn, lane: i64, is_paused: bool) -> Result<(), StoreError> {
    let mut sql = conn.sql("UPDATE lane SET paused = ");
    sql.i16(i16::from(is_paused)).text(", due_at = 0, epoch = epoch + 1 WHERE lane = ").i64(lane);
    conn.execute(&sql).await.map(|_rows| ())
}

/// Has whoever works at the lane begin anew with what is stored.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn restart(conn: &mut Conn, lane: i64) -> Result<(), StoreError> {
    let mut sql = conn.sql("UPDATE lane SET due_at = 0, epoch = epoch + 1 WHERE lane = ");
    sql.i64(lane);
    conn.execute(&sql).await.map(|_rows| ())
}

/// Owes everything from a number on once more, also what was held or given up of it. The lane has to be restarted with it.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn rewind(conn: &mut Conn, lane: i64, number: i64) -> Result<(), StoreError> {
    let mut sql = conn.sql("UPDATE lane SET settled = ");
    sql.i64(number - 1).text(" WHERE lane = ").i64(lane).text(" AND settled >= ").i64(number);
    conn.execute(&sql).await?;
    let mut held = conn.sql("DELETE FROM held WHERE lane = ");
    held.i64(lane).text(" AND number >= ").i64(number);
    conn.execute(&held).await.map(|_rows| ())
}

/// When the change was made that a lane owes first; `None` when it owes nothing.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn owed_since(conn: &mut Conn, lane: &Lane) -> Result<Option<Instant>, StoreError> {
    let mut sql = conn.sql("SELECT v.at FROM notification n JOIN version v ON v.seq = n.seq WHERE n.lane = ");
    sql.i64(lane.lane).text(" AND n.number = ").i64(lane.settled + 1);
    Ok(conn.first::<(st::BigInt,), (i64,)>(&sql).await?.map(|row| Instant(row.0)))
}
