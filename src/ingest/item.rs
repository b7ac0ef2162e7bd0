//! A unit read: the puts that it asks for, what is passed over, and what is refused and why.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::FhirError;
use crate::fhir::outcome::operation_outcome;
use crate::fhir::resource::{self, excerpt};
use crate::fhir::types::{ResourceType, is_type_name};
use crate::interactions::write::{self, Put};
use crate::search::value::Target;

use super::bundle::{self, Entry};
use super::identity;
use super::reader::Unit;

/// Where a resource stood.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub source: Arc<str>,
    /// From 1.
    pub line: u64,
    /// The number in a Bundle, from 1.
    pub entry: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Item {
    Put(Place, Put),
    /// A resource of a type that is not stored here.
    Skipped(String),
    Rejected(Reject),
}

/// A resource that was refused.
#[derive(Debug)]
pub(super) struct Reject {
    pub place: Place,
    /// `Type/id`, or as much of it as could be read.
    pub resource: Option<String>,
    pub error: FhirError,
}

impl Reject {
    pub fn of_put(place: Place, target: &Target, error: FhirError) -> Self {
        Self { place, resource: Some(format!("{}/{}", target.resource_type, target.id)), error }
    }

    /// The type as it is counted.
    pub fn type_name(&self) -> &str {
        self.resource.as_deref().and_then(|name| name.split('/').next()).unwrap_or("(unreadable)")
    }

    /// A line of the rejects file: `{"source", "line", "entry"?, "resource"?, "status", "issues"}`; the issues as those
    /// of an OperationOutcome, the status as an HTTP request would have got it.
    pub fn to_json(&self) -> Value {
        let mut line = Map::new();
        line.insert("source".into(), (*self.place.source).into());
        line.insert("line".into(), self.place.line.into());
        if let Some(entry) = self.place.entry {
            line.insert("entry".into(), entry.into());
        }
        if let Some(resource) = &self.resource {
            line.insert("resource".into(), resource.as_str().into());
        }
        line.insert("status".into(), self.error.kind.status().into());
        let issues = operation_outcome(&self.error.issues).get_mut("issue").map(Value::take);
        line.insert("issues".into(), issues.unwrap_or_else(|| json!([])));
        Value::Object(line)
    }
}

/// Reads a unit, adding to `items`. The same unit gives the same items each time.
pub(super) fn read(app: &App, unit: &Unit, items: &mut Vec<Item>) {
    let place = Place { source: Arc::clone(&unit.source), line: unit.line, entry: None };
    let body = match &unit.bytes {
        Ok(bytes) => resource::parse_json(bytes),
        Err(fault) => Err(fault.clone().into()),
    };
    let body = match body {
        Ok(body) => body,
        Err(error) => return items.push(Item::Rejected(Reject { place, resource: None, error })),
    };
    if body.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
        return items.push(put(app, place, body));
    }
    match bundle::entries(body) {
        Ok(entries) => items.extend(entries.into_iter().map(|(number, entry)| {
            let place = Place { entry: Some(number), ..place.clone() };
            match entry {
                Ok(Entry::Put(body)) => put(app, place, body),
                Ok(Entry::Delete(target)) => {
                    Item::Put(place, Put { target, resource: None, expected: None, is_create: false })
                }
                Err(error) => Item::Rejected(Reject { place, resource: None, error }),
            }
        })),
        Err(error) => items.push(Item::Rejected(Reject { place, resource: Some("Bundle".into()), error })),
    }
}

/// A resource to be put under its id, or under the one that follows from its content.
fn put(app: &App, place: Place, body: Value) -> Item {
    let name = match resource::type_name(&body) {
        Ok(name) => name.to_owned(),
        Err(error) => return Item::Rejected(Reject { place, resource: None, error }),
    };
    let Some(resource_type) = ResourceType::parse(&name) else {
        if is_type_name(&name) {
            return Item::Skipped(name);
        }
        let error = FhirError::malformed(format!("'{}' is no resource type.", excerpt(&name))).at("resourceType");
        return Item::Rejected(Reject { place, resource: None, error });
    };
    let id = match resource::id(&body) {
        Ok(Some(id)) => id.to_owned(),
        Ok(None) => identity::of_content(&body),
        Err(error) => return Item::Rejected(Reject { place, resource: Some(name), error }),
    };
    let target = Target { resource_type, id };
    match write::prepare(app, &Caller::operator(), Access::UPDATE, resource_type, body) {
        Ok(prepared) => Item::Put(place, Put { target, resource: Some(prepared), expected: None, is_create: false }),
        Err(error) => Item::Rejected(Reject::of_put(place, &target, error)),
    }
}
