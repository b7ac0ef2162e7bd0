//! One page of a search, and the count of all its matches.
//!
//! The text of a statement says in which order it is to be executed, on both databases: the filters are counted, each up
//! to a bound, and the one with the fewest matches drives; if all are broad, a walk in order of the row ids that probes
//! each filter soon has a page.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant as Clock};

use diesel::sql_types as st;

use crate::fhir::types::{Instant, ResourceType};
use crate::search::extract::PART;
use crate::search::page::KeyValue;
use crate::search::param::{ParamKind, SearchParam};
use crate::search::query::{Filter, SortBy, SortKey, TypeQuery};

use super::condition::chord;
use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;
use super::filter::{comes_in_order, is_near, lists_names};
use super::predicate::Predicates;
use super::sql::Sql;

/// Matches up to which a filter is counted before a search; one with as many is broad. For a filter that is alone see
/// [`Dialect::broad_alone`]: there is nothing it could be better than but a walk over the type.
const BROAD: i64 = 2_000;
/// How long such a count is remembered, and how many are.
const COUNT_AGE: Duration = Duration::from_secs(30);
const COUNTS_MAX: usize = 4_096;
/// Sort keys of one search.
pub const SORT_KEYS_MAX: usize = 4;

/// A stored resource on its way to a Bundle.
#[derive(Clone, Debug)]
pub struct Found {
    pub rid: i64,
    pub resource_type: ResourceType,
    pub id: String,
    pub version: i64,
    pub last_updated: Instant,
    pub body: String,
    /// Its sort values, for the cursor of the next page.
    pub keys: Vec<KeyValue>,
}

/// The end of the page before.
#[derive(Clone, Debug)]
pub struct After {
    pub keys: Vec<KeyValue>,
    pub rid: i64,
}

/// At most `limit` matches after `after`, in order.
///
/// # Errors
/// [`StoreError`] of the statements; [`StoreError::TimeLimit`] when it takes too long.
pub async fn page(
    conn: &mut Conn,
    parts: &[TypeQuery],
    after: Option<&After>,
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    let keys = parts.first().map_or(0, |part| part.sort.len());
    let mut sql =
        conn.sql("SELECT p.rid, r.rtype, r.id, r.version, r.last_updated, r.body, p.k0, p.k1, p.k2, p.k3 FROM (");
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            sql.text(" UNION ALL ");
        }
        let one = part_page(conn, part, after, limit).await?;
        sql.text("SELECT * FROM (").append(one).text(") u");
    }
    sql.text(") p CROSS JOIN resource r WHERE r.rid = p.rid ORDER BY ");
    order(&mut sql, "p", parts.first().map_or(&[], |part| &part.sort));
    sql.text("p.rid LIMIT ").i64(limit);
    type Types = (
        (st::BigInt, st::SmallInt, st::Text, st::BigInt, st::BigInt, st::Text),
        (st::Nullable<st::Text>, st::Nullable<st::Text>, st::Nullable<st::Text>, st::Nullable<st::Text>),
    );
    type Row = ((i64, i16, String, i64, i64, String), (Option<String>, Option<String>, Option<String>, Option<String>));
    let rows = conn.rows::<Types, Row>(&sql).await?;
    let found = rows.into_iter().filter_map(|((rid, rtype, id, version, at, body), (k0, k1, k2, k3))| {
        let keys =
            [k0, k1, k2, k3].into_iter().take(keys).map(|key| key.map_or(KeyValue::None, KeyValue::Text)).collect();
        let resource_type = ResourceType::from_code(rtype)?;
        Some(Found { rid, resource_type, id, version, last_updated: Instant(at), body, keys })
    });
    Ok(found.collect())
}

