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
