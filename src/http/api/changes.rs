//! The feed of changes: `GET /api/v1/changes`, as lines of JSON or as a stream of events.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;
use crate::fhir::types::ResourceType;
use crate::http::hosts;
use crate::interactions::bundle::system_types;
use crate::interactions::changes::{self, Bounds, Feed, Follower, Page};
use crate::limits::{Full, Place, network};

use super::stream::{self, Following};
use super::{Shared, answer, number, parameters};

/// Changes in one answer: when nobody says how many, and at most.
const COUNT: i64 = 1_000;
const COUNT_MAX: i64 = 10_000;
/// Bytes of one answer, unless a single change has more.
const BYTES_MAX: usize = 2 << 20;
/// Seconds that a request may wait for changes: less than proxies let a request be silent.
const WAIT_S_MAX: i64 = 60;
/// How long an answer looks on when much of the log is not for its caller.
const LOOK_ON: Duration = Duration::from_secs(5);
/// When those may come again for whom there is no place.
const COME_AGAIN: Duration = Duration::from_secs(10);
const LINES: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";
const PARAMETERS: &[&str] = &["after", "_type", "count", "wait"];

/// What is asked for.
struct Asked {
    /// `None`: the end.
    after: Option<i64>,
    types: Vec<ResourceType>,
    count: usize,
    wait: Duration,
}

/// How it is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Events,
}

pub async fn changes(app: Shared, request: HttpRequest) -> HttpResponse {
    answer(&app, &request, async |caller| {
        let pairs = parameters(&request, PARAMETERS)?;
        let form = form(&request)?;
        let asked = asked(&request, &pairs, form)?;
        let feed = Feed::new(&app, caller, &asked.types)?;
        let after = match asked.after {
            Some(position) => position,
            None => changes::end(&app).await?,
        };
        match form {
            Form::Lines => lines(&app, &request, caller, feed, (after, &asked, &pairs)).await,
            Form::Events => events(&app, &request, caller, feed, after).await,
        }
    })
    .await
}

async fn lines(
    app: &Arc<App>,
    request: &HttpRequest,
    caller: &Caller,
    feed: Feed,
    (after, asked, pairs): (i64, &Asked, &[(String, String)]),
) -> Result<HttpResponse, FhirError> {
    let bounds = Bounds { count: asked.count, bytes: BYTES_MAX };
    let wait = if request.method() == Method::HEAD { Duration::ZERO } else { asked.wait };
    let page = match wait {
        Duration::ZERO => look_on(app, &feed, after, bounds).await?,
        wait => wait_for(app, caller, &feed, after, bounds, Instant::now() + wait).await?,
    };
    let bytes = page.changes.iter().map(|change| change.json.len() + 1).sum();
    let mut text = String::with_capacity(bytes);
    for change in &page.changes {
        text.push_str(&change.json);
        text.push('\n');
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::LINK, format!("<{}>; rel=\"next\"", next(app, request, pairs, page.next))));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.content_type(LINES).body(text))
}

/// The first page with something on it, or one that ends where the log does; and after a while in any case.
async fn look_on(app: &Arc<App>, feed: &Feed, after: i64, bounds: Bounds) -> Result<Page, FhirError> {
    let until = Instant::now() + LOOK_ON;
    let mut page = feed.page(app, after, bounds).await?;
    while page.changes.is_empty() && !page.is_end && Instant::now() < until {
        page = feed.page(app, page.next, bounds).await?;
    }
    Ok(page)
}

async fn wait_for(
    app: &Arc<App>,
    caller: &Caller,
    feed: &Feed,
    after: i64,
    bounds: Bounds,
    until: Instant,
) -> Result<Page, FhirError> {
    let mut page = look_on(app, feed, after, bounds).await?;
    if !page.changes.is_empty() || !page.is_end {
        return Ok(page);
    }
    let _place = place(app, caller)?;
    let mut follower = Follower::new(app);
    let mut stopped = app.stopping.subscribe();
    while page.changes.is_empty() {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            more = timeout_at(until, follower.more(page.next)) => match more {
                Ok(more) => more?,
                Err(_elapsed) => break,
            },
        }
        page = feed.page(app, page.next, bounds).await?;
    }
    Ok(page)
}

