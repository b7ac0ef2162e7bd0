//! Profiles that Plan-Net does not have: every way of slicing, closed and ordered slices, alternatives of profiles, contexts
//! of extensions, differentials and snapshots, and definitions that cannot be used.

use std::sync::Arc;

use plumbline::fhir::outcome::Severity;
use plumbline::fhir::terminology::Terminology;
use plumbline::validate::{Enforce, Validator};
use serde_json::{Value, json};

const PRACTITIONER: &str = "http://hl7.org/fhir/StructureDefinition/Practitioner";

/// A profile `urn:NAME` of a type, as a differential.
pub fn profile(name: &str, type_name: &str, elements: &[Value]) -> Value {
    json!({"resourceType": "StructureDefinition", "url": format!("urn:{name}"), "derivation": "constraint", "type": type_name,
        "baseDefinition": format!("http://hl7.org/fhir/StructureDefinition/{type_name}"), "differential": {"element": elements}})
}

pub fn extension(name: &str, elements: &[Value], context: &[(&str, &str)]) -> Value {
    let mut definition = profile(name, "Extension", elements);
    definition["context"] = context.iter().map(|(kind, at)| json!({"type": kind, "expression": at})).collect();
    definition
}

pub fn validator(documents: &[Value]) -> Validator {
    let terminology = Arc::new(Terminology::with(documents.to_vec()).expect("terminology"));
    Validator::new(terminology, documents)
}

/// Errors as `code expression` of a resource held to `urn:test`.
pub fn errors(validator: &Validator, mut resource: Value) -> Vec<String> {
    resource["meta"] = json!({"profile": ["urn:test"]});
    let issues = validator.validate(&resource, Enforce::Base, &[]).issues;
    assert!(!issues.iter().any(|issue| issue.diagnostics.contains("'urn:test' is not loaded")), "{issues:?}");
    let errors = issues.iter().filter(|issue| issue.severity == Severity::Error);
    errors.map(|issue| format!("{} {}", issue.code.as_str(), issue.expression.as_deref().unwrap_or_default())).collect()
}

fn sliced(kind: &str, path: &str, rules: &str, slices: &[Value]) -> Vec<Value> {
    let mut elements = vec![json!({"id": "Practitioner.identifier", "slicing": {
        "discriminator": [{"type": kind, "path": path}], "ordered": rules == "ordered", "rules": if rules == "ordered" { "open" } else { rules }}})];
    elements.extend_from_slice(slices);
    elements
}

fn identifiers(items: &[Value]) -> Value {
    json!({"resourceType": "Practitioner", "identifier": items})
}

