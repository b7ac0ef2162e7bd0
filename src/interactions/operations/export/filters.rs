//! `_typeFilter`: searches whose matches are exported.

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::fhir::types::ResourceType;
use crate::interactions::access;
use crate::search::parse::{self, Handling};
use crate::search::query::{Filter, TypeQuery};

/// Parameters that shape a result rather than say what is in it; an export has no pages and no order.
const OF_RESULTS: &[&str] = &[
    "_contained",
    "_containedType",
    "_count",
    "_cursor",
    "_elements",
    "_format",
    "_include",
    "_pretty",
    "_revinclude",
    "_score",
    "_sort",
    "_summary",
    "_total",
];

/// Takes `Type?query,Type?query` apart. A comma stands within the values of a query, too: only one that a type and a question
/// mark follow begins another filter.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let next = rest.match_indices(',').find(|(at, _)| rest.get(at + 1..).is_some_and(begins_filter));
        let Some((at, _)) = next else {
            parts.push(rest);
            return parts;
        };
        parts.push(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
    }
}

fn begins_filter(text: &str) -> bool {
    let name = text.split_once('?').map_or("", |(name, _)| name);
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.bytes().all(|b| b.is_ascii_alphabetic())
}

/// What a filter comes to for this caller: all of its conditions, and of chains what leads through what they may search.
/// What is left out for a lenient client is added to `notes`.
///
/// # Errors
/// 400 for a query that cannot be used, 401 and 403 for one that would tell about what the caller may not search.
pub(super) fn filters(
    app: &App,
    caller: &Caller,
    resource_type: ResourceType,
    query: &str,
    handling: Handling,
    notes: &mut Vec<String>,
) -> Result<Vec<Filter>, FhirError> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if let Some((name, _)) = pairs.iter().find(|(name, _)| is_of_results(name)) {
        let sentence = format!(
            "A _typeFilter says which resources are exported; '{}' says how a search shows them, and has no place in it.",
            excerpt(name)
        );
        return Err(bad(sentence));
    }
    let context = app.search_context(handling);
    let parsed = parse::parse(&[resource_type], &pairs, context).map_err(|mut error| {
        for issue in &mut error.issues {
            issue.expression = Some("http._typeFilter".into());
        }
        error
    })?;
    notes.extend(parsed.ignored.iter().map(|sentence| format!("_typeFilter of {resource_type}: {sentence}")));
    let filters = parsed.types.into_iter().next().map(|part| part.filters).unwrap_or_default();
    let mut part = TypeQuery { resource_type, filters, sort: Vec::new() };
    access::narrow(app, caller, &[Access::LOOK], &mut part)?;
    Ok(part.filters)
}

fn is_of_results(name: &str) -> bool {
    let code = name.split([':', '.']).next().unwrap_or_default();
    OF_RESULTS.contains(&code)
}

pub(super) fn bad(sentence: impl Into<String>) -> FhirError {
    FhirError::with_issue(Kind::Malformed, Issue::error(IssueCode::Value, sentence).at("http._typeFilter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_begins_another_filter_only_before_a_type() {
        for (text, parts) in [
            ("Practitioner?name=a", &["Practitioner?name=a"][..]),
            ("Practitioner?name=a,b", &["Practitioner?name=a,b"]),
            ("Practitioner?name=a,b,Location?status=active", &["Practitioner?name=a,b", "Location?status=active"]),
            ("Location?status=active,suspended&name=X,Y", &["Location?status=active,suspended&name=X,Y"]),
            ("A?x=1,B?y=2,C", &["A?x=1", "B?y=2,C"]),
            ("Basic?code=http://x?y,Z", &["Basic?code=http://x?y,Z"]),
            ("", &[""]),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }
}
