//! `_since`: what changed after a moment, and what is no longer there.

use serde_json::{Value, json};

use super::{anybody, exported, lines, location, names, organization};
use crate::harness::on_both;
use crate::harness::tokens::Bearer;

/// `METHOD Type/id` of the Bundles in `deleted`, sorted.
fn deletions(bearer: &Bearer<'_>, manifest: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for bundle in lines(bearer, manifest, "deleted") {
        assert_eq!(bundle["type"], "transaction", "{bundle}");
        for entry in bundle["entry"].as_array().expect("entries") {
            let text = |name: &str| entry["request"][name].as_str().expect("text").to_owned();
            found.push(format!("{} {}", text("method"), text("url")));
        }
    }
    found.sort();
    found
}

on_both! {
    fn an_export_goes_on_where_the_one_before_ended(server) {
        let bearer = anybody(server);
        for resource in [organization("kept", "K"), organization("changed", "C"), organization("gone", "G"), organization("back", "B"), location("l", "active")] {
            bearer.store(&resource);
        }
        let first = exported(&bearer, "$export?_type=Organization,Location");
        assert_eq!(names(&bearer, &first).len(), 5);
        let at = first["transactionTime"].as_str().expect("an instant").to_owned();
        bearer.store(&organization("changed", "C2"));
        bearer.store(&organization("new", "N"));
        for id in ["gone", "back"] {
            assert_eq!(bearer.delete(&format!("Organization/{id}")).status, 204);
        }
        bearer.store(&organization("back", "B"));
        bearer.store(&organization("passing", "P"));
        assert_eq!(bearer.delete("Organization/passing").status, 204);
        let second = exported(&bearer, &format!("$export?_type=Organization,Location&_since={at}"));
        assert_eq!(names(&bearer, &second), ["Organization/back", "Organization/changed", "Organization/new"]);
        assert_eq!(deletions(&bearer, &second), ["DELETE Organization/gone", "DELETE Organization/passing"]);
        let at = second["transactionTime"].as_str().expect("an instant").to_owned();
        let third = exported(&bearer, &format!("$export?_type=Organization,Location&_since={at}"));
        assert_eq!((&third["output"], &third["deleted"]), (&json!([]), &json!([])), "nothing happened since");
    }

    fn what_changed_at_the_very_moment_is_not_after_it(server) {
        let bearer = anybody(server);
        bearer.store(&organization("a", "A"));
        let at = bearer.get("Organization/a").body["meta"]["lastUpdated"].as_str().expect("an instant").to_owned();
        assert_eq!(super::holds(&bearer, &format!("Organization/$export?_since={at}")), Vec::<String>::new());
        let earlier = chrono::DateTime::parse_from_rfc3339(&at).expect("an instant") - chrono::Duration::milliseconds(1);
        let earlier = earlier.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        assert_eq!(super::holds(&bearer, &format!("Organization/$export?_since={earlier}")), ["Organization/a"]);
        // The same moment, in another zone; a + that was not encoded has become a space.
        let elsewhere = at.replace('Z', "+00:00");
        assert_eq!(super::holds(&bearer, &format!("Organization/$export?_since={elsewhere}")), Vec::<String>::new());
    }

    fn many_deletions_take_several_bundles(server) {
        let bearer = anybody(server);
        let all = |method: &str, count: usize| {
            let entry = |n: usize| match method {
                "PUT" => json!({"resource": organization(&format!("o{n}"), "O"), "request": {"method": "PUT", "url": format!("Organization/o{n}")}}),
                _ => json!({"request": {"method": "DELETE", "url": format!("Organization/o{n}")}}),
            };
            let entries: Vec<Value> = (0..count).map(entry).collect();
            let answer = bearer.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}));
            assert_eq!(answer.status, 200, "{answer}");
        };
        all("PUT", 1_003);
        all("DELETE", 1_003);
        let manifest = exported(&bearer, "$export?_type=Organization,Location&_since=2020-01-01T00:00:00Z");
        assert_eq!(manifest["output"], json!([]));
        assert_eq!(lines(&bearer, &manifest, "deleted").len(), 2);
        assert_eq!(deletions(&bearer, &manifest).len(), 1_003);
        // Without a moment nothing is said to be gone.
        assert!(exported(&bearer, "$export?_type=Organization").get("deleted").is_none());
    }
}
