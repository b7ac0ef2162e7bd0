//! What reviews found: verdicts that were wrong once.

use plumbline::fhir::outcome::Severity;
use plumbline::validate::Enforce;
use serde_json::{Value, json};

use super::definitions::{errors, extension, profile, validator as with};
use super::validator;

fn plan_net_errors(resource: &Value) -> Vec<String> {
    let issues = validator().validate(resource, Enforce::PlanNet, &[]).issues;
    let errors = issues.iter().filter(|issue| issue.severity == Severity::Error);
    errors.map(|issue| format!("{} {}", issue.code.as_str(), issue.expression.as_deref().unwrap_or_default())).collect()
}

fn organization(id: &str, rest: Value) -> Value {
    let mut organization = super::writes::organization(id);
    organization.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
    organization
}

#[test]
fn a_profile_whose_targets_or_codes_are_not_loaded_leaves_those_of_the_base() {
    let all = with(&[profile(
        "test",
        "PractitionerRole",
        &[
            json!({"id": "PractitionerRole.organization", "type": [{"code": "Reference", "targetProfile": ["http://nowhere.org/organization"]}]}),
        ],
    )]);
    let role = |reference: &str| json!({"resourceType": "PractitionerRole", "organization": {"reference": reference}});
    assert_eq!(errors(&all, role("Practitioner/1")), ["value PractitionerRole.organization"]);
    assert_eq!(errors(&all, role("Organization/1")), [""; 0]);

    let all = with(&[profile(
        "test",
        "Endpoint",
        &[json!({"id": "Endpoint.status", "binding": {"strength": "required", "valueSet": "http://nowhere.org/set"}})],
    )]);
    let endpoint = json!({"resourceType": "Endpoint", "status": "nonsense", "connectionType": {"code": "x"}, "payloadType": [{"text": "x"}], "address": "http://x"});
    assert_eq!(errors(&all, endpoint), ["code-invalid Endpoint.status"]);
}

#[test]
fn weak_bindings_ask_for_nothing_but_their_maximum() {
    let set = json!({"resourceType": "ValueSet", "url": "urn:set", "compose": {"include": [{"system": "urn:s", "concept": [{"code": "a"}]}]}});
    let bound = |binding: Value| {
        with(&[
            set.clone(),
            profile("test", "Practitioner", &[json!({"id": "Practitioner.qualification.code", "binding": binding})]),
        ])
    };
    let resource = json!({"resourceType": "Practitioner", "meta": {"profile": ["urn:test"]}, "qualification": [{"code": {"coding": [{"system": "urn:s", "code": "b"}]}}]});
    let codes = |binding: Value| {
        let issues = bound(binding).validate(&resource, Enforce::Base, &[]).issues;
        issues
            .iter()
            .filter(|issue| issue.code.as_str() == "code-invalid")
            .map(|issue| issue.severity)
            .collect::<Vec<_>>()
    };
    assert_eq!(codes(json!({"strength": "example", "valueSet": "urn:set"})), []);
    assert_eq!(codes(json!({"strength": "preferred", "valueSet": "urn:set"})), []);
    assert_eq!(codes(json!({"strength": "extensible", "valueSet": "urn:set"})), [Severity::Warning]);
    let max = json!([{"url": "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet", "valueCanonical": "urn:set"}]);
    assert_eq!(codes(json!({"extension": max, "strength": "preferred", "valueSet": "urn:other"})), [Severity::Error]);
}

