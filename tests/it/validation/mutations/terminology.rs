//! Kinds d, e and g: codes outside a required binding, changed fixed values, references to a wrong type.

use super::bench::{Bench, Expected};
use super::model::{Node, Subject};
use serde_json::{Value, json};

const NO_CODE: &str = "no-such-code";

pub fn derive(subject: &Subject, bench: &mut Bench) {
    for node in &subject.nodes {
        if node.rules.required.is_some() {
            outside_binding(subject, node, bench);
        }
        if node.rules.fixed.is_some() {
            other_value(subject, node, bench);
        }
        if node.kind == "Reference" {
            wrong_target(subject, node, bench);
        }
    }
}

fn outside_binding(subject: &Subject, node: &Node, bench: &mut Bench) {
    let mut change = |fault: &str, value: Value| {
        let resource = || subject.with(&node.pointer, |found| *found = value);
        let expected = vec![Expected::new("code-invalid", &node.at)];
        bench.add(subject, ('d', fault, &node.rules.key), &node.at, resource, expected);
    };
    match node.kind.as_str() {
        "code" => change("code outside the value set", json!(NO_CODE)),
        "Coding" => change("coding outside the value set", json!({ "system": node.value["system"], "code": NO_CODE })),
        "CodeableConcept" => {
            let coding = &node.value["coding"][0];
            let keep = |coding: Value| {
                let mut concept = node.value.clone();
                concept["coding"] = json!([coding]);
                concept
            };
            // A concept without coding is not in the value set either, whatever its text.
            change("text only", json!({ "text": "free text" }));
            if coding.is_object() {
                change("code outside the value set", keep(json!({ "system": coding["system"], "code": NO_CODE })));
                change("wrong system", keep(json!({ "system": "http://example.org/codes", "code": coding["code"] })));
                change("no system", keep(json!({ "code": coding["code"] })));
            }
        }
        _ => {}
    }
}

fn other_value(subject: &Subject, node: &Node, bench: &mut Bench) {
    let fixed = node.rules.fixed.as_ref().expect("a fixed value");
    let other = match (fixed, node.rules.required.as_deref()) {
        (Value::Bool(fixed), _) => json!(!fixed),
        // Another code of the same value set, so that only the fixed value is broken.
        (Value::String(_), Some(values)) if values.contains("location-status") => json!("suspended"),
        (Value::String(_), Some(values)) if values.contains("endpoint-status") => json!("off"),
        (Value::String(_), Some(values)) if values.contains("publication-status") => json!("draft"),
        (Value::String(_), Some(values)) if values.contains("QualificationStatusVS") => json!("inactive"),
        // The url of an extension: another url is another extension. A pattern of an open slice: no longer the slice.
        _ => return,
    };
    let resource = || subject.with(&node.pointer, |found| *found = other);
    let expected = vec![Expected::new("value", &node.at)];
    bench.add(subject, ('e', "fixed value changed", &node.rules.key), &node.at, resource, expected);
}

fn wrong_target(subject: &Subject, node: &Node, bench: &mut Bench) {
    let targets = node.rules.targets();
    if targets.is_empty() {
        return;
    }
    // A type that directories do use, next to one that they never do.
    let familiar = ["Practitioner", "Endpoint", "Location"].into_iter().find(|kind| !targets.contains(kind)).unwrap();
    let references = [
        ("relative reference to a Binary", "Binary/x".to_owned()),
        ("absolute reference to a Binary", "http://example.org/fhir/Binary/x".to_owned()),
        ("reference to another Plan-Net type", format!("{familiar}/x")),
    ];
    for (fault, reference) in references {
        let resource = || subject.with(&node.pointer, |found| *found = json!({ "reference": reference }));
        let expected = vec![Expected::new("value", &node.at)];
        bench.add(subject, ('g', fault, &node.rules.key), &node.at, resource, expected);
    }
}
