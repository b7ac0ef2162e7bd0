use std::thread;

use serde_json::{Value, json};

use super::{
    assert_refused, created, id, organization, organization_as, send, send_json, stored, version, versions_of_all,
};
use crate::harness::{Answer, Server, on_both};

const JSON_PATCH: &str = "application/json-patch+json";

fn create_if_none(server: &Server, condition: &str, resource: &Value) -> Answer {
    send_json(server, "POST", "Organization", ("if-none-exist", condition), resource)
}

/// Acme twice.
fn twins(server: &Server) {
    stored(server, &organization_as("one", "Acme"));
    stored(server, &organization_as("two", "Acme"));
}

on_both! {
    fn a_conditional_create_without_a_match_is_201(server) {
        let answer = create_if_none(server, "identifier=urn:test|Acme", &organization("Acme"));
        assert_eq!(answer.status, 201, "{answer}");
        assert_eq!(server.ids("Organization?name=acme"), [id(&answer)]);
    }

    fn a_conditional_create_with_a_match_is_200_and_stores_nothing(server) {
        stored(server, &organization_as("acme", "Acme"));
        for condition in ["identifier=urn:test|Acme", "?identifier=urn:test|Acme", "identifier=urn%3Atest%7CAcme", "_id=acme", "name=acme&active=true"] {
            let answer = create_if_none(server, condition, &organization("Other"));
            assert_eq!(answer.status, 200, "{condition}: {answer}");
            assert_eq!(answer.header("location"), Some(format!("{}/Organization/acme/_history/1", server.base).as_str()), "{condition}");
            assert_eq!(answer.header("etag"), Some("W/\"1\""));
        }
        assert_eq!(versions_of_all(server), 1);
    }

    fn a_conditional_create_with_several_matches_is_412(server) {
        twins(server);
        assert_refused(&create_if_none(server, "identifier=urn:test|Acme", &organization("Acme")), 412);
        assert_eq!(versions_of_all(server), 2);
    }

    fn a_conditional_delete_deletes_what_is_expected_or_nothing(server) {
        stored(server, &organization_as("one", "Acme"));
        stored(server, &organization_as("two", "Acme"));
        stored(server, &organization_as("two", "Acme 2"));
        let delete = |tag| send(server, "DELETE", "Organization?name=acme", &[("if-match", tag)], "");
        assert_refused(&delete("W/\"1\""), 412);
        assert_eq!(server.ids("Organization?name=acme"), ["one", "two"]);
        assert_eq!(delete("*").status, 204);
        assert_eq!(server.ids("Organization?name=acme"), [""; 0]);
    }

    fn a_condition_that_cannot_be_read_is_refused_and_nothing_is_written(server) {
        stored(server, &organization_as("acme", "Acme"));
        let json = ("content-type", "application/fhir+json");
        let changed = organization_as("acme", "Changed").to_string();
        let raw = |name: &'static str, value: &[u8]| (name, reqwest::header::HeaderValue::from_bytes(value).expect("a header"));
        for (method, path, (name, value)) in [
            ("PUT", "Organization/acme", raw("if-match", b"W/\"7\"\xa0")),
            ("DELETE", "Organization/acme", raw("if-match", b"\xff")),
            ("POST", "Organization", raw("if-none-exist", b"name=\xff")),
        ] {
            assert_refused(&Answer::of(server.request(method, path).header(json.0, json.1).header(name, value).body(changed.clone())), 400);
        }
        let twice = [json, ("if-match", "W/\"1\""), ("if-match", "W/\"9\"")];
        assert_refused(&send(server, "PUT", "Organization/acme", &twice, &changed), 400);
        let found = Answer::of(server.request("POST", "Organization").header(json.0, json.1).header("if-none-exist", "name=acm\u{e9}").body(changed.clone()));
        assert_eq!(found.status, 200, "a condition in UTF-8 is one: {found}");
        assert_eq!(versions_of_all(server), 1);
    }

    fn a_criterion_without_a_value_does_not_widen_a_condition(server) {
        twins(server);
        for condition in ["name=acme&identifier=", "name=acme&_count=1", "name=acme&_sort=name"] {
            assert_refused(&server.delete(&format!("Organization?{condition}")), 412);
        }
        assert_eq!(server.ids("Organization"), ["one", "two"]);
        assert_eq!(server.delete("Organization?name=acme&_format=json").status, 204, "how to answer is no criterion");
    }

    fn a_conditional_update_does_not_take_the_place_of_what_its_condition_does_not_select(server) {
        stored(server, &organization_as("acme", "Acme"));
        assert_refused(&server.put("Organization?name=bolt", &organization_as("acme", "Bolt")), 412);
        assert_eq!(server.get("Organization/acme").body["name"], "Acme");
        assert_eq!(server.put("Organization?name=bolt", &organization_as("bolt", "Bolt")).status, 201);
    }

    fn a_conditional_create_matches_nothing_deleted(server) {
        stored(server, &organization_as("acme", "Acme"));
        server.delete("Organization/acme");
        assert_eq!(create_if_none(server, "identifier=urn:test|Acme", &organization("Acme")).status, 201);
    }

    fn a_condition_that_cannot_be_used_is_refused(server) {
        for condition in ["colour=red", "active=maybe|x|y", "_lastUpdated=x", "", "_count=1", "name:wrong=x", "name="] {
            let answer = create_if_none(server, condition, &organization("Acme"));
            assert!(matches!(answer.status, 400 | 412), "'{condition}': {answer}");
            assert_refused(&answer, answer.status);
        }
        assert_eq!(versions_of_all(server), 0);
    }

    fn concurrent_conditional_creates_make_one_resource(server) {
        for round in 0..3 {
            let name = format!("Acme {round}");
            // Two spellings of the same condition.
            let conditions = [format!("identifier=urn:test|Acme%20{round}"), format!("identifier=urn%3Atest%7CAcme+{round}")];
            let mut statuses: Vec<u16> = thread::scope(|scope| {
                let create = |n: usize| {
                    let (name, condition) = (&name, &conditions[n % 2]);
                    scope.spawn(move || create_if_none(server, condition, &organization(name)).status)
                };
                let all: Vec<_> = (0..8).map(create).collect();
                all.into_iter().map(|one| one.join().expect("an answer")).collect()
            });
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
            assert_eq!(server.ids(&format!("Organization?{}", conditions[0])).len(), 1);
        }
    }

    fn concurrent_conditional_updates_make_one_resource(server) {
        let mut statuses: Vec<u16> = thread::scope(|scope| {
            let update = |n: usize| {
                scope.spawn(move || {
                    let mut resource = organization("Acme");
                    resource["alias"] = json!([n.to_string()]);
                    server.put("Organization?identifier=urn:test|Acme", &resource).status
                })
            };
            let all: Vec<_> = (0..6).map(update).collect();
            all.into_iter().map(|one| one.join().expect("an answer")).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 201]);
        assert_eq!(server.ids("Organization").len(), 1);
    }

    fn a_conditional_update_without_a_match_creates(server) {
        let answer = server.put("Organization?identifier=urn:test|Acme", &organization("Acme"));
        assert_eq!((answer.status, version(&answer)), (201, "1"), "{answer}");
        assert!(answer.header("location").is_some_and(|location| location.contains(&id(&answer))));
        assert_eq!(server.ids("Organization"), [id(&answer)]);
    }

    fn a_conditional_update_without_a_match_takes_the_id_of_the_body(server) {
        let answer = server.put("Organization?identifier=urn:test|Acme", &organization_as("acme", "Acme"));
        assert_eq!((answer.status, id(&answer).as_str()), (201, "acme"), "{answer}");
        assert_eq!(server.get("Organization/acme").status, 200);
    }

    fn a_conditional_update_with_a_match_updates_it(server) {
        stored(server, &organization_as("acme", "Acme"));
        let mut changed = organization("Acme");
        changed["alias"] = json!(["A"]);
        let answer = server.put("Organization?identifier=urn:test|Acme", &changed);
        assert_eq!((answer.status, id(&answer).as_str(), version(&answer)), (200, "acme", "2"), "{answer}");
        changed["id"] = json!("acme");
        changed["alias"] = json!(["B"]);
        let answer = server.put("Organization?identifier=urn:test|Acme", &changed);
        assert_eq!((answer.status, version(&answer)), (200, "3"), "{answer}");
    }

    fn a_conditional_update_with_a_match_of_another_id_is_400(server) {
        stored(server, &organization_as("acme", "Acme"));
        assert_refused(&server.put("Organization?identifier=urn:test|Acme", &organization_as("bolt", "Acme")), 400);
        assert_eq!(versions_of_all(server), 1);
    }

    fn a_conditional_update_with_several_matches_is_412(server) {
        twins(server);
        assert_refused(&server.put("Organization?identifier=urn:test|Acme", &organization("Acme")), 412);
        assert_refused(&server.put("Organization?identifier=urn:test|Acme", &organization_as("one", "Acme")), 412);
        assert_eq!(versions_of_all(server), 2);
    }

    fn a_conditional_update_honours_if_match(server) {
        stored(server, &organization_as("acme", "Acme"));
        let mut changed = organization("Acme");
        changed["alias"] = json!(["A"]);
        let url = "Organization?identifier=urn:test|Acme";
        assert_refused(&send_json(server, "PUT", url, ("if-match", "W/\"7\""), &changed), 412);
        assert_eq!(send_json(server, "PUT", url, ("if-match", "W/\"1\""), &changed).status, 200);
    }

    fn a_conditional_delete_deletes_what_matches(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &organization_as("bolt", "Bolt"));
        assert_eq!(server.delete("Organization?identifier=urn:test|Acme").status, 204);
        assert_eq!((server.get("Organization/acme").status, server.get("Organization/bolt").status), (410, 200));
    }

    fn a_conditional_delete_without_a_match_changes_nothing(server) {
        stored(server, &organization_as("acme", "Acme"));
        let answer = server.delete("Organization?identifier=urn:test|Nobody");
        assert!(matches!(answer.status, 204 | 404), "{answer}");
        assert_eq!(versions_of_all(server), 1);
    }

    fn a_conditional_delete_of_several_does_as_declared(server) {
        twins(server);
        stored(server, &organization_as("bolt", "Bolt"));
        let metadata = server.get("metadata");
        let resources = metadata.body["rest"][0]["resource"].as_array().expect("resources");
        let declared = resources.iter().find(|resource| resource["type"] == "Organization").map(|resource| &resource["conditionalDelete"]);
        let answer = server.delete("Organization?identifier=urn:test|Acme");
        if declared == Some(&json!("multiple")) {
            assert_eq!(answer.status, 204, "{answer}");
            assert_eq!(server.ids("Organization"), ["bolt"]);
        } else {
            assert_refused(&answer, 412);
            assert_eq!(server.ids("Organization").len(), 3);
        }
    }

    fn a_conditional_delete_that_would_select_everything_is_refused(server) {
        twins(server);
        for query in ["", "?", "?_count=1", "?colour=red", "?identifier=", "?_sort=name"] {
            for prefer in ["handling=strict", "handling=lenient"] {
                let answer = send(server, "DELETE", &format!("Organization{query}"), &[("prefer", prefer)], "");
                assert!(matches!(answer.status, 400 | 405 | 412), "'{query}' {prefer}: {answer}");
                assert_refused(&answer, answer.status);
            }
        }
        assert_eq!(versions_of_all(server), 2);
    }

    fn a_conditional_patch_patches_the_match(server) {
        let acme = created(server, &organization("Acme"));
        let operations = json!([{"op": "replace", "path": "/active", "value": false}]);
        let url = "Organization?identifier=urn:test|Acme";
        let answer = server.patch(url, JSON_PATCH, &operations);
        assert_eq!((answer.status, id(&answer), version(&answer), &answer.body["active"]), (200, acme, "2", &json!(false)), "{answer}");
        let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
            {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Organization.active"}, {"name": "value", "valueBoolean": true}]}]});
        let answer = server.patch(url, "application/fhir+json", &parameters);
        assert_eq!((answer.status, version(&answer), &answer.body["active"]), (200, "3", &json!(true)), "{answer}");
        let stale = send(server, "PATCH", url, &[("content-type", JSON_PATCH), ("if-match", "W/\"1\"")], &operations.to_string());
        assert_refused(&stale, 412);
    }

    fn a_conditional_patch_without_a_match_is_404_and_with_several_412(server) {
        let operations = json!([{"op": "replace", "path": "/active", "value": false}]);
        assert_refused(&server.patch("Organization?identifier=urn:test|Acme", JSON_PATCH, &operations), 404);
        twins(server);
        assert_refused(&server.patch("Organization?identifier=urn:test|Acme", JSON_PATCH, &operations), 412);
        assert_eq!(versions_of_all(server), 2);
    }

    fn a_put_or_patch_on_a_type_without_a_condition_is_refused(server) {
        twins(server);
        for answer in [server.put("Organization", &organization("Acme")), server.patch("Organization", JSON_PATCH, &json!([])), server.put("Organization?", &organization("Acme"))] {
            assert!(matches!(answer.status, 400 | 405 | 412), "{answer}");
            assert_refused(&answer, answer.status);
        }
        assert_eq!(versions_of_all(server), 2);
    }
}
