//! The record of who did what: every write, every refusal, every token.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    assert_forbidden, assert_invalid, assert_unknown, bundle, call, entry, everything, organization, replace, statuses,
    unnamed,
};
use crate::harness::tokens::{self, Bearer};
use crate::harness::{Answer, Server, on_both};

const FORM: &str = "application/x-www-form-urlencoded";

/// The events that a search finds, oldest first.
pub fn events(server: &Server, search: &str) -> Vec<Value> {
    let pages = everything(server).pages(&format!("AuditEvent?_count=1000{search}"));
    pages.iter().flat_map(|page| page.entries("match").into_iter().cloned().collect::<Vec<_>>()).collect()
}

/// The events that were recorded while something was done, oldest first.
pub fn recorded(server: &Server, deed: impl FnOnce()) -> Vec<Value> {
    let before = events(server, "").len();
    deed();
    events(server, "").split_off(before)
}

/// The one event that was recorded while something was done.
pub fn one_event(server: &Server, deed: impl FnOnce()) -> Value {
    let mut events = recorded(server, deed);
    assert_eq!(events.len(), 1, "{}", json!(events));
    events.remove(0)
}

/// What an event is about: `Type/id/_history/version` of each entity.
pub fn entities(event: &Value) -> Vec<&str> {
    let entities = event["entity"].as_array().map(Vec::as_slice).unwrap_or_default();
    entities.iter().map(|entity| entity["what"]["reference"].as_str().expect("a reference")).collect()
}

fn instant(text: &Value) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text.as_str().expect("an instant")).expect("an instant").into()
}

/// Ann, of whom the app tells that she is Practitioner 7.
fn ann(server: &Server) -> Bearer<'_> {
    Bearer::with(server, "system/*.cruds", &json!({"fhirUser": "Practitioner/7"}))
}

/// That an event says who did it, and from where.
fn assert_by_ann(event: &Value) {
    let agent = &event["agent"][0];
    assert_eq!(event["agent"].as_array().map(Vec::len), Some(1), "{event}");
    assert_eq!((&agent["name"], &agent["altId"]), (&json!(tokens::CLIENT), &json!("ann")), "{event}");
    assert_eq!(agent["who"]["reference"], "Practitioner/7", "{event}");
    assert_eq!(agent["network"], json!({"address": "127.0.0.1", "type": "2"}), "{event}");
    assert_eq!(agent["requestor"], true, "{event}");
}

/// That a refusal was recorded: what was asked of whom, but not what was asked for.
fn assert_refusal(event: &Value, method: &str, path: &str, status: u16) {
    assert_eq!((&event["outcome"], event["entity"].as_array()), (&json!("4"), None), "{event}");
    let told = event["outcomeDesc"].as_str().expect("a sentence");
    assert!(told.contains(method) && told.contains(path) && told.contains(&status.to_string()), "{told}");
    assert_eq!(event["agent"][0]["network"]["address"], "127.0.0.1", "{event}");
}

