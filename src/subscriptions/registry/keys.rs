//! Values by which subscriptions are found: those of a filter that asks for equality, and those that a resource has.

use std::hash::{BuildHasher, RandomState};

use crate::fhir::types::ResourceType;
use crate::search::matching::Subject;
use crate::search::param::{ParamId, SearchParam};
use crate::search::query::{Filter, ReferenceMatch, Test, TokenMatch, UriMatch};
use crate::search::value::SystemHash;

/// More alternatives than this do not find anything faster than asking.
const ALTERNATIVES_MAX: usize = 64;

/// A value, by its hash. Two values of one hash cost an evaluation that finds nothing.
pub(super) type Key = u64;

#[derive(Hash)]
enum Parts<'a> {
    Id(&'a str),
    Reference(ParamId, ResourceType, &'a str),
    Uri(ParamId, &'a str),
    /// `None`: of whatever system.
    Token(ParamId, Option<SystemHash>, &'a str),
}

/// A filter that holds only for resources with one of some values.
pub(super) struct Equality {
    /// In order, each once; at least one.
    pub(super) keys: Vec<Key>,
    /// How little one such value tells apart: the higher, the more resources share one.
    pub(super) breadth: usize,
}

/// The values that a filter asks for; `None` when it asks for something else.
pub(super) fn equality(filter: &Filter, hasher: &RandomState) -> Option<Equality> {
    let (parts, breadth): (Vec<Parts<'_>>, usize) = match filter {
        Filter::Id { ids, .. } => (ids.iter().map(|id| Parts::Id(id)).collect(), 1),
        Filter::Value { param, test } => match test {
            Test::Token(wanted) => (tokens(param.id, wanted)?, breadth_of(param, wanted)),
            Test::OfType(wanted) => (tokens(param.of_type_id, wanted)?, 1),
            Test::Identifier(wanted) => (tokens(param.identifier_id, wanted)?, 2),
            Test::Reference(wanted) => (wanted.iter().map(|it| reference(param, it)).collect::<Option<_>>()?, 2),
            Test::Uri(wanted) => (wanted.iter().map(|it| uri(param, it)).collect::<Option<_>>()?, 8),
            _ => return None,
        },
        _ => return None,
    };
    if parts.is_empty() || parts.len() > ALTERNATIVES_MAX {
        return None;
    }
    let mut keys: Vec<Key> = parts.iter().map(|parts| hasher.hash_one(parts)).collect();
    keys.sort_unstable();
    keys.dedup();
    Some(Equality { keys, breadth })
}

fn tokens(id: ParamId, wanted: &[TokenMatch]) -> Option<Vec<Parts<'_>>> {
    wanted.iter().map(|it| it.code.as_deref().map(|code| Parts::Token(id, it.system, code))).collect()
}

/// Identifiers are of one resource, codes of many, and yes or no of half of them.
fn breadth_of(param: &SearchParam, wanted: &[TokenMatch]) -> usize {
    let is_flag = |it: &TokenMatch| matches!(it.code.as_deref(), Some("true" | "false" | "active"));
    match param.code.as_str() {
        "identifier" => 1,
        _ if wanted.iter().any(is_flag) => 1_000,
        _ => 16,
    }
}

fn reference<'a>(param: &SearchParam, wanted: &'a ReferenceMatch) -> Option<Parts<'a>> {
    match wanted {
        ReferenceMatch::Local(target) => Some(Parts::Reference(param.id, target.resource_type, &target.id)),
        ReferenceMatch::Elsewhere(url) => Some(Parts::Uri(param.id, url)),
        ReferenceMatch::Below(_) | ReferenceMatch::Above(_) => None,
    }
}

fn uri<'a>(param: &SearchParam, wanted: &'a UriMatch) -> Option<Parts<'a>> {
    match wanted {
        UriMatch::Exact(uri) => Some(Parts::Uri(param.id, uri)),
        UriMatch::Below(_) | UriMatch::Above(_) => None,
    }
}

/// All values of a resource by which a filter could be found.
pub(super) fn of<'a>(subject: &'a Subject<'_>, hasher: &'a RandomState) -> impl Iterator<Item = Key> + 'a {
    let Subject { id, entries, .. } = *subject;
    let references =
        entries.references.iter().map(|it| Parts::Reference(it.param, it.target.resource_type, &it.target.id));
    let uris = entries.uris.iter().map(|it| Parts::Uri(it.param, &it.value));
    let tokens = entries
        .tokens
        .iter()
        .flat_map(|it| [None, Some(it.system)].map(|system| Parts::Token(it.param, system, &it.code)));
    std::iter::once(Parts::Id(id)).chain(references).chain(uris).chain(tokens).map(|parts| hasher.hash_one(&parts))
}
