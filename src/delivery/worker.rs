//! One lane at work: what is next, one call at a time, and what follows from the answer.
//!
//! Events go out in order of their numbers, as many in one call as the recipient takes. A recipient that cannot be reached,
//! or says that it cannot now, is left alone for a growing while, and gets the same events again. One that refuses an event
//! gets the others: the event is held, with all that follow about the same resource, and is tried again by itself until its
//! time is over.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::fhir::types::Instant;
use crate::net::sender::host_of;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes::{self, Lane, Progress, State};
use crate::store::notifications::{self, Attempt, Call, Held};
use crate::subscriptions::definition::{Channel, Kind, Status};

use super::batch::{self, Batch, Work};
use super::breaker::Verdict;
use super::letter::{self, Content, Letter};
use super::machine::{Machine, set};
use super::outcome::{Outcome, outcome};
use super::recorder::Report;
use super::roster::Subscriber;
use super::schedule::Next;

/// How long a worker stays that has nothing to do.
const IDLE: Duration = Duration::from_secs(60);
/// How long it waits before it looks again when the database cannot be read.
const PATIENCE: Duration = Duration::from_secs(1);
/// Events that a lane holds at most: beyond, the others wait, too. And how many are in memory.
const HELD_MAX: usize = 1_000;
const HELD_READ: i64 = 10_000;
/// A call that took longer than this is slow, in milliseconds.
const SLOW_MS: i64 = 2_000;

/// What others tell a worker.
#[derive(Default)]
pub(super) struct Handle {
    wake: Notify,
    is_stopped: Cell<bool>,
}

impl Handle {
    /// There may be something to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The lane is another node's.
    pub fn stop(&self) {
        self.is_stopped.set(true);
        self.wake.notify_one();
    }
}

/// What a worker does next.
enum Step {
    Again,
    /// Waits until it is woken, or until a moment.
    Wait(Option<Instant>),
    End,
}

/// Works at a lane until there is nothing to do, or it is not this node's any more.
pub(super) async fn run(machine: &Machine, lane: i64, handle: &Handle) {
    let mut worker = None;
    while !handle.is_stopped.get() {
        let step = match step(machine, lane, &mut worker).await {
            Ok(step) => step,
            Err(error) => {
                tracing::warn!(lane, %error, "a lane waits for the database");
                tokio::time::sleep(PATIENCE).await;
                Step::Again
            }
        };
        if handle.is_stopped.get() {
            return;
        }
        match step {
            Step::Again => tokio::task::yield_now().await,
            Step::End => break,
            Step::Wait(None) => {
                if tokio::time::timeout(IDLE, handle.wake.notified()).await.is_err() {
                    break;
                }
            }
            Step::Wait(Some(moment)) => tokio::select! {
                () = handle.wake.notified() => {}
                () = machine.app.clock.sleep_until(moment) => {}
            },
        }
    }
    // Whoever takes the lane next finds all that was done.
    machine.recorder.tell_and_wait(Report { lane, ..Report::default() }).await;
}

/// What is known about a lane that is being worked at. It is ahead of what is stored.
struct Worker {
    subscriber: Rc<Subscriber>,
    endpoint: String,
    host: String,
    progress: Progress,
    /// What is tried again by itself, by its numbers.
    held: BTreeMap<i64, Held>,
    /// Whether that is all there is of it.
    is_all_held: bool,
    /// Up to this number events are sent one by one: some of them were refused together.
    alone_until: i64,
    /// It was greeted, and waits to become active.
    is_greeted: bool,
    is_slow: bool,
    called_at: Instant,
}

