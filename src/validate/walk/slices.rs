//! Which slice each item of an element belongs to, and how many each slice has (R4 profiling.html#slicing).

use serde_json::Value;
use smallvec::SmallVec;

use super::codes::fits;
use super::items::includes;
use super::path::Path;
use super::{Shapes, Walk, lay, wording};
use crate::fhir::definitions::Property;
use crate::fhir::outcome::IssueCode;
use crate::fhir::path::{Node, same_json};
use crate::validate::shape::{Membership, ProfileRef, Rules, Shape, Slice, Slicing};

/// The slicings on one element, with what has been counted so far.
pub(super) type Slicings<'a> = SmallVec<[Counted<'a>; 2]>;

pub(super) struct Counted<'a> {
    shape: &'a Shape,
    slicing: &'a Slicing,
    /// Items in each slice.
    counts: Vec<usize>,
    /// The slice of the last item that was in one, and whether one was in none.
    last: usize,
    unmatched: bool,
    /// Of some item it could not be told which slice it is in: nothing can be said about how many each has.
    is_unsure: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn begin_slices(&self, on: &Shapes<'a>) -> Slicings<'a> {
        let sliced = |shape: &&'a Shape| Some((*shape, shape.slicing.as_ref()?));
        on.iter()
            .filter_map(sliced)
            .filter(|(_, slicing)| !slicing.slices.is_empty())
            .map(|(shape, slicing)| {
                let counts = vec![0; slicing.slices.len()];
                Counted { shape, slicing, counts, last: 0, unmatched: false, is_unsure: false }
            })
            .collect()
    }

    /// Finds the slices of an item and lays their shapes on it.
    pub(super) fn lay_slices(
        &mut self,
        slicings: &mut Slicings<'a>,
        item: &'a Value,
        property: &'a Property,
        on: &mut Shapes<'a>,
        path: &Path<'_>,
    ) {
        for counted in slicings {
            let Counted { shape, slicing, counts, last, unmatched, is_unsure } = counted;
            let mut found = None;
            let mut unsure = false;
            for (at, slice) in slicing.slices.iter().enumerate() {
                match self.is_in_slice(item, slice, property) {
                    Some(true) => {
                        found = Some(at);
                        break;
                    }
                    Some(false) => {}
                    None => unsure = true,
                }
            }
            let Some(at) = found else {
                if unsure {
                    *is_unsure = true;
                    self.unchecked(path, "It cannot be told here which slice this is in");
                    continue;
                }
                *unmatched = true;
                if slicing.rules == Rules::Closed {
                    let names: Vec<&str> = slicing.slices.iter().map(|slice| &*slice.name).collect();
                    let sentence = format_args!("Is in none of the slices {}", names.join(", "));
                    self.breach(IssueCode::Structure, path, shape, sentence);
                }
                continue;
            };
            if (slicing.ordered && at < *last) || (slicing.rules == Rules::OpenAtEnd && *unmatched) {
                self.breach(IssueCode::Structure, path, shape, "Is in a slice that must come earlier");
            }
            *last = at;
            if let (Some(count), Some(slice)) = (counts.get_mut(at), slicing.slices.get(at)) {
                *count += 1;
                lay(on, &slice.shape);
            }
        }
    }

    /// Compares how many items each slice has with how many it must have.
    pub(super) fn end_slices(&mut self, slicings: &Slicings<'a>, element: &str, path: &Path<'_>) {
        for Counted { slicing, counts, is_unsure, .. } in slicings {
            for (slice, count) in slicing.slices.iter().zip(counts) {
                let (min, max) = (slice.shape.min, slice.shape.max);
                let name = || format!("{element}:{}", slice.name);
                if *count < min as usize && !is_unsure {
                    let sentence = wording::too_few(&name(), min, *count);
                    self.breach(IssueCode::Required, path, &slice.shape, sentence);
                } else if *count > max as usize {
                    let sentence = wording::too_many(&name(), max, *count);
                    self.breach(IssueCode::Structure, path, &slice.shape, sentence);
                }
            }
        }
    }

    /// Whether an item is in a slice; `None` when that cannot be told.
    fn is_in_slice(&mut self, item: &'a Value, slice: &'a Slice, property: &'a Property) -> Option<bool> {
        let mut all = (!slice.tests.is_empty()).then_some(true);
        for test in &slice.tests {
            match self.passes(item, test, property) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => all = None,
            }
        }
        all
    }

    fn passes(&mut self, item: &'a Value, test: &'a Membership, property: &'a Property) -> Option<bool> {
        let at = |path: &crate::fhir::path::Path| -> Vec<Node<'a>> {
            let suffix = property.name.get(property.element.name.len()..).filter(|suffix| !suffix.is_empty());
            path.evaluate_at(&Node::in_property(item, None, suffix), self.resource, self.root).unwrap_or_default()
        };
        let values = |path| at(path).into_iter().filter_map(|node| node.json());
        // What a reference leads to, and is not here, cannot be told.
        let resolves = |path: &crate::fhir::path::Path| path.source().ends_with("resolve()");
        Some(match test {
            Membership::Url(url) => item.get("url").and_then(Value::as_str) == Some(url),
            Membership::Value { path, value, exact: true } => values(path).any(|it| same_json(it, value)),
            Membership::Value { path, value, exact: false } if path.source() == "$this" => includes(item, value),
            Membership::Value { path, value, exact: false } => values(path).any(|it| includes(it, value)),
            Membership::Code { path, binding } => {
                let codes = binding.codes(&self.validator.terminology)?;
                values(path).any(|it| fits(it, codes))
            }
            Membership::Exists { path, expected } => at(path).is_empty() != *expected,
            Membership::OwnType(codes) => codes.iter().any(|code| **code == *property.type_code),
            Membership::Type { path, codes } => {
                let found = at(path);
                if found.is_empty() && resolves(path) {
                    return None;
                }
                found.iter().any(|node| codes.iter().any(|code| node.is_of_type(code)))
            }
            Membership::Profile { path, profiles } => {
                let found: Vec<&'a Value> = values(path).collect();
                if found.is_empty() && resolves(path) || profiles.iter().any(|it| it.profile.is_none()) {
                    return None;
                }
                found.into_iter().any(|value| self.meets_one(value, profiles, property))
            }
            Membership::Unknown => return None,
        })
    }

    fn meets_one(&mut self, value: &'a Value, profiles: &'a [ProfileRef], property: &'a Property) -> bool {
        profiles.iter().filter_map(|it| it.profile).any(|profile| {
            let profile_node = self.validator.profiles.get(profile).map(|it| it.node);
            profile_node.is_some_and(|node| {
                self.would_meet(value, profile, |walk, shapes, path| match value.as_object() {
                    Some(_) if value.get("resourceType").is_some() => walk.inner(value, shapes, path),
                    Some(object) => walk.whole(value, object, walk.validator.definitions.node(node), shapes, path),
                    None => walk.item(value, None, property, shapes, path),
                })
            })
        })
    }
}
