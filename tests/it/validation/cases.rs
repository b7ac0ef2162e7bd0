//! `cases.json`: resources with what is right and wrong about them, written from the specifications by somebody who did
//! not know the code.

use std::collections::BTreeSet;

use plumbline::fhir::outcome::{Issue, Severity};
use plumbline::validate::Enforce;
use serde::Deserialize;
use serde_json::Value;

use super::validator;

#[derive(Deserialize)]
struct Case {
    name: String,
    why: String,
    resource: Value,
    /// A profile that it is held to besides its own.
    profile: Option<String>,
    /// All errors; none: the resource is right.
    errors: Vec<Expected>,
    /// Some of the warnings.
    warnings: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
struct Expected {
    /// The issue's code; `None`: whichever.
    code: Option<String>,
    at: Option<String>,
    rule: Option<String>,
}

impl Expected {
    fn is_met_by(&self, issue: &Issue) -> bool {
        self.code.as_ref().is_none_or(|code| code == issue.code.as_str())
            && self.at.as_ref().is_none_or(|at| place(at) == place(issue.expression.as_deref().unwrap_or_default()))
            && self.rule.as_ref().is_none_or(|rule| Some(rule) == issue.rule.as_ref())
    }
}

/// Where an issue is, whichever type of a choice is meant: `value` and `value.ofType(code)` are one place.
fn place(at: &str) -> String {
    let mut place = String::new();
    let mut rest = at;
    while let Some((before, after)) = rest.split_once(".ofType(") {
        place.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    place + rest
}

#[test]
fn resources_are_judged_as_the_rules_say() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).expect("cases");
    assert!(cases.len() > 600);
    let mut unmet = Vec::new();
    for case in &cases {
        let nominated: Vec<_> = case
            .profile
            .iter()
            .map(|url| validator().profiles().find(url).unwrap_or_else(|| panic!("{url} is not loaded")).0)
            .collect();
        let issues = validator().validate(&case.resource, Enforce::PlanNet, &nominated).issues;
        let of = |severity: Severity| issues.iter().filter(move |issue| issue.severity == severity);
        let missing: Vec<&Expected> = case
            .errors
            .iter()
            .filter(|expected| !of(Severity::Error).any(|issue| expected.is_met_by(issue)))
            .chain(
                case.warnings.iter().filter(|expected| !of(Severity::Warning).any(|issue| expected.is_met_by(issue))),
            )
            .collect();
        let places: BTreeSet<String> = case.errors.iter().filter_map(|error| error.at.as_deref().map(place)).collect();
        let surplus: Vec<&Issue> = of(Severity::Error)
            .filter(|issue| !places.contains(&place(issue.expression.as_deref().unwrap_or_default())))
            .filter(|_| case.errors.iter().all(|error| error.at.is_some()))
            .collect();
        if !missing.is_empty() || !surplus.is_empty() {
            let all: Vec<_> = of(Severity::Error).chain(of(Severity::Warning)).collect();
            unmet.push(format!(
                "{} ({}):\n  missing {missing:?}\n  surplus {surplus:?}\n  all {all:?}",
                case.name, case.why
            ));
        }
    }
    assert!(unmet.is_empty(), "{} of {} cases:\n{}", unmet.len(), cases.len(), unmet.join("\n"));
}
