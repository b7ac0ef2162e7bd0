//! Kinds c and i: wrong JSON types, unknown elements, choices, extensions where they do not belong, wrong claims.

use super::bench::{Bench, Expected};
use super::model::{Node, PLAN_NET, Schemas, Subject};
use super::rules::text;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One valid instance of each extension of the package, by its url.
pub type Extensions = BTreeMap<String, Value>;

pub fn harvest(valid: &[(String, Value)], schemas: &Schemas) -> Extensions {
    let mut found = Extensions::new();
    for (name, resource) in valid {
        for node in Subject::new(schemas, name, resource).nodes {
            let url = text(&node.value, "url").to_owned();
            if node.kind == "Extension" && schemas.get(&url).is_some() {
                found.entry(url).or_insert(node.value);
            }
        }
    }
    found
}

pub fn json_types(subject: &Subject, bench: &mut Bench) {
    for node in subject.nodes.iter().filter(|node| !node.is_root()) {
        let (fault, other) = match &node.value {
            Value::Object(_) => ("text for an object", json!("text")),
            Value::String(_) => ("number for text", json!(5)),
            Value::Bool(_) => ("number for a boolean", json!(1)),
            Value::Number(_) => ("text for a number", json!("many")),
            Value::Array(_) | Value::Null => continue,
        };
        put(subject, node, &node.rules.shared, (fault, other), bench);
        if node.value.is_string() {
            put(subject, node, &node.kind, ("object for text", json!({ "value": "text" })), bench);
            put(subject, node, &node.kind, ("boolean for text", json!(true)), bench);
        }
        if node.value.is_object() {
            put(subject, node, &node.kind, ("number for an object", json!(5)), bench);
        }
        if node.rules.repeats && node.pointer.ends_with("/0") {
            let array = node.pointer.trim_end_matches("/0");
            let at = node.at.trim_end_matches("[0]");
            let resource = || subject.with(array, |found| *found = node.value.clone());
            // Some name the element, some the item that it stands for.
            let expected = vec![Expected::either("structure", vec![at.to_owned(), node.at.clone()])];
            bench.add(subject, ('c', "no array", &node.rules.shared), at, resource, expected);
        }
    }
}

fn put(subject: &Subject, node: &Node, key: &str, (fault, value): (&str, Value), bench: &mut Bench) {
    let resource = || subject.with(&node.pointer, |found| *found = value);
    let expected = vec![Expected::new("structure", &node.at)];
    bench.add(subject, ('c', fault, key), &node.at, resource, expected);
}

pub fn derive(schemas: &Schemas, subject: &Subject, extensions: &Extensions, bench: &mut Bench) {
    for node in subject.nodes.iter().filter(|node| node.value.is_object()) {
        unknown_element(subject, node, bench);
        if node.kind == "Extension" {
            value_types(schemas, subject, node, bench);
        }
        wrong_context(schemas, subject, node, extensions, bench);
    }
    wrong_claims(schemas, subject, bench);
}

fn unknown_element(subject: &Subject, node: &Node, bench: &mut Bench) {
    let resource = || subject.with(&node.pointer, |found| found["unheardOf"] = json!("text"));
    let at = format!("{}.unheardOf", node.at);
    // An unknown element has no place of its own in the model: its parent will do.
    let expected = vec![Expected::either("structure", vec![at.clone(), node.at.clone()])];
    // Datatypes are the same everywhere.
    let own = node.is_root() || node.kind == "BackboneElement";
    let key = if own { &node.rules.key } else { &node.kind };
    bench.add(subject, ('i', "unknown element", key), &at, resource, expected);
}

