//! What references refer to (R4 references.html): their format, the type of their target, and its profile when the target is
//! here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::path::Path;
use super::wording::{excerpt, short};
use super::{Shapes, Walk, reference};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::path::type_in_reference;
use crate::fhir::types::is_r4_resource;
use crate::validate::Target;
use crate::validate::shape::{ProfileRef, Shape};

/// The resources of a Bundle by what refers to them: `fullUrl`, and `Type/id` (R4 bundle.html#references).
pub(super) fn entries(bundle: &Map<String, Value>) -> HashMap<Cow<'_, str>, &Value> {
    let mut found = HashMap::new();
    for entry in bundle.get("entry").and_then(Value::as_array).into_iter().flatten() {
        let Some(resource) = entry.get("resource") else { continue };
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        if let (Some(name), Some(id)) = (text("resourceType"), text("id")) {
            found.entry(Cow::Owned(format!("{name}/{id}"))).or_insert(resource);
        }
        if let Some(url) = entry.get("fullUrl").and_then(Value::as_str) {
            found.insert(Cow::Borrowed(url), resource);
        }
    }
    found
}

/// What a resource contains, by id.
pub(super) fn contained(resource: &Value) -> HashMap<&str, &Value> {
    let contained = resource.get("contained").and_then(Value::as_array).into_iter().flatten();
    contained.filter_map(|resource| Some((resource.get("id")?.as_str()?, resource))).collect()
}

impl<'a> Walk<'a> {
    pub(super) fn reference_format(&mut self, object: &Map<String, Value>, path: &Path<'_>) {
        let Some(Value::String(text)) = object.get("reference") else { return };
        // An empty string has been told of as one.
        if !text.is_empty() && !reference::is_valid(text) {
            let text = excerpt(text);
            let problem = format_args!("'{text}' is neither Type/id, nor a URL, nor #id of a contained resource");
            self.fault(IssueCode::Value, &path.name("reference"), problem);
        }
        if let Some(id) = text.strip_prefix('#').filter(|id| !id.is_empty())
            && !self.contained.contains_key(id)
        {
            let sentence = format!("There is no contained resource '{}'", excerpt(id));
            self.report(|| Issue::error(IssueCode::Invariant, sentence).rule("ref-1"), path);
        }
    }

    /// The type, and where it can be looked at the profile, of what a Reference refers to.
    pub(super) fn targets(&mut self, value: &'a Value, on: &Shapes<'a>, path: &Path<'_>) {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let literal = text("reference").unwrap_or_default();
        let here = match literal.strip_prefix('#') {
            Some("") => Some(self.root),
            Some(id) => self.contained.get(id).copied(),
            None => self.entries.get(literal).copied(),
        };
        let found = here.and_then(|resource| resource.get("resourceType")?.as_str());
        let literal_type = type_in_reference(literal).filter(|name| !literal.contains(':') || is_r4_resource(name));
        let Some(type_name) = found.or(literal_type).or_else(|| text("type")) else { return };
        // What a profile allows is part of what the base definition allows, which is told of once.
        let mut refused = false;
        let mut asking: Vec<&'a Shape> = on.iter().copied().filter(|shape| !targets_of(shape).is_empty()).collect();
        asking.sort_by_key(|shape| shape.is_base);
        for shape in asking {
            let targets = targets_of(shape);
            if shape.is_base && refused {
                break;
            }
            // A target whose definition is not loaded could be of any type.
            let fits = |target: &ProfileRef| match target.type_name.as_deref() {
                Some("Resource") | None => true,
                Some(name) => name == type_name,
            };
            let fitting: Vec<&'a ProfileRef> = targets.iter().filter(|target| fits(target)).collect();
            if fitting.is_empty() {
                refused = true;
                let allowed: Vec<&str> = targets.iter().map(|target| short(&target.url)).collect();
                let sentence = format_args!("Must refer to {}, not {}", allowed.join(" or "), excerpt(type_name));
                self.breach(IssueCode::Value, path, shape, sentence);
            } else {
                self.target_profile(here, literal, &fitting, shape, path);
            }
        }
        let stated = text("type").filter(|stated| *stated != type_name);
        if let Some(stated) = stated {
            let sentence = format_args!("The reference is to a {type_name}, but its type says {}", excerpt(stated));
            self.fault(IssueCode::Value, path, sentence);
        }
    }

    /// Whether the target meets one of the profiles: told now if it is here, and else left to who can look it up.
    fn target_profile(
        &mut self,
        here: Option<&'a Value>,
        literal: &'a str,
        fitting: &[&'a ProfileRef],
        shape: &'a Shape,
        path: &Path<'_>,
    ) {
        let profiles: Vec<_> = fitting.iter().filter_map(|target| target.profile).collect();
        if profiles.len() < fitting.len() {
            // The base definition of the type is among them, and any will do; or a definition that is not here.
            if let Some(unknown) = fitting.iter().find(|target| target.type_name.is_none()) {
                self.unchecked(path, format_args!("The target is not checked: {} is not loaded", unknown.url));
            }
            return;
        }
        let Some(resource) = here else {
            self.targets.push(Target {
                reference: literal.to_owned(),
                profiles,
                path: path.to_string(),
                rule: shape.rule.clone(),
            });
            return;
        };
        let is_contained = literal.strip_prefix('#').is_some_and(|id| !id.is_empty());
        let met = profiles.iter().any(|profile| {
            self.would_meet(resource, *profile, |walk, shapes, path| match is_contained {
                true => walk.inner(resource, shapes, path),
                false => walk.top(resource, shapes, path),
            })
        });
        if !met {
            let names: Vec<&str> = fitting.iter().map(|target| short(&target.url)).collect();
            let (literal, names, why) = (excerpt(literal), names.join(" or "), Arc::clone(&self.why_not));
            let sentence = format_args!("What '{literal}' refers to does not meet {names}: {why}");
            self.breach(IssueCode::Value, path, shape, sentence);
        }
    }
}

fn targets_of(shape: &Shape) -> &[ProfileRef] {
    shape.type_rule("Reference").map_or(&[], |rule| &rule.targets)
}
