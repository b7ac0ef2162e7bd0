use serde_json::{Value, json};

use super::{
    assert_refused, bundle, call, entry, location, organization, organization_as, send, statuses, stored,
    versions_of_all,
};
use crate::harness::{Answer, Server, on_both};

fn batch(server: &Server, entries: &[Value]) -> Answer {
    let answer = server.post("", &bundle("batch", entries));
    assert_eq!((answer.status, &answer.body["type"]), (200, &json!("batch-response")), "{answer}");
    answer
}

on_both! {
    fn a_refusal_of_the_request_is_located_in_the_request(server) {
        let mut wrong = call("DELETE", "Organization/acme");
        wrong["request"]["ifMatch"] = json!("x");
        for (entry, place) in [(wrong, "Bundle.entry[0].request.ifMatch"), (json!({}), "Bundle.entry[0].request")] {
            let answer = batch(server, &[entry]);
            assert_eq!(answer.body["entry"][0]["response"]["outcome"]["issue"][0]["expression"][0], place, "{answer}");
        }
    }

    fn entries_that_name_one_resource_are_done_in_order(server) {
        let put = |name: &str| entry("PUT", "Organization/acme", organization_as("acme", name));
        let answer = server.post("", &bundle("batch", &[put("One"), call("GET", "Organization/acme"), put("Two"), call("GET", "Organization/acme"), call("DELETE", "Organization/acme"), call("GET", "Organization/acme")]));
        assert_eq!(statuses(&answer), ["201", "200", "200", "200", "204", "410"], "{answer}");
        assert_eq!((&answer.body["entry"][1]["resource"]["name"], &answer.body["entry"][3]["resource"]["name"]), (&json!("One"), &json!("Two")));
    }

    fn a_batch_is_answered_as_far_as_there_is_room_and_its_writes_in_any_case(server) {
        let long = "x".repeat(500_000);
        let entries: Vec<Value> = (0..10).map(|n| entry("PUT", &format!("Basic/b{n}"), json!({"resourceType": "Basic", "id": format!("b{n}"), "code": {"text": &long}}))).collect();
        assert_eq!(server.post("", &bundle("transaction", &entries)).status, 200);
        let search = call("GET", "Basic?_count=10");
        let mut entries = vec![search; 20];
        entries.push(entry("PUT", "Basic/last", json!({"resourceType": "Basic", "id": "last", "code": {"text": "x"}})));
        let answer = server.post("", &bundle("batch", &entries));
        let statuses = statuses(&answer);
        assert_eq!((statuses[0], statuses[19], statuses[20]), ("200", "413", "201"), "{statuses:?}");
    }

    fn each_entry_is_answered_in_its_place(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &organization_as("bolt", "Bolt"));
        stored(server, &organization_as("coil", "Coil"));
        let answer = batch(server, &[
            call("GET", "Organization/acme"),
            entry("POST", "Organization", organization("New")),
            entry("PUT", "Organization/bolt", organization_as("bolt", "Changed")),
            call("DELETE", "Organization/coil"),
            call("GET", "Organization/nobody"),
            call("GET", "Organization?name=acme"),
            entry("PUT", "Organization/fresh", organization_as("fresh", "Fresh")),
        ]);
        assert_eq!(statuses(&answer), ["200", "201", "200", "204", "404", "200", "201"], "{answer}");
        let entries = answer.body["entry"].as_array().expect("entries");
        assert_eq!(entries[0]["resource"]["name"], "Acme");
        assert_eq!(entries[5]["resource"]["type"], "searchset");
        assert_eq!((location(&answer, 2), location(&answer, 6)), ("Organization/bolt".to_owned(), "Organization/fresh".to_owned()));
        assert_eq!((&entries[2]["response"]["etag"], &entries[6]["response"]["etag"]), (&json!("W/\"2\""), &json!("W/\"1\"")));
        assert_eq!(server.get(&location(&answer, 1)).body["name"], "New");
        assert_eq!(server.get("Organization/coil").status, 410);
    }

    fn a_failing_entry_has_its_outcome_and_does_not_stop_the_others(server) {
        stored(server, &organization_as("acme", "Acme"));
        let mut stale = entry("PUT", "Organization/acme", organization_as("acme", "Other"));
        stale["request"]["ifMatch"] = json!("W/\"7\"");
        let answer = batch(server, &[
            entry("POST", "Organization", json!({"resourceType": "Organization", "nmae": "x"})),
            entry("POST", "Patient", json!({"resourceType": "Patient"})),
            entry("PUT", "Organization/one", organization_as("two", "x")),
            stale,
            json!({"resource": organization("x")}),
            call("POST", "Organization"),
            call("BREW", "Organization/acme"),
            call("GET", "Organization?colour=red"),
            call("PUT", "Organization"),
            entry("POST", "Organization", organization("Good")),
        ]);
        let statuses = statuses(&answer);
        assert_eq!(statuses.len(), 10);
        assert!(matches!(statuses[0], "400" | "422"), "{answer}");
        assert_eq!((statuses[1], statuses[2], statuses[3], statuses[9]), ("404", "400", "412", "201"), "{answer}");
        for entry in &answer.body["entry"].as_array().expect("entries")[..9] {
            assert!(entry["response"]["status"].as_str().is_some_and(|status| status.starts_with('4')), "{entry}");
            let outcome = &entry["response"]["outcome"];
            assert_eq!((&outcome["resourceType"], &outcome["issue"][0]["severity"]), (&json!("OperationOutcome"), &json!("error")), "{entry}");
        }
        assert_eq!(versions_of_all(server), 2);
    }

    fn an_empty_batch_is_no_error(server) {
        let answer = batch(server, &[]);
        assert!(answer.body.get("entry").is_none(), "{answer}");
    }

    fn a_batch_with_a_list_that_is_none_is_400(server) {
        assert_refused(&server.post("", &json!({"resourceType": "Bundle", "type": "batch", "entry": {}})), 400);
    }

    fn conditions_work_in_a_batch(server) {
        stored(server, &organization_as("acme", "Acme"));
        let mut found = entry("POST", "Organization", organization("Other"));
        found["request"]["ifNoneExist"] = json!("identifier=urn:test|Acme");
        let mut made = entry("POST", "Organization", organization("Bolt"));
        made["request"]["ifNoneExist"] = json!("identifier=urn:test|Bolt");
        let mut known = call("GET", "Organization/acme");
        known["request"]["ifNoneMatch"] = json!("W/\"1\"");
        let answer = batch(server, &[found, made, known, call("DELETE", "Organization?identifier=urn:test|Nobody"), entry("PUT", "Organization?identifier=urn:test|Coil", organization("Coil"))]);
        assert_eq!(statuses(&answer), ["200", "201", "304", "204", "201"], "{answer}");
        assert_eq!(location(&answer, 0), "Organization/acme");
        assert!(answer.body["entry"][2].get("resource").is_none(), "{answer}");
    }

    fn patches_work_in_a_batch(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &organization_as("bolt", "Bolt"));
        let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
            {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Organization.name"}, {"name": "value", "valueString": "Patched"}]}]});
        // [{"op":"replace","path":"/name","value":"Patched"}]
        let binary = json!({"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9uYW1lIiwidmFsdWUiOiJQYXRjaGVkIn1d"});
        let answer = batch(server, &[entry("PATCH", "Organization/acme", parameters.clone()), entry("PATCH", "Organization?identifier=urn:test|Bolt", binary), entry("PATCH", "Organization/nobody", parameters), entry("PATCH", "Organization/acme", organization("x"))]);
        assert_eq!(statuses(&answer)[..3], ["200", "200", "404"], "{answer}");
        assert!(matches!(statuses(&answer)[3], "400" | "415" | "422"), "{answer}");
        assert_eq!(server.ids("Organization?name=patched").len(), 2);
    }

    fn every_reading_interaction_works_in_a_batch(server) {
        stored(server, &organization_as("acme", "Acme"));
        let urls = ["Organization/acme", "Organization/acme/_history/1", "Organization/acme/_history", "Organization/_history", "_history", "metadata", "Organization", "?_type=Organization", "/Organization/acme"];
        let mut entries: Vec<Value> = urls.iter().map(|url| call("GET", url)).collect();
        entries.push(call("GET", &format!("{}/Organization/acme", server.base)));
        entries.push(call("HEAD", "Organization/acme"));
        let answer = batch(server, &entries);
        assert!(statuses(&answer).iter().all(|status| *status == "200"), "{answer}");
        let types: Vec<&str> = answer.body["entry"].as_array().expect("entries").iter().filter_map(|entry| entry["resource"]["resourceType"].as_str()).collect();
        assert_eq!(types, ["Organization", "Organization", "Bundle", "Bundle", "Bundle", "CapabilityStatement", "Bundle", "Bundle", "Organization", "Organization"], "HEAD has none");
    }

    fn a_batch_may_be_xml(server) {
        let body = r#"<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry><resource><Organization><name value="Acme"/></Organization></resource><request><method value="POST"/><url value="Organization"/></request></entry></Bundle>"#;
        let answer = send(server, "POST", "", &[("content-type", "application/fhir+xml"), ("accept", "application/fhir+xml")], body);
        assert_eq!(answer.status, 200, "{answer}");
        assert!(answer.text.contains("<type value=\"batch-response\"/>") && answer.text.contains("<status value=\"201"), "{answer}");
        assert_eq!(server.ids("Organization?name=acme").len(), 1);
    }
}
