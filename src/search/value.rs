//! What a resource offers to search: its index entries, one list per kind of value.
//!
//! The lists are sorted and hold nothing twice, so that the difference between two versions of a resource is a walk
//! over both.

use openssl::sha::sha256;

use crate::fhir::types::ResourceType;

use super::param::ParamId;

/// A code, an identifier, a boolean: found by equality.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenEntry {
    pub param: ParamId,
    /// Folded to lower case: in doubt a token does not tell cases apart (R4 search.html#token).
    pub code: String,
    pub system: SystemHash,
}

/// Text: found by its beginning, any part, or exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StringEntry {
    pub param: ParamId,
    pub folded: String,
    /// The original; empty when it equals the folded form.
    pub exact: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateEntry {
    pub param: ParamId,
    pub lo: i64,
    pub hi: i64,
}

/// A reference to a resource that lives, or may one day live, on this server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferenceEntry {
    pub param: ParamId,
    pub target: Target,
}

/// `Type/id`: the name of a resource on this server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub resource_type: ResourceType,
    pub id: String,
}

/// A uri, compared as it is; also a reference that points elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UriEntry {
    pub param: ParamId,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PositionEntry {
    pub param: ParamId,
    pub cell: i32,
    /// Unit vector; see [`super::geo`].
    pub vector: [f64; 3],
}

/// A number or a quantity. `code` is the coded unit (or a currency), empty when there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantityEntry {
    pub param: ParamId,
    pub value: f64,
    pub system: SystemHash,
    pub code: String,
}

/// A token and a date that belong to one element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompositeEntry {
    pub param: ParamId,
    pub code: String,
    pub system: SystemHash,
    pub lo: i64,
    pub hi: i64,
}

/// The first 64 bits of the SHA-256 of a code system's URL; 0 means that there is no system. Index rows stay small and
/// no node has to agree with another on a dictionary.
pub type SystemHash = i64;

pub fn system_hash(system: &str) -> SystemHash {
    if system.is_empty() {
        return 0;
    }
    let digest = sha256(system.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(digest.first_chunk::<8>().unwrap_or(&[0; 8]));
    // An odd number is never 0, which is taken.
    i64::from_be_bytes(first) | 1
}

/// Everything that one resource offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexEntries {
    pub tokens: Vec<TokenEntry>,
    pub strings: Vec<StringEntry>,
    pub dates: Vec<DateEntry>,
    pub references: Vec<ReferenceEntry>,
    pub uris: Vec<UriEntry>,
    pub positions: Vec<PositionEntry>,
    pub quantities: Vec<QuantityEntry>,
    pub composites: Vec<CompositeEntry>,
}

impl IndexEntries {
    /// Sorts every list and drops what occurs twice.
    pub fn normalize(&mut self) {
        fn tidy<E: PartialEq>(entries: &mut Vec<E>, order: impl FnMut(&E, &E) -> std::cmp::Ordering) {
            entries.sort_by(order);
            entries.dedup();
        }
        tidy(&mut self.tokens, Ord::cmp);
        tidy(&mut self.strings, Ord::cmp);
        tidy(&mut self.dates, Ord::cmp);
        tidy(&mut self.references, Ord::cmp);
        tidy(&mut self.uris, Ord::cmp);
        tidy(&mut self.composites, Ord::cmp);
        tidy(&mut self.positions, |a, b| {
            (a.param, a.cell).cmp(&(b.param, b.cell)).then_with(|| {
                a.vector
                    .iter()
                    .zip(&b.vector)
                    .map(|(a, b)| a.total_cmp(b))
                    .find(|o| o.is_ne())
                    .unwrap_or(std::cmp::Ordering::Equal)
            })
        });
        tidy(&mut self.quantities, |a, b| {
            (a.param, a.system, &a.code).cmp(&(b.param, b.system, &b.code)).then(a.value.total_cmp(&b.value))
        });
    }

    /// The entries of `self` that `other` lacks, which must be normalized as well.
    pub fn minus(mut self, other: &Self) -> Self {
        fn subtract<E: PartialEq>(left: &mut Vec<E>, right: &[E]) {
            if !right.is_empty() {
                left.retain(|entry| !right.contains(entry));
            }
        }
        subtract(&mut self.tokens, &other.tokens);
        subtract(&mut self.strings, &other.strings);
        subtract(&mut self.dates, &other.dates);
        subtract(&mut self.references, &other.references);
        subtract(&mut self.uris, &other.uris);
        subtract(&mut self.positions, &other.positions);
        subtract(&mut self.quantities, &other.quantities);
        subtract(&mut self.composites, &other.composites);
        self
    }
}
