//! Changes to resources, applied in the transaction at hand: the new version, the log, and the difference of the index.

mod postgres;
mod sqlite;

use std::collections::{HashMap, HashSet};

use crate::fhir::types::Instant;
use crate::search::value::{IndexEntries, Target};

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;
use super::index::IndexChange;

/// How a version came to be; the number is what the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By POST, under an id that the server gave.
    Create = 1,
    /// By PUT or PATCH of what was there.
    Update = 2,
    Delete = 3,
    /// By PUT where nothing was.
    UpdateAsCreate = 4,
}

impl Kind {
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            1 => Some(Self::Create),
            2 => Some(Self::Update),
            3 => Some(Self::Delete),
            4 => Some(Self::UpdateAsCreate),
            _ => None,
        }
    }
}

/// One new version of one resource.
#[derive(Clone, Debug)]
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
    if !changes.is_empty() {
        super::writer::note_addition();
    }
    // What is changed itself need not be looked for.
    let own: HashSet<&Target> = changes.iter().map(|change| &change.target).collect();
    let mut mentioned: Vec<Target> = changes
        .iter()
        .flat_map(|change| change.add.references.iter().chain(&change.remove.references))
        .filter(|reference| !own.contains(&reference.target))
        .map(|reference| reference.target.clone())
        .collect();
    mentioned.sort();
    mentioned.dedup();
    match conn.dialect() {
        Dialect::Sqlite => sqlite::apply(conn, changes, &mentioned).await,
        Dialect::Postgres => postgres::apply(conn, changes, mentioned).await,
    }
}

/// The rows by which the index differs.
#[derive(Default)]
struct Difference {
    remove: IndexChange,
    /// Of resources that were here before.
    add: IndexChange,
    /// Of resources that are new: none of these rows can be there.
    new: IndexChange,
}

impl Difference {
    /// `rids`: of the changes, in their order. `targets`: the row ids of all that is referred to.
    fn of(changes: Vec<Change>, rids: Vec<i64>, targets: &HashMap<Target, i64>) -> Self {
        let mut difference = Self::default();
        for (change, rid) in changes.into_iter().zip(rids) {
            difference.remove.push(rid, change.remove, targets);
            let rows = if change.version == 1 { &mut difference.new } else { &mut difference.add };
            rows.push(rid, change.add, targets);
        }
        difference
    }
}
