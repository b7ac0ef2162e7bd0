//! The proof: clients write, the receiver fails in every way it can, and the server is killed again and again. In the end
//! each subscriber has got every change that concerns them under one number, in order, and nothing else.
//!
//! The long form kills it a hundred times: `cargo test --test it delivery::proof::long -- --ignored --nocapture`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::harness::Server;
use crate::harness::receiver::{Act, Arrival, Dice, Receiver};

use super::history::{self, Change};
use super::owed::Books;
use super::subscribers::{self, Subscriber};
use super::told;
use super::writers::{Ledger, TYPES};
use super::{EAGER, PATIENCE, until};

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub kills: u64,
    pub writers: u64,
    /// Acknowledged writes between two kills, and requests to the receiver: at least so many, and by chance up to twice.
    pub writes: u64,
    pub requests: u64,
    pub seed: u64,
}

impl Extent {
    pub fn some(of: u64, dice: &mut Dice) -> usize {
        usize::try_from(of + dice.roll(of)).expect("small")
    }
}

const SHORT: Extent = Extent { kills: 8, writers: 4, writes: 40, requests: 25, seed: 1 };
const LONG: Extent = Extent { kills: 100, writers: 6, writes: 60, requests: 25, seed: 2 };

/// One request in three goes wrong, each time in another way.
pub fn moody(_arrival: &Arrival, dice: &mut Dice) -> Act {
    match dice.roll(100) {
        0..8 => Act::Answer(500),
        8..12 => Act::Later(1),
        12..14 => Act::Answer(429),
        14..16 => Act::Answer(404),
        16..20 => Act::Answer(422),
        20..24 => Act::Reset,
        24..28 => Act::Swallow,
        28..29 => Act::Hang,
        29..31 => Act::Late(Duration::from_millis(1_200)),
        _ => Act::Answer(200),
    }
}

/// Percent of connections that break before a request is read, beside that.
pub const UNREAD: u64 = 4;

fn prove(mut server: Server, extent: Extent) {
    let receiver = Receiver::new(extent.seed);
    let wanted = subscribers::all();
    let ids = subscribers::subscribe_all(&server, &receiver, &wanted);
    receiver.behave(moody);
    receiver.break_unread(UNREAD);
    let ledger = Ledger::default();
    let mut dice = Dice::new(extent.seed);
    for round in 0..extent.kills {
        ledger.set_over(false);
        std::thread::scope(|scope| {
            for writer in 0..extent.writers {
                let (server, ledger, seed) = (&server, &ledger, extent.seed * 1_000_000 + round * 100 + writer);
                scope.spawn(move || ledger.write(server, seed));
            }
            let writes = ledger.count() + Extent::some(extent.writes, &mut dice);
            ledger.set_limit(writes);
            until("writes are acknowledged", || ledger.count() >= writes);
            receiver.up();
            await_requests(&receiver, Extent::some(extent.requests, &mut dice));
            // Killed in the middle of writing, or only of delivering.
            if dice.is_within(50) {
                ledger.set_limit(usize::MAX);
                until("more is acknowledged", || ledger.count() >= writes + 10);
            }
            server.kill();
            ledger.set_over(true);
        });
        // It comes back to a receiver that is there, or is not yet.
        if dice.is_within(25) {
            receiver.down();
        }
        server.restart();
    }
    receiver.recover();
    let log = settle(&server, &receiver, &wanted, &ids, &ledger);
    let taken = log.iter().filter(|arrival| arrival.is_taken()).count();
    println!("{} writes, {} requests, {taken} of them taken", ledger.count(), log.len());
    let failures = u64::try_from(log.len() - taken).expect("small");
    assert!(failures > 3 * extent.kills, "the receiver was unreliable: it took all but {failures}");
}

/// Waits for so many requests; not for long, since there may be nothing more to tell.
pub fn await_requests(receiver: &Receiver, more: usize) {
    let count = receiver.count() + more;
    receiver.is_in_time(Duration::from_secs(5), |log| log.len() >= count);
}

/// Waits until everything has arrived, then checks it; all requests there were.
pub fn settle(
    server: &Server,
    receiver: &Receiver,
    wanted: &[Subscriber],
    ids: &[String],
    ledger: &Ledger,
) -> Vec<Arrival> {
    // The last events of all.
    for resource_type in TYPES {
        let (id, active) = ("last", *resource_type != "Organization");
        let mut resource = json!({"resourceType": resource_type, "id": id, "active": active});
        if *resource_type == "Organization" {
            resource["name"] = id.into();
        }
        assert_eq!(server.put(&format!("{resource_type}/{id}"), &resource).status, 201);
    }
    assert_eq!(server.delete("PractitionerRole/last").status, 204);
    let history = history::changes(server, TYPES);
    ledger.check(&history);
    let due = |it: &Subscriber| history.values().flatten().filter(|change: &&Change| (it.wants)(change)).count();
    let due: Vec<usize> = wanted.iter().map(due).collect();
    assert!(due.iter().all(|count| *count > 5), "enough of everything has happened: {due:?}");
    let mut taken: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); wanted.len()];
    let mut seen = 0;
    let is_all_in = receiver.is_in_time(PATIENCE, |log| {
        for arrival in log[seen..].iter().filter(|arrival| arrival.is_taken()) {
            let to = wanted.iter().position(|it| arrival.path[1..] == *it.key).expect("a subscriber");
            taken[to].extend(told::events(wanted[to].carries, arrival).iter().map(|event| event.number));
        }
        seen = log.len();
        taken.iter().zip(&due).all(|(taken, due)| taken.len() >= *due)
    });
    let log = receiver.log();
    for subscriber in wanted {
        told::check(subscriber, &log, &history);
    }
    assert!(is_all_in, "{due:?} are due");
    let books = Books::of(server);
    for ((id, subscriber), due) in ids.iter().zip(wanted).zip(due) {
        let due = i64::try_from(due).expect("it fits");
        until("it is known that all is delivered", || books.lane(id).settled == due);
        let lane = books.lane(id);
        assert_eq!((lane.numbered, lane.error), (due, None), "{}", subscriber.key);
        until("nothing is held", || books.held(id, false).is_empty());
        assert_eq!(books.held(id, true), [], "{}", subscriber.key);
        assert_eq!(server.get(&format!("Subscription/{id}")).body["status"], "active", "{}", subscriber.key);
    }
    log
}

#[test]
fn every_acknowledged_write_reaches_every_subscriber_on_sqlite() {
    prove(Server::sqlite(EAGER), SHORT);
}

#[test]
fn every_acknowledged_write_reaches_every_subscriber_on_postgresql() {
    if let Some(server) = Server::postgres(EAGER) {
        prove(server, SHORT);
    }
}

mod long {
    use super::*;

    /// `cargo test --test it delivery::proof::long -- --ignored --nocapture`
    #[test]
    #[ignore = "it takes minutes"]
    fn a_hundred_kills_on_sqlite() {
        prove(Server::sqlite(EAGER), LONG);
    }

    /// `cargo test --test it delivery::proof::long -- --ignored --nocapture`
    #[test]
    #[ignore = "it takes minutes"]
    fn a_hundred_kills_on_postgresql() {
        if let Some(server) = Server::postgres(EAGER) {
            prove(server, LONG);
        }
    }
}
