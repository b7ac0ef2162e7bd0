//! The conditions of a subscription: search parameters that one resource alone can answer.

use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;
use crate::fhir::types::{ResourceType, is_type_name};
use crate::search::param::registry;
use crate::search::parse::{self, Handling};
use crate::search::query::{Filter, ReferenceMatch, Test};

use super::{Context, Issues};

/// Splits `Type?param=value` and `Type.param=value`; of `param=value` there is no type. The guide describes one form and
/// uses the other (Backport 1.1.0, filter criteria).
pub(super) fn split_type(filter: &str) -> (Option<&str>, &str) {
    let end = filter.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(filter.len());
    let (name, rest) = filter.split_at(end);
    match rest.strip_prefix(['?', '.']) {
        Some(query) if is_type_name(name) => (Some(name), query),
        _ => (None, filter),
    }
}

/// Reads conditions, and counts them over all filters of a subscription.
pub(super) struct Reader<'a, 'c, 'i> {
    context: &'a Context<'c>,
    pub(super) issues: &'i mut Issues,
    conditions: usize,
    values: usize,
}

impl<'a, 'c, 'i> Reader<'a, 'c, 'i> {
    pub(super) fn new(context: &'a Context<'c>, issues: &'i mut Issues) -> Self {
        Self { context, issues, conditions: 0, values: 0 }
    }

    /// The conditions of `param=value[&param=value…]`, written as in a URL. What is wrong is told at `at`.
    pub(super) fn of_query(&mut self, base: ResourceType, query: &str, at: &str) -> Vec<Filter> {
        let mut filters = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
            self.conditions += 1;
            self.values += 1 + value.matches(',').count();
            let bounds = &self.context.bounds;
            if self.conditions > bounds.conditions_max || self.values > bounds.values_max {
                let sentence = format!(
                    "A subscription has at most {} conditions and {} values in them.",
                    bounds.conditions_max, bounds.values_max
                );
                // Once is enough.
                if !self.issues.0.iter().any(|issue| issue.code == IssueCode::TooCostly) {
                    self.issues.add(IssueCode::TooCostly, sentence, at);
                }
                return filters;
            }
            filters.extend(self.condition(base, name, value, at));
        }
        filters
    }

    fn condition(&mut self, base: ResourceType, name: String, value: String, at: &str) -> Vec<Filter> {
        if let Some((code, sentence)) = refusal(base, &name, &value) {
            self.issues.add(code, sentence, at);
            return Vec::new();
        }
        let context = parse::Context { handling: Handling::Strict, ..self.context.search };
        let found = match parse::parse(&[base], &[(name.clone(), value)], context) {
            Ok(query) => query.types.into_iter().flat_map(|part| part.filters).collect::<Vec<_>>(),
            Err(error) => {
                self.issues.0.extend(error.issues.into_iter().map(|issue| issue.at(at)));
                return Vec::new();
            }
        };
        for filter in &found {
            if matches!(filter, Filter::Nothing) {
                let sentence = format!("No {base} can ever meet the condition on '{}'.", excerpt(&name));
                self.issues.add(IssueCode::Value, sentence, at);
            } else if !is_answerable(filter) {
                let sentence = format!(
                    "'{}' depends on other resources than the one that changed; that is not supported.",
                    excerpt(&name)
                );
                self.issues.add(IssueCode::NotSupported, sentence, at);
            }
        }
        found
    }
}

/// Why a parameter is none that a subscription can have, whatever its value.
fn refusal(base: ResourceType, name: &str, value: &str) -> Option<(IssueCode, String)> {
    let shown = excerpt(name);
    if name.starts_with("_has") || name.contains('.') {
        let sentence =
            format!("'{shown}' asks about other resources than the one that changed; that is not supported.");
        return Some((IssueCode::NotSupported, sentence));
    }
    let code = name.split(':').next().unwrap_or_default();
    if code.starts_with('_') && registry().get(base, code).is_none() {
        let sentence = format!("'{shown}' does not say which resources are meant; a subscription cannot have it.");
        return Some((IssueCode::NotSupported, sentence));
    }
    if code.is_empty() || value.trim().is_empty() {
        return Some((IssueCode::Value, format!("A condition is parameter=value; '{shown}' has no value.")));
    }
    None
}

/// Whether one resource alone can tell.
fn is_answerable(filter: &Filter) -> bool {
    match filter {
        Filter::Chain { .. } | Filter::Has { .. } => false,
        Filter::Value { test, .. } | Filter::Not { test, .. } => match test {
            Test::Reference(wanted) => {
                !wanted.iter().any(|it| matches!(it, ReferenceMatch::Below(_) | ReferenceMatch::Above(_)))
            }
            _ => true,
        },
        Filter::Any(alternatives) => alternatives.iter().flatten().all(is_answerable),
        Filter::Id { .. } | Filter::LastUpdated { .. } | Filter::Missing { .. } | Filter::Nothing => true,
    }
}
