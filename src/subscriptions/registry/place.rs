//! The subscriptions to one kind of change, in groups of those that ask the same.

use std::collections::{BTreeSet, HashMap};
use std::hash::RandomState;
use std::sync::Arc;

use crate::fhir::types::ResourceType;
use crate::search::matching::{self, Subject};
use crate::search::query::Filter;
use crate::subscriptions::definition::Definition;

use super::Matches;
use super::keys::{self, Equality, Key};

type GroupId = u64;

/// Subscriptions whose filters are the same.
#[derive(Clone, Debug)]
struct Group<K> {
    /// Of its first member; its filters are those of all.
    definition: Arc<Definition>,
    /// Under which it is found; empty: it is always asked.
    keys: Vec<Key>,
    members: BTreeSet<K>,
}

#[derive(Clone, Debug)]
pub(super) struct Place<K> {
    groups: HashMap<GroupId, Group<K>>,
    /// The group of those with these conditions, written as [`conditions`] does.
    by_conditions: HashMap<String, GroupId>,
    by_key: HashMap<Key, BTreeSet<GroupId>>,
    /// Those that are found under no key.
    others: BTreeSet<GroupId>,
    next: GroupId,
}

impl<K> Default for Place<K> {
    fn default() -> Self {
        Self {
            groups: HashMap::new(),
            by_conditions: HashMap::new(),
            by_key: HashMap::new(),
            others: BTreeSet::new(),
            next: 0,
        }
    }
}

impl<K: Copy + Ord> Place<K> {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether any subscription looks into the resource.
    pub(super) fn has_filters(&self) -> bool {
        self.by_conditions.len() > usize::from(self.by_conditions.contains_key(""))
    }

    pub(super) fn insert(&mut self, key: K, base: ResourceType, definition: &Arc<Definition>, hasher: &RandomState) {
        let filters = definition.filters_on(base);
        let conditions = conditions(filters);
        if let Some(group) = self.by_conditions.get(&conditions).and_then(|id| self.groups.get_mut(id)) {
            group.members.insert(key);
            return;
        }
        let id = self.next;
        self.next += 1;
        let keys = self.narrowest(filters, hasher);
        for key in &keys {
            self.by_key.entry(*key).or_default().insert(id);
        }
        if keys.is_empty() {
            self.others.insert(id);
        }
        self.by_conditions.insert(conditions, id);
        self.groups.insert(id, Group { definition: Arc::clone(definition), keys, members: BTreeSet::from([key]) });
    }

    pub(super) fn remove(&mut self, key: K, base: ResourceType, definition: &Definition) {
        let conditions = conditions(definition.filters_on(base));
        let Some(&id) = self.by_conditions.get(&conditions) else { return };
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.members.remove(&key);
        if !group.members.is_empty() {
            return;
        }
        for key in &group.keys {
            if let Some(found) = self.by_key.get_mut(key) {
                found.remove(&id);
                if found.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        self.others.remove(&id);
        self.by_conditions.remove(&conditions);
        self.groups.remove(&id);
    }

    /// The keys of the filter under which the fewest others are found, as far as can be told beforehand: by the kind of its
    /// values and by how many groups are under them already.
    fn narrowest(&self, filters: &[Filter], hasher: &RandomState) -> Vec<Key> {
        let cost = |equality: &Equality| {
            let crowd = |key: &Key| 1 + self.by_key.get(key).map_or(0, BTreeSet::len);
            equality.keys.iter().map(crowd).max().unwrap_or(usize::MAX).saturating_mul(equality.breadth)
        };
        let all = filters.iter().filter_map(|filter| keys::equality(filter, hasher));
        all.min_by_key(cost).map_or_else(Vec::new, |equality| equality.keys)
    }

    /// Adds the members of every group whose filters hold for one of the subjects: versions of the resource that changed.
    pub(super) fn find(
        &self,
        subjects: &[Subject<'_>],
        base: ResourceType,
        hasher: &RandomState,
        matches: &mut Matches<K>,
    ) {
        let mut found: Vec<GroupId> = self.others.iter().copied().collect();
        if !self.by_key.is_empty() {
            for subject in subjects {
                found.extend(keys::of(subject, hasher).filter_map(|key| self.by_key.get(&key)).flatten());
            }
            found.sort_unstable();
            found.dedup();
        }
        for group in found.iter().filter_map(|id| self.groups.get(id)) {
            let filters = group.definition.filters_on(base);
            let holds = filters.is_empty()
                || subjects.iter().any(|subject| {
                    matches.evaluations += 1;
                    matching::all_hold(filters, subject) == Some(true)
                });
            if holds {
                matches.keys.extend(&group.members);
            }
        }
    }
}

/// Conditions as text: the same text means the same conditions. Their order does not matter.
fn conditions(filters: &[Filter]) -> String {
    let mut all: Vec<String> = filters.iter().map(condition).collect();
    all.sort_unstable();
    all.dedup();
    all.join("\n")
}

fn condition(filter: &Filter) -> String {
    match filter {
        Filter::Value { param, test } => format!("{}={test:?}", param.id),
        Filter::Not { param, test } => format!("{}!{test:?}", param.id),
        Filter::Missing { param, missing } => format!("{}?{missing}", param.id),
        Filter::Any(alternatives) => {
            format!("[{}]", alternatives.iter().map(|it| conditions(it)).collect::<Vec<_>>().join("|"))
        }
        // Parameters are told by their numbers; the others have none, or are refused before they get here.
        other => format!("{other:?}"),
    }
}
