//! search-type and search-system (R4 http.html#search): a query in, a searchset out.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode, operation_outcome};
use crate::fhir::subset::{self, Summary};
use crate::fhir::types::ResourceType;
use crate::search::extract;
use crate::search::geo::Position;
use crate::search::include::Include;
use crate::search::page::Cursor;
use crate::search::parse::{self, Handling};
use crate::search::query::{Filter, Query, Test, Total};
use crate::store::View;
use crate::store::conn::Conn;
use crate::store::include::{self, Step, Visible};
use crate::store::page::{self, After, Found, SORT_KEYS_MAX};

use super::access::{self, Sight};
use super::answer::Answer;
use super::link::{self, Pages};
use super::write::stored;

/// Rounds of `:iterate`: an include chain longer than this is cut.
const ITERATIONS_MAX: usize = 8;

/// A search request.
#[derive(Clone, Debug)]
pub struct Request {
    /// One type, or several for a search across types.
    pub types: Vec<ResourceType>,
    /// The path below the base that the links lead to: the type, or nothing for a search across types.
    pub path: String,
    pub pairs: Vec<(String, String)>,
    pub handling: Handling,
    /// The base as the client knows it; see [`crate::app::App::bases`].
    pub base: String,
}

/// What a search found.
#[derive(Debug, Default)]
struct Results {
    matches: Vec<Found>,
    included: Vec<Found>,
    total: Option<i64>,
    has_more: bool,
    /// Not all that is to be included fits.
    is_cut: bool,
}

/// Answers a search with a searchset Bundle.
///
/// # Errors
/// 400 for a query that cannot be answered as asked, 401 and 403 for one about resources that the caller may not search, 503
/// when it takes too long.
pub async fn search(app: &Arc<App>, caller: &Caller, request: Request) -> Result<Answer, FhirError> {
    let query = read_query(app, caller, &request)?;
    let after = open_cursor(app, &request, &query)?;
    let (worker, asked) = (Arc::clone(app), Arc::new(query));
    let seen = Arc::new(seen(app, caller, &asked));
    let query = Arc::clone(&asked);
    let view = if is_one_statement(&query) { View::Current } else { View::Snapshot };
    let results = app
        .store
        .search(view, async move |conn: &mut Conn| find(&worker, conn, &asked, &seen, after.as_ref()).await)
        .await?;
    render(app, &request, &query, results)
}

/// Whether [`find`] needs one statement only: a count takes one for each type, a page one in all.
fn is_one_statement(query: &Query) -> bool {
    let has_total = matches!(query.total, Some(Total::Accurate | Total::Estimate));
    if query.is_count_only() { query.types.len() == 1 } else { query.includes.is_empty() && !has_total }
}

/// The same, in a transaction at hand.
///
/// # Errors
/// As [`search`].
pub async fn search_in(app: &App, caller: &Caller, conn: &mut Conn, request: &Request) -> Result<Answer, FhirError> {
    let query = read_query(app, caller, request)?;
    let after = open_cursor(app, request, &query)?;
    let results = find(app, conn, &query, &seen(app, caller, &query), after.as_ref()).await?;
    render(app, request, &query, results)
}

fn read_query(app: &App, caller: &Caller, request: &Request) -> Result<Query, FhirError> {
    // `_type` has chosen the types of a search across types already; it stays in the links.
    let is_choice = |(name, _): &(String, String)| request.path.is_empty() && name == "_type";
    let (chosen, pairs): (Vec<_>, Vec<_>) = request.pairs.iter().cloned().partition(is_choice);
    let mut query = parse::parse(&request.types, &pairs, app.search_context(request.handling))?;
    query.used.splice(0..0, chosen.into_iter().filter(|(_, value)| !value.is_empty()));
    if query.types.iter().any(|part| part.sort.len() > SORT_KEYS_MAX) {
        return Err(
            FhirError::malformed(format!("A search is sorted by at most {SORT_KEYS_MAX} keys.")).at("http._sort")
        );
    }
    restrict(app, caller, request, &mut query)?;
    Ok(query)
}