async fn step(machine: &Machine, lane: i64, worker: &mut Option<Worker>) -> Result<Step, StoreError> {
    let app = &machine.app;
    let row = app.store.read(async |conn: &mut Conn| lanes::get(conn, lane).await).await?;
    let Some(row) = row.filter(|row| row.holder == Some(machine.node) && !row.is_paused) else {
        return Ok(Step::End);
    };
    if !matches!(row.state, State::Starting | State::Active) {
        return Ok(Step::End);
    }
    // The dispatcher learns of what another node fanned out, and then wakes this one.
    let Some(subscriber) = machine.roster.borrow().get(lane).filter(|it| it.version == row.version) else {
        return Ok(Step::Wait(None));
    };
    if worker.as_ref().is_some_and(|known| known.progress.epoch != row.epoch || known.lacks_held()) {
        // It begins anew with what is stored, once all that was done is.
        *worker = None;
        let is_ours = machine.recorder.tell_and_wait(Report { lane, ..Report::default() }).await;
        return Ok(after(is_ours));
    }
    let known = match worker {
        Some(known) => known,
        none => {
            let held = async |conn: &mut Conn| notifications::held(conn, lane, false, 0, HELD_READ).await;
            let held = app.store.read(held).await?;
            none.insert(Worker::new(&row, subscriber, held, app.now()))
        }
    };
    known.step(machine, &row).await
}

impl Worker {
    fn new(row: &Lane, subscriber: Rc<Subscriber>, held: Vec<Held>, now: Instant) -> Self {
        let endpoint = match &subscriber.definition.channel {
            Channel::RestHook { endpoint } => endpoint.to_string(),
            Channel::WebSocket => String::new(),
        };
        let progress = Progress {
            lane: row.lane,
            epoch: row.epoch,
            settled: row.settled,
            due_at: row.due_at.0,
            failures: row.failures,
            failing_since: row.failing_since.map(|at| at.0),
            error: row.error.clone(),
        };
        Self {
            host: host_of(&endpoint).unwrap_or_default(),
            endpoint,
            is_slow: progress.failures > 0,
            is_all_held: i64::try_from(held.len()).is_ok_and(|found| found < HELD_READ),
            progress,
            held: held.into_iter().map(|held| (held.number, held)).collect(),
            alone_until: 0,
            is_greeted: false,
            called_at: now,
            subscriber,
        }
    }

    /// What was held and read is done with, and there was more.
    fn lacks_held(&self) -> bool {
        self.held.is_empty() && !self.is_all_held
    }

    async fn step(&mut self, machine: &Machine, row: &Lane) -> Result<Step, StoreError> {
        let now = machine.app.now();
        let definition = &self.subscriber.definition;
        if definition.channel == Channel::WebSocket {
            return Ok(self.step_aside(machine, row).await);
        }
        // A moment farther away than any wait is none: the clock was set back.
        if (now.0 + 1..=now.0.saturating_add(machine.schedule.longest_us())).contains(&self.progress.due_at) {
            return Ok(Step::Wait(Some(Instant(self.progress.due_at))));
        }
        if row.state == State::Starting {
            // Base R4 knows no handshake.
            return match definition.kind {
                _ if self.is_greeted => Ok(Step::Wait(None)),
                Kind::Criteria(_) => Ok(self.activate(machine).await),
                Kind::Topic(_) => self.greet(machine, row).await,
            };
        }
        let next_held = self.next_held();
        let beat = definition.heartbeat_s.map(|s| Instant(self.called_at.0 + i64::from(s) * 1_000_000));
        if let Some((number, _)) = next_held.filter(|(_, due_at)| *due_at <= now) {
            return self.call(machine, row, Work::Held(number)).await;
        }
        if self.progress.settled < row.numbered && self.held.len() < HELD_MAX {
            return self.call(machine, row, Work::Next).await;
        }
        if beat.is_some_and(|at| at <= now) {
            return self.call(machine, row, Work::Heartbeat).await;
        }
        Ok(Step::Wait(next_held.map(|(_, due_at)| due_at).into_iter().chain(beat).min()))
    }

    /// Subscribers that come for what they get, over a WebSocket: nothing is called, so nothing is owed.
    async fn step_aside(&mut self, machine: &Machine, row: &Lane) -> Step {
        if row.state == State::Starting {
            return if self.is_greeted { Step::Wait(None) } else { self.activate(machine).await };
        }
        if self.progress.settled < row.numbered {
            self.progress.settled = row.numbered;
            let progress = Some(self.progress.clone());
            machine.recorder.tell(Report { lane: row.lane, progress, ..Report::default() }).await;
        }
        Step::Wait(None)
    }

    async fn activate(&mut self, machine: &Machine) -> Step {
        self.conclude(machine, Status::Active, None).await
    }

