//! What an import came to, by type.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

use crate::interactions::write::Outcome;

/// Types that are told apart. Files can name as many as they like.
const TYPES_MAX: usize = 300;

/// Resources of one type, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub created: u64,
    pub updated: u64,
    /// The content was there already, or there was nothing to delete.
    pub unchanged: u64,
    pub deleted: u64,
    pub rejected: u64,
    /// Of a type that is not stored here.
    pub skipped: u64,
}

impl Counts {
    pub fn total(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.deleted + self.rejected + self.skipped
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.deleted += other.deleted;
        self.rejected += other.rejected;
        self.skipped += other.skipped;
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub types: BTreeMap<String, Counts>,
    pub seconds: f64,
    /// Lines and documents that an earlier, unfinished import of these files had done.
    pub units_done_before: i64,
    /// Ended by the one who started it, before the end of the files.
    pub is_interrupted: bool,
}

impl Summary {
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.types.values().for_each(|counts| total += *counts);
        total
    }

    /// Resources per second.
    pub fn rate(&self) -> f64 {
        self.total().total() as f64 / self.seconds.max(1e-3)
    }

    pub(super) fn count(&mut self, type_name: &str) -> &mut Counts {
        let is_told_apart = self.types.len() < TYPES_MAX || self.types.contains_key(type_name);
        self.types.entry(if is_told_apart { type_name } else { "(other)" }.to_owned()).or_default()
    }

    pub(super) fn stored(&mut self, type_name: &str, outcome: Outcome) {
        let counts = self.count(type_name);
        match outcome {
            Outcome::Created => counts.created += 1,
            Outcome::Updated => counts.updated += 1,
            Outcome::Unchanged | Outcome::WasGone => counts.unchanged += 1,
            Outcome::Deleted => counts.deleted += 1,
        }
    }
}
