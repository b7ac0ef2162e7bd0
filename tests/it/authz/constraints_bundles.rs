//! Batches and transactions of somebody whose scope has a constraint.

use serde_json::{Value, json};

use super::constraints::{ACTIVE, SECRET, places};
use super::{
    assert_forbidden, assert_silent, bundle, call, entry, entry_if_none, entry_patch, everything, location,
    organization, statuses, unnamed, with,
};
use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server, on_both};

fn send(who: &Bearer<'_>, kind: &str, entries: &[Value]) -> Answer {
    who.send_json("POST", "", Some(("prefer", "return=representation")), &bundle(kind, entries))
}

/// Each write that the constraint does not allow.
fn forbidden() -> Vec<Value> {
    vec![
        entry("POST", "Location", unnamed(location("", "suspended", "New"))),
        entry("PUT", "Location/new", location("new", "suspended", "New")),
        entry("PUT", "Location/able", location("able", "suspended", "Able")),
        entry("PUT", "Location/hidden", location("hidden", "active", "Taken")),
        entry("PUT", "Location?name=able", location("able", "suspended", "Able")),
        entry("PUT", "Location?_id=hidden", location("hidden", "active", "Taken")),
        entry("PUT", "Location?name=none", unnamed(location("", "suspended", "New"))),
        entry_patch("Location/able", "status", "suspended"),
        entry_patch("Location/hidden", "status", "active"),
        entry_if_none("name=none", unnamed(location("", "suspended", "New"))),
        call("DELETE", "Location/hidden"),
    ]
}

