//! Who may export what, and who sees whose exports.

use serde_json::{Value, json};

use super::{exported, holds, kick_off, lines, location, manifest, names, organization, outcome, practitioner};
use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server, on_both};

fn everything(server: &Server) -> Bearer<'_> {
    Bearer::of(server, "system/*.cruds system/AuditEvent.rs")
}

fn fill(server: &Server) {
    let operator = everything(server);
    for resource in [
        organization("a", "Acme"),
        location("open", "active"),
        location("shut", "inactive"),
        practitioner("p", "Smith"),
        json!({"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "Practitioner/p"}}),
        json!({"resourceType": "Subscription", "id": "s", "status": "requested", "reason": "r", "criteria": "Location",
            "channel": {"type": "rest-hook", "endpoint": "https://example.org"}}),
        json!({"resourceType": "Task", "id": "t", "status": "draft", "intent": "order"}),
    ] {
        operator.store(&resource);
    }
}

#[track_caller]
fn assert_status(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer}");
    assert_eq!(answer.issue().1, code, "{answer}");
}

#[track_caller]
fn assert_unknown(answer: &Answer) {
    assert_status(answer, 401, "login");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"Plumbline\""));
}

on_both! {
    with { crate::harness::tokens::trusting_with(&[("PLUMBLINE_EXPORT__CLIENT_MAX", "100")]) };

    fn an_export_holds_what_its_scopes_reach(server) {
        fill(server);
        let all = ["Location/open", "Location/shut", "Organization/a", "Practitioner/p", "PractitionerRole/r", "Task/t"];
        for (scope, query, expected) in [
            ("system/*.rs", "", &all[..]),
            ("system/*.cruds system/AuditEvent.rs", "", &all),
            ("system/*.rs", "?_type=Subscription,Location", &["Location/open", "Location/shut", "Subscription/s"]),
            ("system/Location.rs", "", &["Location/open", "Location/shut"]),
            ("system/Location.rs system/Task.rs", "", &["Location/open", "Location/shut", "Task/t"]),
            // Reading alone, and searching alone, is not exporting.
            ("system/Location.rs system/Task.r system/Organization.s", "", &["Location/open", "Location/shut"]),
            ("system/Location.rs?status=active", "", &["Location/open"]),
            ("system/Location.rs?status=active system/Location.rs?name=shut", "?_type=Location", &["Location/open", "Location/shut"]),
            ("system/Location.rs?status=active", "?_typeFilter=Location?name=shut,Location?name=open", &["Location/open"]),
            ("system/Location.rs?status=active", "?_since=2020-01-01T00:00:00Z", &["Location/open"]),
            ("system/PractitionerRole.rs system/Practitioner.rs?name=jones", "?_type=PractitionerRole&_typeFilter=PractitionerRole?practitioner.name=smith", &[]),
            ("system/PractitionerRole.rs system/Practitioner.rs?name=smith", "?_type=PractitionerRole&_typeFilter=PractitionerRole?practitioner.name=smith,PractitionerRole?practitioner.name=jones", &["PractitionerRole/r"]),
        ] {
            assert_eq!(holds(&Bearer::of(server, scope), &format!("$export{query}")), expected, "{scope} {query}");
        }
        let recorded = holds(&Bearer::of(server, "system/*.rs system/AuditEvent.rs"), "$export?_type=AuditEvent");
        assert!(!recorded.is_empty() && recorded.iter().all(|it| it.starts_with("AuditEvent/")), "{recorded:?}");
    }

    fn what_may_not_be_read_is_refused_when_it_is_named(server) {
        fill(server);
        for (scope, path) in [
            ("system/Location.rs", "$export?_type=Organization"),
            ("system/Location.rs", "$export?_type=Location,Organization"),
            ("system/Location.rs", "Organization/$export"),
            ("system/*.rs", "$export?_type=AuditEvent"),
            ("system/Location.r", "$export?_type=Location"),
            ("system/Location.s", "$export?_type=Location"),
            ("system/Location.cud", "$export"),
            ("openid", "$export"),
            ("patient/*.rs", "$export"),
            ("system/Location.rs", "$export?_typeFilter=Organization?name=x"),
            ("system/PractitionerRole.rs", "$export?_typeFilter=PractitionerRole?practitioner.name=smith"),
            ("system/Practitioner.rs", "$export?_typeFilter=Practitioner?_has:PractitionerRole:practitioner:active=true"),
        ] {
            assert_status(&Bearer::of(server, scope).get(path), 403, "forbidden");
            assert_unknown(&Bearer::nobody(server).get(path));
            let wrong = Bearer::new(server, "x.y.z".to_owned()).get(path);
            assert_status(&wrong, 401, "security");
        }
    }

    fn an_export_is_its_clients_alone(server) {
        fill(server);
        let own = Bearer::of(server, "system/*.rs");
        let url = kick_off(&own, "$export?_type=Location,Organization&_since=2020-01-01T00:00:00Z");
        let manifest = manifest(&own, &url);
        assert_eq!(manifest["requiresAccessToken"], true);
        let file = manifest["output"][0]["url"].as_str().expect("a URL").to_owned();
        let others = [
            Bearer::with(server, "system/*.rs", &json!({"client_id": "other"})),
            Bearer::user(server, "user/*.rs", "Practitioner/1"),
        ];
        for path in [&url, &file] {
            assert_unknown(&Bearer::nobody(server).get(path));
            for other in &others {
                assert_status(&other.get(path), 404, "not-found");
            }
            assert_status(&Bearer::new(server, "x.y.z".to_owned()).get(path), 401, "security");
        }
        assert_unknown(&Bearer::nobody(server).delete(&url));
        for other in &others {
            assert_status(&other.delete(&url), 404, "not-found");
        }
        // Another token of the same client will do, as long as it reaches as far.
        assert_eq!(Bearer::of(server, "system/Organization.rs system/Location.rs").get(&url).status, 200);
        assert_status(&Bearer::of(server, "system/Organization.rs").get(&url), 403, "forbidden");
        assert_eq!(manifest["output"][0]["type"], "Organization");
        assert_eq!(Bearer::of(server, "system/Organization.rs").get(&file).status, 200);
        assert_status(&Bearer::of(server, "system/Organization.rs?name=Acme").get(&file), 403, "forbidden");
        assert_status(&Bearer::of(server, "system/Location.rs").get(&file), 403, "forbidden");
        assert_eq!(own.delete(&url).status, 202);
        for gone in [&url, &file] {
            assert_status(&own.get(gone), 404, "not-found");
            assert_unknown(&Bearer::nobody(server).get(gone));
        }
        assert_status(&own.delete(&url), 404, "not-found");
    }

    fn a_constraint_holds_for_the_download_too(server) {
        fill(server);
        let scope = "system/Location.rs?status=active system/Location.rs?name=x";
        let own = Bearer::of(server, scope);
        let manifest = exported(&own, "$export");
        let file = manifest["output"][0]["url"].as_str().expect("a URL");
        assert_eq!(own.get(file).status, 200);
        assert_eq!(Bearer::of(server, "system/Location.rs").get(file).status, 200);
        assert_eq!(Bearer::of(server, &format!("{scope} system/Location.rs?name=y")).get(file).status, 200);
        assert_status(&Bearer::of(server, "system/Location.rs?status=active").get(file), 403, "forbidden");
    }

    fn what_was_deleted_is_told_to_those_who_saw_it(server) {
        fill(server);
        let operator = everything(server);
        for id in ["open", "shut"] {
            assert_eq!(operator.delete(&format!("Location/{id}")).status, 204);
        }
        assert_eq!(operator.delete("Task/t").status, 204);
        let told = |scope: &str| {
            let bearer = Bearer::of(server, scope);
            let manifest = exported(&bearer, "$export?_since=2020-01-01T00:00:00Z");
            let bundles = lines(&bearer, &manifest, "deleted");
            let entries = bundles.iter().flat_map(|bundle| bundle["entry"].as_array().expect("entries").clone());
            let mut urls: Vec<String> = entries.map(|it| it["request"]["url"].as_str().expect("a URL").to_owned()).collect();
            urls.sort();
            urls
        };
        assert_eq!(told("system/*.rs"), ["Location/open", "Location/shut", "Task/t"]);
        assert_eq!(told("system/Location.rs?status=active"), ["Location/open"]);
        assert_eq!(told("system/Organization.rs"), Vec::<String>::new());
    }

    fn it_is_on_record(server) {
        fill(server);
        let own = Bearer::of(server, "system/Location.rs");
        let url = kick_off(&own, "$export?_typeFilter=Location?name=secret");
        manifest(&own, &url);
        let id = url.rsplit('/').next().expect("an id");
        let events = everything(server).pages("AuditEvent?type=http://dicom.nema.org/resources/ontology/DCM|110106");
        let events: Vec<&Value> = events.iter().flat_map(|page| page.entries("match")).collect();
        let [asked, complete] = events.as_slice() else { panic!("two: {events:?}") };
        for event in [asked, complete] {
            assert_eq!((&event["outcome"], &event["agent"][0]["name"]), (&json!("0"), &json!("finder")), "{event}");
            assert_eq!(event["subtype"][0]["code"], "operation");
        }
        assert_eq!(asked["outcomeDesc"], format!("export {id} of Location was asked for"));
        assert_eq!(complete["outcomeDesc"], format!("export {id} is complete: 0 files, 0 lines"));
    }
}

