//! Walks over a whole type, page by page: what is there, and what is not there any more.

use diesel::sql_types as st;

use crate::fhir::types::{Instant, ResourceType};

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;

/// Resources that one statement brings.
pub const PAGE_RESOURCES: i64 = 1_000;

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

/// A walk over the live resources of a type, in a transaction that sees one state. One at a time on a connection.
pub struct Live {
    resource_type: ResourceType,
    since: Option<Instant>,
    /// SQLite: where the next page begins. PostgreSQL has a cursor: left to find each page anew, it chooses an index by which it
    /// passes over all other types first.
    place: Place,
}

impl Live {
    /// Begins a walk; with `since`, over what changed after that moment.
    ///
    /// # Errors
    /// [`StoreError`] of the statements.
    pub async fn begin(
        conn: &mut Conn,
        resource_type: ResourceType,
        since: Option<Instant>,
    ) -> Result<Self, StoreError> {
        if conn.dialect() == Dialect::Postgres {
            let since = since.map(|since| format!(" AND last_updated > {}", since.0)).unwrap_or_default();
            // All of it is read: the order does not matter, and whatever plan is the shortest to its end will do.
            conn.batch(&format!(
                "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL cursor_tuple_fraction = 1; \
                 DECLARE walk NO SCROLL CURSOR FOR SELECT body FROM resource WHERE rtype = {} AND live = 1{since}; \
                 SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off",
                resource_type.code()
            ))
            .await?;
        }
        Ok(Self { resource_type, since, place: Place::start(since) })
    }

    /// The next resources, as the JSON that is stored; none at the end.
    ///
    /// # Errors
    /// [`StoreError`] of the statement.
    pub async fn next(&mut self, conn: &mut Conn) -> Result<Vec<String>, StoreError> {
        match conn.dialect() {
            Dialect::Sqlite => self.page(conn).await,
            Dialect::Postgres => {
                let mut fetch = conn.sql("FETCH FORWARD ");
                fetch.made(PAGE_RESOURCES.to_string()).text(" FROM walk");
                let rows = conn.rows::<(st::Text,), (String,)>(&fetch).await?;
                if rows.is_empty() {
                    conn.batch("CLOSE walk").await?;
                }
                Ok(rows.into_iter().map(|(body,)| body).collect())
            }
        }
    }

    async fn page(&mut self, conn: &mut Conn) -> Result<Vec<String>, StoreError> {
        let Place { at, rid } = self.place;
        let mut sql = conn.sql("SELECT r.rid, r.last_updated, r.body FROM resource r WHERE r.rtype = ");
        sql.i16(self.resource_type.code()).text(" AND r.live = 1 AND ");
        if self.since.is_some() {
            sql.text("(r.last_updated, r.rid) > (").i64(at).text(", ").i64(rid);
            sql.text(") ORDER BY r.last_updated, r.rid LIMIT ").i64(PAGE_RESOURCES);
        } else {
            sql.text("r.rid > ").i64(rid).text(" ORDER BY r.rid LIMIT ").i64(PAGE_RESOURCES);
        }
        let rows = conn.rows::<(st::BigInt, st::BigInt, st::Text), (i64, i64, String)>(&sql).await?;
        if let Some((rid, at, _)) = rows.last() {
            self.place = Place { at: *at, rid: *rid };
        }
        Ok(rows.into_iter().map(|(_, _, body)| body).collect())
    }
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

/// The resources of a type that are deleted and whose deletion stands after a place, in order of time: a page of them. The
/// place is moved behind it.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn deleted(
    conn: &mut Conn,
    resource_type: ResourceType,
    place: &mut Place,
) -> Result<Vec<Deleted>, StoreError> {
    let mut sql = conn.sql("SELECT r.rid, r.last_updated, r.id, r.version FROM resource r WHERE r.rtype = ");
    sql.i16(resource_type.code()).text(" AND r.live = 0 AND r.version > 0 AND (r.last_updated, r.rid) > (");
    sql.i64(place.at).text(", ").i64(place.rid).text(") ORDER BY r.last_updated, r.rid LIMIT ").i64(PAGE_RESOURCES);
    type Types = (st::BigInt, st::BigInt, st::Text, st::BigInt);
    let rows = conn.rows::<Types, (i64, i64, String, i64)>(&sql).await?;
    if let Some((rid, at, ..)) = rows.last() {
        *place = Place { at: *at, rid: *rid };
    }
    Ok(rows.into_iter().map(|(_, _, id, version)| Deleted { id, version }).collect())
}
