use std::thread;

use serde_json::{Value, json};

use super::{assert_refused, organization, organization_as, send, stored, version};
use crate::harness::{Answer, Server, on_both};

const JSON_PATCH: &str = "application/json-patch+json";
const FHIR_JSON: &str = "application/fhir+json";
const URL: &str = "Organization/acme";

fn json_patch(server: &Server, operations: &Value) -> Answer {
    server.patch(URL, JSON_PATCH, operations)
}

/// A FHIRPath Patch; each operation is a list of parts.
fn fhirpath(operations: &[Value]) -> Value {
    let parameters: Vec<Value> = operations.iter().map(|parts| json!({"name": "operation", "part": parts})).collect();
    json!({"resourceType": "Parameters", "parameter": parameters})
}

fn fhirpath_patch(server: &Server, parts: Value) -> Answer {
    server.patch(URL, FHIR_JSON, &fhirpath(&[parts]))
}

/// The parts `type` and `path`, and others.
fn parts(kind: &str, path: &str, others: &[Value]) -> Value {
    let mut parts = vec![json!({"name": "type", "valueCode": kind}), json!({"name": "path", "valueString": path})];
    parts.extend(others.iter().cloned());
    Value::Array(parts)
}

/// That the resource is as it was stored.
fn assert_untouched(server: &Server) {
    let read = server.get(URL);
    assert_eq!((version(&read), &read.body["name"]), ("1", &json!("One")), "{read}");
}

fn with_aliases(aliases: &[&str]) -> Value {
    let mut resource = organization_as("acme", "One");
    resource["alias"] = json!(aliases);
    resource
}

