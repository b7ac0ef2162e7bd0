//! Conditions of conditional interactions are searches: what may not be searched, they do not tell about either.

use serde_json::{Value, json};

use super::leaks::directory;
use super::{
    assert_forbidden, bundle, call, entry, entry_if_none, entry_patch, everything, location, organization,
    practitioner, replace, role, statuses, unnamed, with,
};
use crate::harness::tokens::Bearer;
use crate::harness::{Answer, on_both};

/// All conditional interactions with roles under a condition: alone, in a batch, and in a transaction.
fn conditional(who: &Bearer<'_>, condition: &str) -> Vec<Answer> {
    let (url, new) = (format!("PractitionerRole?{condition}"), role("new", "Practitioner/ann", "Organization/acme"));
    let entries = [
        entry_if_none(condition, unnamed(new.clone())),
        entry("PUT", &url, new.clone()),
        entry_patch(&url, "active", "x"),
        call("DELETE", &url),
    ];
    let mut answers = vec![
        who.send_json("POST", "PractitionerRole", Some(("if-none-exist", condition)), &unnamed(new.clone())),
        who.put(&url, &new),
        who.patch(&url, &replace("/id", "x")),
        who.delete(&url),
    ];
    for entry in entries {
        answers.push(who.post("", &bundle("transaction", std::slice::from_ref(&entry))));
        answers.push(who.post("", &bundle("batch", &[entry])));
    }
    answers
}

