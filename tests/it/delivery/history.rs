//! What has happened, as the server itself tells it by its histories: the truth that deliveries are held to.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::Server;

/// What was done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Create,
    Update,
    Delete,
}

/// A version of a resource.
#[derive(Clone, Debug)]
pub struct Change {
    /// `Type/id`
    pub name: String,
    pub version: u64,
    pub kind: Kind,
    /// When, as the history writes it.
    pub at: String,
    pub after: Option<Value>,
    pub before: Option<Value>,
}

/// `Type/id` of an absolute URL: the port of a server is another after each start.
pub fn name_of(url: &str) -> String {
    let mut parts = url.rsplit('/');
    let id = parts.next().expect("an id");
    format!("{}/{id}", parts.next().expect("a type"))
}

/// The version in a weak ETag.
pub fn version_of(etag: &Value) -> u64 {
    let text = etag.as_str().unwrap_or_default().trim_start_matches("W/").trim_matches('"');
    text.parse().unwrap_or_else(|_| panic!("a version, not {etag}"))
}

/// All versions of all resources of these types, those of each resource in order.
pub fn changes(server: &Server, types: &[&str]) -> BTreeMap<String, Vec<Change>> {
    let mut found: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for resource_type in types {
        let mut next = Some(format!("{resource_type}/_history?_count=1000"));
        while let Some(url) = next {
            let page = server.get(&url);
            assert_eq!(page.status, 200, "{page}");
            for entry in page.body["entry"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let change = change(entry);
                found.entry(change.name.clone()).or_default().push(change);
            }
            next = page.link("next");
        }
    }
    for (name, versions) in &mut found {
        versions.sort_by_key(|change| change.version);
        let numbers: Vec<u64> = versions.iter().map(|change| change.version).collect();
        assert_eq!(numbers, (1..=versions.len() as u64).collect::<Vec<_>>(), "{name}");
        for n in 1..versions.len() {
            versions[n].before = versions[n - 1].after.clone();
        }
    }
    found
}

fn change(entry: &Value) -> Change {
    let method = entry["request"]["method"].as_str().expect("a method");
    let status = entry["response"]["status"].as_str().expect("a status");
    let kind = match method {
        "DELETE" => Kind::Delete,
        _ if status.starts_with("201") => Kind::Create,
        _ => Kind::Update,
    };
    let response = &entry["response"];
    Change {
        name: name_of(entry["fullUrl"].as_str().expect("a fullUrl")),
        version: version_of(&response["etag"]),
        kind,
        at: response["lastModified"].as_str().expect("a time").to_owned(),
        after: entry.get("resource").cloned(),
        before: None,
    }
}