    /// The greeting is over, with this status. Where that cannot be stored, it begins anew a little later.
    async fn conclude(&mut self, machine: &Machine, status: Status, error: Option<String>) -> Step {
        self.is_greeted = set(machine, &self.subscriber.id, self.subscriber.version, status, error).await;
        if self.is_greeted {
            return Step::Wait(None);
        }
        self.progress.due_at = machine.app.now().0 + 1_000_000;
        Step::Wait(Some(Instant(self.progress.due_at)))
    }

    /// The first event held of each resource is tried when it is due; the earliest of these.
    fn next_held(&self) -> Option<(i64, Instant)> {
        let mut subjects = HashSet::new();
        let first = self.held.values().filter(|held| subjects.insert(held.subject));
        first.map(|held| (held.number, held.due_at)).min_by_key(|(number, due_at)| (*due_at, *number))
    }

    /// Asks a new recipient whether it is there. Any error ends it (Backport 1.1.0, handshake).
    async fn greet(&mut self, machine: &Machine, row: &Lane) -> Result<Step, StoreError> {
        let host = machine.host(&self.host);
        let (Ok(_host), Ok(_call)) = (host.acquire().await, machine.calls.acquire().await) else {
            return Ok(Step::End);
        };
        let letter = letter::handshake(machine, &self.subscriber, row).await;
        let (outcome, attempt) = self.send(machine, letter, Call::Handshake).await;
        machine.recorder.tell_and_wait(Report { lane: row.lane, attempt: Some(attempt), ..Report::default() }).await;
        let (status, error) = match outcome {
            Outcome::Delivered => (Status::Active, None),
            Outcome::Refused(why) | Outcome::Ended(why) | Outcome::Failed { why, .. } => {
                (Status::Error, Some(format!("The handshake failed: {why}")))
            }
        };
        Ok(self.conclude(machine, status, error).await)
    }

    /// One call, when there is a place for it.
    async fn call(&mut self, machine: &Machine, row: &Lane, work: Work) -> Result<Step, StoreError> {
        let host = machine.host(&self.host);
        let calls = if self.is_slow { &machine.slow_calls } else { &machine.calls };
        let waited = host.available_permits() == 0 || calls.available_permits() == 0;
        let (Ok(_host), Ok(_call)) = (host.acquire().await, calls.acquire().await) else { return Ok(Step::End) };
        if waited && !self.is_still(machine, row).await? {
            return Ok(Step::Again);
        }
        match machine.breakers.may_send(&self.host, machine.app.now()) {
            Verdict::WaitUntil(moment) => return Ok(Step::Wait(Some(moment))),
            Verdict::Go | Verdict::Probe => {}
        }
        let (batch, letter) = match self.prepare(machine, row, work).await {
            Ok((batch, Content::Letter(letter))) => (batch, letter),
            prepared => {
                machine.breakers.released(&self.host, machine.app.now());
                return match prepared? {
                    (_, Content::Forbidden(why)) => Ok(self.fail_for_good(machine, why).await),
                    (batch, _) => Ok(self.pass(machine, batch, work).await),
                };
            }
        };
        let kind = if work == Work::Heartbeat { Call::Heartbeat } else { Call::Events };
        let (outcome, mut attempt) = self.send(machine, letter, kind).await;
        attempt.first = batch.events.first().map_or(0, |event| event.number);
        attempt.last = batch.events.last().map_or(0, |event| event.number);
        attempt.events = i64::try_from(batch.events.len()).unwrap_or(i64::MAX);
        Ok(match outcome {
            Outcome::Delivered => self.delivered(machine, batch, work, attempt).await,
            Outcome::Refused(why) => self.refused(machine, batch, work, attempt, why).await,
            Outcome::Failed { why, retry_after, .. } => self.failed(machine, attempt, why, retry_after).await,
            Outcome::Ended(why) => {
                let report = Report { lane: row.lane, attempt: Some(attempt), ..Report::default() };
                machine.recorder.tell_and_wait(report).await;
                self.fail_for_good(machine, why).await
            }
        })
    }

    /// Whether a lane is as it was before there was a place for its call.
    async fn is_still(&self, machine: &Machine, row: &Lane) -> Result<bool, StoreError> {
        let lane = row.lane;
        let now = machine.app.store.read(async |conn: &mut Conn| lanes::get(conn, lane).await).await?;
        Ok(now.is_some_and(|now| now.epoch == row.epoch && now.holder == row.holder))
    }

