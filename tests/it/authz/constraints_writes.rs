//! Writes by somebody whose scope has a constraint: what is there has to meet it, and what comes in its place.

use serde_json::{Value, json};

use super::constraints::{ACTIVE, SECRET, places};
use super::{assert_forbidden, assert_silent, everything, location, replace, role, unnamed};
use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server, on_both};

/// The Location as the operator reads it: its version and name, or the status when it is not there.
fn at(server: &Server, id: &str) -> (u16, String, String) {
    let read = everything(server).get(&format!("Location/{id}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (read.status, text(&read.body["meta"]["versionId"]), text(&read.body["name"]))
}

fn status_patch(status: &str) -> Value {
    json!([{"op": "replace", "path": "/status", "value": status}])
}

fn create(who: &Bearer<'_>, condition: &str, resource: &Value) -> Answer {
    who.send_json("POST", "Location", Some(("if-none-exist", condition)), resource)
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn what_is_created_meets_the_constraint(server) {
        places(server);
        let (operator, who) = (everything(server), Bearer::of(server, ACTIVE));
        assert_eq!(who.post("Location", &unnamed(location("", "active", "New"))).status, 201);
        for wrong in [unnamed(location("", "suspended", "New")), json!({"resourceType": "Location", "name": "New"})] {
            assert_forbidden(&who.post("Location", &wrong));
            assert_forbidden(&create(&who, "name=none", &wrong));
        }
        assert_eq!(who.put("Location/new", &location("new", "active", "New")).status, 201);
        assert_forbidden(&who.put("Location/newer", &location("newer", "suspended", "New")));
        assert_forbidden(&who.put("Location?name=none", &location("newer", "suspended", "New")));
        assert_eq!(who.put("Location?name=none", &location("newer", "active", "Newer")).status, 201);
        assert_eq!(operator.matches("Location?name=new").len(), 3, "what was refused was not stored");
        // What the server names is not what the scope names.
        let one = Bearer::of(server, "system/Location.cruds?_id=mine");
        assert_forbidden(&one.post("Location", &unnamed(location("", "active", "Mine"))));
        assert_eq!(one.put("Location/mine", &location("mine", "active", "Mine")).status, 201);
        assert_forbidden(&one.put("Location/yours", &location("yours", "active", "Mine")));
    }

    fn an_update_is_of_what_meets_the_constraint_to_what_does(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        assert_eq!(who.put("Location/able", &location("able", "active", "Changed")).status, 200);
        assert_eq!(at(server, "able"), (200, "2".into(), "Changed".into()));
        // Away from it.
        assert_forbidden(&who.put("Location/able", &location("able", "suspended", "Changed again")));
        // From where it may not be seen.
        let taken = who.put("Location/hidden", &location("hidden", "active", "Taken"));
        assert_forbidden(&taken);
        assert_silent(&taken, &[SECRET]);
        // Neither before nor after.
        assert_forbidden(&who.put("Location/hidden", &location("hidden", "suspended", "Taken")));
        assert_eq!((at(server, "able").1, at(server, "hidden").1), ("2".to_owned(), "2".to_owned()));
        // The version that the client names makes no difference: it tells nothing.
        for tag in ["W/\"1\"", "W/\"2\""] {
            assert_forbidden(&who.send_json(
                "PUT",
                "Location/hidden",
                Some(("if-match", tag)),
                &location("hidden", "active", "Taken"),
            ));
            let headers = [("content-type", "application/json-patch+json"), ("if-match", tag)];
            assert_forbidden(&who.send("PATCH", "Location/hidden", &headers, &replace("/name", "Taken").to_string()));
            assert_forbidden(&who.send("DELETE", "Location/hidden", &[("if-match", tag)], ""));
        }
        // The same content is no exception.
        assert_forbidden(&who.put("Location/hidden", &location("hidden", "suspended", "Secret 2")));
    }

    fn a_patch_is_of_what_meets_the_constraint_to_what_does(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        assert_eq!(who.patch("Location/able", &replace("/name", "Patched")).body["name"], "Patched");
        assert_forbidden(&who.patch("Location/able", &status_patch("suspended")));
        assert_forbidden(&who.patch("Location/hidden", &status_patch("active")));
        // What fits and what does not is told to nobody who may not see it.
        let test = |name: &str| json!([{"op": "test", "path": "/name", "value": name}, {"op": "replace", "path": "/status", "value": "active"}]);
        let (right, wrong) =
            (who.patch("Location/hidden", &test("Secret 2")), who.patch("Location/hidden", &test("Other")));
        assert_forbidden(&right);
        assert_eq!(right.text, wrong.text);
        assert_eq!(who.patch("Location/hidden", &json!([{"op": "remove", "path": "/none"}])).text, right.text);
        assert_silent(&right, &[SECRET]);
        assert_eq!((at(server, "able").2, at(server, "hidden").2), ("Patched".to_owned(), "Secret 2".to_owned()));
    }

    fn a_delete_is_of_what_meets_the_constraint(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        assert_forbidden(&who.delete("Location/hidden"));
        assert_eq!(at(server, "hidden").0, 200);
        assert_eq!(who.delete("Location/able").status, 204);
        assert_eq!(at(server, "able").0, 410);
        // A condition selects among what meets it.
        assert_eq!(who.delete("Location?status=suspended").status, 204);
        assert_eq!(who.delete("Location?name=baker,secret").status, 204);
        assert_eq!((at(server, "baker").0, at(server, "hidden").0), (410, 200));
    }

    fn conditional_writes_are_checked_as_others_are(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        assert_eq!(who.put("Location?name=able", &location("able", "active", "Able 2")).status, 200);
        assert_forbidden(&who.put("Location?name=able", &location("able", "suspended", "Able 3")));
        assert_forbidden(&who.put("Location?_id=hidden", &location("hidden", "active", "Taken")));
        assert_eq!(who.patch("Location?name=able", &replace("/name", "Able 4")).status, 200);
        assert_forbidden(&who.patch("Location?name=able", &status_patch("inactive")));
        assert_eq!(who.patch("Location?_id=hidden", &replace("/name", "Taken")).status, 404);
        assert_eq!((at(server, "able").2, at(server, "hidden").2), ("Able 4".to_owned(), "Secret 2".to_owned()));
    }

    fn writes_do_not_tell_that_something_was_here(server) {
        places(server);
        assert_eq!(everything(server).delete("Location/hidden").status, 204);
        let who = Bearer::of(server, ACTIVE);
        let told = |id: &str| {
            let (path, all) = (format!("Location/{id}"), format!("Location?_id={id}"));
            let change = replace("/name", "New");
            let tag = |tag: &'static str| [("content-type", "application/fhir+json"), ("if-match", tag)];
            let patch = [("content-type", "application/json-patch+json"), ("if-match", "W/\"1\"")];
            let new = location(id, "active", "New").to_string();
            let entries = [super::entry_patch(&path, "name", "New")];
            let mut told = Vec::new();
            for (what, answer) in [
                ("patch", who.patch(&path, &change)),
                ("patch of a version", who.send("PATCH", &path, &patch, &change.to_string())),
                ("conditional patch", who.patch(&all, &change)),
                ("patch in a batch", who.post("", &super::bundle("batch", &entries))),
                ("patch in a transaction", who.post("", &super::bundle("transaction", &entries))),
                ("update of a version", who.send("PUT", &path, &tag("W/\"1\""), &new)),
                ("update of any version", who.send("PUT", &path, &tag("*"), &new)),
                ("delete of a version", who.send("DELETE", &path, &tag("W/\"1\"")[1..], "")),
                ("conditional delete", who.delete(&all)),
                ("delete", who.delete(&path)),
            ] {
                let mut body = answer.body.clone();
                if body["type"] == "batch-response" {
                    body = body["entry"].clone();
                }
                let tag = answer.header("etag").unwrap_or_default();
                told.push(format!("{what}: {} {tag} {body}", answer.status).replace(id, "ID"));
            }
            told
        };
        assert_eq!(told("hidden"), told("nobody"));
    }

    fn a_refused_patch_does_not_quote_what_is_there(server) {
        places(server);
        let who = Bearer::of(server, "system/Location.u");
        let copy = |from: &str, path: &str| json!([{"op": "copy", "from": from, "path": path}]);
        let mut answers: Vec<Answer> = [
            copy("/name", "/status"),
            copy("/name", "/mode"),
            copy("/name", "/language"),
            copy("/name", "/telecom"),
            copy("/name", "/physicalType"),
            copy("/name", "/colour"),
            json!([{"op": "move", "from": "/name", "path": "/status"}]),
            json!([{"op": "test", "path": "/name", "value": "Other"}]),
            json!([{"op": "remove", "path": "/name/0"}]),
            json!([{"op": "add", "path": "/name/first", "value": "x"}]),
        ]
        .iter()
        .map(|operations| who.patch("Location/hidden", operations))
        .collect();
        answers.retain(|answer| answer.status >= 400);
        assert!(answers.len() >= 8, "most of these fit nothing");
        answers.iter().for_each(|answer| assert_silent(answer, &[SECRET]));
    }

    fn two_constrained_scopes_are_a_union_for_writes_too(server) {
        places(server);
        let who = Bearer::of(server, "system/Location.u?status=active system/Location.u?status=suspended");
        assert_eq!(who.put("Location/able", &location("able", "suspended", "Able")).status, 200);
        assert_eq!(who.put("Location/hidden", &location("hidden", "active", "Shown")).status, 200);
        assert_forbidden(&who.put("Location/other", &location("other", "active", "Taken")));
        assert_forbidden(&who.put("Location/able", &location("able", "inactive", "Able")));
        // Letters do not mix: what may be updated may not be deleted.
        let mixed = Bearer::of(server, "system/Location.d?status=active system/Location.u?status=inactive");
        assert_forbidden(&mixed.delete("Location/other"));
        assert_forbidden(&mixed.put("Location/hidden", &location("hidden", "active", "Mine")));
        assert_eq!(mixed.delete("Location/hidden").status, 204);
    }

    fn a_reference_constrains_writes(server) {
        let who = Bearer::of(server, "system/PractitionerRole.cruds?organization=Organization/acme");
        let new = |organization: &str| unnamed(role("", "Practitioner/1", organization));
        assert_eq!(who.post("PractitionerRole", &new("Organization/acme")).status, 201);
        assert_eq!(who.post("PractitionerRole", &new(&format!("{}/Organization/acme", server.base))).status, 201);
        for wrong in [
            "Organization/bolt",
            "Organization/acme2",
            "https://elsewhere.example/fhir/Organization/acme",
            "urn:uuid:7f3c6e0a-2f3b-4f3e-9b1a-0d3f5b1c2a4d",
        ] {
            assert_forbidden(&who.post("PractitionerRole", &new(wrong)));
        }
        assert_forbidden(&who.post(
            "PractitionerRole",
            &json!({"resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/acme"}}),
        ));
        assert_forbidden(&who.post(
            "PractitionerRole",
            &json!({"resourceType": "PractitionerRole", "organization": {"display": "Organization/acme"}}),
        ));
        assert_eq!(who.matches("PractitionerRole").len(), 2);
        assert_eq!(everything(server).matches("PractitionerRole").len(), 2);
    }

    fn what_is_written_is_shown_to_those_who_may_read_it(server) {
        places(server);
        let who = Bearer::of(server, "system/Location.cuds");
        let representation = ("prefer", "return=representation");
        let headers = [("content-type", "application/json-patch+json"), representation];
        for path in ["Location/hidden", "Location?_id=hidden"] {
            let answer = who.send("PATCH", path, &headers, &status_patch("active").to_string());
            assert_eq!(answer.status, 200, "{answer}");
            assert_silent(&answer, &[SECRET]);
            assert!(answer.header("etag").is_some(), "the version is told");
        }
        let found = create(&who, "_id=hidden", &unnamed(location("", "active", "New")));
        assert_eq!(found.status, 200, "{found}");
        assert_silent(&found, &[SECRET]);
        // A failed test in a patch is the one thing that a patch tells.
        let reader = Bearer::of(server, "system/Location.cruds");
        let answer = reader.send("PATCH", "Location/hidden", &headers, &status_patch("suspended").to_string());
        assert_eq!(answer.body["name"], "Secret 2");
        assert_eq!(create(&reader, "_id=hidden", &unnamed(location("", "active", "New"))).body["name"], "Secret 2");
        // Who reads some is shown those.
        let some = Bearer::of(server, "system/Location.cuds system/Location.r?status=active");
        assert_silent(
            &some.send("PATCH", "Location/hidden", &headers, &status_patch("inactive").to_string()),
            &[SECRET],
        );
        let answer = some.send("PATCH", "Location/hidden", &headers, &status_patch("active").to_string());
        assert_eq!(answer.body["name"], "Secret 2");
    }
}
