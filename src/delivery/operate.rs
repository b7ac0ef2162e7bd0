//! What operators see of deliveries, and what they can do about them.
//!
//! Everything is read from and written to the database, so that it works from any node and from the command line, beside a
//! server or without one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;
use crate::fhir::types::Instant;
use crate::interactions::audit::{self, Event, What};
use crate::interactions::subscription;
use crate::search::extract::target;
use crate::store::conn::Conn;
use crate::store::lanes::{self, Lane, State};
use crate::store::notifications::{self, Again, Attempt, Call, Held};
use crate::subscriptions::definition::Status;

/// What is listed at once, at most.
pub const LISTED_MAX: i64 = 1_000;
/// Events that one request names.
const NUMBERS_MAX: usize = 10_000;

/// A lane as operators see it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneView {
    pub lane: i64,
    /// `Subscription/ID`.
    pub name: String,
    /// `starting`, `active`, `failed` or `off`.
    pub state: &'static str,
    pub paused: bool,
    /// Events so far: the last number given.
    pub events: i64,
    /// Of these, not delivered yet, held or given up.
    pub owed: i64,
    /// Since when the first of those is owed, and how many seconds that is.
    pub owed_since: Option<String>,
    pub lag_s: i64,
    /// Refused, and tried again by itself, or waiting behind one that is.
    pub held: i64,
    /// Given up; sent again by `redrive`.
    pub dead: i64,
    /// Failed calls in a row, since when, why, and when the next one is due.
    pub failures: i64,
    pub failing_since: Option<String>,
    pub error: Option<String>,
    pub due_at: Option<String>,
}

/// A call as operators see it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    pub attempt: i64,
    /// `handshake`, `heartbeat` or `events`.
    pub kind: &'static str,
    pub first: Option<i64>,
    pub last: Option<i64>,
    pub events: i64,
    pub at: String,
    pub ms: i64,
    pub status: Option<i16>,
    pub ok: bool,
    /// The beginning of the answer, or why there was none.
    pub answer: Option<String>,
}

/// An event that is held or was given up.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    pub number: i64,
    /// `Type/ID/_history/VERSION`.
    pub resource: String,
    pub tries: i64,
    pub since: String,
    pub due_at: Option<String>,
    pub error: Option<String>,
}

/// Which events are to be sent again: one of `dead`, `numbers` and `from`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// All that were given up.
    #[serde(default)]
    pub dead: bool,
    /// These.
    #[serde(default)]
    pub numbers: Vec<i64>,
    /// All from this number on, in order.
    pub from: Option<i64>,
    /// Only those about this resource, `Type/ID`.
    pub resource: Option<String>,
}

/// What can be done to a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing is sent until `Resume`; events are counted.
    Pause,
    /// Goes on at once, whatever the lane waits for.
    Resume,
    /// Greets a subscriber anew that was given up or is off.
    Restart,
    Redrive(Redrive),
}

/// The lanes after this one, in order, at most `count`.
///
/// # Errors
/// The store's.
pub async fn list(app: &App, after: i64, count: i64) -> Result<Vec<LaneView>, FhirError> {
    let now = app.now();
    let read = async |conn: &mut Conn| {
        let held = notifications::count_held(conn).await?;
        let mut views = Vec::new();
        for lane in lanes::list(conn, after, count.clamp(1, LISTED_MAX)).await? {
            views.push(view(conn, lane, &held, now).await?);
        }
        Ok::<_, FhirError>(views)
    };
    app.store.read(read).await
}

/// One lane, by its number or its name.
///
/// # Errors
/// 404 when there is none.
pub async fn show(app: &App, lane: &str) -> Result<LaneView, FhirError> {
    let now = app.now();
    let read = async |conn: &mut Conn| {
        let lane = find(conn, lane).await?;
        let held = notifications::count_held(conn).await?;
        view(conn, lane, &held, now).await
    };
    app.store.read(read).await
}

