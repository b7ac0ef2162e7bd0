//! The directory as it was: `_history?_at=`.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::{assert_refused, organization_as, stored};
use crate::harness::{Answer, Server, on_both};

/// `id` to name, of all that is there now.
fn state(server: &Server) -> BTreeMap<String, String> {
    let answer = server.get("Organization?_count=1000");
    let name = |it: &&Value| (text(&it["id"]), text(&it["name"]));
    answer.entries("match").iter().map(name).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The entries of all pages, each at most `most` long.
fn walk(server: &Server, query: &str, most: usize) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), Some(query.to_owned()));
    while let Some(url) = next {
        let page: Answer = server.get(&url);
        assert_eq!(page.status, 200, "{page}");
        let entries = page.body["entry"].as_array().cloned().unwrap_or_default();
        assert!(entries.len() <= most, "{page}");
        all.extend(entries);
        next = page.link("next");
    }
    all
}

/// `id` to name, of what was there at a moment; and how many were gone by then.
fn state_at(server: &Server, at: &str, count: usize) -> (BTreeMap<String, String>, usize) {
    let entries = walk(server, &format!("Organization/_history?_at={at}&_count={count}"), count);
    let live: Vec<&Value> = entries.iter().filter(|entry| entry.get("resource").is_some()).collect();
    let state: BTreeMap<String, String> =
        live.iter().map(|it| (text(&it["resource"]["id"]), text(&it["resource"]["name"]))).collect();
    assert_eq!(state.len(), live.len(), "each resource is there once: {entries:?}");
    (state, entries.len() - live.len())
}

/// A moment between what was written and what will be, as the server's clock and its records tell it.
fn now() -> String {
    sleep(Duration::from_millis(5));
    let now = httpdate_millis();
    sleep(Duration::from_millis(5));
    now
}

fn httpdate_millis() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock that is right");
    plumbline::fhir::types::Instant(i64::try_from(since.as_micros()).expect("a clock that is right")).to_fhir()
}

on_both! {
    fn a_type_is_read_as_it_was_at_any_moment(server) {
        let mut moments = vec![(now(), state(server))];
        for step in 0..30 {
            let id = format!("o-{}", step * 7 % 5);
            // Created, updated, deleted, and made again, in an order that meets all of that.
            if step % 4 == 3 && state(server).contains_key(&id) {
                assert_eq!(server.delete(&format!("Organization/{id}")).status, 204);
            } else {
                stored(server, &organization_as(&id, &format!("Step {step}")));
            }
            moments.push((now(), state(server)));
        }
        for (at, expected) in &moments {
            for count in [1000, 2] {
                assert_eq!(&state_at(server, at, count).0, expected, "at {at} by {count}");
            }
        }
        assert!(moments.iter().any(|(at, _)| state_at(server, at, 1000).1 > 0), "something was gone");
        // One resource, too: what it was, or that it was gone, or nothing before its time.
        for (at, expected) in &moments {
            let entries = walk(server, &format!("Organization/o-0/_history?_at={at}"), 1);
            let name = entries.first().and_then(|entry| entry["resource"]["name"].as_str());
            assert_eq!(name, expected.get("o-0").map(String::as_str), "at {at}");
        }
    }

    fn what_is_written_meanwhile_does_not_change_what_was(server) {
        for n in 0..6 {
            stored(server, &organization_as(&format!("o-{n}"), "Then"));
        }
        let at = now();
        let expected = state(server);
        let first = server.get(&format!("Organization/_history?_at={at}&_count=2"));
        let mut names: Vec<String> = Vec::new();
        let mut page = first;
        for n in 0..6 {
            names.extend(page.body["entry"].as_array().expect("entries").iter().map(|it| text(&it["resource"]["id"])));
            stored(server, &organization_as(&format!("o-{n}"), "Now"));
            stored(server, &organization_as(&format!("new-{n}"), "Now"));
            assert_eq!(server.delete(&format!("Organization/o-{}", 5 - n)).status, 204);
            let Some(next) = page.link("next") else { break };
            page = server.get(&next);
            assert_eq!(page.status, 200, "{page}");
        }
        names.sort();
        assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>());
        assert_eq!(state_at(server, &at, 1000).0, expected);
        assert_refused(&server.get("Organization/_history?_at=then"), 400);
    }
}
