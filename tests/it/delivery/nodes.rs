//! Two nodes on one database: each may be killed, and the other goes on.

use std::time::Duration;

use serde_json::json;

use crate::harness::Server;
use crate::harness::receiver::{Dice, Receiver};

use super::owed::Books;
use super::proof::{Extent, UNREAD, await_requests, moody, settle};
use super::subscribers::{self, Subscriber};
use super::writers::Ledger;
use super::{EAGER, told, until};

const SHORT: Extent = Extent { kills: 8, writers: 4, writes: 40, requests: 25, seed: 3 };
const LONG: Extent = Extent { kills: 100, writers: 6, writes: 60, requests: 25, seed: 4 };
/// Much less than a node is believed to live without a sign.
const TAKEOVER: Duration = Duration::from_secs(20);

fn prove(first: Server, extent: Extent) {
    let receiver = Receiver::new(extent.seed);
    let wanted = subscribers::all();
    let ids = subscribers::subscribe_all(&first, &receiver, &wanted);
    // The last one owns the database.
    let mut nodes = [first.second(&[]), first];
    receiver.behave(moody);
    receiver.break_unread(UNREAD);
    let ledger = Ledger::default();
    let mut dice = Dice::new(extent.seed);
    for round in 0..extent.kills {
        let victim = usize::try_from(dice.roll(2)).expect("small");
        ledger.set_over(false);
        std::thread::scope(|scope| {
            for writer in 0..extent.writers {
                let node = &nodes[usize::try_from(writer % 2).expect("small")];
                let (ledger, seed) = (&ledger, extent.seed * 1_000_000 + round * 100 + writer);
                scope.spawn(move || ledger.write(node, seed));
            }
            let mut go_on = |requests: usize| {
                let writes = ledger.count() + Extent::some(extent.writes, &mut dice);
                ledger.set_limit(writes);
                until("writes are acknowledged", || ledger.count() >= writes);
                await_requests(&receiver, requests);
            };
            go_on(usize::try_from(extent.requests).expect("small"));
            ledger.set_limit(usize::MAX);
            nodes[victim].kill();
            // The other one alone.
            go_on(10);
            ledger.set_over(true);
        });
        nodes[victim].restart();
    }
    receiver.recover();
    let log = settle(&nodes[1], &receiver, &wanted, &ids, &ledger);
    println!("{} writes, {} requests", ledger.count(), log.len());
}

#[test]
fn two_nodes_that_are_killed_in_turn_lose_nothing() {
    if let Some(server) = Server::postgres(EAGER) {
        prove(server, SHORT);
    }
}

/// `cargo test --test it delivery::nodes -- --ignored --nocapture`
#[test]
#[ignore = "it takes minutes"]
fn a_hundred_kills_of_two_nodes() {
    if let Some(server) = Server::postgres(EAGER) {
        prove(server, LONG);
    }
}

fn put(server: &Server, id: &str) {
    let resource = json!({"resourceType": "Practitioner", "id": id, "active": true});
    assert_eq!(server.put(&format!("Practitioner/{id}"), &resource).status, 201);
}

#[test]
fn when_the_node_that_delivers_is_killed_another_takes_over_at_once() {
    let Some(first) = Server::postgres(EAGER) else { return };
    let receiver = Receiver::new(1);
    let wanted: Vec<Subscriber> = subscribers::all().into_iter().filter(|it| it.key == "five").collect();
    let id = subscribers::subscribe_all(&first, &receiver, &wanted).remove(0);
    let books = Books::of(&first);
    let mut nodes = [first.second(&[]), first];
    put(&nodes[1], "first");
    receiver.wait_until(TAKEOVER, "the first event", |log| told::taken(&wanted[0], log).len() == 1);
    // The node that was first delivers, then the one that took over from it, and so on.
    for (turn, victim) in [1, 0, 1].into_iter().enumerate() {
        let holder = books.lane(&id).holder;
        receiver.down();
        put(&nodes[victim], &format!("p{turn}"));
        until("the lane is at work", || books.attempts(&id).first().is_some_and(|it| !it.is_ok));
        assert_eq!(books.lane(&id).holder, holder, "a node that lives keeps what it has");
        nodes[victim].kill();
        receiver.up();
        let due: Vec<u64> = (1..=turn as u64 + 2).collect();
        receiver.wait_until(TAKEOVER, "the other takes over", |log| told::taken(&wanted[0], log).keys().eq(&due));
        assert_ne!(books.lane(&id).holder, holder);
        nodes[victim].restart();
    }
}