/// How many writes there are in the record.
fn writes(server: &Server) -> usize {
    events(server, "&type=rest").len()
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn a_write_is_recorded_with_who_what_when_and_how_it_ended(server) {
        let who = ann(server);
        let acme = |name: &str| organization("acme", name);
        let done = |version: u32, subtype: &[&str], action: &str, deed: &dyn Fn() -> Answer| {
            let from = Utc::now() - chrono::TimeDelta::milliseconds(1);
            let event = one_event(server, || assert!(matches!(deed().status, 200 | 201 | 204)));
            assert_by_ann(&event);
            assert_eq!(entities(&event), [format!("Organization/acme/_history/{version}")]);
            assert_eq!(event["type"]["code"], "rest", "{event}");
            let code = event["subtype"][0]["code"].as_str().expect("a code");
            assert!(subtype.contains(&code), "{event}");
            assert_eq!((&event["action"], &event["outcome"]), (&json!(action), &json!("0")), "{event}");
            let recorded = instant(&event["recorded"]);
            assert!(recorded >= from && recorded <= Utc::now(), "{event}");
            assert!(event["source"]["observer"].is_object(), "{event}");
        };
        done(1, &["update"], "C", &|| who.put("Organization/acme", &acme("Acme")));
        done(2, &["update"], "U", &|| who.put("Organization/acme", &acme("Acme 2")));
        done(3, &["update"], "U", &|| who.put("Organization?name=acme", &acme("Acme 3")));
        done(4, &["update", "patch"], "U", &|| who.patch("Organization/acme", &replace("/name", "Acme 4")));
        done(5, &["update", "patch"], "U", &|| who.patch("Organization?name=acme", &replace("/name", "Acme 5")));
        done(6, &["delete"], "D", &|| who.delete("Organization/acme"));
        done(7, &["update"], "C", &|| who.put("Organization/acme", &acme("Acme 7")));
        done(8, &["delete"], "D", &|| who.delete("Organization?name=acme"));
        let mut made = None;
        let event = one_event(server, || made = Some(who.post("Organization", &unnamed(acme("New")))));
        let id = made.expect("an answer").body["id"].as_str().expect("an id").to_owned();
        assert_eq!(entities(&event), [format!("Organization/{id}/_history/1")]);
        assert_eq!((&event["subtype"][0]["code"], &event["action"]), (&json!("create"), &json!("C")));
        assert_by_ann(&event);
    }

    fn a_write_of_a_system_is_recorded_without_a_person(server) {
        let event =
            one_event(server, || drop(Bearer::of(server, "system/*.cruds").store(&organization("acme", "Acme"))));
        assert_eq!(event["agent"][0]["name"], tokens::CLIENT, "{event}");
        assert!(event["agent"][0]["who"].get("reference").is_none(), "{event}");
        let printed = tokens::printed(server, "system/*.cruds");
        let event = one_event(server, || drop(Bearer::new(server, printed).store(&organization("acme", "Acme 2"))));
        assert_eq!(event["agent"][0]["name"], "command line", "{event}");
        assert_eq!(event["agent"][0]["network"]["address"], "127.0.0.1", "{event}");
    }

    fn what_was_not_written_is_not_recorded_as_written(server) {
        let who = ann(server);
        who.store(&organization("acme", "Acme"));
        who.store(&organization("twin", "Acme"));
        let before = writes(server);
        let stale = [("content-type", "application/fhir+json"), ("if-match", "W/\"7\"")];
        let new = organization("acme", "New").to_string();
        let wrong = json!({"resourceType": "Organization", "id": "acme", "active": "perhaps"});
        let mut both = [
            entry("PUT", "Organization/acme", organization("acme", "New")),
            entry("PUT", "Organization/twin", organization("twin", "New")),
        ];
        both[1]["request"]["ifMatch"] = json!("W/\"7\"");
        for (answer, status) in [
            (who.put("Organization/acme", &wrong), 422),
            (who.post("Organization", &unnamed(wrong.clone())), 422),
            (who.patch("Organization/acme", &json!([{"op": "test", "path": "/name", "value": "Other"}])), 422),
            (who.send("PUT", "Organization/acme", &stale, &new), 412),
            (who.send("DELETE", "Organization/acme", &stale[1..], ""), 412),
            (who.put("Organization?name=acme", &organization("acme", "New")), 412),
            (who.put("Organization/acme", &organization("other", "New")), 400),
            (who.post("", &bundle("transaction", &both)), 412),
            (
                who.post("", &bundle("transaction", &[both[0].clone(), entry("POST", "Organization", unnamed(wrong))])),
                422,
            ),
            (who.put("Nothing/acme", &organization("acme", "New")), 404),
            // Nothing to change.
            (who.put("Organization/acme", &organization("acme", "Acme")), 200),
            (who.patch("Organization/acme", &replace("/name", "Acme")), 200),
            (
                who.post(
                    "",
                    &bundle("transaction", &[entry("PUT", "Organization/acme", organization("acme", "Acme"))]),
                ),
                200,
            ),
            (who.delete("Organization/none"), 204),
            (who.delete("Organization?name=none"), 204),
            (who.get("Organization/acme"), 200),
            (who.post("Organization/$validate", &organization("acme", "New")), 200),
        ] {
            assert_eq!(answer.status, status, "{answer}");
        }
        let found = who.send_json(
            "POST",
            "Organization",
            Some(("if-none-exist", "_id=acme")),
            &unnamed(organization("", "New")),
        );
        assert_eq!(found.status, 200);
        assert_eq!(writes(server), before);
    }

    fn every_refusal_is_recorded(server) {
        let operator = everything(server);
        operator.store(&organization("acme", "Acme"));
        let who = Bearer::with(server, "system/Organization.rs", &json!({"fhirUser": "Practitioner/7"}));
        for (method, path) in [
            ("PUT", "Organization/acme"),
            ("DELETE", "Organization/acme"),
            ("GET", "Location/1"),
            ("GET", "Location"),
            ("GET", "AuditEvent"),
            ("GET", "Location/_history"),
            ("PUT", "AuditEvent/1"),
            ("DELETE", "Organization"),
            ("POST", "Location/_search"),
        ] {
            let id = path.rsplit('/').next().expect("a part");
            let body = if method == "PUT" { organization(id, "New").to_string() } else { String::new() };
            let query = if (method, path) == ("DELETE", "Organization") { "?name=acme" } else { "" };
            let media = if method == "POST" { FORM } else { "application/fhir+json" };
            let headers = [("content-type", media)];
            let event =
                one_event(server, || assert_forbidden(&who.send(method, &format!("{path}{query}"), &headers, &body)));
            assert_refusal(&event, method, path, 403);
            assert_by_ann(&event);
            if !(method == "PUT" && path.starts_with("AuditEvent")) {
                let nobody = Bearer::nobody(server);
                let event = one_event(server, || {
                    assert_unknown(&nobody.send(method, &format!("{path}{query}"), &headers, &body))
                });
                assert_refusal(&event, method, path, 401);
                assert_eq!(event["agent"][0]["name"], "anonymous");
            }
        }
        let event = one_event(server, || assert_invalid(&Bearer::new(server, "x".into()).get("Organization/acme")));
        assert_refusal(&event, "GET", "Organization/acme", 401);
        let transaction = bundle("transaction", &[call("DELETE", "Organization/acme")]);
        let event = one_event(server, || assert_forbidden(&who.post("", &transaction)));
        assert_refusal(&event, "POST", "/fhir", 403);
        // What is hidden by a constraint is no refusal: it is not there.
        let some = Bearer::of(server, "system/Organization.rs?name=none");
        assert!(recorded(server, || assert_eq!(some.get("Organization/acme").status, 404)).is_empty());
    }

    fn refused_entries_of_a_batch_are_recorded_one_by_one(server) {
        everything(server).store(&organization("acme", "Acme"));
        let who = Bearer::with(server, "system/Organization.rs", &json!({"fhirUser": "Practitioner/7"}));
        let entries = [
            call("GET", "Organization/acme"),
            call("DELETE", "Organization/acme"),
            call("GET", "Location/1"),
            call("GET", "Location?name=x"),
            call("DELETE", "Organization?name=acme"),
        ];
        let events = recorded(server, || {
            let answer = who.post("", &bundle("batch", &entries));
            assert_eq!(statuses(&answer), ["200", "403", "403", "403", "403"]);
        });
        assert_eq!(events.len(), 4, "{}", json!(events));
        for (method, path) in [
            ("DELETE", "Organization/acme"),
            ("GET", "Location/1"),
            ("GET", "Location was"),
            ("DELETE", "Organization was"),
        ] {
            let is_it = |event: &&Value| {
                event["outcomeDesc"].as_str().is_some_and(|told| told.contains(&format!("{method} {path}")))
            };
            let found: Vec<&Value> = events.iter().filter(is_it).collect();
            assert_eq!(found.len(), 1, "{method} {path}: {}", json!(events));
            assert_refusal(found[0], method, path.trim_end_matches(" was"), 403);
            assert_by_ann(found[0]);
        }
    }

    fn a_condition_that_is_refused_in_a_batch_is_recorded(server) {
        everything(server).store(&organization("acme", "Acme"));
        let who = Bearer::with(server, "system/PractitionerRole.cruds", &json!({"fhirUser": "Practitioner/7"}));
        let entries = [call("DELETE", "PractitionerRole?organization.name=Acme")];
        let event = one_event(server, || assert_eq!(statuses(&who.post("", &bundle("batch", &entries))), ["403"]));
        assert_refusal(&event, "DELETE", "PractitionerRole", 403);
    }

    fn who_lacks_the_scope_to_launch_or_to_introspect_is_recorded(server) {
        let root = server.base.trim_end_matches("/fhir").to_owned();
        let who = Bearer::with(server, "system/*.cruds", &json!({"fhirUser": "Practitioner/7"}));
        for (path, media, body) in
            [("launch", "application/json", r#"{"client_id": "x"}"#), ("introspect", FORM, "token=x")]
        {
            let events = recorded(server, || {
                let answer = who.send("POST", &format!("{root}/auth/{path}"), &[("content-type", media)], body);
                assert_eq!(answer.status, 403, "{path}: {answer}");
            });
            assert_eq!(events.len(), 1, "{path}: {}", json!(events));
            assert_eq!(events[0]["outcome"], "4", "{path}");
            assert_by_ann(&events[0]);
        }
    }

    fn whom_the_authorization_server_refuses_is_recorded(server) {
        let root = server.base.trim_end_matches("/fhir").to_owned();
        let mut faults = Vec::new();
        for (path, media, body, status) in [
            ("token", FORM, "grant_type=client_credentials&scope=system/*.rs&client_id=x&client_secret=y", 401),
            ("launch", "application/json", r#"{"client_id": "x"}"#, 401),
            ("introspect", FORM, "token=x&client_id=x&client_secret=y", 401),
            ("revoke", FORM, "token=x&client_id=x&client_secret=y", 401),
            ("register", "application/json", r#"{"redirect_uris": ["https://app.example/"]}"#, 403),
            ("login", FORM, "username=ann&password=x", 403),
            ("consent", FORM, "decision=allow", 403),
        ] {
            let events = recorded(server, || {
                let answer = Bearer::nobody(server).send(
                    "POST",
                    &format!("{root}/auth/{path}"),
                    &[("content-type", media)],
                    body,
                );
                assert_eq!(answer.status, status, "{path}: {answer}");
            });
            let outcomes: Vec<&Value> = events.iter().map(|event| &event["outcome"]).collect();
            if outcomes != ["4"] {
                faults.push(format!("{path}: {}", json!(events)));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
