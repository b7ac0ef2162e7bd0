//! What goes out in the next call of a lane: its next events, one that is held, or nothing but a sign of life.

use std::collections::HashSet;

use crate::fhir::types::Instant;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes::Lane;
use crate::store::notifications::{self, Event, Held};
use crate::subscriptions::definition::{Definition, Kind};

use super::letter;
use super::machine::Machine;

/// Events of one call where the recipient does not say.
const EVENTS_DEFAULT: i64 = 20;
/// Events that are read at once, with their resources.
const READ_AT_ONCE: i64 = 20;

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Next,
    Held(i64),
    Heartbeat,
}

/// The events of a call.
pub(super) struct Batch {
    /// The last number that is settled with it.
    pub end: i64,
    pub events: Vec<Event>,
    /// Those before its end that have to wait behind a held one.
    pub behind: Vec<Event>,
}

impl Batch {
    /// Those that wait, as they are held: with the first of them ends the time of all.
    pub fn held_behind<'h>(&'h self, held: impl Iterator<Item = &'h Held> + Clone, now: Instant) -> Vec<Held> {
        let one = |event: &Event| {
            let head = held.clone().find(|it| it.subject == event.subject);
            Held {
                number: event.number,
                subject: event.subject,
                tries: 0,
                since: head.map_or(now, |head| head.since),
                due_at: now,
                is_dead: false,
                error: None,
            }
        };
        self.behind.iter().map(one).collect()
    }
}

/// How many events one call takes; `is_alone` when several were refused together.
pub(super) fn most(definition: &Definition, is_alone: bool) -> i64 {
    match definition.kind {
        Kind::Topic(_) if !is_alone => definition.max_count.map_or(EVENTS_DEFAULT, i64::from),
        _ => 1,
    }
}

/// One that is held.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub(super) async fn one(machine: &Machine, row: &Lane, settled: i64, number: i64) -> Result<Batch, StoreError> {
    let lane = row.lane;
    let read = async |conn: &mut Conn| notifications::of_numbers(conn, lane, vec![number]).await;
    Ok(Batch { end: settled, events: machine.app.store.read(read).await?, behind: Vec::new() })
}

/// The next ones, at most `most` and not too large. What is about one of the `subjects` waits behind it.
///
/// # Errors
/// [`StoreError`] when they cannot be read.
pub(super) async fn next(
    machine: &Machine,
    row: &Lane,
    settled: i64,
    most: i64,
    subjects: &HashSet<i64>,
) -> Result<Batch, StoreError> {
    let (lane, until) = (row.lane, row.numbered);
    let mut batch = Batch { end: settled, events: Vec::new(), behind: Vec::new() };
    let (mut bytes, mut left) = (0, most);
    while left > 0 {
        let (after, limit) = (batch.end, left.min(READ_AT_ONCE));
        let read = async |conn: &mut Conn| notifications::between(conn, lane, after, until, limit).await;
        let found = machine.app.store.read(read).await?;
        let is_all = i64::try_from(found.len()).unwrap_or(i64::MAX) < limit;
        for event in found {
            bytes += event.body.as_ref().map_or(0, String::len);
            if bytes > letter::BYTES_MAX && !batch.events.is_empty() {
                return Ok(batch);
            }
            batch.end = event.number;
            left -= 1;
            if subjects.contains(&event.subject) {
                batch.behind.push(event);
            } else {
                batch.events.push(event);
            }
        }
        if is_all {
            // Numbers whose events are not kept any more are passed over.
            batch.end = until;
            break;
        }
    }
    Ok(batch)
}
