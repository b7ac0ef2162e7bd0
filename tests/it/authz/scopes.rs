//! What each letter of a scope allows (SMART App Launch 2.2, scopes-and-launch-context).

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{
    assert_forbidden, bundle, call, entry, entry_if_none, entry_patch, everything, organization, replace, statuses,
    unnamed,
};
use crate::harness::tokens::Bearer;
use crate::harness::{Answer, on_both};

type Interaction = (char, &'static str, fn(&Bearer<'_>, &str) -> Answer);

fn acme(id: &str) -> Value {
    organization(id, "Changed")
}

/// The letter that each interaction needs. It is done to the Organization with an id, which is there; `ID-new` is not.
const INTERACTIONS: &[Interaction] = &[
    ('c', "create", |who, id| who.post("Organization", &unnamed(acme(id)))),
    ('c', "conditional create", |who, id| {
        let condition = format!("_id={id}-new");
        who.send_json("POST", "Organization", Some(("if-none-exist", &condition)), &unnamed(acme(id)))
    }),
    ('r', "read", |who, id| who.get(&format!("Organization/{id}"))),
    ('r', "vread", |who, id| who.get(&format!("Organization/{id}/_history/1"))),
    ('r', "history of a resource", |who, id| who.get(&format!("Organization/{id}/_history"))),
    ('u', "update", |who, id| who.put(&format!("Organization/{id}"), &acme(id))),
    ('u', "update that creates", |who, id| who.put(&format!("Organization/{id}-new"), &acme(&format!("{id}-new")))),
    ('u', "conditional update", |who, id| who.put(&format!("Organization?_id={id}"), &acme(id))),
    ('u', "conditional update that creates", |who, id| {
        who.put(&format!("Organization?_id={id}-new"), &acme(&format!("{id}-new")))
    }),
    ('u', "patch", |who, id| who.patch(&format!("Organization/{id}"), &replace("/name", "Changed"))),
    ('u', "conditional patch", |who, id| who.patch(&format!("Organization?_id={id}"), &replace("/name", "Changed"))),
    ('d', "delete", |who, id| who.delete(&format!("Organization/{id}"))),
    ('d', "conditional delete", |who, id| who.delete(&format!("Organization?_id={id}"))),
    ('s', "search", |who, id| who.get(&format!("Organization?_id={id}"))),
    ('s', "search by POST", |who, id| {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        who.send("POST", "Organization/_search", &form, &format!("_id={id}"))
    }),
    ('s', "history of a type", |who, _| who.get("Organization/_history?_count=1")),
    ('s', "search of all", |who, id| who.get(&format!("?_type=Organization&_id={id}"))),
    ('s', "search of all by POST", |who, id| {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        who.send("POST", "_search", &form, &format!("_type=Organization&_id={id}"))
    }),
    ('s', "history of all", |who, _| who.get("_history?_count=1")),
];

/// The same as entries of a Bundle.
fn entries(id: &str) -> Vec<(char, Value)> {
    let new = format!("{id}-new");
    vec![
        ('c', entry("POST", "Organization", unnamed(acme(id)))),
        ('c', entry_if_none(&format!("_id={new}"), unnamed(acme(id)))),
        ('r', call("GET", &format!("Organization/{id}"))),
        ('r', call("GET", &format!("Organization/{id}/_history/1"))),
        ('r', call("GET", &format!("Organization/{id}/_history"))),
        ('u', entry("PUT", &format!("Organization/{id}"), acme(id))),
        ('u', entry("PUT", &format!("Organization/{new}"), acme(&new))),
        ('u', entry("PUT", &format!("Organization?_id={id}"), acme(id))),
        ('u', entry("PUT", &format!("Organization?_id={new}"), acme(&new))),
        ('u', entry_patch(&format!("Organization/{id}"), "name", "Changed")),
        ('u', entry_patch(&format!("Organization?_id={id}"), "name", "Changed")),
        ('d', call("DELETE", &format!("Organization/{id}"))),
        ('d', call("DELETE", &format!("Organization?_id={id}"))),
        ('s', call("GET", &format!("Organization?_id={id}"))),
        ('s', call("GET", "Organization/_history?_count=1")),
        ('s', call("GET", &format!("?_type=Organization&_id={id}"))),
        ('s', call("GET", "_history?_count=1")),
    ]
}

