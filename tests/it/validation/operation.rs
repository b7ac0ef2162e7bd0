//! `$validate`: type and instance, as a resource or as Parameters, with a profile and a mode.

use serde_json::{Value, json};

use super::writes::{STRUCTURES, issues, network, organization, practitioner, role};
use crate::harness::{Answer, on_both};

/// Errors as `code expression`; panics unless the operation ran.
fn errors(answer: &Answer) -> Vec<String> {
    assert_eq!((answer.status, &answer.body["resourceType"]), (200, &json!("OperationOutcome")), "{answer}");
    let severity = |n: usize| answer.body["issue"][n]["severity"].as_str().unwrap_or_default().to_owned();
    issues(answer).into_iter().enumerate().filter(|(n, _)| severity(*n) == "error").map(|(_, issue)| issue).collect()
}

fn parameters(parts: &[(&str, Value)]) -> Value {
    let parts = parts.iter().map(|(name, value)| {
        let member = if value.is_object() { "resource" } else { "valueUri" };
        json!({"name": name, member: value})
    });
    json!({"resourceType": "Parameters", "parameter": parts.collect::<Vec<_>>()})
}

on_both! {
    with (crate::validation::writes::PLAN_NET);

    fn a_resource_is_validated_and_not_stored(server) {
        let mut wrong = practitioner("p");
        wrong["active"] = json!("yes");
        for body in [wrong.clone(), parameters(&[("resource", wrong)])] {
            assert_eq!(errors(&server.post("Practitioner/$validate", &body)), ["structure Practitioner.active"]);
        }
        let answer = server.post("Practitioner/$validate", &practitioner("p"));
        assert_eq!(errors(&answer), [""; 0]);
        let held = answer.body["issue"].as_array().expect("issues").iter().filter_map(|issue| issue["diagnostics"].as_str()).any(|text| {
            text == format!("Held to {STRUCTURES}/plannet-Practitioner|1.2.0")
        });
        assert!(held, "{answer}");
        assert_eq!(server.get("Practitioner?_summary=count").body["total"], 0);
    }

    fn warnings_are_told_too(server) {
        let mut odd = organization("o");
        odd["type"] = json!([{"coding": [{"system": "urn:x", "code": "y"}]}]);
        let answer = server.post("Organization/$validate", &odd);
        assert_eq!(errors(&answer), [""; 0]);
        assert!(issues(&answer).contains(&"code-invalid Organization.type[0]".to_owned()), "{answer}");
    }

    fn a_profile_can_be_named(server) {
        let body = organization("o");
        let profile = format!("{STRUCTURES}/plannet-Network");
        for answer in [
            server.post(&format!("Organization/$validate?profile={profile}"), &body),
            server.post("Organization/$validate", &parameters(&[("resource", body.clone()), ("profile", json!(profile))])),
            server.post(&format!("Organization/$validate?profile={profile}|1.2.0"), &body),
        ] {
            assert_eq!(errors(&answer), ["code-invalid Organization.type[0]", "required Organization.partOf"]);
        }
        // The base definition asks for less than the profile of the directory.
        let bare = json!({"resourceType": "Organization", "name": "x"});
        assert_eq!(errors(&server.post("Organization/$validate", &bare)).len(), 3);
        let base = "Organization/$validate?profile=http://hl7.org/fhir/StructureDefinition/Organization";
        assert_eq!(errors(&server.post(base, &bare)), [""; 0]);
        for unknown in ["http://example.org/unknown".to_owned(), format!("{profile}|9")] {
            let answer = server.post(&format!("Organization/$validate?profile={unknown}"), &body);
            assert_eq!((answer.status, issues(&answer)), (404, vec!["not-found http.profile".to_owned()]));
        }
        let type_of_another = "Organization/$validate?profile=http://hl7.org/fhir/StructureDefinition/Practitioner";
        assert_eq!(server.post(type_of_another, &body).status, 400);
        let other = format!("Organization/$validate?profile={STRUCTURES}/plannet-Location");
        assert_eq!(errors(&server.post(&other, &body)), ["value Organization"]);
    }

    fn what_is_stored_is_validated_in_its_place(server) {
        assert_eq!(server.put("Organization/o", &organization("o")).status, 201);
        assert_eq!(errors(&server.get("Organization/o/$validate")), [""; 0]);
        let network = format!("Organization/o/$validate?profile={STRUCTURES}/plannet-Network");
        assert_eq!(errors(&server.get(&network)).len(), 2);
        assert_eq!(errors(&server.get(&format!("{network}&mode=profile"))).len(), 2);
        assert_eq!(server.get("Organization/o/$validate?mode=profile").status, 400);
        assert_eq!(server.get("Organization/nobody/$validate").status, 404);
        assert_eq!(server.delete("Organization/o").status, 204);
        assert_eq!(server.get("Organization/o/$validate").status, 410);
    }

    fn modes_ask_whether_a_create_an_update_or_a_delete_would_do(server) {
        let body = organization("o");
        assert_eq!(errors(&server.post("Organization/$validate?mode=create", &body)), [""; 0]);
        assert_eq!(errors(&server.post("Organization/o/$validate?mode=create", &body)), ["business-rule Organization.id"]);
        assert_eq!(errors(&server.post("Organization/o/$validate?mode=update", &body)), [""; 0]);
        assert_eq!(errors(&server.post("Organization/other/$validate?mode=update", &body)), ["value Organization.id"]);
        let mut unnamed = body.clone();
        unnamed.as_object_mut().expect("an object").shift_remove("id");
        assert_eq!(errors(&server.post("Organization/o/$validate?mode=update", &unnamed)), ["required Organization.id"]);
        assert_eq!(server.put("Organization/o", &body).status, 201);
        assert_eq!(errors(&server.post("Organization/o/$validate?mode=delete", &parameters(&[]))), [""; 0]);
        assert_eq!(server.get("Organization/o").status, 200);
        assert_eq!(server.post("Organization/$validate?mode=delete", &body).status, 400);
        assert_eq!(server.post("Organization/$validate?mode=guess", &body).status, 400);
    }

    fn the_store_is_asked_as_a_write_would_ask_it(server) {
        assert_eq!(server.put("Organization/o", &organization("o")).status, 201);
        let answer = server.post("PractitionerRole/$validate", &role("r", "o"));
        assert_eq!(errors(&answer), ["value PractitionerRole.extension[0].value.ofType(Reference)"]);
        assert_eq!(server.put("Organization/n", &network("n", "o")).status, 201);
        assert_eq!(errors(&server.post("PractitionerRole/$validate", &role("r", "n"))), [""; 0]);
    }

    fn what_cannot_be_validated_is_refused(server) {
        for (path, body, status) in [
            ("Practitioner/$validate", organization("o"), 400),
            ("Practitioner/$validate", parameters(&[]), 400),
            ("Practitioner/$validate?nonsense=1", practitioner("p"), 400),
            ("Nonsense/$validate", practitioner("p"), 404),
            ("Practitioner/a_b/$validate", practitioner("p"), 404),
        ] {
            let answer = server.post(path, &body);
            assert_eq!((answer.status, &answer.body["resourceType"]), (status, &json!("OperationOutcome")), "{path}: {answer}");
        }
        assert_eq!(server.get("Practitioner/$validate").status, 400);
        assert_eq!(server.delete("Practitioner/$validate").status, 405);
    }

    fn a_bundle_is_validated_with_its_entries(server) {
        let mut wrong = role("r", "n");
        wrong["active"] = json!(false);
        let entry = |resource: Value| json!({"fullUrl": format!("http://example.org/fhir/{}/{}", resource["resourceType"].as_str().expect("a type"), resource["id"].as_str().expect("an id")), "resource": resource});
        // The network of the role is in the Bundle, and is none.
        let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [entry(wrong), entry(organization("n"))]});
        let mut found = errors(&server.post("Bundle/$validate", &bundle));
        found.sort();
        assert_eq!(found, [
            "value Bundle.entry[0].resource.active",
            "value Bundle.entry[0].resource.extension[0].value.ofType(Reference)",
        ]);
    }
}

mod with_integrity {
    use super::*;

    on_both! {
        with [("PLUMBLINE_STORE__REFERENCES", "enforce"), ("PLUMBLINE_VALIDATION__ENFORCE", "plan-net")];

        fn references_that_must_resolve_are_looked_up(server) {
            let answer = server.post("Organization/$validate", &network("n", "o"));
            assert_eq!(errors(&answer).len(), 1, "{answer}");
            assert_eq!(server.put("Organization/o", &organization("o")).status, 201);
            assert_eq!(server.put("Organization/n", &network("n", "o")).status, 201);
            let answer = server.post("Organization/o/$validate?mode=delete", &parameters(&[]));
            assert_eq!(errors(&answer).len(), 1, "{answer}");
            assert!(answer.body["issue"][0]["diagnostics"].as_str().is_some_and(|text| text.contains("Organization/n")), "{answer}");
        }
    }
}
