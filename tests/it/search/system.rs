//! Search by POST, by HEAD, and across types (R4 http.html#search).

use serde_json::json;

use super::{check_in_order, link_parameters, load, modes, organization, post_search, refuse, resource};
use crate::harness::{Answer, Server, on_both};

fn directory(server: &Server) {
    let tag = json!({"tag": [{"system": "http://a.example", "code": "t"}]});
    load(
        server,
        &[
            organization("o1", json!({"name": "Beta", "meta": tag, "active": true})),
            organization("o2", json!({"name": "Delta"})),
            resource(
                "Location",
                "l1",
                json!({"name": "Alpha", "meta": tag, "managingOrganization": {"reference": "Organization/o2"}}),
            ),
            resource("Location", "l2", json!({"name": "Gamma"})),
            resource("Practitioner", "p1", json!({"name": [{"family": "Beta"}], "meta": tag})),
        ],
    );
}

fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer}");
    answer.names("match")
}

on_both! {
    fn a_posted_search_means_the_same_as_one_by_get(server) {
        directory(server);
        for query in ["name=beta", "name=beta,delta&_sort=-name", "_tag=t", "name:contains=eta&active=true&_include=Organization:partof", "", "_summary=count", "name=nobody"] {
            let got = server.get(&format!("Organization?{query}"));
            let posted = post_search(server, "Organization/_search", query);
            assert_eq!((posted.status, names(&posted), &posted.body["total"]), (200, names(&got), &got.body["total"]), "{query}");
            assert_eq!(link_parameters(&posted, "self"), link_parameters(&got, "self"), "{query}");
            let in_url = post_search(server, &format!("Organization/_search?{query}"), "");
            assert_eq!(names(&in_url), names(&got), "{query}");
        }
        assert_eq!(names(&post_search(server, "Organization/_search", "name=%C3%89b")), Vec::<String>::new());
        assert_eq!(post_search(server, "Organization/_search", "nonsense=1").status, 400);
    }

    fn the_parameters_of_url_and_form_join_as_repeats(server) {
        directory(server);
        assert_eq!(names(&post_search(server, "Organization/_search?name=beta,delta", "active=true")), ["Organization/o1"]);
        assert_eq!(names(&post_search(server, "Organization/_search?name=beta", "name=delta")), Vec::<String>::new());
    }

    fn a_posted_search_is_a_form(server) {
        let request = server.request("POST", "Organization/_search").header("content-type", "application/fhir+json").body("{\"name\": \"x\"}");
        assert_eq!(Answer::of(request).status, 415);
        let request = server.request("POST", "Organization/_search").header("content-type", "application/x-www-form-urlencoded; charset=UTF-8").body("name=x");
        assert_eq!(Answer::of(request).status, 200);
        assert_eq!(server.get("Organization/_search?name=x").status, 405);
    }

    fn head_answers_like_get_without_a_body(server) {
        directory(server);
        let head = Answer::of(server.request("HEAD", "Organization?name=beta"));
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        assert!(head.header("content-type").is_some_and(|kind| kind.starts_with("application/fhir+json")));
        assert_eq!(Answer::of(server.request("HEAD", "Organization?nonsense=1")).status, 400);
        assert_eq!(Answer::of(server.request("HEAD", "?_type=Organization")).status, 200);
    }

    fn a_search_across_types_names_them(server) {
        directory(server);
        for (query, expected) in [
            ("?_type=Organization,Location&_tag=t", vec!["Location/l1", "Organization/o1"]),
            ("?_type=Organization,Location", vec!["Location/l1", "Location/l2", "Organization/o1", "Organization/o2"]),
            ("?_type=Organization", vec!["Organization/o1", "Organization/o2"]),
            ("?_type=Location,Organization&name=beta,alpha", vec!["Location/l1", "Organization/o1"]),
            ("?_type=Practitioner,Organization&name=beta", vec!["Organization/o1", "Practitioner/p1"]),
            ("?_tag=t", vec!["Location/l1", "Organization/o1", "Practitioner/p1"]),
            ("?_id=o1,p1", vec!["Organization/o1", "Practitioner/p1"]),
            ("?_lastUpdated=gt2000", vec!["Location/l1", "Location/l2", "Organization/o1", "Organization/o2", "Practitioner/p1"]),
            ("?_type=Organization,Location&_tag:not=t", vec!["Location/l2", "Organization/o2"]),
        ] {
            assert_eq!(modes(server, query).0, expected, "{query}");
            let form = query.trim_start_matches('?');
            assert_eq!(names(&post_search(server, "_search", form)), expected, "POST {query}");
            // The link leads to the same.
            let link = server.get(query).link("self").expect("self");
            assert_eq!(modes(server, &link).0, expected, "{link}");
        }
        assert_eq!(names(&post_search(server, "_search?_type=Organization", "name=beta")), ["Organization/o1"]);
    }

    fn a_search_across_types_keeps_its_types_in_its_links(server) {
        directory(server);
        let first = server.get("?_type=Organization,Location&_sort=name&_count=1");
        assert_eq!(link_parameters(&first, "self"), [("_type", "Organization,Location"), ("_sort", "name"), ("_count", "1")].map(|(n, v)| (n.to_owned(), v.to_owned())));
        check_in_order(server, &[
            ("?_type=Organization,Location&_sort=name&_count=1", &["l1", "o1", "o2", "l2"]),
            ("?_type=Organization,Location&_sort=-name&_count=3", &["l2", "o2", "o1", "l1"]),
            ("?_type=Organization,Location,Practitioner&_sort=-_id&_count=2", &["p1", "o2", "o1", "l2", "l1"]),
        ]);
        assert_eq!(server.ids("?_type=Organization,Location&_count=1").len(), 4);
        assert_eq!(server.ids("?_count=2").len(), 5);
        let posted = post_search(server, "_search", "_type=Organization,Location&_count=3");
        let mut all = names(&posted);
        all.extend(server.ids(&posted.link("next").expect("next")));
        assert_eq!(all.len(), 4, "{all:?}");
        // A cursor belongs to its types.
        let next = first.link("next").expect("next");
        assert_eq!(server.get(&next.replace("Organization%2CLocation", "Organization")).status, 400, "{next}");
    }

    fn a_search_across_types_counts_includes_and_summarizes(server) {
        directory(server);
        assert_eq!(server.get("?_type=Organization,Location&_summary=count").body["total"], 4);
        assert_eq!(server.get("?_type=Organization,Location&_total=accurate&_count=1").body["total"], 4);
        let (matches, included) = modes(server, "?_type=Location&_include=Location:organization");
        assert_eq!((matches.len(), included), (2, vec!["Organization/o2".to_owned()]));
        let (matches, included) = modes(server, "?_type=Location,Organization&_include=Location:organization");
        assert_eq!((matches.len(), included.len()), (4, 0));
    }

    fn only_what_all_the_types_have_can_be_asked(server) {
        refuse(server, &[
            "?name=x", "?_type=Organization,Practitioner&partof=x", "?_type=Nonsense", "?_type=Organization,Nonsense", "?_type=Patient",
            "?_type=Organization,Location&near=1|1", "?_type=Organization,Practitioner&_sort=family", "?nonsense=1",
        ]);
        assert_eq!(post_search(server, "_search", "_type=Organization&nonsense=1").status, 400);
    }

    fn a_batch_can_search_across_types(server) {
        directory(server);
        let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
            {"request": {"method": "GET", "url": "?_type=Organization,Location&_tag=t"}},
            {"request": {"method": "GET", "url": "Organization?name=beta&_cb=1"}},
            {"request": {"method": "GET", "url": "Organization?nonsense=1"}},
        ]});
        let answer = server.post("", &batch);
        assert_eq!(answer.status, 200, "{answer}");
        let found = |n: usize| answer.body["entry"][n]["resource"]["entry"].as_array().map_or(0, Vec::len);
        assert_eq!((found(0), found(1)), (2, 2), "{answer}");
        assert!(answer.body["entry"][2]["response"]["status"].as_str().is_some_and(|status| status.starts_with("400")), "{answer}");
        let own = answer.body["entry"][0]["resource"]["link"][0]["url"].as_str().expect("self").to_owned();
        assert_eq!(modes(server, &own).0, ["Location/l1", "Organization/o1"], "{own}");
    }
}
