//! Changes to resources, applied in the transaction at hand: the new version, the log, and the difference of the index.

use diesel::sql_types as st;

use crate::fhir::types::Instant;
use crate::search::value::{IndexEntries, Target};

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;
use super::index::IndexChange;
use super::resources::{compress, identify, last_rid};
use super::sql::Bind;

/// How a version came to be; the number is what the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By POST, under an id that the server gave.
    Create = 1,
    /// By PUT or PATCH.
    Update = 2,
    Delete = 3,
}

impl Kind {
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            1 => Some(Self::Create),
            2 => Some(Self::Update),
            3 => Some(Self::Delete),
            _ => None,
        }
    }
}

/// One new version of one resource.
#[derive(Debug)]
pub struct Change {
    pub target: Target,
    /// The row that stands for the resource; `None` when the name is new.
    pub rid: Option<i64>,
    pub version: i64,
    pub at: Instant,
    pub kind: Kind,
    /// The JSON of the new version; `None` for a deletion.
    pub body: Option<String>,
    /// The version that is replaced and its JSON, which becomes history.
    pub replaced: Option<(i64, String)>,
    /// Index entries that the new version no longer has, and those it has anew.
    pub remove: IndexEntries,
    pub add: IndexEntries,
}

/// Applies changes to different resources.
///
/// # Errors
/// [`StoreError`] of the statements; the transaction must then be rolled back.
pub async fn apply(conn: &mut Conn, changes: Vec<Change>) -> Result<(), StoreError> {
    let rids = match conn.dialect() {
        Dialect::Sqlite => apply_sqlite(conn, &changes).await?,
        Dialect::Postgres => apply_postgres(conn, &changes).await?,
    };
    let mut mentioned: Vec<Target> = changes
        .iter()
        .flat_map(|change| change.add.references.iter().chain(&change.remove.references))
        .map(|reference| reference.target.clone())
        .collect();
    mentioned.sort();
    mentioned.dedup();
    let targets = identify(conn, &mentioned).await?;
    let (mut remove, mut add) = (IndexChange::default(), IndexChange::default());
    for (change, rid) in changes.into_iter().zip(rids) {
        remove.push(rid, change.remove, &targets);
        add.push(rid, change.add, &targets);
    }
    remove.delete(conn).await?;
    add.insert(conn).await
}

async fn apply_sqlite(conn: &mut Conn, changes: &[Change]) -> Result<Vec<i64>, StoreError> {
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

/// The same in four statements, however many changes there are: each statement is a round trip.
async fn apply_postgres(conn: &mut Conn, changes: &[Change]) -> Result<Vec<i64>, StoreError> {
    let replaced: Vec<_> = changes.iter().filter_map(|change| Some((change.rid?, change.replaced.as_ref()?))).collect();
    if !replaced.is_empty() {
        let bodies = replaced.iter().map(|(_, (_, body))| compress(body).map(Some)).collect::<Result<Vec<_>, _>>()?;
        let mut keep = conn.sql("UPDATE version v SET body = o.body FROM unnest(");
        keep.bind(Bind::I64s(replaced.iter().map(|(rid, _)| *rid).collect())).text(", ");
        keep.bind(Bind::I64s(replaced.iter().map(|(_, (version, _))| *version).collect())).text(", ");
        keep.bind(Bind::NullableBytesList(bodies));
        keep.text(") AS o(rid, version, body) WHERE v.rid = o.rid AND v.version = o.version");
        conn.execute(&keep).await?;
    }
    let (known, new): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| change.rid.is_some());
    if !known.is_empty() {
        let mut update = conn.sql(
            "UPDATE resource r SET version = o.version, live = o.live, last_updated = o.at, body = o.body FROM unnest(",
        );
        update.bind(Bind::I64s(known.iter().filter_map(|change| change.rid).collect())).text(", ");
        update.bind(Bind::I64s(known.iter().map(|change| change.version).collect())).text(", ");
        update.bind(Bind::I16s(known.iter().map(|change| i16::from(change.body.is_some())).collect())).text(", ");
        update.bind(Bind::I64s(known.iter().map(|change| change.at.0).collect())).text(", ");
        update.bind(Bind::NullableTexts(known.iter().map(|change| change.body.clone()).collect()));
        update.text(") AS o(rid, version, live, at, body) WHERE r.rid = o.rid");
        conn.execute(&update).await?;
    }
    let mut inserted = Vec::new();
    if !new.is_empty() {
        // Rows come back in the order in which they went in.
        let mut insert =
            conn.sql("INSERT INTO resource (rtype, id, version, live, last_updated, body) SELECT * FROM unnest(");
        insert.bind(Bind::I16s(new.iter().map(|change| change.target.resource_type.code()).collect())).text(", ");
        insert.bind(Bind::Texts(new.iter().map(|change| change.target.id.clone()).collect())).text(", ");
        insert.bind(Bind::I64s(new.iter().map(|change| change.version).collect())).text(", ");
        insert.bind(Bind::I16s(new.iter().map(|change| i16::from(change.body.is_some())).collect())).text(", ");
        insert.bind(Bind::I64s(new.iter().map(|change| change.at.0).collect())).text(", ");
        insert.bind(Bind::NullableTexts(new.iter().map(|change| change.body.clone()).collect()));
        insert.text(") RETURNING rid, id");
        inserted = conn.rows::<(st::BigInt, st::Text), (i64, String)>(&insert).await?;
    }
    let mut inserted = inserted.into_iter();
    let mut rids = Vec::with_capacity(changes.len());
    for change in changes {
        let rid = change.rid.or_else(|| inserted.next().filter(|(_, id)| *id == change.target.id).map(|(rid, _)| rid));
        rids.push(rid.ok_or_else(|| StoreError::Corrupt("new rows came back in another order".into()))?);
    }
    let mut log = conn.sql("INSERT INTO version (rid, rtype, version, at, kind) SELECT * FROM unnest(");
    log.bind(Bind::I64s(rids.clone())).text(", ");
    log.bind(Bind::I16s(changes.iter().map(|change| change.target.resource_type.code()).collect())).text(", ");
    log.bind(Bind::I64s(changes.iter().map(|change| change.version).collect())).text(", ");
    log.bind(Bind::I64s(changes.iter().map(|change| change.at.0).collect())).text(", ");
    log.bind(Bind::I16s(changes.iter().map(|change| change.kind as i16).collect())).text(")");
    conn.execute(&log).await?;
    Ok(rids)
}
