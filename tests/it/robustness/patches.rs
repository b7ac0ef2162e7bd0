//! Hostile patches: the resource stays as it was.

use std::time::Instant;

use serde_json::json;

use crate::harness::{Answer, on_both};

use super::{QUICK, check_none, check_refusal, fault, peak_memory};

const JSON_PATCH: &str = "application/json-patch+json";

/// Memory that a refused patch may cost at most.
const MEMORY_MAX: u64 = 400 << 20;

fn json_patches() -> Vec<(&'static str, String, &'static [u16])> {
    const BAD: &[u16] = &[400];
    const UNFIT: &[u16] = &[422];
    let doubling: Vec<_> = (0..60).map(|n| json!({"op": "copy", "from": "", "path": format!("/x{n}")})).collect();
    let list_doubling: Vec<_> = (0..60).map(|_| json!({"op": "copy", "from": "/alias", "path": "/alias/-"})).collect();
    let many: Vec<_> = (0..100_000).map(|_| json!({"op": "test", "path": "/name", "value": "x"})).collect();
    vec![
        ("nothing", String::new(), BAD),
        ("an object", "{}".into(), BAD),
        ("null", "null".into(), BAD),
        ("a number", "[1]".into(), BAD),
        ("an empty operation", "[{}]".into(), BAD),
        ("an unknown operation", r#"[{"op":"explode","path":"/name"}]"#.into(), BAD),
        ("no path", r#"[{"op":"remove"}]"#.into(), BAD),
        ("a path without a slash", r#"[{"op":"remove","path":"name"}]"#.into(), BAD),
        ("a path with a bad escape", r#"[{"op":"remove","path":"/~2"}]"#.into(), BAD),
        ("no value", r#"[{"op":"add","path":"/name"}]"#.into(), BAD),
        ("no from", r#"[{"op":"copy","path":"/name"}]"#.into(), BAD),
        ("a path of 1 MB", json!([{"op": "remove", "path": format!("/{}", "a".repeat(1_000_000))}]).to_string(), UNFIT),
        ("a path of 100,000 steps", json!([{"op": "add", "path": "/a".repeat(100_000), "value": 1}]).to_string(), &[400, 413, 422]),
        ("a path to nothing", r#"[{"op":"remove","path":"/nonsense"}]"#.into(), UNFIT),
        ("a huge index", r#"[{"op":"add","path":"/alias/99999999999999999999999","value":"x"}]"#.into(), UNFIT),
        ("an index with a zero", r#"[{"op":"replace","path":"/alias/00","value":"x"}]"#.into(), UNFIT),
        ("a test that fails", r#"[{"op":"test","path":"/name","value":"y"}]"#.into(), UNFIT),
        ("the whole resource gone", r#"[{"op":"remove","path":""}]"#.into(), UNFIT),
        ("a number for the resource", r#"[{"op":"replace","path":"","value":1}]"#.into(), UNFIT),
        ("another id", r#"[{"op":"replace","path":"/id","value":"b"}]"#.into(), UNFIT),
        ("another type", r#"[{"op":"replace","path":"/resourceType","value":"Location"}]"#.into(), UNFIT),
        ("a result that is no Organization", r#"[{"op":"add","path":"/nonsense","value":1}]"#.into(), UNFIT),
        ("a move into itself", r#"[{"op":"move","from":"/alias","path":"/alias/0"}]"#.into(), BAD),
        ("a good one before a bad one", r#"[{"op":"replace","path":"/name","value":"y"},{"op":"remove","path":"/nonsense"}]"#.into(), UNFIT),
        ("a resource that doubles 60 times", json!(doubling).to_string(), &[413, 422]),
        ("a list that doubles 60 times", json!(list_doubling).to_string(), &[413, 422]),
        ("100,000 operations", json!(many).to_string(), &[413]),
        ("100,000 levels", format!("[{{\"op\":\"add\",\"path\":\"/name\",\"value\":{}{}}}]", "[".repeat(100_000), "]".repeat(100_000)), BAD),
        ("the same key twice", r#"[{"op":"test","op":"remove","path":"/name","value":"x"}]"#.into(), BAD),
        ("a serde_json number", r#"[{"op":"add","path":"/telecom","value":[{"system":"phone","rank":{"$serde_json::private::Number":"1"}}]}]"#.into(), &[400, 422]),
        ("serde_json's JSON", r#"[{"op":"replace","path":"/name","value":{"$serde_json::private::RawValue":"\"y\""}}]"#.into(), &[400, 422]),
    ]
}

fn fhirpath_patches() -> Vec<(&'static str, String, &'static [u16])> {
    const BAD: &[u16] = &[400];
    const UNFIT: &[u16] = &[400, 422];
    let operation = |parts: serde_json::Value| {
        json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}).to_string()
    };
    let part = |name: &str, value: &str| json!({"name": name, "valueString": value});
    let kind = |code: &str| json!({"name": "type", "valueCode": code});
    let many: Vec<_> = (0..100_000)
        .map(|_| json!({"name": "operation", "part": [kind("delete"), part("path", "Organization.nonsense")]}))
        .collect();
    vec![
        ("no Parameters", json!({"resourceType": "Organization", "id": "a", "name": "x"}).to_string(), &[415]),
        ("parameters that are a text", json!({"resourceType": "Parameters", "parameter": "x"}).to_string(), BAD),
        ("an unknown parameter", json!({"resourceType": "Parameters", "parameter": [{"name": "x"}]}).to_string(), BAD),
        ("no parts", operation(json!([])), BAD),
        ("no type", operation(json!([part("path", "Organization.name")])), BAD),
        ("an unknown type", operation(json!([kind("explode"), part("path", "Organization.name")])), BAD),
        ("no path", operation(json!([kind("delete")])), BAD),
        ("a path that is no FHIRPath", operation(json!([kind("delete"), part("path", "Organization.(((")])), UNFIT),
        ("a path of 1 MB", operation(json!([kind("delete"), part("path", &"a.".repeat(500_000))])), UNFIT),
        ("a path of brackets", operation(json!([kind("delete"), part("path", &"(".repeat(100_000))])), UNFIT),
        (
            "a path to another type",
            operation(json!([
                kind("replace"),
                part("path", "Location.name"),
                json!({"name": "value", "valueString": "y"})
            ])),
            UNFIT,
        ),
        (
            "a path to nothing",
            operation(json!([
                kind("replace"),
                part("path", "Organization.alias[99999999999999999999]"),
                json!({"name": "value", "valueString": "y"})
            ])),
            UNFIT,
        ),
        ("a function", operation(json!([kind("delete"), part("path", "Organization.repeat($this)")])), UNFIT),
        ("no value", operation(json!([kind("replace"), part("path", "Organization.name")])), BAD),
        (
            "a value of another type",
            operation(json!([
                kind("replace"),
                part("path", "Organization.name"),
                json!({"name": "value", "valueBoolean": true})
            ])),
            UNFIT,
        ),
        (
            "a negative index",
            operation(json!([
                kind("insert"),
                part("path", "Organization.alias"),
                json!({"name": "index", "valueInteger": -1}),
                json!({"name": "value", "valueString": "y"})
            ])),
            UNFIT,
        ),
        ("the resource itself", operation(json!([kind("delete"), part("path", "Organization")])), UNFIT),
        (
            "the id",
            operation(json!([
                kind("replace"),
                part("path", "Organization.id"),
                json!({"name": "value", "valueId": "b"})
            ])),
            UNFIT,
        ),
        ("100,000 operations", json!({"resourceType": "Parameters", "parameter": many}).to_string(), &[413]),
    ]
}

on_both! {
    fn a_hostile_patch_is_refused_and_changes_nothing(server) {
        let before = json!({"resourceType": "Organization", "id": "a", "name": "x", "alias": ["0123456789", "1"]});
        assert_eq!(server.put("Organization/a", &before).status, 201);
        let mut stored = server.get("Organization/a").body;
        let cases = json_patches().into_iter().map(|case| (JSON_PATCH, case)).chain(fhirpath_patches().into_iter().map(|case| ("application/fhir+json", case)));
        let mut faults = Vec::new();
        for (media_type, (what, body, statuses)) in cases {
            let start = Instant::now();
            let answer = Answer::of(server.request("PATCH", "Organization/a").header("content-type", media_type).body(body));
            assert!(start.elapsed() < QUICK, "{what} took {:?}", start.elapsed());
            faults.extend(fault(&answer, statuses, what));
            if server.get("Organization/a").body != stored {
                faults.push(format!("{what}: the resource was changed"));
                let again = server.put("Organization/a", &stored);
                stored = again.body;
            }
        }
        check_none(&faults);
        assert!(peak_memory(server) < MEMORY_MAX, "{} bytes", peak_memory(server));
        let missing = server.patch("Organization/b", JSON_PATCH, &json!([{"op": "remove", "path": "/name"}]));
        check_refusal(&missing, &[404], "a patch of what is not there");
        let stale = Answer::of(server.request("PATCH", "Organization/a").header("content-type", JSON_PATCH).header("if-match", "W/\"9\"").body("[]"));
        check_refusal(&stale, &[409, 412], "a patch of a version that is not there");
    }
}
