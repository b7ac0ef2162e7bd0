//! The record of batches, transactions, imports and tokens, and what it does not say.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::audit::{entities, events, one_event, recorded};
use super::{bundle, call, entry, everything, location, organization, practitioner, role, statuses, unnamed};
use crate::harness::tokens::{self, Bearer};
use crate::harness::{Server, on_both};

/// What a reader looks for and nobody else has to know.
const TERM: &str = "Lonesome";

fn run(server: &Server, arguments: &[&str]) -> String {
    let mut command = server.command(arguments);
    let output = command.stdin(Stdio::null()).output().expect("the command runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Events about somebody who asks without a token.
fn anonymous(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["agent"][0]["name"] == "anonymous").collect()
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn a_transaction_is_one_event_with_all_that_it_wrote(server) {
        let who = everything(server);
        for id in ["one", "two", "three"] {
            who.store(&organization(id, "Old"));
        }
        let entries = [
            entry("PUT", "Organization/one", organization("one", "New")),
            call("DELETE", "Organization/two"),
            super::entry_patch("Organization/three", "name", "Patched"),
            entry("PUT", "Location/four", location("four", "active", "New")),
            call("GET", "Organization/one"),
        ];
        let event =
            one_event(server, || assert_eq!(statuses(&who.post("", &bundle("transaction", &entries))).len(), 5));
        let mut found = entities(&event);
        found.sort_unstable();
        assert_eq!(
            found,
            [
                "Location/four/_history/1",
                "Organization/one/_history/2",
                "Organization/three/_history/2",
                "Organization/two/_history/2"
            ]
        );
        assert_eq!(
            (&event["subtype"][0]["code"], &event["outcome"], &event["action"]),
            (&json!("transaction"), &json!("0"), &json!("E"))
        );
        // A condition may select several: that is one event, too.
        let event = one_event(server, || assert_eq!(who.delete("Organization?_id=one,three").status, 204));
        assert_eq!(entities(&event).len(), 2, "{event}");
        // What was there already is not among what was written.
        let entries = [
            entry("PUT", "Location/four", location("four", "active", "New")),
            entry("PUT", "Location/five", location("five", "active", "New")),
        ];
        let event =
            one_event(server, || assert_eq!(statuses(&who.post("", &bundle("transaction", &entries))), ["200", "201"]));
        assert_eq!(entities(&event), ["Location/five/_history/1"]);
    }

    fn each_write_of_a_batch_is_an_event_of_its_own(server) {
        let who = everything(server);
        who.store(&organization("one", "Old"));
        let wrong = json!({"resourceType": "Organization", "active": "perhaps"});
        let entries = [
            entry("PUT", "Organization/one", organization("one", "New")),
            entry("POST", "Organization", wrong),
            entry("PUT", "Organization/two", organization("two", "New")),
            call("GET", "Organization/one"),
        ];
        let events = recorded(server, || {
            assert_eq!(statuses(&who.post("", &bundle("batch", &entries))), ["200", "422", "201", "200"])
        });
        let mut found: Vec<&str> = events.iter().flat_map(entities).collect();
        found.sort_unstable();
        assert_eq!((events.len(), found), (2, vec!["Organization/one/_history/2", "Organization/two/_history/1"]));
    }

    fn an_import_is_recorded(server) {
        let lines = [organization("one", "One"), organization("two", "Two"), practitioner("1", "Meier")];
        let file = server.data().join("in.ndjson");
        std::fs::write(&file, lines.map(|line| line.to_string()).join("\n")).expect("a file");
        let events = recorded(server, || drop(run(server, &["import", file.to_str().expect("a path")])));
        let mut found: Vec<&str> = events.iter().flat_map(entities).collect();
        found.sort_unstable();
        assert_eq!(found, ["Organization/one/_history/1", "Organization/two/_history/1", "Practitioner/1/_history/1"]);
        assert!(events.iter().all(|event| event["agent"][0]["name"] == "command line"), "{}", json!(events));
        assert!(
            recorded(server, || drop(run(server, &["import", "--no-resume", file.to_str().expect("a path")])))
                .is_empty(),
            "nothing new is nothing to record"
        );
    }

    fn a_token_that_is_given_out_is_recorded_and_one_that_is_refused(server) {
        let event = one_event(server, || drop(tokens::printed(server, "system/Task.rs")));
        assert_eq!((&event["agent"][0]["name"], &event["outcome"]), (&json!("command line"), &json!("0")));
        assert!(event["outcomeDesc"].as_str().is_some_and(|told| told.contains("system/Task.rs")), "{event}");
        let mut secret = String::new();
        let event = one_event(server, || {
            secret = run(server, &["client", "add", "--id", "warehouse", "--secret", "--scope", "system/*.rs"])
        });
        assert!(event.to_string().contains("warehouse") && !event.to_string().contains(&secret), "{event}");
        let ask = |secret: &str, scope: &str| {
            let basic = format!("Basic {}", STANDARD.encode(format!("warehouse:{secret}")));
            let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
            let url = format!("{}/auth/token", server.base.trim_end_matches("/fhir"));
            Bearer::nobody(server).send("POST", &url, &headers, &format!("grant_type=client_credentials&scope={scope}"))
        };
        let mut answer = None;
        let event = one_event(server, || answer = Some(ask(&secret, "system/*.rs")));
        let token = answer.expect("an answer").body["access_token"].as_str().expect("a token").to_owned();
        assert_eq!(
            (&event["agent"][0]["name"], &event["outcome"], &event["agent"][0]["network"]["address"]),
            (&json!("warehouse"), &json!("0"), &json!("127.0.0.1"))
        );
        assert_eq!(event["subtype"][0]["code"], "client_credentials");
        assert!(!event.to_string().contains(&token) && !event.to_string().contains(&secret), "{event}");
        let event = one_event(server, || assert_eq!(ask("wrong-secret", "system/*.rs").status, 401));
        assert_eq!(event["outcome"], "4", "{event}");
        assert!(!event.to_string().contains("wrong-secret"), "{event}");
        let event = one_event(server, || assert_eq!(ask(&secret, "user/*.rs").status, 400));
        assert_eq!((&event["outcome"], &event["agent"][0]["name"]), (&json!("4"), &json!("warehouse")));
        assert_eq!(events(server, "&subtype=client_credentials").len(), 3);
        // What the token is used for is the client's.
        let bearer = Bearer::new(server, token);
        let event = one_event(server, || super::assert_forbidden(&bearer.delete("Organization/1")));
        assert_eq!(event["agent"][0]["name"], "warehouse", "{event}");
    }

    fn what_nobody_in_particular_searched_for_is_not_recorded(server) {
        everything(server).store(&practitioner("1", TERM));
        let nobody = Bearer::nobody(server);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let headers = [("content-type", "application/fhir+json"), ("if-none-exist", "name=Lonesome")];
        let new = unnamed(role("", "Practitioner?name=Lonesome", "Organization/1"));
        let entries = [
            call("GET", "Practitioner?name=Lonesome"),
            call("DELETE", "Practitioner?name=Lonesome"),
            call("GET", "?_type=Practitioner&name=Lonesome"),
            call("GET", "Practitioner/_history?_since=2020&x=Lonesome"),
            entry("PUT", "Practitioner?name=Lonesome", practitioner("1", "New")),
            super::entry_if_none("name=Lonesome", unnamed(practitioner("", "New"))),
        ];
        let events = recorded(server, || {
            for answer in [
                nobody.get("Practitioner?name=Lonesome"),
                nobody.get("Practitioner/1?_elements=Lonesome"),
                nobody.get("?_type=Practitioner&name=Lonesome"),
                nobody.get("_history?x=Lonesome"),
                nobody.send("POST", "Practitioner/_search", &form, "name=Lonesome"),
                nobody.send("POST", "_search", &form, "name=Lonesome"),
                nobody.delete("Practitioner?name=Lonesome"),
                nobody.put("Practitioner?name=Lonesome", &practitioner("1", "New")),
                nobody.send("POST", "Practitioner", &headers, &unnamed(practitioner("", "New")).to_string()),
                nobody.post("", &bundle("transaction", &[entry("POST", "PractitionerRole", new)])),
                nobody.post("", &bundle("transaction", &entries)),
            ] {
                assert!(matches!(answer.status, 400 | 401), "{answer}");
            }
            statuses(&nobody.post("", &bundle("batch", &entries)))
                .iter()
                .for_each(|status| assert!(matches!(*status, "400" | "401")));
        });
        let of_nobody = anonymous(&events);
        assert!(of_nobody.len() >= 12, "refusals are recorded: {}", json!(of_nobody));
        for event in of_nobody {
            let text = event.to_string();
            assert!(!text.contains(TERM) && !text.contains('?') && !text.contains("name="), "{event}");
        }
    }
}

mod open {
    use super::*;

    const TRIAL: &str = "system/*.cruds";

    on_both! {
        with { crate::harness::tokens::trusting_with(&[("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", super::TRIAL)]) };

        fn nor_is_it_where_everybody_may_write(server) {
            let nobody = Bearer::nobody(server);
            let events = recorded(server, || {
                nobody.store(&practitioner("1", TERM));
                nobody.get("Practitioner?name=Lonesome");
                assert_eq!(nobody.put("Practitioner?name=Lonesome", &practitioner("1", "Other")).status, 200);
                assert_eq!(nobody.put("Practitioner?name=Other", &practitioner("1", TERM)).status, 200);
                let entries = [
                    call("GET", "Practitioner?name=Lonesome"),
                    call("DELETE", "Practitioner?name=Lonesome"),
                    call("GET", "AuditEvent?agent-name=Lonesome"),
                ];
                assert_eq!(statuses(&nobody.post("", &bundle("batch", &entries))), ["200", "204", "401"]);
            });
            assert_eq!(anonymous(&events).len(), 5, "{}", json!(events));
            assert!(!json!(events).to_string().contains(TERM), "{}", json!(events));
            assert_eq!(events[0]["agent"][0]["network"]["address"], "127.0.0.1");
        }
    }
}
