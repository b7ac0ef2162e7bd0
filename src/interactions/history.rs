//! history of a resource, a type, or the whole directory (R4 http.html#history).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::fhir::types::{Instant, ResourceType};
use crate::search::date::DateRange;
use crate::store::View;
use crate::store::change::Kind as ChangeKind;
use crate::store::conn::Conn;
use crate::store::history::{self, Of, Stretch, Version};
use crate::store::resources;

use super::answer::{Answer, etag, version_path};
use super::link::{self, Pages};
use super::read::not_found;
use super::seen::Seen;
use super::write::stored;

/// Whose history is asked for.
#[derive(Clone, Debug)]
pub enum Whose {
    Everything,
    Type(ResourceType),
    Resource(ResourceType, String),
}

impl Whose {
    /// The path below the base.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Everything => "_history".into(),
            Self::Type(resource_type) => format!("{resource_type}/_history"),
            Self::Resource(resource_type, id) => format!("{resource_type}/{id}/_history"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Before {
    seq: i64,
}

/// The parameters of a history request, each at most once.
struct Asked {
    count: usize,
    since: Option<Instant>,
    during: Option<(Instant, Instant)>,
    cursor: Option<String>,
    used: Vec<(String, String)>,
}

/// Answers with a history Bundle, newest first.
///
/// # Errors
/// 400 for a parameter that cannot be used, 401 and 403 for what the caller may not see, 404 for a resource that never was
/// here.
pub async fn history(
    app: &Arc<App>,
    caller: &Caller,
    whose: Whose,
    pairs: &[(String, String)],
    base: &str,
) -> Result<Answer, FhirError> {
    let asked = read_parameters(app, pairs)?;
    let path = whose.path();
    let shape = link::shape(pairs);
    let pages = Pages { base, path: &path, used: &asked.used, shape: &shape };
    let context = pages.context();
    let before = match &asked.cursor {
        None => None,
        Some(cursor) => {
            let opened: Option<Before> = app.signature.open(cursor, &context);
            Some(
                opened
                    .ok_or_else(|| {
                        FhirError::malformed("The page cursor is not one of this history.").at("http._cursor")
                    })?
                    .seq,
            )
        }
    };
    let view = if matches!(whose, Whose::Resource(..)) { View::Snapshot } else { View::Current };
    let stretch = Stretch { since: asked.since, during: asked.during, before, limit: 0 };
    let (worker, seen) = (Arc::clone(app), Arc::new(seen(app, caller, &whose)?));
    let count = asked.count;
    let found =
        app.store.search(view, async move |conn: &mut Conn| page(&worker, conn, &whose, &seen, stretch, count).await);
    let Page { versions, next, total } = found.await?;
    let mut links = vec![json!({"relation": "self", "url": pages.url(asked.cursor.as_deref())})];
    if let Some(seq) = next {
        let sealed = app.signature.seal(&Before { seq }, &context);
        links.push(json!({"relation": "next", "url": pages.url(sealed.as_deref())}));
    }
    let mut bundle = Map::new();
    bundle.insert("resourceType".into(), "Bundle".into());
    bundle.insert("id".into(), uuid::Uuid::now_v7().to_string().into());
    bundle.insert("meta".into(), json!({"lastUpdated": app.now().to_fhir()}));
    bundle.insert("type".into(), "history".into());
    let is_unfiltered = asked.since.is_none() && asked.during.is_none();
    if let Some(total) = total.filter(|_| is_unfiltered) {
        bundle.insert("total".into(), total.into());
    }
    bundle.insert("link".into(), Value::Array(links));
    if !versions.is_empty() {
        let entries: Result<Vec<Value>, FhirError> = versions.iter().map(|version| entry(version, base)).collect();
        bundle.insert("entry".into(), Value::Array(entries?));
    }
    Ok(Answer::new(200, Value::Object(bundle).to_string()))
}

/// # Errors
/// 401 and 403 for a caller who may see nothing of it.
fn seen(app: &App, caller: &Caller, whose: &Whose) -> Result<Seen, FhirError> {
    match whose {
        Whose::Resource(it, _) => Seen::required(app, caller, Access::READ, &[*it]),
        Whose::Type(it) => Seen::required(app, caller, Access::SEARCH, &[*it]),
        Whose::Everything => Seen::allowed(app, caller, ResourceType::ALL.iter().copied()),
    }
}

struct Page {
    versions: Vec<Version>,
    /// Where the next page begins, if there may be one.
    next: Option<i64>,
    /// Of the history of one resource.
    total: Option<i64>,
}

/// Versions that one page looks at, when the caller may not see all of them.
const LOOKED_AT_MAX: usize = 20_000;
/// And how many one statement brings.
const LOOKED_AT_ONCE: i64 = 500;

async fn page(
    app: &App,
    conn: &mut Conn,
    whose: &Whose,
    seen: &Seen,
    mut stretch: Stretch,
    count: usize,
) -> Result<Page, FhirError> {
    let types = seen.types();
    let mut total = None;
    let of = match whose {
        Whose::Everything => Of::Everything(&types),
        Whose::Type(resource_type) => Of::Type(*resource_type),
        Whose::Resource(resource_type, id) => match resources::get(conn, *resource_type, id).await? {
            Some(current) if current.version > 0 => {
                total = Some(history::count(conn, current.rid).await?);
                Of::Resource(current.rid)
            }
            _ => return Err(not_found(*resource_type, id)),
        },
    };
    // One more than the page holds tells whether there is another page.
    stretch.limit = i64::try_from(count).unwrap_or(i64::MAX - 1) + 1;
    if seen.is_everything() {
        let mut versions = history::list(conn, of, stretch).await?;
        let has_more = versions.len() > count;
        versions.truncate(count);
        let next = versions.last().filter(|_| has_more).map(|last| last.seq);
        return Ok(Page { versions, next, total });
    }
    // Whoever may see no version at all is not told that there is one, whatever is asked about them.
    if let (Whose::Resource(resource_type, id), Of::Resource(rid)) = (whose, of) {
        let all = Stretch { since: None, during: None, before: None, limit: stretch.limit };
        if seen_of(app, conn, seen, Of::Resource(rid), all, 1).await?.versions.is_empty() {
            return Err(not_found(*resource_type, id));
        }
    }
    seen_of(app, conn, seen, of, stretch, count).await
}

/// As many versions as a page takes, of those that the caller may see.
async fn seen_of(
    app: &App,
    conn: &mut Conn,
    seen: &Seen,
    of: Of<'_>,
    mut stretch: Stretch,
    count: usize,
) -> Result<Page, FhirError> {
    stretch.limit = stretch.limit.max(LOOKED_AT_ONCE);
    let (mut versions, mut looked_at) = (Vec::new(), 0);
    // Where the next page begins, if there is something on it: after the last one of this page.
    let mut end = None;
    loop {
        let some = history::list(conn, of, stretch).await?;
        let is_all = i64::try_from(some.len()).unwrap_or(i64::MAX) < stretch.limit;
        for version in some {
            if looked_at == LOOKED_AT_MAX {
                return Ok(Page { next: stretch.before, versions, total: None });
            }
            looked_at += 1;
            stretch.before = Some(version.seq);
            if !seen.reaches(app, conn, &version).await? {
                continue;
            }
            if versions.len() == count {
                return Ok(Page { next: end, versions, total: None });
            }
            end = stretch.before;
            versions.push(version);
        }
        if is_all {
            return Ok(Page { versions, next: None, total: None });
        }
    }
}

fn entry(version: &Version, base: &str) -> Result<Value, FhirError> {
    let Version { resource_type, id, .. } = version;
    let name = format!("{resource_type}/{id}");
    let mut entry = Map::new();
    entry.insert("fullUrl".into(), format!("{base}/{name}").into());
    if let Some(body) = &version.body {
        entry.insert("resource".into(), stored(body)?);
    }
    let (method, url) = match version.kind {
        ChangeKind::Create => ("POST", resource_type.to_string()),
        ChangeKind::Update | ChangeKind::UpdateAsCreate => ("PUT", name),
        ChangeKind::Delete => ("DELETE", name),
    };
    entry.insert("request".into(), json!({"method": method, "url": url}));
    let status = match version.kind {
        ChangeKind::Create | ChangeKind::UpdateAsCreate => "201",
        ChangeKind::Update => "200",
        ChangeKind::Delete => "204",
    };
    let mut response = json!({"status": status, "etag": etag(version.version), "lastModified": version.at.to_fhir()});
    if let (true, Some(response)) = (version.body.is_some(), response.as_object_mut()) {
        let location = format!("{base}/{}", version_path(*resource_type, id, version.version));
        response.insert("location".into(), location.into());
    }
    entry.insert("response".into(), response);
    Ok(Value::Object(entry))
}

fn read_parameters(app: &App, pairs: &[(String, String)]) -> Result<Asked, FhirError> {
    let mut asked =
        Asked { count: app.settings.search.count_default, since: None, during: None, cursor: None, used: Vec::new() };
    let mut issues = Vec::new();
    let mut bad =
        |name: &str, sentence: String| issues.push(Issue::error(IssueCode::Value, sentence).at(format!("http.{name}")));
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        if asked.used.iter().any(|(used, _)| used == name) {
            bad(name, format!("{name} is given twice."));
            continue;
        }
        match name.as_str() {
            "_format" | "_pretty" => continue,
            "_count" => match value.parse::<usize>() {
                Ok(count) => asked.count = count.min(app.settings.search.count_max),
                Err(_not_a_number) => bad(name, format!("_count is a whole number, not '{}'.", excerpt(value))),
            },
            "_since" => match DateRange::parse(value) {
                Some(range) if value.contains('T') => asked.since = Some(Instant(range.lo)),
                _ => bad(name, format!("_since is an instant such as 2026-01-31T12:00:00Z, not '{}'.", excerpt(value))),
            },
            "_at" => match DateRange::parse(value) {
                Some(range) => asked.during = Some((Instant(range.lo), Instant(range.hi - 1))),
                None => bad(name, format!("_at is a date or an instant, not '{}'.", excerpt(value))),
            },
            "_cursor" => {
                asked.cursor = Some(value.clone());
                continue;
            }
            _ => {
                bad(name, format!("'{}' is no parameter of a history; it takes _count, _since and _at.", excerpt(name)))
            }
        }
        asked.used.push((name.clone(), value.clone()));
    }
    if issues.is_empty() { Ok(asked) } else { Err(FhirError::with_issues(Kind::Malformed, issues)) }
}
