//! Connections to the database that are cut, all at once and in the middle of everything, on PostgreSQL.

use crate::harness::receiver::{Dice, Receiver};
use crate::harness::{Server, postgres};

use super::proof::{Extent, UNREAD, await_requests, moody, settle};
use super::writers::Ledger;
use super::{EAGER, subscribers, until};

const CUTS: u64 = 6;
const EXTENT: Extent = Extent { kills: 0, writers: 4, writes: 30, requests: 20, seed: 5 };
const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[test]
fn two_nodes_whose_connections_are_cut_lose_nothing() {
    // The log would tell of each of hundreds.
    let settings: Vec<(&str, &str)> = EAGER.iter().copied().chain([("PLUMBLINE_LOG__FILTER", "off")]).collect();
    let Some(first) = Server::postgres(&settings) else { return };
    let receiver = Receiver::new(EXTENT.seed);
    let wanted = subscribers::all();
    let ids = subscribers::subscribe_all(&first, &receiver, &wanted);
    // The last one owns the database.
    let nodes = [first.second(&[]), first];
    receiver.behave(moody);
    receiver.break_unread(UNREAD);
    let ledger = Ledger::default();
    let mut dice = Dice::new(EXTENT.seed);
    std::thread::scope(|scope| {
        for writer in 0..EXTENT.writers {
            let (node, ledger) = (&nodes[usize::try_from(writer % 2).expect("small")], &ledger);
            scope.spawn(move || ledger.write(node, EXTENT.seed * 1_000_000 + writer));
        }
        for _ in 0..CUTS {
            let writes = ledger.count() + Extent::some(EXTENT.writes, &mut dice);
            ledger.set_limit(writes);
            until("writes are acknowledged", || ledger.count() >= writes);
            await_requests(&receiver, Extent::some(EXTENT.requests, &mut dice));
            ledger.set_limit(usize::MAX);
            until("more is acknowledged", || ledger.count() >= writes + 10);
            postgres::ask(nodes[1].database_url().expect("PostgreSQL"), CUT);
        }
        ledger.set_over(true);
    });
    receiver.recover();
    let log = settle(&nodes[1], &receiver, &wanted, &ids, &ledger);
    println!("{} writes, {} requests", ledger.count(), log.len());
}
