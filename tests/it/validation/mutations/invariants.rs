//! Kind f, first part: the invariants of datatypes, of extensions and of single elements.

use super::bench::{Bench, Expected};
use super::cardinality::remove;
use super::model::{Node, Subject};
use super::rules::text;
use serde_json::{Value, json};

pub fn derive(subject: &Subject, bench: &mut Bench) {
    for node in subject.nodes.iter().filter(|node| !node.is_root() && node.value.is_object()) {
        match node.kind.as_str() {
            "Extension" => extension(subject, node, bench),
            // Without its type a contained resource is no element to speak of.
            "Resource" => continue,
            "Reference" => replace(subject, node, "ref-1", "dangling #id", json!({ "reference": "#nothing" }), bench),
            "Period" => period(subject, node, bench),
            "ContactPoint" => without(subject, node, "cpt-2", ("value", "system"), bench),
            "Attachment" => without(subject, node, "att-1", ("data", "contentType"), bench),
            "Quantity" => without(subject, node, "qty-3", ("code", "system"), bench),
            _ => {}
        }
        empty(subject, node, bench);
        by_key(subject, node, bench);
    }
}

fn replace(subject: &Subject, node: &Node, rule: &str, fault: &str, value: Value, bench: &mut Bench) {
    replace_one_of(subject, node, &node.rules.key, (rule, fault, value), bench);
}

/// The same for a fault of which one mutant for each `key` is enough.
fn replace_one_of(subject: &Subject, node: &Node, key: &str, change: (&str, &str, Value), bench: &mut Bench) {
    let (rule, fault, value) = change;
    let resource = || subject.with(&node.pointer, |found| *found = value);
    let fault = format!("{rule}: {fault}");
    let expected = vec![Expected::invariant(rule, &node.at)];
    bench.add(subject, ('f', &fault, key), &node.at, resource, expected);
}

/// ele-1: an element has a value or children; an id alone is not enough.
fn empty(subject: &Subject, node: &Node, bench: &mut Bench) {
    replace_one_of(subject, node, &node.rules.shared, ("ele-1", "empty object", json!({})), bench);
    if node.kind != "Extension" {
        replace_one_of(subject, node, &node.kind, ("ele-1", "only an id", json!({ "id": "only" })), bench);
    }
}

/// ext-1: either a value or extensions, never both, never none.
fn extension(subject: &Subject, node: &Node, bench: &mut Bench) {
    let mut both = node.value.clone();
    if node.value.get("extension").is_some() {
        both["valueString"] = json!("surplus");
    } else {
        both["extension"] = json!([{ "url": "http://example.org/surplus", "valueString": "surplus" }]);
    }
    replace_one_of(subject, node, &node.rules.shared, ("ext-1", "value and extensions", both), bench);
    let bare = json!({ "url": node.value["url"] });
    replace_one_of(subject, node, &node.rules.shared, ("ext-1", "url only", bare), bench);
    if node.rules.constraints.iter().any(|key| key == "new-patients-characteristics") {
        characteristics(subject, node, bench);
    }
}

/// The invariant asks for a code that the value set does not have: both rules are broken at once.
fn characteristics(subject: &Subject, node: &Node, bench: &mut Bench) {
    let rule = "new-patients-characteristics";
    let parts = node.value["extension"].as_array().expect("a complex extension");
    let Some(index) = parts.iter().position(|part| part["url"] == "acceptingPatients") else {
        return;
    };
    let resource = || {
        subject.with(&node.pointer, |found| {
            found["extension"][index]["valueCodeableConcept"]["coding"][0]["code"] = json!("no");
            let parts = found["extension"].as_array_mut().unwrap();
            parts.push(json!({ "url": "characteristics", "valueString": "children only" }));
        })
    };
    let concept = format!("{}.extension[{index}].value.ofType(CodeableConcept)", node.at);
    let expected = vec![Expected::invariant(rule, &node.at), Expected::new("code-invalid", concept)];
    bench.add(subject, ('f', rule, &node.rules.key), &node.at, resource, expected);
}

fn period(subject: &Subject, node: &Node, bench: &mut Bench) {
    let bounds = |start: &str, end: &str| json!({ "start": start, "end": end });
    let days = bounds("2021-01-02", "2021-01-01");
    replace(subject, node, "per-1", "end the day before the start", days, bench);
    let years = bounds("2021", "2020");
    replace_one_of(subject, node, "Period", ("per-1", "end the year before the start", years), bench);
    // As instants: 10:00 and 09:00.
    let zones = bounds("2021-01-01T10:00:00Z", "2021-01-01T11:00:00+02:00");
    replace_one_of(subject, node, "Period", ("per-1", "end before the start in another zone", zones), bench);
}

/// Rules of the form "who has the first has the second".
fn without(subject: &Subject, node: &Node, rule: &str, (first, second): (&str, &str), bench: &mut Bench) {
    let present = |name: &str| node.value.get(name).is_some();
    if present(first) && present(second) {
        let mut value = node.value.clone();
        remove(&mut value, second);
        replace(subject, node, rule, &format!("{first} without {second}"), value, bench);
    }
}

/// The invariants that a profile puts on one of its elements.
fn by_key(subject: &Subject, node: &Node, bench: &mut Bench) {
    let mut put = |rule: &str, fault: &str, property: &str, value: &str| {
        let mut changed = node.value.clone();
        changed[property] = json!(value);
        replace(subject, node, rule, fault, changed, bench);
    };
    for key in &node.rules.constraints {
        match key.as_str() {
            "org-2" => put(key, "home address", "use", "home"),
            "org-3" => put(key, "home telecom", "use", "home"),
            "us-core-16" => {
                put(key, "nine digits", "value", "140707123");
                put(key, "eleven digits", "value", "14070712360");
                put(key, "letters", "value", "14O7O71236");
            }
            "us-core-17" => put(key, "wrong check digit", "value", &other_check_digit(text(&node.value, "value"))),
            "us-core-18" => {
                put(key, "no D in the third place", "value", "12C3456789");
                put(key, "one digit short", "value", "12D345678");
            }
            "us-core-19" => {
                put(key, "four digits", "value", "1234");
                put(key, "letters", "value", "1234A");
            }
            _ => {}
        }
    }
}

/// A valid NPI with its last digit changed can not be valid again.
fn other_check_digit(npi: &str) -> String {
    let (body, last) = npi.split_at(npi.len() - 1);
    let digit: u32 = last.parse().expect("an NPI");
    format!("{body}{}", (digit + 1) % 10)
}
