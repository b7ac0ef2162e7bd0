//! What is out of scope is not told about, in whatever way somebody asks.

use serde_json::{Value, json};

use super::{
    assert_forbidden, assert_silent, bundle, call, everything, location, organization, practitioner, role, statuses,
    versions, with,
};
use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server, on_both};

/// A small directory: Ann works for Acme, a part of Holding, on the first floor of the tower.
pub fn directory(server: &Server) {
    let operator = everything(server);
    let part = json!({"partOf": {"reference": "Organization/holding"}});
    let floor =
        json!({"partOf": {"reference": "Location/tower"}, "managingOrganization": {"reference": "Organization/acme"}});
    let place = json!({"location": [{"reference": "Location/floor"}]});
    let agent = json!({"resourceType": "Provenance", "id": "origin", "target": [{"reference": "Practitioner/ann"}],
        "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": {"display": "Registrar"}}]});
    for resource in [
        organization("holding", "Holding"),
        with(organization("acme", "Acme"), &part),
        location("tower", "active", "Tower"),
        with(location("floor", "active", "Floor"), &floor),
        practitioner("ann", "Meier"),
        practitioner("bob", "Huber"),
        with(role("work", "Practitioner/ann", "Organization/acme"), &place),
        agent,
    ] {
        operator.store(&resource);
    }
}

/// What must not be in an answer for somebody who may see Practitioners alone.
const SECRETS: &[&str] = &[
    "Acme",
    "Holding",
    "Tower",
    "Floor",
    "Registrar",
    "Organization/",
    "Location/",
    "PractitionerRole/",
    "Provenance/",
    "AuditEvent",
];

