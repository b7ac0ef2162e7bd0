//! The record itself: who finds it, what it looks like, and that it stays.

use chrono::{SecondsFormat, TimeDelta, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use serde_json::{Value, json};

use super::audit::events;
use super::{
    assert_forbidden, assert_unknown, bundle, call, entry, entry_if_none, entry_patch, everything, organization,
    practitioner, replace, statuses,
};
use crate::harness::tokens::{self, Bearer};
use crate::harness::{Server, on_both};

/// An event as a client might send one.
fn forged(id: &str) -> Value {
    json!({"resourceType": "AuditEvent", "id": id, "recorded": "2026-01-01T00:00:00Z",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "agent": [{"requestor": true, "who": {"display": "nobody"}}], "source": {"observer": {"display": "nobody"}}})
}

/// The id of an event that is there.
fn first(server: &Server) -> String {
    everything(server).store(&organization("acme", "Acme"));
    events(server, "")[0]["id"].as_str().expect("an id").to_owned()
}

/// The whole record, as it was before something was tried that is not allowed.
fn unchanged(server: &Server, before: &[Value]) {
    let now = events(server, "");
    assert_eq!(&now[..before.len()], before);
    let forged: Vec<&Value> = now.iter().filter(|event| event.to_string().contains("nobody")).collect();
    assert!(forged.is_empty(), "{forged:?}");
}

/// Whether the database of a server executes a statement.
fn executes(server: &Server, statement: &str) -> bool {
    match server.database_url() {
        Some(url) => std::process::Command::new("psql")
            .args(["-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", statement, url])
            .stderr(std::process::Stdio::null())
            .status()
            .expect("psql runs")
            .success(),
        None => {
            let file = server.store_url();
            let mut database = SqliteConnection::establish(file.trim_start_matches("sqlite:")).expect("the database");
            database.batch_execute(&format!("PRAGMA busy_timeout = 10000; {statement}")).is_ok()
        }
    }
}

/// That $validate finds no error in any of them.
fn assert_valid(operator: &Bearer<'_>, events: &[Value]) {
    let mut faults = Vec::new();
    for event in events {
        let verdict = operator.post("AuditEvent/$validate", event);
        assert_eq!(verdict.status, 200, "{verdict}");
        let issues = verdict.body["issue"].as_array().expect("issues");
        let errors = issues.iter().filter(|issue| matches!(issue["severity"].as_str(), Some("error" | "fatal")));
        faults.extend(errors.map(|issue| format!("{event}: {issue}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn the_record_is_found_by_what_and_who_and_when_and_how(server) {
        let operator = everything(server);
        let from = Utc::now() - TimeDelta::seconds(1);
        operator.store(&practitioner("1", "Meier"));
        operator.store(&practitioner("1", "Huber"));
        operator.store(&practitioner("2", "Meier"));
        operator.delete("Practitioner/1");
        let nobody = Bearer::nobody(server);
        assert_unknown(&nobody.get("Task"));
        tokens::printed(server, "system/*.rs");
        let found = |search: &str| events(server, search).len();
        assert_eq!(found("&entity=Practitioner/1"), 3);
        assert_eq!(found("&entity=Practitioner/2"), 1);
        assert_eq!(found("&entity=Practitioner/3"), 0);
        assert_eq!(found(&format!("&agent-name={}", tokens::CLIENT)), 4);
        assert_eq!(found("&agent-name=anonymous"), 1);
        assert_eq!(found("&agent-name=nobody"), 0);
        assert_eq!((found("&outcome=4"), found("&outcome=0")), (1, 5));
        assert_eq!((found("&subtype=update"), found("&subtype=delete"), found("&subtype=create")), (3, 1, 0));
        assert_eq!(found("&subtype=http://hl7.org/fhir/restful-interaction|delete"), 1);
        assert_eq!((found("&action=D"), found("&type=rest")), (1, 4));
        let at = |time: chrono::DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        assert_eq!(found(&format!("&date=ge{}", at(from))), 6);
        assert_eq!(
            (
                found(&format!("&date=lt{}", at(from))),
                found(&format!("&date=ge{}", at(Utc::now() + TimeDelta::minutes(1))))
            ),
            (0, 0)
        );
        assert_eq!(found(&format!("&date=ge{}&outcome=4&agent-name=anonymous", at(from))), 1);
        assert_eq!(found("&address=127.0.0.1"), 5, "all but what the command line did");
    }

    fn the_record_is_for_those_whose_scope_names_it(server) {
        let id = first(server);
        let searches = [
            "AuditEvent",
            "AuditEvent?entity=Organization/acme",
            "AuditEvent?outcome=4",
            "AuditEvent/_history",
            "?_type=AuditEvent",
        ];
        for scope in [
            "system/*.cruds",
            "system/*.*",
            "system/Organization.rs",
            "user/AuditEvent.rs",
            "patient/AuditEvent.rs",
            "system/AuditEvent.cud",
        ] {
            let who = Bearer::with(server, scope, &json!({"fhirUser": "Practitioner/1", "patient": "5"}));
            searches.iter().for_each(|search| assert_forbidden(&who.get(search)));
            assert_forbidden(&who.get(&format!("AuditEvent/{id}")));
            assert_forbidden(&who.get(&format!("AuditEvent/{id}/_history")));
            assert_forbidden(&who.get(&format!("AuditEvent/{id}/_history/1")));
        }
        for search in searches {
            assert_unknown(&Bearer::nobody(server).get(search));
            assert_eq!(Bearer::of(server, "system/AuditEvent.s").get(search).status, 200, "{search}");
        }
        let reader = Bearer::of(server, "system/AuditEvent.r");
        assert_eq!(reader.get(&format!("AuditEvent/{id}")).status, 200);
        assert_forbidden(&reader.get("AuditEvent"));
        let some = Bearer::of(server, "system/AuditEvent.rs?entity=Organization/acme");
        assert_eq!(some.matches("AuditEvent"), [format!("AuditEvent/{id}")]);
    }

    fn nobody_writes_changes_or_deletes_an_event(server) {
        let id = first(server);
        let path = format!("AuditEvent/{id}");
        let before = events(server, "");
        for scope in [
            "system/AuditEvent.cruds system/*.cruds",
            "system/AuditEvent.* user/*.cruds",
            "system/AuditEvent.write",
            "system/AuditEvent.cud?outcome=0",
        ] {
            let who = Bearer::with(
                server,
                scope,
                &json!({"fhirUser": "Practitioner/1", "organization": "Organization/acme"}),
            );
            for answer in [
                who.post("AuditEvent", &forged("x")),
                who.send_json("POST", "AuditEvent", Some(("if-none-exist", "outcome=8")), &forged("x")),
                who.put("AuditEvent/new", &forged("new")),
                who.put(&path, &forged(&id)),
                who.put("AuditEvent?outcome=8", &forged("new")),
                who.put(&format!("AuditEvent?_id={id}"), &forged(&id)),
                who.patch(&path, &replace("/outcome", "8")),
                who.patch(&format!("AuditEvent?_id={id}"), &replace("/outcome", "8")),
                who.delete(&path),
                who.delete("AuditEvent/none"),
                who.delete("AuditEvent?outcome=0"),
            ] {
                assert_forbidden(&answer);
            }
            for wrong in [
                entry("POST", "AuditEvent", forged("x")),
                entry_if_none("outcome=8", forged("x")),
                entry("PUT", &path, forged(&id)),
                entry("PUT", "AuditEvent/new", forged("new")),
                entry("PUT", "AuditEvent?outcome=8", forged("new")),
                entry_patch(&path, "outcome", "8"),
                entry_patch("AuditEvent?outcome=0", "outcome", "8"),
                call("DELETE", &path),
                call("DELETE", "AuditEvent?outcome=0"),
            ] {
                let more = entry("PUT", "Organization/more", organization("more", "More"));
                assert_forbidden(&who.post("", &bundle("transaction", &[more, wrong.clone()])));
                assert_eq!(statuses(&who.post("", &bundle("batch", &[wrong]))), ["403"]);
            }
        }
        assert_eq!(everything(server).get("Organization/more").status, 404);
        unchanged(server, &before);
    }

    fn an_import_brings_no_events(server) {
        let id = first(server);
        let before = events(server, "");
        let lines = [forged("new"), organization("more", "More"), forged(&id)];
        let file = server.data().join("in.ndjson");
        std::fs::write(&file, lines.map(|line| line.to_string()).join("\n")).expect("a file");
        let output = server.command(&["import", file.to_str().expect("a path")]).output().expect("it runs");
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(everything(server).get("AuditEvent/new").status, 404, "{told}");
        assert_eq!(everything(server).get("Organization/more").status, 200, "the others are imported: {told}");
        unchanged(server, &before);
    }

    fn the_database_refuses_to_change_an_event(server) {
        first(server);
        let before = events(server, "");
        for statement in [
            "UPDATE resource SET body = '{}' WHERE rtype = 29",
            "UPDATE resource SET version = 2 WHERE rtype = 29",
            "UPDATE resource SET id = 'other' WHERE rtype = 29",
            "UPDATE resource SET rtype = 3 WHERE rtype = 29",
            "UPDATE resource SET live = 0, body = NULL WHERE rtype = 29",
            "DELETE FROM resource WHERE rtype = 29",
            "DELETE FROM resource",
            "INSERT INTO resource (rtype, id, version, live, last_updated, body) SELECT rtype, id, version, live, last_updated, body FROM resource WHERE rtype = 29 ON CONFLICT (rtype, id) DO UPDATE SET body = '{}'",
        ] {
            assert!(!executes(server, statement), "{statement}");
            assert_eq!(events(server, ""), before, "{statement}");
        }
        assert!(executes(server, "UPDATE resource SET live = live WHERE rtype = 3"), "others are changed");
        assert_eq!(everything(server).get("Organization/acme").status, 200);
    }

    fn no_event_is_replaced_by_another_with_its_name(server) {
        first(server);
        let before = events(server, "");
        let insert = "INTO resource SELECT * FROM (SELECT * FROM resource WHERE rtype = 29) AS events";
        assert!(!executes(server, &format!("INSERT {insert}")));
        assert_eq!(events(server, ""), before);
    }

    fn every_kind_of_event_is_valid(server) {
        let operator = everything(server);
        let before = events(server, "").len();
        for (n, person) in [
            "Practitioner/7",
            "Patient/5",
            "RelatedPerson/5",
            "PractitionerRole/5",
            "https://members.example/Patient/5",
        ]
        .into_iter()
        .enumerate()
        {
            let who = Bearer::with(server, "system/*.cruds", &json!({"fhirUser": person}));
            who.store(&organization("acme", &format!("Acme {n}")));
        }
        let both = [
            entry("PUT", "Organization/acme", organization("acme", "New")),
            entry("PUT", "Organization/bolt", organization("bolt", "New")),
        ];
        operator.post("", &bundle("transaction", &both));
        operator.patch("Organization/acme", &replace("/name", "Patched"));
        operator.post("Organization", &json!({"resourceType": "Organization", "name": "New"}));
        operator.delete("Organization/acme");
        assert_forbidden(&Bearer::of(server, "system/Task.r").get("Organization/bolt"));
        assert_unknown(&Bearer::nobody(server).get("Organization/bolt"));
        tokens::printed(server, "system/*.rs api/launch.write");
        let portal = Bearer::new(server, tokens::printed(server, "api/launch.write"));
        let run = |arguments: &[&str]| {
            assert!(server.command(arguments).output().expect("it runs").status.success(), "{arguments:?}")
        };
        run(&["client", "add", "--id", "app", "--redirect-uri", "https://app.example/", "--scope", "user/*.rs"]);
        let root = server.base.trim_end_matches("/fhir");
        let launched = portal.send(
            "POST",
            &format!("{root}/auth/launch"),
            &[("content-type", "application/json")],
            r#"{"client_id": "app", "patient": "5"}"#,
        );
        assert_eq!(launched.status, 200, "{launched}");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let refused = portal.send(
            "POST",
            &format!("{root}/auth/token"),
            &form,
            "grant_type=client_credentials&scope=x&client_id=none&client_secret=y",
        );
        assert_eq!(refused.status, 401, "{refused}");
        run(&["client", "remove", "app"]);
        let all = events(server, "");
        assert_valid(&operator, &all);
        assert!(all.len() >= before + 16, "{} events", all.len() - before);
    }

    fn an_event_of_a_person_who_is_no_agent_in_r4_is_valid(server) {
        // AuditEvent.agent.who refers to people by all these types, but not by Person, of which SMART lets fhirUser be one.
        Bearer::with(server, "system/*.cruds", &json!({"fhirUser": "Person/5"})).store(&organization("acme", "Acme"));
        let all = events(server, "");
        assert!(all[0].to_string().contains("Person/5"), "the person is named: {}", all[0]);
        assert_valid(&everything(server), &all);
    }
}