/// How many resources match, up to `limit`.
///
/// # Errors
/// As [`page`].
pub async fn count(conn: &mut Conn, parts: &[TypeQuery], limit: i64) -> Result<i64, StoreError> {
    let mut total = 0;
    for part in parts {
        let mut predicates = Predicates::new(conn.dialect());
        let (candidates, probes) = plan(conn, &mut predicates, part, false).await?;
        let mut sql = conn.sql("SELECT COUNT(*) FROM (SELECT DISTINCT c.rid FROM (");
        sql.append(candidates).text(") c WHERE 1 = 1");
        append_probes(&mut sql, &mut predicates, &probes, part);
        sql.text(" LIMIT ").i64(limit).text(") n");
        total += conn.first::<(st::BigInt,), (i64,)>(&sql).await?.map_or(0, |row| row.0);
    }
    Ok(total)
}

/// The row ids of the matches after `rid`, in order, at most `limit`: for who wants all of them, however many.
///
/// # Errors
/// As [`page`].
pub async fn rids(conn: &mut Conn, part: &TypeQuery, rid: i64, limit: i64) -> Result<Vec<i64>, StoreError> {
    let mut predicates = Predicates::new(conn.dialect());
    let (candidates, probes) = plan(conn, &mut predicates, part, false).await?;
    let mut sql = conn.sql("SELECT DISTINCT c.rid FROM (");
    sql.append(candidates).text(") c WHERE 1 = 1");
    append_probes(&mut sql, &mut predicates, &probes, part);
    sql.text(" AND c.rid > ").i64(rid).text(" ORDER BY c.rid LIMIT ").i64(limit);
    Ok(conn.rows::<(st::BigInt,), (i64,)>(&sql).await?.into_iter().map(|row| row.0).collect())
}

/// `SELECT rid, k0, k1, k2, k3` of one type's page.
async fn part_page(conn: &mut Conn, part: &TypeQuery, after: Option<&After>, limit: i64) -> Result<Sql, StoreError> {
    let mut predicates = Predicates::new(conn.dialect());
    let (candidates, probes) = plan(conn, &mut predicates, part, part.sort.is_empty()).await?;
    let mut matches = conn.sql("SELECT DISTINCT c.rid FROM (");
    matches.append(candidates).text(") c WHERE 1 = 1");
    append_probes(&mut matches, &mut predicates, &probes, part);
    if part.sort.is_empty() {
        if let Some(after) = after {
            matches.text(" AND c.rid > ").i64(after.rid);
        }
        // Nothing but the row id is in this inner statement, so that an index in its order ends it early.
        matches.text(" ORDER BY c.rid LIMIT ").i64(limit);
    }
    let mut sql = conn.sql("SELECT c.rid");
    for n in 0..SORT_KEYS_MAX {
        sql.text(", ");
        match part.sort.get(n) {
            Some(key) => key_expression(&mut sql, key),
            None => {
                sql.text("CAST(NULL AS TEXT)");
            }
        }
        sql.text([" AS k0", " AS k1", " AS k2", " AS k3"].get(n).copied().unwrap_or_default());
    }
    sql.text(" FROM (").append(matches).text(") c");
    if part.sort.is_empty() {
        return Ok(sql);
    }
    let mut sorted = conn.sql("SELECT * FROM (");
    sorted.append(sql).text(") s");
    if let Some(after) = after {
        sorted.text(" WHERE ");
        after_condition(&mut sorted, &part.sort, after);
    }
    sorted.text(" ORDER BY ");
    order(&mut sorted, "s", &part.sort);
    sorted.text("s.rid LIMIT ").i64(limit);
    Ok(sorted)
}

fn append_probes(sql: &mut Sql, predicates: &mut Predicates, probes: &[&Filter], part: &TypeQuery) {
    for filter in probes {
        let probe = predicates.probe(filter, "c.rid");
        sql.text(" AND ").append(probe);
    }
    // What a `_has` leads to may be only a name, or of another type; every other index row belongs to a live resource.
    if part.filters.iter().any(lists_names) {
        let (exists, end) = sql.dialect.exists();
        sql.text(" AND ")
            .text(exists)
            .text("SELECT 1 FROM resource l WHERE l.rid = c.rid AND l.live = 1 AND l.rtype = ");
        sql.i16(part.resource_type.code()).text(end);
    }
}