/// Puts an Organization there for one interaction; its id.
fn fresh(operator: &Bearer<'_>) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = format!("o{}", COUNT.fetch_add(1, Ordering::Relaxed));
    operator.store(&organization(&id, "Acme"));
    id
}

/// That nothing was done to it.
fn assert_untouched(operator: &Bearer<'_>, id: &str, what: &str) {
    let read = operator.get(&format!("Organization/{id}"));
    assert_eq!((read.status, &read.body["meta"]["versionId"]), (200, &json!("1")), "{what}: {read}");
    assert_eq!(operator.get(&format!("Organization/{id}-new")).status, 404, "{what}");
}

fn count(operator: &Bearer<'_>) -> Value {
    operator.get("Organization?_summary=count").body["total"].clone()
}

/// Each interaction is allowed to the scope when its letter is one of these, and refused else.
fn check(operator: &Bearer<'_>, scope: &str, letters: &str) {
    let who = Bearer::of(operator.server, scope);
    for (letter, name, interact) in INTERACTIONS {
        let id = fresh(operator);
        let before = count(operator);
        let answer = interact(&who, &id);
        if letters.contains(*letter) {
            assert!((200..300).contains(&answer.status), "{name} with {scope}: {answer}");
        } else {
            assert_eq!(answer.status, 403, "{name} with {scope}: {answer}");
            assert_forbidden(&answer);
            assert_untouched(operator, &id, name);
            assert_eq!(count(operator), before, "{name} with {scope}");
        }
    }
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn each_letter_allows_its_interactions_and_no_other(server) {
        let operator = everything(server);
        for letter in ["c", "r", "u", "d", "s"] {
            check(&operator, &format!("system/Organization.{letter}"), letter);
        }
    }

    fn what_a_letter_allows_the_others_together_do_not(server) {
        let operator = everything(server);
        for (scope, letters) in
            [("ruds", "ruds"), ("cuds", "cuds"), ("crds", "crds"), ("crus", "crus"), ("crud", "crud")]
        {
            check(&operator, &format!("system/Organization.{scope}"), letters);
        }
    }

    fn the_words_of_version_1_mean_their_letters(server) {
        let operator = everything(server);
        check(&operator, "system/Organization.read", "rs");
        check(&operator, "system/Organization.write", "cud");
        check(&operator, "system/Organization.*", "cruds");
        check(&operator, "system/*.read", "rs");
        check(&operator, "system/*.write", "cud");
    }

    fn the_entries_of_a_batch_need_the_same_letters(server) {
        let operator = everything(server);
        for letters in ["c", "r", "u", "d", "s", "cruds"] {
            let who = Bearer::of(server, &format!("system/Organization.{letters}"));
            let ids: Vec<String> = entries("").iter().map(|_| fresh(&operator)).collect();
            let asked: Vec<(char, Value)> = ids.iter().enumerate().map(|(n, id)| entries(id).swap_remove(n)).collect();
            let calls: Vec<Value> = asked.iter().map(|(_, call)| call.clone()).collect();
            let answer = who.post("", &bundle("batch", &calls));
            for ((status, (letter, call)), id) in statuses(&answer).iter().zip(&asked).zip(&ids) {
                if letters.contains(*letter) {
                    assert!(status.starts_with('2'), "{letters} {call}: {answer}");
                } else {
                    assert_eq!(*status, "403", "{letters} {call}: {answer}");
                    assert_untouched(&operator, id, &call.to_string());
                }
            }
        }
    }

    fn the_entries_of_a_transaction_need_the_same_letters_and_all_or_nothing_is_done(server) {
        let operator = everything(server);
        // A history is not read inside a transaction.
        let is_one = |call: &Value| {
            let url = call["request"]["url"].as_str().expect("a URL");
            !url.ends_with("_history") && !url.contains("_history?")
        };
        for letters in ["c", "r", "u", "d", "s"] {
            let who = Bearer::of(server, &format!("system/Organization.{letters} system/Location.c"));
            let count = entries("").len();
            for n in 0..count {
                let id = fresh(&operator);
                let (letter, call) = entries(&id).swap_remove(n);
                if !is_one(&call) {
                    continue;
                }
                let location = json!({"resourceType": "Location", "name": id});
                let answer = who.post("", &bundle("transaction", &[entry("POST", "Location", location), call.clone()]));
                let locations = operator.matches(&format!("Location?name={id}")).len();
                if letters.contains(letter) {
                    assert_eq!((answer.status, locations), (200, 1), "{letters} {call}: {answer}");
                } else {
                    assert_eq!((answer.status, locations), (403, 0), "{letters} {call}: {answer}");
                    assert_forbidden(&answer);
                    assert_untouched(&operator, &id, &call.to_string());
                }
            }
        }
    }

    fn several_scopes_allow_what_one_of_them_allows(server) {
        let operator = everything(server);
        check(&operator, "system/Organization.c system/Organization.s", "cs");
        check(&operator, "system/Practitioner.crud system/Organization.r system/*.u", "ru");
        check(&operator, "openid patient/*.cruds system/Organization.d nonsense", "d");
        let who = Bearer::of(server, "system/Practitioner.r system/Organization.s");
        assert_forbidden(&who.get("Practitioner"));
        assert_eq!(who.get("Practitioner/nobody").status, 404);
    }

    fn a_scope_of_one_type_is_about_no_other(server) {
        let who = Bearer::of(server, "system/Practitioner.cruds");
        let types = [
            "PractitionerRole",
            "Organization",
            "Location",
            "HealthcareService",
            "OrganizationAffiliation",
            "Endpoint",
            "InsurancePlan",
            "Subscription",
            "Basic",
            "Task",
            "Provenance",
            "VerificationResult",
            "DocumentReference",
            "Binary",
            "Consent",
            "Communication",
            "AuditEvent",
        ];
        for name in types {
            assert_forbidden(&who.get(name));
            assert_forbidden(&who.get(&format!("{name}/1")));
            assert_forbidden(&who.get(&format!("{name}/1/_history/1")));
            assert_forbidden(&who.get(&format!("{name}/_history")));
            assert_forbidden(&who.delete(&format!("{name}/1")));
            assert_forbidden(&who.put(&format!("{name}/1"), &json!({"resourceType": name, "id": "1"})));
            assert_forbidden(&who.post(name, &json!({"resourceType": name})));
        }
    }

    fn the_asterisk_is_every_type_but_the_record_of_who_did_what(server) {
        let (all, named) = (Bearer::of(server, "system/*.cruds"), Bearer::of(server, "system/AuditEvent.rs"));
        let statement = all.get("metadata");
        let declared = statement.body["rest"][0]["resource"].as_array().expect("types").iter();
        // Of some types there are operations only.
        let stored = declared.filter(|it| it["interaction"].is_array());
        let types: Vec<&str> = stored.map(|it| it["type"].as_str().expect("a name")).collect();
        assert!(["AuditEvent", "Practitioner", "Task"].iter().all(|name| types.contains(name)), "{types:?}");
        for name in types {
            let expected = if name == "AuditEvent" { 403 } else { 200 };
            assert_eq!(all.get(name).status, expected, "{name}");
            assert_eq!(all.get(&format!("{name}/_history")).status, expected, "{name}");
            assert_eq!(named.get(name).status, 603 - expected, "{name}");
        }
        for scope in ["system/*.rs", "system/*.read", "system/*.*", "user/*.cruds", "patient/*.rs"] {
            assert_forbidden(&Bearer::of(server, scope).get("AuditEvent"));
        }
        // Whatever is written or refused above is not in what the asterisk finds.
        for page in all.pages("?_count=1000").iter().chain(&all.pages("_history?_count=1000")) {
            assert!(!page.text.contains("AuditEvent"), "{page}");
        }
        assert_eq!(all.get("?_summary=count").body["total"], 0);
        assert_forbidden(&all.get("?_type=AuditEvent"));
        assert!(!named.matches("AuditEvent").is_empty());
    }
}