/// The calls of a lane before this one, newest first.
///
/// # Errors
/// 404 when there is no such lane.
pub async fn attempts(app: &App, lane: &str, before: i64, count: i64) -> Result<Vec<AttemptView>, FhirError> {
    let read = async |conn: &mut Conn| {
        let lane = find(conn, lane).await?.lane;
        let found = notifications::attempts(conn, lane, before, count.clamp(1, LISTED_MAX)).await?;
        Ok::<_, FhirError>(found.into_iter().map(attempt).collect())
    };
    app.store.read(read).await
}

/// What a lane holds after this number, in order: what was given up, or what is tried again.
///
/// # Errors
/// 404 when there is no such lane.
pub async fn held(app: &App, lane: &str, is_dead: bool, after: i64, count: i64) -> Result<Vec<HeldView>, FhirError> {
    let read = async |conn: &mut Conn| {
        let lane = find(conn, lane).await?.lane;
        let held = notifications::held(conn, lane, is_dead, after, count.clamp(1, LISTED_MAX)).await?;
        let numbers = held.iter().map(|held| held.number).collect();
        let events = notifications::of_numbers(conn, lane, numbers).await?;
        Ok::<_, FhirError>(held.into_iter().zip(events).map(|(held, event)| held_view(held, &event)).collect())
    };
    app.store.read(read).await
}

/// Does something to a lane; how many events are sent again by it.
///
/// # Errors
/// 404 when there is no such lane; 400 for an order that says nothing, or too much.
pub async fn order(app: &Arc<App>, caller: &Caller, lane: &str, order: Order) -> Result<i64, FhirError> {
    let wanted = match &order {
        Order::Redrive(wanted) => Some(checked(wanted)?),
        _ => None,
    };
    let found = app.store.read(async |conn: &mut Conn| find(conn, lane).await).await?;
    let (number, now) = (found.lane, app.now());
    let (what, sent) = match &order {
        Order::Pause => {
            app.store.write(async move |conn: &mut Conn| lanes::pause(conn, number, true).await).await?;
            ("paused", 0)
        }
        Order::Resume => {
            let resume = async move |conn: &mut Conn| {
                lanes::pause(conn, number, false).await?;
                lanes::restart(conn, number).await
            };
            app.store.write(resume).await?;
            ("resumed", 0)
        }
        Order::Restart => {
            let id = found.name.strip_prefix(subscription::NAME).unwrap_or_default();
            if !subscription::set_status(app, id, found.version, Status::Requested, None).await? {
                let sentence = format!("{} has just been changed; look at it again.", found.name);
                return Err(FhirError::new(Kind::Conflict, sentence));
            }
            ("restarted", 0)
        }
        Order::Redrive(_) => ("told to send again", redrive(app, &found, wanted.unwrap_or_default(), now).await?),
    };
    let description = match sent {
        0 => format!("{} was {what}", found.name),
        _ => format!("{} was {what}: {sent} events", found.name),
    };
    let event = Event { what: What::Administration, is_success: true, description, client: None, account: None };
    audit::record(app, caller, event).await?;
    Ok(sent)
}

async fn redrive(app: &Arc<App>, lane: &Lane, wanted: Wanted, now: Instant) -> Result<i64, FhirError> {
    let (number, settled) = (lane.lane, lane.settled);
    let unit = async move |conn: &mut Conn| {
        // The lane first, as all who change a lane and what it holds.
        lanes::restart(conn, number).await?;
        match &wanted.which {
            Which::From(from) => {
                lanes::rewind(conn, number, *from).await?;
                Ok::<_, FhirError>((settled - from + 1).max(0))
            }
            Which::Some(again) => {
                let resource = wanted.resource.as_ref().map(|it| (it.resource_type, it.id.as_str()));
                let sent = notifications::again(conn, number, again, resource, now).await?;
                Ok(i64::try_from(sent).unwrap_or(i64::MAX))
            }
        }
    };
    app.store.write(unit).await
}

/// A redrive that was found to say what is meant.
struct Wanted {
    which: Which,
    resource: Option<crate::search::value::Target>,
}

enum Which {
    From(i64),
    Some(Again),
}