#[test]
fn slices_by_value_pattern_existence_and_type() {
    let by_value = validator(&[profile(
        "test",
        "Practitioner",
        &sliced(
            "value",
            "system",
            "open",
            &[
                json!({"id": "Practitioner.identifier:a", "min": 1, "max": "1"}),
                json!({"id": "Practitioner.identifier:a.system", "min": 1, "fixedUri": "urn:a"}),
                json!({"id": "Practitioner.identifier:a.value", "min": 1}),
            ],
        ),
    )]);
    let a = json!({"system": "urn:a", "value": "1"});
    assert_eq!(errors(&by_value, identifiers(std::slice::from_ref(&a))), [""; 0]);
    assert_eq!(errors(&by_value, identifiers(&[json!({"system": "urn:b"})])), ["required Practitioner.identifier"]);
    assert_eq!(errors(&by_value, json!({"resourceType": "Practitioner"})), ["required Practitioner.identifier"]);
    assert_eq!(errors(&by_value, identifiers(&[a.clone(), a.clone()])), ["structure Practitioner.identifier"]);
    assert_eq!(
        errors(&by_value, identifiers(&[json!({"system": "urn:b"}), json!({"system": "urn:a"})])),
        ["required Practitioner.identifier[1].value"]
    );

    let by_pattern = validator(&[profile(
        "test",
        "Practitioner",
        &sliced(
            "pattern",
            "type",
            "open",
            &[
                json!({"id": "Practitioner.identifier:npi", "max": "1"}),
                json!({"id": "Practitioner.identifier:npi.type", "patternCodeableConcept": {"coding": [{"code": "NPI"}]}}),
            ],
        ),
    )]);
    let npi = json!({"type": {"coding": [{"code": "x"}, {"code": "NPI", "display": "more"}]}, "value": "1"});
    assert_eq!(errors(&by_pattern, identifiers(&[npi.clone(), json!({"value": "1"})])), [""; 0]);
    assert_eq!(errors(&by_pattern, identifiers(&[npi.clone(), npi])), ["structure Practitioner.identifier"]);

    let by_existence = validator(&[profile(
        "test",
        "Practitioner",
        &sliced(
            "exists",
            "period",
            "open",
            &[
                json!({"id": "Practitioner.identifier:timed"}),
                json!({"id": "Practitioner.identifier:timed.period", "min": 1}),
                json!({"id": "Practitioner.identifier:timed.value", "min": 1}),
                json!({"id": "Practitioner.identifier:untimed"}),
                json!({"id": "Practitioner.identifier:untimed.period", "max": "0"}),
                json!({"id": "Practitioner.identifier:untimed.value", "max": "0"}),
            ],
        ),
    )]);
    let found = errors(
        &by_existence,
        identifiers(&[json!({"period": {"start": "2020"}}), json!({"value": "1"}), json!({"system": "urn:x"})]),
    );
    assert_eq!(found, ["required Practitioner.identifier[0].value", "structure Practitioner.identifier[1].value"]);

    let by_type = validator(&[
        extension(
            "test-extension",
            &[
                json!({"id": "Extension.url", "fixedUri": "urn:test-extension"}),
                json!({"id": "Extension.value[x]", "slicing": {"discriminator": [{"type": "type", "path": "$this"}], "rules": "closed"}}),
                json!({"id": "Extension.value[x]:valueString", "type": [{"code": "string"}]}),
                json!({"id": "Extension.value[x]:valueCode", "type": [{"code": "code"}], "fixedCode": "a"}),
            ],
            &[("element", "Practitioner")],
        ),
        profile("test", "Practitioner", &[]),
    ]);
    let extended = |value: Value| {
        let mut extension = json!({"url": "urn:test-extension"});
        extension.as_object_mut().expect("an object").extend(value.as_object().expect("an object").clone());
        json!({"resourceType": "Practitioner", "extension": [extension]})
    };
    assert_eq!(errors(&by_type, extended(json!({"valueString": "x"}))), [""; 0]);
    assert_eq!(
        errors(&by_type, extended(json!({"valueCode": "b"}))),
        ["value Practitioner.extension[0].value.ofType(code)"]
    );
    assert_eq!(
        errors(&by_type, extended(json!({"valueBoolean": true}))),
        ["structure Practitioner.extension[0].value.ofType(boolean)"]
    );
}