    /// The events of a call, and what is sent of them.
    async fn prepare(&self, machine: &Machine, row: &Lane, work: Work) -> Result<(Batch, Content), StoreError> {
        let settled = self.progress.settled;
        let batch = match work {
            Work::Heartbeat => {
                let letter = letter::heartbeat(machine, &self.subscriber, row).await;
                let batch = Batch { end: settled, events: Vec::new(), behind: Vec::new() };
                return Ok((batch, Content::Letter(letter)));
            }
            Work::Held(number) => batch::one(machine, row, settled, number).await?,
            Work::Next => {
                let most = batch::most(&self.subscriber.definition, settled < self.alone_until);
                let subjects = self.held.values().map(|held| held.subject).collect();
                batch::next(machine, row, settled, most, &subjects).await?
            }
        };
        let content = letter::events(machine, &self.subscriber, &batch.events, row.numbered).await?;
        Ok((batch, content))
    }

    async fn send(&mut self, machine: &Machine, letter: Letter, call: Call) -> (Outcome, Attempt) {
        let app = &machine.app;
        let at = app.now();
        self.called_at = at;
        let answer = letter::post(machine, &self.subscriber, &self.endpoint, letter).await;
        let ms = answer.as_ref().map_or(0, |answer| i64::try_from(answer.ms).unwrap_or(i64::MAX));
        let ms = if ms == 0 { (app.now().0 - at.0).max(0) / 1_000 } else { ms };
        self.is_slow = ms > SLOW_MS || !answer.as_ref().is_ok_and(|answer| answer.is_success());
        let (status, excerpt) = match &answer {
            Ok(answer) => (i16::try_from(answer.status).ok(), answer.excerpt.clone()),
            Err(error) => (None, error.to_string()),
        };
        let outcome = outcome(&answer);
        match &outcome {
            Outcome::Delivered | Outcome::Refused(_) => machine.breakers.succeeded(&self.host),
            Outcome::Failed { is_host: true, .. } => machine.breakers.failed(&self.host, app.now()),
            // What one URL answers says nothing about its neighbours.
            Outcome::Failed { .. } | Outcome::Ended(_) => machine.breakers.released(&self.host, app.now()),
        }
        let is_ok = matches!(outcome, Outcome::Delivered);
        let (subscription, host) = (&self.subscriber.id, &self.host);
        if is_ok {
            tracing::debug!(subscription, host, status, ms, "a subscriber took what it was sent");
        } else {
            tracing::warn!(subscription, host, status, ms, "a subscriber did not take what it was sent");
        }
        let excerpt = (!excerpt.is_empty()).then_some(excerpt);
        let lane = self.subscriber.lane;
        (outcome, Attempt { attempt: 0, lane, call, first: 0, last: 0, events: 0, at, ms, status, is_ok, excerpt })
    }

    async fn delivered(&mut self, machine: &Machine, batch: Batch, work: Work, attempt: Attempt) -> Step {
        let was_failing = self.progress.failures > 0;
        self.progress.failures = 0;
        self.progress.failing_since = None;
        self.progress.error = None;
        if let Work::Held(number) = work {
            self.held.remove(&number);
            let progress = Some(self.progress.clone());
            let report = Report {
                lane: attempt.lane,
                progress,
                attempt: Some(attempt),
                let_go: vec![number],
                ..Report::default()
            };
            return after(machine.recorder.tell_and_wait(report).await);
        }
        if was_failing {
            tracing::info!(subscription = self.subscriber.id, "a subscriber can be reached again");
        }
        self.settle(machine, batch, Some(attempt)).await
    }

    /// Goes on where there is nothing to send: what comes next waits behind what is held, or is kept no more.
    async fn pass(&mut self, machine: &Machine, batch: Batch, work: Work) -> Step {
        let Work::Held(number) = work else { return self.settle(machine, batch, None).await };
        self.held.remove(&number);
        let report = Report { lane: self.progress.lane, let_go: vec![number], ..Report::default() };
        after(machine.recorder.tell_and_wait(report).await)
    }