on_both! {
    fn a_json_patch_makes_a_new_version(server) {
        stored(server, &organization_as("acme", "One"));
        let patched = json_patch(server, &json!([{"op": "test", "path": "/name", "value": "One"}, {"op": "replace", "path": "/name", "value": "Two"}]));
        assert_eq!((patched.status, version(&patched), &patched.body["name"]), (200, "2", &json!("Two")), "{patched}");
        assert_eq!(patched.header("etag"), Some("W/\"2\""));
        assert!(patched.header("last-modified").is_some());
        assert_eq!(server.get(URL).body, patched.body);
        assert_eq!(server.ids("Organization?name=two"), ["acme"]);
        assert!(server.ids("Organization?name=one").is_empty());
    }

    fn every_json_patch_operation_works(server) {
        stored(server, &with_aliases(&["a", "b"]));
        let patched = json_patch(server, &json!([
            {"op": "add", "path": "/alias/-", "value": "c"},
            {"op": "add", "path": "/alias/0", "value": "z"},
            {"op": "remove", "path": "/alias/1"},
            {"op": "copy", "from": "/name", "path": "/alias/1"},
            {"op": "move", "from": "/alias/0", "path": "/alias/2"},
            {"op": "test", "path": "/alias", "value": ["One", "b", "z", "c"]},
            {"op": "replace", "path": "/active", "value": false},
        ]));
        assert_eq!((patched.status, &patched.body["alias"]), (200, &json!(["One", "b", "z", "c"])), "{patched}");
        assert_eq!(patched.body["active"], false);
    }

    fn a_failed_test_is_refused_and_nothing_changes(server) {
        stored(server, &organization_as("acme", "One"));
        assert_refused(&json_patch(server, &json!([{"op": "replace", "path": "/name", "value": "Two"}, {"op": "test", "path": "/active", "value": false}])), 422);
        assert_untouched(server);
    }

    fn a_json_patch_of_nothing_is_refused(server) {
        stored(server, &organization_as("acme", "One"));
        for operation in [
            json!({"op": "replace", "path": "/alias", "value": ["a"]}), json!({"op": "remove", "path": "/alias/0"}), json!({"op": "add", "path": "/alias/3", "value": "a"}),
            json!({"op": "move", "from": "/alias", "path": "/name"}),
        ] {
            let answer = json_patch(server, &json!([operation]));
            assert!(matches!(answer.status, 400 | 409 | 422), "{operation}: {answer}");
            assert_refused(&answer, answer.status);
        }
        assert_untouched(server);
    }

    fn a_malformed_json_patch_is_400(server) {
        stored(server, &organization_as("acme", "One"));
        for document in [json!({"op": "remove", "path": "/name"}), json!([{"op": "drop", "path": "/name"}]), json!([{"path": "/name"}]), json!([{"op": "add", "path": "name", "value": "x"}]), json!([{"op": "add", "path": "/name"}]), json!([7])] {
            assert_refused(&json_patch(server, &document), 400);
        }
        assert_refused(&send(server, "PATCH", URL, &[("content-type", JSON_PATCH)], "[{"), 400);
        assert_refused(&send(server, "PATCH", URL, &[("content-type", JSON_PATCH)], ""), 400);
        assert_untouched(server);
    }

    fn a_patch_whose_result_is_invalid_is_refused(server) {
        stored(server, &organization_as("acme", "One"));
        for operation in [
            json!({"op": "add", "path": "/nmae", "value": "Two"}), json!({"op": "replace", "path": "/name", "value": 7}), json!({"op": "replace", "path": "/identifier", "value": []}),
            json!({"op": "replace", "path": "/id", "value": "bolt"}), json!({"op": "replace", "path": "/resourceType", "value": "Location"}), json!({"op": "remove", "path": "/resourceType"}),
            json!({"op": "replace", "path": "", "value": {"resourceType": "Organization", "id": "bolt", "name": "x"}}),
        ] {
            let answer = json_patch(server, &json!([operation]));
            assert!(matches!(answer.status, 400 | 422), "{operation}: {answer}");
            assert_refused(&answer, answer.status);
        }
        assert_untouched(server);
        assert_eq!(server.get("Organization/bolt").status, 404);
    }

    fn another_media_type_is_415(server) {
        stored(server, &organization_as("acme", "One"));
        for media_type in ["text/plain", "application/merge-patch+json", "application/x-www-form-urlencoded"] {
            assert_refused(&server.patch(URL, media_type, &json!([{"op": "replace", "path": "/name", "value": "Two"}])), 415);
        }
        let resource = server.patch(URL, FHIR_JSON, &organization_as("acme", "Two"));
        assert!(matches!(resource.status, 400 | 415 | 422), "a resource is no patch: {resource}");
        assert_untouched(server);
    }

    fn a_patch_of_what_is_not_here_is_404_or_410(server) {
        let operations = json!([{"op": "replace", "path": "/name", "value": "Two"}]);
        assert_refused(&json_patch(server, &operations), 404);
        stored(server, &organization_as("acme", "One"));
        server.delete(URL);
        assert_refused(&json_patch(server, &operations), 410);
        assert_refused(&server.patch("Patient/acme", JSON_PATCH, &operations), 404);
    }

    fn a_patch_honours_if_match(server) {
        stored(server, &organization_as("acme", "One"));
        let patch = |tag: &str, name: &str| {
            let operations = json!([{"op": "replace", "path": "/name", "value": name}]);
            send(server, "PATCH", URL, &[("content-type", JSON_PATCH), ("if-match", tag)], &operations.to_string())
        };
        assert_refused(&patch("W/\"2\"", "Two"), 412);
        assert_untouched(server);
        assert_eq!(patch("W/\"1\"", "Two").status, 200);
        assert_refused(&patch("W/\"1\"", "Three"), 412);
        assert_eq!(server.get(URL).body["name"], "Two");
    }

    fn a_patch_that_changes_nothing_makes_no_version(server) {
        stored(server, &organization_as("acme", "One"));
        let patched = json_patch(server, &json!([{"op": "replace", "path": "/name", "value": "One"}]));
        assert_eq!((patched.status, version(&patched)), (200, "1"), "{patched}");
        assert_eq!(json_patch(server, &json!([])).status, 200);
        assert_untouched(server);
    }

    fn concurrent_patches_all_take_effect(server) {
        stored(server, &with_aliases(&["0"]));
        thread::scope(|scope| {
            for n in 1..5 {
                scope.spawn(move || {
                    let patched = json_patch(server, &json!([{"op": "add", "path": "/alias/-", "value": n.to_string()}]));
                    assert_eq!(patched.status, 200, "{patched}");
                });
            }
        });
        let read = server.get(URL);
        let mut aliases: Vec<&str> = read.body["alias"].as_array().expect("aliases").iter().filter_map(Value::as_str).collect();
        aliases.sort_unstable();
        assert_eq!((version(&read), aliases), ("5", vec!["0", "1", "2", "3", "4"]));
    }

    fn a_fhirpath_patch_adds(server) {
        stored(server, &organization_as("acme", "One"));
        let patched = fhirpath_patch(server, parts("add", "Organization", &[json!({"name": "name", "valueString": "alias"}), json!({"name": "value", "valueString": "Uno"})]));
        assert_eq!((patched.status, version(&patched), &patched.body["alias"]), (200, "2", &json!(["Uno"])), "{patched}");
        let patched = fhirpath_patch(server, parts("add", "Organization", &[json!({"name": "name", "valueString": "alias"}), json!({"name": "value", "valueString": "Eins"})]));
        assert_eq!(patched.body["alias"], json!(["Uno", "Eins"]), "at the end: {patched}");
    }

    fn a_fhirpath_patch_inserts_moves_replaces_and_deletes_in_order(server) {
        stored(server, &with_aliases(&["a", "b", "c"]));
        let number = |name: &str, value: i32| json!({"name": name, "valueInteger": value});
        let patch = fhirpath(&[
            parts("insert", "Organization.alias", &[number("index", 1), json!({"name": "value", "valueString": "x"})]),
            parts("move", "Organization.alias", &[number("source", 3), number("destination", 0)]),
            parts("delete", "Organization.alias[1]", &[]),
            parts("replace", "Organization.name", &[json!({"name": "value", "valueString": "Two"})]),
            parts("replace", "Organization.identifier.where(system = 'urn:test').value", &[json!({"name": "value", "valueString": "2"})]),
        ]);
        let patched = server.patch(URL, FHIR_JSON, &patch);
        assert_eq!((patched.status, &patched.body["alias"]), (200, &json!(["c", "x", "b"])), "{patched}");
        assert_eq!((&patched.body["name"], &patched.body["identifier"][0]["value"]), (&json!("Two"), &json!("2")));
        assert_eq!(version(&patched), "2");
    }

    fn a_fhirpath_patch_takes_whole_and_anonymous_types(server) {
        stored(server, &organization_as("acme", "One"));
        let patch = fhirpath(&[
            parts("add", "Organization", &[json!({"name": "name", "valueString": "telecom"}), json!({"name": "value", "valueContactPoint": {"system": "phone", "value": "1"}})]),
            parts("add", "Organization", &[json!({"name": "name", "valueString": "contact"}), json!({"name": "value", "part": [{"name": "name", "valueHumanName": {"text": "Somebody"}}]})]),
        ]);
        let patched = server.patch(URL, FHIR_JSON, &patch);
        assert_eq!(patched.status, 200, "{patched}");
        assert_eq!(patched.body["telecom"], json!([{"system": "phone", "value": "1"}]));
        assert_eq!(patched.body["contact"], json!([{"name": {"text": "Somebody"}}]));
    }

    fn a_fhirpath_patch_may_be_xml(server) {
        stored(server, &organization_as("acme", "One"));
        let body = r#"<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/><part><name value="type"/><valueCode value="replace"/></part><part><name value="path"/><valueString value="Organization.name"/></part><part><name value="value"/><valueString value="Two"/></part></parameter></Parameters>"#;
        let patched = send(server, "PATCH", URL, &[("content-type", "application/fhir+xml")], body);
        assert_eq!((patched.status, &patched.body["name"]), (200, &json!("Two")), "{patched}");
    }

    fn a_fhirpath_patch_that_selects_nothing_is_an_error_except_to_delete(server) {
        stored(server, &organization_as("acme", "One"));
        let value = json!({"name": "value", "valueString": "x"});
        for operation in [
            parts("replace", "Organization.alias", std::slice::from_ref(&value)),
            parts("add", "Organization.contact", &[json!({"name": "name", "valueString": "purpose"}), value.clone()]),
            parts("insert", "Organization.alias", &[json!({"name": "index", "valueInteger": 1}), value]),
        ] {
            let answer = fhirpath_patch(server, operation.clone());
            assert!(matches!(answer.status, 400 | 422), "{operation}: {answer}");
            assert_refused(&answer, answer.status);
        }
        assert_untouched(server);
        let deleted = fhirpath_patch(server, parts("delete", "Organization.alias", &[]));
        assert_eq!(deleted.status, 200, "{deleted}");
        assert_untouched(server);
    }

    fn a_fhirpath_patch_that_selects_several_is_an_error(server) {
        let mut resource = with_aliases(&["a", "b"]);
        resource["id"] = json!("acme");
        stored(server, &resource);
        for operation in [parts("delete", "Organization.alias", &[]), parts("replace", "Organization.alias", &[json!({"name": "value", "valueString": "x"})])] {
            let answer = fhirpath_patch(server, operation);
            assert!(matches!(answer.status, 400 | 422), "{answer}");
        }
        assert_untouched(server);
    }

    fn a_fhirpath_patch_with_a_wrong_value_type_is_an_error(server) {
        stored(server, &organization_as("acme", "One"));
        for value in [json!({"name": "value", "valueBoolean": true}), json!({"name": "value", "valueInteger": 7}), json!({"name": "value", "valueCoding": {"code": "x"}})] {
            let answer = fhirpath_patch(server, parts("replace", "Organization.name", std::slice::from_ref(&value)));
            assert!(matches!(answer.status, 400 | 422), "{value}: {answer}");
        }
        assert_untouched(server);
    }

    fn a_malformed_fhirpath_patch_is_refused(server) {
        stored(server, &organization_as("acme", "One"));
        let value = json!({"name": "value", "valueString": "x"});
        for operation in [
            json!([]), parts("rename", "Organization.name", std::slice::from_ref(&value)), parts("replace", "Organization.name", &[]), parts("replace", "Organization..name", std::slice::from_ref(&value)),
            parts("replace", "Location.name", std::slice::from_ref(&value)), parts("add", "Organization", std::slice::from_ref(&value)), parts("replace", "Organization.id", &[value]),
            parts("move", "Organization.identifier", &[json!({"name": "source", "valueInteger": 0}), json!({"name": "destination", "valueInteger": 5})]),
        ] {
            let answer = fhirpath_patch(server, operation.clone());
            assert!(matches!(answer.status, 400 | 422), "{operation}: {answer}");
            assert_refused(&answer, answer.status);
        }
        assert_untouched(server);
    }

    fn a_later_failure_undoes_the_whole_patch(server) {
        stored(server, &organization_as("acme", "One"));
        let patch = fhirpath(&[
            parts("replace", "Organization.name", &[json!({"name": "value", "valueString": "Two"})]),
            parts("replace", "Organization.alias", &[json!({"name": "value", "valueString": "x"})]),
        ]);
        assert!(matches!(server.patch(URL, FHIR_JSON, &patch).status, 400 | 422));
        assert_untouched(server);
    }

    fn a_patch_leaves_no_narrative_that_says_something_else(server) {
        let mut resource = organization("One");
        resource["text"] = json!({"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">One</div>"});
        for (id, status) in [("made", "generated"), ("written", "additional")] {
            resource["id"] = json!(id);
            resource["text"]["status"] = json!(status);
            stored(server, &resource);
            let patched = server.patch(&format!("Organization/{id}"), JSON_PATCH, &json!([{"op": "replace", "path": "/name", "value": "Two"}]));
            let read = server.get(&format!("Organization/{id}"));
            if patched.status == 200 {
                assert_eq!((status, &read.body["name"]), ("generated", &json!("Two")), "{read}");
                assert!(!read.body["text"]["div"].as_str().is_some_and(|div| div.contains("One")), "{read}");
            } else {
                assert_refused(&patched, 422);
                assert_eq!((status, version(&read)), ("additional", "1"), "{read}");
            }
        }
    }

    fn a_patch_that_brings_its_narrative_keeps_it(server) {
        let mut resource = organization_as("acme", "One");
        resource["text"] = json!({"status": "additional", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">One</div>"});
        stored(server, &resource);
        let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\">Two</div>";
        let patched = json_patch(server, &json!([{"op": "replace", "path": "/name", "value": "Two"}, {"op": "replace", "path": "/text/div", "value": div}]));
        assert_eq!((patched.status, &patched.body["text"]["div"]), (200, &json!(div)), "{patched}");
        let tagged = json_patch(server, &json!([{"op": "add", "path": "/meta/tag", "value": [{"code": "x"}]}]));
        assert_eq!((tagged.status, &tagged.body["text"]["div"]), (200, &json!(div)), "a tag is no content: {tagged}");
    }
}
