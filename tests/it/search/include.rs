//! `_include` and `_revinclude` (R4 search.html#include).

use serde_json::{Value, json};

use super::{check_included, delete, load, modes, organization, refuse, resource};
use crate::harness::{Server, on_both};

fn to(resource_type: &str, id: &str) -> Value {
    json!({"reference": format!("{resource_type}/{id}")})
}

fn directory(server: &Server) {
    let base = server.base.clone();
    load(
        server,
        &[
            organization("root", json!({"name": "Root"})),
            organization("mid", json!({"name": "Mid", "partOf": to("Organization", "root")})),
            organization(
                "leaf",
                json!({"name": "Leaf", "partOf": {"reference": format!("{base}/Organization/mid")}, "endpoint": [to("Endpoint", "e")]}),
            ),
            resource(
                "Endpoint",
                "e",
                json!({
                    "status": "active", "connectionType": {"code": "hl7-fhir-rest"}, "payloadType": [{"text": "any"}], "address": "http://e.example",
                    "managingOrganization": to("Organization", "root"),
                }),
            ),
            resource("Practitioner", "p", json!({"name": [{"family": "P"}]})),
            resource("Location", "l", json!({"name": "L", "managingOrganization": to("Organization", "mid")})),
            resource(
                "PractitionerRole",
                "r1",
                json!({"practitioner": to("Practitioner", "p"), "organization": {"reference": format!("{base}/Organization/leaf")}, "location": [to("Location", "l")]}),
            ),
            resource(
                "PractitionerRole",
                "r2",
                json!({"practitioner": {"reference": "Practitioner/p/_history/1"}, "organization": to("Organization", "never")}),
            ),
        ],
    );
}

