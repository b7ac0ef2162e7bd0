//! Referential integrity: the setting `store.references`.

use serde_json::{Value, json};

use super::{
    assert_refused, bundle, call, entry, entry_as, organization, organization_as, statuses, stored, version,
    versions_of_all,
};
use crate::harness::on_both;

fn location(reference: &str) -> Value {
    json!({"resourceType": "Location", "id": "here", "name": "Here", "managingOrganization": {"reference": reference}})
}

on_both! {
    with [("PLUMBLINE_STORE__REFERENCES", "enforce")];

    fn a_reference_to_nothing_is_refused_and_named(server) {
        for reference in ["Organization/nobody".to_owned(), format!("{}/Organization/nobody", server.base)] {
            let answer = server.put("Location/here", &location(&reference));
            assert!(matches!(answer.status, 409 | 422), "{answer}");
            assert_refused(&answer, answer.status);
            assert!(answer.text.contains("Organization/nobody"), "{answer}");
        }
        assert_eq!(versions_of_all(server), 0);
    }

    fn a_reference_to_what_is_here_or_elsewhere_is_stored(server) {
        stored(server, &organization_as("acme", "Acme"));
        for reference in ["Organization/acme", "http://elsewhere.example/fhir/Organization/nobody", "urn:uuid:7f3c6e0a-2f3b-4f3e-9b1a-0d3f5b1c2a4d"] {
            let answer = server.put("Location/here", &location(reference));
            assert!(matches!(answer.status, 200 | 201), "{reference}: {answer}");
        }
    }

    fn a_patch_to_a_reference_to_nothing_is_refused(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &location("Organization/acme"));
        let answer = server.patch("Location/here", "application/json-patch+json", &json!([{"op": "replace", "path": "/managingOrganization/reference", "value": "Organization/nobody"}]));
        assert!(matches!(answer.status, 409 | 422), "{answer}");
        assert_eq!(version(&server.get("Location/here")), "1");
    }

    fn what_is_referred_to_cannot_be_deleted(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &location("Organization/acme"));
        let answer = server.delete("Organization/acme");
        assert_refused(&answer, 409);
        assert!(answer.text.contains("Location/here"), "{answer}");
        assert_refused(&server.delete("Organization?name=acme"), 409);
        assert_eq!(server.get("Organization/acme").status, 200);
        assert_eq!(server.delete("Location/here").status, 204);
        assert_eq!(server.delete("Organization/acme").status, 204);
        assert_refused(&server.put("Location/here", &location("Organization/acme")), 422);
    }

    fn the_entries_of_a_transaction_may_refer_to_each_other(server) {
        let urn = "urn:uuid:7f3c6e0a-2f3b-4f3e-9b1a-0d3f5b1c2a4d";
        let answer = server.post("", &bundle("transaction", &[
            entry_as("urn:uuid:0b0e6c58-1a5f-4d0e-8e0f-6d2a3f4b5c6d", "POST", "Location", json!({"resourceType": "Location", "name": "Here", "managingOrganization": {"reference": urn}})),
            entry_as(urn, "POST", "Organization", organization("Acme")),
        ]));
        assert_eq!((answer.status, statuses(&answer)), (200, vec!["201", "201"]), "{answer}");
    }

    fn a_transaction_may_delete_referrer_and_referred_in_any_order(server) {
        for names in [["Organization/acme", "Location/here"], ["Location/here", "Organization/acme"]] {
            stored(server, &organization_as("acme", "Acme"));
            stored(server, &location("Organization/acme"));
            let answer = server.post("", &bundle("transaction", &names.map(|name| call("DELETE", name))));
            assert_eq!((answer.status, statuses(&answer)), (200, vec!["204", "204"]), "{answer}");
            assert_eq!(server.get("Organization/acme").status, 410);
        }
    }

    fn a_transaction_may_delete_what_it_no_longer_refers_to(server) {
        let unlinked = json!({"resourceType": "Location", "id": "here", "name": "Here"});
        let unlink = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
            {"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": "Location.managingOrganization"}]}]});
        let mut conditional = entry("POST", "Organization", organization("New"));
        conditional["request"]["ifNoneExist"] = json!("identifier=urn:test|New");
        for change in [entry("PUT", "Location/here", unlinked), entry("PATCH", "Location/here", unlink)] {
            for other in [call("GET", "metadata"), conditional.clone()] {
                stored(server, &organization_as("acme", "Acme"));
                stored(server, &location("Organization/acme"));
                let answer = server.post("", &bundle("transaction", &[call("DELETE", "Organization/acme"), change.clone(), other]));
                assert_eq!((answer.status, &statuses(&answer)[..2]), (200, &["204", "200"][..]), "{answer}");
                assert_eq!(server.get("Organization/acme").status, 410);
            }
        }
    }

    fn a_transaction_that_leaves_a_reference_to_what_it_deletes_is_refused(server) {
        stored(server, &organization_as("acme", "Acme"));
        let answer = server.post("", &bundle("transaction", &[call("DELETE", "Organization/acme"), entry("PUT", "Location/here", location("Organization/acme"))]));
        assert!(matches!(answer.status, 409 | 422), "{answer}");
        assert_refused(&answer, answer.status);
        assert_eq!((server.get("Organization/acme").status, server.get("Location/here").status), (200, 404));
    }

    fn a_conditional_reference_works_with_integrity_too(server) {
        let answer = server.post("", &bundle("transaction", &[
            entry("POST", "Location", json!({"resourceType": "Location", "name": "Here", "managingOrganization": {"reference": "Organization?identifier=urn:test|Acme"}})),
            entry("POST", "Organization", organization("Acme")),
        ]));
        assert_eq!((answer.status, statuses(&answer)), (200, vec!["201", "201"]), "{answer}");
    }

    fn a_transaction_with_a_reference_to_nothing_stores_nothing(server) {
        let answer = server.post("", &bundle("transaction", &[
            entry_as("urn:uuid:7f3c6e0a-2f3b-4f3e-9b1a-0d3f5b1c2a4d", "POST", "Organization", organization("Acme")),
            json!({"resource": location("Organization/nobody"), "request": {"method": "PUT", "url": "Location/here"}}),
        ]));
        assert!(matches!(answer.status, 409 | 422), "{answer}");
        assert_refused(&answer, answer.status);
        assert_eq!(versions_of_all(server), 0);
    }
}