/// The candidates of a search and the filters that are left to probe.
async fn plan<'q>(
    conn: &mut Conn,
    predicates: &mut Predicates,
    part: &'q TypeQuery,
    is_in_order: bool,
) -> Result<(Sql, Vec<&'q Filter>), StoreError> {
    let driver = driver(conn, predicates, part, is_in_order).await?;
    let mut candidates = driver
        .and_then(|at| predicates.drive(part.filters.get(at)?))
        .unwrap_or_else(|| predicates.scan(part.resource_type));
    if driver.and_then(|at| part.filters.get(at)).is_some_and(|filter| !comes_in_order(filter)) {
        candidates.text(conn.dialect().fence());
    }
    let probes =
        part.filters.iter().enumerate().filter(|(at, _)| Some(*at) != driver).map(|(_, filter)| filter).collect();
    Ok((candidates, probes))
}

/// The filter to begin with; none when a walk over the type is better, or there is no filter that lists anything.
async fn driver(
    conn: &mut Conn,
    predicates: &mut Predicates,
    part: &TypeQuery,
    is_in_order: bool,
) -> Result<Option<usize>, StoreError> {
    let mut drives = Vec::new();
    for (at, filter) in part.filters.iter().enumerate() {
        if let Some(drive) = predicates.drive(filter) {
            drives.push((at, filter, drive));
        }
    }
    if let [(at, filter, _)] = drives.as_slice()
        && (!is_in_order || comes_in_order(filter) || is_near(filter))
    {
        return Ok(Some(*at));
    }
    let mut best: Option<(usize, i64)> = None;
    let broad = if drives.len() == 1 { conn.dialect().broad_alone() } else { BROAD };
    for (at, _, drive) in &drives {
        let matches = counted(conn, drive, broad).await?;
        if best.is_none_or(|(_, fewest)| matches < fewest) {
            best = Some((*at, matches));
        }
    }
    Ok(match best {
        Some((_, fewest)) if fewest >= broad && is_in_order => {
            drives.iter().find(|(_, filter, _)| comes_in_order(filter)).map(|(at, ..)| *at)
        }
        Some((at, _)) => Some(at),
        None => None,
    })
}

thread_local! {
    static COUNTS: RefCell<HashMap<(u64, i64), (Clock, i64)>> = RefCell::new(HashMap::new());
}

/// How many rows a drive yields, up to `most`; remembered for a while.
async fn counted(conn: &mut Conn, drive: &Sql, most: i64) -> Result<i64, StoreError> {
    let key = (drive.fingerprint(), most);
    let known =
        COUNTS.with_borrow(|counts| counts.get(&key).filter(|(at, _)| at.elapsed() < COUNT_AGE).map(|(_, n)| *n));
    if let Some(known) = known {
        return Ok(known);
    }
    let mut sql = conn.sql("SELECT COUNT(*) FROM (");
    sql.append(drive.clone()).text(" LIMIT ").i64(most).text(") n");
    let matches = conn.first::<(st::BigInt,), (i64,)>(&sql).await?.map_or(0, |row| row.0);
    COUNTS.with_borrow_mut(|counts| {
        if counts.len() >= COUNTS_MAX {
            counts.clear();
        }
        counts.insert(key, (Clock::now(), matches));
    });
    Ok(matches)
}

/// The value by which `c` is sorted, as text that sorts as the value does: of several values the one that comes first.
fn key_expression(sql: &mut Sql, key: &SortKey) {
    let first = if key.descending { "MAX" } else { "MIN" };
    match key.by {
        SortBy::Id => {
            sql.text("(SELECT k.id FROM resource k WHERE k.rid = c.rid)");
        }
        SortBy::LastUpdated => {
            let value = Sql::new(sql.dialect, "k.last_updated");
            number_key(sql, first, &value, "resource k WHERE k.rid = c.rid", None);
        }
        SortBy::Near(param, from) => {
            // The chord's square in units of 1e-15: a step of about 0.2 m at a distance of 1 km.
            let mut distance = Sql::new(sql.dialect, "CAST(1e15 * ");
            chord(&mut distance, "k", from.vector());
            distance.text(" AS BIGINT)");
            number_key(sql, first, &distance, "index_position k WHERE k.rid = c.rid", Some(param.id));
        }
        SortBy::Param(param) => param_key(sql, param, key.descending, first),
    }
}

