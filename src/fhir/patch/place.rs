//! Where an element is in a resource, and changes at that place that keep a primitive and its `_name` sibling together.

use std::ptr;

use serde_json::{Map, Value};

use crate::fhir::path::Node;

/// One step from a value to one in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// A property of an object, or one item of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The way to the object.
    pub(super) object: Vec<Segment>,
    pub(super) name: String,
    pub(super) index: Option<usize>,
}

/// An element as JSON has it: a value, a sibling with the extensions of a primitive, or both.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) value: Option<Value>,
    pub(super) sibling: Option<Value>,
}

impl Place {
    /// Where a node of an evaluation over `root` is; `None` for the root and for what was computed.
    pub(super) fn find(root: &Value, node: &Node) -> Option<Self> {
        match (node.json(), node.sibling()) {
            (Some(value), _) => Self::of(way(root, value)?),
            // Extensions without a value: the place of the value is where it would be.
            (None, Some(sibling)) => {
                let place = Self::of(way(root, sibling)?)?;
                let name = place.name.strip_prefix('_')?.to_owned();
                Some(Self { name, ..place })
            }
            (None, None) => None,
        }
    }

    /// The place at the end of a way; `None` when it ends at the root or in an array of arrays.
    pub(super) fn of(mut way: Vec<Segment>) -> Option<Self> {
        let (name, index) = match way.pop()? {
            Segment::Key(name) => (name, None),
            Segment::Index(index) => match way.pop()? {
                Segment::Key(name) => (name, Some(index)),
                Segment::Index(_) => return None,
            },
        };
        Some(Self { object: way, name, index })
    }

    /// The way to the element itself.
    pub(super) fn way(&self) -> Vec<Segment> {
        let mut way = self.object.clone();
        way.push(Segment::Key(self.name.clone()));
        way.extend(self.index.map(Segment::Index));
        way
    }

    /// The names on the way from the nearest resource, after its type: `Practitioner.name.given`.
    pub(super) fn type_path(root: &Value, way: &[Segment]) -> String {
        let resource_type = |value: &Value| value.get("resourceType").and_then(Value::as_str).map(str::to_owned);
        let mut path = resource_type(root).unwrap_or_default();
        let mut value = root;
        for segment in way {
            if let Segment::Key(name) = segment {
                path.push('.');
                path.push_str(name.strip_prefix('_').unwrap_or(name));
            }
            let Some(next) = step(value, segment) else { continue };
            value = next;
            if let Some(name) = resource_type(value) {
                path = name;
            }
        }
        path
    }
}

/// Searches for a value by its address, which no other value in the tree has.
fn way(root: &Value, wanted: &Value) -> Option<Vec<Segment>> {
    if ptr::eq(root, wanted) {
        return Some(Vec::new());
    }
    let (segment, mut rest) = match root {
        Value::Object(map) => {
            map.iter().find_map(|(key, value)| way(value, wanted).map(|rest| (Segment::Key(key.clone()), rest)))?
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(n, value)| way(value, wanted).map(|rest| (Segment::Index(n), rest)))?
        }
        _ => return None,
    };
    rest.insert(0, segment);
    Some(rest)
}

fn step<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match segment {
        Segment::Key(name) => value.get(name),
        Segment::Index(index) => value.get(index),
    }
}

pub(super) fn at<'v>(root: &'v Value, way: &[Segment]) -> Option<&'v Value> {
    way.iter().try_fold(root, step)
}

pub(super) fn object_mut<'v>(root: &'v mut Value, way: &[Segment]) -> Option<&'v mut Map<String, Value>> {
    let found = way.iter().try_fold(root, |value, segment| match segment {
        Segment::Key(name) => value.get_mut(name),
        Segment::Index(index) => value.get_mut(index),
    });
    found?.as_object_mut()
}

fn sibling_name(name: &str) -> String {
    format!("_{name}")
}

