//! The RESTful interactions of R4 (http.html), rule by rule.

mod as_of;
mod batch;
mod capability;
mod conditional;
mod create;
mod delete;
mod history;
mod methods;
mod negotiation;
mod patch;
mod prefer;
mod read;
mod references;
mod transaction;
mod update;

use serde_json::{Value, json};

use crate::harness::{Answer, Server};

/// An Organization that `name=NAME` and `identifier=urn:test|NAME` find.
fn organization(name: &str) -> Value {
    json!({"resourceType": "Organization", "identifier": [{"system": "urn:test", "value": name}], "active": true, "name": name})
}

/// The same under an id.
fn organization_as(id: &str, name: &str) -> Value {
    let mut organization = organization(name);
    organization["id"] = json!(id);
    organization
}

/// Creates a resource; its id.
fn created(server: &Server, resource: &Value) -> String {
    let answer = server.post(resource["resourceType"].as_str().expect("a type"), resource);
    assert_eq!(answer.status, 201, "{answer}");
    id(&answer)
}

/// Stores a resource under its id.
fn stored(server: &Server, resource: &Value) -> Answer {
    let url =
        format!("{}/{}", resource["resourceType"].as_str().expect("a type"), resource["id"].as_str().expect("an id"));
    let answer = server.put(&url, resource);
    assert!(matches!(answer.status, 200 | 201), "{answer}");
    answer
}

fn id(answer: &Answer) -> String {
    answer.body["id"].as_str().expect("an id").to_owned()
}

fn version(answer: &Answer) -> &str {
    answer.body["meta"]["versionId"].as_str().expect("a version")
}

/// A request with headers, and a body unless that is empty.
fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = server.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(if body.is_empty() { request } else { request.body(body.to_owned()) })
}

/// A request with JSON and one more header.
fn send_json(server: &Server, method: &str, path: &str, header: (&str, &str), body: &Value) -> Answer {
    send(server, method, path, &[("content-type", "application/fhir+json"), header], &body.to_string())
}

/// A refusal: this status, and an OperationOutcome with an error.
fn assert_refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer}");
    let (severity, code, diagnostics, _) = answer.issue();
    assert!(matches!(severity.as_str(), "error" | "fatal"), "{answer}");
    assert!(!code.is_empty() && !diagnostics.is_empty(), "{answer}");
}

/// How many versions the whole directory has ever had.
fn versions_of_all(server: &Server) -> usize {
    let history = server.get("_history?_count=1000");
    assert_eq!(history.status, 200, "{history}");
    history.body["entry"].as_array().map_or(0, Vec::len)
}

fn bundle(kind: &str, entries: &[Value]) -> Value {
    let mut bundle = json!({"resourceType": "Bundle", "type": kind});
    if !entries.is_empty() {
        bundle["entry"] = json!(entries);
    }
    bundle
}

/// An entry without a resource.
fn call(method: &str, url: &str) -> Value {
    json!({"request": {"method": method, "url": url}})
}

/// An entry with a resource.
fn entry(method: &str, url: &str, resource: Value) -> Value {
    json!({"resource": resource, "request": {"method": method, "url": url}})
}

/// An entry with a resource and a name in the Bundle.
fn entry_as(full_url: &str, method: &str, url: &str, resource: Value) -> Value {
    json!({"fullUrl": full_url, "resource": resource, "request": {"method": method, "url": url}})
}

/// The three digits of each entry's status.
fn statuses(answer: &Answer) -> Vec<&str> {
    let entries = answer.body["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| entry["response"]["status"].as_str().and_then(|status| status.get(..3)).expect("a status"))
        .collect()
}

/// `Type/id` in the location of entry `n`.
fn location(answer: &Answer, n: usize) -> String {
    let location =
        answer.body["entry"][n]["response"]["location"].as_str().unwrap_or_else(|| panic!("a location: {answer}"));
    let (name, _version) = location.split_once("/_history/").expect("a location with a version");
    let mut parts = name.rsplit('/');
    let (id, resource_type) = (parts.next().expect("an id"), parts.next().expect("a type"));
    format!("{resource_type}/{id}")
}

/// A `lastUpdated` as an HTTP date.
fn http_date(instant: &str) -> String {
    httpdate::fmt_http_date(chrono::DateTime::parse_from_rfc3339(instant).expect("an instant").into())
}

/// The tag of a resource that is only a part of itself.
fn is_subsetted(resource: &Value) -> bool {
    let tags = resource["meta"]["tag"].as_array().map(Vec::as_slice).unwrap_or_default();
    tags.iter().any(|tag| {
        tag["code"] == "SUBSETTED" && tag["system"] == "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
    })
}
