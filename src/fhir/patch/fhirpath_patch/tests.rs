use serde_json::json;

use super::*;

fn is_list(path: &str) -> Option<bool> {
    match path {
        "Patient.name" | "Patient.name.given" | "Patient.contact" | "Patient.identifier" => Some(true),
        "Patient.contact.telecom" => Some(true),
        path if path.ends_with(".extension") => Some(true),
        "Patient.birthDate" | "Patient.gender" | "Patient.deceasedBoolean" | "Patient.name.family" => Some(false),
        "Patient.extension.valueString" | "Patient.contact.name" | "Patient.active" => Some(false),
        _ => None,
    }
}

/// Parts from `(name, key, value)`, as an operation parameter.
fn operation(parts: Value) -> Value {
    let part = |(name, value): (&String, &Value)| {
        let mut part = value.clone();
        part["name"] = name.as_str().into();
        part
    };
    let parts: Vec<_> = parts.as_object().unwrap().iter().map(part).collect();
    json!({"name": "operation", "part": parts})
}

fn on(kind: &str, path: &str, more: Value) -> Value {
    let mut parts = json!({"type": {"valueCode": kind}, "path": {"valueString": path}});
    more.as_object().unwrap().iter().for_each(|(key, value)| parts[key] = value.clone());
    operation(parts)
}

fn before() -> Value {
    json!({
        "resourceType": "Patient",
        "id": "p",
        "meta": {"versionId": "1", "tag": [{"code": "t"}]},
        "name": [{"given": ["A", "B", "C"], "_given": [null, {"id": "b"}, null]}, {"family": "F"}],
        "identifier": [{"value": "0"}, {"value": "1"}, {"value": "2"}, {"value": "3"}],
        "birthDate": "1920-01-01",
        "deceasedBoolean": true,
        "maritalStatus": {"coding": [{"code": "M"}]},
    })
}

/// What becomes of some members, null for those that are gone; or the status and what the message must contain.
fn check(operations: &[Value], want: Result<Value, (u16, &str)>) {
    let parameters = json!({"resourceType": "Parameters", "parameter": operations});
    let mut resource = before();
    let outcome = apply(&mut resource, &parameters, &is_list);
    match (outcome, want) {
        (Ok(()), Ok(changes)) => {
            let mut want = before();
            for (key, value) in changes.as_object().unwrap() {
                match value.is_null() {
                    true => drop(want.as_object_mut().unwrap().remove(key)),
                    false => want[key] = value.clone(),
                }
            }
            assert_eq!(resource, want, "{parameters}");
        }
        (Err(error), Err((status, text))) => {
            assert_eq!(error.kind.status(), status, "{error}");
            assert!(error.to_string().contains(text), "{error} lacks {text}");
            assert_eq!(resource, before());
        }
        (got, want) => panic!("{parameters}: {got:?}, not {want:?}"),
    }
}

