//! Query string -> [`Query`] (R4 search.html). Nothing is dropped silently: what cannot be answered is refused, or, if
//! the client asked for lenient handling, named in [`Query::ignored`].

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::fhir::subset::Summary;
use crate::fhir::terminology::Terminology;
use crate::fhir::types::{Instant, ResourceType, is_id};

use super::include::{Include, references};
use super::param::{ParamKind, SearchParam, registry};
use super::query::{Filter, Query, SortBy, SortKey, Test, Total, TypeQuery};
use super::values;

/// Steps of a chain or `_has` that one parameter may take.
const CHAIN_STEPS_MAX: usize = 6;
/// Parameters in one query, and values in all of them: each becomes a part of one statement.
const PARAMETERS_MAX: usize = 100;
const VALUES_MAX: usize = 2_000;
/// Parameters of FHIR, and of other servers, whose names begin with an underscore and that narrow or shape a result. Those
/// of them that are not offered must not be passed over: a client that pages by `_offset` would never come to an end.
const RESERVED: &[&str] = &[
    "_contained",
    "_containedType",
    "_content",
    "_count",
    "_cursor",
    "_elements",
    "_filter",
    "_has",
    "_id",
    "_in",
    "_include",
    "_language",
    "_lastUpdated",
    "_list",
    "_offset",
    "_page",
    "_profile",
    "_query",
    "_revinclude",
    "_security",
    "_sort",
    "_source",
    "_summary",
    "_tag",
    "_text",
    "_total",
    "_type",
];

/// `Prefer: handling=…`: what to do with a parameter that this server does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handling {
    /// Refuse it: Plan-Net answers 400 to an invalid parameter. Only a name with an underscore that is none of FHIR's,
    /// such as `_cb`, never narrows a result: it is left out, and the answer says so.
    #[default]
    Default,
    /// Refuse it, whatever its name.
    Strict,
    /// Leave it out and say so in the answer.
    Lenient,
}

/// What a query is read against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Base URLs of this server; see [`super::extract::Extractor`].
    pub bases: &'a [String],
    /// For `ap`, which widens with the distance from now.
    pub now: Instant,
    pub handling: Handling,
    /// For `:in`, `:not-in`, `:above` and `:below`.
    pub terminology: &'a Terminology,
    /// Matches on a page when `_count` is absent, and at most.
    pub count_default: usize,
    pub count_max: usize,
}

/// Why a parameter cannot be used. Only an unknown one may be left out by a lenient server.
pub(super) enum Problem {
    Unknown(String),
    Bad(String),
}

impl Problem {
    pub(super) fn bad(sentence: impl Into<String>) -> Self {
        Self::Bad(sentence.into())
    }
}

/// Reads the decoded parameters of a search of `types` (one, or several for a search across types).
///
/// # Errors
/// 400 with one issue for every parameter that cannot be used, located at `http.NAME`.
pub fn parse(types: &[ResourceType], pairs: &[(String, String)], context: Context<'_>) -> Result<Query, FhirError> {
    let mut query = Query {
        types: types.iter().map(|&t| TypeQuery { resource_type: t, filters: Vec::new(), sort: Vec::new() }).collect(),
        count: context.count_default,
        total: None,
        summary: Summary::False,
        elements: Vec::new(),
        includes: Vec::new(),
        cursor: None,
        used: Vec::new(),
        ignored: Vec::new(),
    };
    if pairs.len() > PARAMETERS_MAX {
        return Err(FhirError::malformed(format!("A search takes at most {PARAMETERS_MAX} parameters."))
            .code(IssueCode::TooCostly));
    }
    if pairs.iter().map(|(_, value)| 1 + value.matches(',').count()).sum::<usize>() > VALUES_MAX {
        return Err(
            FhirError::malformed(format!("A search takes at most {VALUES_MAX} values.")).code(IssueCode::TooCostly)
        );
    }
    let mut issues = Vec::new();
    for (name, value) in pairs {
        // `_format` and `_pretty` shape the response, and an empty value asks for nothing (R4 search.html).
        if value.is_empty() || matches!(name.as_str(), "_format" | "_pretty") {
            continue;
        }
        match apply(&mut query, name, value, context) {
            Ok(()) => note(&mut query, name, value),
            Err(Problem::Unknown(sentence)) if may_ignore(context.handling, name) => query.ignored.push(sentence),
            Err(Problem::Unknown(sentence)) => issues.push(issue(IssueCode::NotSupported, sentence, name)),
            Err(Problem::Bad(sentence)) => issues.push(issue(IssueCode::Value, sentence, name)),
        }
    }
    near_sort(&mut query);
    if query.summary == Summary::Text && !query.includes.is_empty() {
        issues.push(issue(
            IssueCode::Value,
            "_include and _revinclude cannot be mixed with _summary=text".into(),
            "_summary",
        ));
    }
    if issues.is_empty() { Ok(query) } else { Err(FhirError::with_issues(Kind::Malformed, issues)) }
}

