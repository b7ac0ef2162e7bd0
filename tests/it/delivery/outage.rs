//! A receiver that is down for hours. The clock of the directory is moved, so that the schedule is the one that operators
//! get, with all its waits.

use std::time::Duration;

use plumbline::config::Settings;
use plumbline::fhir::types::Instant;
use plumbline::store::lanes::State;
use serde_json::{Value, json};

use crate::harness::receiver::Receiver;

use super::inside::{self, Inside};
use super::subscribers::{self, Subscriber};
use super::{PATIENCE, told, until};

const MINUTE: Duration = Duration::from_secs(60);
/// Longer than a server is left alone at once because it failed for others.
const STEP: Duration = Duration::from_secs(310);
const PEOPLE: usize = 7;

fn practitioner(n: usize) -> Value {
    let id = format!("p{}", n % PEOPLE);
    json!({"resourceType": "Practitioner", "id": id, "active": true, "name": [{"family": format!("n{n}")}]})
}

/// Those of the subscribers of the proof that are about Practitioners, by their ids.
fn subscribe(inside: &Inside, receiver: &Receiver) -> Vec<(String, Subscriber)> {
    let wanted = subscribers::all().into_iter().filter(|it| ["one", "five", "search", "filtered"].contains(&it.key));
    let stored: Vec<_> = wanted.map(|it| (inside.post(&it.resource(&receiver.url(it.key))), it)).collect();
    for (id, _) in &stored {
        until("it is active", || inside.subscription(id)["status"] == "active");
    }
    stored
}

/// Moves the clock and waits until all that is due by then was tried, or its server was, which speaks for all.
fn advance(inside: &Inside, by: Duration, subscriptions: &[(String, Subscriber)]) {
    let books = inside.books();
    // Whatever is tried after the clock was moved is tried after this.
    let began = Instant(inside.app.now().0 + i64::try_from(by.as_micros()).expect("it fits"));
    inside.app.clock.advance(by);
    until("what is due is tried", || {
        let lanes: Vec<_> = subscriptions.iter().map(|(id, _)| books.lane(id)).collect();
        let was_tried = |(id, _): &(String, Subscriber)| books.attempts(id).first().is_some_and(|it| it.at >= began);
        lanes.iter().all(|lane| lane.state != State::Active || lane.settled == lane.numbered || lane.due_at > began)
            || subscriptions.iter().any(was_tried)
    });
}

/// All that was written has arrived, each in its place.
fn check(receiver: &Receiver, subscriptions: &[(String, Subscriber)], writes: usize) {
    let log = receiver.log();
    for (_, subscriber) in subscriptions {
        let key = subscriber.key;
        let taken = told::taken(subscriber, &log);
        assert_eq!(taken.len(), writes, "{key}");
        for (n, event) in taken.values().enumerate() {
            let due = (format!("Practitioner/p{}", n % PEOPLE), (n / PEOPLE + 1) as u64);
            assert_eq!((event.number, event.subject.as_ref()), (n as u64 + 1, Some(&due)), "{key}");
        }
    }
}

fn arrived(receiver: &Receiver, subscriptions: &[(String, Subscriber)], writes: usize, bound: Duration) -> bool {
    receiver.is_in_time(bound, |log| subscriptions.iter().all(|(_, it)| told::taken(it, log).len() >= writes))
}

#[test]
fn after_six_hours_all_arrives_in_order() {
    inside::on_each(
        |_: &mut Settings| {},
        |inside| {
            let receiver = Receiver::new(1);
            let subscriptions = subscribe(inside, &receiver);
            let greeted = receiver.count();
            receiver.down();
            let began = inside.app.now().0;
            let mut writes = 0;
            while inside.app.now().0 - began < 6 * 3_600_000_000 {
                for _ in 0..2 {
                    inside.put(&practitioner(writes));
                    writes += 1;
                }
                advance(inside, STEP, &subscriptions);
            }
            assert_eq!(receiver.count(), greeted, "it was down");
            for (id, subscriber) in &subscriptions {
                assert_eq!(inside.subscription(id)["status"], "active", "{}", subscriber.key);
                let tries = inside.books().attempts(id).iter().filter(|it| it.first > 0).count();
                // By the schedule nine in six hours, and fewer where others found out that the server is down.
                assert!((4..=16).contains(&tries), "{}: {tries} tries", subscriber.key);
            }
            receiver.up();
            // Not longer than the longest wait, an hour and a fifth, and what the server is left alone for beyond that.
            advance(inside, STEP, &subscriptions);
            let books = inside.books();
            let goes_on = |id: &str| books.attempts(id).first().is_some_and(|it| it.is_ok);
            let mut waited = STEP;
            while !subscriptions.iter().all(|(id, _)| goes_on(id)) {
                assert!(waited < 80 * MINUTE, "each is tried again in time");
                inside.app.clock.advance(STEP);
                waited += STEP;
                // By now nobody has failed for so long that nothing keeps those from it whose time has come.
                let now = inside.app.now();
                let is_settled = |id: &str| goes_on(id) || books.lane(id).due_at > now;
                until("what is due arrives", || subscriptions.iter().all(|(id, _)| is_settled(id)));
            }
            assert!(arrived(&receiver, &subscriptions, writes, PATIENCE), "{writes} are due");
            check(&receiver, &subscriptions, writes);
            for (id, _) in &subscriptions {
                assert_eq!(inside.subscription(id)["status"], "active");
            }
        },
    );
}

#[test]
fn who_is_given_up_is_told_so_and_gets_what_is_owed_when_they_ask_again() {
    inside::on_each(
        |settings| settings.delivery.give_up_h = 2,
        |inside| {
            let receiver = Receiver::new(2);
            let subscriptions = subscribe(inside, &receiver);
            receiver.down();
            let mut writes = 0;
            let mut write = || {
                inside.put(&practitioner(writes));
                writes += 1;
                writes
            };
            write();
            let is_over =
                |status: &str| subscriptions.iter().all(|(id, _)| inside.subscription(id)["status"] == status);
            let mut steps = 0;
            while !is_over("error") {
                assert!(steps < 40, "it is given up after two hours");
                write();
                advance(inside, STEP, &subscriptions);
                steps += 1;
            }
            assert!(steps > 10, "it is not given up in the first hour: {steps} steps");
            for (id, subscriber) in &subscriptions {
                let error = inside.subscription(id)["error"].as_str().expect("a sentence").to_owned();
                assert!(error.contains("cannot be reached"), "{}: {error}", subscriber.key);
            }
            // It counts on, and does not start by itself.
            let due = (0..20).map(|_| write()).last().expect("some");
            let books = inside.books();
            let owed = i64::try_from(due).expect("it fits");
            until("all are counted", || subscriptions.iter().all(|(id, _)| books.lane(id).numbered == owed));
            receiver.up();
            inside.app.clock.advance(90 * MINUTE);
            let before = receiver.count();
            for (id, _) in &subscriptions {
                let mut again = inside.subscription(id);
                again["status"] = "requested".into();
                inside.put(&again);
            }
            until("they are active again", || is_over("active"));
            assert!(arrived(&receiver, &subscriptions, due, PATIENCE), "{due} are due");
            check(&receiver, &subscriptions, due);
            let handshakes = |log: &[crate::harness::receiver::Arrival]| {
                log[before..]
                    .iter()
                    .filter(|it| it.header("webhook-id").is_some_and(|id| id.starts_with("handshake")))
                    .count()
            };
            // All but the search, which knows none.
            assert_eq!(handshakes(&receiver.log()), subscriptions.len() - 1);
        },
    );
}