#[test]
fn add() {
    let add = |path: &str, name: &str, value: Value, want: Value| {
        check(&[on("add", path, json!({"name": {"valueString": name}, "value": value}))], Ok(want));
    };
    add("Patient", "gender", json!({"valueCode": "male"}), json!({"gender": "male"}));
    add(
        "Patient",
        "contact",
        json!({"part": [
            {"name": "name", "valueHumanName": {"text": "a"}},
            {"name": "telecom", "valueContactPoint": {"value": "1"}},
            {"name": "period", "part": [{"name": "start", "valueDateTime": "2020"}]},
        ]}),
        json!({"contact": [{"name": {"text": "a"}, "telecom": [{"value": "1"}], "period": {"start": "2020"}}]}),
    );
    add(
        "Patient",
        "extension",
        json!({"part": [
            {"name": "url", "valueUri": "http://x"},
            {"name": "value", "valueString": "v"},
        ]}),
        json!({"extension": [{"url": "http://x", "valueString": "v"}]}),
    );
    add(
        "Patient.name[1]",
        "given",
        json!({"valueString": "N"}),
        json!({"name": [
            {"given": ["A", "B", "C"], "_given": [null, {"id": "b"}, null]}, {"family": "F", "given": ["N"]},
        ]}),
    );
    add(
        "Patient.name[0]",
        "given",
        json!({"valueString": "N", "_valueString": {"id": "n"}}),
        json!({"name": [
            {"given": ["A", "B", "C", "N"], "_given": [null, {"id": "b"}, null, {"id": "n"}]}, {"family": "F"},
        ]}),
    );
    add(
        "Patient.birthDate",
        "extension",
        json!({"part": [{"name": "url", "valueUri": "u"}]}),
        json!({"_birthDate": {"extension": [{"url": "u"}]}}),
    );
    add(
        "Patient.name[0].given[1]",
        "extension",
        json!({"part": [{"name": "url", "valueUri": "u"}]}),
        json!({"name": [
            {"given": ["A", "B", "C"], "_given": [null, {"id": "b", "extension": [{"url": "u"}]}, null]}, {"family": "F"},
        ]}),
    );
    // Not known to the definitions, but a list as it stands.
    add(
        "Patient.maritalStatus",
        "coding",
        json!({"valueCoding": {"code": "N"}}),
        json!({"maritalStatus": {"coding": [{"code": "M"}, {"code": "N"}]}}),
    );
}

#[test]
fn replace() {
    let replace = |path: &str, value: Value, want: Value| {
        check(&[on("replace", path, json!({"value": value}))], Ok(want));
    };
    replace("Patient.birthDate", json!({"valueDate": "1930"}), json!({"birthDate": "1930"}));
    replace(
        "Patient.deceased",
        json!({"valueDateTime": "2020"}),
        json!({"deceasedBoolean": null, "deceasedDateTime": "2020"}),
    );
    replace("Patient.deceased", json!({"valueBoolean": false}), json!({"deceasedBoolean": false}));
    replace(
        "Patient.maritalStatus.coding.where(code = 'M').code",
        json!({"valueCode": "S"}),
        json!({"maritalStatus": {"coding": [{"code": "S"}]}}),
    );
    replace(
        "Patient.name.given[1]",
        json!({"valueString": "X"}),
        json!({"name": [{"given": ["A", "X", "C"]}, {"family": "F"}]}),
    );
    replace(
        "name.where(family = 'F')",
        json!({"valueHumanName": {"text": "T"}}),
        json!({"name": [
            {"given": ["A", "B", "C"], "_given": [null, {"id": "b"}, null]}, {"text": "T"},
        ]}),
    );
}

#[test]
fn delete() {
    let delete = |path: &str, want: Value| check(&[on("delete", path, json!({}))], Ok(want));
    delete("Patient.gender", json!({}));
    delete("Patient.deceased", json!({"deceasedBoolean": null}));
    delete("Patient.maritalStatus.coding.code", json!({"maritalStatus": null}));
    delete(
        "Patient.name.given.first()",
        json!({"name": [
            {"given": ["B", "C"], "_given": [{"id": "b"}, null]}, {"family": "F"},
        ]}),
    );
    delete("Patient.name.given[1]", json!({"name": [{"given": ["A", "C"]}, {"family": "F"}]}));
    delete(
        "Patient.name[1].family",
        json!({"name": [
            {"given": ["A", "B", "C"], "_given": [null, {"id": "b"}, null]},
        ]}),
    );
    delete("Patient.name.given[1].id", json!({"name": [{"given": ["A", "B", "C"]}, {"family": "F"}]}));
    delete("Patient.meta.tag", json!({"meta": {"versionId": "1"}}));
}