/// The words of a refusal, alone or of the only entry of a batch.
fn refusal(answer: &Answer) -> String {
    if answer.body["type"] == "batch-response" {
        assert_eq!(statuses(answer), ["403"], "{answer}");
        return answer.body["entry"].to_string();
    }
    assert_forbidden(answer);
    answer.text.clone()
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn conditions_lead_through_no_type_out_of_scope(server) {
        directory(server);
        let operator = everything(server);
        let who = Bearer::of(server, "system/PractitionerRole.cruds");
        for (hit, miss) in [
            ("practitioner.name=Meier", "practitioner.name=Nobody"),
            ("organization:Organization.name=Acme", "organization:Organization.name=Nobody"),
            ("organization.partof.name=Holding", "organization.partof.name=Nobody"),
            ("organization.partof:below=Organization/holding", "organization.partof:below=Organization/none"),
            ("active=true&location.name=Floor", "active=true&location.name=Nobody"),
            ("_has:AuditEvent:entity:outcome=0", "_has:AuditEvent:entity:outcome=8"),
        ] {
            let told = |condition| conditional(&who, condition).iter().map(refusal).collect::<Vec<String>>();
            assert_eq!(told(hit), told(miss), "{hit} and {miss} are told apart");
        }
        assert_eq!(operator.matches("PractitionerRole"), ["PractitionerRole/work"], "nothing was written");
        assert_eq!(operator.get("PractitionerRole/work").body["meta"]["versionId"], "1");
        let more = Bearer::of(server, "system/PractitionerRole.cruds system/Practitioner.s");
        assert_eq!(more.delete("PractitionerRole?practitioner.name=Meier").status, 204);
        assert_eq!(operator.get("PractitionerRole/work").status, 410);
    }

    fn references_by_a_query_lead_to_no_type_out_of_scope(server) {
        directory(server);
        let who = Bearer::of(server, "system/PractitionerRole.cruds system/Organization.cruds");
        let send = |reference: &str| {
            let new = unnamed(role("new", reference, "Organization/acme"));
            who.post("", &bundle("transaction", &[entry("POST", "PractitionerRole", new)]))
        };
        let (hit, miss, many) =
            (send("Practitioner?name=Meier"), send("Practitioner?name=Nobody"), send("Practitioner?active=true"));
        for answer in [&hit, &miss, &many] {
            assert_forbidden(answer);
            assert_eq!(answer.text, hit.text);
        }
        for query in [
            "Organization?endpoint.name=x",
            "Organization?_has:Location:organization:name=Floor",
            "Organization?_has:Location:organization:name=Nobody",
        ] {
            let new = unnamed(role("new", "Practitioner/ann", query));
            assert_forbidden(&who.post("", &bundle("transaction", &[entry("POST", "PractitionerRole", new)])));
        }
        assert_eq!(everything(server).matches("PractitionerRole"), ["PractitionerRole/work"]);
        let more = Bearer::of(server, "system/PractitionerRole.c system/Practitioner.s");
        let new = unnamed(role("new", "Practitioner?name=Meier", "Organization/acme"));
        let answer = more.post("", &bundle("transaction", &[entry("POST", "PractitionerRole", new)]));
        assert_eq!(statuses(&answer), ["201"], "{answer}");
        assert_eq!(everything(server).matches("PractitionerRole?practitioner=Practitioner/ann").len(), 2);
    }

    fn a_condition_does_not_find_through_resources_that_may_not_be_seen(server) {
        let operator = everything(server);
        operator.store(&with(practitioner("seen", "Meier"), &json!({"active": true})));
        operator.store(&with(practitioner("hidden", "Secret"), &json!({"active": false})));
        operator.store(&role("open", "Practitioner/seen", "Organization/acme"));
        operator.store(&role("work", "Practitioner/hidden", "Organization/acme"));
        let who = Bearer::of(server, "system/PractitionerRole.cruds system/Practitioner.rs?active=true");
        assert_eq!(who.matches("PractitionerRole?practitioner.name=Meier"), ["PractitionerRole/open"]);
        assert!(who.matches("PractitionerRole?practitioner.name=Secret").is_empty());
        // Nobody is called Nobody: what is hidden is answered the same.
        let told = |condition: &str| {
            let url = format!("PractitionerRole?{condition}");
            let (own, new) = (
                role("work", "Practitioner/seen", "Organization/acme"),
                unnamed(role("x", "Practitioner/seen", "Organization/acme")),
            );
            let in_one = |kind: &str, entry: Value| {
                let answer = who.post("", &bundle(kind, &[entry]));
                answer.body["entry"][0]["response"]["status"]
                    .as_str()
                    .map_or(answer.status, |status| status[..3].parse().expect("a status"))
            };
            let interactions: [&dyn Fn() -> u16; 9] = [
                &|| who.patch(&url, &replace("/active", "x")).status,
                &|| who.put(&url, &own).status,
                &|| who.delete(&url).status,
                &|| in_one("transaction", entry("PUT", &url, own.clone())),
                &|| in_one("transaction", call("DELETE", &url)),
                &|| in_one("batch", call("DELETE", &url)),
                &|| in_one("transaction", entry_if_none(condition, new.clone())),
                &|| in_one("batch", entry_if_none(condition, new.clone())),
                &|| who.send_json("POST", "PractitionerRole", Some(("if-none-exist", condition)), &new).status,
            ];
            let one = |interact: &&dyn Fn() -> u16| {
                operator.store(&role("work", "Practitioner/hidden", "Organization/acme"));
                let status = interact();
                (
                    status,
                    operator.get("PractitionerRole/work").status,
                    operator.get("PractitionerRole/work").body["practitioner"]["reference"] == "Practitioner/hidden",
                )
            };
            interactions.iter().map(one).collect::<Vec<_>>()
        };
        let (miss, hit) = (told("practitioner.name=Nobody"), told("practitioner.name=Secret"));
        assert!(
            miss.iter().all(|(_, status, is_same)| *status == 200 && *is_same),
            "nothing was done to what did not match: {miss:?}"
        );
        assert_eq!(
            hit, miss,
            "patch, update, delete; update, delete, delete and create in Bundles; create: status, and what is left"
        );
    }

    fn a_reference_by_a_query_does_not_find_what_may_not_be_seen(server) {
        let operator = everything(server);
        operator.store(&organization("seen", "Acme"));
        operator.store(&with(organization("hidden", "Secret"), &json!({"active": false})));
        let who = Bearer::of(server, "system/Location.cruds system/Organization.rs?active=true");
        let send = |query: &str| {
            let new = with(location("new", "active", "Here"), &json!({"managingOrganization": {"reference": query}}));
            who.post("", &bundle("transaction", &[entry("POST", "Location", unnamed(new))]))
        };
        assert_eq!(statuses(&send("Organization?name=Acme")), ["201"]);
        let (hit, miss) = (send("Organization?name=Secret"), send("Organization?name=Nobody"));
        assert_eq!(miss.status, 412, "{miss}");
        assert_eq!((hit.status, hit.text.replace("Secret", "Nobody")), (412, miss.text), "what is hidden is not found");
        assert_eq!(who.matches("Location").len(), 1, "nothing else was stored");
    }

    fn a_hidden_resource_is_not_named_by_a_conditional_create(server) {
        let operator = everything(server);
        operator.store(&with(organization("hidden-id", "Secret"), &json!({"active": false})));
        let who = Bearer::of(server, "system/Organization.cruds?active=true");
        let new = json!({"resourceType": "Organization", "active": true, "name": "New"});
        let answer = who.send_json("POST", "Organization", Some(("if-none-exist", "name=Secret")), &new);
        super::assert_silent(&answer, &["hidden-id", "Secret"]);
        let entry = entry_if_none("name=Secret", new);
        for kind in ["batch", "transaction"] {
            super::assert_silent(&who.post("", &bundle(kind, std::slice::from_ref(&entry))), &["hidden-id"]);
        }
    }
}

