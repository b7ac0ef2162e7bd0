//! What holds for any resource: validation comes to an end without a panic, and JSON or XML makes no difference.

use std::collections::BTreeSet;

use plumbline::demo::Directory;
use plumbline::fhir::outcome::IssueCode;
use plumbline::fhir::xml::{from_xml, to_xml};
use plumbline::validate::{Enforce, Verdict};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::validator;

/// Issues without their order, which follows that of the elements.
fn findings(verdict: &Verdict) -> BTreeSet<String> {
    verdict.issues.iter().map(|issue| format!("{issue:?}")).collect()
}

fn judge(resource: &Value) -> Verdict {
    validator().validate(resource, Enforce::PlanNet, &[])
}

/// How JSON writes characters that XML cannot have.
const CONTROLS: [&str; 5] = ["\\u00", "\\b", "\\f", "\u{fffe}", "\u{ffff}"];

/// The verdicts on a resource and on what comes back of it from XML; `None` when it cannot be written as XML.
fn both(resource: &Value) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    // XML has neither other JSON types, nor unknown elements, nor values that are empty, nor control characters: there is
    // nothing to compare.
    let structure = validator().validate(resource, Enforce::Off, &[]);
    let is_writable = structure.issues.iter().all(|issue| {
        let is_of_json = matches!(issue.code, IssueCode::Structure | IssueCode::NotSupported);
        let is_lost = issue.rule.as_deref().is_some_and(|rule| rule == "ele-1" || rule.starts_with("txt-"));
        !is_of_json && !is_lost && !issue.diagnostics.contains("must not be empty")
    });
    let is_writable = is_writable && !CONTROLS.iter().any(|control| resource.to_string().contains(control));
    let text = is_writable.then(|| to_xml(resource).ok()).flatten()?;
    let before = judge(resource);
    match from_xml(text.as_bytes()) {
        Ok(back) => Some((findings(&before), findings(&judge(&back)))),
        Err(error) => {
            assert!(!before.is_valid(), "{error}: {text}");
            None
        }
    }
}

#[test]
fn json_and_xml_are_judged_alike() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases.json")).expect("cases");
    let mut compared = 0;
    for case in &cases {
        if let Some((before, after)) = both(&case["resource"]) {
            assert_eq!(before, after, "{}", case["name"]);
            compared += 1;
        }
    }
    assert!(compared > 450, "only {compared} cases");
}

/// Where all values of a resource are, the resource itself left out.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    let mut enter = |name: &str, inner: &Value| {
        let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        places(inner, &path, found);
        found.push(path);
    };
    match value {
        Value::Object(object) => object.iter().for_each(|(name, inner)| enter(name, inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, inner)| enter(&n.to_string(), inner)),
        _ => {}
    }
}

/// Anything that JSON can say, with FHIR's own names and values more often than chance would have it.
fn anything() -> impl Strategy<Value = Value> {
    let names = || {
        select(vec![
            "url",
            "extension",
            "valueCode",
            "valueReference",
            "_value",
            "reference",
            "resourceType",
            "id",
            "coding",
            "system",
            "code",
            "contained",
            "start",
            "end",
            "div",
            "profile",
            "entry",
            "resource",
            "%",
            "",
        ])
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(Value::from),
        select(vec![
            "2020-02-30",
            "Organization/1",
            "#a",
            "urn:uuid:x",
            "active",
            "Bundle",
            "Practitioner",
            "1234567893",
            "-",
            "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/newpatients",
            "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/plannet-Network",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">",
            "http://hl7.org/fhir/sid/us-npi",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((names(), inner), 0..6)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// A resource of a directory in which some values are others.
fn damaged() -> impl Strategy<Value = Value> {
    let resources: Vec<Value> = Directory::new(3, 7).resources().collect();
    (select(resources), prop::collection::vec((any::<Index>(), anything(), any::<bool>()), 0..6)).prop_map(
        |(mut resource, damages)| {
            for (index, value, removes) in damages {
                let mut found = Vec::new();
                places(&resource, "", &mut found);
                let Some(path) = found.get(index.index(found.len().max(1))) else { continue };
                match (removes, path.rsplit_once('/')) {
                    (true, Some((parent, name))) => {
                        if let Some(Value::Object(parent)) = resource.pointer_mut(parent) {
                            parent.shift_remove(name);
                        }
                    }
                    _ => {
                        if let Some(place) = resource.pointer_mut(path) {
                            *place = value;
                        }
                    }
                }
            }
            resource
        },
    )
}

#[test]
fn no_input_makes_it_panic_or_differ_between_json_and_xml() {
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 3000, failure_persistence: None, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::default()),
    );
    let result = runner.run(&prop_oneof![4 => damaged().boxed(), 1 => anything().boxed()], |resource| {
        let full = judge(&resource);
        // A write asks for the errors alone, and must hear of each of them.
        let errors = validator().errors(&resource, Enforce::PlanNet);
        prop_assert_eq!(full.is_valid(), errors.is_valid());
        if let Some((before, after)) = both(&resource) {
            prop_assert_eq!(before, after);
        }
        Ok(())
    });
    result.expect("the property holds");
}
