//! From the first notification to the end of a Subscription.

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::receiver::{Received, Receiver};
use super::*;
use crate::harness::on_both;

fn set_status(by: &Bearer<'_>, id: &str, status: &str) {
    let mut subscription = by.get(&format!("Subscription/{id}")).body;
    subscription["status"] = json!(status);
    by.store(&subscription);
}

/// Receivers have had so many calls and no more, although something happens that a witness is told of.
fn assert_quiet(own: &Bearer<'_>, receivers: &[(&Receiver, usize)]) {
    let witness = Receiver::start();
    activate(own, &by_hook(&witness.url(), "empty"));
    own.store(&practitioner("zoe", "Zed"));
    event(&witness, 0);
    for (receiver, count) in receivers {
        assert_eq!(receiver.all().len(), *count, "{:?}", receiver.all());
    }
}

fn event(receiver: &Receiver, n: usize) -> Received {
    receiver.until("event-notification", n + 1).remove(n)
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn notifications_carry_what_was_asked_for(server) {
        let own = subscriber(server);
        let receivers = ["empty", "id-only", "full-resource"].map(|content| {
            let receiver = Receiver::start();
            activate(&own, &by_hook(&receiver.url(), content));
            receiver
        });
        own.store(&practitioner("ann", "Lee"));
        for (receiver, (entries, focus, body)) in receivers.iter().zip([(1, "", false), (2, "Practitioner/ann", false), (2, "Practitioner/ann", true)]) {
            let event = event(receiver, 0);
            assert!(event.header("content-type").is_some_and(|it| it.starts_with("application/fhir+json")), "{event:?}");
            let bundle = event.json();
            assert_eq!((&bundle["resourceType"], &bundle["type"]), (&json!("Bundle"), &json!("history")));
            assert_eq!(told(&bundle, "status"), ["active"]);
            assert_eq!(numbered(&bundle), [("1".to_owned(), focus.to_owned())]);
            let all = bundle["entry"].as_array().expect("entries");
            assert_eq!(all.len(), entries);
            assert!(all.iter().all(|entry| entry["request"].is_object() && entry["response"].is_object()));
            assert_eq!(all[entries - 1]["resource"]["resourceType"] == "Practitioner", body, "{bundle}");
        }
    }

    fn xml_is_sent_as_xml(server) {
        let (own, receiver) = (subscriber(server), Receiver::start());
        let mut subscription = by_hook(&receiver.url(), "full-resource");
        subscription["channel"]["payload"] = json!("application/fhir+xml");
        activate(&own, &subscription);
        own.store(&practitioner("ann", "Lee"));
        let came = || receiver.all().into_iter().find(|it| it.body.contains("event-notification"));
        let end = Instant::now() + Duration::from_secs(60);
        while came().is_none() {
            assert!(Instant::now() < end, "{:?}", receiver.all());
            std::thread::sleep(Duration::from_millis(30));
        }
        let event = came().expect("an event");
        assert!(event.header("content-type").is_some_and(|it| it.starts_with("application/fhir+xml")), "{event:?}");
        assert!(event.body.contains("<Bundle xmlns=\"http://hl7.org/fhir\">") && event.body.contains("<family value=\"Lee\"/>"));
    }

    fn a_search_sends_the_resource_or_nothing(server) {
        let (own, bare, full) = (subscriber(server), Receiver::start(), Receiver::start());
        let mut subscription = json!({"resourceType": "Subscription", "status": "requested", "reason": "to know",
            "criteria": "Practitioner?family=lee", "channel": {"type": "rest-hook", "endpoint": bare.url()}});
        activate(&own, &subscription);
        subscription["channel"]["endpoint"] = json!(full.url());
        subscription["channel"]["payload"] = json!("application/fhir+json");
        activate(&own, &subscription);
        own.store(&practitioner("bob", "Ray"));
        own.store(&practitioner("ann", "Lee"));
        own.store(&practitioner("ann", "Lake"));
        assert_eq!(own.delete("Practitioner/ann").status, 204);
        assert_eq!(bare.until("", 1)[0].body, "");
        let sent: Value = full.until("", 1).remove(0).json();
        assert_eq!((&sent["id"], &sent["meta"]["versionId"]), (&json!("ann"), &json!("1")));
        assert_quiet(&own, &[(&bare, 1), (&full, 1)]);
    }

    fn signs_of_life_come_to_those_who_asked_for_them(server) {
        let (own, asked, others) = (subscriber(server), Receiver::start(), Receiver::start());
        let mut subscription = by_hook(&asked.url(), "id-only");
        subscription["channel"]["extension"] =
            json!([{"url": format!("{BACKPORT}backport-heartbeat-period"), "valueUnsignedInt": 5}]);
        activate(&own, &subscription);
        activate(&own, &by_hook(&others.url(), "id-only"));
        own.store(&practitioner("ann", "Lee"));
        let beat = asked.until("heartbeat", 1).remove(0).json();
        assert_eq!((told(&beat, "status"), told(&beat, "events-since-subscription-start")), (vec!["active".into()], vec!["1".into()]));
        assert!(others.all().iter().all(|it| it.kind() != "heartbeat"), "{:?}", others.all());
    }

    fn it_is_off_when_its_end_has_come(server) {
        let (own, receiver) = (subscriber(server), Receiver::start());
        let mut subscription = by_hook(&receiver.url(), "empty");
        let end = Utc::now() + Duration::from_secs(3);
        subscription["end"] = json!(end.to_rfc3339_opts(SecondsFormat::Millis, true));
        let id = activate(&own, &subscription);
        until_status(&own, &id, "off");
        assert!(Utc::now() >= end);
        own.store(&practitioner("ann", "Lee"));
        assert_quiet(&own, &[(&receiver, 1)]);
    }

    fn off_and_deletion_stop_it(server) {
        let own = subscriber(server);
        let receivers = [Receiver::start(), Receiver::start()];
        let [off, gone] = [0, 1].map(|n: usize| activate(&own, &by_hook(&receivers[n].url(), "id-only")));
        own.store(&practitioner("ann", "Lee"));
        receivers.iter().for_each(|receiver| drop(event(receiver, 0)));
        set_status(&own, &off, "off");
        assert_eq!(own.get(&format!("Subscription/{off}")).body["status"], "off");
        assert_eq!(own.delete(&format!("Subscription/{gone}")).status, 204);
        own.store(&practitioner("ann", "Lake"));
        assert_quiet(&own, &[(&receivers[0], 2), (&receivers[1], 2)]);
        // It begins anew, and numbers go on.
        set_status(&own, &off, "requested");
        until_status(&own, &off, "active");
        own.store(&practitioner("ann", "Lane"));
        assert_eq!(numbered(&event(&receivers[0], 1).json()), [("2".to_owned(), "Practitioner/ann".to_owned())]);
    }

    fn one_that_failed_goes_on_when_that_is_asked_for(server) {
        let own = subscriber(server);
        for status in ["requested", "active"] {
            let receiver = Receiver::start();
            let id = activate(&own, &by_hook(&receiver.url(), "id-only"));
            // Nobody is there any more.
            receiver.answer(410);
            own.store(&practitioner("ann", status));
            let failed = until_status(&own, &id, "error");
            assert!(failed.body["error"].as_str().is_some_and(|text| text.contains("410")), "{failed}");
            let path = format!("Subscription/{id}/$status");
            until("an error", || own.get(&path), |answer| told(&answer.body, "error") == ["error-response"]);
            // Events are counted meanwhile.
            own.store(&practitioner("bob", status));
            until_events(&own, &id, 2);
            receiver.answer(200);
            set_status(&own, &id, status);
            until_status(&own, &id, "active");
            receiver.until("handshake", 2);
            let end = Instant::now() + Duration::from_secs(60);
            let all = || {
                let events = receiver.until("event-notification", 1);
                let numbers = events.iter().flat_map(|event| numbered(&event.json()));
                let mut numbers: Vec<String> = numbers.map(|(number, _)| number).collect();
                numbers.sort();
                numbers.dedup();
                numbers
            };
            while all() != ["1", "2"] {
                assert!(Instant::now() < end, "{:?}", receiver.all());
                std::thread::sleep(Duration::from_millis(30));
            }
            let healthy = until("no error", || own.get(&path), |answer| told(&answer.body, "error").is_empty());
            assert_eq!(told(&healthy.body, "status"), ["active"]);
            assert!(own.get(&format!("Subscription/{id}")).body.get("error").is_none());
        }
    }
}
