//! `$status`.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::*;
use crate::harness::on_both;

/// The ids of the Subscriptions that an answer tells of.
fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer}");
    let name = |resource: &&Value| {
        let found = named(resource, "subscription")[0]["valueReference"]["reference"].as_str().expect("a reference");
        found.rsplit('/').next().expect("an id").to_owned()
    };
    answer.entries("match").iter().map(name).collect()
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn one_tells_how_it_is(server) {
        let (own, receiver) = (subscriber(server), Receiver::start());
        let id = activate(&own, &by_hook(&receiver.url(), "id-only"));
        own.store(&practitioner("ann", "Lee"));
        let path = format!("Subscription/{id}/$status");
        let answer = until_events(&own, &id, 1);
        assert_eq!(answer.body["type"], "searchset");
        assert_eq!(answer.body["total"], 1);
        assert_eq!(answer.link("self").as_deref(), Some(format!("{}/{path}", server.base).as_str()));
        let entry = &answer.body["entry"][0];
        assert_eq!(entry["search"]["mode"], "match");
        assert!(entry["fullUrl"].as_str().expect("a URL").starts_with("urn:uuid:"));
        let profile = format!("{BACKPORT}backport-subscription-status-r4");
        assert_eq!(entry["resource"]["meta"]["profile"], json!([profile]));
        assert_eq!(told(&answer.body, "subscription"), [format!("{}/Subscription/{id}", server.base)]);
        assert_eq!(told(&answer.body, "topic"), [TOPIC]);
        assert_eq!(told(&answer.body, "status"), ["active"]);
        assert_eq!(told(&answer.body, "type"), ["query-status"]);
        assert!(told(&answer.body, "error").is_empty() && numbered(&answer.body).is_empty());
        // Its parameters say nothing to one that the URL names.
        let posted = json!({"resourceType": "Parameters", "parameter": [{"name": "id", "valueId": "other"}]});
        let again = own.post(&path, &posted);
        assert_eq!((again.status, told(&again.body, "status")), (200, vec!["active".to_owned()]), "{again}");
        let xml = own.send("GET", &path, &[("accept", "application/fhir+xml")], "");
        assert!(xml.status == 200 && xml.text.contains("<valueCode value=\"query-status\"/>"), "{xml}");
        let refused = own.get(&format!("{path}?colour=red"));
        assert_eq!((refused.status, refused.issue().3.as_str()), (400, "http.colour"), "{refused}");
    }

    fn several_are_chosen_by_id_and_status(server) {
        let own = subscriber(server);
        let none = own.get("Subscription/$status");
        assert_eq!((none.status, none.body["total"].as_u64()), (200, Some(0)), "{none}");
        let mut all: Vec<String> = (0..3).map(|_| activate(&own, &by_websocket("empty"))).collect();
        all.sort();
        let mut last = own.get(&format!("Subscription/{}", all[2])).body;
        last["status"] = json!("off");
        own.store(&last);
        assert_eq!(ids(&own.get("Subscription/$status")), all);
        assert_eq!(ids(&own.get(&format!("Subscription/$status?id={}&id={}&id=none", all[2], all[0]))), [&*all[0], &*all[2]]);
        assert_eq!(ids(&own.get("Subscription/$status?status=off&status=error")), [&*all[2]]);
        assert_eq!(ids(&own.get(&format!("Subscription/$status?status=off&id={}", all[0]))), [""; 0]);
        let posted = json!({"resourceType": "Parameters", "parameter": [
            {"name": "status", "valueCode": "active"}, {"name": "id", "valueId": all[1]}]});
        assert_eq!(ids(&own.post("Subscription/$status", &posted)), [&*all[1]]);
        for (query, expression) in [("status=running", "http.status"), ("id=a%20b", "http.id"), ("x=1", "http.x")] {
            let refused = own.get(&format!("Subscription/$status?{query}"));
            assert_eq!((refused.status, refused.issue().3.as_str()), (400, expression), "{refused}");
        }
    }

    fn others_are_told_nothing(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("empty"));
        let other = stranger(server);
        assert_eq!(other.get(&format!("Subscription/{id}/$status")).status, 404);
        assert_eq!(ids(&other.get("Subscription/$status")), [""; 0]);
        assert_eq!(ids(&other.get(&format!("Subscription/$status?id={id}"))), [""; 0]);
        let nobody = Bearer::nobody(server);
        assert_eq!(nobody.get("Subscription/$status").status, 401);
        assert_eq!(nobody.get(&format!("Subscription/{id}/$status")).status, 401);
        assert_eq!(Bearer::of(server, "system/Practitioner.rs").get("Subscription/$status").status, 403);
        // Who looks after deliveries sees all.
        let operator = Bearer::with(server, "system/Subscription.rs api/delivery.read", &json!({"client_id": "ops"}));
        assert_eq!(ids(&operator.get("Subscription/$status")), [&*id]);
        assert_eq!(own.delete(&format!("Subscription/{id}")).status, 204);
        assert_eq!(own.get(&format!("Subscription/{id}/$status")).status, 410);
    }

    fn what_is_wrong_is_told_while_it_is_tried_again(server) {
        let (own, receiver) = (subscriber(server), Receiver::start());
        let id = activate(&own, &by_hook(&receiver.url(), "empty"));
        receiver.answer(503);
        own.store(&practitioner("ann", "Lee"));
        let path = format!("Subscription/{id}/$status");
        let answer = until("an error", || own.get(&path), |answer| !told(&answer.body, "error").is_empty());
        assert_eq!(told(&answer.body, "error"), ["error-response"]);
        assert_eq!(told(&answer.body, "status"), ["active"]);
        let text = &named(&answer.body["entry"][0]["resource"], "error")[0]["valueCodeableConcept"]["text"];
        assert!(text.as_str().is_some_and(|text| text.contains("503")), "{answer}");
        assert_eq!(told(&answer.body, "events-since-subscription-start"), ["1"]);
    }

    fn what_went_wrong_has_a_code(server) {
        let own = subscriber(server);
        // No part of a name has more than 63 characters, so that nobody on the network is asked about it.
        let unknown = format!("http://{}.invalid/", "a".repeat(64));
        let refusing = Receiver::start();
        refusing.answer(500);
        for (url, code) in [
            (unknown.as_str(), "dns-resolution-error"),
            ("http://127.0.0.1:1/", "no-response"),
            (&refusing.url(), "error-response"),
        ] {
            let id = subscribe(&own, &by_hook(url, "empty"));
            let failed = until_status(&own, &id, "error");
            assert!(failed.body["error"].as_str().is_some_and(|text| text.contains("handshake")), "{failed}");
            // The lane follows the resource.
            let path = format!("Subscription/{id}/$status");
            let answer = until(code, || own.get(&path), |answer| told(&answer.body, "error") == [code]);
            assert_eq!(told(&answer.body, "status"), ["error"], "{answer}");
        }
    }
}
