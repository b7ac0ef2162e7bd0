//! Walks over a whole type, page by page: what is there, and what is not there any more.

use diesel::sql_types as st;

use crate::fhir::types::{Instant, ResourceType};

use super::conn::Conn;
use super::error::StoreError;

/// How far a walk has come: the row ids before this one are behind it; where it goes by time, those before this moment.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    at: i64,
    rid: i64,
}

impl Place {
    /// Before everything that changed after a moment; `None`: before everything.
    pub fn start(since: Option<Instant>) -> Self {
        // No row id is larger, so that what changed at that very moment is behind.
        since.map_or(Self { at: 0, rid: 0 }, |since| Self { at: since.0, rid: i64::MAX })
    }
}

/// The live resources of a type after a place, at most `limit`, as the JSON that is stored: by row id, or by the moment of
/// their last change when `since` asks for what changed after it. The place is moved behind them.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn live(
    conn: &mut Conn,
    resource_type: ResourceType,
    since: Option<Instant>,
    place: &mut Place,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let mut sql = conn.sql("SELECT r.rid, r.last_updated, r.body FROM resource r WHERE r.rtype = ");
    sql.i16(resource_type.code()).text(" AND r.live = 1 AND ");
    if since.is_some() {
        sql.text("(r.last_updated, r.rid) > (").i64(place.at).text(", ").i64(place.rid);
        sql.text(") ORDER BY r.last_updated, r.rid LIMIT ").i64(limit);
    } else {
        sql.text("r.rid > ").i64(place.rid).text(" ORDER BY r.rid LIMIT ").i64(limit);
    }
    let rows = conn.rows::<(st::BigInt, st::BigInt, st::Text), (i64, i64, String)>(&sql).await?;
    if let Some((rid, at, _)) = rows.last() {
        *place = Place { at: *at, rid: *rid };
    }
    Ok(rows.into_iter().map(|(_, _, body)| body).collect())
}

/// The live resources with these row ids, as the JSON that is stored.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn bodies(conn: &mut Conn, rids: &[i64]) -> Result<Vec<String>, StoreError> {
    let mut sql = conn.sql("SELECT r.body FROM resource r WHERE r.rid");
    sql.in_i64s(rids.to_vec()).text(" AND r.live = 1");
    let rows = conn.rows::<(st::Text,), (String,)>(&sql).await?;
    Ok(rows.into_iter().map(|(body,)| body).collect())
}

/// A resource that is deleted.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub id: String,
    /// Of the deletion.
    pub version: i64,
}

/// The resources of a type that are deleted and whose deletion stands after a place, in order of time, at most `limit`. The
/// place is moved behind them.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn deleted(
    conn: &mut Conn,
    resource_type: ResourceType,
    place: &mut Place,
    limit: i64,
) -> Result<Vec<Deleted>, StoreError> {
    let mut sql = conn.sql("SELECT r.rid, r.last_updated, r.id, r.version FROM resource r WHERE r.rtype = ");
    sql.i16(resource_type.code()).text(" AND r.live = 0 AND r.version > 0 AND (r.last_updated, r.rid) > (");
    sql.i64(place.at).text(", ").i64(place.rid).text(") ORDER BY r.last_updated, r.rid LIMIT ").i64(limit);
    type Types = (st::BigInt, st::BigInt, st::Text, st::BigInt);
    let rows = conn.rows::<Types, (i64, i64, String, i64)>(&sql).await?;
    if let Some((rid, at, ..)) = rows.last() {
        *place = Place { at: *at, rid: *rid };
    }
    Ok(rows.into_iter().map(|(_, _, id, version)| Deleted { id, version }).collect())
}
