//! The log as a feed, in order of commits: what is new in it, and where the fan-out stands.
//!
//! `version.seq` is given while a transaction runs. On SQLite there is one writer, so that is the order of commits, too. On
//! PostgreSQL a reader that has seen 11 may find 10 later, when its transaction ends. So positions are given there: by the
//! fan-out, to all that has been committed and has none, in order of `seq`. That order keeps the versions of one resource in
//! order, since whoever writes the next one has waited for the transaction of the one before. A position is never given below
//! another, so whoever reads by positions misses nothing, however long a transaction takes.

use diesel::sql_types as st;

use crate::fhir::types::{Instant, ResourceType};

use super::change::Kind;
use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;
use super::history::Version;
use super::resources::decompress;
use super::sql::Bind;

/// How far the log has been fanned out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Of the last change that was.
    pub position: i64,
    /// PostgreSQL: the versions of transactions below it all have positions.
    pub horizon: i64,
}

/// A change that has not been fanned out yet, without its content.
#[derive(Clone, Debug)]
pub struct Pending {
    pub seq: i64,
    pub rid: i64,
    pub resource_type: ResourceType,
    pub version: i64,
    pub kind: Kind,
}

/// What a change is about, with the content after it and before it.
#[derive(Clone, Debug)]
pub struct Content {
    pub seq: i64,
    pub id: String,
    pub at: Instant,
    /// `None` for a deletion.
    pub after: Option<String>,
    /// `None` when there was nothing.
    pub before: Option<String>,
}

/// # Errors
/// [`StoreError`] of the statement.
pub async fn mark(conn: &mut Conn) -> Result<Mark, StoreError> {
    let select = conn.sql("SELECT position, horizon FROM fan_out WHERE one = 1");
    read_mark(conn, &select).await
}

/// The same for a transaction that goes on to move it: nobody else does before that ends.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn mark_locked(conn: &mut Conn) -> Result<Mark, StoreError> {
    let mut select = conn.sql("SELECT position, horizon FROM fan_out WHERE one = 1");
    if conn.dialect() == Dialect::Postgres {
        select.text(" FOR UPDATE");
    }
    read_mark(conn, &select).await
}

async fn read_mark(conn: &mut Conn, select: &super::sql::Sql) -> Result<Mark, StoreError> {
    let found = conn.first::<(st::BigInt, st::BigInt), (i64, i64)>(select).await?;
    let (position, horizon) = found.ok_or_else(|| StoreError::Corrupt("the mark of the fan-out is gone".into()))?;
    Ok(Mark { position, horizon })
}

/// The changes after the mark, at most `limit`, in order; and where the horizon may be moved once they are all fanned out.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn pending(conn: &mut Conn, mark: Mark, limit: i64) -> Result<(Vec<Pending>, i64), StoreError> {
    let mut horizon = mark.horizon;
    let mut select = conn.sql("SELECT v.seq, v.rid, v.rtype, v.version, v.kind FROM version v WHERE ");
    match conn.dialect() {
        Dialect::Sqlite => {
            select.text("v.seq > ").i64(mark.position);
        }
        Dialect::Postgres => {
            let oldest = conn.sql("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint");
            horizon = conn.first::<(st::BigInt,), (i64,)>(&oldest).await?.map_or(horizon, |row| row.0);
            // Older than the horizon: another cluster, into which this database was copied. What it has is looked for anew.
            let from = if horizon < mark.horizon { 0 } else { mark.horizon };
            select.text("v.xid >= ").i64(from);
            select.text(" AND NOT EXISTS (SELECT 1 FROM change_position p WHERE p.seq = v.seq)");
        }
    }
    select.text(" ORDER BY v.seq LIMIT ").i64(limit);
    type Types = (st::BigInt, st::BigInt, st::SmallInt, st::BigInt, st::SmallInt);
    let rows = conn.rows::<Types, (i64, i64, i16, i64, i16)>(&select).await?;
    if i64::try_from(rows.len()).is_ok_and(|found| found >= limit) {
        // There may be more below the new horizon.
        horizon = horizon.min(mark.horizon);
    }
    let pending = rows.into_iter().map(|(seq, rid, rtype, version, kind)| {
        Ok(Pending { seq, rid, resource_type: resource_type(rtype)?, version, kind: kind_of(kind)? })
    });
    Ok((pending.collect::<Result<_, StoreError>>()?, horizon))
}

