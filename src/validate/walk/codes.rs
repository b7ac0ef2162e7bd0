//! Codes against the value sets they are bound to (R4 terminologies.html#strength).

use std::sync::Arc;

use serde_json::Value;

use super::path::Path;
use super::wording::{excerpt, short};
use super::{Shapes, Walk};
use crate::fhir::definitions::{Property, Strength};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::terminology::CodeSet;
use crate::validate::shape::{Binding, Shape};

impl<'a> Walk<'a> {
    /// Checks a coded value against the bindings on it. A profile's binding takes the place of the base
    /// definition's, unless that one asks for more.
    pub(super) fn bindings(&mut self, value: &'a Value, property: &'a Property, on: &Shapes<'a>, path: &Path<'_>) {
        let terminology = &self.validator.terminology;
        let of_profiles = || on.iter().filter(|shape| !shape.is_base).filter_map(|shape| shape.binding.as_ref());
        let required = |binding: &&Arc<Binding>| binding.strength == Strength::Required;
        // A set that is required is part of the base's; one that could not be looked into is not relied on.
        let is_decided = of_profiles().filter(required).any(|binding| binding.codes(terminology).is_some());
        let is_profiled = of_profiles().next().is_some();
        for shape in on {
            if let Some(binding) = &shape.binding
                && !(shape.is_base && (is_decided || is_profiled && !required(&binding)))
                && (binding.strength == Strength::Required || self.in_full)
            {
                self.binding(value, property, binding, shape, path);
            }
        }
    }

    fn binding(
        &mut self,
        value: &'a Value,
        property: &Property,
        binding: &'a Binding,
        shape: &'a Shape,
        path: &Path<'_>,
    ) {
        let Some(codes) = binding.codes(&self.validator.terminology) else {
            let sentence = format_args!("The code is not checked: {} is not loaded in full", binding.value_set);
            return self.unchecked(path, sentence);
        };
        if binding.allows_text && property.type_code == "CodeableConcept" && value.get("coding").is_none() {
            return;
        }
        let Some(problem) = problem(value, property.type_code, codes) else { return };
        let set = &binding.value_set;
        let issue = match binding.strength {
            Strength::Required => {
                let sentence = format!("{problem} of {} ({set})", short(set));
                Issue::error(IssueCode::CodeInvalid, sentence)
            }
            _ => {
                let sentence =
                    format!("{problem} of {} ({set}), which is to be used where one of its codes fits", short(set));
                Issue::warning(IssueCode::CodeInvalid, sentence)
            }
        };
        self.report(|| issue.rule(&*shape.rule), path);
    }
}

/// What keeps a value from being in a set, as a sentence that goes on with the name of the set.
fn problem(value: &Value, type_code: &str, codes: &CodeSet) -> Option<String> {
    match type_code {
        "CodeableConcept" => {
            let codings: Vec<&Value> = value.get("coding").and_then(Value::as_array).into_iter().flatten().collect();
            if codings.iter().any(|coding| is_in(coding, codes)) {
                return None;
            }
            let shown: Vec<String> = codings.iter().map(|coding| shown(coding)).collect();
            Some(match shown.as_slice() {
                [] => "There is text but no code".to_owned(),
                [one] => format!("{one} is no code"),
                several => format!("None of {} is a code", several.join(", ")),
            })
        }
        "Coding" | "Quantity" => (!is_in(value, codes)).then(|| format!("{} is no code", shown(value))),
        _ => {
            let code = value.as_str()?;
            (!codes.contains_code(code)).then(|| format!("'{}' is no code", excerpt(code)))
        }
    }
}

fn is_in(coding: &Value, codes: &CodeSet) -> bool {
    let text = |name: &str| coding.get(name).and_then(Value::as_str);
    match (text("system"), text("code")) {
        (Some(system), Some(code)) => codes.contains(system, code),
        _ => false,
    }
}

/// Whether a coded value of this type is in the set: what slices by binding ask.
pub(super) fn fits(value: &Value, codes: &CodeSet) -> bool {
    match value {
        Value::String(code) => codes.contains_code(code),
        Value::Object(concept) => match concept.get("coding").and_then(Value::as_array) {
            Some(codings) => codings.iter().any(|coding| is_in(coding, codes)),
            None => is_in(value, codes),
        },
        _ => false,
    }
}

/// `system|code` as a message shows it.
fn shown(coding: &Value) -> String {
    let text = |name: &str| coding.get(name).and_then(Value::as_str).map(excerpt);
    match (text("system"), text("code")) {
        (Some(system), code) => format!("'{system}|{}'", code.unwrap_or_default()),
        (None, Some(code)) => format!("'{code}', without a system,"),
        (None, None) => "A coding without a code".to_owned(),
    }
}