/// Each search is refused, in all ways to ask, in the same words whether something is found or nothing.
fn assert_no_oracle(who: &Bearer<'_>, hit: &str, miss: &str) {
    let told = |search: &str| {
        let (kind, query) = search.split_once('?').expect("a query");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let mut answers: Vec<Answer> = ["", "&_summary=count", "&_total=accurate", "&_count=0"]
            .iter()
            .map(|more| who.get(&format!("{search}{more}")))
            .collect();
        answers.push(who.send("POST", &format!("{kind}/_search"), &form, query));
        answers.push(who.get(&format!("?_type={kind}&{query}")));
        answers.push(who.post("", &bundle("transaction", &[call("GET", search)])));
        for answer in &answers {
            assert_eq!(answer.status, 403, "{search}: {answer}");
            assert_forbidden(answer);
        }
        let batch = who.post("", &bundle("batch", &[call("GET", search)]));
        assert_eq!(statuses(&batch), ["403"], "{search}: {batch}");
        let mut texts: Vec<String> = answers.into_iter().map(|answer| answer.text).collect();
        texts.push(batch.body["entry"].to_string());
        texts
    };
    assert_eq!(told(hit), told(miss), "{hit} and {miss} are told apart");
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn what_refers_to_a_match_comes_along_only_if_it_may_be_seen(server) {
        directory(server);
        let who = Bearer::of(server, "system/Practitioner.rs");
        for more in [
            "_revinclude=PractitionerRole:practitioner",
            "_revinclude=PractitionerRole:*",
            "_revinclude=*",
            "_revinclude:iterate=*",
            "_revinclude=Provenance:target",
            "_revinclude=AuditEvent:entity",
            "_include=*",
            "_include:iterate=*&_revinclude:iterate=*",
            "_revinclude=PractitionerRole:practitioner&_include:iterate=PractitionerRole:organization",
        ] {
            let search = format!("Practitioner?_id=ann&{more}");
            let batch = who.post("", &bundle("batch", &[call("GET", &search)]));
            let transaction = who.post("", &bundle("transaction", &[call("GET", &search)]));
            let answer = who.get(&search);
            assert_eq!(answer.names("match"), ["Practitioner/ann"], "{more}: {answer}");
            assert!(answer.names("include").is_empty(), "{more}: {answer}");
            for bundle in [&batch, &transaction] {
                assert_eq!(statuses(bundle), ["200"], "{more}: {bundle}");
                let found = &bundle.body["entry"][0]["resource"];
                let ids: Vec<&Value> =
                    found["entry"].as_array().expect("entries").iter().map(|it| &it["resource"]["id"]).collect();
                assert_eq!(ids, ["ann"], "{more}: {found}");
                let texts: Vec<String> =
                    found["entry"].as_array().expect("entries").iter().map(|it| it["resource"].to_string()).collect();
                assert!(SECRETS.iter().all(|secret| !texts.concat().contains(secret)), "{more}: {found}");
            }
        }
        let all = everything(server).get("Practitioner?_id=ann&_revinclude=*");
        assert!(
            all.names("include").contains(&"PractitionerRole/work".to_owned()),
            "there is something to leave out: {all}"
        );
        assert!(
            all.names("include").contains(&"Provenance/origin".to_owned()),
            "there is something to leave out: {all}"
        );
    }

    fn what_a_match_refers_to_comes_along_only_if_it_may_be_seen(server) {
        directory(server);
        let included = |scope: &str, more: &str| {
            let answer = Bearer::of(server, scope).get(&format!("PractitionerRole?{more}"));
            assert_eq!(answer.names("match"), ["PractitionerRole/work"], "{more}: {answer}");
            answer.names("include")
        };
        let alone = "system/PractitionerRole.rs";
        for more in [
            "_include=*",
            "_include=PractitionerRole:practitioner",
            "_include:iterate=*",
            "_include=PractitionerRole:*&_include:iterate=Organization:partof",
        ] {
            assert!(included(alone, more).is_empty(), "{more}");
        }
        let organizations = "system/PractitionerRole.rs system/Organization.rs";
        assert_eq!(included(organizations, "_include=*"), ["Organization/acme"]);
        assert_eq!(included(organizations, "_include:iterate=*"), ["Organization/acme", "Organization/holding"]);
        assert_eq!(included("system/*.rs", "_include=*"), ["Location/floor", "Organization/acme", "Practitioner/ann"]);
    }

    fn no_include_leads_through_what_may_not_be_seen(server) {
        directory(server);
        let more = "_revinclude=PractitionerRole:practitioner&_include:iterate=PractitionerRole:organization";
        let who = Bearer::of(server, "system/Practitioner.rs system/Organization.rs");
        let answer = who.get(&format!("Practitioner?_id=ann&{more}"));
        assert!(answer.names("include").is_empty(), "the role that leads to Acme is out of scope: {answer}");
        let who = Bearer::of(server, "system/Practitioner.rs system/Organization.rs system/PractitionerRole.rs");
        let answer = who.get(&format!("Practitioner?_id=ann&{more}"));
        assert_eq!(answer.names("include"), ["Organization/acme", "PractitionerRole/work"]);
    }

    fn chains_through_types_out_of_scope_are_refused(server) {
        directory(server);
        let roles = Bearer::of(server, "system/PractitionerRole.rs");
        for (hit, miss) in [
            ("practitioner.name=Meier", "practitioner.name=Nobody"),
            ("practitioner:Practitioner.name=Meier", "practitioner:Practitioner.name=Nobody"),
            ("practitioner.active=true", "practitioner.active=false"),
            ("practitioner._id=ann", "practitioner._id=nobody"),
            ("organization.name=Acme", "organization.name=Nobody"),
            ("organization:Organization.name=Acme", "organization:Organization.name=Nobody"),
            ("organization.partof.name=Holding", "organization.partof.name=Nobody"),
            ("location.organization.name=Acme", "location.organization.name=Nobody"),
            ("active=true&location.name=Floor", "active=true&location.name=Nobody"),
            ("practitioner.name:missing=false", "practitioner.name:missing=true"),
        ] {
            assert_no_oracle(&roles, &format!("PractitionerRole?{hit}"), &format!("PractitionerRole?{miss}"));
        }
        // One link of the chain is enough.
        let most = Bearer::of(server, "system/PractitionerRole.rs system/Location.rs");
        assert_no_oracle(
            &most,
            "PractitionerRole?location.organization.name=Acme",
            "PractitionerRole?location.organization.name=Nobody",
        );
        // To read what one knows is not to search.
        let readers = Bearer::of(server, "system/PractitionerRole.rs system/Practitioner.cru");
        assert_no_oracle(
            &readers,
            "PractitionerRole?practitioner.name=Meier",
            "PractitionerRole?practitioner.name=Nobody",
        );
        let enough = Bearer::of(server, "system/PractitionerRole.s system/Practitioner.s");
        assert_eq!(enough.matches("PractitionerRole?practitioner.name=Meier"), ["PractitionerRole/work"]);
    }

    fn reverse_chains_through_types_out_of_scope_are_refused(server) {
        directory(server);
        let people = Bearer::of(server, "system/Practitioner.rs");
        for (hit, miss) in [
            ("_has:PractitionerRole:practitioner:active=true", "_has:PractitionerRole:practitioner:active=false"),
            (
                "_has:PractitionerRole:practitioner:organization=Organization/acme",
                "_has:PractitionerRole:practitioner:organization=Organization/none",
            ),
            (
                "_has:PractitionerRole:practitioner:organization.name=Acme",
                "_has:PractitionerRole:practitioner:organization.name=None",
            ),
            ("_has:PractitionerRole:practitioner:_id=work", "_has:PractitionerRole:practitioner:_id=none"),
            ("_has:Provenance:target:recorded=2026", "_has:Provenance:target:recorded=2025"),
            (
                "name=Meier&_has:PractitionerRole:practitioner:active=true",
                "name=Nobody&_has:PractitionerRole:practitioner:active=false",
            ),
        ] {
            assert_no_oracle(&people, &format!("Practitioner?{hit}"), &format!("Practitioner?{miss}"));
        }
        let more = Bearer::of(server, "system/Practitioner.rs system/PractitionerRole.rs");
        assert_no_oracle(
            &more,
            "Practitioner?_has:PractitionerRole:practitioner:organization.name=Acme",
            "Practitioner?_has:PractitionerRole:practitioner:organization.name=None",
        );
        assert_eq!(more.matches("Practitioner?_has:PractitionerRole:practitioner:active=true"), ["Practitioner/ann"]);
        // The asterisk does not reach the record of who did what.
        let all = Bearer::of(server, "system/*.cruds");
        assert_no_oracle(
            &all,
            "Practitioner?_has:AuditEvent:entity:outcome=0",
            "Practitioner?_has:AuditEvent:entity:outcome=8",
        );
    }

    fn hierarchies_of_types_out_of_scope_are_refused(server) {
        directory(server);
        let origins = Bearer::of(server, "system/Provenance.rs");
        for (hit, miss) in [
            ("target:below=Practitioner/ann", "target:below=Practitioner/none"),
            ("target:above=Practitioner/ann", "target:above=Practitioner/none"),
        ] {
            assert_no_oracle(&origins, &format!("Provenance?{hit}"), &format!("Provenance?{miss}"));
        }
        assert_eq!(
            origins.matches("Provenance?target=Practitioner/ann"),
            ["Provenance/origin"],
            "its own reference is its own"
        );
        let roles = Bearer::of(server, "system/PractitionerRole.rs");
        for (hit, miss) in [
            ("organization.partof:below=Organization/holding", "organization.partof:below=Organization/none"),
            ("location.partof:above=Location/floor", "location.partof:above=Location/none"),
        ] {
            assert_no_oracle(&roles, &format!("PractitionerRole?{hit}"), &format!("PractitionerRole?{miss}"));
        }
        let more = Bearer::of(server, "system/PractitionerRole.rs system/Organization.rs system/Location.rs");
        assert_eq!(
            more.matches("PractitionerRole?organization.partof:below=Organization/holding"),
            ["PractitionerRole/work"]
        );
        let organizations = Bearer::of(server, "system/Organization.rs");
        assert_eq!(organizations.matches("Organization?partof:below=Organization/holding"), ["Organization/acme"]);
        // Those who may read, but not search.
        let readers = Bearer::of(server, "system/Provenance.rs system/Practitioner.r");
        assert_no_oracle(
            &readers,
            "Provenance?target:below=Practitioner/ann",
            "Provenance?target:below=Practitioner/none",
        );
    }

    fn the_record_is_not_reached_through_what_refers_to_it_or_is_in_it(server) {
        directory(server);
        let operator = everything(server);
        let event =
            operator.get("AuditEvent?_count=1").body["entry"][0]["resource"]["id"].as_str().expect("an id").to_owned();
        let origin = json!({"resourceType": "Provenance", "id": "log", "target": [{"reference": format!("AuditEvent/{event}")}],
            "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": {"display": "Registrar"}}]});
        operator.store(&origin);
        assert_eq!(
            operator.get("Provenance?_id=log&_include=Provenance:target").names("include"),
            [format!("AuditEvent/{event}")]
        );
        let all = Bearer::of(server, "system/*.cruds");
        for search in [
            "Provenance?_id=log&_include=Provenance:target",
            "Provenance?_id=log&_include=*",
            "Practitioner?_id=bob&_revinclude=*",
            "Practitioner?_id=bob&_revinclude=AuditEvent:entity",
            "?_id=bob&_revinclude:iterate=*&_include:iterate=*",
        ] {
            let answer = all.get(search);
            assert_eq!(answer.entries("match").len(), 1, "{search}: {answer}");
            assert!(answer.names("include").iter().all(|name| !name.starts_with("AuditEvent")), "{search}: {answer}");
        }
        assert_no_oracle(&all, "Provenance?target:AuditEvent.outcome=0", "Provenance?target:AuditEvent.outcome=8");
        let record = Bearer::of(server, "system/AuditEvent.rs");
        assert_no_oracle(
            &record,
            "AuditEvent?entity:Practitioner.name=Meier",
            "AuditEvent?entity:Practitioner.name=Nobody",
        );
        let answer = record.get("AuditEvent?entity=Practitioner/ann&_include=*");
        assert!(!answer.entries("match").is_empty() && answer.entries("include").is_empty(), "{answer}");
        // The asterisk does not write it either: what it would take is named in AuditEvent alone.
        assert_forbidden(&all.delete(&format!("AuditEvent/{event}")));
    }

    fn a_lenient_search_is_refused_as_well(server) {
        directory(server);
        let who = Bearer::of(server, "system/Practitioner.rs");
        for search in [
            "Practitioner?_has:PractitionerRole:practitioner:active=true&colour=red",
            "Practitioner?colour=red&_has:PractitionerRole:practitioner:organization.name=Acme",
            "Organization?colour=red",
        ] {
            for handling in ["handling=lenient", "handling=strict"] {
                let answer = who.send("GET", search, &[("prefer", handling)], "");
                assert!(matches!(answer.status, 400 | 403), "{search}: {answer}");
                assert_silent(&answer, &["Meier"]);
            }
        }
        let answer = who.send(
            "GET",
            "Practitioner?_revinclude=PractitionerRole:colour&_revinclude=PractitionerRole:practitioner&_id=ann",
            &[("prefer", "handling=lenient")],
            "",
        );
        assert_silent(&answer, &["PractitionerRole/work"]);
    }

    fn searches_and_histories_of_all_show_and_count_what_is_allowed(server) {
        directory(server);
        let who = Bearer::of(server, "system/Practitioner.rs");
        let both = ["Practitioner/ann", "Practitioner/bob"];
        for search in [
            "?",
            "?_type=Practitioner,Organization,PractitionerRole",
            "?_type=Practitioner,AuditEvent",
            "?_total=accurate",
            "?_count=1",
            "?_lastUpdated=ge2020",
            "?_sort=_lastUpdated",
        ] {
            assert_eq!(who.matches(search), both, "{search}");
        }
        for search in [
            "?_summary=count",
            "?_summary=count&_type=Practitioner,Organization",
            "Practitioner?_summary=count",
            "?_count=0",
        ] {
            let answer = who.get(search);
            assert_eq!((answer.status, &answer.body["total"]), (200, &json!(2)), "{search}: {answer}");
        }
        assert_eq!(who.get("?_total=accurate&_count=1").body["total"], 2);
        for search in [
            "?_type=Organization",
            "?_type=Organization,Location",
            "?_type=Organization&_summary=count",
            "?_type=AuditEvent",
        ] {
            assert_forbidden(&who.get(search));
        }
        assert_eq!(versions(&who.get("_history")), ["Practitioner/bob/1", "Practitioner/ann/1"]);
        let pages = who.pages("_history?_count=1");
        let found: Vec<String> = pages.iter().flat_map(versions).collect();
        assert_eq!(found, ["Practitioner/bob/1", "Practitioner/ann/1"]);
        for answer in pages.iter().chain([
            &who.get("?_summary=count"),
            &who.get("?"),
            &who.get("_history?_since=2020-01-01T00:00:00Z"),
        ]) {
            assert_silent(answer, SECRETS);
        }
    }
}
