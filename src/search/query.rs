//! A query as it is meant: filters over one or several resource types, order, page, and what comes along.

use crate::fhir::subset::Summary;
use crate::fhir::types::ResourceType;

use super::date::DateRange;
use super::geo::Position;
use super::include::Include;
use super::param::SearchParam;
use super::value::{SystemHash, Target};

/// Prefix of a number, date or quantity (R4 search.html#prefix).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    Sa,
    Eb,
    Ap,
}

/// One condition on a resource. Every condition of a query must hold.
#[derive(Clone, Debug)]
pub enum Filter {
    /// `_id`: the resource has one of these ids.
    Id { base: ResourceType, ids: Vec<String> },
    /// `_lastUpdated`.
    LastUpdated { base: ResourceType, ranges: Vec<DateMatch> },
    /// A parameter has a value that matches (any of) what is asked.
    Value { param: &'static SearchParam, test: Test },
    /// The parameter has a value, or has none (`:missing`).
    Missing { param: &'static SearchParam, missing: bool },
    /// No value of the parameter matches (`:not`).
    Not { param: &'static SearchParam, test: Test },
    /// A resource that the reference points to meets the inner condition.
    Chain { param: &'static SearchParam, target: ResourceType, inner: Box<Filter> },
    /// A resource that points here by the reference meets the inner condition (`_has`).
    Has { param: &'static SearchParam, inner: Box<Filter> },
    /// At least one alternative holds; an alternative holds when each of its filters does. So one without filters always
    /// holds, and of no alternatives none does. How many there are is for the one who makes them to bound.
    Any(Vec<Vec<Filter>>),
    /// Nothing can match: a value that names nothing of this server.
    Nothing,
}

/// What a value of a parameter is compared with; a list means any of it.
#[derive(Clone, Debug)]
pub enum Test {
    Token(Vec<TokenMatch>),
    /// Display texts that begin so (`:text`).
    Text(Vec<String>),
    OfType(Vec<TokenMatch>),
    String(Vec<StringMatch>),
    Date(Vec<DateMatch>),
    Reference(Vec<ReferenceMatch>),
    /// `:identifier` on a reference.
    Identifier(Vec<TokenMatch>),
    Uri(Vec<UriMatch>),
    Near(Vec<NearMatch>),
    Quantity(Vec<QuantityMatch>),
    Composite(Vec<(TokenMatch, DateMatch)>),
}

/// `code`, `system|code`, `|code` or `system|`. The code is folded to lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenMatch {
    /// `None`: any system. 0: the value must have none.
    pub system: Option<SystemHash>,
    pub code: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StringMatch {
    Starts(String),
    Contains(String),
    /// The folded form, for the index, and the exact one.
    Exact(String, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DateMatch {
    pub prefix: Prefix,
    pub range: DateRange,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceMatch {
    Local(Target),
    Elsewhere(String),
    /// `:below`: the resource itself and all under it.
    Below(Target),
    /// `:above`: the resource itself and all over it.
    Above(Target),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UriMatch {
    Exact(String),
    /// The url itself and every one it is a path prefix of.
    Below(String),
    /// The url itself and every one that is a path prefix of it.
    Above(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearMatch {
    pub position: Position,
    pub distance_m: f64,
}

/// A number or quantity. `lo..hi` is the implicit range of the digits written; for the ordering prefixes `exact` counts.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantityMatch {
    pub prefix: Prefix,
    pub exact: f64,
    pub lo: f64,
    pub hi: f64,
    /// `None`: any system. 0: none.
    pub system: Option<SystemHash>,
    pub code: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub struct SortKey {
    pub by: SortBy,
    pub descending: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum SortBy {
    Id,
    LastUpdated,
    Param(&'static SearchParam),
    /// Distance from the first position of the query's `near`.
    Near(&'static SearchParam, Position),
}

/// `_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    None,
    Estimate,
    Accurate,
}

/// A query over the resources of one type. A search across types is one of these for each.
#[derive(Clone, Debug)]
pub struct TypeQuery {
    pub resource_type: ResourceType,
    pub filters: Vec<Filter>,
    pub sort: Vec<SortKey>,
}

/// A whole search request.
#[derive(Clone, Debug)]
pub struct Query {
    /// In order of the types' codes; at least one.
    pub types: Vec<TypeQuery>,
    /// Matches on a page; 0 acts as `_summary=count`.
    pub count: usize,
    pub total: Option<Total>,
    pub summary: Summary,
    pub elements: Vec<String>,
    pub includes: Vec<Include>,
    /// The opaque cursor of a page after the first.
    pub cursor: Option<String>,
    /// The parameters that were used, as they were sent: what the self link lists.
    pub used: Vec<(String, String)>,
    /// What a lenient server left out, in words.
    pub ignored: Vec<String>,
}

impl Query {
    /// Only the number of matches is asked for.
    pub fn is_count_only(&self) -> bool {
        self.count == 0 || self.summary == Summary::Count
    }
}