on_both! {
    fn include_brings_what_a_match_refers_to(server) {
        directory(server);
        check_included(server, &[
            ("PractitionerRole?_id=r1&_include=PractitionerRole:practitioner", &["Practitioner/p"]),
            ("PractitionerRole?_id=r1&_include=PractitionerRole:organization", &["Organization/leaf"]),
            ("PractitionerRole?_id=r1&_include=PractitionerRole:organization&_include=PractitionerRole:location", &["Organization/leaf", "Location/l"]),
            ("PractitionerRole?_id=r1&_include=PractitionerRole:*", &["Practitioner/p", "Organization/leaf", "Location/l"]),
            ("PractitionerRole?_id=r1&_include=*", &["Practitioner/p", "Organization/leaf", "Location/l"]),
            ("PractitionerRole?_id=r1&_include=PractitionerRole:organization:Organization", &["Organization/leaf"]),
            ("PractitionerRole?_id=r1&_include=PractitionerRole:*:Location", &["Location/l"]),
            ("PractitionerRole?_include=PractitionerRole:practitioner", &["Practitioner/p"]),
            ("Organization?_id=leaf&_include=Organization:partof", &["Organization/mid"]),
        ]);
    }

    fn what_cannot_be_found_is_left_out_without_an_error(server) {
        directory(server);
        check_included(server, &[
            ("PractitionerRole?_id=r2&_include=PractitionerRole:organization", &[]),
            ("PractitionerRole?_id=r2&_include=PractitionerRole:practitioner", &["Practitioner/p"]),
        ]);
        delete(server, &["Practitioner/p", "Organization/leaf"]);
        check_included(server, &[
            ("PractitionerRole?_include=PractitionerRole:practitioner&_include=PractitionerRole:organization", &[]),
            ("PractitionerRole?_include=*", &["Location/l"]),
            ("Organization?_id=mid&_revinclude=Organization:partof", &[]),
        ]);
        assert_eq!(modes(server, "PractitionerRole?_include=*").0, ["PractitionerRole/r1", "PractitionerRole/r2"]);
    }

    fn revinclude_brings_what_refers_to_a_match(server) {
        directory(server);
        check_included(server, &[
            ("Practitioner?_id=p&_revinclude=PractitionerRole:practitioner", &["PractitionerRole/r1", "PractitionerRole/r2"]),
            ("Organization?_id=leaf&_revinclude=PractitionerRole:organization", &["PractitionerRole/r1"]),
            ("Organization?_id=mid&_revinclude=Organization:partof", &["Organization/leaf"]),
            ("Organization?_id=mid&_revinclude=Organization:partof&_revinclude=Location:organization", &["Organization/leaf", "Location/l"]),
            ("Organization?_id=mid&_revinclude=*", &["Organization/leaf", "Location/l"]),
            ("Organization?_id=mid&_revinclude=Location:*", &["Location/l"]),
            ("Organization?_id=mid&_revinclude=Organization:partof:Organization", &["Organization/leaf"]),
            ("Organization?_id=leaf&_revinclude=PractitionerRole:organization&_include=Organization:partof", &["PractitionerRole/r1", "Organization/mid"]),
        ]);
    }

    fn iterate_goes_on_from_what_was_included(server) {
        directory(server);
        check_included(server, &[
            // One level only, unless it is asked for.
            ("PractitionerRole?_id=r1&_include=PractitionerRole:organization&_include=Organization:partof", &["Organization/leaf"]),
            ("PractitionerRole?_id=r1&_include=PractitionerRole:organization&_include:iterate=Organization:partof",
                &["Organization/leaf", "Organization/mid", "Organization/root"]),
            ("Organization?_id=leaf&_include:iterate=Organization:partof", &["Organization/mid", "Organization/root"]),
            ("Organization?_id=leaf&_include:recurse=Organization:partof", &["Organization/mid", "Organization/root"]),
            ("Organization?_id=root&_revinclude:iterate=Organization:partof", &["Organization/mid", "Organization/leaf"]),
            ("Organization?_id=leaf&_include=Organization:endpoint&_include:iterate=Endpoint:organization", &["Endpoint/e", "Organization/root"]),
            ("Practitioner?_id=p&_revinclude=PractitionerRole:practitioner&_include:iterate=PractitionerRole:location",
                &["PractitionerRole/r1", "PractitionerRole/r2", "Location/l"]),
            ("PractitionerRole?_id=r1&_include:iterate=*",
                &["Practitioner/p", "Organization/leaf", "Location/l", "Organization/mid", "Organization/root", "Endpoint/e"]),
        ]);
    }

    fn an_include_that_runs_in_a_circle_comes_to_an_end(server) {
        let part = |id: &str, of: &str| organization(id, json!({"name": id, "partOf": to("Organization", of)}));
        load(server, &[part("one", "three"), part("two", "one"), part("three", "two"), part("self", "self")]);
        check_included(server, &[
            ("Organization?_id=one&_include:iterate=Organization:partof", &["Organization/two", "Organization/three"]),
            ("Organization?_id=one&_revinclude:iterate=Organization:partof", &["Organization/two", "Organization/three"]),
            ("Organization?_id=self&_include:iterate=Organization:partof", &[]),
            ("Organization?_include:iterate=Organization:partof", &[]),
        ]);
    }

    fn a_match_that_is_also_included_comes_once_as_a_match(server) {
        directory(server);
        let (matches, included) = modes(server, "Organization?_include=Organization:partof&_revinclude=Organization:partof");
        assert_eq!(matches, ["Organization/leaf", "Organization/mid", "Organization/root"]);
        assert!(included.is_empty(), "{included:?}");
        let (matches, included) = modes(server, "Organization?_id=leaf,mid&_include=Organization:partof&_total=accurate");
        assert_eq!((matches, included), (vec!["Organization/leaf".to_owned(), "Organization/mid".to_owned()], vec!["Organization/root".to_owned()]));
        // Includes do not count.
        assert_eq!(server.get("Organization?_id=leaf,mid&_include=Organization:partof&_total=accurate").body["total"], 2);
    }

    fn an_include_whose_source_is_no_match_gives_nothing(server) {
        directory(server);
        check_included(server, &[
            ("Practitioner?_id=p&_include=PractitionerRole:organization", &[]),
            ("PractitionerRole?_id=r1&_include=Organization:partof", &[]),
            ("PractitionerRole?_id=r1&_revinclude=Location:partof", &[]),
            ("Location?_id=l&_include=Organization:endpoint&_include=Location:organization", &["Organization/mid"]),
        ]);
    }

    fn each_page_carries_the_includes_of_its_own_matches(server) {
        directory(server);
        let mut next = Some("PractitionerRole?_include=PractitionerRole:practitioner&_count=1".to_owned());
        let mut pages = 0;
        while let Some(url) = next {
            let page = server.get(&url);
            assert_eq!((page.entries("match").len(), page.names("include")), (1, vec!["Practitioner/p".to_owned()]), "{page}");
            next = page.link("next");
            pages += 1;
        }
        assert_eq!(pages, 2);
    }

    fn every_entry_says_its_mode_and_its_full_url(server) {
        directory(server);
        let answer = server.get("PractitionerRole?_include=*&_total=accurate");
        let entries = answer.body["entry"].as_array().expect("entries");
        assert_eq!((entries.len(), &answer.body["total"]), (5, &json!(2)), "{answer}");
        for entry in entries {
            let name = format!("{}/{}/{}", server.base, entry["resource"]["resourceType"].as_str().expect("type"), entry["resource"]["id"].as_str().expect("id"));
            assert_eq!(entry["fullUrl"], name.as_str());
            assert_eq!(entry["search"]["mode"], if name.contains("/PractitionerRole/") { "match" } else { "include" });
        }
    }

    fn an_include_that_names_nothing_is_refused(server) {
        refuse(server, &[
            "PractitionerRole?_include=PractitionerRole", "PractitionerRole?_include=PractitionerRole:nonsense", "PractitionerRole?_include=Nonsense:practitioner",
            "PractitionerRole?_include=PractitionerRole:specialty", "PractitionerRole?_include=PractitionerRole:organization:Location",
            "PractitionerRole?_include=PractitionerRole:organization:Nonsense", "PractitionerRole?_include:nonsense=PractitionerRole:organization",
            "PractitionerRole?_include=PractitionerRole:organization,PractitionerRole:location", "PractitionerRole?_include=a:b:c:d",
            "PractitionerRole?_revinclude=PractitionerRole:nonsense", "PractitionerRole?_revinclude=nonsense",
        ]);
        // The two cannot be mixed.
        refuse(server, &["PractitionerRole?_include=PractitionerRole:organization&_summary=text", "Practitioner?_summary=text&_revinclude=PractitionerRole:practitioner"]);
    }
}