/// Narrows a query to what the caller may see. A search across types leaves out the types of which that is nothing, and
/// says so if it was asked for them.
///
/// # Errors
/// 401 and 403 when there is nothing that may be searched, or a filter would tell about it.
fn restrict(app: &App, caller: &Caller, request: &Request, query: &mut Query) -> Result<(), FhirError> {
    let is_asked = !request.path.is_empty() || request.pairs.iter().any(|(name, _)| name == "_type");
    let mut parts = Vec::with_capacity(query.types.len());
    for mut part in std::mem::take(&mut query.types) {
        if matches!(access::sight(app, caller, Access::SEARCH, part.resource_type), Sight::Nothing) {
            let sentence = format!("the type {}, which the caller may not search", part.resource_type);
            query.ignored.extend(is_asked.then_some(sentence));
            continue;
        }
        access::narrow(app, caller, &[Access::SEARCH], &mut part)?;
        parts.push(part);
    }
    if parts.is_empty() {
        let asked = request.types.first().copied().unwrap_or(ResourceType::Practitioner);
        return Err(access::denied(caller, Access::SEARCH, asked));
    }
    query.types = parts;
    Ok(())
}

/// For each include, what may come along; `None`: all that it leads to. An _include reads what a match names, a _revinclude
/// searches for what names a match.
type Seen = Vec<Option<Vec<Visible>>>;

fn seen(app: &App, caller: &Caller, query: &Query) -> Seen {
    let of_include = |include: &Include| {
        let access = if include.reverse { Access::SEARCH } else { Access::READ };
        let reached = include.params.iter().flat_map(|param| match include.reverse {
            true => vec![param.base],
            false => param.target_types().to_vec(),
        });
        let mut is_all = true;
        let mut visible = Vec::new();
        for resource_type in BTreeSet::from_iter(reached) {
            let alternatives = match access::sight(app, caller, access, resource_type) {
                Sight::Everything => vec![Vec::new()],
                Sight::Nothing => Vec::new(),
                Sight::Only(alternatives) => alternatives,
            };
            is_all &= matches!(alternatives.as_slice(), [filters] if filters.is_empty());
            visible.extend(alternatives.into_iter().map(|filters| Visible { resource_type, filters }));
        }
        (!is_all).then_some(visible)
    };
    query.includes.iter().map(of_include).collect()
}

fn open_cursor(app: &App, request: &Request, query: &Query) -> Result<Option<After>, FhirError> {
    let Some(cursor) = &query.cursor else { return Ok(None) };
    let pages = Pages { base: &request.base, path: &request.path, used: &query.used, shape: &[] };
    let opened: Option<Cursor> = app.signature.open(cursor, &pages.context());
    let cursor = opened.ok_or_else(|| {
        FhirError::malformed("The page cursor is not one of this search; start again from its first page.")
            .at("http._cursor")
    })?;
    Ok(Some(After { keys: cursor.keys, rid: cursor.rid }))
}

async fn find(
    app: &App,
    conn: &mut Conn,
    query: &Query,
    seen: &[Option<Vec<Visible>>],
    after: Option<&After>,
) -> Result<Results, FhirError> {
    if query.is_count_only() {
        let total = page::count(conn, &query.types, i64::MAX).await?;
        return Ok(Results { total: Some(total), ..Results::default() });
    }
    // One more than the page holds tells whether there is another page.
    let limit = i64::try_from(query.count).unwrap_or(i64::MAX - 1) + 1;
    let mut matches = page::page(conn, &query.types, after, limit).await?;
    let has_more = matches.len() > query.count;
    matches.truncate(query.count);
    let total = match query.total {
        Some(Total::None) => None,
        _ if after.is_none() && !has_more => i64::try_from(matches.len()).ok(),
        Some(Total::Accurate | Total::Estimate) => Some(page::count(conn, &query.types, i64::MAX).await?),
        None => None,
    };
    let (included, is_cut) = includes(app, conn, &query.includes, seen, &matches).await?;
    Ok(Results { matches, included, total, has_more, is_cut })
}