    /// Goes on behind a batch whose events were delivered.
    async fn settle(&mut self, machine: &Machine, batch: Batch, attempt: Option<Attempt>) -> Step {
        self.progress.settled = self.progress.settled.max(batch.end);
        let hold = batch.held_behind(self.held.values(), machine.app.now());
        self.held.extend(hold.iter().map(|held| (held.number, held.clone())));
        let lane = self.progress.lane;
        let report = Report { lane, progress: Some(self.progress.clone()), attempt, hold, ..Report::default() };
        if report.hold.is_empty() {
            machine.recorder.tell(report).await;
            return Step::Again;
        }
        after(machine.recorder.tell_and_wait(report).await)
    }

    /// The recipient does not take this, whatever the reason; it may take the rest.
    async fn refused(&mut self, machine: &Machine, batch: Batch, work: Work, attempt: Attempt, why: String) -> Step {
        let Some(event) = batch.events.first() else { return self.failed(machine, attempt, why, None).await };
        if batch.events.len() > 1 {
            self.alone_until = batch.end;
            let lane = attempt.lane;
            machine.recorder.tell(Report { lane, attempt: Some(attempt), ..Report::default() }).await;
            return Step::Again;
        }
        let now = machine.app.now();
        let before = self.held.get(&event.number);
        let (tries, since) = before.filter(|it| it.tries > 0).map_or((1, now), |it| (it.tries + 1, it.since));
        let next = machine.schedule.next(u32::try_from(tries).unwrap_or(u32::MAX), since, now, None, random());
        let (due_at, is_dead) = match next {
            Next::At(moment) => (moment, false),
            Next::GiveUp => (now, true),
        };
        let held =
            Held { number: event.number, subject: event.subject, tries, since, due_at, is_dead, error: Some(why) };
        if is_dead {
            tracing::error!(
                subscription = self.subscriber.id,
                event = event.number,
                tries,
                "an event was refused too often; it can be sent again by an operator"
            );
            self.held.remove(&event.number);
        } else {
            self.held.insert(event.number, held.clone());
        }
        let mut hold = vec![held];
        if work == Work::Next {
            self.progress.settled = self.progress.settled.max(batch.end);
            // It may have been the last of a stretch in which others wait.
            hold.extend(batch.held_behind(self.held.values(), now));
            self.held.extend(hold.iter().filter(|held| !held.is_dead).map(|held| (held.number, held.clone())));
        }
        let progress = Some(self.progress.clone());
        let report = Report { lane: attempt.lane, progress, attempt: Some(attempt), hold, ..Report::default() };
        after(machine.recorder.tell_and_wait(report).await)
    }

    /// The recipient cannot be reached, or cannot take anything now.
    async fn failed(
        &mut self,
        machine: &Machine,
        attempt: Attempt,
        why: String,
        retry_after: Option<Duration>,
    ) -> Step {
        let now = machine.app.now();
        self.progress.failures += 1;
        let since = Instant(*self.progress.failing_since.get_or_insert(now.0));
        let tries = u32::try_from(self.progress.failures).unwrap_or(u32::MAX);
        self.progress.error = Some(why.clone());
        let step = match machine.schedule.next(tries, since, now, retry_after, random()) {
            Next::At(moment) => {
                self.progress.due_at = moment.0;
                Step::Wait(Some(moment))
            }
            Next::GiveUp => Step::End,
        };
        let progress = Some(self.progress.clone());
        let report = Report { lane: attempt.lane, progress, attempt: Some(attempt), ..Report::default() };
        if !machine.recorder.tell_and_wait(report).await {
            return Step::End;
        }
        match step {
            Step::End => self.fail_for_good(machine, why).await,
            step => step,
        }
    }

    /// Nothing more is sent until the subscriber asks for it. What is owed stays owed.
    async fn fail_for_good(&mut self, machine: &Machine, why: String) -> Step {
        tracing::error!(subscription = self.subscriber.id, %why, "deliveries of a Subscription have stopped");
        set(machine, &self.subscriber.id, self.subscriber.version, Status::Error, Some(why)).await;
        self.progress.due_at = machine.app.now().0 + 60_000_000;
        Step::Wait(Some(Instant(self.progress.due_at)))
    }
}

fn after(is_ours: bool) -> Step {
    if is_ours { Step::Again } else { Step::End }
}

/// From 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness there is no jitter, and nothing worse.
    let _none = openssl::rand::rand_bytes(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}