/// Appends to a repeating element, or sets a single one that is not there yet; false when it is.
pub(super) fn append(map: &mut Map<String, Value>, name: &str, content: Content, repeats: bool) -> bool {
    let sibling = sibling_name(name);
    if repeats {
        let length = length(map, name);
        insert(map, name, length, content);
        return true;
    }
    let free = !map.contains_key(name) && !map.contains_key(&sibling);
    if free {
        set(map, name, None, content);
    }
    free
}

/// How many items a repeating element has.
pub(super) fn length(map: &Map<String, Value>, name: &str) -> usize {
    let items = |key: &str| match map.get(key) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Null) | None => 0,
        Some(_) => 1,
    };
    items(name).max(items(&sibling_name(name)))
}

/// Both arrays of a repeating element as they are changed together; afterwards those with no item left are dropped.
fn change_list(map: &mut Map<String, Value>, name: &str, length: usize, change: impl Fn(&mut Vec<Value>, bool)) {
    for (key, is_sibling) in [(name.to_owned(), false), (sibling_name(name), true)] {
        let mut items = match map.get_mut(&key).map(Value::take) {
            Some(Value::Array(items)) => items,
            Some(Value::Null) | None => Vec::new(),
            Some(single) => vec![single],
        };
        items.resize(length.max(items.len()), Value::Null);
        change(&mut items, is_sibling);
        if items.iter().all(Value::is_null) {
            map.shift_remove(&key);
        } else {
            map.insert(key, Value::Array(items));
        }
    }
}

/// Puts an item into a repeating element, at most at its end.
pub(super) fn insert(map: &mut Map<String, Value>, name: &str, index: usize, content: Content) {
    let length = length(map, name).max(index);
    change_list(map, name, length, |items, is_sibling| {
        let part = if is_sibling { &content.sibling } else { &content.value };
        items.insert(index, part.clone().unwrap_or_default());
    });
}

/// Moves an item of a repeating element to where it is to be afterwards; both must be within the list.
pub(super) fn relocate(map: &mut Map<String, Value>, name: &str, from: usize, to: usize) {
    change_list(map, name, length(map, name), |items, _| {
        if from.max(to) < items.len() {
            let item = items.remove(from);
            items.insert(to, item);
        }
    });
}

/// Sets a property or one item of it, whatever was there.
pub(super) fn set(map: &mut Map<String, Value>, name: &str, index: Option<usize>, content: Content) {
    if let Some(index) = index {
        let length = length(map, name).max(index + 1);
        return change_list(map, name, length, |items, is_sibling| {
            let part = if is_sibling { &content.sibling } else { &content.value };
            if let Some(item) = items.get_mut(index) {
                *item = part.clone().unwrap_or_default();
            }
        });
    }
    for (key, part) in [(name.to_owned(), content.value), (sibling_name(name), content.sibling)] {
        match part {
            Some(part) => drop(map.insert(key, part)),
            None => drop(map.shift_remove(&key)),
        }
    }
}

/// Removes an element, and every object that this leaves empty.
pub(super) fn remove(root: &mut Value, mut place: Place) {
    while let Some(map) = object_mut(root, &place.object) {
        match place.index {
            // An item of a sibling array keeps its place beside the value it belongs to.
            Some(index) if place.name.starts_with('_') => {
                let name = place.name.trim_start_matches('_').to_owned();
                let value = map.get(&name).and_then(|values| values.get(index)).cloned();
                let gone = value.as_ref().is_none_or(Value::is_null);
                match gone {
                    true => remove_item(map, &name, index),
                    false => set(map, &name, Some(index), Content { value, sibling: None }),
                }
            }
            Some(index) => remove_item(map, &place.name, index),
            None => set(map, &place.name, None, Content::default()),
        }
        if !map.is_empty() {
            return;
        }
        match Place::of(std::mem::take(&mut place.object)) {
            Some(parent) => place = parent,
            None => return,
        }
    }
}

fn remove_item(map: &mut Map<String, Value>, name: &str, index: usize) {
    change_list(map, name, length(map, name), |items, _| {
        if index < items.len() {
            items.remove(index);
        }
    });
}
