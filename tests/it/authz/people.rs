//! What an app may do for a person: for somebody who is a Practitioner, for a member, for a patient.

use serde_json::{Value, json};

use super::{
    assert_forbidden, bundle, call, entry, everything, organization, practitioner, replace, role, statuses, unnamed,
    with,
};
use crate::harness::tokens::{self, Bearer};
use crate::harness::{Server, on_both};

/// The types of the directory, and the others.
pub const DIRECTORY: [&str; 8] = [
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "HealthcareService",
    "OrganizationAffiliation",
    "Endpoint",
    "InsurancePlan",
];
pub const OTHERS: [&str; 10] = [
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

/// Practitioners 1 and 2, each with a role at Acme.
fn practice(server: &Server) {
    let operator = everything(server);
    operator.store(&practitioner("1", "Meier"));
    operator.store(&practitioner("2", "Huber"));
    operator.store(&organization("acme", "Acme"));
    operator.store(&role("mine", "Practitioner/1", "Organization/acme"));
    operator.store(&role("theirs", "Practitioner/2", "Organization/acme"));
    operator.store(&json!({"resourceType": "PractitionerRole", "id": "nobodys"}));
}

fn at_acme(practitioner: &str) -> Value {
    unnamed(role("", practitioner, "Organization/acme"))
}

/// Every version of everything but the record, so that nothing is overlooked.
pub fn state(server: &Server) -> Vec<String> {
    super::versions(&Bearer::of(server, "system/*.cruds").get("_history?_count=1000"))
}

/// That somebody can change nothing at all.
fn assert_only_reads(server: &Server, who: &Bearer<'_>) {
    let before = state(server);
    for (kind, id) in [("Practitioner", "1"), ("PractitionerRole", "mine"), ("Organization", "acme"), ("Patient", "5")]
    {
        let path = format!("{kind}/{id}");
        let resource = json!({"resourceType": kind, "id": id});
        // A Patient is none of the types that are stored here.
        let expected = if kind == "Patient" { 404 } else { 403 };
        for answer in [
            who.put(&path, &resource),
            who.patch(&path, &replace("/active", "x")),
            who.delete(&path),
            who.post(kind, &unnamed(resource.clone())),
            who.delete(&format!("{kind}?_id={id}")),
        ] {
            assert_eq!(answer.status, expected, "{path}: {answer}");
        }
    }
    assert_forbidden(&who.post("", &bundle("transaction", &[call("DELETE", "Practitioner/1")])));
    assert_eq!(state(server), before);
}

fn assert_reads_the_directory(who: &Bearer<'_>) {
    for kind in DIRECTORY {
        assert_eq!(who.get(kind).status, 200, "{kind}");
        assert_eq!(who.get(&format!("{kind}/_history")).status, 200, "{kind}");
        assert_eq!(who.get(&format!("{kind}/none")).status, 404, "{kind}");
    }
    for kind in OTHERS {
        assert_forbidden(&who.get(kind));
        assert_forbidden(&who.get(&format!("{kind}/_history")));
        assert_forbidden(&who.get(&format!("{kind}/none")));
    }
    assert_eq!(who.get("Practitioner/1").status, 200);
    assert_eq!(who.get("?_summary=count").status, 200);
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn a_practitioner_changes_themselves_and_no_other(server) {
        practice(server);
        let who = Bearer::user(server, "user/*.cruds", "Practitioner/1");
        assert_eq!(who.put("Practitioner/1", &practitioner("1", "Meier-Huber")).status, 200);
        assert_eq!(
            who.patch("Practitioner/1", &json!([{"op": "replace", "path": "/active", "value": false}])).status,
            200
        );
        assert_eq!(who.put("Practitioner?name=Meier-Huber", &practitioner("1", "Meier")).status, 200);
        let before = state(server);
        assert_forbidden(&who.put("Practitioner/2", &practitioner("2", "Taken")));
        assert_forbidden(&who.patch("Practitioner/2", &json!([{"op": "replace", "path": "/active", "value": false}])));
        assert_forbidden(&who.put("Practitioner/3", &practitioner("3", "New")));
        assert_forbidden(&who.put("Practitioner?name=Huber", &practitioner("2", "Taken")));
        assert_forbidden(&who.put("Practitioner?name=Nobody", &practitioner("3", "New")));
        assert_forbidden(&who.post("Practitioner", &unnamed(practitioner("", "New"))));
        assert_forbidden(&who.delete("Practitioner/1"));
        assert_forbidden(&who.delete("Practitioner/2"));
        assert_forbidden(&who.delete("Practitioner?_id=1"));
        for kind in DIRECTORY.iter().skip(2).chain(&OTHERS) {
            assert_forbidden(&who.put(&format!("{kind}/acme"), &json!({"resourceType": kind, "id": "acme"})));
            assert_forbidden(&who.post(kind, &json!({"resourceType": kind})));
            assert_forbidden(&who.delete(&format!("{kind}/acme")));
        }
        assert_eq!(state(server), before);
    }

    fn nobody_makes_themselves_a_practitioner(server) {
        practice(server);
        let operator = everything(server);
        let who = Bearer::user(server, "user/*.cruds", "Practitioner/9");
        assert_forbidden(&who.put("Practitioner/9", &practitioner("9", "New")));
        assert_eq!(operator.get("Practitioner/9").status, 404);
        assert_eq!(operator.delete("Practitioner/1").status, 204);
        let former = Bearer::user(server, "user/*.cruds", "Practitioner/1");
        assert_forbidden(&former.put("Practitioner/1", &practitioner("1", "Back")));
        assert_eq!(operator.get("Practitioner/1").status, 410, "who was taken out does not come back alone");
    }

    fn a_practitioner_changes_the_roles_they_have(server) {
        practice(server);
        let operator = everything(server);
        let who = Bearer::user(server, "user/*.cruds", "Practitioner/1");
        let made = who.post("PractitionerRole", &at_acme("Practitioner/1"));
        assert_eq!(made.status, 201, "{made}");
        assert_eq!(who.post("PractitionerRole", &at_acme(&format!("{}/Practitioner/1", server.base))).status, 201);
        assert_eq!(who.put("PractitionerRole/new", &role("new", "Practitioner/1", "Organization/acme")).status, 201);
        assert_eq!(who.put("PractitionerRole/mine", &role("mine", "Practitioner/1", "Organization/bolt")).status, 200);
        assert_eq!(
            who.patch("PractitionerRole/mine", &replace("/organization/reference", "Organization/acme")).status,
            200
        );
        assert_eq!(who.delete("PractitionerRole/new").status, 204);
        assert_eq!(operator.matches("PractitionerRole?practitioner=Practitioner/1").len(), 3);
        let before = state(server);
        for other in [
            "Practitioner/2",
            "Practitioner/11",
            "https://elsewhere.example/fhir/Practitioner/1",
            "urn:uuid:7f3c6e0a-2f3b-4f3e-9b1a-0d3f5b1c2a4d",
        ] {
            assert_forbidden(&who.post("PractitionerRole", &at_acme(other)));
        }
        assert_forbidden(&who.post("PractitionerRole", &json!({"resourceType": "PractitionerRole"})));
        let inside = json!({"resourceType": "PractitionerRole", "contained": [practitioner("1", "Meier")], "practitioner": {"reference": "#1"}});
        assert_forbidden(&who.post("PractitionerRole", &inside));
        assert_forbidden(&who.put("PractitionerRole/theirs", &role("theirs", "Practitioner/2", "Organization/bolt")));
        assert_forbidden(&who.delete("PractitionerRole/theirs"));
        assert_forbidden(&who.delete("PractitionerRole/nobodys"));
        assert_eq!(state(server), before);
    }

    fn a_role_is_neither_taken_over_nor_given_away(server) {
        practice(server);
        let who = Bearer::user(server, "user/*.cruds", "Practitioner/1");
        let before = state(server);
        let take = role("theirs", "Practitioner/1", "Organization/acme");
        let give = role("mine", "Practitioner/2", "Organization/acme");
        let fresh = |resource: &Value, id: &str| with(resource.clone(), &json!({"id": id}));
        for answer in [
            who.put("PractitionerRole/theirs", &take),
            who.put("PractitionerRole/nobodys", &fresh(&take, "nobodys")),
            who.put("PractitionerRole?_id=theirs", &take),
            who.patch("PractitionerRole/theirs", &replace("/practitioner/reference", "Practitioner/1")),
            who.patch("PractitionerRole?_id=theirs", &replace("/practitioner/reference", "Practitioner/1")),
            who.put("PractitionerRole/mine", &give),
            who.put("PractitionerRole?practitioner=Practitioner/1", &give),
            who.patch("PractitionerRole/mine", &replace("/practitioner/reference", "Practitioner/2")),
            who.patch("PractitionerRole/mine", &json!([{"op": "remove", "path": "/practitioner"}])),
            who.delete("PractitionerRole?organization=Organization/acme"),
        ] {
            assert_forbidden(&answer);
        }
        for entry in [
            entry("PUT", "PractitionerRole/theirs", take),
            entry("PUT", "PractitionerRole/mine", give),
            super::entry_patch("PractitionerRole/theirs", "practitioner.reference", "Practitioner/1"),
            super::entry_patch("PractitionerRole/mine", "practitioner.reference", "Practitioner/2"),
            call("DELETE", "PractitionerRole/theirs"),
        ] {
            let own = super::entry("POST", "PractitionerRole", at_acme("Practitioner/1"));
            assert_forbidden(&who.post("", &bundle("transaction", &[own, entry.clone()])));
            assert_eq!(statuses(&who.post("", &bundle("batch", &[entry]))), ["403"]);
        }
        // Another entry does not make them somebody else.
        let urn = "urn:uuid:7f3c6e0a-2f3b-4f3e-9b1a-0d3f5b1c2a4d";
        let mut other = entry("PUT", "Practitioner/1", practitioner("1", "Meier"));
        other["fullUrl"] = json!(urn);
        let own = entry("POST", "PractitionerRole", at_acme(urn));
        assert_eq!(state(server), before);
        assert_eq!(
            statuses(&who.post("", &bundle("transaction", &[own, other]))),
            ["201", "200"],
            "this is they themselves"
        );
    }

    fn a_practitioner_reads_the_directory_and_nothing_else(server) {
        practice(server);
        assert_reads_the_directory(&Bearer::user(server, "user/*.cruds", "Practitioner/1"));
        let history = Bearer::user(server, "user/*.cruds", "Practitioner/1").get("_history");
        assert!(!history.text.contains("AuditEvent"), "{history}");
    }

    fn scopes_and_what_a_person_is_decide_together(server) {
        practice(server);
        let who = |scope: &str| Bearer::user(server, scope, "Practitioner/1");
        assert_forbidden(&who("user/*.rs").put("Practitioner/1", &practitioner("1", "New")));
        assert_forbidden(&who("user/PractitionerRole.cruds").put("Practitioner/1", &practitioner("1", "New")));
        assert_forbidden(&who("user/Practitioner.u").get("Practitioner/1"));
        assert_eq!(who("user/Practitioner.u").put("Practitioner/1", &practitioner("1", "New")).status, 200);
        let active = who("user/PractitionerRole.u?active=true");
        assert_eq!(
            active.put("PractitionerRole/mine", &role("mine", "Practitioner/1", "Organization/bolt")).status,
            200
        );
        assert_forbidden(
            &active.patch("PractitionerRole/mine", &json!([{"op": "replace", "path": "/active", "value": false}])),
        );
        assert_forbidden(
            &active.put("PractitionerRole/theirs", &role("theirs", "Practitioner/1", "Organization/bolt")),
        );
        let some = who("user/Practitioner.rs?name=Huber");
        assert_eq!(some.matches("Practitioner"), ["Practitioner/2"]);
        assert_eq!(some.get("Practitioner/1").status, 404, "a constraint hides them from themselves");
    }

    fn a_person_is_who_the_whole_reference_says(server) {
        practice(server);
        let own = Bearer::user(server, "user/*.cruds", &format!("{}/Practitioner/1", server.base));
        assert_eq!(own.put("Practitioner/1", &practitioner("1", "New")).status, 200);
        for other in [
            "https://elsewhere.example/fhir/Practitioner/1",
            "PractitionerRole/mine",
            "admin",
            "Practitioner",
            "practitioner/1",
            "Practitioner/1/",
            "Practitioner/1 ",
            "",
            "1",
        ] {
            let who = Bearer::user(server, "user/*.cruds", other);
            for (path, resource) in [
                ("Practitioner/1", practitioner("1", "Taken")),
                ("Practitioner/2", practitioner("2", "Taken")),
                ("PractitionerRole/mine", role("mine", "Practitioner/1", "Organization/bolt")),
            ] {
                let answer = who.put(path, &resource);
                assert_eq!(answer.status, 403, "'{other}' {path}: {answer}");
            }
        }
    }

    fn a_list_of_people_is_nobody(server) {
        practice(server);
        for list in [
            "Practitioner/1,2",
            "Practitioner/2,1",
            "Practitioner/2,Practitioner/1",
            "Practitioner/2|1",
            "Practitioner/2&_id=1",
        ] {
            let who = Bearer::user(server, "user/*.cruds", list);
            let answers = [
                who.put("Practitioner/1", &practitioner("1", "Taken")),
                who.put("PractitionerRole/mine", &role("mine", "Practitioner/1", "Organization/bolt")),
            ];
            assert_eq!(answers.map(|answer| answer.status), [403, 403], "{list}");
        }
    }

    fn a_member_only_reads(server) {
        practice(server);
        for person in ["Patient/5", "RelatedPerson/5", "Person/5", "https://members.example/Patient/5"] {
            let who = Bearer::user(server, "user/*.cruds", person);
            assert_only_reads(server, &who);
            assert_reads_the_directory(&who);
        }
        // An app without a person is not more.
        assert_only_reads(server, &Bearer::of(server, "user/*.cruds"));
    }

    fn an_app_of_a_patient_only_reads_and_only_with_a_patient(server) {
        practice(server);
        let patient = Bearer::with(server, "patient/*.cruds", &json!({"patient": "5", "fhirUser": "Patient/5"}));
        assert_only_reads(server, &patient);
        assert_reads_the_directory(&patient);
        // Who the person is makes no difference: the scope is the patient's.
        let doctor = Bearer::with(server, "patient/*.cruds", &json!({"patient": "5", "fhirUser": "Practitioner/1"}));
        assert_only_reads(server, &doctor);
        let nobody = Bearer::user(server, "patient/*.cruds", "Patient/5");
        assert_only_reads(server, &nobody);
        for kind in DIRECTORY.iter().chain(&OTHERS) {
            assert_forbidden(&nobody.get(kind));
            assert_forbidden(&nobody.get(&format!("{kind}/1")));
        }
        assert_forbidden(&nobody.get("_history"));
        let some = Bearer::with(server, "patient/Practitioner.rs?name=Huber", &json!({"patient": "5"}));
        assert_eq!(some.matches("Practitioner"), ["Practitioner/2"]);
        assert_forbidden(&some.get("Organization"));
    }

    fn a_token_of_a_person_ends_with_its_time(server) {
        practice(server);
        let past = json!({"fhirUser": "Practitioner/1", "exp": tokens::now_s() - 3600});
        super::assert_invalid(
            &Bearer::with(server, "user/*.cruds", &past).put("Practitioner/1", &practitioner("1", "New")),
        );
    }
}
