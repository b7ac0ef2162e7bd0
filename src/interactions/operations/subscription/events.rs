//! `$events` (Backport 1.1.0): the events of a Subscription again, for those who missed some.

use std::collections::HashMap;

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind as ErrorKind};
use crate::fhir::resource::excerpt;
use crate::fhir::types::ResourceType;
use crate::interactions::access;
use crate::interactions::answer::Answer;
use crate::interactions::operations::arguments::{Arguments, Declared, Sent};
use crate::interactions::operations::{bad, text};
use crate::interactions::read;
use crate::interactions::subscription::{self, is_seen, item};
use crate::interactions::write::stored;
use crate::store::conn::Conn;
use crate::store::lanes::Lane;
use crate::store::notifications::{self, Event};
use crate::subscriptions::definition::{Content, Kind, Status};
use crate::subscriptions::notification::{self, Head, Item};

use super::{lane_of, stamp};

/// Events of one answer, and bytes of the resources in it unless a single one has more.
const EVENTS_MAX: usize = 1_000;
const BYTES_MAX: usize = 4_194_304;
/// Events that are read at once.
const READ_AT_ONCE: i64 = 50;

const SINCE: &str = "eventsSinceNumber";
const UNTIL: &str = "eventsUntilNumber";
const DECLARED: [Declared; 3] = [text(SINCE), text(UNTIL), text("content")];

/// Tells of the events of a Subscription to a topic from `eventsSinceNumber` to `eventsUntilNumber`, both included, each with
/// the resource as it was then. They are told as the Subscription asks for it, or less if `content` says so. What the caller
/// may not read any more keeps its number, and nothing else is told of it.
///
/// One answer has at most 1,000 events, and 4 MB of resources; who wants more asks on from the last number they got. That
/// there is more, `events-since-subscription-start` tells.
///
/// # Errors
/// 400 for parameters that cannot be used, and for a Subscription with a search as its criteria, whose matches are not
/// numbered for the subscriber; 422 for one that is not served any more; as [`read::read`] for the Subscription.
pub async fn events(app: &App, caller: &Caller, id: &str, sent: Sent, base: &str) -> Result<Answer, FhirError> {
    let found = read::read(app, caller, ResourceType::Subscription, id).await?;
    let arguments = Arguments::read(&DECLARED, sent)?;
    let since = number(&arguments, SINCE)?.unwrap_or(0);
    let until = number(&arguments, UNTIL)?.unwrap_or(i64::MAX);
    if since > until {
        return Err(bad(format!("The first number, {since}, is greater than the last, {until}."), SINCE));
    }
    let asked = content(&arguments)?;
    let definition = subscription::definition(app, &found.body)
        .map_err(|reason| FhirError::new(ErrorKind::Invalid, reason).at("Subscription"))?;
    let Kind::Topic(topic) = definition.kind else {
        let sentence = "Events have numbers in subscriptions to a topic; the criteria of this one are a search.";
        return Err(FhirError::malformed(sentence).at("Subscription.criteria"));
    };
    let body = stored(&found.body)?;
    let status = body.get("status").and_then(Value::as_str).and_then(Status::parse).unwrap_or(Status::Off);
    let content = asked.map_or(definition.content, |asked| narrower(asked, definition.content));
    let lane = lane_of(app, id).await?;
    let events = match &lane {
        Some(lane) => seen(app, caller, lane, since, until, content).await?,
        None => Vec::new(),
    };
    let items: Vec<Item<'_>> = events.iter().map(|(event, is_seen)| item(event, *is_seen)).collect();
    let head =
        Head { base, subscription_id: id, topic: Some(&topic.url), status, content, errors: &[], stamp: stamp(app) };
    let total = lane.map_or(0, |lane| lane.numbered);
    Ok(Answer::new(200, notification::query_events(&head, total, &items)))
}

/// The events within the bounds, and whether the caller may read what each is about.
async fn seen(
    app: &App,
    caller: &Caller,
    lane: &Lane,
    since: i64,
    until: i64,
    content: Content,
) -> Result<Vec<(Event, bool)>, FhirError> {
    let until = until.min(lane.numbered);
    let mut sights = HashMap::new();
    let mut events: Vec<(Event, bool)> = Vec::new();
    let (mut after, mut bytes) = (since.max(1) - 1, 0);
    while after < until && events.len() < EVENTS_MAX {
        let read = async |conn: &mut Conn| {
            let mut read = Vec::new();
            for event in notifications::between(conn, lane.lane, after, until, READ_AT_ONCE).await? {
                let sight = sights
                    .entry(event.resource_type)
                    .or_insert_with(|| access::sight(app, caller, Access::READ, event.resource_type));
                let is_seen = is_seen(app, conn, sight, &event).await?;
                read.push((event, is_seen));
            }
            Ok::<_, FhirError>(read)
        };
        let read = app.store.read(read).await?;
        if read.is_empty() {
            break;
        }
        for (mut event, is_seen) in read {
            if content != Content::FullResource || !is_seen {
                event.body = None;
            }
            bytes += event.body.as_ref().map_or(0, String::len);
            if bytes > BYTES_MAX && !events.is_empty() || events.len() == EVENTS_MAX {
                return Ok(events);
            }
            after = event.number;
            events.push((event, is_seen));
        }
    }
    Ok(events)
}

/// A number of an event, written as a string (Backport 1.1.0).
fn number(arguments: &Arguments, name: &str) -> Result<Option<i64>, FhirError> {
    let Some(text) = arguments.text(name) else { return Ok(None) };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(number) if is_number => Ok(Some(number)),
        _ => Err(bad(format!("{name} is the number of an event, such as 1, not '{}'.", excerpt(&text)), name)),
    }
}

fn content(arguments: &Arguments) -> Result<Option<Content>, FhirError> {
    let Some(text) = arguments.text("content") else { return Ok(None) };
    Content::parse(&text).map(Some).ok_or_else(|| {
        let sentence = format!("The content is empty, id-only or full-resource, not '{}'.", excerpt(&text));
        bad(sentence, "content")
    })
}

/// What is asked for is a hint: nobody gets more than they subscribed to.
fn narrower(asked: Content, own: Content) -> Content {
    match (asked, own) {
        (Content::Empty, _) | (_, Content::Empty) => Content::Empty,
        (Content::IdOnly, _) | (_, Content::IdOnly) => Content::IdOnly,
        (Content::FullResource, Content::FullResource) => Content::FullResource,
    }
}