mod open {
    use super::*;

    on_both! {
        with [("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", "system/Location.rs system/Organization.cruds"), ("PLUMBLINE_EXPORT__CLIENT_MAX", "100")];

        fn nobody_in_particular_sees_their_own_exports(server) {
            let nobody = Bearer::nobody(server);
            nobody.store(&organization("a", "A"));
            let url = kick_off(&nobody, "$export");
            let found = manifest(&nobody, &url);
            assert_eq!(found["requiresAccessToken"], false);
            assert_eq!(names(&nobody, &found), ["Organization/a"]);
            assert_unknown(&nobody.get("$export?_type=Task"));
            let printed = Bearer::new(server, crate::harness::tokens::printed(server, "system/*.rs"));
            assert_status(&printed.get(&url), 404, "not-found");
            assert_eq!(nobody.delete(&url).status, 202);
            assert_status(&nobody.get(&url), 404, "not-found");
            assert_status(&nobody.delete(&url), 404, "not-found");
            // Of one that was asked for with a token, nobody is told without.
            let url = kick_off(&printed, "$export?_type=Organization");
            assert_eq!(outcome(&printed, &url).status, 200);
            assert_unknown(&nobody.get(&url));
        }
    }
}

#[test]
fn what_was_open_is_closed_for_exports_that_wait() {
    // Not asked of both: it is about settings, and never gets as far as the database.
    let first = Server::sqlite(&[("PLUMBLINE_EXPORT__RUNNING_MAX", "0")]);
    let url = kick_off(&Bearer::nobody(&first), "$export?_type=Organization");
    let folder = first.data().join("exports").display().to_string();
    let closed = [
        ("PLUMBLINE_EXPORT__RUNNING_MAX", "1"),
        ("PLUMBLINE_EXPORT__FOLDER", &folder),
        ("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", "system/Location.rs"),
    ];
    let _second = first.second(&closed);
    let answer = outcome(&Bearer::nobody(&first), &url);
    assert_status(&answer, 403, "forbidden");
}
