//! Validation by the official Plan-Net package, whose definitions and snapshots take the place of the built-in ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use plumbline::fhir::terminology::Terminology;
use plumbline::packages;
use plumbline::validate::{Enforce, Validator};
use serde_json::{Value, json};

use super::{mutations, validator};

/// The built-in profiles and terminology, and the package.
fn official() -> Option<Validator> {
    let package = packages::read(&crate::plan_net::package()?).expect("the official package");
    let terminology = Terminology::with(package.resources.clone()).expect("its terminology");
    Some(Validator::new(Arc::new(terminology), &package.resources))
}

#[test]
fn the_official_package_leaves_nothing_unevaluated() {
    let Some(official) = official() else { return };
    let problems: Vec<String> = official.problems().collect();
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(
        official.profiles().iter().count(),
        validator().profiles().iter().count(),
        "each takes the place of ours"
    );
}

#[test]
fn every_mutant_is_refused_for_the_right_reason_by_the_official_package() {
    let Some(official) = official() else { return };
    mutations::run(&move |resource| mutations::found(official.validate(resource, Enforce::PlanNet, &[])));
}

/// What is wrong, as (code, expression).
fn errors(validator: &Validator, resource: &Value) -> BTreeSet<(String, String)> {
    let issues =
        validator.validate(resource, Enforce::PlanNet, &[]).issues.into_iter().filter(|issue| issue.is_error());
    issues.map(|issue| (issue.code.as_str().to_owned(), issue.expression.unwrap_or_default())).collect()
}

#[test]
fn the_package_and_the_built_in_profiles_say_the_same_of_every_mutant() {
    let Some(official) = official() else { return };
    let (_, mutants) = mutations::derive();
    let unlike: Vec<Value> = mutants
        .iter()
        .map(|mutant| (mutant, errors(validator(), &mutant.resource), errors(&official, &mutant.resource)))
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(mutant, ours, theirs)| json!({"mutant": mutant.name, "ours": ours, "theirs": theirs}))
        .collect();
    let shown: Vec<String> = unlike.iter().take(20).map(Value::to_string).collect();
    assert!(unlike.is_empty(), "{} of {} mutants:\n{}", unlike.len(), mutants.len(), shown.join("\n"));
}

#[test]
fn what_cannot_be_evaluated_is_said_in_the_verdict() {
    use crate::packages::{CLINIC, clinics};
    let terminology = Terminology::with(clinics()).expect("terminology");
    let validator = Validator::new(Arc::new(terminology), &clinics());
    let clinic = json!({"resourceType": "Location", "meta": {"profile": [CLINIC]}, "status": "active", "name": "Small",
        "telecom": [{"system": "phone", "value": "1"}]});
    let verdict = validator.validate(&clinic, Enforce::PlanNet, &[]);
    assert!(verdict.is_valid(), "{:?}", verdict.issues);
    let named = |issue: &&plumbline::fhir::outcome::Issue| {
        issue.severity.as_str() == "information"
            && issue.diagnostics.contains("clinic-1")
            && issue.rule.as_deref() == Some(CLINIC)
    };
    assert!(verdict.issues.iter().any(|issue| named(&issue)), "{:?}", verdict.issues);
    assert!(validator.errors(&clinic, Enforce::PlanNet).issues.is_empty());
}

#[test]
fn a_definition_that_is_refused_does_not_take_the_place_of_a_good_one() {
    let url = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/plannet-Location";
    let bad =
        json!({"resourceType": "StructureDefinition", "url": url, "type": "Location", "derivation": "constraint"});
    let terminology = Terminology::with(Vec::new()).expect("terminology");
    let mended = Validator::new(Arc::new(terminology), &[bad]);
    let refused: Vec<&str> = mended.profiles().refused.iter().map(|(url, _)| &**url).collect();
    assert_eq!(refused, [url]);
    let location = json!({"resourceType": "Location"});
    let found = errors(&mended, &location);
    assert!(!found.is_empty() && found == errors(validator(), &location), "{found:?}");
}