#[test]
fn slices_by_binding_by_target_and_by_profile() {
    let set = json!({"resourceType": "ValueSet", "url": "urn:set", "compose": {"include": [{"system": "urn:s", "concept": [{"code": "a"}]}]}});
    let by_binding = validator(&[
        set,
        profile(
            "test",
            "Practitioner",
            &[
                json!({"id": "Practitioner.communication", "slicing": {"discriminator": [{"type": "value", "path": "$this"}], "rules": "open"}}),
                json!({"id": "Practitioner.communication:a", "max": "1", "binding": {"strength": "required", "valueSet": "urn:set"}}),
            ],
        ),
    ]);
    let spoken = |codes: &[&str]| {
        let concepts: Vec<Value> =
            codes.iter().map(|code| json!({"coding": [{"system": "urn:s", "code": code}]})).collect();
        json!({"resourceType": "PractitionerX", "communication": concepts})
    };
    let practitioner = |codes: &[&str]| {
        let mut it = spoken(codes);
        it["resourceType"] = json!("Practitioner");
        it
    };
    let count = |codes: &[&str]| {
        errors(&by_binding, practitioner(codes))
            .iter()
            .filter(|it| *it == "structure Practitioner.communication")
            .count()
    };
    assert_eq!((count(&["a", "b", "c"]), count(&["a", "a"])), (0, 1));

    let by_target = validator(&[profile(
        "test",
        "PractitionerRole",
        &[
            json!({"id": "PractitionerRole.endpoint", "slicing": {"discriminator": [{"type": "type", "path": "resolve()"}], "rules": "open"}}),
            json!({"id": "PractitionerRole.endpoint:e", "max": "1", "type": [{"code": "Reference", "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Endpoint"]}]}),
        ],
    )]);
    let role = |references: &[&str]| {
        let references: Vec<Value> = references.iter().map(|it| json!({"reference": it})).collect();
        json!({"resourceType": "PractitionerRole", "endpoint": references})
    };
    assert_eq!(errors(&by_target, role(&["Endpoint/1", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"])), [""; 0]);
    assert_eq!(errors(&by_target, role(&["Endpoint/1", "Endpoint/2"])), ["structure PractitionerRole.endpoint"]);

    let named = profile("named", "Organization", &[json!({"id": "Organization.name", "min": 1})]);
    let by_profile = validator(&[
        named,
        profile(
            "test",
            "PractitionerRole",
            &[
                json!({"id": "PractitionerRole.contained", "slicing": {"discriminator": [{"type": "profile", "path": "$this"}], "rules": "open"}}),
                json!({"id": "PractitionerRole.contained:named", "max": "1", "type": [{"code": "Resource", "profile": ["urn:named"]}]}),
            ],
        ),
    ]);
    let containing = |organizations: &[Value]| json!({"resourceType": "PractitionerRole", "contained": organizations});
    let organization = |id: &str, name: Option<&str>| {
        let mut it = json!({"resourceType": "Organization", "id": id, "identifier": [{"value": "1"}]});
        if let Some(name) = name {
            it["name"] = json!(name);
        }
        it
    };
    let surplus = |organizations: &[Value]| {
        errors(&by_profile, containing(organizations)).contains(&"structure PractitionerRole.contained".to_owned())
    };
    assert!(!surplus(&[organization("a", Some("A")), organization("b", None)]));
    assert!(surplus(&[organization("a", Some("A")), organization("b", Some("B"))]));
}

#[test]
fn slices_may_be_closed_ordered_or_open_at_the_end() {
    let slice = |name: &str| {
        [
            json!({"id": format!("Practitioner.identifier:{name}")}),
            json!({"id": format!("Practitioner.identifier:{name}.system"), "fixedUri": format!("urn:{name}")}),
        ]
    };
    let of = |rules: &str| {
        validator(&[profile(
            "test",
            "Practitioner",
            &sliced("value", "system", rules, &[slice("a"), slice("b")].concat()),
        )])
    };
    let items = |names: &[&str]| {
        identifiers(&names.iter().map(|name| json!({"system": format!("urn:{name}")})).collect::<Vec<_>>())
    };
    for (rules, names, expected) in [
        ("open", &["x", "b", "a"][..], &[][..]),
        ("closed", &["b", "a"], &[]),
        ("closed", &["a", "x"], &["structure Practitioner.identifier[1]"]),
        ("ordered", &["a", "x", "b"], &[]),
        ("ordered", &["b", "a"], &["structure Practitioner.identifier[1]"]),
        ("openAtEnd", &["a", "b", "x"], &[]),
        ("openAtEnd", &["a", "x", "b"], &["structure Practitioner.identifier[2]"]),
    ] {
        assert_eq!(errors(&of(rules), items(names)), expected, "{rules} {names:?}");
    }
}

#[test]
fn one_of_several_profiles_will_do() {
    let phone = profile("phone", "ContactPoint", &[json!({"id": "ContactPoint.system", "fixedCode": "phone"})]);
    let ranked = profile("ranked", "ContactPoint", &[json!({"id": "ContactPoint.rank", "min": 1})]);
    let both = validator(&[
        phone,
        ranked,
        profile(
            "test",
            "Practitioner",
            &[
                json!({"id": "Practitioner.telecom", "type": [{"code": "ContactPoint", "profile": ["urn:phone", "urn:ranked"]}]}),
            ],
        ),
    ]);
    let telecom = |value: Value| json!({"resourceType": "Practitioner", "telecom": [value]});
    assert_eq!(errors(&both, telecom(json!({"system": "phone", "value": "1"}))), [""; 0]);
    assert_eq!(errors(&both, telecom(json!({"system": "email", "value": "1", "rank": 1}))), [""; 0]);
    assert_eq!(errors(&both, telecom(json!({"system": "email", "value": "1"}))), ["structure Practitioner.telecom[0]"]);
}

#[test]
fn extensions_know_their_places() {
    let flag = |name: &str, context: &[(&str, &str)]| {
        extension(
            name,
            &[
                json!({"id": "Extension.url", "fixedUri": format!("urn:{name}")}),
                json!({"id": "Extension.value[x]", "min": 1, "type": [{"code": "boolean"}]}),
            ],
            context,
        )
    };
    let outer = extension(
        "outer",
        &[json!({"id": "Extension.url", "fixedUri": "urn:outer"})],
        &[("element", "Element"), ("element", "Practitioner")],
    );
    let mut modifier = flag("modifier", &[("element", "Practitioner")]);
    modifier["differential"]["element"]
        .as_array_mut()
        .expect("elements")
        .insert(0, json!({"id": "Extension", "isModifier": true}));
    let all = validator(&[
        outer,
        modifier,
        profile("test", "Practitioner", &[]),
        flag("of-type", &[("element", "ContactPoint")]),
        flag("of-element", &[("element", "Practitioner.telecom")]),
        flag("of-base", &[("element", "BackboneElement")]),
        flag("of-value", &[("element", "HumanName.family")]),
        flag("of-string", &[("element", "string")]),
        flag("of-extension", &[("extension", "urn:outer")]),
        flag("of-path", &[("fhirpath", "Practitioner.telecom.where(system = 'phone')")]),
    ]);
    let is = |name: &str| json!([{"url": format!("urn:{name}"), "valueBoolean": true}]);
    let telecom = |name: &str, system: &str| json!({"resourceType": "Practitioner", "telecom": [{"system": system, "value": "1", "extension": is(name)}]});
    for (resource, is_right) in [
        (telecom("of-type", "phone"), true),
        (telecom("of-element", "phone"), true),
        (telecom("of-path", "phone"), true),
        (telecom("of-path", "email"), false),
        (telecom("of-base", "phone"), false),
        (json!({"resourceType": "Practitioner", "extension": is("of-type")}), false),
        (
            json!({"resourceType": "Practitioner", "qualification": [{"code": {"text": "x"}, "extension": is("of-base")}]}),
            true,
        ),
        (
            json!({"resourceType": "Practitioner", "name": [{"family": "x", "_family": {"extension": is("of-value")}}]}),
            true,
        ),
        (
            json!({"resourceType": "Practitioner", "name": [{"text": "x", "_text": {"extension": is("of-value")}}]}),
            false,
        ),
        (
            json!({"resourceType": "Practitioner", "name": [{"text": "x", "_text": {"extension": is("of-string")}}]}),
            true,
        ),
        (
            json!({"resourceType": "Practitioner", "extension": [{"url": "urn:outer", "extension": is("of-extension")}]}),
            true,
        ),
        (json!({"resourceType": "Practitioner", "extension": is("of-extension")}), false),
        (json!({"resourceType": "Practitioner", "modifierExtension": is("modifier")}), true),
        (json!({"resourceType": "Practitioner", "extension": is("modifier")}), false),
        (json!({"resourceType": "Practitioner", "modifierExtension": is("unknown")}), false),
        (json!({"resourceType": "Practitioner", "extension": is("unknown")}), true),
    ] {
        let found = errors(&all, resource.clone());
        assert_eq!(found.is_empty(), is_right, "{resource}: {found:?}");
        assert!(found.iter().all(|it| it.starts_with("extension ")), "{found:?}");
    }
}

#[test]
fn a_profile_goes_into_the_elements_of_another() {
    let base = extension(
        "base",
        &[
            json!({"id": "Extension.extension:part", "sliceName": "part", "max": "1"}),
            json!({"id": "Extension.extension:part.url", "fixedUri": "part"}),
            json!({"id": "Extension.extension:part.value[x]", "min": 1, "type": [{"code": "code"}]}),
            json!({"id": "Extension.url", "fixedUri": "urn:base"}),
        ],
        &[("element", "Practitioner")],
    );
    let all = validator(&[
        profile(
            "test",
            "Practitioner",
            &[
                json!({"id": "Practitioner.extension:mine", "min": 1, "max": "1", "type": [{"code": "Extension", "profile": ["urn:base"]}]}),
                json!({"id": "Practitioner.extension:mine.extension:part", "min": 1}),
                json!({"id": "Practitioner.extension:mine.extension:part.valueCode", "fixedCode": "a"}),
            ],
        ),
        base,
    ]);
    assert_eq!(all.problems().collect::<Vec<_>>(), [""; 0]);
    let mine = |code: Value| json!({"resourceType": "Practitioner", "extension": [{"url": "urn:base", "extension": [{"url": "part", "valueCode": code}]}]});
    assert_eq!(errors(&all, mine(json!("a"))), [""; 0]);
    assert_eq!(errors(&all, mine(json!("b"))), ["value Practitioner.extension[0].extension[0].value.ofType(code)"]);
    assert_eq!(errors(&all, json!({"resourceType": "Practitioner"})), ["required Practitioner.extension"]);
    let bare = json!({"resourceType": "Practitioner", "extension": [{"url": "urn:base", "extension": [{"url": "other", "valueCode": "a"}]}]});
    assert_eq!(
        errors(&all, bare),
        ["extension Practitioner.extension[0].extension[0]", "required Practitioner.extension[0].extension"]
    );
}

#[test]
fn a_snapshot_says_the_same_as_the_differential_it_was_made_from() {
    let mut profile = profile("test", "Practitioner", &[json!({"id": "Practitioner.name", "min": 1, "max": "1"})]);
    let differential = validator(std::slice::from_ref(&profile));
    let elements = profile.as_object_mut().expect("an object").shift_remove("differential").expect("elements");
    profile["snapshot"] = elements;
    profile["baseDefinition"] = json!("http://example.org/a-parent-that-is-not-here");
    let snapshot = validator(std::slice::from_ref(&profile));
    for names in [&[][..], &[json!({"text": "a"})], &[json!({"text": "a"}), json!({"text": "b"})]] {
        let mut resource = json!({"resourceType": "Practitioner"});
        if !names.is_empty() {
            resource["name"] = json!(names);
        }
        assert_eq!(errors(&differential, resource.clone()).len(), usize::from(names.len() != 1));
        assert_eq!(errors(&differential, resource.clone()), errors(&snapshot, resource));
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let refused = |definition: Value, part: &str| {
        let all = validator(&[definition]);
        let problems: Vec<String> = all.problems().collect();
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:?}");
        assert!(all.profiles().find("urn:test").is_none());
    };
    refused(profile("test", "Practitioner", &[json!({"id": "Practitioner.nonsense", "min": 1})]), "nonsense");
    refused(profile("test", "Nonsense", &[]), "Nonsense");
    refused(profile("test", "Practitioner", &[json!({"path": "Practitioner.name"})]), "the id of an element");
    refused(profile("test", "Practitioner", &[json!({"id": "Practitioner.name", "max": "many"})]), "many");
    let mut orphan = profile("test", "Practitioner", &[]);
    orphan["baseDefinition"] = json!("urn:nowhere");
    refused(orphan, "urn:nowhere");
    let mut ouroboros = profile("test", "Practitioner", &[]);
    ouroboros["baseDefinition"] = json!("urn:test");
    refused(ouroboros, "urn:test");
    let mut empty = profile("test", "Practitioner", &[]);
    empty.as_object_mut().expect("an object").shift_remove("differential");
    refused(empty, "neither a differential nor a snapshot");
}

#[test]
fn what_cannot_be_evaluated_is_never_silently_true() {
    let constraint =
        json!([{"key": "odd-1", "severity": "error", "human": "x", "expression": "name.conformsTo('urn:x')"}]);
    let slices = sliced("value", "nonsense", "open", &[json!({"id": "Practitioner.identifier:a", "min": 0})]);
    let set =
        json!({"resourceType": "ValueSet", "url": "urn:set", "compose": {"include": [{"system": "urn:not-here"}]}});
    let mut elements = vec![json!({"id": "Practitioner", "constraint": constraint})];
    elements.extend(slices);
    elements.push(
        json!({"id": "Practitioner.qualification.code", "binding": {"strength": "required", "valueSet": "urn:set"}}),
    );
    let all = validator(&[set, profile("test", "Practitioner", &elements)]);
    let problems: Vec<String> = all.problems().collect();
    assert!(
        problems.iter().any(|it| it.contains("odd-1")) && problems.iter().any(|it| it.contains("identifier:a")),
        "{problems:?}"
    );
    let resource = json!({"resourceType": "Practitioner", "meta": {"profile": ["urn:test"]}, "qualification": [{"code": {"coding": [{"system": "urn:not-here", "code": "a"}]}}]});
    let verdict = all.validate(&resource, Enforce::Base, &[]);
    assert!(verdict.is_valid(), "{:?}", verdict.issues);
    for part in ["odd-1", "identifier:a", "urn:set"] {
        let told =
            verdict.issues.iter().any(|it| it.severity == Severity::Information && it.diagnostics.contains(part));
        assert!(told, "{part}: {:?}", verdict.issues);
    }
    assert!(all.profiles().find(PRACTITIONER).is_none(), "a type is no profile");
}