/// The contents of changes, in order of `seq`.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn contents(conn: &mut Conn, seqs: Vec<i64>) -> Result<Vec<Content>, StoreError> {
    let mut select = conn.sql(
        "SELECT v.seq, r.id, v.at, v.body, CASE WHEN v.version = r.version THEN r.body END, p.body FROM version v \
         JOIN resource r ON r.rid = v.rid LEFT JOIN version p ON p.rid = v.rid AND p.version = v.version - 1 WHERE v.seq",
    );
    select.in_i64s(seqs).text(" ORDER BY v.seq");
    type Types = (
        (st::BigInt, st::Text, st::BigInt),
        (st::Nullable<st::Binary>, st::Nullable<st::Text>, st::Nullable<st::Binary>),
    );
    type Row = ((i64, String, i64), (Option<Vec<u8>>, Option<String>, Option<Vec<u8>>));
    let rows = conn.rows::<Types, Row>(&select).await?;
    rows.into_iter()
        .map(|((seq, id, at), (old, current, before))| {
            let after = match old {
                Some(old) => Some(decompress(&old)?),
                None => current,
            };
            let before = before.map(|before| decompress(&before)).transpose()?;
            Ok(Content { seq, id, at: Instant(at), after, before })
        })
        .collect()
}

/// Moves the mark past changes, which get their positions with it. The position of the last one.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn advance(conn: &mut Conn, mark: Mark, seqs: &[i64], horizon: i64) -> Result<i64, StoreError> {
    let count = i64::try_from(seqs.len()).unwrap_or(i64::MAX);
    let position = match conn.dialect() {
        Dialect::Sqlite => seqs.last().copied().unwrap_or(mark.position),
        Dialect::Postgres => {
            let mut insert = conn.sql("INSERT INTO change_position (position, seq) SELECT ");
            insert.i64(mark.position).text(" + n.ord, n.seq FROM unnest(");
            insert.bind(Bind::I64s(seqs.to_vec())).text(") WITH ORDINALITY AS n(seq, ord)");
            conn.execute(&insert).await?;
            mark.position + count
        }
    };
    let mut update = conn.sql("UPDATE fan_out SET position = ");
    update.i64(position).text(", horizon = ").i64(horizon).text(" WHERE one = 1");
    conn.execute(&update).await?;
    Ok(position)
}

/// The position of the newest change that has one.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn end(conn: &mut Conn) -> Result<i64, StoreError> {
    match conn.dialect() {
        Dialect::Sqlite => {
            let select = conn.sql("SELECT COALESCE(MAX(seq), 0) FROM version");
            Ok(conn.first::<(st::BigInt,), (i64,)>(&select).await?.map_or(0, |row| row.0))
        }
        Dialect::Postgres => Ok(mark(conn).await?.position),
    }
}

/// The versions of these types after a position and up to another, each with its own position, at most `limit`.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn between(
    conn: &mut Conn,
    types: &[ResourceType],
    after: i64,
    end: i64,
    limit: i64,
) -> Result<Vec<(i64, Version)>, StoreError> {
    let (from, position) = match conn.dialect() {
        Dialect::Sqlite => ("FROM version v", "v.seq"),
        Dialect::Postgres => ("FROM change_position p JOIN version v ON v.seq = p.seq", "p.position"),
    };
    let mut select = conn.sql("SELECT ");
    select.text(position);
    select.text(
        ", v.seq, v.rtype, r.id, v.version, v.at, v.kind, v.body, CASE WHEN v.version = r.version THEN r.body END ",
    );
    select.text(from).text(" JOIN resource r ON r.rid = v.rid WHERE ");
    select.text(position).text(" > ").i64(after).text(" AND ").text(position).text(" <= ").i64(end);
    select.text(" AND v.rtype").in_i64s(types.iter().map(|it| i64::from(it.code())).collect());
    select.text(conn.dialect().go_on()).text(" ORDER BY ").text(position).text(" LIMIT ").i64(limit);
    type Types = (
        (st::BigInt, st::BigInt, st::SmallInt, st::Text, st::BigInt, st::BigInt, st::SmallInt),
        (st::Nullable<st::Binary>, st::Nullable<st::Text>),
    );
    type Row = ((i64, i64, i16, String, i64, i64, i16), (Option<Vec<u8>>, Option<String>));
    let rows = conn.rows::<Types, Row>(&select).await?;
    rows.into_iter()
        .map(|((position, seq, rtype, id, version, at, kind), (old, current))| {
            let body = match old {
                Some(old) => Some(decompress(&old)?),
                None => current,
            };
            let (resource_type, kind) = (resource_type(rtype)?, kind_of(kind)?);
            Ok((position, Version { seq, resource_type, id, version, at: Instant(at), kind, body }))
        })
        .collect()
}

pub(super) fn resource_type(code: i16) -> Result<ResourceType, StoreError> {
    ResourceType::from_code(code).ok_or_else(|| StoreError::Corrupt(format!("resource type {code}")))
}

pub(super) fn kind_of(code: i16) -> Result<Kind, StoreError> {
    Kind::from_code(code).ok_or_else(|| StoreError::Corrupt(format!("kind of version {code}")))
}