mod enforced {
    use super::*;

    on_both! {
        with { crate::harness::tokens::trusting_with(&[("PLUMBLINE_STORE__REFERENCES", "enforce")]) };

        fn to_validate_does_not_tell_what_is_here(server) {
            let operator = everything(server);
            operator.store(&organization("known", "Secret"));
            let nobody = Bearer::nobody(server);
            let told = |id: &str| {
                let place = with(
                    location("x", "active", "Here"),
                    &json!({"managingOrganization": {"reference": format!("Organization/{id}")}}),
                );
                let answer = nobody.post("Location/$validate", &place);
                assert_eq!(answer.status, 200, "{answer}");
                answer.text.replace(id, "ID")
            };
            assert_eq!(told("known"), told("empty"), "whoever may not read what is here is told whether it is");
        }

        fn to_validate_does_not_tell_of_what_kind_something_is(server) {
            let operator = everything(server);
            let kind = |code: &str| json!({"type": [{"coding": [{"system": "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS", "code": code}]}]});
            operator.store(&with(organization("plain", "Secret"), &kind("prvgrp")));
            operator.store(&with(organization("wired", "Secret"), &kind("ntwk")));
            let nobody = Bearer::nobody(server);
            let told = |id: &str| {
                let role = json!({"resourceType": "PractitionerRole", "meta": {"profile": ["http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/plannet-PractitionerRole"]},
                    "extension": [{"url": "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/network-reference", "valueReference": {"reference": format!("Organization/{id}")}}]});
                let answer = nobody.post("PractitionerRole/$validate", &role);
                assert_eq!(answer.status, 200, "{answer}");
                answer.text.replace(id, "ID")
            };
            assert_eq!(
                told("plain"),
                told("wired"),
                "whoever may not read an Organization is told whether it is a network"
            );
        }

        fn a_refused_delete_does_not_name_what_is_out_of_scope(server) {
            directory(server);
            let who = Bearer::of(server, "system/Practitioner.cruds");
            let entries = [call("DELETE", "Practitioner/ann")];
            for answer in [
                who.delete("Practitioner/ann"),
                who.delete("Practitioner?name=Meier"),
                who.post("", &bundle("transaction", &entries)),
                who.post("Practitioner/ann/$validate?mode=delete", &Value::Null),
            ] {
                super::super::assert_silent(
                    &answer,
                    &["PractitionerRole", "work", "Provenance", "AuditEvent"],
                );
            }
            assert_eq!(everything(server).get("Practitioner/ann").status, 200);
        }
    }
}
