//! Any combination of parameters finds what each of them finds (R4 search.html#combining, Plan-Net 1.1).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{check, check_in_order, load, organization, resource};
use crate::harness::{Server, on_both};

/// Twelve places of all kinds, and roles at them, made by a rule so that every filter divides them another way.
fn directory(server: &Server) {
    let mut all: Vec<Value> = Vec::new();
    for n in 0..4 {
        let (name, code) = (["Alpha", "Beta", "Alpine", "Gamma"][n], ["fac", "payer"][n / 2]);
        all.push(organization(&format!("o{n}"), json!({
            "name": name, "active": n % 2 == 0, "type": [{"coding": [{"system": "http://a.example", "code": code}]}],
        })));
    }
    for n in 0..12 {
        let (status, city, state) =
            (["active", "suspended"][n % 2], ["Boston", "Bolton", "Salem"][n % 3], ["MA", "NH"][n / 6]);
        let mut place = json!({
            "name": format!("Place {}", n % 5), "status": status, "address": {"city": city, "state": state},
            "position": {"latitude": 42.0 + 0.1 * f64::from(u8::try_from(n).expect("small")), "longitude": -71.0},
        });
        if n % 4 != 3 {
            place["managingOrganization"] = json!({"reference": format!("Organization/o{}", n % 4)});
        }
        all.push(resource("Location", &format!("l{n}"), place));
        let specialty = ["heart", "skin", "teeth"][n % 3];
        let (start, end) = (format!("{}-01-01", 2010 + n), format!("{}-12-31", 2012 + n));
        all.push(resource("PractitionerRole", &format!("r{n}"), json!({
            "location": [{"reference": format!("Location/l{n}")}, {"reference": format!("Location/l{}", (n + 5) % 12)}],
            "organization": {"reference": format!("Organization/o{}", (n * 3) % 4)}, "period": {"start": start, "end": end},
            "specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": specialty}], "text": "Some"}],
            "active": n % 2 == 1,
        })));
    }
    load(server, &all);
}

/// Every pair and many triples of these filters find the intersection of what they find alone.
fn check_combinations(server: &Server, resource_type: &str, filters: &[&str]) {
    let find = |query: String| -> BTreeSet<String> {
        let ids = server.ids(&query);
        let set: BTreeSet<String> = ids.iter().cloned().collect();
        assert_eq!(set.len(), ids.len(), "{query} finds nothing twice");
        set
    };
    let alone: Vec<BTreeSet<String>> = filters.iter().map(|filter| find(format!("{resource_type}?{filter}"))).collect();
    for (filter, found) in filters.iter().zip(&alone) {
        assert!(!found.is_empty() && found.len() < 12, "{filter} divides: {found:?}");
    }
    for a in 0..filters.len() {
        for b in a + 1..filters.len() {
            let both: BTreeSet<String> = alone[a].intersection(&alone[b]).cloned().collect();
            let (first, second) = (filters[a], filters[b]);
            assert_eq!(find(format!("{resource_type}?{first}&{second}")), both, "{first}&{second}");
            let c = (a * 7 + b * 3) % filters.len();
            let three: BTreeSet<String> = both.intersection(&alone[c]).cloned().collect();
            let third = filters[c];
            assert_eq!(
                find(format!("{resource_type}?{third}&{second}&{first}&_count=2")),
                three,
                "{third}&{second}&{first}"
            );
            let counted = server.get(&format!("{resource_type}?{first}&{second}&{third}&_summary=count"));
            assert_eq!(counted.body["total"], three.len(), "{first}&{second}&{third}");
        }
    }
}

on_both! {
    fn filters_on_places_combine(server) {
        directory(server);
        check_combinations(server, "Location", &[
            "address-city=bo", "address-city:exact=Bolton", "address-state=nh", "status=active", "status:not=active", "organization=o1,o2", "organization:missing=true",
            "organization.name=al", "organization:Organization.active:not=true", "near=42|-71|60|km", "name:contains=3,4", "_id=l0,l1,l2,l5,l7",
            "_has:PractitionerRole:location:specialty=heart", "_has:PractitionerRole:location:organization.type=payer",
        ]);
    }

    fn filters_on_roles_combine(server) {
        directory(server);
        check_combinations(server, "PractitionerRole", &[
            "specialty=heart,skin", "specialty:not=heart", "specialty=http://nucc.org/provider-taxonomy|teeth", "active=true", "date=ge2015", "period=sa2012",
            "organization=o0", "organization.name=al", "organization.type=http://a.example|fac", "location=l3,l4,l5", "location.address-city=boston&location.address-state=ma",
            "location.near=42.5|-71|20", "location.organization:missing=true", "location.organization.name=beta", "_id=r0,r1,r2,r3,r4,r8",
            "organization._has:Location:organization:address-city=salem",
        ]);
    }

    fn filters_come_before_order_and_pages_and_the_url_order_means_nothing(server) {
        directory(server);
        check_in_order(server, &[
            ("Location?_count=1&_sort=-name,_id&address-city=boston", &["l9", "l3", "l6", "l0"]),
            ("Location?address-city=boston&_sort=-name,_id&_count=1", &["l9", "l3", "l6", "l0"]),
            ("Location?_sort=-name,_id&status=active&address-city=boston", &["l6", "l0"]),
        ]);
    }

    fn one_filter_repeated_has_to_hold_each_time(server) {
        directory(server);
        check(server, &[
            ("Location?address=bo&address=ma", &["l0", "l1", "l3", "l4"]), ("Location?name=place&name:contains=4", &["l4", "l9"]),
            ("PractitionerRole?location=l0&location=l5", &["r0"]), ("PractitionerRole?date=ge2012&date=lt2015", &["r0", "r1", "r2", "r3", "r4"]),
            ("PractitionerRole?date=sa2011-12-31&date=lt2015", &["r2", "r3", "r4"]),
        ]);
    }
}
