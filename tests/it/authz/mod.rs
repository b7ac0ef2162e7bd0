//! Who may do what: tokens and their scopes (SMART App Launch 2.2), what people may change, and the record of it all.

mod audit;
mod audit_bundles;
mod audit_kept;
mod constraints;
mod constraints_bundles;
mod constraints_history;
mod constraints_search;
mod constraints_writes;
mod leaks;
mod leaks_conditions;
mod organizations;
mod people;
mod routes;
mod scopes;
mod tokens;

use serde_json::{Value, json};

use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server};

/// Somebody who may do everything that anybody may, and read the record of it.
fn everything(server: &Server) -> Bearer<'_> {
    Bearer::of(server, "system/*.cruds system/AuditEvent.rs")
}

fn organization(id: &str, name: &str) -> Value {
    json!({"resourceType": "Organization", "id": id, "active": true, "name": name})
}

fn practitioner(id: &str, family: &str) -> Value {
    json!({"resourceType": "Practitioner", "id": id, "active": true, "name": [{"family": family}]})
}

fn role(id: &str, practitioner: &str, organization: &str) -> Value {
    json!({"resourceType": "PractitionerRole", "id": id, "active": true,
        "practitioner": {"reference": practitioner}, "organization": {"reference": organization}})
}

fn location(id: &str, status: &str, name: &str) -> Value {
    json!({"resourceType": "Location", "id": id, "status": status, "name": name})
}

/// The same resource with other elements.
fn with(mut resource: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().expect("elements") {
        resource[name] = value.clone();
    }
    resource
}

/// The same resource for the server to name.
fn unnamed(mut resource: Value) -> Value {
    resource.as_object_mut().expect("a resource").shift_remove("id");
    resource
}

fn bundle(kind: &str, entries: &[Value]) -> Value {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
}

/// An entry without a resource.
fn call(method: &str, url: &str) -> Value {
    json!({"request": {"method": method, "url": url}})
}

/// An entry with a resource.
fn entry(method: &str, url: &str, resource: Value) -> Value {
    json!({"resource": resource, "request": {"method": method, "url": url}})
}

/// An entry that creates under a condition.
fn entry_if_none(condition: &str, resource: Value) -> Value {
    let url = resource["resourceType"].as_str().expect("a type").to_owned();
    let mut entry = entry("POST", &url, resource);
    entry["request"]["ifNoneExist"] = json!(condition);
    entry
}

/// An entry that replaces one element.
fn entry_patch(url: &str, path: &str, value: &str) -> Value {
    let name = format!("{}.{path}", url.split(['/', '?']).next().expect("a type"));
    let part = json!([{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": name},
        {"name": "value", "valueString": value}]);
    let operation = json!({"name": "operation", "part": part});
    entry("PATCH", url, json!({"resourceType": "Parameters", "parameter": [operation]}))
}

/// A JSON Patch that replaces one element.
fn replace(path: &str, value: &str) -> Value {
    json!([{"op": "replace", "path": path, "value": value}])
}

/// The three digits of each entry's status.
fn statuses(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{answer}");
    let entries = answer.body["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| entry["response"]["status"].as_str().and_then(|status| status.get(..3)).expect("a status"))
        .collect()
}

/// A refusal for want of a token: 401, with how to come by one.
fn assert_unknown(answer: &Answer) {
    assert_eq!(answer.status, 401, "{answer}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"Plumbline\""), "{answer}");
    let (severity, code, ..) = answer.issue();
    assert_eq!((severity.as_str(), code.as_str()), ("error", "login"), "{answer}");
}

/// A refusal of a token that is none.
fn assert_invalid(answer: &Answer) {
    assert_eq!(answer.status, 401, "{answer}");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}: {answer}");
    assert_eq!(answer.issue().0, "error");
}

/// A refusal for want of scope: 403, and that it is about that.
fn assert_forbidden(answer: &Answer) {
    assert_eq!(answer.status, 403, "{answer}");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(
        challenge.starts_with("Bearer ") && challenge.contains("error=\"insufficient_scope\""),
        "{challenge}: {answer}"
    );
    let (severity, code, ..) = answer.issue();
    assert_eq!((severity.as_str(), code.as_str()), ("error", "forbidden"), "{answer}");
}

/// Nothing of these words is in an answer: not in its text, nor in a header.
fn assert_silent(answer: &Answer, words: &[&str]) {
    let headers: Vec<&str> = answer.headers.values().filter_map(|value| value.to_str().ok()).collect();
    for word in words {
        assert!(!answer.text.contains(word), "'{word}': {answer}");
        assert!(!headers.iter().any(|header| header.contains(word)), "'{word}' in {headers:?}");
    }
}

/// The resources of a history, newest first: `Type/id/version`.
fn versions(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer}");
    let entries = answer.body["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    let version = |entry: &Value| {
        let url = entry["fullUrl"].as_str().expect("a URL");
        let mut parts = url.rsplit('/');
        let (id, kind) = (parts.next().expect("an id"), parts.next().expect("a type"));
        let tag = entry["response"]["etag"].as_str().expect("a tag");
        format!("{kind}/{id}/{}", tag.trim_start_matches("W/").trim_matches('"'))
    };
    entries.iter().map(version).collect()
}