/// Lists a parameter as used. Of those that stand for one value the last one counts.
fn note(query: &mut Query, name: &str, value: &str) {
    let value = match name {
        "_cursor" => return,
        "_count" => query.count.to_string(),
        _ => value.to_owned(),
    };
    if matches!(name, "_count" | "_sort" | "_summary" | "_total") {
        query.used.retain(|(used, _)| used != name);
    }
    query.used.push((name.to_owned(), value));
}

fn may_ignore(handling: Handling, name: &str) -> bool {
    let code = name.split([':', '.']).next().unwrap_or_default();
    match handling {
        Handling::Strict => false,
        Handling::Lenient => true,
        Handling::Default => code.starts_with('_') && !RESERVED.contains(&code),
    }
}

fn issue(code: IssueCode, sentence: String, name: &str) -> Issue {
    Issue::error(code, sentence).at(format!("http.{}", excerpt(name)))
}

fn apply(query: &mut Query, name: &str, value: &str, context: Context<'_>) -> Result<(), Problem> {
    let searched: Vec<ResourceType> = query.types.iter().map(|t| t.resource_type).collect();
    match name {
        "_count" => {
            query.count = value.parse::<usize>().map_err(|_not_a_number| bad_count(value))?.min(context.count_max)
        }
        "_total" => query.total = Some(total(value)?),
        "_summary" => {
            query.summary = Summary::parse(value).ok_or_else(|| {
                Problem::bad(format!("_summary is true, text, data, count or false, not '{}'", excerpt(value)))
            })?;
        }
        "_elements" => {
            query.elements.extend(value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()))
        }
        "_cursor" => query.cursor = Some(value.to_owned()),
        "_contained" if value == "false" => {}
        "_sort" => {
            let sorts = searched.iter().map(|&base| sort(base, value)).collect::<Result<Vec<_>, _>>()?;
            query.types.iter_mut().zip(sorts).for_each(|(part, sort)| part.sort = sort);
        }
        _ if name.starts_with("_include") || name.starts_with("_revinclude") => {
            let (name, modifier) = name.split_once(':').unwrap_or((name, ""));
            let reverse = match name {
                "_include" => false,
                "_revinclude" => true,
                _ => return Err(Problem::Unknown(format!("'{}' is no parameter of this server", excerpt(name)))),
            };
            let iterate = match modifier {
                "" => false,
                "iterate" | "recurse" => true,
                _ => {
                    return Err(Problem::bad(format!(
                        "'{}' is no modifier of {name}; it takes :iterate",
                        excerpt(modifier)
                    )));
                }
            };
            query.includes.push(Include::parse(value, reverse, iterate, &searched).map_err(Problem::Bad)?);
        }
        // What a named query would do cannot be guessed, however lenient the client is.
        "_query" => return Err(Problem::bad(format!("there is no named query '{}'", excerpt(value)))),
        _ => {
            let reader = Reader { context };
            // All types take the filter, or none does.
            let filters =
                searched.iter().map(|&base| reader.filter(base, name, value, 0)).collect::<Result<Vec<_>, _>>()?;
            query.types.iter_mut().zip(filters).for_each(|(part, filter)| part.filters.push(filter));
        }
    }
    Ok(())
}

fn bad_count(value: &str) -> Problem {
    Problem::bad(format!("_count is a whole number from 0, not '{}'", excerpt(value)))
}

fn total(value: &str) -> Result<Total, Problem> {
    match value {
        "none" => Ok(Total::None),
        "estimate" => Ok(Total::Estimate),
        "accurate" => Ok(Total::Accurate),
        _ => Err(Problem::bad(format!("_total is none, estimate or accurate, not '{}'", excerpt(value)))),
    }
}

fn sort(base: ResourceType, value: &str) -> Result<Vec<SortKey>, Problem> {
    value
        .split(',')
        .map(str::trim)
        .filter(|code| !code.is_empty())
        .map(|code| {
            let (code, descending) = code.strip_prefix('-').map_or((code, false), |code| (code, true));
            let by = match code {
                "_id" => SortBy::Id,
                "_lastUpdated" => SortBy::LastUpdated,
                _ => {
                    let param = lookup(base, code)?;
                    match param.kind {
                        ParamKind::Composite => {
                            return Err(Problem::bad(format!("'{code}' is composite and has no order to sort by")));
                        }
                        // Completed by `near_sort`, once the position is known.
                        ParamKind::Special => {
                            SortBy::Near(param, super::geo::Position { latitude: 0.0, longitude: 0.0 })
                        }
                        _ => SortBy::Param(param),
                    }
                }
            };
            Ok(SortKey { by, descending })
        })
        .collect()
}

