//! Changes on PostgreSQL: few statements, however many changes there are, since each statement is a journey.
//!
//! Two transactions in which no resource comes twice never wait for each other: each locks the resources that are here in the order of their row ids
//! ([`resources::lock`]), and then stores all new names, those of new resources and those only mentioned, in one statement
//! in the order of the names.

use std::collections::{BTreeMap, HashMap};

use diesel::sql_types as st;

use crate::fhir::types::ResourceType;
use crate::search::value::Target;

use super::super::conn::Conn;
use super::super::error::StoreError;
use super::super::resources::{self, compress};
use super::super::sql::{Bind, Sql};
use super::{Change, Difference};

pub(super) async fn apply(conn: &mut Conn, changes: Vec<Change>, mentioned: Vec<Target>) -> Result<(), StoreError> {
    let mut targets = HashMap::with_capacity(mentioned.len());
    resources::rids(conn, &mentioned, &mut targets).await?;
    let inserted = insert_new(conn, &changes, &mentioned, &targets).await?;
    let rid = |change: &Change| {
        let rid = change.rid.or_else(|| inserted.get(&change.target).copied());
        // Somebody else stored or mentioned the same new name since it was looked for; next time it is found.
        rid.ok_or(StoreError::Contended(None))
    };
    let rids = changes.iter().map(rid).collect::<Result<Vec<i64>, StoreError>>()?;
    targets.extend(inserted);
    targets.extend(changes.iter().zip(&rids).map(|(change, rid)| (change.target.clone(), *rid)));
    // The same for names that are only mentioned, which need not be one's own.
    let left: Vec<Target> = mentioned.into_iter().filter(|target| !targets.contains_key(target)).collect();
    resources::rids(conn, &left, &mut targets).await?;
    let mut statements = Vec::new();
    statements.extend(keep_replaced(conn, &changes)?);
    statements.extend(update_known(conn, &changes));
    statements.push(log(conn, &changes, &rids));
    let Difference { remove, add, new } = Difference::of(changes, rids, &targets);
    statements.extend(remove.deletes());
    statements.extend(add.inserts(false));
    statements.extend(new.inserts(true));
    conn.execute_all(&statements).await
}

/// Inserts the resources that have no row yet, and a row of version 0, which nobody finds, for each name that is only
/// mentioned and not among the `known`. The row ids of those that nobody else inserted at the same time.
async fn insert_new(
    conn: &mut Conn,
    changes: &[Change],
    mentioned: &[Target],
    known: &HashMap<Target, i64>,
) -> Result<HashMap<Target, i64>, StoreError> {
    let unknown = mentioned.iter().filter(|target| !known.contains_key(target)).map(|target| (target, None));
    let mut names: BTreeMap<&Target, Option<&Change>> = unknown.collect();
    names.extend(changes.iter().filter(|change| change.rid.is_none()).map(|change| (&change.target, Some(change))));
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let of = |one: fn(&Change) -> i64| names.values().map(|change| change.map_or(0, one)).collect::<Vec<i64>>();
    let is_live = |change: &Option<&Change>| change.is_some_and(|change| change.body.is_some());
    let body = |change: &Option<&Change>| change.and_then(|change| change.body.clone());
    let mut insert =
        conn.sql("INSERT INTO resource (rtype, id, version, live, last_updated, body) SELECT * FROM unnest(");
    insert.bind(Bind::I16s(names.keys().map(|target| target.resource_type.code()).collect())).text(", ");
    insert.bind(Bind::Texts(names.keys().map(|target| target.id.clone()).collect())).text(", ");
    insert.bind(Bind::I64s(of(|change| change.version))).text(", ");
    insert.bind(Bind::I16s(names.values().map(|change| i16::from(is_live(change))).collect())).text(", ");
    insert.bind(Bind::I64s(of(|change| change.at.0))).text(", ");
    insert.bind(Bind::NullableTexts(names.values().map(body).collect()));
    insert.text(") ON CONFLICT (rtype, id) DO NOTHING RETURNING rid, rtype, id");
    let rows = conn.rows::<(st::BigInt, st::SmallInt, st::Text), (i64, i16, String)>(&insert).await?;
    let target = |code, id| Some(Target { resource_type: ResourceType::from_code(code)?, id });
    Ok(rows.into_iter().filter_map(|(rid, code, id)| Some((target(code, id)?, rid))).collect())
}

/// The versions that are replaced become history.
fn keep_replaced(conn: &Conn, changes: &[Change]) -> Result<Option<Sql>, StoreError> {
    let replaced: Vec<_> = changes.iter().filter_map(|change| Some((change.rid?, change.replaced.as_ref()?))).collect();
    if replaced.is_empty() {
        return Ok(None);
    }
    let bodies = replaced.iter().map(|(_, (_, body))| compress(body).map(Some)).collect::<Result<Vec<_>, _>>()?;
    let mut keep = conn.sql("UPDATE version v SET body = o.body FROM unnest(");
    keep.bind(Bind::I64s(replaced.iter().map(|(rid, _)| *rid).collect())).text(", ");
    keep.bind(Bind::I64s(replaced.iter().map(|(_, (version, _))| *version).collect())).text(", ");
    keep.bind(Bind::NullableBytesList(bodies));
    keep.text(") AS o(rid, version, body) WHERE v.rid = o.rid AND v.version = o.version");
    Ok(Some(keep))
}

fn update_known(conn: &Conn, changes: &[Change]) -> Option<Sql> {
    let known: Vec<&Change> = changes.iter().filter(|change| change.rid.is_some()).collect();
    if known.is_empty() {
        return None;
    }
    let mut update = conn.sql(
        "UPDATE resource r SET version = o.version, live = o.live, last_updated = o.at, body = o.body FROM unnest(",
    );
    update.bind(Bind::I64s(known.iter().filter_map(|change| change.rid).collect())).text(", ");
    update.bind(Bind::I64s(known.iter().map(|change| change.version).collect())).text(", ");
    update.bind(Bind::I16s(known.iter().map(|change| i16::from(change.body.is_some())).collect())).text(", ");
    update.bind(Bind::I64s(known.iter().map(|change| change.at.0).collect())).text(", ");
    update.bind(Bind::NullableTexts(known.iter().map(|change| change.body.clone()).collect()));
    update.text(") AS o(rid, version, live, at, body) WHERE r.rid = o.rid");
    Some(update)
}

fn log(conn: &Conn, changes: &[Change], rids: &[i64]) -> Sql {
    let mut log = conn.sql("INSERT INTO version (rid, rtype, version, at, kind) SELECT * FROM unnest(");
    log.bind(Bind::I64s(rids.to_vec())).text(", ");
    log.bind(Bind::I16s(changes.iter().map(|change| change.target.resource_type.code()).collect())).text(", ");
    log.bind(Bind::I64s(changes.iter().map(|change| change.version).collect())).text(", ");
    log.bind(Bind::I64s(changes.iter().map(|change| change.at.0).collect())).text(", ");
    log.bind(Bind::I16s(changes.iter().map(|change| change.kind as i16).collect())).text(")");
    log
}
