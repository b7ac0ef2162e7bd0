//! Validation against sources that know nothing of the code: cases written from the rules, broken variants of the
//! published examples, and the official snapshots element by element.

mod cases;
mod command;
mod definitions;
mod findings;
mod mutations;
mod notifications;
mod operation;
mod packages;
mod properties;
mod snapshots;
mod writes;

use std::sync::{Arc, LazyLock};

use plumbline::fhir::terminology::Terminology;
use plumbline::validate::Validator;

/// The profiles and the terminology that are built in.
pub fn validator() -> &'static Validator {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        let terminology = Terminology::with(Vec::new()).expect("the built-in terminology");
        Validator::new(Arc::new(terminology), &[])
    });
    &VALIDATOR
}

#[test]
fn the_built_in_definitions_leave_nothing_unevaluated() {
    let problems: Vec<String> = validator().problems().collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_mutant_of_the_published_examples_is_refused_for_the_right_reason() {
    use plumbline::validate::Enforce;
    if crate::plan_net::package().is_none() {
        return;
    }
    mutations::run(&|resource| mutations::found(validator().validate(resource, Enforce::PlanNet, &[])));
}
