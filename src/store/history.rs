//! Versions of a resource, of a type, of everything (R4 http.html#history).

use diesel::sql_types as st;

use crate::fhir::types::{Instant, ResourceType};

use super::change::Kind;
use super::conn::Conn;
use super::error::StoreError;
use super::resources::decompress;

/// One version.
#[derive(Clone, Debug)]
pub struct Version {
    pub seq: i64,
    pub resource_type: ResourceType,
    pub id: String,
    pub version: i64,
    pub at: Instant,
    pub kind: Kind,
    /// `None` for a deletion.
    pub body: Option<String>,
}

/// Whose history.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    Everything(&'a [ResourceType]),
    Type(ResourceType),
    Resource(i64),
}

/// A stretch of history, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// Only versions written at or after this moment.
    pub since: Option<Instant>,
    /// Only versions that were current at some point of this period (both ends included).
    pub during: Option<(Instant, Instant)>,
    /// Only versions before this one in the log: the end of the page before.
    pub before: Option<i64>,
    pub limit: i64,
}

/// # Errors
/// [`StoreError`] of the statements.
pub async fn list(conn: &mut Conn, of: Of<'_>, stretch: Stretch) -> Result<Vec<Version>, StoreError> {
    let mut sql = conn.sql("SELECT v.seq, v.rtype, r.id, v.version, v.at, v.kind, v.body, CASE WHEN v.version = r.version THEN r.body END FROM version v JOIN resource r ON r.rid = v.rid WHERE ");
    match of {
        Of::Everything(types) => {
            sql.text("v.rtype").in_i64s(types.iter().map(|t| i64::from(t.code())).collect());
        }
        Of::Type(resource_type) => {
            sql.text("v.rtype = ").i16(resource_type.code());
        }
        Of::Resource(rid) => {
            sql.text("v.rid = ").i64(rid);
        }
    }
    if let Some(since) = stretch.since {
        sql.text(" AND v.at >= ").i64(since.0);
    }
    if let Some((from, to)) = stretch.during {
        // Current from its own moment to that of the next version.
        sql.text(" AND v.at <= ").i64(to.0).text(
            " AND NOT EXISTS (SELECT 1 FROM version w WHERE w.rid = v.rid AND w.version = v.version + 1 AND w.at <= ",
        );
        sql.i64(from.0).text(")");
    }
    if let Some(before) = stretch.before {
        sql.text(" AND v.seq < ").i64(before);
    }
    sql.text(conn.dialect().go_on()).text(" ORDER BY v.seq DESC LIMIT ").i64(stretch.limit);
    type Types = (
        (st::BigInt, st::SmallInt, st::Text, st::BigInt, st::BigInt, st::SmallInt),
        (st::Nullable<st::Binary>, st::Nullable<st::Text>),
    );
    type Row = ((i64, i16, String, i64, i64, i16), (Option<Vec<u8>>, Option<String>));
    let rows = conn.rows::<Types, Row>(&sql).await?;
    rows.into_iter()
        .map(|((seq, rtype, id, version, at, kind), (old, current))| {
            let body = match (old, current) {
                (Some(old), _) => Some(decompress(&old)?),
                (None, current) => current,
            };
            let resource_type =
                ResourceType::from_code(rtype).ok_or_else(|| StoreError::Corrupt(format!("resource type {rtype}")))?;
            let kind = Kind::from_code(kind).ok_or_else(|| StoreError::Corrupt(format!("kind of version {kind}")))?;
            Ok(Version { seq, resource_type, id, version, at: Instant(at), kind, body })
        })
        .collect()
}

/// One version of a resource.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn get(
    conn: &mut Conn,
    resource_type: ResourceType,
    id: &str,
    version: i64,
) -> Result<Option<Version>, StoreError> {
    let mut sql = conn.sql("SELECT v.seq, v.at, v.kind, v.body, CASE WHEN v.version = r.version THEN r.body END FROM resource r JOIN version v ON v.rid = r.rid WHERE r.rtype = ");
    sql.i16(resource_type.code()).text(" AND r.id = ").str(id).text(" AND v.version = ").i64(version);
    type Types = (st::BigInt, st::BigInt, st::SmallInt, st::Nullable<st::Binary>, st::Nullable<st::Text>);
    let row = conn.first::<Types, (i64, i64, i16, Option<Vec<u8>>, Option<String>)>(&sql).await?;
    let Some((seq, at, kind, old, current)) = row else { return Ok(None) };
    let body = match (old, current) {
        (Some(old), _) => Some(decompress(&old)?),
        (None, current) => current,
    };
    let kind = Kind::from_code(kind).ok_or_else(|| StoreError::Corrupt(format!("kind of version {kind}")))?;
    Ok(Some(Version { seq, resource_type, id: id.to_owned(), version, at: Instant(at), kind, body }))
}

/// How many versions there are.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn count(conn: &mut Conn, rid: i64) -> Result<i64, StoreError> {
    let mut sql = conn.sql("SELECT COUNT(*) FROM version WHERE rid = ");
    sql.i64(rid);
    Ok(conn.first::<(st::BigInt,), (i64,)>(&sql).await?.map_or(0, |row| row.0))
}