#[test]
fn slices_that_cannot_be_told_apart_refuse_nothing() {
    let sliced = |kind: &str, path: &str, slice: Value| {
        with(&[profile(
            "test",
            "Practitioner",
            &[
                json!({"id": "Practitioner.communication", "slicing": {"discriminator": [{"type": kind, "path": path}], "rules": "closed"}}),
                slice,
            ],
        )])
    };
    let unknown = json!({"id": "Practitioner.communication:a", "min": 1, "binding": {"strength": "required", "valueSet": "http://nowhere.org/set"}});
    let spoken = json!({"resourceType": "Practitioner", "communication": [{"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]}]});
    let all = sliced("value", "$this", unknown);
    assert_eq!(errors(&all, spoken.clone()), [""; 0]);
    let mut claims = spoken;
    claims["meta"] = json!({"profile": ["urn:test"]});
    assert!(
        all.validate(&claims, Enforce::Base, &[])
            .issues
            .iter()
            .any(|issue| issue.diagnostics.contains("cannot be told"))
    );

    // An extension has its URL whether or not its definition is loaded.
    let all = with(&[profile(
        "test",
        "Practitioner",
        &[
            json!({"id": "Practitioner.extension:foo", "min": 1, "type": [{"code": "Extension", "profile": ["http://nowhere.org/foo"]}]}),
        ],
    )]);
    let extended = |url: &str| json!({"resourceType": "Practitioner", "extension": [{"url": url, "valueCode": "a"}]});
    assert_eq!(errors(&all, extended("http://nowhere.org/foo")), [""; 0]);
    assert_eq!(errors(&all, extended("http://nowhere.org/bar")), ["required Practitioner.extension"]);
}

#[test]
fn what_definitions_ask_and_nobody_looks_at_is_named() {
    for (element, part) in [
        (json!({"id": "Practitioner.name", "maxLength": 3}), "maxLength"),
        (json!({"id": "Practitioner.birthDate", "minValueDate": "1900-01-01"}), "minValueDate"),
        (
            json!({"id": "Practitioner", "constraint": [{"key": "x-1", "severity": "error", "human": "x", "xpath": "f:x"}]}),
            "without FHIRPath",
        ),
        (json!({"id": "Practitioner.identifier:a/b", "min": 1}), "slices of slices"),
    ] {
        let all = with(&[profile("test", "Practitioner", &[element])]);
        assert!(
            all.problems().any(|problem| problem.contains(part)),
            "{part}: {:?}",
            all.problems().collect::<Vec<_>>()
        );
    }
    // A constraint that only has the key of a base one is the profile's own.
    let own = with(&[profile(
        "test",
        "Practitioner",
        &[
            json!({"id": "Practitioner", "constraint": [{"key": "ref-1", "severity": "error", "human": "x", "expression": "name.exists()"}]}),
        ],
    )]);
    assert_eq!(errors(&own, json!({"resourceType": "Practitioner"})), ["invariant Practitioner"]);
}

#[test]
fn targets_are_judged_in_their_own_place() {
    // The root, looked at for the sake of what it contains, is not contained itself.
    let contained = json!({"resourceType": "Organization", "id": "c", "active": true, "name": "c",
        "meta": {"profile": [format!("{}/plannet-Organization", super::writes::STRUCTURES)]},
        "type": organization("c", json!({}))["type"], "address": [{"city": "x"}], "partOf": {"reference": "#"}});
    let whole = organization("o", json!({"contained": [contained], "partOf": {"reference": "#c"}}));
    assert_eq!(plan_net_errors(&whole), [""; 0]);

    // However long the chain, and in whichever order, each has a verdict of its own.
    let entries = |ids: &mut dyn Iterator<Item = u32>| -> Value {
        let entry = |n: u32| {
            json!({"fullUrl": format!("http://example.org/fhir/Organization/{n}"),
            "resource": organization(&n.to_string(), json!({"partOf": {"reference": format!("Organization/{}", n + 1)}}))})
        };
        json!({"resourceType": "Bundle", "type": "collection", "entry": ids.map(entry).collect::<Vec<_>>()})
    };
    assert_eq!(plan_net_errors(&entries(&mut (0..300))), [""; 0]);
    assert_eq!(plan_net_errors(&entries(&mut (0..300).rev())), [""; 0]);
}

#[test]
fn only_urls_of_resources_have_a_type() {
    let part_of = |reference: &str| plan_net_errors(&organization("o", json!({"partOf": {"reference": reference}})));
    assert_eq!(part_of("https://registry.example.com/Providers/123"), [""; 0]);
    assert_eq!(part_of("https://example.com/fhir/Patient/123"), ["value Organization.partOf"]);
    assert_eq!(part_of("https://example.com/fhir/Organization/123"), [""; 0]);
}

#[test]
fn contexts_may_name_their_definition_and_the_type_of_what_is_contained() {
    let flag = |name: &str, context: &str| {
        extension(
            name,
            &[
                json!({"id": "Extension.url", "fixedUri": format!("urn:{name}")}),
                json!({"id": "Extension.value[x]", "min": 1, "type": [{"code": "boolean"}]}),
            ],
            &[("element", context)],
        )
    };
    let all = with(&[
        flag("a", "http://hl7.org/fhir/StructureDefinition/Practitioner#Practitioner.name"),
        flag("b", "Practitioner.telecom"),
        profile("test", "PractitionerRole", &[]),
    ]);
    let is = |name: &str| json!([{"url": format!("urn:{name}"), "valueBoolean": true}]);
    let role = json!({"resourceType": "PractitionerRole", "practitioner": {"reference": "#p"}, "contained": [{"resourceType": "Practitioner", "id": "p",
        "name": [{"text": "x", "extension": is("a")}], "telecom": [{"system": "phone", "value": "1", "extension": is("b")}]}]});
    assert_eq!(errors(&all, role), [""; 0]);
}

#[test]
fn a_contained_id_is_used_once() {
    let endpoint = json!({"resourceType": "Endpoint", "id": "e", "status": "active", "connectionType": {"code": "x"}, "payloadType": [{"text": "x"}], "address": "http://x"});
    let mut resource = organization("o", json!({"contained": [endpoint, endpoint], "endpoint": [{"reference": "#e"}]}));
    assert_eq!(plan_net_errors(&resource), ["duplicate Organization.contained[0].id"]);
    resource["contained"][0]["id"] = json!("f");
    resource["endpoint"] = json!([{"reference": "#e"}, {"reference": "#f"}]);
    assert_eq!(plan_net_errors(&resource), [""; 0]);
}

#[test]
fn large_bundles_are_judged_whole() {
    let entry = json!({"request": {"method": "GET", "url": "Practitioner/1"}});
    let mut bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": vec![entry; 20_000]});
    assert_eq!(plan_net_errors(&bundle), [""; 0]);
    bundle["type"] = json!("collection");
    assert_eq!(plan_net_errors(&bundle), ["invariant Bundle"]);
}

#[test]
fn entries_and_contained_resources_say_what_of_them_is_not_checked() {
    let all = with(&[profile("test", "Practitioner", &[json!({"id": "Practitioner.name", "maxLength": 3})])]);
    let practitioner = json!({"resourceType": "Practitioner", "id": "p", "meta": {"profile": ["urn:test"]}});
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": practitioner}]});
    let told = |resource: &Value| {
        all.validate(resource, Enforce::Base, &[]).issues.iter().any(|issue| issue.diagnostics.contains("maxLength"))
    };
    assert!(told(&practitioner) && told(&bundle));
}
