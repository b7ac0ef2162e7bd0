//! Searches by somebody who may see some resources of a type.

use serde_json::json;

use super::constraints::{ACTIVE, SECRET, places};
use super::leaks::directory;
use super::{
    assert_forbidden, assert_silent, bundle, call, everything, location, organization, practitioner, role, with,
};
use crate::harness::on_both;
use crate::harness::tokens::Bearer;

const BOTH: [&str; 2] = ["Location/able", "Location/baker"];

on_both! {
    with { crate::harness::tokens::trusting() };

    fn a_search_finds_what_may_be_seen_whatever_it_asks(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        for search in [
            "Location",
            "Location?name:missing=false",
            "Location?_id=able,baker,hidden,other",
            "Location?status=active,suspended,inactive",
            "Location?status:not=inactive",
            "Location?_lastUpdated=ge2020",
            "Location?_sort=name",
            "Location?_sort=-_lastUpdated",
            "Location?_count=1",
            "Location?_count=1&_sort=-name",
            "?",
            "?_type=Location",
            "?_count=1",
        ] {
            assert_eq!(who.matches(search), BOTH, "{search}");
        }
        for search in
            ["Location?name=secret", "Location?status=suspended", "Location?status:not=active", "Location?_id=hidden"]
        {
            let answer = who.get(search);
            assert_eq!((answer.status, &answer.body["total"]), (200, &json!(0)), "{search}: {answer}");
        }
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(who.send("POST", "Location/_search", &form, "name:contains=e").names("match"), BOTH);
        assert_forbidden(&who.get("Organization"));
    }

    fn a_count_counts_what_may_be_seen(server) {
        places(server);
        let who = Bearer::of(server, ACTIVE);
        for search in [
            "Location?_summary=count",
            "Location?_count=0",
            "?_summary=count",
            "?_type=Location&_summary=count",
            "Location?_total=accurate&_count=1",
            "Location?_total=estimate&_count=1",
        ] {
            let answer = who.get(search);
            assert_eq!((answer.status, &answer.body["total"]), (200, &json!(2)), "{search}: {answer}");
        }
        assert_eq!(who.get("Location?name=secret&_summary=count").body["total"], 0);
        let two = Bearer::of(server, "system/Location.s?status=active system/Location.s?_id=hidden");
        assert_eq!(two.get("Location?_summary=count").body["total"], 3);
        assert_eq!(two.get("Location?_total=accurate&_count=1").body["total"], 3);
    }

    fn pages_are_full_and_end_where_what_may_be_seen_ends(server) {
        let operator = everything(server);
        for n in 0..9 {
            operator.store(&location(
                &format!("l{n}"),
                if n % 3 == 0 { "active" } else { "suspended" },
                &format!("Here {n}"),
            ));
        }
        let who = Bearer::of(server, ACTIVE);
        for (sort, expected) in
            [("", ["l0", "l3", "l6"]), ("&_sort=name", ["l0", "l3", "l6"]), ("&_sort=-name", ["l6", "l3", "l0"])]
        {
            let pages = who.pages(&format!("Location?_count=1{sort}"));
            assert_eq!(pages.len(), 3, "{sort}");
            let ids: Vec<_> =
                pages.iter().map(|page| page.body["entry"][0]["resource"]["id"].as_str().expect("an id")).collect();
            assert_eq!(ids, expected, "{sort}");
        }
        // The cursor of somebody who sees more leads to no more.
        let next = operator.get("Location?_count=1&_sort=name").link("next").expect("a next page");
        let answer = who.get(&next);
        if answer.status == 200 {
            assert_eq!(answer.names("match"), ["Location/l3"]);
        } else {
            assert_eq!(answer.status, 400, "{answer}");
        }
    }

    fn includes_leave_out_what_may_not_be_seen(server) {
        let operator = everything(server);
        let at = |reference: &str| json!({"managingOrganization": {"reference": reference}});
        operator.store(&organization("acme", "Acme"));
        operator.store(&with(
            organization("shadow", "Secret"),
            &json!({"active": false, "partOf": {"reference": "Organization/acme"}}),
        ));
        operator.store(&with(organization("deep", "Deep"), &json!({"partOf": {"reference": "Organization/shadow"}})));
        operator.store(&with(location("one", "active", "One"), &at("Organization/acme")));
        operator.store(&with(location("two", "active", "Two"), &at("Organization/shadow")));
        operator.store(&with(location("dark", "suspended", "Secret"), &at("Organization/acme")));
        let who = Bearer::of(server, "system/Location.rs?status=active system/Organization.rs?active=true");
        let included = |search: &str| {
            let answer = who.get(search);
            assert_silent(&answer, &[SECRET]);
            assert_eq!(answer.status, 200, "{answer}");
            answer.names("include")
        };
        assert_eq!(included("Location?_include=Location:organization"), ["Organization/acme"]);
        assert_eq!(included("Location?_include=*&_include:iterate=*"), ["Organization/acme"]);
        assert_eq!(included("Organization?_id=acme&_revinclude=Location:organization"), ["Location/one"]);
        assert_eq!(included("Organization?_id=acme&_revinclude=*"), ["Location/one"]);
        // Deep is part of what may not be seen, which is part of Acme.
        assert_eq!(included("Organization?_id=deep&_include:iterate=Organization:partof"), [""; 0]);
        assert_eq!(included("Organization?_id=acme&_revinclude:iterate=Organization:partof"), [""; 0]);
        let two = Bearer::of(
            server,
            "system/Location.rs system/Organization.rs?active=true system/Organization.rs?_id=shadow",
        );
        assert_eq!(two.get("Location?_include=*").names("include"), ["Organization/acme", "Organization/shadow"]);
        let batch = who.post("", &bundle("batch", &[call("GET", "Location?_include=Location:organization")]));
        assert_silent(&batch, &[SECRET]);
        let transaction =
            who.post("", &bundle("transaction", &[call("GET", "Location?_include=Location:organization")]));
        assert_silent(&transaction, &[SECRET]);
    }

    fn chains_lead_only_through_what_may_be_seen(server) {
        let operator = everything(server);
        operator.store(&practitioner("open", "Meier"));
        operator.store(&with(practitioner("shadow", "Secret"), &json!({"active": false})));
        operator.store(&role("one", "Practitioner/open", "Organization/acme"));
        operator.store(&role("two", "Practitioner/shadow", "Organization/acme"));
        operator.store(&organization("acme", "Acme"));
        let who =
            Bearer::of(server, "system/PractitionerRole.rs system/Practitioner.rs?active=true system/Organization.rs");
        assert_eq!(who.matches("PractitionerRole?practitioner.name=Meier"), ["PractitionerRole/one"]);
        assert_eq!(who.matches("PractitionerRole?practitioner:Practitioner.name=Meier"), ["PractitionerRole/one"]);
        for search in [
            "PractitionerRole?practitioner.name=Secret",
            "PractitionerRole?practitioner.active=false",
            "PractitionerRole?practitioner._id=shadow",
            "PractitionerRole?practitioner.name:not=Meier&practitioner.active=false",
            "Organization?_has:PractitionerRole:organization:practitioner.name=Secret",
        ] {
            let answer = who.get(search);
            assert!(answer.names("match").is_empty(), "{search}: {answer}");
            let counted = who.get(&format!("{search}&_summary=count"));
            assert_eq!(
                counted.body["total"],
                if answer.status == 200 { json!(0) } else { json!(null) },
                "{search}: {counted}"
            );
        }
        assert_eq!(
            who.matches("Organization?_has:PractitionerRole:organization:practitioner.name=Meier"),
            ["Organization/acme"]
        );
        // Roles are seen in part: what has such a role, and what does not.
        let who =
            Bearer::of(server, "system/PractitionerRole.rs?practitioner=Practitioner/open system/Practitioner.rs");
        assert_eq!(
            who.matches("Practitioner?_has:PractitionerRole:practitioner:organization=Organization/acme"),
            ["Practitioner/open"]
        );
        assert_eq!(who.get("Practitioner?_has:PractitionerRole:practitioner:_id=two&_summary=count").body["total"], 0);
    }

    fn hierarchies_of_resources_that_are_seen_in_part_are_refused(server) {
        directory(server);
        let who = Bearer::of(server, "system/PractitionerRole.rs system/Organization.rs?name=acme");
        // Holding may not be seen: who belongs to it is not told.
        for search in [
            "PractitionerRole?organization.partof:below=Organization/holding",
            "Organization?partof:below=Organization/holding",
            "Organization?partof:above=Organization/acme",
            "Organization?partof:below=Organization/none",
        ] {
            let answer = who.get(search);
            assert_forbidden(&answer);
        }
        // By one step it is not told either.
        assert!(who.get("PractitionerRole?organization.partof.name=Holding").names("match").is_empty());
        assert_eq!(who.matches("PractitionerRole?organization.name=Acme"), ["PractitionerRole/work"]);
    }
}
