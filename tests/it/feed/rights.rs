//! Who is told of what: the same as in histories.

use serde_json::json;

use super::{changes, feed, location, organization, told};
use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server, on_both};

const ACTIVE: &str = "system/Location.rs?status=active";

fn suspended(id: &str, name: &str) -> serde_json::Value {
    let mut it = location(id, name);
    it["status"] = json!("suspended");
    it
}

fn all(who: &Bearer<'_>, query: &str) -> Vec<String> {
    told(&changes(&who.get(&feed(who.server, query))))
}

/// Waits until the last change of an operator is told.
fn settle(server: &Server, last: &str) {
    let operator = Bearer::of(server, "system/*.cruds");
    let deadline = std::time::Instant::now() + super::LONG;
    while all(&operator, "_type=Location,Organization,Task").last().is_none_or(|it| it != last) {
        assert!(std::time::Instant::now() < deadline, "{last} is not told");
    }
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn versions_are_told_to_those_who_may_see_them(server) {
        let operator = Bearer::of(server, "system/*.cruds");
        operator.store(&suspended("shown", "Secret 1"));
        operator.store(&location("shown", "Able"));
        operator.store(&suspended("shadow", "Secret 2"));
        operator.store(&location("closed", "Baker"));
        operator.store(&suspended("closed", "Secret 3"));
        operator.store(&location("gone", "Charlie"));
        for id in ["gone", "shadow"] {
            assert_eq!(operator.delete(&format!("Location/{id}")).status, 204);
        }
        operator.store(&organization("acme", "Secret 4"));
        settle(server, "create Organization/acme/1");
        let who = Bearer::of(server, ACTIVE);
        let expected = ["update Location/shown/2", "create Location/closed/1", "create Location/gone/1", "delete Location/gone/2"];
        for query in ["", "_type=Location", "count=10000"] {
            let answer = who.get(&feed(server, query));
            assert_eq!(told(&changes(&answer)), expected, "{query}");
            assert!(!answer.text.contains("Secret") && !answer.text.contains("shadow"), "{answer}");
        }
        // Page by page, with a position that goes on to the end.
        let (mut some, mut url) = (Vec::new(), feed(server, "count=1"));
        while some.len() < 4 {
            let answer = who.get(&url);
            some.extend(told(&changes(&answer)));
            url = super::next(&answer);
        }
        assert_eq!(some, expected);
        let hidden = Bearer::of(server, "system/Location.rs?status=suspended");
        assert_eq!(all(&hidden, ""), ["create Location/shown/1", "create Location/shadow/1", "update Location/closed/2", "delete Location/shadow/2"]);
    }

    fn without_a_name_it_is_the_directory_and_with_one_what_may_be_searched(server) {
        let operator = Bearer::of(server, "system/*.cruds system/AuditEvent.rs");
        operator.store(&organization("acme", "Acme"));
        operator.store(&json!({"resourceType": "Task", "id": "t", "status": "draft", "intent": "order"}));
        operator.store(&location("here", "Here"));
        settle(server, "create Location/here/1");
        assert_eq!(all(&operator, ""), ["create Organization/acme/1", "create Location/here/1"]);
        assert_eq!(all(&operator, "_type=Task"), ["create Task/t/1"]);
        let audit = all(&operator, "_type=AuditEvent");
        assert!(audit.len() >= 3 && audit.iter().all(|it| it.starts_with("create AuditEvent/")), "{audit:?}");
        let some = Bearer::of(server, "system/Organization.s system/Task.r");
        assert_eq!(all(&some, ""), ["create Organization/acme/1"]);
        for (who, query, status) in [
            (Bearer::nobody(server), "", 401),
            (Bearer::nobody(server), "_type=Organization", 401),
            (Bearer::of(server, "system/Organization.r"), "", 403),
            (Bearer::of(server, "system/*.rs"), "_type=AuditEvent", 403),
            (Bearer::of(server, "system/Organization.s system/Task.r"), "_type=Organization,Task", 403),
        ] {
            let url = feed(server, query);
            for accept in ["application/x-ndjson", "text/event-stream"] {
                let answer = who.send("GET", &url, &[("accept", accept)], "");
                assert_eq!(answer.status, status, "{query}: {answer}");
                assert_eq!(answer.issue().0, "error");
            }
            assert_eq!(who.get(&format!("{url}&wait=30")).status, status, "{query}");
        }
        let url = format!("{}&access_token=x", feed(server, "after=0"));
        assert_eq!(Answer::of(server.request("GET", &url)).status, 400);
    }
}
