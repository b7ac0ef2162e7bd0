use serde_json::{Value, json};

use super::{assert_refused, organization, organization_as, send, send_json, stored};
use crate::harness::{Answer, Server, on_both};

/// A create, an update and a patch, each with this preference.
fn writes(server: &Server, prefer: &str) -> Vec<Answer> {
    stored(server, &organization_as("acme", &format!("Before {prefer}")));
    let header = ("prefer", prefer);
    vec![
        send_json(server, "POST", "Organization", header, &organization("Acme")),
        send_json(server, "PUT", "Organization/acme", header, &organization_as("acme", &format!("After {prefer}"))),
        send(
            server,
            "PATCH",
            "Organization/acme",
            &[("content-type", "application/json-patch+json"), header],
            r#"[{"op":"replace","path":"/name","value":"Patched"}]"#,
        ),
    ]
}

on_both! {
    fn return_minimal_gives_headers_and_no_body(server) {
        for answer in writes(server, "return=minimal") {
            assert!(matches!(answer.status, 200 | 201), "{answer}");
            assert_eq!(answer.text, "");
            assert!(answer.header("etag").is_some() && answer.header("last-modified").is_some() && answer.header("location").is_some(), "{answer:?}");
        }
    }

    fn return_representation_gives_the_resource(server) {
        for answer in writes(server, "return=representation") {
            assert_eq!(answer.body["resourceType"], "Organization", "{answer}");
        }
    }

    fn return_operationoutcome_gives_one(server) {
        for answer in writes(server, "return=OperationOutcome") {
            assert!(matches!(answer.status, 200 | 201), "{answer}");
            assert_eq!(answer.issue().0, "information", "{answer}");
        }
    }

    fn without_a_preference_success_is_no_operationoutcome(server) {
        for answer in writes(server, "respond-async-not, wait=10") {
            assert!(matches!(answer.status, 200 | 201), "{answer}");
            assert_ne!(answer.body["resourceType"], "OperationOutcome", "{answer}");
        }
    }

    fn a_preference_may_stand_among_others(server) {
        for answer in writes(server, "handling=strict, return=minimal") {
            assert_eq!(answer.text, "", "{answer}");
        }
    }

    fn a_preference_does_not_remove_the_reason_of_a_failure(server) {
        for prefer in ["return=minimal", "return=representation", "return=OperationOutcome"] {
            assert_refused(&send_json(server, "PUT", "Organization/acme", ("prefer", prefer), &organization("Acme")), 400);
        }
    }

    fn strict_refuses_an_unknown_parameter_and_lenient_leaves_it_out(server) {
        stored(server, &organization_as("acme", "Acme"));
        assert_refused(&send(server, "GET", "Organization?colour=red&name=acme", &[("prefer", "handling=strict")], ""), 400);
        let lenient = send(server, "GET", "Organization?colour=red&name=acme", &[("prefer", "handling=lenient")], "");
        assert_eq!((lenient.status, lenient.names("match")), (200, vec!["Organization/acme".to_owned()]), "{lenient}");
        let own = lenient.link("self").expect("self");
        assert!(own.contains("name=acme") && !own.contains("colour"), "{own}");
    }

    fn a_preference_in_a_batch_decides_about_its_resources(server) {
        let batch = super::bundle("batch", &[super::entry("POST", "Organization", organization("Acme"))]);
        for (prefer, has_resource) in [("return=representation", true), ("return=minimal", false)] {
            let answer = send_json(server, "POST", "", ("prefer", prefer), &batch);
            assert_eq!(answer.status, 200, "{answer}");
            let resource = answer.body["entry"][0]["resource"]["resourceType"].as_str();
            assert_eq!(resource, has_resource.then_some("Organization"), "{prefer}: {answer}");
            assert_eq!(answer.body["entry"][0].get("resource").map_or(Value::Null, |resource| resource["name"].clone()), if has_resource { json!("Acme") } else { Value::Null });
        }
    }
}
