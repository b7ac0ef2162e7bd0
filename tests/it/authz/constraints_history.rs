//! Histories for somebody who may see some resources of a type: a version is seen when it met the constraint itself.

use super::constraints::{ACTIVE, SECRET};
use super::{assert_silent, bundle, call, everything, location, statuses, versions};
use crate::harness::tokens::Bearer;
use crate::harness::{Server, on_both};

/// Three Locations: one shown later, one hidden later, one that was never to be seen.
fn past(server: &Server) {
    let operator = everything(server);
    operator.store(&location("shown", "suspended", "Secret 1"));
    operator.store(&location("shown", "active", "Able"));
    operator.store(&location("shadow", "suspended", "Secret 2"));
    operator.store(&location("shadow", "suspended", "Secret 3"));
    operator.store(&location("closed", "active", "Baker"));
    operator.store(&location("closed", "suspended", "Secret 4"));
    operator.store(&location("gone", "active", "Charlie"));
    for id in ["gone", "shadow"] {
        assert_eq!(operator.delete(&format!("Location/{id}")).status, 204);
    }
}

/// What of that a constraint to the active ones shows, newest first.
const SEEN: [&str; 4] = ["Location/gone/2", "Location/gone/1", "Location/closed/1", "Location/shown/2"];

on_both! {
    with { crate::harness::tokens::trusting() };

    fn the_history_of_a_resource_shows_the_versions_that_may_be_seen(server) {
        past(server);
        let who = Bearer::of(server, ACTIVE);
        for (id, expected) in [
            ("shown", &["Location/shown/2"][..]),
            ("closed", &["Location/closed/1"]),
            ("gone", &["Location/gone/2", "Location/gone/1"]),
        ] {
            let answer = who.get(&format!("Location/{id}/_history"));
            assert_silent(&answer, &[SECRET]);
            assert_eq!(versions(&answer), expected);
            // The number of all versions is not theirs to know.
            let total = answer.body["total"].as_u64().unwrap_or(expected.len() as u64);
            assert_eq!(total, expected.len() as u64, "{answer}");
        }
        assert_eq!(who.get("Location/shown/_history/1").status, 404);
        assert_eq!(who.get("Location/closed/_history/2").status, 404);
        assert_eq!(who.get("Location/shadow/_history").status, 404);
    }

    fn the_histories_of_a_type_and_of_all_show_the_same_versions(server) {
        past(server);
        let who = Bearer::of(server, ACTIVE);
        for path in
            ["Location/_history", "_history", "Location/_history?_since=2020-01-01T00:00:00Z", "_history?_count=100"]
        {
            let answer = who.get(path);
            assert_silent(&answer, &[SECRET, "shadow"]);
            assert_eq!(versions(&answer), SEEN, "{path}");
            if let Some(total) = answer.body["total"].as_u64() {
                assert_eq!(total, 4, "{path}");
            }
        }
        let batch = who.post(
            "",
            &bundle(
                "batch",
                &[call("GET", "Location/_history"), call("GET", "_history"), call("GET", "Location/shadow/_history")],
            ),
        );
        assert_eq!(statuses(&batch), ["200", "200", "404"], "{batch}");
        assert_silent(&batch, &[SECRET]);
    }

    fn a_deletion_is_seen_by_those_who_saw_what_was_deleted(server) {
        past(server);
        let hidden = Bearer::of(server, "system/Location.rs?status=suspended");
        let answer = hidden.get("Location/_history");
        assert_eq!(
            versions(&answer),
            ["Location/shadow/3", "Location/closed/2", "Location/shadow/2", "Location/shadow/1", "Location/shown/1"]
        );
        assert_eq!(hidden.get("Location/gone").status, 404);
        assert_eq!(hidden.get("Location/shadow").status, 410);
        assert_eq!(Bearer::of(server, ACTIVE).get("Location/gone").status, 410);
        assert_eq!(versions(&everything(server).get("Location/_history")).len(), 9);
    }

    fn the_pages_of_a_history_hold_what_may_be_seen_and_nothing_else(server) {
        past(server);
        let who = Bearer::of(server, ACTIVE);
        for path in ["Location/_history", "_history"] {
            for count in 1..=5 {
                let pages = who.pages(&format!("{path}?_count={count}"));
                let found: Vec<String> = pages.iter().flat_map(versions).collect();
                assert_eq!(found, SEEN, "{path} by {count}");
            }
        }
        for (id, expected) in [("shown", 1), ("closed", 1), ("gone", 2)] {
            let pages = who.pages(&format!("Location/{id}/_history?_count=1"));
            let found: Vec<String> = pages.iter().flat_map(versions).collect();
            assert_eq!(found.len(), expected, "{id}: {found:?}");
        }
    }

    fn the_end_of_a_history_does_not_tell_of_what_comes_before(server) {
        past(server);
        // Before the version that may be seen there is one that may not, or none.
        let operator = everything(server);
        operator.store(&location("fresh", "active", "Fresh"));
        let who = Bearer::of(server, ACTIVE);
        let links = |id: &str| who.get(&format!("Location/{id}/_history?_count=1")).link("next").is_some();
        assert_eq!(
            (links("shown"), links("fresh")),
            (false, false),
            "a next page is announced only where there is one"
        );
        assert_eq!(who.pages("Location/_history?_count=5").len(), 1, "all that may be seen is on the first page");
    }
}
