//! Bulk Data Access 2.0: `$export` from the kick-off to the last file.

mod changes;
mod files;
mod filters;
mod kick_off;
mod life;
mod scopes;
mod snapshot;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server};

/// The longest that a small export may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that another process does.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::yield_now();
    }
}

fn organization(id: &str, name: &str) -> Value {
    json!({"resourceType": "Organization", "id": id, "active": true, "name": name})
}

fn location(id: &str, status: &str) -> Value {
    json!({"resourceType": "Location", "id": id, "status": status, "name": id})
}

fn practitioner(id: &str, family: &str) -> Value {
    json!({"resourceType": "Practitioner", "id": id, "active": true, "name": [{"family": family}]})
}

/// Everybody may do everything on a server without settings.
fn anybody(server: &Server) -> Bearer<'_> {
    Bearer::nobody(server)
}

/// Asks for an export; where to ask for its status.
fn kick_off(bearer: &Bearer<'_>, path: &str) -> String {
    let answer = bearer.send("GET", path, &[("accept", "application/fhir+json"), ("prefer", "respond-async")], "");
    accepted(&answer)
}

fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer}");
    let url = answer.header("content-location").expect("a status URL").to_owned();
    assert!(url.starts_with("http://127.0.0.1:") && url.contains("/fhir/"), "absolute: {url}");
    url
}

/// The first answer that is no 202.
fn outcome(bearer: &Bearer<'_>, url: &str) -> Answer {
    until("the end of the export", || {
        let answer = bearer.send("GET", url, &[("accept", "application/json")], "");
        if answer.status == 202 {
            assert!(answer.header("retry-after").is_some_and(|it| it.parse::<u32>().is_ok()), "{answer:?}");
            assert!(answer.header("x-progress").is_none_or(|it| it.len() < 100), "{answer:?}");
            return None;
        }
        Some(answer)
    })
}

/// The manifest of an export that becomes complete.
fn manifest(bearer: &Bearer<'_>, url: &str) -> Value {
    let answer = outcome(bearer, url);
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("expires").is_some_and(|it| httpdate::parse_http_date(it).is_ok()), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for name in ["transactionTime", "request", "requiresAccessToken", "output", "error"] {
        assert!(answer.body.get(name).is_some(), "{name}: {answer}");
    }
    answer.body
}

fn exported(bearer: &Bearer<'_>, path: &str) -> Value {
    manifest(bearer, &kick_off(bearer, path))
}

/// The resources of the files in a list of a manifest, each held to its item.
fn lines(bearer: &Bearer<'_>, manifest: &Value, list: &str) -> Vec<Value> {
    let items = manifest[list].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut all = Vec::new();
    for item in items {
        let answer = bearer.get(item["url"].as_str().expect("a URL"));
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.header("content-type"), Some("application/fhir+ndjson"), "{item}");
        assert!(answer.text.ends_with('\n') && !answer.text.contains('\r'));
        let found: Vec<Value> =
            answer.text.lines().map(|line| serde_json::from_str(line).expect("JSON in one line")).collect();
        assert!(found.iter().all(|line| line["resourceType"] == item["type"]), "{item}");
        assert_eq!(item["count"], found.len(), "{item}");
        assert!(!found.is_empty(), "no file without data: {item}");
        all.extend(found);
    }
    all
}

/// `Type/id` of what an export holds, sorted.
fn names(bearer: &Bearer<'_>, manifest: &Value) -> Vec<String> {
    let name =
        |it: &Value| format!("{}/{}", it["resourceType"].as_str().unwrap_or("?"), it["id"].as_str().unwrap_or("?"));
    let mut names: Vec<String> = lines(bearer, manifest, "output").iter().map(name).collect();
    names.sort();
    names
}

/// `Type/id` of what an export with these parameters holds, sorted.
fn holds(bearer: &Bearer<'_>, path: &str) -> Vec<String> {
    let url = kick_off(bearer, path);
    let names = names(bearer, &manifest(bearer, &url));
    assert_eq!(bearer.delete(&url).status, 202);
    names
}

/// A refusal with an OperationOutcome in JSON.
fn assert_refused(answer: &Answer, status: u16, expression: &str) {
    assert_eq!(answer.status, status, "{answer}");
    assert!(answer.header("content-type").is_some_and(|it| it.starts_with("application/fhir+json")), "{answer:?}");
    let (severity, _, sentence, place) = answer.issue();
    assert_eq!((severity.as_str(), place.as_str()), ("error", expression), "{answer}");
    assert!(!sentence.is_empty(), "{answer}");
}