fn param_key(sql: &mut Sql, param: &SearchParam, descending: bool, first: &'static str) {
    let text = |sql: &mut Sql, column: &str, table: &str| {
        sql.made(format!("(SELECT {first}(k.{column}) FROM {table} k WHERE k.rid = c.rid AND k.param = "))
            .i32(param.id)
            .text(")");
    };
    match param.kind {
        ParamKind::String => {
            sql.made(format!("(SELECT {first}(k.value) FROM index_string k WHERE k.rid = c.rid AND k.param = "))
                .i32(param.id);
            sql.text(" AND k.exact <> ").str(PART).text(")");
        }
        ParamKind::Token => text(sql, "code", "index_token"),
        ParamKind::Uri => text(sql, "value", "index_uri"),
        ParamKind::Reference => {
            sql.made(format!("(SELECT {first}(n.id) FROM index_reference k JOIN resource n ON n.rid = k.target WHERE k.rid = c.rid AND k.param = "));
            sql.i32(param.id).text(")");
        }
        ParamKind::Date => {
            let value = Sql::new(sql.dialect, if descending { "k.hi" } else { "k.lo" });
            number_key(sql, first, &value, "index_date k WHERE k.rid = c.rid", Some(param.id));
        }
        ParamKind::Number | ParamKind::Quantity => {
            // Millionths, as far as 64 bits reach.
            let reach = "CASE WHEN k.value > 9e12 THEN 9e12 WHEN k.value < -9e12 THEN -9e12 ELSE k.value END";
            let mut value = Sql::new(sql.dialect, "CAST(1000000 * ");
            value.text(reach).text(" AS BIGINT)");
            number_key(sql, first, &value, "index_quantity k WHERE k.rid = c.rid", Some(param.id));
        }
        ParamKind::Composite | ParamKind::Special => {
            sql.text("CAST(NULL AS TEXT)");
        }
    }
}

/// A whole number as 20 digits. Halved and shifted it is never negative, whatever the number was.
fn number_key(sql: &mut Sql, first: &'static str, value: &Sql, from: &'static str, param: Option<i32>) {
    let (before, after) = match sql.dialect {
        // printf makes a zero of NULL.
        Dialect::Sqlite => ("printf('%020d', ", ")"),
        Dialect::Postgres => ("lpad((", ")::text, 20, '0')"),
    };
    sql.text("(SELECT CASE WHEN COUNT(*) > 0 THEN ").text(before).text(first).text("(").append(value.clone());
    sql.text(") / 2 + 4611686018427387904").text(after).text(" END FROM ").text(from);
    if let Some(param) = param {
        sql.text(" AND k.param = ").i32(param);
    }
    sql.text(")");
}

fn order(sql: &mut Sql, table: &str, sort: &[SortKey]) {
    for (n, key) in sort.iter().enumerate() {
        let direction = if key.descending { "DESC" } else { "ASC" };
        // What has no value comes last, in either direction.
        sql.made(format!("{table}.k{n} IS NULL, {table}.k{n} {direction}, "));
    }
}

/// The rows that come after the last one of the page before.
fn after_condition(sql: &mut Sql, sort: &[SortKey], after: &After) {
    sql.text("(");
    for (n, key) in sort.iter().enumerate() {
        match after.keys.get(n) {
            Some(KeyValue::Text(value)) => {
                let beyond = if key.descending { "<" } else { ">" };
                sql.made(format!("s.k{n} {beyond} "))
                    .str(value.as_str())
                    .made(format!(" OR s.k{n} IS NULL OR (s.k{n} = "));
                sql.str(value.as_str()).text(" AND (");
            }
            _ => {
                sql.made(format!("1 = 0 OR (s.k{n} IS NULL AND ("));
            }
        }
    }
    sql.text("s.rid > ").i64(after.rid);
    for _ in sort {
        sql.text("))");
    }
    sql.text(")");
}