/// Everything there is, with its versions.
fn all(server: &Server) -> Vec<String> {
    let mut all = super::versions(&everything(server).get("Location/_history?_count=100"));
    all.sort();
    all
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn an_entry_of_a_batch_that_is_not_allowed_is_refused_alone(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        let before = all(server).len();
        let mut entries = vec![entry("PUT", "Location/baker", location("baker", "active", "Baker 2"))];
        entries.extend(forbidden());
        entries.push(entry("POST", "Location", unnamed(location("", "active", "Last"))));
        let answer = send(&who, "batch", &entries);
        let mut expected = vec!["200"];
        expected.extend(forbidden().iter().map(|_| "403"));
        expected.push("201");
        assert_eq!(statuses(&answer), expected, "{answer}");
        assert_silent(&answer, &[SECRET]);
        let outcomes = answer.body["entry"].as_array().expect("entries");
        for outcome in &outcomes[1..outcomes.len() - 1] {
            assert_eq!(outcome["response"]["outcome"]["issue"][0]["code"], "forbidden", "{outcome}");
        }
        assert_eq!(all(server).len(), before + 2, "the first and the last were stored, and nothing else");
    }

    fn a_transaction_with_an_entry_that_is_not_allowed_stores_nothing(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        let before = all(server);
        for wrong in forbidden() {
            let right = entry("POST", "Location", unnamed(location("", "active", "Right")));
            for entries in [[right.clone(), wrong.clone()], [wrong.clone(), right.clone()]] {
                let answer = send(&who, "transaction", &entries);
                assert_eq!(answer.status, 403, "{wrong}: {answer}");
                assert_forbidden(&answer);
                assert_silent(&answer, &[SECRET]);
                assert_eq!(all(server), before, "{wrong}: {answer}");
            }
        }
        let right = [
            entry("PUT", "Location/able", location("able", "active", "Able 2")),
            entry("POST", "Location", unnamed(location("", "active", "Right"))),
            call("DELETE", "Location/baker"),
        ];
        assert_eq!(statuses(&send(&who, "transaction", &right)), ["200", "201", "204"]);
    }

    fn a_reference_to_another_entry_counts_as_what_it_becomes(server) {
        let operator = everything(server);
        operator.store(&organization("acme", "Acme"));
        let who = Bearer::of(server, "system/Location.c?organization=Organization/acme system/Organization.cu");
        let urn = "urn:uuid:7f3c6e0a-2f3b-4f3e-9b1a-0d3f5b1c2a4d";
        let at = json!({"managingOrganization": {"reference": urn}});
        let place = entry("POST", "Location", unnamed(with(location("", "active", "Here"), &at)));
        let named = |mut entry: Value| {
            entry["fullUrl"] = json!(urn);
            entry
        };
        let other = named(entry("POST", "Organization", json!({"resourceType": "Organization", "name": "Other"})));
        assert_forbidden(&send(&who, "transaction", &[place.clone(), other]));
        assert_eq!(operator.matches("Organization"), ["Organization/acme"]);
        let same = named(entry("PUT", "Organization/acme", organization("acme", "Acme 2")));
        let answer = send(&who, "transaction", &[place, same]);
        assert_eq!(statuses(&answer), ["201", "200"], "{answer}");
    }

    fn a_reference_by_a_query_counts_as_what_it_finds(server) {
        let operator = everything(server);
        operator.store(&organization("acme", "Acme"));
        operator.store(&organization("bolt", "Bolt"));
        let who = Bearer::of(server, "system/Location.c?organization=Organization/acme system/Organization.rs");
        let place = |reference: &str| {
            let at = json!({"managingOrganization": {"reference": reference}});
            entry("POST", "Location", unnamed(with(location("", "active", "Here"), &at)))
        };
        assert_forbidden(&send(&who, "transaction", &[place("Organization?name=Bolt")]));
        assert!(operator.matches("Location").is_empty());
        let answer = send(&who, "transaction", &[place("Organization?name=Acme")]);
        assert_eq!(answer.status, 200, "it meets the constraint: {answer}");
        assert_eq!(operator.matches("Location?organization=Organization/acme").len(), 1);
    }

    fn reads_in_bundles_see_what_reads_see(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        let reads = [
            call("GET", "Location/able"),
            call("GET", "Location/hidden"),
            call("GET", "Location/hidden/_history/1"),
            call("GET", "Location?name=secret"),
            call("GET", "Location/none"),
        ];
        let answer = send(&who, "batch", &reads);
        assert_eq!(statuses(&answer), ["200", "404", "404", "200", "404"], "{answer}");
        assert_silent(&answer, &[SECRET]);
        assert_eq!(answer.body["entry"][3]["resource"]["total"], 0);
        let answer = send(&who, "transaction", &[call("GET", "Location/able"), call("GET", "Location/hidden")]);
        assert_eq!(answer.status, 404, "{answer}");
        assert_silent(&answer, &[SECRET]);
        // What a transaction hides from then on, it shows to nobody who asks in the same breath.
        let all = Bearer::of(server, "system/Location.u system/Location.rs?status=active");
        let hide = [
            entry("PUT", "Location/able", location("able", "suspended", "Secret")),
            call("GET", "Location?name=secret"),
        ];
        let answer = all.post("", &bundle("transaction", &hide));
        assert_eq!(answer.body["entry"][1]["resource"]["total"], 0, "{answer}");
    }

    fn what_was_not_sent_is_not_shown_to_those_who_may_not_read(server) {
        places(server);
        let who = Bearer::of(server, "system/Location.cuds");
        for kind in ["batch", "transaction"] {
            let answer = send(
                &who,
                kind,
                &[entry_patch("Location/hidden", "status", if kind == "batch" { "active" } else { "inactive" })],
            );
            assert_eq!(statuses(&answer), ["200"], "{answer}");
            assert_silent(&answer, &[SECRET]);
            let answer = send(&who, kind, &[entry_if_none("_id=hidden", unnamed(location("", "active", "New")))]);
            assert_eq!(statuses(&answer), ["200"], "{answer}");
            assert_silent(&answer, &[SECRET]);
        }
        let reader = Bearer::of(server, "system/Location.cruds");
        let answer =
            send(&reader, "transaction", &[entry_if_none("_id=hidden", unnamed(location("", "active", "New")))]);
        assert_eq!(answer.body["entry"][0]["resource"]["name"], "Secret 2", "there is something to hide: {answer}");
    }
}
