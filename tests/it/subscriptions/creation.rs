//! What is taken from a subscriber, and what is refused and why.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::*;
use crate::harness::on_both;

/// A Subscription with something else in it.
type Change = fn(&mut Value);

fn extend(subscription: &mut Value, name: &str, value: &Value) {
    let mut extension = value.clone();
    extension["url"] = json!(format!("{BACKPORT}{name}"));
    subscription["channel"]["extension"] = json!([extension]);
}

fn filter(subscription: &mut Value, text: &str) {
    subscription["_criteria"] =
        json!({"extension": [{"url": format!("{BACKPORT}backport-filter-criteria"), "valueString": text}]});
}

fn without(subscription: &mut Value, path: &str, name: &str) {
    let found = subscription.pointer_mut(path).and_then(Value::as_object_mut).expect("an object");
    found.shift_remove(name);
}

/// What is refused, each with the element that it is about.
const REFUSED: &[(&str, &str, Change)] = &[
    ("an unknown topic", "Subscription.criteria", |it| it["criteria"] = json!("urn:plumbline:topic:weather")),
    ("a type that is not told of", "Subscription.criteria", |it| it["criteria"] = json!("Subscription?status=active")),
    ("an unknown search", "Subscription.criteria", |it| it["criteria"] = json!("Practitioner?colour=red")),
    ("an unknown filter", "Subscription.criteria.extension[0].value", |it| filter(it, "colour=red")),
    ("a filter on another type", "Subscription.criteria.extension[0].value", |it| filter(it, "Location?status=active")),
    ("another channel", "Subscription.channel.type", |it| it["channel"]["type"] = json!("email")),
    ("a channel of an extension", "Subscription.channel.type.extension[0]", |it| {
        it["channel"]["_type"] = json!({"extension": [{"url": format!("{BACKPORT}backport-channel-type"),
            "valueCoding": {"system": "urn:x", "code": "zulip"}}]});
    }),
    ("no endpoint", "Subscription.channel.endpoint", |it| without(it, "/channel", "endpoint")),
    ("an endpoint of another kind", "Subscription.channel.endpoint", |it| {
        it["channel"]["endpoint"] = json!("mailto:a@b.example")
    }),
    ("no URL", "Subscription.channel.endpoint", |it| it["channel"]["endpoint"] = json!("hook")),
    ("no payload", "Subscription.channel.payload", |it| without(it, "/channel", "payload")),
    ("no content", "Subscription.channel.payload.extension", |it| without(it, "/channel", "_payload")),
    ("an unknown content", "Subscription.channel.payload.extension[0].value", |it| {
        it["channel"]["_payload"]["extension"][0]["valueCode"] = json!("everything");
    }),
    ("another media type", "Subscription.channel.payload", |it| it["channel"]["payload"] = json!("text/plain")),
    ("another version of FHIR", "Subscription.channel.payload", |it| {
        it["channel"]["payload"] = json!("application/fhir+json; fhirVersion=5.0");
    }),
    ("an extension of another version", "Subscription.criteria.extension[0]", |it| {
        it["_criteria"] = json!({"extension": [{"url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Subscription.topic",
            "valueUri": "urn:x"}]});
    }),
    ("a heartbeat without pause", "Subscription.channel.extension[0].value", |it| {
        extend(it, "backport-heartbeat-period", &json!({"valueUnsignedInt": 0}));
    }),
    ("an endless timeout", "Subscription.channel.extension[0].value", |it| {
        extend(it, "backport-timeout", &json!({"valueUnsignedInt": 86_400}));
    }),
    ("no count", "Subscription.channel.extension[0].value", |it| {
        extend(it, "backport-max-count", &json!({"valueUnsignedInt": 5}));
    }),
    ("a header of the transport", "Subscription.channel.header[0]", |it| {
        it["channel"]["header"] = json!(["Host: x.example"])
    }),
    ("the status error", "Subscription.status", |it| it["status"] = json!("error")),
    ("no reason", "Subscription.reason", |it| without(it, "", "reason")),
    ("an end that has passed", "Subscription.end", |it| it["end"] = json!("2020-01-01T00:00:00Z")),
];

