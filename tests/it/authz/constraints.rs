//! Scopes with constraints, such as `system/Location.rs?status=active`: what does not meet them is not there.

use serde_json::{Value, json};

use super::{assert_forbidden, assert_silent, bundle, call, everything, location, organization, role, with};
use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server, on_both};

pub const ACTIVE: &str = "system/Location.cruds?status=active";
/// One id as long as the other: of a resource that may not be seen, and of none.
pub const HIDDEN: &str = "hidden";
pub const NOBODY: &str = "nobody";
/// In what may not be seen.
pub const SECRET: &str = "Secret";

/// Two Locations to see, and two, each in two versions, not to see.
pub fn places(server: &Server) {
    let operator = everything(server);
    for resource in [
        location("able", "active", "Able"),
        location("baker", "active", "Baker"),
        location(HIDDEN, "suspended", "Secret 1"),
        location(HIDDEN, "suspended", "Secret 2"),
        location("other", "inactive", "Secret 3"),
        location("other", "inactive", "Secret 4"),
    ] {
        operator.store(&resource);
    }
}

/// An answer without what differs anyway, the time and which resource was asked for: status and body, and the headers.
fn told(answer: &Answer, id: &str) -> (String, Vec<String>) {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")).replace(id, "ID"))
        .collect();
    headers.sort();
    let mut body = answer.body.clone();
    // A Bundle has an id and a time of its own.
    if let Some(bundle) = body.as_object_mut().filter(|bundle| bundle.contains_key("type")) {
        ["id", "meta"].iter().for_each(|name| drop(bundle.shift_remove(*name)));
        let found = bundle.get_mut("entry").and_then(Value::as_array_mut).into_iter().flatten();
        for inner in found.filter_map(|entry| entry.get_mut("resource")?.as_object_mut()) {
            ["id", "meta"].iter().for_each(|name| drop(inner.shift_remove(*name)));
        }
    }
    (format!("{} {body}", answer.status).replace(id, "ID"), headers)
}

/// All ways to ask about the Location with an id.
fn questions(who: &Bearer<'_>, id: &str) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    for path in ["", "/_history/1", "/_history/2", "/_history/3", "/_history/99", "/_history", "/$validate"] {
        for method in ["GET", "HEAD"] {
            let path = format!("Location/{id}{path}");
            answers.push((format!("{method} {path}"), who.send(method, &path, &[], "")));
        }
    }
    for query in [
        "?_summary=true",
        "?_elements=name",
        "?_format=xml",
        "/_history?_since=2020-01-01T00:00:00Z",
        "/_history?_at=2026",
        "/_history?_count=0",
        "/_history?_count=1",
        "/_history/1?_summary=true",
    ] {
        let path = format!("Location/{id}{query}");
        answers.push((format!("GET {path}"), who.get(&path)));
    }
    for tag in ["W/\"1\"", "W/\"2\"", "*"] {
        let path = format!("Location/{id}");
        answers.push((format!("GET {path} unless {tag}"), who.send("GET", &path, &[("if-none-match", tag)], "")));
    }
    let path = format!("Location/{id}/$validate?mode=delete");
    answers.push((format!("POST {path}"), who.send("POST", &path, &[], "")));
    for url in [
        format!("Location/{id}"),
        format!("Location/{id}/_history/1"),
        format!("Location/{id}/_history"),
        format!("Location?_id={id}"),
    ] {
        answers.push((format!("batch GET {url}"), who.post("", &bundle("batch", &[call("GET", &url)]))));
        answers.push((format!("transaction GET {url}"), who.post("", &bundle("transaction", &[call("GET", &url)]))));
    }
    for search in [
        format!("Location?_id={id}"),
        format!("Location?_id={id}&_summary=count"),
        format!("Location?_id={id}&_total=accurate"),
        format!("Location?_id:not={id}"),
        format!("?_type=Location&_id={id}"),
        format!("?_id={id}"),
        format!("Location?partof=Location/{id}"),
        format!("Location?partof:below=Location/{id}"),
        format!("Location?partof:above=Location/{id}"),
        format!("Location?_has:Location:partof:_id={id}"),
        format!("Location?partof._id={id}"),
    ] {
        answers.push((format!("GET {search}"), who.get(&search)));
    }
    answers
}

