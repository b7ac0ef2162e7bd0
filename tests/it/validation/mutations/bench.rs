//! Where the mutants are collected: kept to one per fault, element and example, and never twice the same resource.

use super::Found;
use super::model::Subject;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// One fault of one element of a profile is taken from this many examples at most.
const EXAMPLES_PER_FAULT: usize = 2;

/// Faults that any element can have come from one example.
const EXAMPLES_PER_COMMON_FAULT: usize = 1;

pub struct Mutant {
    pub kind: char,
    /// The example and what was done to it.
    pub name: String,
    pub resource: Value,
    pub expected: Vec<Expected>,
}

/// An issue that the verdict has to contain. Where FHIR leaves the place or the type open, there are alternatives.
pub struct Expected {
    /// The issue types that will do; none given: any.
    pub codes: Vec<&'static str>,
    /// The places that will do; none given: any.
    pub at: Vec<String>,
    pub rule: Option<String>,
}

impl Expected {
    pub fn new(code: &'static str, at: impl Into<String>) -> Self {
        Self { codes: vec![code], at: vec![at.into()], rule: None }
    }

    pub fn either(code: &'static str, at: Vec<String>) -> Self {
        Self { codes: vec![code], at, rule: None }
    }

    pub fn invariant(rule: &str, at: impl Into<String>) -> Self {
        Self { codes: vec!["invariant"], at: vec![at.into()], rule: Some(rule.to_owned()) }
    }

    pub fn met_by(&self, found: &Found) -> bool {
        let code = self.codes.is_empty() || self.codes.contains(&found.code.as_str());
        let at = self.at.is_empty() || found.at.as_ref().is_some_and(|at| self.at.contains(at));
        let rule = self.rule.is_none() || self.rule == found.rule;
        code && at && rule
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_any = |words: String| if words.is_empty() { "(any)".to_owned() } else { words };
        write!(out, "{} at {}", or_any(self.codes.join("|")), or_any(self.at.join(" or ")))?;
        self.rule.as_ref().map_or(Ok(()), |rule| write!(out, " {rule}"))
    }
}

#[derive(Default)]
pub struct Bench {
    mutants: Vec<Mutant>,
    /// Which examples have given a fault of an element so far.
    taken: HashMap<String, Vec<String>>,
    seen: HashSet<String>,
}

impl Bench {
    /// Keeps a mutant, unless the fault has been taken often enough. `key` is the element, `place` its FHIRPath.
    /// A key that is not of the resource itself is shared by all profiles.
    pub fn add(
        &mut self,
        subject: &Subject,
        (kind, fault, key): (char, &str, &str),
        place: &str,
        make: impl FnOnce() -> Value,
        expected: Vec<Expected>,
    ) {
        let common = is_common(kind, fault);
        let own = key.starts_with(&subject.root().kind);
        let slot = if own { format!("{} {key}", subject.profile) } else { key.to_owned() };
        let names = self.taken.entry(format!("{kind} {fault} {slot}")).or_default();
        let most = if common { EXAMPLES_PER_COMMON_FAULT } else { EXAMPLES_PER_FAULT };
        if names.len() >= most || names.iter().any(|name| name == &subject.name) {
            return;
        }
        let resource = make();
        if resource == *subject.resource || !self.seen.insert(resource.to_string()) {
            return;
        }
        names.push(subject.name.clone());
        self.mutants.push(Mutant { kind, name: format!("{}: {fault} at {place}", subject.name), resource, expected });
    }

    pub fn into_mutants(self) -> Vec<Mutant> {
        self.mutants
    }
}

/// Faults that are possible everywhere and have little to do with the profile.
fn is_common(kind: char, fault: &str) -> bool {
    let spread = ["array of", "unknown element", "ele-1", "ext-1", "value of", "extension ", "claims the"];
    matches!(kind, 'c' | 'h') || spread.iter().any(|start| fault.starts_with(start))
}
