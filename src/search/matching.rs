//! Filters in memory, on one resource at hand. The answer is the one that the store's statements give, found without
//! asking the store, so that a resource that was just read or is about to be written can be judged.
//!
//! What other resources have to say cannot be told from one: a chain, `_has`, a hierarchy of references. An answer is then
//! `None`, unless the rest of the condition decides it alone, as in three-valued logic: "false and unknown" is false,
//! "true or unknown" is true, "not unknown" is unknown. `Some` is never wrong.
//!
//! Nothing is allocated, and of the entries only those of the parameter that is asked for are looked at.

use crate::fhir::types::{Instant, ResourceType};

use super::date::DateRange;
use super::geo::{chord_squared, chord_squared_between};
use super::param::{ParamId, ParamKind, SearchParam};
use super::query::{
    DateMatch, Filter, NearMatch, Prefix, QuantityMatch, ReferenceMatch, StringMatch, Test, TokenMatch, UriMatch,
};
use super::value::{IndexEntries, QuantityEntry, ReferenceEntry, StringEntry, SystemHash, TokenEntry, UriEntry};

/// A resource as filters see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub resource_type: ResourceType,
    pub id: &'a str,
    pub last_updated: Instant,
    /// All that it offers, in order, as [`super::extract::Extractor::entries`] gives them.
    pub entries: &'a IndexEntries,
}

/// Whether a search of the subject's type by this filter finds the subject; `None` when that depends on other resources.
pub fn holds(filter: &Filter, subject: &Subject<'_>) -> Option<bool> {
    let Subject { resource_type, id, last_updated, entries } = *subject;
    match filter {
        Filter::Nothing => Some(false),
        Filter::Id { base, ids } => Some(*base == resource_type && ids.iter().any(|wanted| wanted == id)),
        Filter::LastUpdated { base, ranges } => {
            // An instant of one millisecond.
            let (lo, hi) = (last_updated.0, last_updated.0.saturating_add(1000));
            Some(*base == resource_type && (ranges.is_empty() || ranges.iter().any(|range| is_in(range, lo, hi))))
        }
        Filter::Value { param, test } => meets(param, test, entries),
        Filter::Not { param, test } => meets(param, test, entries).map(|met| !met),
        Filter::Missing { param, missing } => Some(has_value(param, entries) != *missing),
        // What it leads to is another resource; that it leads nowhere can be seen here.
        Filter::Chain { param, target, .. } => {
            let leads = references(entries, param).iter().any(|entry| entry.target.resource_type == *target);
            if leads { None } else { Some(false) }
        }
        Filter::Has { .. } => None,
        Filter::Any(alternatives) => any(alternatives, |alternative| all_hold(alternative, subject)),
    }
}

/// Whether every filter [`holds`].
pub fn all_hold(filters: &[Filter], subject: &Subject<'_>) -> Option<bool> {
    let mut verdict = Some(true);
    for filter in filters {
        match holds(filter, subject) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => verdict = None,
        }
    }
    verdict
}

fn any<T>(items: &[T], holds: impl Fn(&T) -> Option<bool>) -> Option<bool> {
    let mut verdict = Some(false);
    for item in items {
        match holds(item) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => verdict = None,
        }
    }
    verdict
}

/// Whether a value of the parameter is one of those asked for.
fn meets(param: &SearchParam, test: &Test, entries: &IndexEntries) -> Option<bool> {
    Some(match test {
        Test::Token(wanted) => has_token(tokens(entries, param.id), wanted),
        Test::OfType(wanted) => has_token(tokens(entries, param.of_type_id), wanted),
        Test::Identifier(wanted) => has_token(tokens(entries, param.identifier_id), wanted),
        Test::Text(wanted) => strings(entries, param.text_id)
            .iter()
            .any(|entry| wanted.iter().any(|beginning| begins(&entry.folded, beginning))),
        Test::String(wanted) => {
            strings(entries, param.id).iter().any(|entry| wanted.iter().any(|wanted| is_string(entry, wanted)))
        }
        Test::Date(wanted) => of(&entries.dates, param.id, |entry| entry.param)
            .iter()
            .any(|entry| wanted.iter().any(|date| is_in(date, entry.lo, entry.hi))),
        Test::Reference(wanted) => return any(wanted, |wanted| refers(param, wanted, entries)),
        Test::Uri(wanted) => {
            uris(entries, param).iter().any(|entry| wanted.iter().any(|wanted| is_uri(&entry.value, wanted)))
        }
        Test::Near(wanted) => of(&entries.positions, param.id, |entry| entry.param)
            .iter()
            .any(|entry| wanted.iter().any(|near| is_within(near, entry.vector))),
        Test::Quantity(wanted) => of(&entries.quantities, param.id, |entry| entry.param)
            .iter()
            .any(|entry| wanted.iter().any(|wanted| is_quantity(entry, wanted))),
        Test::Composite(wanted) => of(&entries.composites, param.id, |entry| entry.param).iter().any(|entry| {
            wanted
                .iter()
                .any(|(token, date)| is_token(token, &entry.code, entry.system) && is_in(date, entry.lo, entry.hi))
        }),
    })
}