/// `_sort=near` orders by the distance from the first position that the query names; without one it orders nothing.
fn near_sort(query: &mut Query) {
    for part in &mut query.types {
        let from = part.filters.iter().find_map(|filter| match filter {
            Filter::Value { test: Test::Near(near), .. } => near.first().map(|near| near.position),
            _ => None,
        });
        part.sort.retain_mut(|key| match (&mut key.by, from) {
            (SortBy::Near(_, position), Some(from)) => {
                *position = from;
                true
            }
            (SortBy::Near(..), None) => false,
            _ => true,
        });
    }
}

fn lookup(base: ResourceType, code: &str) -> Result<&'static SearchParam, Problem> {
    registry().get(base, code).ok_or_else(|| {
        let known: Vec<&str> = registry().of_type(base).map(|param| param.code.as_str()).collect();
        Problem::Unknown(format!("{base} has no search parameter '{}'; it has {}", excerpt(code), known.join(", ")))
    })
}

struct Reader<'a> {
    context: Context<'a>,
}

impl Reader<'_> {
    /// The condition that `name=value` puts on a resource of type `base`.
    fn filter(&self, base: ResourceType, name: &str, value: &str, step: usize) -> Result<Filter, Problem> {
        if step > CHAIN_STEPS_MAX {
            return Err(Problem::bad(format!("a chain takes at most {CHAIN_STEPS_MAX} steps")));
        }
        if let Some(rest) = name.strip_prefix("_has:") {
            return self.has(base, rest, value, step);
        }
        if let Some((head, rest)) = name.split_once('.') {
            return self.chain(base, head, rest, value, step);
        }
        let (code, modifier) = name.split_once(':').map_or((name, None), |(code, modifier)| (code, Some(modifier)));
        let param = lookup(base, code)?;
        if modifier == Some("missing") {
            let missing = match value {
                "true" => true,
                "false" => false,
                _ => return Err(Problem::bad(format!("{code}:missing is true or false, not '{}'", excerpt(value)))),
            };
            if matches!(param.kind, ParamKind::Special | ParamKind::Composite) {
                return Err(Problem::bad(format!("'{code}' takes no modifier")));
            }
            return Ok(match code {
                // Every stored resource has both.
                "_id" | "_lastUpdated" if missing => Filter::Nothing,
                "_id" | "_lastUpdated" => Filter::LastUpdated { base, ranges: Vec::new() },
                _ => Filter::Missing { param, missing },
            });
        }
        match code {
            "_id" => {
                no_modifier(code, modifier)?;
                let ids = values::alternatives(value)?.into_iter().filter(|id| is_id(id)).collect::<Vec<_>>();
                Ok(if ids.is_empty() { Filter::Nothing } else { Filter::Id { base, ids } })
            }
            "_lastUpdated" => {
                no_modifier(code, modifier)?;
                Ok(Filter::LastUpdated { base, ranges: values::dates(value, self.context.now)? })
            }
            _ => self.value(param, modifier, value),
        }
    }

    fn value(&self, param: &'static SearchParam, modifier: Option<&str>, value: &str) -> Result<Filter, Problem> {
        let unsupported = |modifier: &str| {
            Problem::Bad(format!(
                "the modifier ':{}' is not supported for the {} parameter '{}'",
                excerpt(modifier),
                param.kind.as_str(),
                param.code
            ))
        };
        let test = match (param.kind, modifier) {
            (ParamKind::Token, None) => Test::Token(values::tokens(param, value)?),
            (ParamKind::Token, Some("not")) => {
                return Ok(Filter::Not { param, test: Test::Token(values::tokens(param, value)?) });
            }
            (ParamKind::Token, Some("text")) => Test::Text(values::texts(value)?),
            (ParamKind::Token, Some("of-type" | "ofType")) => Test::OfType(values::of_type(value)?),
            (ParamKind::Token, Some(modifier @ ("in" | "not-in" | "above" | "below"))) => {
                let tokens = values::concepts(param, modifier, value, self.context.terminology)?;
                let test = Test::Token(tokens);
                return Ok(if modifier == "not-in" {
                    Filter::Not { param, test }
                } else {
                    Filter::Value { param, test }
                });
            }
            (ParamKind::String, None | Some("exact" | "contains")) => {
                Test::String(values::strings(param, modifier, value)?)
            }
            (ParamKind::Date, None) => Test::Date(values::dates(value, self.context.now)?),
            (ParamKind::Number, None) => Test::Quantity(values::quantities(value, false)?),
            (ParamKind::Quantity, None) => Test::Quantity(values::quantities(value, true)?),
            (ParamKind::Uri, None | Some("above" | "below")) => Test::Uri(values::uris(modifier, value)?),
            (ParamKind::Reference, Some("identifier")) => Test::Identifier(values::tokens(param, value)?),
            (ParamKind::Reference, Some("above" | "below")) if !param.target_types().contains(&param.base) => {
                return Err(Problem::bad(format!("'{}' has no hierarchy to go up or down", param.code)));
            }
            (ParamKind::Reference, modifier) => {
                let references = values::references(param, modifier, value, self.context.bases)?;
                if references.is_empty() {
                    return Ok(Filter::Nothing);
                }
                Test::Reference(references)
            }
            (ParamKind::Special, None) => Test::Near(values::near(value)?),
            (ParamKind::Composite, None) => Test::Composite(values::composites(value, self.context.now)?),
            (_, Some(modifier)) => return Err(unsupported(modifier)),
        };
        Ok(Filter::Value { param, test })
    }

    fn chain(&self, base: ResourceType, head: &str, rest: &str, value: &str, step: usize) -> Result<Filter, Problem> {
        let (code, named) = head.split_once(':').map_or((head, None), |(code, named)| (code, Some(named)));
        let param = lookup(base, code)?;
        if param.kind != ParamKind::Reference {
            return Err(Problem::bad(format!(
                "'{code}' is a {} and cannot be chained; {base} chains {}",
                param.kind.as_str(),
                chainable(base)
            )));
        }
        if let Some(named) = named {
            let target = ResourceType::parse(named)
                .filter(|target| param.target_types().contains(target))
                .ok_or_else(|| Problem::bad(format!("{base}.{code} never points to '{}'", excerpt(named))))?;
            let inner = Box::new(self.filter(target, rest, value, step + 1)?);
            return Ok(Filter::Chain { param, target, inner });
        }
        let mut fitting = Vec::new();
        let mut problem = None;
        for &target in param.target_types() {
            match self.filter(target, rest, value, step + 1) {
                Ok(inner) => fitting.push((target, inner)),
                // A bad value says more than an unknown parameter.
                Err(error) if problem.is_none() || matches!(error, Problem::Bad(_)) => problem = Some(error),
                Err(_) => {}
            }
        }
        let (several, one) = (fitting.len() > 1, fitting.pop());
        match (several, one, problem) {
            (false, Some((target, inner)), _) => Ok(Filter::Chain { param, target, inner: Box::new(inner) }),
            (true, ..) => Err(Problem::bad(format!(
                "'{code}' may point to several types; name one, as in {code}:Organization.{}",
                excerpt(rest)
            ))),
            (_, None, Some(problem)) => Err(problem),
            (_, None, None) => Ok(Filter::Nothing),
        }
    }

    fn has(&self, base: ResourceType, rest: &str, value: &str, step: usize) -> Result<Filter, Problem> {
        let mut parts = rest.splitn(3, ':');
        let (Some(source), Some(code), Some(inner)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Problem::bad("_has is written _has:Type:reference:parameter=value"));
        };
        let source_type = ResourceType::parse(source)
            .ok_or_else(|| Problem::bad(format!("'{}' in _has is no resource type of this server", excerpt(source))))?;
        let param = lookup(source_type, code)?;
        if param.kind != ParamKind::Reference || !param.target_types().contains(&base) {
            let pointing: Vec<&str> = references(source_type)
                .filter(|param| param.target_types().contains(&base))
                .map(|param| param.code.as_str())
                .collect();
            return Err(Problem::bad(format!(
                "{source}.{} does not point to {base}; these do: {}",
                excerpt(code),
                pointing.join(", ")
            )));
        }
        let inner = Box::new(self.filter(source_type, inner, value, step + 1)?);
        Ok(Filter::Has { param, inner })
    }
}

fn chainable(base: ResourceType) -> String {
    references(base).map(|param| param.code.as_str()).collect::<Vec<_>>().join(", ")
}

fn no_modifier(code: &str, modifier: Option<&str>) -> Result<(), Problem> {
    match modifier {
        None => Ok(()),
        Some(modifier) => Err(Problem::bad(format!("'{code}' does not take the modifier ':{}'", excerpt(modifier)))),
    }
}