impl Default for Wanted {
    fn default() -> Self {
        Self { which: Which::Some(Again::Numbers(Vec::new())), resource: None }
    }
}

fn checked(asked: &Redrive) -> Result<Wanted, FhirError> {
    let bad = |sentence: &str, at: &str| Err(FhirError::malformed(sentence).code(IssueCode::Value).at(at));
    let resource = match asked.resource.as_deref() {
        Some(name) => match target(name) {
            Some(target) => Some(target),
            None => return bad("resource is the name of a resource, such as Practitioner/1.", "resource"),
        },
        None => None,
    };
    let which = match (asked.dead, asked.numbers.as_slice(), asked.from) {
        (true, [], None) => Which::Some(Again::Dead),
        (false, [_, ..], None) if asked.numbers.len() > NUMBERS_MAX => {
            return bad(
                "At most 10,000 numbers are sent again by one request; from takes all from one number on.",
                "numbers",
            );
        }
        (false, numbers @ [_, ..], None) => Which::Some(Again::Numbers(numbers.to_vec())),
        (false, [], Some(from)) if from >= 1 && resource.is_none() => Which::From(from),
        (false, [], Some(_)) => {
            return bad("from is the number of an event, 1 or more, and goes without resource.", "from");
        }
        _ => return bad("Say which events are to be sent again: one of dead, numbers and from.", "dead"),
    };
    Ok(Wanted { which, resource })
}

/// A lane by its number or its name.
pub(super) async fn find(conn: &mut Conn, lane: &str) -> Result<Lane, FhirError> {
    let found = match lane.parse::<i64>() {
        Ok(number) => lanes::get(conn, number).await?,
        Err(_a_name) => lanes::named(conn, lane).await?,
    };
    let missing = || {
        let sentence =
            format!("There is no lane '{}'; lanes have numbers, or names such as Subscription/1.", excerpt(lane));
        FhirError::new(Kind::NotFound, sentence)
    };
    found.ok_or_else(missing)
}

async fn view(conn: &mut Conn, lane: Lane, held: &[(i64, i64, i64)], now: Instant) -> Result<LaneView, FhirError> {
    let since = lanes::owed_since(conn, &lane).await?;
    let (_, waiting, dead) = held.iter().find(|(it, ..)| *it == lane.lane).copied().unwrap_or_default();
    let state = match lane.state {
        State::Starting => "starting",
        State::Active => "active",
        State::Failed => "failed",
        State::Off => "off",
    };
    Ok(LaneView {
        lane: lane.lane,
        state,
        paused: lane.is_paused,
        events: lane.numbered,
        owed: lane.numbered - lane.settled,
        owed_since: since.map(Instant::to_fhir),
        lag_s: since.map_or(0, |since| (now.0 - since.0).max(0) / 1_000_000),
        held: waiting,
        dead,
        failures: lane.failures,
        failing_since: lane.failing_since.map(Instant::to_fhir),
        due_at: (lane.due_at > now).then(|| lane.due_at.to_fhir()),
        error: lane.error,
        name: lane.name,
    })
}

fn attempt(it: Attempt) -> AttemptView {
    let kind = match it.call {
        Call::Handshake => "handshake",
        Call::Heartbeat => "heartbeat",
        Call::Events => "events",
    };
    AttemptView {
        attempt: it.attempt,
        kind,
        first: (it.events > 0).then_some(it.first),
        last: (it.events > 0).then_some(it.last),
        events: it.events,
        at: it.at.to_fhir(),
        ms: it.ms,
        status: it.status,
        ok: it.is_ok,
        answer: it.excerpt,
    }
}

fn held_view(held: Held, event: &notifications::Event) -> HeldView {
    HeldView {
        number: held.number,
        resource: format!("{}/{}/_history/{}", event.resource_type, event.id, event.version),
        tries: held.tries,
        since: held.since.to_fhir(),
        due_at: (!held.is_dead && held.due_at.0 > 0).then(|| held.due_at.to_fhir()),
        error: held.error,
    }
}
