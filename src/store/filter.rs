//! What can be said of a filter before it is SQL: whether an index lists what meets it, in which order, and whether that
//! is known to be live. The two forms of a filter, drive and probe, are those of [`super::predicate`].

use crate::search::query::{Filter, Test};

/// Alternatives that drive together. Each is a SELECT of one compound, of which SQLite takes 500; of so many, the walk over
/// the type that is left instead meets one soon.
const ALTERNATIVES_DRIVING_MAX: usize = 100;

/// Whether the filter can drive. One that says what a resource must not have cannot, since no index lists those.
pub(super) fn is_listed(filter: &Filter) -> bool {
    match filter {
        Filter::Not { .. } | Filter::Missing { missing: true, .. } => false,
        Filter::Any(alternatives) => are_listed(alternatives),
        _ => true,
    }
}

/// Whether alternatives can drive: each has a filter that can, and they are not too many.
pub(super) fn are_listed(alternatives: &[Vec<Filter>]) -> bool {
    alternatives.len() <= ALTERNATIVES_DRIVING_MAX
        && alternatives.iter().all(|alternative| driver(alternative).is_some())
}

/// The filter that an alternative begins with, the first that can drive, and its place.
pub(super) fn driver(alternative: &[Filter]) -> Option<(usize, &Filter)> {
    alternative.iter().enumerate().find(|(_, filter)| is_listed(filter))
}

/// A circle on the globe: few rows of many, so that a walk over the type would probe long before it has a page.
pub(super) fn is_near(filter: &Filter) -> bool {
    match filter {
        Filter::Value { test, .. } => matches!(test, Test::Near(_)),
        Filter::Chain { inner, .. } | Filter::Has { inner, .. } => is_near(inner),
        Filter::Any(alternatives) => {
            alternatives.iter().all(|alternative| driver(alternative).is_some_and(|(_, filter)| is_near(filter)))
        }
        _ => false,
    }
}

/// The index yields the matches of one code in order of the row ids, so that a page ends the statement.
pub(super) fn comes_in_order(filter: &Filter) -> bool {
    match filter {
        Filter::Value { test: Test::Token(tokens), .. } => matches!(tokens.as_slice(), [token] if token.code.is_some()),
        Filter::Value { test: Test::Reference(references), .. } => references.len() == 1,
        Filter::Any(alternatives) => match alternatives.as_slice() {
            [alternative] => driver(alternative).is_some_and(|(_, filter)| comes_in_order(filter)),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a probe of the filter holds for live resources of its type only. One that asks for no index row of the resource
/// itself also holds for names that no live resource has, and for resources of another type.
pub(super) fn tells_live(filter: &Filter) -> bool {
    match filter {
        Filter::Not { .. }
        | Filter::Missing { missing: true, .. }
        | Filter::Has { .. }
        | Filter::LastUpdated { .. } => false,
        Filter::Any(alternatives) => alternatives.iter().all(|alternative| alternative.iter().any(tells_live)),
        Filter::Id { .. }
        | Filter::Value { .. }
        | Filter::Missing { missing: false, .. }
        | Filter::Chain { .. }
        | Filter::Nothing => true,
    }
}

/// Whether a drive of the filter may list names that no live resource has, and resources of another type: what a reference
/// points to may be either.
pub(super) fn lists_names(filter: &Filter) -> bool {
    match filter {
        Filter::Has { .. } => true,
        Filter::Any(alternatives) => alternatives.iter().any(|alternative| {
            driver(alternative).is_some_and(|(_, filter)| lists_names(filter)) && !alternative.iter().any(tells_live)
        }),
        _ => false,
    }
}
