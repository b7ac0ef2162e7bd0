//! What the CapabilityStatement tells subscribers, and how they find their Subscriptions.

use serde_json::{Value, json};

use super::*;
use crate::harness::on_both;

const GUIDE: &str = "http://hl7.org/fhir/uv/subscriptions-backport";

on_both! {
    with { crate::harness::tokens::trusting() };

    fn the_statement_tells_topics_and_operations(server) {
        let statement = Bearer::nobody(server).get("metadata").body;
        let instantiates = statement["instantiates"].as_array().expect("what it is an instance of");
        assert!(instantiates.contains(&json!(format!("{GUIDE}/CapabilityStatement/backport-subscription-server-r4"))));
        let resources = statement["rest"][0]["resource"].as_array().expect("resources");
        let declared = resources.iter().find(|resource| resource["type"] == "Subscription").expect("Subscription");
        assert_eq!(declared["supportedProfile"], json!([format!("{GUIDE}/StructureDefinition/backport-subscription")]));
        let url = format!("{GUIDE}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical");
        let topics: Vec<&Value> = declared["extension"].as_array().expect("topics").iter().collect();
        assert!(topics.iter().all(|topic| topic["url"] == url.as_str()));
        assert!(topics.iter().any(|topic| topic["valueCanonical"] == TOPIC));
        let operations: Vec<(&str, &str)> = declared["operation"]
            .as_array()
            .expect("operations")
            .iter()
            .map(|it| (it["name"].as_str().expect("a name"), it["definition"].as_str().expect("a definition")))
            .collect();
        for name in ["status", "events", "get-ws-binding-token"] {
            let definition = format!("{GUIDE}/OperationDefinition/backport-subscription-{name}");
            assert!(operations.contains(&(name, &definition)), "{operations:?}");
        }
        // Each topic that it names can be subscribed to.
        let own = subscriber(server);
        for topic in topics {
            let mut subscription = by_websocket("id-only");
            subscription["criteria"] = topic["valueCanonical"].clone();
            let answer = own.post("Subscription", &subscription);
            assert_eq!(answer.status, 201, "{}: {answer}", topic["valueCanonical"]);
        }
    }

    fn subscriptions_are_found_by_what_they_say(server) {
        let own = subscriber(server);
        let hook = "https://subscriber.example/hook";
        let mut by_hook = by_hook(hook, "id-only");
        by_hook["status"] = json!("off");
        by_hook["contact"] = json!([{"system": "email", "value": "ops@subscriber.example"}]);
        let answer = own.post("Subscription", &by_hook);
        assert_eq!((answer.status, &answer.body["status"]), (201, &json!("off")), "{answer}");
        let hooked = format!("Subscription/{}", answer.body["id"].as_str().expect("an id"));
        let socket = format!("Subscription/{}", activate(&own, &by_websocket("empty")));
        let both = {
            let mut both = vec![hooked.clone(), socket.clone()];
            both.sort();
            both
        };
        for (query, expected) in [
            ("status=off", vec![&*hooked]),
            ("status=active", vec![&socket]),
            ("status=active,off", both.iter().map(String::as_str).collect()),
            ("type=rest-hook", vec![&hooked]),
            ("type=websocket", vec![&socket]),
            ("url=https://subscriber.example/hook", vec![&hooked]),
            ("url=https://subscriber.example/other", vec![]),
            ("criteria=urn:plumbline:topic:practitioner", both.iter().map(String::as_str).collect()),
            ("criteria:exact=urn:plumbline:topic:location-change", vec![]),
            ("payload=application/fhir%2Bjson", both.iter().map(String::as_str).collect()),
            ("contact=ops@subscriber.example", vec![&hooked]),
            ("contact=email|ops@subscriber.example", vec![&hooked]),
        ] {
            assert_eq!(own.matches(&format!("Subscription?{query}")), expected, "{query}");
        }
        assert_eq!(stranger(server).matches("Subscription?status=off,active"), [""; 0]);
    }
}
