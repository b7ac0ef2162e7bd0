use serde_json::{Value, json};

use super::{assert_refused, http_date, id, organization, send, version, versions_of_all};
use crate::harness::on_both;

/// The least that each supporting type needs.
fn supporting() -> Vec<Value> {
    let code = json!({"coding": [{"system": "urn:test", "code": "x"}]});
    vec![
        json!({"resourceType": "Task", "status": "requested", "intent": "order"}),
        json!({"resourceType": "Basic", "code": code}),
        json!({"resourceType": "Subscription", "status": "off", "reason": "Test", "criteria": "Organization?active=true",
            "channel": {"type": "rest-hook", "endpoint": "https://client.example/hook"}}),
        json!({"resourceType": "Provenance", "target": [{"reference": "Organization/a"}], "recorded": "2026-01-31T12:00:00Z",
            "agent": [{"who": {"display": "Somebody"}}]}),
        json!({"resourceType": "VerificationResult", "status": "validated"}),
        json!({"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"title": "Letter"}}]}),
        json!({"resourceType": "Binary", "contentType": "text/plain", "data": "SGVsbG8="}),
        json!({"resourceType": "Consent", "status": "active", "scope": code, "category": [code], "policyRule": code}),
        json!({"resourceType": "Communication", "status": "completed"}),
    ]
}

on_both! {
    fn a_create_is_201_with_location_etag_and_date(server) {
        let created = server.post("Organization", &organization("Acme"));
        assert_eq!(created.status, 201, "{created}");
        let location = format!("{}/Organization/{}/_history/{}", server.base, id(&created), version(&created));
        assert_eq!(created.header("location"), Some(location.as_str()));
        assert_eq!(created.header("etag"), Some(format!("W/\"{}\"", version(&created)).as_str()));
        let last_updated = created.body["meta"]["lastUpdated"].as_str().expect("lastUpdated");
        assert_eq!(created.header("last-modified"), Some(http_date(last_updated).as_str()));
        assert_eq!(server.get(&location).body, created.body, "the Location can be read");
    }

    fn a_create_gives_id_version_and_date_itself(server) {
        let mut resource = organization("Acme");
        resource["id"] = json!("mine");
        let tag = json!([{"system": "urn:test", "code": "kept"}]);
        resource["meta"] = json!({"versionId": "77", "lastUpdated": "2001-01-01T00:00:00Z", "tag": tag, "profile": ["http://test.example/profile"]});
        let created = server.post("Organization", &resource);
        assert_eq!(created.status, 201, "{created}");
        assert_ne!(id(&created), "mine");
        assert_ne!(version(&created), "77");
        let meta = &created.body["meta"];
        assert!(meta["lastUpdated"].as_str().is_some_and(|at| at > "2020"), "{created}");
        assert_eq!((&meta["tag"], &meta["profile"][0]), (&tag, &json!("http://test.example/profile")), "other meta stays");
        assert_refused(&server.get("Organization/mine"), 404);
    }

    fn two_creates_make_two_resources(server) {
        let ids = [id(&server.post("Organization", &organization("Acme"))), id(&server.post("Organization", &organization("Acme")))];
        assert_ne!(ids[0], ids[1]);
        assert_eq!(server.ids("Organization?name=acme").len(), 2);
    }

    fn a_resource_comes_back_as_it_was_sent(server) {
        let text = r#"{"resourceType":"Location","status":"active","name":"Ünïcode \u0009 \"Tür\"","_name":{"extension":[{"url":"http://test.example/e","valueDecimal":1.10}]},"alias":["a",null,"c"],"_alias":[null,{"extension":[{"url":"http://test.example/e","valueString":"b"}]},null],"position":{"longitude":-87.6000,"latitude":41.10}}"#;
        let created = send(server, "POST", "Location", &[("content-type", "application/fhir+json")], text);
        assert_eq!(created.status, 201, "{created}");
        let read = server.get(&format!("Location/{}", id(&created)));
        for digits in ["1.10", "-87.6000", "41.10"] {
            assert!(read.text.contains(digits), "{digits} stays in {read}");
        }
        let sent: Value = serde_json::from_str(text).expect("JSON");
        for (name, value) in sent.as_object().expect("an object") {
            assert_eq!(&read.body[name], value, "{name}");
        }
    }

    fn what_is_no_json_is_400(server) {
        let bodies = ["", "{", "[]", "null", "\"Organization\"", "{\"resourceType\":\"Organization\",}", "{\"resourceType\":\"Organization\",\"name\":\"a\",\"name\":\"b\"}",
            "{\"name\":\"Acme\"}", "{\"resourceType\":7}", "{\"resourceType\":\"Organization\"} x"];
        for body in bodies {
            let answer = send(server, "POST", "Organization", &[("content-type", "application/fhir+json")], body);
            assert_eq!(answer.status, 400, "'{body}': {answer}");
            assert_refused(&answer, 400);
        }
        assert_eq!(versions_of_all(server), 0);
    }

    fn a_body_of_another_type_is_400(server) {
        assert_refused(&server.post("Location", &organization("Acme")), 400);
        assert_eq!(versions_of_all(server), 0);
    }

    fn an_invalid_resource_is_refused_and_the_element_named(server) {
        let cases = [
            ("nmae", json!("Acme")), ("name", json!("")), ("name", json!(7)), ("active", json!("true")), ("name", json!(["Acme"])),
            ("alias", json!("A")), ("alias", json!([])), ("contact", json!({})), ("language", json!(" ")),
        ];
        for (name, value) in cases {
            let mut resource = organization("Acme");
            resource[name] = value.clone();
            let answer = server.post("Organization", &resource);
            assert!(matches!(answer.status, 400 | 422), "{name}={value}: {answer}");
            assert_refused(&answer, answer.status);
            assert!(answer.issue().3.contains(name), "{name}={value}: {answer}");
        }
        assert_eq!(versions_of_all(server), 0);
    }

    fn a_missing_mandatory_element_is_refused(server) {
        let answer = server.post("Task", &json!({"resourceType": "Task", "status": "requested"}));
        assert!(matches!(answer.status, 400 | 422), "{answer}");
        assert!(answer.text.contains("intent"), "{answer}");
    }

    fn an_unknown_type_is_404(server) {
        assert_refused(&server.post("Patient", &json!({"resourceType": "Patient"})), 404);
        assert_refused(&server.post("organization", &organization("Acme")), 404);
    }

    fn every_supporting_type_is_stored_read_found_changed_and_deleted(server) {
        for resource in supporting() {
            let name = resource["resourceType"].as_str().expect("a type");
            let created = server.post(name, &resource);
            assert_eq!(created.status, 201, "{name}: {created}");
            let url = format!("{name}/{}", id(&created));
            let read = server.get(&url);
            assert_eq!((read.status, &read.body), (200, &created.body), "{name}");
            assert_eq!(server.ids(&format!("{name}?_id={}", id(&created))), [id(&created)]);
            let mut changed = read.body.clone();
            changed["language"] = json!("en");
            let updated = server.put(&url, &changed);
            assert_eq!((updated.status, version(&updated)), (200, "2"), "{name}: {updated}");
            assert_eq!(server.delete(&url).status, 204, "{name}");
            assert_eq!(server.get(&url).status, 410, "{name}");
        }
    }
}