on_both! {
    with { crate::harness::tokens::trusting() };

    fn what_cannot_be_served_is_refused_where_it_is(server) {
        let own = subscriber(server);
        for (what, expression, change) in REFUSED {
            let mut subscription = by_hook("https://subscriber.example/hook", "id-only");
            change(&mut subscription);
            let created = own.post("Subscription", &subscription);
            subscription["id"] = json!("mine");
            for answer in [created, own.put("Subscription/mine", &subscription)] {
                assert!(matches!(answer.status, 400 | 422), "{what}: {answer}");
                let issues = answer.body["issue"].as_array().expect("issues");
                let found = issues.iter().find(|issue| issue["expression"][0] == *expression);
                let sentence = found.and_then(|issue| issue["diagnostics"].as_str()).unwrap_or_default();
                assert!(sentence.len() > 10, "{what}: {answer}");
            }
        }
        assert_eq!(own.matches("Subscription"), [""; 0]);
    }

    fn what_the_subscriber_may_not_read_is_refused(server) {
        let nobody = Bearer::nobody(server);
        assert_eq!(nobody.post("Subscription", &by_websocket("empty")).status, 401);
        let reader = Bearer::of(server, "system/*.rs");
        assert_eq!(reader.post("Subscription", &by_websocket("empty")).status, 403);
        let writer = Bearer::of(server, "system/Subscription.c system/Organization.rs");
        let refused = writer.post("Subscription", &by_websocket("empty"));
        assert_eq!(refused.status, 403, "{refused}");
        assert!(refused.issue().2.contains("Practitioner"), "{refused}");
    }

    fn active_is_a_request_and_requested_is_answered(server) {
        let (own, receiver) = (subscriber(server), Receiver::start());
        let mut eager = by_hook(&receiver.url(), "empty");
        eager["status"] = json!("active");
        eager["error"] = json!("none of yours");
        eager["channel"]["header"] = json!(["Authorization: Bearer secret", "X-Color: red"]);
        let id = subscribe(&own, &eager);
        let handshake = receiver.until("handshake", 1).remove(0);
        assert_eq!(told(&handshake.json(), "status"), ["requested"]);
        assert_eq!(handshake.header("authorization"), Some("Bearer secret"));
        assert_eq!(handshake.header("x-color"), Some("red"));
        let active = until_status(&own, &id, "active").body;
        assert!(active.get("error").is_none() && active["channel"]["header"][1] == "X-Color: red", "{active}");
        assert_eq!(active["meta"]["versionId"], "2");
    }

    fn a_handshake_that_fails_is_an_error_with_a_text(server) {
        let (own, receiver) = (subscriber(server), Receiver::start());
        for status in [400, 404, 500] {
            receiver.answer(status);
            let id = subscribe(&own, &by_hook(&receiver.url(), "empty"));
            let failed = until_status(&own, &id, "error");
            let text = failed.body["error"].as_str().unwrap_or_default();
            assert!(text.contains(&status.to_string()), "{failed}");
            // It is not tried again until that is asked for.
            receiver.answer(200);
            activate(&own, &by_hook(&receiver.url(), "empty"));
            assert_eq!(own.get(&format!("Subscription/{id}")).body["status"], "error");
        }
    }

    fn others_neither_see_nor_change_it(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("empty"));
        let (other, path) = (stranger(server), format!("Subscription/{id}"));
        assert_eq!(other.get(&path).status, 404);
        assert_eq!(other.get(&format!("{path}/_history")).status, 404);
        let mut theirs = by_websocket("full-resource");
        theirs["id"] = json!(id);
        assert!(matches!(other.put(&path, &theirs).status, 403 | 404));
        assert!(matches!(other.delete(&path).status, 403 | 404));
        assert_eq!(own.get(&path).body["status"], "active");
    }
}
