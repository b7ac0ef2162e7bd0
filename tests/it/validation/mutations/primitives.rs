//! Kind h: values that are not in the form of their primitive type.

use super::bench::{Bench, Expected};
use super::model::{Node, Subject};
use serde_json::{Value, json};

const XHTML: &str = "xmlns=\"http://www.w3.org/1999/xhtml\"";

pub fn derive(subject: &Subject, bench: &mut Bench) {
    for node in subject.nodes.iter().filter(|node| !node.value.is_object() && !node.value.is_array()) {
        if node.kind == "xhtml" {
            narrative(subject, node, bench);
            continue;
        }
        for (fault, value) in malformed(&node.kind) {
            put(subject, node, fault, value, Expected::new("value", &node.at), bench);
        }
        // The JSON type is wrong as well as the form; R4 gives numbers and booleans no quotes.
        let quoted = match node.kind.as_str() {
            "boolean" | "decimal" | "positiveInt" | "unsignedInt" | "integer" => node.value.to_string(),
            _ => String::new(),
        };
        let (fault, code) = if quoted.is_empty() { ("empty string", "value") } else { ("in quotes", "structure") };
        put(subject, node, fault, json!(quoted), Expected::new(code, &node.at), bench);
    }
}

fn put(subject: &Subject, node: &Node, fault: &str, value: Value, expected: Expected, bench: &mut Bench) {
    // Of the many codes, one is enough for the rarer faults of form.
    let rare = node.kind == "code" && matches!(fault, "trailing space" | "two spaces");
    let key = if rare { &node.kind } else { &node.rules.shared };
    let resource = || subject.with(&node.pointer, |found| *found = value);
    bench.add(subject, ('h', fault, key), &node.at, resource, vec![expected]);
}

fn malformed(kind: &str) -> Vec<(&'static str, Value)> {
    match kind {
        "date" => vec![
            ("30 February", json!("2020-02-30")),
            ("month 13", json!("2020-13-01")),
            ("a word for a date", json!("yesterday")),
            ("one digit for the month", json!("2020-1-01")),
        ],
        "dateTime" => vec![
            ("30 February", json!("2020-02-30")),
            ("month 13", json!("2020-13-01T10:00:00Z")),
            ("a word for a date", json!("yesterday")),
            ("no time zone", json!("2020-01-01T10:00:00")),
            ("hour 25", json!("2020-01-01T25:00:00Z")),
        ],
        "instant" => vec![
            ("30 February", json!("2020-02-30T10:00:00Z")),
            ("month 13", json!("2020-13-01T10:00:00Z")),
            ("a word for a date", json!("yesterday")),
            ("a date only", json!("2020-01-01")),
            ("no time zone", json!("2020-01-01T10:00:00")),
        ],
        "time" => vec![
            ("no seconds", json!("08:00")),
            ("hour 25", json!("25:00:00")),
            ("a time zone", json!("08:00:00Z")),
            ("a word for a time", json!("noon")),
        ],
        "uri" | "url" | "canonical" => vec![("uri with a space", json!("http://example.org/a b"))],
        "code" => vec![
            ("leading space", json!(" active")),
            ("trailing space", json!("active ")),
            ("two spaces", json!("not  active")),
        ],
        "id" => vec![
            ("underscore", json!("under_score")),
            ("65 characters", json!("x".repeat(65))),
            ("slash", json!("a/b")),
        ],
        "positiveInt" => vec![("zero", json!(0)), ("negative", json!(-1))],
        "unsignedInt" => vec![("negative", json!(-1))],
        "base64Binary" => vec![("not base64", json!("not base64!"))],
        _ => Vec::new(),
    }
}

/// The rules of the narrative are the invariants txt-1 (allowed content) and txt-2 (some content) of its div.
fn narrative(subject: &Subject, node: &Node, bench: &mut Bench) {
    let contents = [
        ("script", "txt-1", format!("<div {XHTML}><p>text</p><script>alert(1)</script></div>")),
        ("event attribute", "txt-1", format!("<div {XHTML}><p onclick=\"alert(1)\">text</p></div>")),
        ("form", "txt-1", format!("<div {XHTML}><form><input name=\"a\"/></form><p>text</p></div>")),
        ("blank narrative", "txt-2", format!("<div {XHTML}>  </div>")),
    ];
    for (fault, rule, content) in contents {
        put(subject, node, fault, json!(content), Expected::invariant(rule, &node.at), bench);
    }
}
