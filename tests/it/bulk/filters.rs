//! `_typeFilter`.

use serde_json::json;

use super::{anybody, holds, location, organization, practitioner};
use crate::harness::Server;
use crate::harness::on_both;

fn fill(server: &Server) {
    let bearer = anybody(server);
    for resource in [
        organization("a", "Acme"),
        organization("b", "Best"),
        location("l1", "active"),
        location("l2", "suspended"),
        location("l3", "inactive"),
        practitioner("p", "Smith"),
        practitioner("q", "Jones"),
        json!({"resourceType": "PractitionerRole", "id": "r1", "practitioner": {"reference": "Practitioner/p"}}),
        json!({"resourceType": "PractitionerRole", "id": "r2", "practitioner": {"reference": "Practitioner/q"}}),
    ] {
        bearer.store(&resource);
    }
}

on_both! {
    with [("PLUMBLINE_EXPORT__CLIENT_MAX", "100")];

    fn a_filter_is_a_search(server) {
        fill(server);
        let bearer = anybody(server);
        for (query, expected) in [
            ("_type=Location&_typeFilter=Location%3Fstatus%3Dactive", &["Location/l1"][..]),
            ("_type=Location&_typeFilter=Location%3Fstatus%3Dactive%2Csuspended", &["Location/l1", "Location/l2"]),
            ("_type=Location&_typeFilter=Location?status=active,Location?status=inactive", &["Location/l1", "Location/l3"]),
            ("_type=Location&_typeFilter=Location?status=active&_typeFilter=Location?name=l1,l2", &["Location/l1", "Location/l2"]),
            ("_type=Location&_typeFilter=Location?status:not=active", &["Location/l2", "Location/l3"]),
            ("_type=Location&_typeFilter=Location%3Fstatus%3Dactive%26name%3Dl2", &[]),
            // An empty search holds for all.
            ("_type=Location&_typeFilter=Location?,Location?status=active", &["Location/l1", "Location/l2", "Location/l3"]),
            ("_type=PractitionerRole&_typeFilter=PractitionerRole?practitioner.name=smith", &["PractitionerRole/r1"]),
            ("_type=Practitioner&_typeFilter=Practitioner?_has:PractitionerRole:practitioner:_id=r2", &["Practitioner/q"]),
            ("_type=Organization,Location&_typeFilter=Location?status=active", &["Location/l1", "Organization/a", "Organization/b"]),
            ("_type=Organization,Location&_typeFilter=Location?status=active,Organization?name=best", &["Location/l1", "Organization/b"]),
        ] {
            assert_eq!(holds(&bearer, &format!("$export?{query}")), expected, "{query}");
        }
        assert_eq!(holds(&bearer, "Organization/$export?_typeFilter=Organization?name=acme"), ["Organization/a"]);
        let all = holds(&bearer, "$export?_typeFilter=Location?status=active");
        assert_eq!(all.len(), 7, "a type without a filter is whole: {all:?}");
    }

    fn filters_hold_beside_a_moment(server) {
        fill(server);
        let bearer = anybody(server);
        let at = bearer.get("Location/l3").body["meta"]["lastUpdated"].as_str().expect("an instant").to_owned();
        bearer.store(&json!({"resourceType": "Location", "id": "l4", "status": "active", "name": "l4"}));
        bearer.store(&json!({"resourceType": "Location", "id": "l5", "status": "inactive", "name": "l5"}));
        let query = format!("$export?_type=Location&_since={at}&_typeFilter=Location?status=active");
        assert_eq!(holds(&bearer, &query), ["Location/l4"]);
    }
}
