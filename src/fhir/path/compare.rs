//! When values are equal, equivalent, ordered (FHIRPath 2.0 sections 6.1 and 6.2), and which ones are new.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ptr;

use serde_json::Value;

use super::node::{Item, Node};
use super::number::Decimal;
use super::temporal::Temporal;

/// `=` for two items; `None` when two dates agree as far as they go but not in precision.
pub(super) fn equal(left: &Node, right: &Node) -> Option<bool> {
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        if a == b {
            return Some(true);
        }
        let order = || Temporal::parse(a)?.compare(Temporal::parse(b)?);
        return match (&left.item, &right.item) {
            (Item::Temporal(_), _) | (_, Item::Temporal(_)) => match (Temporal::parse(a), Temporal::parse(b)) {
                (Some(a), Some(b)) => a.compare(b).map(Ordering::is_eq),
                _ => Some(false),
            },
            // Nothing says that an element is a date, so only two full times that are one instant count as such.
            (Item::Element(_), Item::Element(_)) if a.contains('T') => Some(order() == Some(Ordering::Equal)),
            _ => Some(false),
        };
    }
    if let (Some(a), Some(b)) = (left.as_bool(), right.as_bool()) {
        return Some(a == b);
    }
    match (&left.item, &right.item) {
        (Item::Element(a), Item::Element(b)) => Some(ptr::eq(*a, *b) || same_json(a, b)),
        (Item::Target(a), Item::Target(b)) => Some(a == b),
        _ => match (left.as_number(), right.as_number()) {
            (Some(a), Some(b)) => Some(a == b),
            _ => Some(false),
        },
    }
}

/// Deep equality in which numbers are compared by value; the order of members does not matter.
pub fn same_json(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || matches!((Decimal::parse(a.as_str()), Decimal::parse(b.as_str())), (Some(a), Some(b)) if a == b)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b)))
        }
        _ => left == right,
    }
}

/// `~` for two items: text without regard to case and runs of blanks.
pub(super) fn equivalent(left: &Node, right: &Node) -> bool {
    match (left.as_str(), right.as_str()) {
        (Some(a), Some(b)) => {
            let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
            words(a) == words(b) || equal(left, right) == Some(true)
        }
        _ => equal(left, right) == Some(true),
    }
}

/// The order of two items; `None` when they have none.
pub(super) fn order(left: &Node, right: &Node) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        return match (Temporal::parse(a), Temporal::parse(b)) {
            (Some(a), Some(b)) => a.compare(b),
            _ => Some(a.cmp(b)),
        };
    }
    Some(left.as_number()?.cmp(&right.as_number()?))
}

/// The different items seen so far. A few are compared one by one, many by way of a hash.
#[derive(Default)]
pub(super) struct Seen<'a> {
    nodes: Vec<Node<'a>>,
    by_hash: HashMap<u64, Vec<usize>>,
}

const FEW: usize = 16;

impl<'a> Seen<'a> {
    pub(super) fn has(&self, node: &Node) -> bool {
        if self.nodes.len() <= FEW {
            return self.nodes.iter().any(|seen| equal(seen, node) == Some(true));
        }
        let candidates = self.by_hash.get(&fingerprint(node)).into_iter().flatten();
        candidates.filter_map(|n| self.nodes.get(*n)).any(|seen| equal(seen, node) == Some(true))
    }

    /// Adds a node; false when an equal one is in already.
    pub(super) fn insert(&mut self, node: &Node<'a>) -> bool {
        if self.has(node) {
            return false;
        }
        self.nodes.push(node.clone());
        match self.nodes.len() {
            ..=FEW => {}
            n if n == FEW + 1 => {
                for (n, node) in self.nodes.iter().enumerate() {
                    self.by_hash.entry(fingerprint(node)).or_default().push(n);
                }
            }
            n => self.by_hash.entry(fingerprint(node)).or_default().push(n - 1),
        }
        true
    }

    pub(super) fn into_vec(self) -> Vec<Node<'a>> {
        self.nodes
    }
}

impl<'n, 'a: 'n> FromIterator<&'n Node<'a>> for Seen<'a> {
    fn from_iter<I: IntoIterator<Item = &'n Node<'a>>>(nodes: I) -> Self {
        let mut seen = Self::default();
        for node in nodes {
            seen.insert(node);
        }
        seen
    }
}

/// A hash that equal items share. Times hash by their text: as elements of a collection, that is what tells them apart.
fn fingerprint(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    match (&node.item, node.as_str(), node.as_number(), node.as_bool()) {
        (_, Some(text), ..) => text.hash(&mut hasher),
        (_, _, Some(number), _) => number.hash(&mut hasher),
        (_, _, _, Some(flag)) => flag.hash(&mut hasher),
        (Item::Element(value), ..) => hash_json(value, &mut hasher),
        (Item::Target(name), ..) => name.hash(&mut hasher),
        _ => {}
    }
    hasher.finish()
}

fn hash_json(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::String(text) => text.hash(hasher),
        Value::Array(items) => items.iter().for_each(|item| hash_json(item, hasher)),
        Value::Object(map) => {
            // Members come in any order, so their hashes are summed.
            let sum = map.iter().fold(0u64, |sum, (key, value)| {
                let mut member = DefaultHasher::new();
                key.hash(&mut member);
                hash_json(value, &mut member);
                sum.wrapping_add(member.finish())
            });
            sum.hash(hasher);
        }
        Value::Number(number) => Decimal::parse(number.as_str()).hash(hasher),
        Value::Bool(flag) => flag.hash(hasher),
        Value::Null => {}
    }
}
