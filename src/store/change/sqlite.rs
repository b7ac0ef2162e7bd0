//! Changes on SQLite: one statement for each row, since a statement costs little more than its row.

use std::collections::HashMap;

use diesel::sql_types as st;

use crate::search::value::Target;

use super::super::conn::Conn;
use super::super::error::StoreError;
use super::super::resources::compress;
use super::super::sql::Bind;
use super::{Change, Difference};

pub(super) async fn apply(conn: &mut Conn, changes: Vec<Change>, mentioned: &[Target]) -> Result<(), StoreError> {
    let rids = store(conn, &changes).await?;
    let mut targets = identify(conn, mentioned).await?;
    targets.extend(changes.iter().zip(&rids).map(|(change, rid)| (change.target.clone(), *rid)));
    let Difference { remove, add, new } = Difference::of(changes, rids, &targets);
    remove.delete_each(conn).await?;
    add.insert_each(conn).await?;
    new.insert_each(conn).await
}

/// The new versions, the replaced ones and the log. The row ids of the resources, in order.
async fn store(conn: &mut Conn, changes: &[Change]) -> Result<Vec<i64>, StoreError> {
    let mut rids = Vec::with_capacity(changes.len());
    for change in changes {
        if let (Some(rid), Some((version, body))) = (change.rid, &change.replaced) {
            let mut keep = conn.sql("UPDATE version SET body = ");
            keep.bind(Bind::Bytes(compress(body)?))
                .text(" WHERE rid = ")
                .i64(rid)
                .text(" AND version = ")
                .i64(*version);
            conn.execute(&keep).await?;
        }
        let live = i16::from(change.body.is_some());
        let body = Bind::NullableText(change.body.clone());
        let rid = match change.rid {
            Some(rid) => {
                let mut update = conn.sql("UPDATE resource SET version = ");
                update.i64(change.version).text(", live = ").i16(live).text(", last_updated = ").i64(change.at.0);
                update.text(", body = ").bind(body).text(" WHERE rid = ").i64(rid);
                conn.execute(&update).await?;
                rid
            }
            None => {
                let mut insert =
                    conn.sql("INSERT INTO resource (rtype, id, version, live, last_updated, body) VALUES (");
                insert.i16(change.target.resource_type.code()).text(", ").str(change.target.id.as_str());
                insert.text(", ").i64(change.version).text(", ").i16(live).text(", ").i64(change.at.0);
                insert.text(", ").bind(body).text(")");
                conn.execute(&insert).await?;
                last_rid(conn).await?
            }
        };
        let mut log = conn.sql("INSERT INTO version (rid, rtype, version, at, kind) VALUES (");
        log.i64(rid).text(", ").i16(change.target.resource_type.code()).text(", ").i64(change.version);
        log.text(", ").i64(change.at.0).text(", ").i16(change.kind as i16).text(")");
        conn.execute(&log).await?;
        rids.push(rid);
    }
    Ok(rids)
}

/// The row ids of these names; a name that is new gets a row of version 0, which nobody finds.
async fn identify(conn: &mut Conn, targets: &[Target]) -> Result<HashMap<Target, i64>, StoreError> {
    let mut rids = HashMap::with_capacity(targets.len());
    for target in targets {
        let mut select = conn.sql("SELECT rid FROM resource WHERE rtype = ");
        select.i16(target.resource_type.code()).text(" AND id = ").str(target.id.as_str());
        let rid = match conn.first::<(st::BigInt,), (i64,)>(&select).await? {
            Some((rid,)) => rid,
            None => insert_name(conn, target).await?,
        };
        rids.insert(target.clone(), rid);
    }
    Ok(rids)
}

async fn insert_name(conn: &mut Conn, target: &Target) -> Result<i64, StoreError> {
    let mut insert = conn.sql("INSERT INTO resource (rtype, id, version, live, last_updated) VALUES (");
    insert.i16(target.resource_type.code()).text(", ").str(target.id.as_str()).text(", 0, 0, 0)");
    conn.execute(&insert).await?;
    last_rid(conn).await
}

/// The row id of the row that was inserted last. RETURNING would need a statement journal.
async fn last_rid(conn: &mut Conn) -> Result<i64, StoreError> {
    let select = conn.sql("SELECT last_insert_rowid()");
    let inserted = conn.first::<(st::BigInt,), (i64,)>(&select).await?;
    inserted.map(|row| row.0).ok_or_else(|| StoreError::Corrupt("a new row has no id".into()))
}