/// Nothing tells what is there from what is not.
fn assert_indistinct(who: &Bearer<'_>, hidden: &str, nobody: &str) {
    let mut faults = Vec::new();
    for ((what, there), (_, not_there)) in questions(who, hidden).iter().zip(questions(who, nobody)) {
        assert_silent(there, &[SECRET]);
        let ((one, mut ones), (two, mut twos)) = (told(there, hidden), told(&not_there, nobody));
        let (all_ones, all_twos) = (ones.clone(), twos.clone());
        ones.retain(|header| !all_twos.contains(header));
        twos.retain(|header| !all_ones.contains(header));
        if one != two || !ones.is_empty() || !twos.is_empty() {
            faults.push(format!("{what}\n  there:     {one} {ones:?}\n  not there: {two} {twos:?}"));
        }
    }
    assert!(faults.is_empty(), "told apart:\n{}", faults.join("\n"));
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn what_meets_the_constraint_is_read(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        for path in ["Location/able", "Location/able/_history/1", "Location/able/_history", "Location/able/$validate"] {
            assert_eq!(who.get(path).status, 200, "{path}");
        }
        assert_eq!(who.send("GET", "Location/able", &[("if-none-match", "W/\"1\"")], "").status, 304);
        assert_forbidden(&who.get("Organization/able"));
    }

    fn what_does_not_meet_it_cannot_be_told_from_what_is_not_there(server) {
        places(server);
        assert_eq!(everything(server).get("Location/hidden/_history/2").status, 200, "there is something to hide");
        assert_indistinct(&Bearer::of(server, ACTIVE), HIDDEN, NOBODY);
        assert_eq!(Bearer::of(server, ACTIVE).get("Location/hidden").status, 404);
    }

    fn nor_can_it_once_it_is_deleted(server) {
        places(server);
        assert_eq!(everything(server).delete("Location/hidden").status, 204);
        assert_eq!(everything(server).get("Location/hidden").status, 410, "there is something to hide");
        assert_indistinct(&Bearer::of(server, ACTIVE), HIDDEN, NOBODY);
        assert_eq!(Bearer::of(server, ACTIVE).get("Location/hidden").status, 404);
    }

    fn whoever_saw_what_was_deleted_is_told_that_it_was(server) {
        places(server);
        assert_eq!(everything(server).delete("Location/able").status, 204);
        let who = Bearer::of(server, ACTIVE);
        assert_eq!(who.get("Location/able").status, 410);
        assert_eq!(who.get("Location/able/_history/2").status, 410);
        assert_eq!(who.get("Location/able/_history/1").status, 200);
        assert_eq!(Bearer::of(server, "system/Location.rs?status=suspended").get("Location/able").status, 404);
    }

    fn what_is_hidden_later_is_hidden_from_then_on(server) {
        places(server);
        let (operator, who) = (everything(server), Bearer::of(server, ACTIVE));
        assert_eq!(who.get("Location/able").status, 200);
        operator.store(&location("able", "suspended", "Secret"));
        assert_eq!(who.get("Location/able").status, 404);
        assert_eq!(who.get("Location/able/_history/2").status, 404);
        assert_eq!(who.matches("Location"), ["Location/baker"]);
        operator.delete("Location/able");
        assert_eq!(who.get("Location/able").status, 404, "what they did not see any more was deleted");
        operator.store(&location("hidden", "active", "Shown"));
        assert_eq!(who.get("Location/hidden").body["name"], "Shown");
        assert_silent(&who.get("Location/hidden/_history"), &[SECRET]);
    }

    fn a_constraint_is_by_id_reference_or_code(server) {
        let operator = everything(server);
        let specialty = |code: &str| json!({"specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": code}]}]});
        operator.store(&with(role("one", "Practitioner/1", "Organization/acme"), &specialty("207Q00000X")));
        operator.store(&with(role("two", "Practitioner/2", "Organization/bolt"), &specialty("208D00000X")));
        operator.store(&json!({"resourceType": "PractitionerRole", "id": "three"}));
        for constraint in [
            "specialty=http://nucc.org/provider-taxonomy|207Q00000X",
            "specialty=http%3A%2F%2Fnucc.org%2Fprovider-taxonomy%7C207Q00000X",
            "specialty=207Q00000X",
            "organization=Organization/acme",
            "organization=acme",
            "practitioner=Practitioner/1",
            "_id=one",
            "practitioner=Practitioner/1&organization=Organization/acme",
            "specialty=207Q00000X&_id=one&active=true",
        ] {
            let who = Bearer::of(server, &format!("system/PractitionerRole.rs?{constraint}"));
            assert_eq!(who.get("PractitionerRole/one").status, 200, "{constraint}");
            assert_eq!(who.get("PractitionerRole/two").status, 404, "{constraint}");
            assert_eq!(who.get("PractitionerRole/three").status, 404, "{constraint}");
            assert_eq!(who.matches("PractitionerRole"), ["PractitionerRole/one"], "{constraint}");
        }
        for (constraint, name) in
            [("_id=one,two", "a list is one or the other"), ("specialty=207Q00000X,208D00000X", "of codes, too")]
        {
            let who = Bearer::of(server, &format!("system/PractitionerRole.rs?{constraint}"));
            assert_eq!(who.matches("PractitionerRole"), ["PractitionerRole/one", "PractitionerRole/two"], "{name}");
            assert_eq!(who.get("PractitionerRole/two").status, 200, "{name}");
            assert_eq!(who.get("PractitionerRole/three").status, 404, "{name}");
        }
    }

    fn all_constraints_of_a_scope_hold_together(server) {
        let operator = everything(server);
        operator.store(&role("both", "Practitioner/1", "Organization/acme"));
        operator.store(&role("one", "Practitioner/1", "Organization/bolt"));
        operator.store(&role("two", "Practitioner/2", "Organization/acme"));
        let who =
            Bearer::of(server, "system/PractitionerRole.rs?practitioner=Practitioner/1&organization=Organization/acme");
        assert_eq!(who.matches("PractitionerRole"), ["PractitionerRole/both"]);
        assert_eq!(who.get("PractitionerRole/both").status, 200);
        assert_eq!((who.get("PractitionerRole/one").status, who.get("PractitionerRole/two").status), (404, 404));
    }

    fn two_scopes_show_what_meets_one_of_their_constraints(server) {
        places(server);
        let who = Bearer::of(server, "system/Location.rs?status=active system/Location.rs?status=inactive");
        assert_eq!(who.matches("Location"), ["Location/able", "Location/baker", "Location/other"]);
        assert_eq!(who.get("Location?_summary=count").body["total"], 3);
        assert_eq!(who.get("Location/other").status, 200);
        assert_eq!(who.get("Location/hidden").status, 404);
        // Each letter by itself: to read all is not to search all.
        let who = Bearer::of(server, "system/Location.r system/Location.s?status=active");
        assert_eq!(who.get("Location/hidden").status, 200);
        assert_eq!(who.matches("Location"), ["Location/able", "Location/baker"]);
        let who = Bearer::of(server, "system/Location.rs?status=active system/Location.rs");
        assert_eq!(who.matches("Location").len(), 4, "one without a constraint is enough");
    }

    fn a_constraint_on_one_type_is_none_on_another(server) {
        places(server);
        let operator = everything(server);
        operator.store(&organization("acme", "Acme"));
        let who = Bearer::of(server, "system/Location.rs?status=active system/Organization.rs");
        assert_eq!(
            who.matches("?_type=Location,Organization"),
            ["Location/able", "Location/baker", "Organization/acme"]
        );
        let who = Bearer::of(server, "system/Location.rs?status=active system/Organization.r?name=acme");
        assert_eq!(who.get("Organization/acme").status, 200);
        assert_forbidden(&who.get("Organization"));
        assert_eq!(who.matches("?"), ["Location/able", "Location/baker"]);
    }
}

mod everybody {
    use super::*;

    const OPEN: &str = "system/Location.rs?status=active";

    on_both! {
        with { crate::harness::tokens::trusting_with(&[("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", super::OPEN)]) };

        fn what_everybody_may_see_may_have_a_constraint(server) {
            places(server);
            let nobody = Bearer::nobody(server);
            assert_eq!(nobody.matches("Location"), ["Location/able", "Location/baker"]);
            assert_eq!(nobody.get("Location/able").status, 200);
            super::super::assert_unknown(&nobody.delete("Location/able"));
            super::super::assert_unknown(&nobody.get("Organization"));
            assert_eq!(nobody.get("Location/hidden").status, 404);
            assert_silent(&nobody.get("Location/_history"), &[SECRET]);
        }
    }
}
