//! Resources by name: their current version, older versions, and the row ids by which the index knows them.

use std::collections::HashMap;

use diesel::sql_types as st;

use crate::fhir::types::{Instant, ResourceType};
use crate::search::value::Target;

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;
use super::sql::Bind;

/// What stands in the table for one resource.
#[derive(Clone, Debug)]
pub struct Current {
    pub rid: i64,
    /// 0: only mentioned so far.
    pub version: i64,
    pub last_updated: Instant,
    /// The JSON; `None` when the resource is deleted or only mentioned.
    pub body: Option<String>,
}

impl Current {
    /// It was there once and was deleted.
    pub fn is_deleted(&self) -> bool {
        self.body.is_none() && self.version > 0
    }
}

type CurrentTypes = (st::BigInt, st::BigInt, st::BigInt, st::Nullable<st::Text>);
type CurrentRow = (i64, i64, i64, Option<String>);

fn current(row: CurrentRow) -> Current {
    Current { rid: row.0, version: row.1, last_updated: Instant(row.2), body: row.3 }
}

/// The resource of this name.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn get(conn: &mut Conn, resource_type: ResourceType, id: &str) -> Result<Option<Current>, StoreError> {
    let mut select = conn.sql("SELECT rid, version, last_updated, body FROM resource WHERE rtype = ");
    select.i16(resource_type.code()).text(" AND id = ").str(id);
    Ok(conn.first::<CurrentTypes, CurrentRow>(&select).await?.map(current))
}

/// The same for several names, locked until the transaction ends. Locks are taken in one order, whoever asks.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn lock(conn: &mut Conn, targets: &[Target]) -> Result<HashMap<Target, Current>, StoreError> {
    let mut found = HashMap::with_capacity(targets.len());
    if targets.is_empty() {
        return Ok(found);
    }
    if conn.dialect() == Dialect::Sqlite {
        for target in targets {
            if let Some(current) = get(conn, target.resource_type, &target.id).await? {
                found.insert(target.clone(), current);
            }
        }
        return Ok(found);
    }
    let mut select =
        conn.sql("SELECT r.rtype, r.id, r.rid, r.version, r.last_updated, r.body FROM resource r JOIN unnest(");
    let (types, ids) = names(targets);
    select
        .bind(types)
        .text(", ")
        .bind(ids)
        .text(") AS n(rtype, id) ON r.rtype = n.rtype AND r.id = n.id ORDER BY r.rid FOR UPDATE OF r");
    type Types = (st::SmallInt, st::Text, st::BigInt, st::BigInt, st::BigInt, st::Nullable<st::Text>);
    for (code, id, rid, version, at, body) in
        conn.rows::<Types, (i16, String, i64, i64, i64, Option<String>)>(&select).await?
    {
        if let Some(resource_type) = ResourceType::from_code(code) {
            found.insert(Target { resource_type, id }, current((rid, version, at, body)));
        }
    }
    Ok(found)
}

fn names(targets: &[Target]) -> (Bind, Bind) {
    (
        Bind::I16s(targets.iter().map(|target| target.resource_type.code()).collect()),
        Bind::Texts(targets.iter().map(|target| target.id.clone()).collect()),
    )
}

/// Adds the row ids of these names to `rids`, as far as there are any. PostgreSQL only.
///
/// # Errors
/// [`StoreError`] of the statement.
pub(super) async fn rids(
    conn: &mut Conn,
    targets: &[Target],
    rids: &mut HashMap<Target, i64>,
) -> Result<(), StoreError> {
    if targets.is_empty() {
        return Ok(());
    }
    let mut select = conn.sql("SELECT r.rtype, r.id, r.rid FROM resource r JOIN unnest(");
    let (types, ids) = names(targets);
    select.bind(types).text(", ").bind(ids).text(") AS n(rtype, id) ON r.rtype = n.rtype AND r.id = n.id");
    for (code, id, rid) in conn.rows::<(st::SmallInt, st::Text, st::BigInt), (i16, String, i64)>(&select).await? {
        if let Some(resource_type) = ResourceType::from_code(code) {
            rids.insert(Target { resource_type, id }, rid);
        }
    }
    Ok(())
}

/// Which of these resources are not here: never stored, or deleted.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn missing(conn: &mut Conn, targets: &[Target]) -> Result<Vec<Target>, StoreError> {
    let mut missing = Vec::new();
    for target in targets {
        let mut select = conn.sql("SELECT live FROM resource WHERE rtype = ");
        select.i16(target.resource_type.code()).text(" AND id = ").str(target.id.as_str());
        let live = conn.first::<(st::SmallInt,), (i16,)>(&select).await?;
        if live.is_none_or(|row| row.0 == 0) {
            missing.push(target.clone());
        }
    }
    Ok(missing)
}

/// The names of resources that refer to this one, at most `limit`.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn referrers(conn: &mut Conn, rid: i64, params: &[i32], limit: i64) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for param in params {
        let mut select =
            conn.sql("SELECT r.rtype, r.id FROM index_reference x JOIN resource r ON r.rid = x.rid WHERE x.param = ");
        select
            .i32(*param)
            .text(" AND x.target = ")
            .i64(rid)
            .text(" AND r.live = 1 AND r.rid <> ")
            .i64(rid)
            .text(" LIMIT ")
            .i64(limit);
        for (code, id) in conn.rows::<(st::SmallInt, st::Text), (i16, String)>(&select).await? {
            if let Some(resource_type) = ResourceType::from_code(code) {
                names.push(format!("{resource_type}/{id}"));
            }
        }
        if i64::try_from(names.len()).is_ok_and(|found| found >= limit) {
            break;
        }
    }
    Ok(names)
}

/// Compresses a body that is about to become history.
pub(super) fn compress(body: &str) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::compress(body.as_bytes(), 3).map_err(|error| StoreError::Corrupt(format!("compressing: {error}")))
}

/// The body of an older version.
pub(super) fn decompress(body: &[u8]) -> Result<String, StoreError> {
    let plain =
        zstd::stream::decode_all(body).map_err(|error| StoreError::Corrupt(format!("decompressing: {error}")))?;
    String::from_utf8(plain).map_err(|error| StoreError::Corrupt(format!("decompressing: {error}")))
}