/// The resources that come along, each once, none that is a match itself. The second part is true when some were left
/// out because there are too many.
async fn includes(
    app: &App,
    conn: &mut Conn,
    includes: &[Include],
    seen: &[Option<Vec<Visible>>],
    matches: &[Found],
) -> Result<(Vec<Found>, bool), FhirError> {
    let mut known: HashSet<i64> = matches.iter().map(|found| found.rid).collect();
    let mut included: Vec<Found> = Vec::new();
    if includes.is_empty() {
        return Ok((included, false));
    }
    let most = app.settings.search.includes_max;
    let mut sources: Vec<(i64, ResourceType)> = matches.iter().map(|found| (found.rid, found.resource_type)).collect();
    for round in 0..ITERATIONS_MAX {
        let mut fresh: Vec<Found> = Vec::new();
        let due = includes.iter().zip(seen).filter(|(include, _)| round == 0 || include.iterate);
        for (include, visible) in due {
            let params: Vec<i32> = include.params.iter().map(|param| param.id).collect();
            let rids = sources
                .iter()
                .filter(|(_, source)| include.reverse || include.params.iter().any(|param| param.base == *source))
                .map(|(rid, _)| *rid)
                .collect();
            let only = if include.reverse { None } else { include.target };
            // A target type on a _revinclude restricts what is pointed to: the sources of this step.
            let rids = match (include.reverse, include.target) {
                (true, Some(target)) => {
                    sources.iter().filter(|(_, source)| *source == target).map(|(rid, _)| *rid).collect()
                }
                _ => rids,
            };
            let room = i64::try_from(most.saturating_sub(included.len() + fresh.len())).unwrap_or(i64::MAX) + 1;
            let step = Step { rids, params: &params, reverse: include.reverse, only, visible: visible.as_deref() };
            for found in include::follow(conn, step, room).await? {
                if known.insert(found.rid) {
                    fresh.push(found);
                }
            }
        }
        if fresh.is_empty() {
            break;
        }
        sources = fresh.iter().map(|found| (found.rid, found.resource_type)).collect();
        included.append(&mut fresh);
        if included.len() > most {
            included.truncate(most);
            return Ok((included, true));
        }
    }
    Ok((included, false))
}

