//! What the shapes on an element ask of one value of it: its type, fixed values and patterns, codes, references, invariants.

use serde_json::Value;

use super::path::Path;
use super::wording::excerpt;
use super::{Shapes, Walk};
use crate::fhir::definitions::Property;
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::path::{EvalError, Node, same_json};
use crate::validate::shape::{Invariant, Shape, Test};

impl<'a> Walk<'a> {
    /// Whether the property's type is one of those that the shapes allow.
    pub(super) fn allowed_type(&mut self, property: &'a Property, on: &Shapes<'a>, path: &Path<'_>) {
        for shape in on {
            let Some(types) = &shape.types else { continue };
            if !types.is_empty() && shape.type_rule(property.type_code).is_none() && !property.type_code.is_empty() {
                let allowed: Vec<&str> = types.iter().map(|rule| &*rule.code).collect();
                let sentence = format_args!("Must be {}, not {}", allowed.join(" or "), property.type_code);
                self.breach(IssueCode::Structure, path, shape, sentence);
            }
        }
    }

    /// All that is asked of one value, apart from its own elements. `value` is null for a primitive with extensions only.
    pub(super) fn item(
        &mut self,
        value: &'a Value,
        sibling: Option<&'a Value>,
        property: &'a Property,
        on: &Shapes<'a>,
        path: &Path<'_>,
    ) {
        if on.is_empty() {
            return;
        }
        if !value.is_null() {
            for shape in on {
                self.fixed(value, shape, path);
            }
            self.bindings(value, property, on, path);
            if property.type_code == "Reference" {
                self.targets(value, on, path);
            }
        }
        self.invariants(value, sibling, Some(property), on, path);
    }

    fn fixed(&mut self, value: &Value, shape: &'a Shape, path: &Path<'_>) {
        if let Some(fixed) = &shape.fixed
            && !same_json(fixed, value)
        {
            let sentence = format_args!("Must be {}, not {}", shown(fixed), shown(value));
            self.breach(IssueCode::Value, path, shape, sentence);
        }
        if let Some(pattern) = &shape.pattern
            && !includes(value, pattern)
        {
            let sentence = match pattern.is_object() {
                true => format!("Must include {}", shown(pattern)),
                false => format!("Must be {}, not {}", shown(pattern), shown(value)),
            };
            self.breach(IssueCode::Value, path, shape, sentence);
        }
    }

    /// The invariants of the shapes; `property` is where the element is, `None` for one that has been told of already.
    pub(super) fn invariants(
        &mut self,
        value: &'a Value,
        sibling: Option<&'a Value>,
        property: Option<&'a Property>,
        on: &Shapes<'a>,
        path: &Path<'_>,
    ) {
        for shape in on {
            for invariant in &shape.invariants {
                if invariant.is_error || self.in_full {
                    self.invariant(value, sibling, property, invariant, path);
                }
            }
        }
    }

    fn invariant(
        &mut self,
        value: &'a Value,
        sibling: Option<&'a Value>,
        property: Option<&'a Property>,
        invariant: &'a Invariant,
        path: &Path<'_>,
    ) {
        let holds = match &invariant.test {
            Test::Native(test) => Ok(test(value)),
            Test::Path(expression) => {
                let choice = property.filter(|property| property.element.is_choice);
                let suffix = choice.and_then(|property| property.name.get(property.element.name.len()..));
                expression.holds(&Node::in_property(value, sibling, suffix), self.resource, self.root)
            }
            Test::Unknown(expression) => {
                let sentence = format_args!("{} is not checked: {expression}", invariant.key);
                return self.unchecked(path, sentence);
            }
        };
        let sentence = match holds {
            Ok(true) => return,
            Ok(false) if invariant.human.is_empty() => format!("{} does not hold", invariant.key),
            Ok(false) => invariant.human.to_string(),
            Err(EvalError::TooCostly) => {
                let sentence = format!("{} takes too long to evaluate on this resource", invariant.key);
                return self.report(|| Issue::error(IssueCode::TooCostly, sentence).rule(&*invariant.key), path);
            }
            Err(error) => format!("{} cannot be evaluated here: {error}", invariant.key),
        };
        let issue = match invariant.is_error {
            true => Issue::error(IssueCode::Invariant, sentence),
            false => Issue::warning(IssueCode::Invariant, sentence),
        };
        self.report(|| issue.rule(&*invariant.key), path);
    }

    /// What could not be checked is told, so that nobody takes it for right.
    pub(super) fn unchecked(&mut self, path: &Path<'_>, sentence: impl std::fmt::Display) {
        if self.in_full {
            self.report(|| Issue::information(IssueCode::Informational, sentence.to_string()), path);
        }
    }
}

/// A value as it is shown in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", excerpt(text)),
        other => excerpt(&other.to_string()),
    }
}

/// True when a value has all that is in a pattern (R4 elementdefinition.html#pattern): of an array, each item is there
/// somewhere; other members are of no matter.
pub(super) fn includes(value: &Value, pattern: &Value) -> bool {
    match (value, pattern) {
        (Value::Object(value), Value::Object(pattern)) => {
            pattern.iter().all(|(name, part)| value.get(name).is_some_and(|value| includes(value, part)))
        }
        (Value::Array(items), Value::Array(parts)) => {
            parts.iter().all(|part| items.iter().any(|item| includes(item, part)))
        }
        _ => same_json(value, pattern),
    }
}
