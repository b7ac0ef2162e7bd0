use std::time::{Duration, Instant};

use serde_json::json;

use super::{Stream, changes, delete, feed, get, organization, store, terminate, walk};
use crate::harness::tokens::{self, Bearer};
use crate::harness::{Answer, on_both};

on_both! {
    fn changes_come_as_events(server) {
        store(server, &organization("acme", "One"));
        let stream = Stream::open(server.request("GET", &feed(server, "")));
        let first = stream.next().expect("an event");
        assert_eq!((first.name.as_str(), &first.data["id"]), ("create", &json!("acme")));
        store(server, &organization("acme", "Two"));
        delete(server, "Organization/acme");
        let more = stream.take(2);
        assert_eq!([more[0].name.as_str(), &more[1].name], ["update", "delete"]);
        // The same as in lines.
        let all = walk(server, "", "delete Organization/acme/3");
        let streamed = [&first, &more[0], &more[1]];
        assert_eq!(all, streamed.map(|event| event.data.clone()));
        assert!(streamed.iter().all(|event| event.data["position"].as_i64().map(|it| it.to_string()) == Some(event.id.clone())), "{streamed:?}");
    }

    fn a_stream_goes_on_where_it_was_interrupted(server) {
        for n in 0..10 {
            store(server, &organization("acme", &n.to_string()));
        }
        let stream = Stream::open(server.request("GET", &feed(server, "")));
        let four = stream.take(4);
        drop(stream);
        // The header counts, and not the URL of the first beginning.
        let again = server.request("GET", &feed(server, "after=0")).header("last-event-id", &four[3].id);
        let rest = Stream::open(again).take(6);
        let versions: Vec<i64> = four.iter().chain(&rest).map(|event| event.data["version"].as_i64().expect("a number")).collect();
        assert_eq!(versions, (1..=10).collect::<Vec<i64>>());
        // From the end on, only what is new.
        let stream = Stream::open(server.request("GET", &feed(server, "after=end&_type=Organization")));
        store(server, &organization("acme", "last"));
        assert_eq!(stream.next().expect("an event").data["version"], 11);
    }

    fn a_server_that_ends_ends_its_streams(server) {
        let stream = Stream::open(server.request("GET", &feed(server, "")));
        store(server, &organization("acme", "One"));
        stream.next().expect("an event");
        let began = Instant::now();
        terminate(server);
        assert_eq!(stream.next(), None);
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    }

    fn much_at_once_is_streamed_in_order(server) {
        let entry = |n: usize| json!({"resource": organization(&format!("o-{n}"), &"x".repeat(500)),
            "request": {"method": "PUT", "url": format!("Organization/o-{n}")}});
        for part in 0..4 {
            let entries: Vec<_> = (part * 500..(part + 1) * 500).map(entry).collect();
            assert_eq!(server.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries})).status, 200);
        }
        let events = Stream::open(server.request("GET", &feed(server, ""))).take(2_000);
        let mut ids: Vec<i64> = events.iter().map(|event| event.id.parse().expect("a number")).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        ids.dedup();
        assert_eq!(ids.len(), 2_000);
        assert_eq!(changes(&get(server, "count=10000")).len(), 2_000);
    }
}

mod tokens_end {
    use super::*;

    on_both! {
        with { crate::harness::tokens::trusting() };

        fn a_stream_ends_when_its_token_does(server) {
            // Clocks may differ by a minute.
            let short = json!({"exp": tokens::now_s() - 50});
            let claims = |more: &serde_json::Value| {
                let mut claims = tokens::claims(server, "system/Organization.cruds");
                claims.as_object_mut().expect("claims").extend(more.as_object().expect("claims").clone());
                tokens::signed(&tokens::header(), &claims)
            };
            let open = |token: &str| Stream::open(server.request("GET", &feed(server, "")).bearer_auth(token));
            let (ends, stays) = (open(&claims(&short)), open(&claims(&json!({}))));
            let operator = Bearer::of(server, "system/*.cruds");
            operator.store(&organization("acme", "One"));
            assert!(ends.next().is_some() && stays.next().is_some());
            let began = Instant::now();
            assert_eq!(ends.next(), None);
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
            operator.store(&organization("acme", "Two"));
            assert!(stays.next().is_some());
            let again = server.request("GET", &feed(server, "")).bearer_auth(claims(&json!({"exp": 1}))).header("accept", "text/event-stream");
            assert_eq!(Answer::of(again).status, 401);
        }
    }
}
