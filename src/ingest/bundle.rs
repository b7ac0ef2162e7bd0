//! The entries of a Bundle as single puts and deletes. Bundles are read for what they hold, not executed: each resource
//! is put under its own id, whatever the type of the Bundle.

use serde_json::Value;

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::{self, excerpt};
use crate::fhir::types::{ResourceType, is_id};
use crate::interactions::rewrite::{Names, rewrite};
use crate::search::value::Target;

use super::identity;

/// What an entry asks for, with its number from 1; or why it asks for nothing that can be done.
pub(super) type Numbered = (usize, Result<Entry, FhirError>);

/// What an entry asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    /// A resource; it has an id unless it is no resource at all.
    Put(Value),
    Delete(Target),
}

/// The entries that change something, in the order in which they are to be done: a history
/// Bundle tells the newest first, all others the oldest.
///
/// Links to entries by `fullUrl` become links to what the entries are stored as.
///
/// # Errors
/// 400 when `entry` is no list; in the list 400 for an entry that does not say what is to be stored or deleted.
pub(super) fn entries(mut bundle: Value) -> Result<Vec<Numbered>, FhirError> {
    let is_history = bundle.get("type").and_then(Value::as_str) == Some("history");
    let list = match bundle.get_mut("entry").map(Value::take) {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(FhirError::malformed("Bundle.entry is a list.").at("Bundle.entry")),
    };
    let mut names = Names::new();
    let mut found = Vec::with_capacity(list.len());
    for (at, mut entry) in list.into_iter().enumerate() {
        let Some(asked) = read(&mut entry) else { continue };
        if let (Ok(Entry::Put(body)), Some(Value::String(url))) = (&asked, entry.get_mut("fullUrl").map(Value::take))
            && let (Ok(name), Ok(Some(id))) = (resource::type_name(body), resource::id(body))
        {
            names.insert(url, format!("{name}/{id}"));
        }
        found.push((at + 1, asked));
    }
    for (_, asked) in &mut found {
        if let Ok(Entry::Put(body)) = asked {
            rewrite(body, &names);
        }
    }
    if is_history {
        found.reverse();
    }
    Ok(found)
}

/// What an entry asks for; `None` when it only reads.
fn read(entry: &mut Value) -> Option<Result<Entry, FhirError>> {
    let request = |name: &str| entry.pointer(name).and_then(Value::as_str).map(str::to_owned);
    let (method, url) = (request("/request/method"), request("/request/url"));
    let named = url.as_deref().and_then(named);
    match method.as_deref() {
        Some("GET" | "HEAD") => return None,
        Some("PATCH") => {
            let sentence = "An import stores whole resources; a PATCH is for the server.";
            return Some(Err(FhirError::new(Kind::NotAllowed, sentence).at("request.method")));
        }
        Some("DELETE") => {
            let target = named
                .and_then(|(name, id)| Some(Target { resource_type: ResourceType::parse(name)?, id: id.to_owned() }));
            let refusal = || {
                let url = excerpt(url.as_deref().unwrap_or_default());
                FhirError::malformed(format!(
                    "'{url}' names no resource of this server that could be deleted: it is Type/id."
                ))
                .code(IssueCode::Value)
                .at("request.url")
            };
            return Some(target.map(Entry::Delete).ok_or_else(refusal));
        }
        _ => {}
    }
    let mut body = match entry.get_mut("resource").map(Value::take) {
        Some(body) if body.is_object() => body,
        _ => {
            return Some(Err(FhirError::malformed("The entry has no resource.")
                .code(IssueCode::Required)
                .at("resource")));
        }
    };
    if let Some(object) = body.as_object_mut()
        && !object.contains_key("id")
    {
        let id = match (method.as_deref(), named) {
            (Some("PUT"), Some((_, id))) => id.to_owned(),
            _ => identity::of_content(&Value::Object(object.clone())),
        };
        object.shift_insert(1.min(object.len()), "id".into(), id.into());
    }
    Some(Ok(Entry::Put(body)))
}

/// Type and id of `Type/id`, relative or as the end of an absolute URL.
fn named(url: &str) -> Option<(&str, &str)> {
    let mut parts = url.rsplit('/');
    let (id, name) = (parts.next()?, parts.next()?);
    is_id(id).then_some((name, id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_all(bundle: Value) -> Vec<(usize, Result<Entry, String>)> {
        let entries = entries(bundle).expect("a Bundle");
        entries.into_iter().map(|(at, entry)| (at, entry.map_err(|error| error.to_string()))).collect()
    }

    #[test]
    fn new_resources_get_the_same_ids_each_time_and_are_linked_by_them() {
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Organization", "endpoint": [{"reference": "urn:uuid:2"}]}, "request": {"method": "POST", "url": "Organization"}},
            {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Endpoint", "managingOrganization": {"reference": "urn:uuid:1"}}, "request": {"method": "POST", "url": "Endpoint"}},
            {"resource": {"resourceType": "Endpoint"}, "request": {"method": "PUT", "url": "Endpoint/given"}},
        ]});
        let found = read_all(bundle.clone());
        assert_eq!(found, read_all(bundle));
        let [Ok(Entry::Put(organization)), Ok(Entry::Put(endpoint)), Ok(Entry::Put(given))] =
            [&found[0].1, &found[1].1, &found[2].1]
        else {
            panic!("{found:?}")
        };
        assert_eq!(
            organization["endpoint"][0]["reference"],
            format!("Endpoint/{}", endpoint["id"].as_str().expect("id"))
        );
        assert_eq!(
            endpoint["managingOrganization"]["reference"],
            format!("Organization/{}", organization["id"].as_str().expect("id"))
        );
        assert_eq!(given["id"], "given");
    }

    #[test]
    fn a_history_is_done_from_its_oldest_entry_on() {
        let bundle = json!({"resourceType": "Bundle", "type": "history", "entry": [
            {"request": {"method": "DELETE", "url": "http://example.org/fhir/Endpoint/a"}},
            {"resource": {"resourceType": "Endpoint", "id": "a"}, "request": {"method": "PUT", "url": "Endpoint/a"}},
        ]});
        let deleted = Target { resource_type: ResourceType::Endpoint, id: "a".into() };
        let put = Entry::Put(json!({"resourceType": "Endpoint", "id": "a"}));
        assert_eq!(read_all(bundle), [(2, Ok(put)), (1, Ok(Entry::Delete(deleted)))]);
    }

    #[test]
    fn entries_that_store_nothing_say_why() {
        let bundle = json!({"resourceType": "Bundle", "entry": [
            {"fullUrl": "x"},
            {"request": {"method": "GET", "url": "Endpoint/a"}},
            {"request": {"method": "PATCH", "url": "Endpoint/a"}},
            {"request": {"method": "DELETE", "url": "Endpoint?name=x"}},
        ]});
        let found = read_all(bundle);
        assert_eq!(
            found.iter().map(|(at, entry)| (*at, entry.is_err())).collect::<Vec<_>>(),
            [(1, true), (3, true), (4, true)]
        );
        assert!(entries(json!({"resourceType": "Bundle", "entry": {}})).is_err());
    }
}