fn render(app: &App, request: &Request, query: &Query, results: Results) -> Result<Answer, FhirError> {
    let mut out: Vec<u8> = Vec::with_capacity(
        1024 + results.matches.iter().chain(&results.included).map(|f| f.body.len() + 200).sum::<usize>(),
    );
    out.extend_from_slice(b"{\"resourceType\":\"Bundle\",\"id\":\"");
    out.extend_from_slice(uuid::Uuid::now_v7().to_string().as_bytes());
    out.extend_from_slice(b"\",\"meta\":{\"lastUpdated\":\"");
    out.extend_from_slice(app.now().to_fhir().as_bytes());
    out.extend_from_slice(b"\"},\"type\":\"searchset\"");
    if let Some(total) = results.total {
        out.extend_from_slice(format!(",\"total\":{total}").as_bytes());
    }
    let shape = link::shape(&request.pairs);
    let pages = Pages { base: &request.base, path: &request.path, used: &query.used, shape: &shape };
    let mut links = vec![json!({"relation": "self", "url": pages.url(query.cursor.as_deref())})];
    if !query.is_count_only() {
        links.push(json!({"relation": "first", "url": pages.url(None)}));
        if results.has_more
            && let Some(last) = results.matches.last()
        {
            let cursor = Cursor { keys: last.keys.clone(), rid: last.rid };
            let sealed = app.signature.seal(&cursor, &pages.context());
            let sealed = sealed.ok_or_else(|| FhirError::new(Kind::Internal, "Internal error."))?;
            links.push(json!({"relation": "next", "url": pages.url(Some(&sealed))}));
        }
    }
    out.extend_from_slice(b",\"link\":");
    out.extend_from_slice(Value::Array(links).to_string().as_bytes());
    let mut warnings: Vec<Issue> = query
        .ignored
        .iter()
        .map(|sentence| Issue::warning(IssueCode::NotSupported, format!("Ignored: {sentence}.")))
        .collect();
    if results.is_cut {
        let most = app.settings.search.includes_max;
        warnings.push(Issue::warning(
            IssueCode::Incomplete,
            format!("More than {most} resources would be included; the rest is left out."),
        ));
    }
    let near = positions(query);
    let mut first = true;
    for (found, mode) in
        results.matches.iter().map(|f| (f, "match")).chain(results.included.iter().map(|f| (f, "include")))
    {
        entry_start(&mut out, &mut first);
        let full_url = format!("\"fullUrl\":\"{}/{}/{}\",\"resource\":", request.base, found.resource_type, found.id);
        out.extend_from_slice(full_url.as_bytes());
        resource(&mut out, query, &found.body, mode == "match")?;
        out.extend_from_slice(format!(",\"search\":{{\"mode\":\"{mode}\"").as_bytes());
        if mode == "match"
            && let Some(distance) = distance_km(&near, &found.body)
        {
            let extension = json!([{"url": "http://hl7.org/fhir/StructureDefinition/location-distance", "valueDistance": {
                "value": distance, "unit": "km", "system": "http://unitsofmeasure.org", "code": "km"}}]);
            out.extend_from_slice(format!(",\"extension\":{extension}").as_bytes());
        }
        out.extend_from_slice(b"}}");
    }
    if !warnings.is_empty() {
        entry_start(&mut out, &mut first);
        out.extend_from_slice(
            format!("\"resource\":{},\"search\":{{\"mode\":\"outcome\"}}}}", operation_outcome(&warnings)).as_bytes(),
        );
    }
    out.extend_from_slice(if first { b"}" } else { b"]}" });
    Ok(Answer::new(200, out))
}

fn entry_start(out: &mut Vec<u8>, first: &mut bool) {
    out.extend_from_slice(if *first { b",\"entry\":[{" } else { b",{" });
    *first = false;
}

/// The resource, or the part of it that is asked for. `_elements` is about matches only.
fn resource(out: &mut Vec<u8>, query: &Query, body: &str, is_match: bool) -> Result<(), FhirError> {
    let has_elements = is_match && !query.elements.is_empty();
    if query.summary == Summary::False && !has_elements {
        out.extend_from_slice(body.as_bytes());
        return Ok(());
    }
    let mut value = stored(body)?;
    if has_elements {
        subset::elements(&mut value, &query.elements);
    }
    subset::summarize(&mut value, query.summary);
    out.extend_from_slice(value.to_string().as_bytes());
    Ok(())
}

/// The positions from which matches are near, when the query asks for Locations directly.
fn positions(query: &Query) -> Vec<Position> {
    let filters =
        query.types.iter().filter(|part| part.resource_type == ResourceType::Location).flat_map(|part| &part.filters);
    filters
        .filter_map(|filter| match filter {
            Filter::Value { test: Test::Near(near), .. } => Some(near.iter().map(|near| near.position)),
            _ => None,
        })
        .flatten()
        .collect()
}

/// The one element that is needed of a Location.
#[derive(Deserialize)]
struct Located {
    position: Option<Value>,
}

/// Kilometres, to the metre, from the nearest of the positions asked for.
fn distance_km(from: &[Position], body: &str) -> Option<serde_json::Number> {
    if from.is_empty() {
        return None;
    }
    let location: Located = serde_json::from_str(body).ok()?;
    let position = extract::position(&location.position?)?;
    let nearest = from.iter().map(|from| from.distance_m(position)).min_by(f64::total_cmp)?;
    format!("{:.3}", nearest / 1000.0).parse().ok()
}
