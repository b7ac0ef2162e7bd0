//! `_total` and `Bundle.total` (R4 search.html#total).

use serde_json::{Value, json};

use super::{load, organization, refuse, resource};
use crate::harness::{Server, on_both};

fn directory(server: &Server) {
    let mut all: Vec<Value> = (0..25)
        .map(|n| {
            organization(
                &format!("o{n}"),
                json!({"name": format!("Group {n}"), "alias": ["Group", "Groups"], "active": n % 5 != 0}),
            )
        })
        .collect();
    all.push(resource("Location", "l", json!({"managingOrganization": {"reference": "Organization/o1"}})));
    load(server, &all);
}

on_both! {
    fn an_accurate_total_counts_the_matches_on_all_pages(server) {
        directory(server);
        for (search, total) in [
            ("Organization?_total=accurate", 25), ("Organization?_total=accurate&_count=3", 25), ("Organization?active=true&_total=accurate&_count=2", 20),
            ("Organization?name=group&_total=accurate&_count=2", 25), ("Organization?name:contains=roup&_total=accurate&_count=1", 25),
            ("Organization?active:not=true&_total=accurate&_count=2", 5), ("Organization?name=nobody&_total=accurate", 0),
            ("Organization?_has:Location:organization:_id=l&_total=accurate", 1), ("Organization?_id=o1,o2&_total=accurate&_revinclude=Location:organization", 2),
            ("Organization?name=group&_total=estimate&_count=2", 25), ("Organization?name=group&_total=accurate&_sort=name&_count=2", 25),
        ] {
            let answer = server.get(search);
            assert_eq!((answer.status, &answer.body["total"]), (200, &json!(total)), "{search}: {answer}");
        }
    }

    fn later_pages_have_the_same_total(server) {
        directory(server);
        let first = server.get("Organization?_total=accurate&_count=10");
        let second = server.get(&first.link("next").expect("next"));
        assert_eq!((&first.body["total"], &second.body["total"]), (&json!(25), &json!(25)));
    }

    fn none_gives_no_total(server) {
        directory(server);
        for search in ["Organization?_total=none", "Organization?_total=none&name=nobody", "Organization?_total=none&_count=3"] {
            let answer = server.get(search);
            assert!(answer.status == 200 && answer.body["total"].is_null(), "{search}: {answer}");
        }
    }

    fn a_total_that_nobody_asked_for_is_right_or_absent(server) {
        directory(server);
        let answer = server.get("Organization?name=group&_count=3");
        assert!(answer.body["total"].is_null() || answer.body["total"] == 25, "{answer}");
        assert_eq!(server.get("Organization?_id=o1").body["total"], 1);
    }

    fn an_unknown_total_is_refused(server) {
        refuse(server, &["Organization?_total=some", "Organization?_total=Accurate", "Organization?_total:x=none"]);
    }
}
