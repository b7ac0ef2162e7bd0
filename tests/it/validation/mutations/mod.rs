//! Broken variants of the published Plan-Net examples, derived by program from the profiles of the package.
//!
//! Every mutant carries one fault and the issue a validator has to report for it: the issue type, the place and, for
//! an invariant, its key. The faults are read from the raw snapshots and from the FHIR R4 rules of the datatypes, never
//! from the code under test, so that the suite is a second opinion on that code.
//!
//! The path of the package (a .tgz) is taken from the environment variable PLAN_NET_PACKAGE.

mod bench;
mod cardinality;
mod datatypes;
mod invariants;
mod invariants_root;
mod model;
mod package;
mod primitives;
mod rules;
mod seeds;
mod structure;
mod terminology;

pub use package::{examples, snapshots};

pub use bench::{Expected, Mutant};

use bench::Bench;
use model::{Schemas, Subject};
use plumbline::validate::Verdict;
use serde_json::Value;
use std::collections::BTreeMap;

/// One issue of a verdict, as the code under test reports it.
pub struct Found {
    pub severity: String,
    pub code: String,
    pub at: Option<String>,
    pub rule: Option<String>,
    pub diagnostics: String,
}

/// The issues of a verdict.
pub fn found(verdict: Verdict) -> Vec<Found> {
    let issues = verdict.issues.into_iter().map(|issue| Found {
        severity: issue.severity.as_str().to_owned(),
        code: issue.code.as_str().to_owned(),
        at: issue.expression,
        rule: issue.rule,
        diagnostics: issue.diagnostics,
    });
    issues.collect()
}

/// The validator under test: takes a resource, gives every issue of the verdict.
pub type Check = dyn Fn(&Value) -> Vec<Found>;

const EXAMPLES: usize = 49;
const FEWEST_MUTANTS: usize = 500;
const MOST_MUTANTS: usize = 3000;
const SHOWN: usize = 40;

/// Stands for the kind in the count of failures when a valid resource is refused.
const VALID: char = '-';

/// The least number of mutants of each kind: a drop below shows that a derivation has stopped to find its elements.
const FLOORS: [(char, &str, usize); 9] = [
    ('a', "required element removed", 100),
    ('b', "maximum exceeded", 150),
    ('c', "wrong JSON type", 250),
    ('d', "code outside a required binding", 80),
    ('e', "fixed or pattern value changed", 20),
    ('f', "invariant broken", 200),
    ('g', "wrong reference target", 80),
    ('h', "malformed primitive", 250),
    ('i', "unknown element, choice, extension or claim", 150),
];

/// All mutants, and the valid resources (examples and enriched examples) they were derived from.
pub fn derive() -> (Vec<(String, Value)>, Vec<Mutant>) {
    let schemas = Schemas::new(&snapshots());
    let published = examples();
    assert_eq!(published.len(), EXAMPLES, "examples of the eight Plan-Net types in the package");
    let mut valid = published.clone();
    valid.extend(seeds::seeds(&published));
    let mut bench = Bench::default();
    let extensions = structure::harvest(&valid, &schemas);
    for (name, resource) in &valid {
        let subject = Subject::new(&schemas, name, resource);
        cardinality::derive(&schemas, &subject, &mut bench);
        structure::json_types(&subject, &mut bench);
        terminology::derive(&subject, &mut bench);
        invariants::derive(&subject, &mut bench);
        invariants_root::derive(&subject, &mut bench);
        primitives::derive(&subject, &mut bench);
        structure::derive(&schemas, &subject, &extensions, &mut bench);
    }
    (valid, bench.into_mutants())
}

/// Runs the check over every valid resource and every mutant; panics with a list when a verdict is not as expected.
pub fn run(check: &Check) {
    let (valid, mutants) = derive();
    let counts = count(&mutants);
    println!("{} mutants of {} valid resources", mutants.len(), valid.len());
    for (kind, what, floor) in FLOORS {
        let number = counts.get(&kind).copied().unwrap_or(0);
        println!("  {kind}  {number:5}  {what}");
        assert!(number >= floor, "kind {kind} ({what}): {number} mutants, at least {floor} expected");
    }
    assert!(mutants.len() >= FEWEST_MUTANTS, "only {} mutants", mutants.len());
    assert!(mutants.len() <= MOST_MUTANTS, "too many mutants for one test: {}", mutants.len());

    let mut lines = Vec::new();
    let mut unmet: BTreeMap<char, usize> = BTreeMap::new();
    // A mutant only means something if the resource it comes from is accepted.
    for (name, resource) in &valid {
        let errors: Vec<Found> = check(resource).into_iter().filter(is_error).collect();
        if !errors.is_empty() {
            *unmet.entry(VALID).or_insert(0) += 1;
            lines.push(format!("{name}: valid, but\n{}", describe(&errors)));
        }
    }
    for mutant in &mutants {
        let errors: Vec<Found> = check(&mutant.resource).into_iter().filter(is_error).collect();
        let missing: Vec<&Expected> =
            mutant.expected.iter().filter(|expected| !errors.iter().any(|found| expected.met_by(found))).collect();
        if !missing.is_empty() {
            *unmet.entry(mutant.kind).or_insert(0) += 1;
            let wanted: Vec<String> = missing.iter().map(|expected| format!("    expected {expected}")).collect();
            lines.push(format!("[{}] {}\n{}\n{}", mutant.kind, mutant.name, wanted.join("\n"), describe(&errors)));
        }
    }
    for line in lines.iter().take(SHOWN) {
        println!("{line}");
    }
    assert!(unmet.is_empty(), "verdicts not as expected, by kind ({VALID}: a valid resource refused): {unmet:?}");
}

fn count(mutants: &[Mutant]) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for mutant in mutants {
        *counts.entry(mutant.kind).or_insert(0) += 1;
    }
    counts
}

fn is_error(found: &Found) -> bool {
    matches!(found.severity.as_str(), "error" | "fatal")
}

fn describe(errors: &[Found]) -> String {
    if errors.is_empty() {
        return "    found no error".to_owned();
    }
    let lines: Vec<String> = errors
        .iter()
        .map(|found| {
            let at = found.at.as_deref().unwrap_or("(nowhere)");
            let rule = found.rule.as_deref().map(|rule| format!(" {rule}")).unwrap_or_default();
            format!("    found {} at {at}{rule}: {}", found.code, found.diagnostics)
        })
        .collect();
    lines.join("\n")
}
