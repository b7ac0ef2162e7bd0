//! What an element is in R4, which fhirbolt is asked for once.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use fhirbolt::element::{Primitive, from_element};
use serde_json::Value;

use super::{R4Element, R4Value};

/// Paths whose shape is remembered. A directory uses about a thousand; the bound is for those who invent long ones.
const MAX_SHAPES: usize = 16_384;

/// What an element is in R4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) list: bool,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    Decimal,
    Text,
    Complex,
    /// An element that holds a resource.
    Resource,
}

/// The shape of the element at a path, whose first name is a resource type or `extension`; nothing if R4 has none such.
pub(super) fn shape(path: &[&str]) -> Option<Shape> {
    static KNOWN: LazyLock<RwLock<HashMap<String, Shape>>> = LazyLock::new(RwLock::default);

    let key = path.join(".");
    // A poisoned lock only means that a thread died between two inserts; what the map holds is still true.
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
    if known.is_some() {
        return known;
    }
    let found = probe(path)?;
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() < MAX_SHAPES {
        known.insert(key, found);
    }
    Some(found)
}

/// Asks fhirbolt about a path. Its tables are private, but its strict conversion of an `Element` refuses unknown
/// elements, makes a list of what is one, and types a value by its path; so a resource with just that element tells.
fn probe(path: &[&str]) -> Option<Shape> {
    let text = |text: &str| R4Value::Primitive(Primitive::String(text.to_owned()));
    let value_fits = |value| probe_with(path, R4Element::from([("value", text(value))]));
    // An extension, since an id does not do: fhirbolt reads the id of a boolean as a boolean.
    let extension = R4Element::from([("url", text("x"))]);
    let extended = R4Element::from([("extension", R4Value::Element(extension))]);
    if let Some((list, has_sibling, _)) = probe_with(path, extended) {
        if !has_sibling {
            return Some(Shape { list, kind: Kind::Complex });
        }
        // "1" is no boolean, "1.5" is no integer, and only strings stay strings.
        let kind = match value_fits("1") {
            None => Kind::Boolean,
            Some((_, _, Value::String(_))) => Kind::Text,
            Some(_) if value_fits("1.5").is_some() => Kind::Decimal,
            Some(_) => Kind::Integer,
        };
        return Some(Shape { list, kind });
    }
    let (list, _, _) = probe_with(path, R4Element::from([("resourceType", text("Basic"))]))?;
    Some(Shape { list, kind: Kind::Resource })
}

/// Converts a resource that has only `leaf` at `path`: whether it is a list, whether it came out as `_x`, and the item.
fn probe_with(path: &[&str], leaf: R4Element) -> Option<(bool, bool, Value)> {
    let (root, names) = path.split_first()?;
    let root = if is_extension(root) { vec!["Basic", "extension"] } else { vec![*root] };
    let (resource_type, outer) = root.split_first()?;
    let names = || outer.iter().chain(names).copied();
    let (last, inner) = (names().next_back()?, names().count().checked_sub(1)?);

    let nested = names().rev().fold(leaf, |element, name| R4Element::from([(name, R4Value::Element(element))]));
    let mut resource = R4Element::with_capacity(2);
    resource.insert("resourceType".to_owned(), R4Value::Primitive(Primitive::String((*resource_type).to_owned())));
    resource.extend(nested);

    let resource: R4Element = from_element(resource, None).ok()?;
    let mut json = fhirbolt::json::to_json_value(resource, None).ok()?;
    let mut step = |key: &str| -> Option<(bool, Value)> {
        match json.get_mut(key).map(Value::take)? {
            Value::Array(items) => items.into_iter().next().map(|item| (true, item)),
            item => Some((false, item)),
        }
        .inspect(|(_, item)| json.clone_from(item))
    };
    for name in names().take(inner) {
        step(name)?;
    }
    if let Some((list, item)) = step(&format!("_{last}")) {
        return Some((list, true, item));
    }
    step(last).map(|(list, item)| (list, false, item))
}

pub(super) fn is_extension(name: &str) -> bool {
    matches!(name, "extension" | "modifierExtension")
}

pub(super) fn is_resource_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}
