//! Every write is held to the profiles, by whichever way it comes; what is refused is refused with everything that is wrong.

use serde_json::{Value, json};

use crate::harness::{Answer, Server, on_both};

/// The default, which most other tests do without.
pub const PLAN_NET: [(&str, &str); 1] = [("PLUMBLINE_VALIDATION__ENFORCE", "plan-net")];
pub const STRUCTURES: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition";

pub fn practitioner(id: &str) -> Value {
    json!({"resourceType": "Practitioner", "id": id, "active": true,
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}], "name": [{"family": "Smith"}]})
}

pub fn organization(id: &str) -> Value {
    json!({"resourceType": "Organization", "id": id, "active": true, "name": id,
        "type": [{"coding": [{"system": "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS", "code": "prvgrp"}]}],
        "address": [{"city": "Hartford"}]})
}

pub fn network(id: &str, of: &str) -> Value {
    json!({"resourceType": "Organization", "id": id, "active": true, "name": id,
        "type": [{"coding": [{"system": "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS", "code": "ntwk"}]}],
        "partOf": {"reference": format!("Organization/{of}")}})
}

pub fn role(id: &str, network: &str) -> Value {
    json!({"resourceType": "PractitionerRole", "id": id, "active": true,
        "extension": [{"url": format!("{STRUCTURES}/network-reference"), "valueReference": {"reference": format!("Organization/{network}")}}],
        "practitioner": {"reference": "Practitioner/p"}, "telecom": [{"system": "phone", "value": "555-0100"}]})
}

/// `code expression` of each issue.
pub fn issues(answer: &Answer) -> Vec<String> {
    let issue = |issue: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}", text(&issue["code"]), text(&issue["expression"][0]))
    };
    answer.body["issue"].as_array().into_iter().flatten().map(issue).collect()
}

fn count(server: &Server) -> Value {
    server.get("?_type=Practitioner,PractitionerRole,Organization&_summary=count").body["total"].clone()
}

on_both! {
    with (crate::validation::writes::PLAN_NET);

    fn a_wrong_role_is_refused_with_everything_that_is_wrong_with_it(server) {
        let wrong = json!({"resourceType": "PractitionerRole", "active": false, "nonsense": 1,
            "practitioner": {"reference": "Organization/o"}, "code": [{"coding": [{"system": "urn:x", "code": "y"}]}],
            "specialty": [{"text": "surgery"}], "period": {"start": "2020-01-02", "end": "2020-01-01"},
            "telecom": [{"value": "555-0100"}], "notAvailable": [{"during": {"start": "2020-02-30"}}]});
        let answer = server.post("PractitionerRole", &wrong);
        assert_eq!(answer.status, 422, "{answer}");
        let mut found = issues(&answer);
        found.sort();
        assert_eq!(found, [
            "code-invalid PractitionerRole.code[0]",
            "code-invalid PractitionerRole.specialty[0]",
            "invariant PractitionerRole.period",
            "invariant PractitionerRole.telecom[0]",
            "required PractitionerRole.notAvailable[0].description",
            "required PractitionerRole.telecom[0].system",
            "structure PractitionerRole.nonsense",
            "value PractitionerRole.active",
            "value PractitionerRole.notAvailable[0].during.start",
            "value PractitionerRole.practitioner",
        ]);
        let rule = |key: &str| {
            let all = answer.body["issue"].as_array().expect("issues");
            all.iter().find(|issue| issue["details"]["text"] == key).map(|issue| issue["diagnostics"].clone())
        };
        assert_eq!(rule("per-1"), Some(json!("A period does not end before it starts.")));
        let active = format!("{STRUCTURES}/plannet-PractitionerRole#PractitionerRole.active");
        assert_eq!(rule(&active), Some(json!("Must be true, not false")));
        assert_eq!(count(server), 0);
    }

    fn what_is_right_is_accepted(server) {
        for resource in [practitioner("p"), organization("o"), network("n", "o"), role("r", "n")] {
            let path = format!("{}/{}", resource["resourceType"].as_str().expect("a type"), resource["id"].as_str().expect("an id"));
            let answer = server.put(&path, &resource);
            assert_eq!(answer.status, 201, "{answer}");
        }
        assert_eq!(count(server), 4);
    }

    fn a_patch_cannot_make_a_resource_wrong(server) {
        assert_eq!(server.put("Practitioner/p", &practitioner("p")).status, 201);
        let patch = json!([{"op": "replace", "path": "/active", "value": false}]);
        let answer = server.patch("Practitioner/p", "application/json-patch+json", &patch);
        assert_eq!((answer.status, issues(&answer)), (422, vec!["value Practitioner.active".to_owned()]));
        assert_eq!(server.get("Practitioner/p").body["active"], true);
        assert_eq!(server.get("Practitioner/p").body["meta"]["versionId"], "1");
    }

    fn a_transaction_names_the_entries_and_stores_nothing(server) {
        let entry = |resource: Value| json!({"resource": resource, "request": {"method": "PUT",
            "url": format!("{}/{}", resource["resourceType"].as_str().expect("a type"), resource["id"].as_str().expect("an id"))}});
        let mut inactive = practitioner("a");
        inactive["active"] = json!(false);
        let mut nameless = practitioner("b");
        nameless["name"] = json!([{"text": "Smith"}]);
        let bundle = |entries: Vec<Value>| json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
        let answer = server.post("", &bundle(vec![entry(inactive.clone()), entry(practitioner("c")), entry(nameless)]));
        assert_eq!(answer.status, 422);
        assert_eq!(issues(&answer), [
            "value Bundle.entry[0].resource.active",
            "required Bundle.entry[2].resource.name[0].family",
        ]);
        assert_eq!(count(server), 0);

        let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry(inactive), entry(practitioner("c"))]});
        let answer = server.post("", &batch);
        let statuses: Vec<&Value> = answer.body["entry"].as_array().expect("entries").iter().map(|entry| &entry["response"]["status"]).collect();
        assert!(statuses[0].as_str().is_some_and(|status| status.starts_with("422")), "{answer}");
        assert!(statuses[1].as_str().is_some_and(|status| status.starts_with("201")), "{answer}");
    }

    fn a_network_is_a_network_whether_it_is_here_already_or_comes_along(server) {
        assert_eq!(server.put("Organization/o", &organization("o")).status, 201);
        let answer = server.put("PractitionerRole/r", &role("r", "o"));
        assert_eq!(answer.status, 422, "{answer}");
        assert_eq!(issues(&answer), ["value PractitionerRole.extension[0].value.ofType(Reference)"]);
        assert_eq!(server.get("PractitionerRole/r").status, 404);

        // What is not here yet cannot be judged; what comes in the same transaction can.
        assert_eq!(server.put("PractitionerRole/r", &role("r", "later")).status, 201);
        let entry = |resource: Value| json!({"resource": resource, "request": {"method": "PUT",
            "url": format!("{}/{}", resource["resourceType"].as_str().expect("a type"), resource["id"].as_str().expect("an id"))}});
        let transaction = |entries: Vec<Value>| json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
        let answer = server.post("", &transaction(vec![entry(organization("x")), entry(role("s", "x"))]));
        assert_eq!(answer.status, 422, "{answer}");
        assert_eq!(issues(&answer), ["value Bundle.entry[1].resource.extension[0].value.ofType(Reference)"]);
        let answer = server.post("", &transaction(vec![entry(role("s", "n")), entry(network("n", "o"))]));
        assert_eq!(answer.status, 200, "{answer}");

        // A reference under the server's own base is the same reference.
        let mut absolute = role("t", "n");
        absolute["organization"] = json!({"reference": format!("{}/Organization/n", server.base)});
        let answer = server.put("PractitionerRole/t", &absolute);
        assert_eq!((answer.status, issues(&answer)), (422, vec!["value PractitionerRole.organization".to_owned()]));
    }

    fn a_resource_is_held_to_what_it_claims(server) {
        let mut claims = organization("o");
        claims["meta"] = json!({"profile": [format!("{STRUCTURES}/plannet-Network")]});
        let answer = server.put("Organization/o", &claims);
        assert_eq!((answer.status, issues(&answer)), (422, vec!["code-invalid Organization.type[0]".to_owned(), "required Organization.partOf".to_owned()]));
        claims["meta"] = json!({"profile": [format!("{STRUCTURES}/plannet-Location")]});
        let answer = server.put("Organization/o", &claims);
        assert_eq!((answer.status, issues(&answer)), (422, vec!["value Organization.meta.profile[0]".to_owned()]));
        // An unknown profile is no way out of the known one, and not in the way of it either.
        claims["meta"] = json!({"profile": ["http://example.org/unknown"]});
        assert_eq!(server.put("Organization/o", &claims).status, 201);
        claims["active"] = json!(false);
        assert_eq!(server.put("Organization/o", &claims).status, 422);
        claims["meta"] = json!({"profile": ["http://hl7.org/fhir/StructureDefinition/Organization"]});
        assert_eq!(server.put("Organization/o", &claims).status, 200);
    }
}

