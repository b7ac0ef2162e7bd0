//! The resources that come along with a page: what its matches refer to, and what refers to them.

use diesel::sql_types as st;

use crate::fhir::types::{Instant, ResourceType};
use crate::search::query::Filter;

use super::condition::any;
use super::conn::Conn;
use super::error::StoreError;
use super::page::Found;
use super::predicate::Predicates;
use super::sql::Sql;

/// Which references to follow, from which resources.
#[derive(Debug)]
pub struct Step<'a> {
    pub rids: Vec<i64>,
    /// Numbers of the reference parameters.
    pub params: &'a [i32],
    /// From the target to those that point to it.
    pub reverse: bool,
    /// Only resources of this type.
    pub only: Option<ResourceType>,
    /// Only resources that meet one of these; `None`: all.
    pub visible: Option<&'a [Visible]>,
}

/// Resources of one type that may come along: those that every filter holds for, all of the type when there is none.
#[derive(Clone, Debug)]
pub struct Visible {
    pub resource_type: ResourceType,
    pub filters: Vec<Filter>,
}

/// The live resources that a step leads to, in order of their row ids, at most `limit`.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn follow(conn: &mut Conn, step: Step<'_>, limit: i64) -> Result<Vec<Found>, StoreError> {
    let visible: Option<Vec<&Visible>> = step.visible.map(|visible| {
        visible.iter().filter(|visible| step.only.is_none_or(|only| only == visible.resource_type)).collect()
    });
    if step.rids.is_empty() || step.params.is_empty() || visible.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let mut sql = conn.sql("SELECT r.rid, r.rtype, r.id, r.version, r.last_updated, r.body FROM (SELECT DISTINCT ");
    let params: Vec<i64> = step.params.iter().map(|param| i64::from(*param)).collect();
    if step.reverse {
        sql.text("x.rid AS rid FROM index_reference x WHERE x.param")
            .in_i64s(params)
            .text(" AND x.target")
            .in_i64s(step.rids);
    } else {
        sql.text("x.target AS rid FROM index_reference x WHERE x.rid")
            .in_i64s(step.rids)
            .text(" AND x.param")
            .in_i64s(params);
    }
    sql.text(conn.dialect().go_on()).text(") i CROSS JOIN resource r WHERE r.rid = i.rid AND r.live = 1");
    if let Some(only) = step.only {
        sql.text(" AND r.rtype = ").i16(only.code());
    }
    if let Some(visible) = visible {
        let mut predicates = Predicates::new(sql.dialect);
        sql.text(" AND ");
        any(&mut sql, &visible, &mut |sql, visible| {
            sql.text("(r.rtype = ").i16(visible.resource_type.code());
            for filter in &visible.filters {
                sql.text(" AND ").append(predicates.probe(filter, "r.rid"));
            }
            sql.text(")");
        });
    }
    sql.text(" ORDER BY r.rid LIMIT ").i64(limit);
    found(conn, &sql).await
}

/// The live resources with these row ids.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn by_rid(conn: &mut Conn, rids: Vec<i64>) -> Result<Vec<Found>, StoreError> {
    let mut sql =
        conn.sql("SELECT r.rid, r.rtype, r.id, r.version, r.last_updated, r.body FROM resource r WHERE r.rid");
    sql.in_i64s(rids).text(" AND r.live = 1 ORDER BY r.rid");
    found(conn, &sql).await
}

/// The live resources of a type after a row id, in order: a walk over the whole directory.
///
/// # Errors
/// [`StoreError`] of the statement.
pub async fn after(
    conn: &mut Conn,
    resource_type: ResourceType,
    rid: i64,
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    let mut sql =
        conn.sql("SELECT r.rid, r.rtype, r.id, r.version, r.last_updated, r.body FROM resource r WHERE r.rtype = ");
    sql.i16(resource_type.code())
        .text(" AND r.live = 1 AND r.rid > ")
        .i64(rid)
        .text(" ORDER BY r.rid LIMIT ")
        .i64(limit);
    found(conn, &sql).await
}

async fn found(conn: &mut Conn, sql: &Sql) -> Result<Vec<Found>, StoreError> {
    type Types = (st::BigInt, st::SmallInt, st::Text, st::BigInt, st::BigInt, st::Text);
    let rows = conn.rows::<Types, (i64, i16, String, i64, i64, String)>(sql).await?;
    let found = rows.into_iter().filter_map(|(rid, rtype, id, version, at, body)| {
        let resource_type = ResourceType::from_code(rtype)?;
        Some(Found { rid, resource_type, id, version, last_updated: Instant(at), body, keys: Vec::new() })
    });
    Ok(found.collect())
}
