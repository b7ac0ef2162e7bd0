use serde_json::{Value, json};

use super::{changes, delete, feed, get, location, next, organization, position, store, told, walk};
use crate::harness::{Answer, on_both};

on_both! {
    fn each_change_is_told_once_and_in_order(server) {
        store(server, &organization("acme", "One"));
        store(server, &location("here", "Here"));
        store(server, &organization("acme", "Two"));
        delete(server, "Organization/acme");
        store(server, &organization("acme", "Three"));
        let expected = ["create Organization/acme/1", "create Location/here/1", "update Organization/acme/2",
            "delete Organization/acme/3", "create Organization/acme/4"];
        let all = walk(server, "", expected[4]);
        assert_eq!(told(&all), expected);
        let positions: Vec<i64> = all.iter().map(|it| it["position"].as_i64().expect("a number")).collect();
        assert!(positions.is_sorted_by(|a, b| a < b) && positions[0] > 0, "{positions:?}");
        for it in &all {
            let is_deletion = it["action"] == "delete";
            assert_eq!(it.get("resource").is_none(), is_deletion, "{it}");
            if !is_deletion {
                let resource = &it["resource"];
                assert_eq!((&resource["resourceType"], &resource["id"]), (&it["type"], &it["id"]));
                assert_eq!(resource["meta"]["versionId"], it["version"].to_string());
                assert_eq!(resource["meta"]["lastUpdated"], it["at"]);
                // What is told is what is read.
                let read = server.get(&format!("{}/{}/_history/{}", it["type"].as_str().expect("a type"), it["id"].as_str().expect("an id"), it["version"]));
                assert_eq!(&read.body, resource);
            }
        }
        // From any position the rest is told.
        for (n, position) in positions.iter().enumerate() {
            let answer = get(server, &format!("after={position}"));
            assert_eq!(told(&changes(&answer)), expected[n + 1..], "after {position}");
        }
        // Nothing is lost and nothing comes twice, however small the pages are.
        for count in 1..=6 {
            assert_eq!(told(&walk(server, &format!("count={count}"), expected[4])), expected, "count={count}");
        }
    }

    fn what_is_for_others_does_not_hold_the_position_back(server) {
        for n in 0..5 {
            store(server, &organization("acme", &n.to_string()));
        }
        let all = walk(server, "", "update Organization/acme/5");
        let last = all[4]["position"].as_i64().expect("a number");
        let answer = get(server, "_type=Location");
        assert!(changes(&answer).is_empty(), "{answer}");
        assert!(position(&next(&answer)) >= last, "{}", next(&answer));
        assert!(next(&answer).ends_with("&_type=Location"), "{}", next(&answer));
        store(server, &location("here", "Here"));
        let url = next(&answer);
        let (_, query) = url.split_once('?').expect("a query");
        assert_eq!(told(&walk(server, query, "create Location/here/1")), ["create Location/here/1"]);
        assert_eq!(told(&walk(server, "_type=Location,Endpoint", "create Location/here/1")), ["create Location/here/1"]);
        assert_eq!(told(&walk(server, "_type=Organization,Location", "create Location/here/1")).len(), 6);
    }

    fn who_begins_at_the_end_is_told_what_follows(server) {
        store(server, &organization("acme", "One"));
        walk(server, "", "create Organization/acme/1");
        let answer = get(server, "after=end");
        assert!(changes(&answer).is_empty(), "{answer}");
        store(server, &organization("acme", "Two"));
        let url = next(&answer);
        let (_, query) = url.split_once('?').expect("a query");
        assert_eq!(told(&walk(server, query, "update Organization/acme/2")), ["update Organization/acme/2"]);
    }

    fn an_answer_is_bounded_in_bytes(server) {
        // 20 of 400 KB each.
        let alias: Vec<String> = (0..4_000).map(|n| format!("{n:0>96}")).collect();
        for n in 0..20 {
            let mut large = organization(&format!("large-{n}"), "Large");
            large["alias"] = json!(alias);
            store(server, &large);
        }
        walk(server, "_type=Organization&count=7", "create Organization/large-19/1");
        let (mut all, mut url) = (Vec::new(), feed(server, ""));
        while all.len() < 20 {
            let answer = server.get(&url);
            assert!(answer.text.len() <= 2 << 20, "{} bytes", answer.text.len());
            let some = changes(&answer);
            assert!(!some.is_empty(), "{} of 20", all.len());
            all.extend(told(&some));
            url = next(&answer);
        }
        let expected: Vec<String> = (0..20).map(|n| format!("create Organization/large-{n}/1")).collect();
        assert_eq!(all, expected);
    }

    fn a_position_that_was_never_reached_is_gone(server) {
        store(server, &organization("acme", "One"));
        walk(server, "", "create Organization/acme/1");
        for query in ["after=1000000", "after=1000000&wait=30", "after=9223372036854775807"] {
            let answer = get(server, query);
            assert_eq!(answer.status, 410, "{answer}");
            let (_, _, sentence, at) = answer.issue();
            assert!(sentence.contains("anew") && at == "http.after", "{answer}");
        }
        let events = server.request("GET", &feed(server, "after=1000000")).header("accept", "text/event-stream");
        assert_eq!(Answer::of(events).status, 410);
    }

    fn what_cannot_be_asked_is_refused(server) {
        for query in ["after=-1", "after=now", "after=1.5", "count=0", "count=10001", "count=x", "wait=61", "wait=-1",
            "_type=Patient", "_type=organization", "since=1", "after=1&after=2", "_count=10", "_elements=id"] {
            let answer = get(server, query);
            assert_eq!(answer.status, 400, "{query}: {answer}");
            assert_eq!(answer.issue().0, "error", "{query}");
        }
        let with = |method: &str, header: (&str, &str)| Answer::of(server.request(method, &feed(server, "")).header(header.0, header.1));
        for accept in ["application/fhir+json", "text/html", "application/x-ndjson;q=0"] {
            let answer = with("GET", ("accept", accept));
            assert_eq!((answer.status, &answer.body["resourceType"]), (406, &json!("OperationOutcome")), "{accept}");
        }
        for accept in ["application/x-ndjson", "application/ndjson", "*/*", "application/fhir+json, */*;q=0.1", "text/event-stream;q=0.5, application/fhir+ndjson"] {
            assert_eq!(changes(&with("GET", ("accept", accept))), Vec::<Value>::new(), "{accept}");
        }
        for id in ["x", "-1"] {
            let events = server.request("GET", &feed(server, "")).header("accept", "text/event-stream").header("last-event-id", id);
            assert_eq!(Answer::of(events).status, 400, "{id}");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = with(method, ("accept", "*/*"));
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{answer}");
        }
        for accept in ["*/*", "text/event-stream"] {
            let head = with("HEAD", ("accept", accept));
            assert_eq!((head.status, head.text.as_str()), (200, ""), "{accept}");
        }
    }
}
