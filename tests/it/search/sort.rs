//! `_sort` (R4 search.html#sort).

use serde_json::{Value, json};

use super::{check_in_order, link_parameters, load, organization, refuse, resource};
use crate::harness::on_both;

fn role(id: &str, start: Option<&str>, end: Option<&str>) -> Value {
    let mut period = json!({});
    for (name, value) in [("start", start), ("end", end)] {
        if let Some(value) = value {
            period[name] = json!(value);
        }
    }
    let rest = if period == json!({}) { json!({"active": true}) } else { json!({"period": period}) };
    resource("PractitionerRole", id, rest)
}

on_both! {
    with (crate::search::UNHELD);

    fn strings_are_sorted_without_regard_to_case_and_missing_values_come_last(server) {
        load(server, &[
            organization("none", json!({"active": true})), organization("b", json!({"name": "bolt"})), organization("c", json!({"name": "Cog"})),
            organization("a", json!({"name": "ACME"})), organization("e", json!({"name": "Éclair"})), organization("f", json!({"name": "file"})),
        ]);
        check_in_order(server, &[
            ("Organization?_sort=name", &["a", "b", "c", "e", "f", "none"]),
            ("Organization?_sort=-name", &["f", "e", "c", "b", "a", "none"]),
            ("Organization?_sort=name&_count=1", &["a", "b", "c", "e", "f", "none"]),
            ("Organization?_sort=-name&_count=2", &["f", "e", "c", "b", "a", "none"]),
            ("Organization?_sort=name&name:missing=false&_count=4", &["a", "b", "c", "e", "f"]),
            ("Organization?_sort=-name&name=b,c,f", &["f", "c", "b"]),
        ]);
    }

    fn of_several_values_the_earliest_in_the_order_counts(server) {
        load(server, &[
            organization("az", json!({"name": "alpha", "alias": ["zulu"]})), organization("m", json!({"name": "mike"})),
            organization("by", json!({"name": "yankee", "alias": ["bravo"]})),
        ]);
        check_in_order(server, &[("Organization?_sort=name", &["az", "by", "m"]), ("Organization?_sort=-name", &["az", "by", "m"])]);
    }

    fn a_double_family_name_is_sorted_by_its_whole(server) {
        load(server, &[
            resource("Practitioner", "double", json!({"name": [{"family": "Zimmer-Adams"}]})), resource("Practitioner", "miller", json!({"name": [{"family": "Miller"}]})),
            resource("Practitioner", "bell", json!({"name": [{"family": "Bell-Zander"}]})),
        ]);
        check_in_order(server, &[("Practitioner?_sort=family", &["bell", "miller", "double"]), ("Practitioner?_sort=-family", &["double", "miller", "bell"])]);
    }

    fn several_keys_are_compared_one_after_the_other(server) {
        let place = |id: &str, state: &str, city: &str| resource("Location", id, json!({"address": {"state": state, "city": city}}));
        load(server, &[
            place("1", "MA", "Salem"), place("2", "NH", "Salem"), place("3", "MA", "Boston"), place("4", "NH", "Dover"), place("5", "MA", "Boston"),
            resource("Location", "6", json!({"address": {"state": "MA"}})),
        ]);
        check_in_order(server, &[
            ("Location?_sort=address-state,address-city,_id", &["3", "5", "1", "6", "4", "2"]),
            ("Location?_sort=address-state,address-city,-_id", &["5", "3", "1", "6", "4", "2"]),
            ("Location?_sort=-address-state,address-city,_id", &["4", "2", "3", "5", "1", "6"]),
            ("Location?_sort=address-state,-address-city,_id", &["1", "3", "5", "6", "2", "4"]),
            ("Location?_sort=address-city,-address-state,_id&_count=1", &["3", "5", "4", "2", "1", "6"]),
            ("Location?_sort=address-state,address-city,_id&_count=2", &["3", "5", "1", "6", "4", "2"]),
        ]);
    }

    fn dates_are_sorted_by_their_beginning_and_downward_by_their_end(server) {
        load(server, &[
            role("mid", Some("2015"), Some("2016")), role("old", Some("1965"), Some("1970")), role("open", Some("2010"), None), role("until", None, Some("2012")),
            role("none", None, None), role("new", Some("2020-05-01"), Some("2020-06-01")),
        ]);
        check_in_order(server, &[
            ("PractitionerRole?_sort=date", &["until", "old", "open", "mid", "new", "none"]),
            ("PractitionerRole?_sort=-date", &["open", "new", "mid", "until", "old", "none"]),
            ("PractitionerRole?_sort=period&_count=2", &["until", "old", "open", "mid", "new", "none"]),
            ("PractitionerRole?_sort=-period&_count=1", &["open", "new", "mid", "until", "old", "none"]),
        ]);
    }

    fn tokens_references_ids_and_times_can_be_sorted_by(server) {
        let at = |id: &str, code: &str, organization: &str| resource("Location", id, json!({
            "type": [{"coding": [{"code": code}]}], "managingOrganization": {"reference": format!("Organization/{organization}")},
        }));
        for (id, code, organization) in [("b", "z", "o2"), ("a", "y", "o3"), ("c", "x", "o1")] {
            load(server, &[at(id, code, organization)]);
        }
        check_in_order(server, &[
            ("Location?_sort=_id", &["a", "b", "c"]),
            ("Location?_sort=-_id", &["c", "b", "a"]),
            ("Location?_sort=type", &["c", "a", "b"]),
            ("Location?_sort=-type", &["b", "a", "c"]),
            ("Location?_sort=organization", &["c", "b", "a"]),
            ("Location?_sort=-organization&_count=1", &["a", "b", "c"]),
            ("Location?_sort=-_id&_count=1", &["c", "b", "a"]),
        ]);
        let seen = |query: &str| -> Vec<String> {
            let answer = server.get(query);
            answer.entries("match").iter().map(|found| found["meta"]["lastUpdated"].as_str().expect("lastUpdated").to_owned()).collect()
        };
        assert!(seen("Location?_sort=_lastUpdated").is_sorted());
        assert!(seen("Location?_sort=-_lastUpdated").iter().rev().is_sorted());
        assert_eq!(seen("Location?_sort=_lastUpdated").len(), 3);
    }

    fn the_order_that_was_used_stands_in_the_self_link(server) {
        let answer = server.get("Organization?_sort=-name,_id&active=true");
        assert!(link_parameters(&answer, "self").contains(&("_sort".to_owned(), "-name,_id".to_owned())), "{answer}");
    }

    fn what_cannot_be_sorted_by_is_refused(server) {
        refuse(server, &[
            "Organization?_sort=nonsense", "Organization?_sort=name,nonsense", "Practitioner?_sort=qual-code-period", "Organization?_sort=name:exact",
            "Organization?_sort=_id,_lastUpdated,name,type,active", "Organization?_sort:asc=name",
        ]);
    }
}