/// The value of an extension: of a type it may not have, or given twice.
fn value_types(schemas: &Schemas, subject: &Subject, node: &Node, bench: &mut Bench) {
    let children = schemas.children(&node.rules, "Extension");
    let Some(choice) = children.iter().find(|child| child.name == "value[x]") else {
        return;
    };
    let Some(property) = choice.property(&node.value) else {
        return;
    };
    let kind = choice.takes(property).unwrap_or_default();
    let (other_property, other_kind, other) = if choice.allows("string") && kind == "string" {
        ("valueCode", "code", json!("text"))
    } else {
        ("valueString", "string", json!("text"))
    };
    let at = format!("{}.value", node.at);
    let of = |kind: &str| format!("{at}.ofType({kind})");

    let twice = || subject.with(&node.pointer, |found| found[other_property] = other.clone());
    let places = vec![at.clone(), of(&kind), of(other_kind), node.at.clone()];
    let expected = vec![Expected::either("structure", places)];
    bench.add(subject, ('i', "value of two types", &node.rules.shared), &at, twice, expected);

    if !choice.types.is_empty() && !choice.allows(other_kind) {
        let wrong = || {
            subject.with(&node.pointer, |found| {
                let object = found.as_object_mut().unwrap();
                object.shift_remove(property);
                object.insert(other_property.to_owned(), other);
            })
        };
        let expected = vec![Expected::either("structure", vec![at.clone(), of(other_kind)])];
        bench.add(subject, ('i', "value of a wrong type", &node.rules.shared), &at, wrong, expected);
    }
}

/// A valid extension on an element that is not one of its contexts.
fn wrong_context(schemas: &Schemas, subject: &Subject, node: &Node, extensions: &Extensions, bench: &mut Bench) {
    // Where the definition of an extension forbids further extensions, it is the number that is wrong.
    let place = matches!(node.kind.as_str(), "ContactPoint" | "Address" | "CodeableConcept" | "BackboneElement");
    if node.pointer.contains("/extension/") || !(node.is_root() || place) {
        return;
    }
    for (url, extension) in extensions {
        let definition = schemas.get(url).expect("an extension of the package");
        let element = &node.rules.key;
        // Below the root it is the type of the element that counts.
        let key = if node.is_root() { element } else { &node.kind };
        if definition.contexts.iter().any(|context| *context == node.kind || context == element) {
            continue;
        }
        let index = node.value["extension"].as_array().map_or(0, Vec::len);
        let at = format!("{}.extension[{index}]", node.at);
        let resource = || {
            subject.with(&node.pointer, |found| {
                let present = found.as_object_mut().unwrap().entry("extension").or_insert_with(|| json!([]));
                present.as_array_mut().unwrap().push(extension.clone());
            })
        };
        let name = url.trim_start_matches(PLAN_NET);
        let fault = format!("extension {name} out of its context");
        bench.add(subject, ('i', &fault, key), &at, resource, vec![Expected::new("extension", &at)]);
    }
}

fn wrong_claims(schemas: &Schemas, subject: &Subject, bench: &mut Bench) {
    let root = subject.root();
    for other in ["Endpoint", "Location", "Practitioner", "PractitionerRole", "OrganizationAffiliation"] {
        if other == root.kind {
            continue;
        }
        let url = format!("{PLAN_NET}plannet-{other}");
        assert!(schemas.get(&url).is_some(), "{url} is in the package");
        let resource = || subject.with("", |found| found["meta"]["profile"] = json!([url]));
        let fault = format!("claims the profile of {other}");
        // FHIR leaves open how a claim that can not be met is reported; it has to be an error.
        let expected = vec![Expected { codes: Vec::new(), at: Vec::new(), rule: None }];
        bench.add(subject, ('i', &fault, &root.rules.key), &root.at, resource, expected);
    }
    if root.kind == "Organization" && !subject.profile.ends_with("plannet-Network") {
        let resource =
            || subject.with("", |found| found["meta"]["profile"] = json!([format!("{PLAN_NET}plannet-Network")]));
        let expected = vec![Expected::new("code-invalid", "Organization.type[0]")];
        bench.add(subject, ('i', "claims to be a network", &root.rules.key), &root.at, resource, expected);
    }
}