/// Whether the parameter has a value of any kind, as `:missing` asks.
fn has_value(param: &SearchParam, entries: &IndexEntries) -> bool {
    match param.kind {
        ParamKind::Token => !tokens(entries, param.id).is_empty() || !strings(entries, param.text_id).is_empty(),
        ParamKind::String => !strings(entries, param.id).is_empty(),
        ParamKind::Date => !of(&entries.dates, param.id, |entry| entry.param).is_empty(),
        ParamKind::Reference => {
            !references(entries, param).is_empty()
                || !uris(entries, param).is_empty()
                || !tokens(entries, param.identifier_id).is_empty()
        }
        ParamKind::Uri => !uris(entries, param).is_empty(),
        ParamKind::Number | ParamKind::Quantity => !of(&entries.quantities, param.id, |entry| entry.param).is_empty(),
        ParamKind::Special => !of(&entries.positions, param.id, |entry| entry.param).is_empty(),
        ParamKind::Composite => !of(&entries.composites, param.id, |entry| entry.param).is_empty(),
    }
}

/// The entries with this number, of a list that is in order of the numbers.
fn of<E>(entries: &[E], param: ParamId, number: impl Fn(&E) -> ParamId) -> &[E] {
    debug_assert!(entries.is_sorted_by_key(&number), "the entries are in order");
    let (_, from) = entries.split_at(entries.partition_point(|entry| number(entry) < param));
    from.split_at(from.partition_point(|entry| number(entry) == param)).0
}

fn tokens(entries: &IndexEntries, id: ParamId) -> &[TokenEntry] {
    of(&entries.tokens, id, |entry| entry.param)
}

fn strings(entries: &IndexEntries, id: ParamId) -> &[StringEntry] {
    of(&entries.strings, id, |entry| entry.param)
}

fn references<'e>(entries: &'e IndexEntries, param: &SearchParam) -> &'e [ReferenceEntry] {
    of(&entries.references, param.id, |entry| entry.param)
}

fn uris<'e>(entries: &'e IndexEntries, param: &SearchParam) -> &'e [UriEntry] {
    of(&entries.uris, param.id, |entry| entry.param)
}

fn has_token(entries: &[TokenEntry], wanted: &[TokenMatch]) -> bool {
    entries.iter().any(|entry| wanted.iter().any(|wanted| is_token(wanted, &entry.code, entry.system)))
}

fn is_token(wanted: &TokenMatch, code: &str, system: SystemHash) -> bool {
    let TokenMatch { system: in_system, code: as_code } = wanted;
    // Neither names nothing.
    (in_system.is_some() || as_code.is_some())
        && in_system.is_none_or(|wanted| wanted == system)
        && as_code.as_ref().is_none_or(|wanted| wanted == code)
}

fn begins(text: &str, beginning: &str) -> bool {
    // The statements compare with the beginning followed by the last character there is.
    text.strip_prefix(beginning).is_some_and(|rest| !rest.starts_with(char::MAX))
}

fn is_string(entry: &StringEntry, wanted: &StringMatch) -> bool {
    match wanted {
        StringMatch::Starts(beginning) => begins(&entry.folded, beginning),
        StringMatch::Contains(part) => entry.folded.contains(part.as_str()),
        StringMatch::Exact(folded, exact) => {
            let exact = if exact == folded { "" } else { exact.as_str() };
            entry.folded == *folded && entry.exact == exact
        }
    }
}

/// Whether the range of a value, `lo <= t < hi`, stands to the range asked for as its prefix says (R4 search.html#prefix).
fn is_in(date: &DateMatch, lo: i64, hi: i64) -> bool {
    let DateRange { lo: from, hi: to } = date.range;
    match date.prefix {
        Prefix::Eq => lo >= from && hi <= to,
        Prefix::Ne => lo < from || hi > to,
        Prefix::Gt => hi > to,
        Prefix::Lt => lo < from,
        Prefix::Ge => hi > from,
        Prefix::Le => lo < to,
        Prefix::Sa => lo >= to,
        Prefix::Eb => hi <= from,
        Prefix::Ap => lo < to && hi > from,
    }
}

fn refers(param: &SearchParam, wanted: &ReferenceMatch, entries: &IndexEntries) -> Option<bool> {
    let here = references(entries, param);
    match wanted {
        ReferenceMatch::Elsewhere(url) => Some(uris(entries, param).iter().any(|entry| entry.value == *url)),
        ReferenceMatch::Local(target) => Some(here.iter().any(|entry| entry.target == *target)),
        // The named resource is in its own hierarchy; what else is, others say.
        ReferenceMatch::Below(target) | ReferenceMatch::Above(target) => {
            if here.iter().any(|entry| entry.target == *target) {
                Some(true)
            } else if here.is_empty() {
                Some(false)
            } else {
                None
            }
        }
    }
}

fn is_uri(value: &str, wanted: &UriMatch) -> bool {
    match wanted {
        UriMatch::Exact(uri) => value == uri,
        UriMatch::Below(uri) => {
            let under = value.strip_prefix(uri.trim_end_matches('/'));
            value == uri || under.is_some_and(|rest| rest.starts_with('/'))
        }
        UriMatch::Above(uris) => uris.iter().any(|uri| uri == value),
    }
}

fn is_within(near: &NearMatch, vector: [f64; 3]) -> bool {
    chord_squared_between(vector, near.position.vector()) <= chord_squared(near.distance_m)
}

fn is_quantity(entry: &QuantityEntry, wanted: &QuantityMatch) -> bool {
    let QuantityMatch { prefix, exact, lo, hi, .. } = *wanted;
    let value = entry.value;
    let is_value = match prefix {
        Prefix::Eq | Prefix::Ap => value >= lo && value < hi,
        Prefix::Ne => value < lo || value >= hi,
        Prefix::Gt | Prefix::Sa => value > exact,
        Prefix::Lt | Prefix::Eb => value < exact,
        Prefix::Ge => value >= exact,
        Prefix::Le => value <= exact,
    };
    is_value
        && wanted.system.is_none_or(|system| system == entry.system)
        && wanted.code.as_ref().is_none_or(|code| *code == entry.code)
}