mod with_integrity {
    use super::*;

    on_both! {
        with [("PLUMBLINE_STORE__REFERENCES", "enforce"), ("PLUMBLINE_VALIDATION__ENFORCE", "plan-net")];

        fn a_transaction_names_each_entry_whose_references_lead_nowhere(server) {
            let entry = |resource: Value| json!({"resource": resource, "request": {"method": "PUT",
                "url": format!("{}/{}", resource["resourceType"].as_str().expect("a type"), resource["id"].as_str().expect("an id"))}});
            let bundle = json!({"resourceType": "Bundle", "type": "transaction",
                "entry": [entry(network("a", "nowhere")), entry(organization("o")), entry(network("b", "o")), entry(network("c", "nobody"))]});
            let answer = server.post("", &bundle);
            assert_eq!(answer.status, 422, "{answer}");
            let mut found = issues(&answer);
            found.sort();
            assert_eq!(found, [
                "not-found Bundle.entry[0].resource.descendants().where(reference = 'Organization/nowhere')",
                "not-found Bundle.entry[3].resource.descendants().where(reference = 'Organization/nobody')",
            ]);
        }
    }
}

#[test]
fn the_settings_say_what_writes_are_held_to() {
    let with = |enforce: &str| Server::sqlite(&[("PLUMBLINE_VALIDATION__ENFORCE", enforce)]);
    let inactive = json!({"resourceType": "Practitioner", "active": false});
    let wrong_code = json!({"resourceType": "Practitioner", "gender": "banana"});
    let unknown = json!({"resourceType": "Practitioner", "nonsense": 1});
    for (enforce, statuses) in [("plan-net", [422, 422, 422]), ("base", [201, 422, 422]), ("off", [201, 201, 422])] {
        let server = with(enforce);
        let found = [&inactive, &wrong_code, &unknown].map(|body| server.post("Practitioner", body).status);
        assert_eq!(found, statuses, "{enforce}");
    }
    let server = Server::sqlite(&[]);
    let mut command = server.command(&["serve"]);
    let refused = command.env("PLUMBLINE_VALIDATION__ENFORCE", "sometimes").output().expect("it runs");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("sometimes"), "{refused:?}");
}
