//! The structure of resources, whatever the profile.

use std::sync::{Arc, LazyLock};

use serde_json::json;

use super::*;
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::terminology::Terminology;
use crate::validate::{Enforce, Validator};

/// All that is wrong with the structure of a resource.
fn check(resource: &Value) -> Vec<Issue> {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        Validator::new(Arc::new(Terminology::with(Vec::new()).expect("the built-in terminology")), &[])
    });
    VALIDATOR.validate(resource, Enforce::Off, &[]).issues
}

/// Checks a resource, with issues written as `FHIRPath code`.
#[track_caller]
fn check_resource(resource: Value, expected: &[&str]) {
    let found: Vec<_> = check(&resource)
        .iter()
        .map(|issue| format!("{} {}", issue.expression.as_deref().unwrap_or_default(), issue.code.as_str()))
        .collect();
    assert_eq!(found, expected, "{resource}: {:#?}", check(&resource));
}

/// The same for the properties of a Practitioner, with `Practitioner.` left out.
#[track_caller]
fn check_practitioner(mut properties: Value, expected: &[&str]) {
    properties["resourceType"] = "Practitioner".into();
    let expected: Vec<_> = expected.iter().map(|issue| format!("Practitioner.{issue}")).collect();
    check_resource(properties, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn valid_resources_have_no_issues() {
    check_practitioner(json!({}), &[]);
    check_practitioner(json!({"id": "a", "_id": {"extension": [{"url": "x", "valueCode": "y"}]}}), &[]);
    check_practitioner(json!({"meta": {"lastUpdated": "2025-09-16T13:55:11.1234567+00:00"}}), &[]);
    check_practitioner(json!({"telecom": [{"extension": [{"url": "http://x", "valueBoolean": true}]}]}), &[]);
    check_practitioner(json!({"qualification": [{"code": {"text": "MD"}, "issuer": {"display": "x"}}]}), &[]);
    check_practitioner(
        json!({"extension": [{"url": "x", "extension": [{"url": "y", "_valueDate": {"extension":
        [{"url": "z", "valueCode": "unknown"}]}}]}]}),
        &[],
    );
    check_practitioner(json!({"birthDate": "1970", "_birthDate": {"id": "b"}}), &[]);
    check_practitioner(
        json!({"name": [{"given": ["A", null], "_given": [null, {"extension": [{"url": "x", "valueString": "B"}]}]}]}),
        &[],
    );
    check_resource(
        json!({"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "x"}}]}),
        &[],
    );
}

#[test]
fn all_issues_are_found_in_one_walk() {
    check_practitioner(
        json!({"active": "yes", "nmae": [], "name": [{"family": ""}, {"given": "A"}], "birthDate": "1970-02-30"}),
        &["active structure", "nmae structure", "name[0].family value", "name[1].given structure", "birthDate value"],
    );
    let issues = check(&json!({"resourceType": "Practitioner", "nmae": []}));
    let text = "Practitioner has no property 'nmae'; did you mean 'name'?";
    assert_eq!(issues.iter().map(|issue| &*issue.diagnostics).collect::<Vec<_>>(), [text]);
}

#[test]
fn resource_types() {
    check_resource(json!([]), &["Resource structure"]);
    check_resource(json!({}), &["Resource required"]);
    check_resource(json!({"resourceType": 5}), &["Resource structure"]);
    check_resource(json!({"resourceType": "Patient"}), &["Patient not-supported"]);
    check_resource(json!({"resourceType": "HumanName"}), &["HumanName not-supported"]);
    check_resource(json!({"resourceType": "DomainResource"}), &["DomainResource not-supported"]);
    check_resource(json!({"resourceType": "a b"}), &["Resource not-supported"]);
    check_practitioner(json!({"name": [{"resourceType": "HumanName"}]}), &["name[0].resourceType structure"]);
}

#[test]
fn json_types_and_cardinality() {
    check_practitioner(json!({"name": {"family": "A"}}), &["name structure"]);
    check_practitioner(json!({"active": [true]}), &["active structure"]);
    check_practitioner(json!({"active": {}}), &["active structure"]);
    check_practitioner(json!({"active": null}), &["active structure"]);
    check_practitioner(json!({"name": []}), &["name structure"]);
    check_practitioner(json!({"name": [null, 5]}), &["name[0] structure", "name[1] structure"]);
    check_practitioner(json!({"name": [{}, {"id": "a"}]}), &["name[0] invariant", "name[1] invariant"]);
    check_practitioner(
        json!({"qualification": [{"id": "a"}]}),
        &["qualification[0].code required", "qualification[0] invariant"],
    );
    check_resource(
        json!({"resourceType": "Endpoint", "status": "active", "payloadType": [{"text": "a"}]}),
        &["Endpoint.connectionType required", "Endpoint.address required"],
    );
}

#[test]
fn primitive_siblings() {
    check_practitioner(json!({"_birthDate": {"id": "a"}}), &["birthDate invariant"]);
    check_practitioner(json!({"birthDate": "1970", "_birthDate": {}}), &["birthDate invariant"]);
    check_practitioner(json!({"birthDate": "1970", "_birthDate": []}), &["birthDate structure"]);
    check_practitioner(json!({"birthDate": "1970", "_birthDate": {"value": 1}}), &["birthDate.value structure"]);
    check_practitioner(json!({"_name": [{}]}), &["_name structure"]);
    check_practitioner(json!({"name": [{"given": [null]}]}), &["name[0].given[0] structure"]);
    check_practitioner(json!({"name": [{"given": ["A", "B"], "_given": [{"id": "a"}]}]}), &["name[0].given structure"]);
    check_practitioner(json!({"name": [{"_given": [null]}]}), &["name[0].given[0] structure"]);
    check_practitioner(json!({"name": [{"given": ["A"], "_given": {"id": "a"}}]}), &["name[0].given structure"]);
}

#[test]
fn choices_and_extensions() {
    check_practitioner(
        json!({"extension": [{"url": "x", "valueString": "a", "valueCode": "b"}]}),
        &["extension[0].value.ofType(code) structure"],
    );
    check_practitioner(
        json!({"extension": [{"url": "x", "valueInteger": "1"}]}),
        &["extension[0].value.ofType(integer) structure"],
    );
    check_practitioner(json!({"extension": [{"valueString": "a"}]}), &["extension[0].url required"]);
    check_practitioner(json!({"extension": [{"url": "x"}]}), &["extension[0] invariant"]);
    check_practitioner(json!({"extension": [{"url": "x", "value": 1}]}), &["extension[0].value structure"]);
    check_practitioner(
        json!({"extension": [{"url": "x", "valueCode": "a", "extension": [{"url": "y", "valueCode": "b"}]}]}),
        &["extension[0] invariant"],
    );
}

#[test]
fn contained_resources() {
    let location = json!({"resourceType": "Location", "id": "a"});
    check_practitioner(json!({"contained": [location]}), &[]);
    check_practitioner(json!({"contained": [{"resourceType": "Location"}]}), &["contained[0] required"]);
    check_practitioner(json!({"contained": [{"id": "a"}, 5]}), &["contained[0] required", "contained[1] structure"]);
    check_practitioner(
        json!({"contained": [{"resourceType": "Location", "id": "a", "nmae": 1}]}),
        &["contained[0].nmae structure"],
    );
    let nested = json!({"resourceType": "Location", "id": "b", "contained": [location, location]});
    check_practitioner(
        json!({"contained": [nested]}),
        &["contained[0].contained[0] invariant", "contained[0].contained[1] invariant"],
    );
}

#[test]
fn references_have_a_shape() {
    check_practitioner(
        json!({"qualification": [{"code": {"text": "a"}, "issuer": {"reference": "nowhere"}}]}),
        &["qualification[0].issuer.reference value"],
    );
}

#[test]
fn hostile_bodies_are_bounded() {
    let issues = check(&json!({"resourceType": "Practitioner", "name": vec![5; 5000]}));
    assert_eq!(issues.len(), MAX_ISSUES + 1);
    assert!(issues.last().is_some_and(|issue| issue.code == IssueCode::TooCostly));
    let mut deep = json!({"url": "x", "valueCode": "a"});
    for _ in 0..200 {
        deep = json!({"url": "x", "extension": [deep]});
    }
    let issues = check(&json!({"resourceType": "Practitioner", "extension": [deep]}));
    assert!(issues.iter().any(|issue| issue.diagnostics == "Nested too deeply"));
    let names = json!({"resourceType": "Practitioner", "a\u{0}".repeat(500): 1});
    check_resource(names, &["Practitioner structure"]);
}