async fn events(
    app: &Arc<App>,
    request: &HttpRequest,
    caller: &Caller,
    feed: Feed,
    after: i64,
) -> Result<HttpResponse, FhirError> {
    // What can be refused is refused while there is a status to refuse it with.
    feed.page(app, after, Bounds { count: 1, bytes: 1 }).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, EVENTS));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    // What is compressed, or buffered by a proxy, comes late.
    response.insert_header((header::CONTENT_ENCODING, "identity"));
    response.insert_header((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let place = place(app, caller)?;
    let following = Following { app: Arc::clone(app), request: request.clone(), feed, after, place };
    Ok(response.streaming(stream::follow(following)))
}

/// A place among those who wait.
fn place(app: &App, caller: &Caller) -> Result<Place, FhirError> {
    let address = caller.address.filter(|_| caller.is_anonymous()).map(network);
    app.limits.feeds.take(&(caller.identity.urn(), address)).map_err(|full| {
        let (kind, sentence) = match full {
            Full::Own(most) => (
                Kind::Throttled,
                format!("{most} requests of this client wait for changes; no more may do so at once."),
            ),
            Full::All => {
                let sentence = "As many requests wait for changes as this server lets wait; ask without wait.";
                (Kind::Unavailable, sentence.to_owned())
            }
        };
        FhirError { wait: Some(COME_AGAIN), ..FhirError::new(kind, sentence) }
    })
}

fn asked(request: &HttpRequest, pairs: &[(String, String)], form: Form) -> Result<Asked, FhirError> {
    let is_named = pairs.iter().any(|(name, value)| name == "_type" && !value.is_empty());
    let bounded = |name: &str, least: i64, most: i64| match number(pairs, name)? {
        Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
        None => Ok(None),
        Some(_) => Err(bad(format!("{name} is from {least} to {most}."), &format!("http.{name}"))),
    };
    let count = bounded("count", 1, COUNT_MAX)?.unwrap_or(COUNT);
    let wait = bounded("wait", 0, WAIT_S_MAX)?.unwrap_or(0);
    Ok(Asked {
        after: match last_event(request, form)? {
            Some(position) => Some(position),
            None if pairs.iter().any(|(name, value)| name == "after" && value == "end") => None,
            None => Some(number(pairs, "after")?.unwrap_or(0)),
        },
        types: if is_named { system_types(pairs)? } else { Vec::new() },
        count: usize::try_from(count).unwrap_or(1),
        wait: Duration::from_secs(wait.unsigned_abs()),
    })
}

/// Where a stream that was interrupted goes on, which the URL of its beginning cannot say.
fn last_event(request: &HttpRequest, form: Form) -> Result<Option<i64>, FhirError> {
    let header = request.headers().get(HeaderName::from_static("last-event-id"));
    let Some(header) = header.filter(|header| form == Form::Events && !header.is_empty()) else { return Ok(None) };
    let position = header.to_str().ok().and_then(|text| text.parse::<i64>().ok()).filter(|position| *position >= 0);
    let bad = || bad("Last-Event-ID is the id of an event of this feed: a whole number.", "http.Last-Event-ID");
    position.map(Some).ok_or_else(bad)
}

fn bad(sentence: impl Into<String>, at: &str) -> FhirError {
    FhirError::malformed(sentence).code(IssueCode::Value).at(at)
}

/// The URL of what follows, with the same wishes.
fn next(app: &App, request: &HttpRequest, pairs: &[(String, String)], position: i64) -> String {
    let base = hosts::base(app, request);
    let root = base.strip_suffix("/fhir").unwrap_or(&base);
    let kept = pairs.iter().filter(|(name, value)| name != "after" && !value.is_empty());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("after", &position.to_string()).extend_pairs(kept);
    format!("{root}/api/v1/changes?{}", query.finish())
}

/// Lines, unless the client wants events more.
fn form(request: &HttpRequest) -> Result<Form, FhirError> {
    let mut best: Option<(f32, Form)> = None;
    let mut has_any = false;
    let ranges = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    for range in ranges.flat_map(|value| value.split(',')) {
        has_any = true;
        let mut parts = range.split(';').map(str::trim);
        let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "*/*" | "application/*" | LINES | "application/ndjson" | "application/fhir+ndjson" => Form::Lines,
            "text/*" | EVENTS => Form::Events,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if quality > 0.0 && best.is_none_or(|(so_far, _)| quality > so_far) {
            best = Some((quality, form));
        }
    }
    match best {
        Some((_, form)) => Ok(form),
        None if !has_any => Ok(Form::Lines),
        None => {
            let sent = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let sentence = format!("'{}' cannot be answered; changes come as {LINES} or {EVENTS}.", excerpt(sent));
            Err(FhirError::new(Kind::NotAcceptable, sentence))
        }
    }
}
