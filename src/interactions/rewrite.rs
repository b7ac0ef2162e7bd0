//! Links inside a transaction: references to entries become references to what the entries were stored as
//! (R4 http.html#trules).

use std::collections::HashMap;

use serde_json::Value;

use crate::fhir::definitions::{Content, Definitions, Node, definitions};

/// From the names that entries have in the Bundle (`urn:uuid:…`, absolute and relative URLs) to `Type/id`.
pub type Names = HashMap<String, String>;

/// Replaces every link to an entry: `Reference.reference`, elements of type uri, url, oid and uuid, and the links of
/// narratives; in contained resources and extensions too. A canonical names no instance and stays.
pub fn rewrite(resource: &mut Value, names: &Names) {
    if !names.is_empty() {
        let definitions = definitions();
        let node = resource.get("resourceType").and_then(Value::as_str).and_then(|name| definitions.resource(name));
        walk(resource, node, definitions, names);
    }
}

fn walk(value: &mut Value, node: Option<&Node>, definitions: &Definitions, names: &Names) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, node, definitions, names)),
        Value::Object(object) => {
            let is_reference = node.is_some_and(|node| node.path == "Reference");
            for (name, value) in object.iter_mut() {
                let Some(property) = node.and_then(|node| node.property(name.trim_start_matches('_'))) else {
                    continue;
                };
                match property.content {
                    Content::Object(id) => walk(value, Some(definitions.node(id)), definitions, names),
                    Content::Resource => {
                        let inner = value
                            .get("resourceType")
                            .and_then(Value::as_str)
                            .and_then(|name| definitions.resource(name));
                        match value {
                            Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, names)),
                            _ => walk(value, inner, definitions, names),
                        }
                    }
                    Content::Primitive(_) if name.starts_with('_') => {
                        walk(value, definitions.type_named("Element"), definitions, names);
                    }
                    Content::Primitive(_) => {
                        let is_link = is_reference && name == "reference"
                            || matches!(property.type_code, "uri" | "url" | "oid" | "uuid")
                                && !(name == "url" && node.is_some_and(|n| n.path == "Extension"));
                        match value {
                            Value::String(text) if is_link => replace(text, names),
                            Value::Array(items) if is_link => {
                                for item in items {
                                    if let Value::String(text) = item {
                                        replace(text, names);
                                    }
                                }
                            }
                            Value::String(text) if property.type_code == "xhtml" => narrative(text, names),
                            _ => {}
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

fn replace(text: &mut String, names: &Names) {
    if let Some(name) = names.get(text.as_str()) {
        text.clone_from(name);
    } else if let Some((unversioned, _)) = text.split_once("/_history/")
        && let Some(name) = names.get(unversioned)
    {
        // What was version-specific stays so: it means the version that this transaction stores.
        let versioned = format!("{name}/_history/1");
        *text = versioned;
    }
}

/// `href="…"` and `src="…"` of a narrative.
fn narrative(text: &mut String, names: &Names) {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = ["href=\"", "src=\""].iter().filter_map(|mark| rest.find(mark).map(|at| at + mark.len())).min()
    {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let end = after.find('"').unwrap_or(after.len());
        let (link, later) = after.split_at(end);
        out.push_str(names.get(link).map_or(link, String::as_str));
        rest = later;
    }
    out.push_str(rest);
    *text = out;
}

/// The conditional references of a resource: texts such as `Organization?identifier=…` in `Reference.reference`.
pub(super) fn conditional_references(resource: &Value, found: &mut Vec<String>) {
    match resource {
        Value::Array(items) => items.iter().for_each(|item| conditional_references(item, found)),
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(text) if name == "reference" && is_conditional(text) => found.push(text.clone()),
                    _ => conditional_references(value, found),
                }
            }
        }
        _ => {}
    }
}

fn is_conditional(reference: &str) -> bool {
    reference.split_once('?').is_some_and(|(name, _)| crate::fhir::types::is_type_name(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_follow_entries_and_canonicals_stay() {
        let names = Names::from([("urn:uuid:1".to_owned(), "Organization/a".to_owned())]);
        let mut resource = json!({
            "resourceType": "PractitionerRole",
            "meta": {"profile": ["urn:uuid:1"]},
            "text": {"status": "generated", "div": "<div><a href=\"urn:uuid:1\">x</a> urn:uuid:1</div>"},
            "contained": [{"resourceType": "Endpoint", "managingOrganization": {"reference": "urn:uuid:1"}, "address": "urn:uuid:1"}],
            "extension": [{"url": "urn:uuid:1", "valueReference": {"reference": "urn:uuid:1"}}, {"url": "x", "valueCanonical": "urn:uuid:1"}],
            "organization": {"reference": "urn:uuid:1", "display": "urn:uuid:1"},
            "location": [{"reference": "urn:uuid:1/_history/4"}, {"reference": "urn:uuid:2"}],
        });
        rewrite(&mut resource, &names);
        let expected = json!({
            "resourceType": "PractitionerRole",
            "meta": {"profile": ["urn:uuid:1"]},
            "text": {"status": "generated", "div": "<div><a href=\"Organization/a\">x</a> urn:uuid:1</div>"},
            "contained": [{"resourceType": "Endpoint", "managingOrganization": {"reference": "Organization/a"}, "address": "Organization/a"}],
            "extension": [{"url": "urn:uuid:1", "valueReference": {"reference": "Organization/a"}}, {"url": "x", "valueCanonical": "urn:uuid:1"}],
            "organization": {"reference": "Organization/a", "display": "urn:uuid:1"},
            "location": [{"reference": "Organization/a/_history/1"}, {"reference": "urn:uuid:2"}],
        });
        assert_eq!(resource, expected);
    }
}