#[test]
fn insert_and_move() {
    let list = |order: &[&str]| {
        let items: Vec<_> = order.iter().map(|n| json!({ "value": n })).collect();
        json!({ "identifier": items })
    };
    let insert = |index: u32, want: &[&str]| {
        let more = json!({"index": {"valueInteger": index}, "value": {"valueIdentifier": {"value": "n"}}});
        check(&[on("insert", "Patient.identifier", more)], Ok(list(want)));
    };
    insert(0, &["n", "0", "1", "2", "3"]);
    insert(2, &["0", "1", "n", "2", "3"]);
    insert(4, &["0", "1", "2", "3", "n"]);
    let relocate = |from: u32, to: u32| {
        on("move", "Patient.identifier", json!({"source": {"valueInteger": from}, "destination": {"valueInteger": to}}))
    };
    check(&[relocate(3, 1)], Ok(list(&["0", "3", "1", "2"])));
    check(&[relocate(0, 3)], Ok(list(&["1", "2", "3", "0"])));
    check(&[relocate(3, 0), relocate(3, 1)], Ok(list(&["3", "2", "0", "1"])));
    let given = json!({"source": {"valueInteger": 1}, "destination": {"valueInteger": 0}});
    check(
        &[on("move", "Patient.name[0].given", given)],
        Ok(json!({"name": [
            {"given": ["B", "A", "C"], "_given": [{"id": "b"}, null, null]}, {"family": "F"},
        ]})),
    );
}

#[test]
fn refusals() {
    let first = on("delete", "Patient.name[1]", json!({}));
    let refuse = |second: Value, status, text| check(&[first.clone(), second], Err((status, text)));
    let value = json!({"value": {"valueString": "x"}});
    let named = |name: &str, value: Value| json!({"name": {"valueString": name}, "value": value});
    refuse(on("replace", "Patient.gender", value.clone()), 422, "Operation 1 of the FHIRPath Patch ('replace' at");
    refuse(on("replace", "Patient.identifier", value.clone()), 422, "selects 4 elements");
    refuse(on("replace", "Patient", value.clone()), 422, "the resource itself");
    refuse(on("replace", "Patient.id", value.clone()), 422, "the id");
    refuse(on("replace", "Patient.meta.versionId", value.clone()), 422, "version");
    refuse(on("delete", "Patient.meta", json!({})), 422, "version");
    refuse(on("delete", "Patient.identifier", json!({})), 422, "selects 4 elements");
    refuse(on("delete", "Patient.name.count()", json!({})), 422, "no element of the resource");
    refuse(on("add", "Patient", named("birthDate", json!({"valueDate": "2020"}))), 422, "already");
    refuse(
        on("add", "Patient", named("deceased[x]", json!({"valueDateTime": "2020"}))),
        422,
        "'deceasedBoolean' already",
    );
    refuse(on("add", "Patient.contact", named("name", json!({"valueString": "2"}))), 422, "selects nothing");
    refuse(on("add", "Patient", named("_x", json!({"valueString": "2"}))), 400, "no name");
    let at = |index: u32| json!({"index": {"valueInteger": index}, "value": {"valueString": "x"}});
    refuse(on("insert", "Patient.identifier", at(5)), 422, "beyond the list");
    refuse(on("insert", "Patient.birthDate", at(0)), 422, "whole list");
    refuse(on("insert", "Patient.identifier.skip(1)", at(0)), 422, "whole list");
    let far = json!({"source": {"valueInteger": 4}, "destination": {"valueInteger": 0}});
    refuse(on("move", "Patient.identifier", far), 422, "4 elements only");
    refuse(on("move", "Patient.identifier", json!({})), 400, "has no part 'source'");
    refuse(on("merge", "Patient", json!({})), 400, "unknown type 'merge'");
    refuse(on("replace", "Patient.(", value.clone()), 400, "a name is expected");
    refuse(on("replace", "Patient.gender", json!({})), 400, "has no part 'value'");
    refuse(on("replace", "Patient.gender", json!({"value": {"value": 1}})), 400, "neither");
    let costly = format!("descendants(){}", ".select(%resource.descendants())".repeat(4));
    refuse(on("replace", &costly, value), 422, "too many");
    refuse(json!({"name": "other"}), 400, "not named 'operation'");
    assert!(apply(&mut before(), &json!({"resourceType": "Patient"}), &is_list).is_err());
}
