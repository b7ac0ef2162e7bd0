//! `$events`.

use serde_json::{Value, json};

use super::*;
use crate::harness::on_both;

/// The resources that come with the events, by their versions.
fn versions(bundle: &Value) -> Vec<String> {
    let entries = &bundle["entry"].as_array().expect("entries")[1..];
    entries.iter().map(|entry| entry["resource"]["meta"]["versionId"].as_str().unwrap_or("-").to_owned()).collect()
}

fn refused(answer: &Answer, expression: &str) {
    assert_eq!((answer.status, answer.issue().3.as_str()), (400, expression), "{answer}");
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn they_are_told_again_as_they_were(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("full-resource"));
        let path = format!("Subscription/{id}/$events");
        let none = own.get(&path);
        assert_eq!((none.status, numbered(&none.body).len()), (200, 0), "{none}");
        own.store(&practitioner("ann", "Lee"));
        own.store(&practitioner("ann", "Lake"));
        own.store(&practitioner("bob", "Ray"));
        assert_eq!(own.delete("Practitioner/bob").status, 204);
        until_events(&own, &id, 4);
        let all = own.get(&path);
        assert_eq!(all.body["type"], "history", "{all}");
        assert_eq!(told(&all.body, "type"), ["query-event"]);
        assert_eq!(told(&all.body, "topic"), [TOPIC]);
        assert_eq!(told(&all.body, "events-since-subscription-start"), ["4"]);
        let focus = |number: &str, name: &str| (number.to_owned(), format!("Practitioner/{name}"));
        assert_eq!(numbered(&all.body), [focus("1", "ann"), focus("2", "ann"), focus("3", "bob"), focus("4", "bob")]);
        assert_eq!(versions(&all.body), ["1", "2", "1", "-"]);
        assert_eq!(all.body["entry"][1]["resource"]["name"][0]["family"], "Lee");
        assert_eq!(all.body["entry"][4]["request"]["method"], "DELETE");
        let some = own.get(&format!("{path}?eventsSinceNumber=2&eventsUntilNumber=3"));
        assert_eq!(numbered(&some.body), [focus("2", "ann"), focus("3", "bob")]);
        let posted = json!({"resourceType": "Parameters", "parameter": [
            {"name": "eventsSinceNumber", "valueString": "4"}, {"name": "content", "valueCode": "id-only"}]});
        let one = own.post(&path, &posted);
        assert_eq!(numbered(&one.body), [focus("4", "bob")], "{one}");
        assert_eq!(numbered(&own.get(&format!("{path}?eventsSinceNumber=5")).body), []);
    }

    fn content_is_narrowed_and_never_widened(server) {
        let own = subscriber(server);
        let full = activate(&own, &by_websocket("full-resource"));
        let ids = activate(&own, &by_websocket("id-only"));
        own.store(&practitioner("ann", "Lee"));
        until_events(&own, &full, 1);
        until_events(&own, &ids, 1);
        let ask = |id: &str, content: &str| own.get(&format!("Subscription/{id}/$events?content={content}")).body;
        let shape = |bundle: &Value| {
            let entries = bundle["entry"].as_array().expect("entries");
            (entries.len() - 1, entries.last().expect("an entry")["resource"]["resourceType"] == "Practitioner",
                numbered(bundle)[0].1.is_empty())
        };
        assert_eq!(shape(&ask(&full, "full-resource")), (1, true, false));
        assert_eq!(shape(&ask(&full, "id-only")), (1, false, false));
        assert_eq!(shape(&ask(&full, "empty")), (0, false, true));
        assert_eq!(shape(&ask(&ids, "full-resource")), (1, false, false));
        assert_eq!(shape(&ask(&ids, "empty")), (0, false, true));
    }

    fn what_may_not_be_read_any_more_keeps_its_number(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("full-resource"));
        own.store(&practitioner("ann", "Lee"));
        own.store(&practitioner("bob", "Ray"));
        assert_eq!(own.delete("Practitioner/bob").status, 204);
        until_events(&own, &id, 3);
        let path = format!("Subscription/{id}/$events");
        let hidden = |number: &str| (number.to_owned(), String::new());
        let answer = Bearer::of(server, "system/Subscription.rs").get(&path);
        assert_eq!(numbered(&answer.body), [hidden("1"), hidden("2"), hidden("3")]);
        assert_eq!(answer.body["entry"].as_array().map(Vec::len), Some(1), "{answer}");
        assert!(!answer.text.contains("Lee") && !answer.text.contains("Practitioner/"), "{answer}");
        let answer = Bearer::of(server, "system/Subscription.rs system/Practitioner.r?family=ray").get(&path);
        let bob = |number: &str| (number.to_owned(), "Practitioner/bob".to_owned());
        assert_eq!(numbered(&answer.body), [hidden("1"), bob("2"), bob("3")]);
        assert!(!answer.text.contains("ann"), "{answer}");
    }

    fn what_cannot_be_asked_is_refused(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("empty"));
        let path = format!("Subscription/{id}/$events");
        for (query, expression) in [
            ("eventsSinceNumber=one", "http.eventsSinceNumber"),
            ("eventsSinceNumber=-1", "http.eventsSinceNumber"),
            ("eventsUntilNumber=%2B1", "http.eventsUntilNumber"),
            ("eventsUntilNumber=99999999999999999999", "http.eventsUntilNumber"),
            ("eventsSinceNumber=3&eventsUntilNumber=2", "http.eventsSinceNumber"),
            ("content=some", "http.content"),
            ("since=1", "http.since"),
        ] {
            refused(&own.get(&format!("{path}?{query}")), expression);
        }
        let search = json!({"resourceType": "Subscription", "status": "requested", "reason": "to know",
            "criteria": "Practitioner?active=true", "channel": {"type": "websocket"}});
        let id = activate(&own, &search);
        refused(&own.get(&format!("Subscription/{id}/$events")), "Subscription.criteria");
        assert_eq!(stranger(server).get(&path).status, 404);
        assert_eq!(Bearer::nobody(server).get(&path).status, 401);
        assert_eq!(Bearer::of(server, "system/Practitioner.rs").get(&path).status, 403);
        assert_eq!(own.get("Subscription/none/$events").status, 404);
    }

    fn an_answer_has_a_thousand_at_most(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("empty"));
        for part in 0..6 {
            let entries: Vec<Value> = (0..200).map(|n| {
                let name = format!("Practitioner/p{part}-{n}");
                json!({"resource": practitioner(&format!("p{part}-{n}"), "Lee"), "request": {"method": "PUT", "url": name}})
            }).collect();
            let answer = own.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}));
            assert_eq!(answer.status, 200, "{answer}");
        }
        until_events(&own, &id, 1_200);
        let path = format!("Subscription/{id}/$events");
        let first = numbered(&own.get(&path).body);
        assert_eq!((first.len(), first[0].0.as_str(), first[999].0.as_str()), (1_000, "1", "1000"));
        let second = numbered(&own.get(&format!("{path}?eventsSinceNumber=1001")).body);
        assert_eq!((second.len(), second[199].0.as_str()), (200, "1200"));
    }
}
