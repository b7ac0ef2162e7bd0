//! Parameters that are unknown, bad or empty, and `Prefer: handling=…` (R4 search.html#errors).

use serde_json::json;

use super::{check, link_parameters, load, organization, post_search, prefer, refuse, resource};
use crate::harness::{Answer, Server, on_both};

fn directory(server: &Server) {
    load(
        server,
        &[
            organization("a", json!({"name": "Acme", "active": true})),
            organization("b", json!({"name": "Bolt", "active": false})),
            resource("Location", "l", json!({"name": "Acme"})),
        ],
    );
}

/// The warnings that a searchset carries.
fn warnings(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer}");
    answer
        .entries("outcome")
        .iter()
        .flat_map(|outcome| {
            assert_eq!(outcome["resourceType"], "OperationOutcome", "{answer}");
            outcome["issue"].as_array().expect("issues").clone()
        })
        .map(|issue| {
            assert!(issue["severity"] == "warning" || issue["severity"] == "information", "{answer}");
            issue["diagnostics"].as_str().expect("diagnostics").to_owned()
        })
        .collect()
}

on_both! {
    fn an_unknown_parameter_is_refused_and_named(server) {
        directory(server);
        refuse(server, &[
            "Organization?nonsense=1", "Organization?Name=acme", "Organization?family=acme", "Organization?name=acme&nonsense=1",
            "Organization?nonsense:exact=1", "Organization?=1", "Location?coverage-area=x",
        ]);
        let (severity, _, diagnostics, expression) = server.get("Organization?nonsense=1").issue();
        assert!(severity == "error" && diagnostics.contains("nonsense") && expression == "http.nonsense", "{diagnostics} {expression}");
        let both = server.get("Organization?nonsense=1&more=2");
        assert_eq!(both.body["issue"].as_array().map(Vec::len), Some(2), "{both}");
        assert_eq!(prefer(server, "strict", "Organization?nonsense=1").status, 400);
    }

    fn lenient_handling_ignores_what_is_unknown_and_warns(server) {
        directory(server);
        let answer = prefer(server, "lenient", "Organization?nonsense=1&name=acme");
        assert_eq!(answer.names("match"), ["Organization/a"], "{answer}");
        let warnings = warnings(&answer);
        assert!(warnings.len() == 1 && warnings[0].contains("nonsense"), "{warnings:?}");
        // What was ignored is not in the self link.
        assert_eq!(link_parameters(&answer, "self"), [("name".to_owned(), "acme".to_owned())], "{answer}");
        assert_eq!(answer.body["total"], 1, "{answer}");
        let sorted = prefer(server, "lenient", "Organization?_sort=nonsense&_id=a");
        assert_eq!(link_parameters(&sorted, "self"), [("_id".to_owned(), "a".to_owned())], "{sorted}");
    }

    fn lenient_handling_does_not_forgive_bad_values_and_modifiers(server) {
        directory(server);
        for query in ["Organization?name:nonsense=a", "Organization?_lastUpdated=x", "Organization?_count=x", "Organization?name=a%5Cb", "Organization?_query=current",
            "Organization?_include=Organization:nonsense"]
        {
            assert_eq!(prefer(server, "lenient", query).status, 400, "{query}");
        }
    }

    fn a_parameter_that_one_of_the_types_lacks_is_ignored_for_all_of_them(server) {
        directory(server);
        let answer = prefer(server, "lenient", "?_type=Location,Organization&active=true&name=acme");
        assert_eq!(answer.names("match"), ["Location/l", "Organization/a"], "{answer}");
        let answer = prefer(server, "lenient", "?_type=Organization,Location&active=true");
        assert_eq!(answer.names("match"), ["Location/l", "Organization/a", "Organization/b"], "{answer}");
        let answer = prefer(server, "lenient", "?_type=Organization,Location&_sort=active,name");
        assert_eq!(answer.names("match").len(), 3, "{answer}");
        assert!(!link_parameters(&answer, "self").iter().any(|(name, _)| name == "_sort"), "{answer}");
    }

    fn an_unknown_parameter_with_an_underscore_narrows_nothing_and_is_ignored(server) {
        directory(server);
        for query in ["Organization?_totalMethod=x&name=acme", "Organization?_cb=1699&name=acme", "Organization?_=1699&name=acme", "Organization?name=acme&_cb:x=1",
            "Organization?_maxresults=3&name=acme"]
        {
            let answer = server.get(query);
            assert_eq!(answer.names("match"), ["Organization/a"], "{query}: {answer}");
            assert_eq!(warnings(&answer).len(), 1, "{query}: {answer}");
            assert_eq!(link_parameters(&answer, "self"), [("name".to_owned(), "acme".to_owned())], "{query}");
            assert_eq!(prefer(server, "strict", query).status, 400, "{query}");
            assert_eq!(prefer(server, "lenient", query).status, 200, "{query}");
        }
        let posted = post_search(server, "Organization/_search", "_cb=1&name=acme");
        assert_eq!((posted.names("match"), warnings(&posted).len()), (vec!["Organization/a".to_owned()], 1));
    }

    fn filters_of_fhir_that_are_not_offered_stay_refused(server) {
        directory(server);
        refuse(server, &[
            "Organization?_text=acme", "Organization?_content=acme", "Organization?_filter=name%20eq%20acme", "Organization?_list=42", "Organization?_query=current",
            "Organization?_contained=true", "Organization?_contained=both", "Organization?_containedType=contained&_contained=true", "Organization?_text:contains=x",
            "Organization?_sort=nonsense", "Organization?_has:Location:organization:_cb=1", "Organization?_in=Group/1", "Organization?_language=en",
            "Organization?partof._text=x", "Organization?_type=Location", "Organization?partof._cb=x",
        ]);
        check(server, &[("Organization?_contained=false&name=acme", &["a"])]);
    }

    fn a_condition_of_a_write_ignores_nothing(server) {
        directory(server);
        let acme = json!({"resourceType": "Organization", "name": "Acme"});
        let request = server.request("POST", "Organization").header("content-type", "application/fhir+json").header("if-none-exist", "name=acme&_cb=1");
        assert_eq!(Answer::of(request.body(acme.to_string())).status, 400);
        assert_eq!(server.delete("Organization?_cb=1").status, 400);
        assert_eq!(server.ids("Organization").len(), 2);
    }

    fn an_empty_parameter_is_ignored(server) {
        directory(server);
        check(server, &[
            ("Organization?name=", &["a", "b"]), ("Organization?name=&active=true", &["a"]), ("Organization?active&name=bolt", &["b"]),
            ("Organization?name:exact=", &["a", "b"]), ("Organization?&&name=acme&", &["a"]), ("Organization?_sort=&_count=&_lastUpdated=", &["a", "b"]),
            ("Organization?name=acme,", &["a"]),
        ]);
        let answer = server.get("Organization?name=&active=true");
        assert_eq!(link_parameters(&answer, "self"), [("active".to_owned(), "true".to_owned())]);
    }

    fn what_is_well_formed_but_not_there_finds_nothing(server) {
        directory(server);
        let answer = server.get("Organization?_id=nobody&type=http://a.example|nothing");
        assert_eq!((answer.status, &answer.body["type"], &answer.body["total"]), (200, &json!("searchset"), &json!(0)), "{answer}");
        assert!(answer.body["entry"].is_null(), "{answer}");
    }

    fn the_self_link_lists_exactly_what_was_used(server) {
        directory(server);
        let lists = |query: &str, expected: &[(&str, &str)]| {
            let answer = server.get(query);
            let mut found = link_parameters(&answer, "self");
            found.sort();
            assert_eq!(found, expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>(), "{query}");
            assert!(answer.link("self").is_some_and(|url| url.starts_with(&format!("{}/Organization", server.base))), "{answer}");
        };
        lists("Organization", &[]);
        lists("Organization?name=acme", &[("name", "acme")]);
        lists("Organization?name:exact=Acme&name:contains=c&_sort=-name&_count=5", &[("_count", "5"), ("_sort", "-name"), ("name:contains", "c"), ("name:exact", "Acme")]);
        lists("Organization?_summary=count&name=acme&_sort=name", &[("_sort", "name"), ("_summary", "count"), ("name", "acme")]);
        lists("Organization?_include=Organization:partof&_revinclude=Location:organization&_total=none",
            &[("_include", "Organization:partof"), ("_revinclude", "Location:organization"), ("_total", "none")]);
        lists("Organization?_elements=name&_summary=false", &[("_elements", "name"), ("_summary", "false")]);
        // Of a result parameter that is given twice the last counts.
        lists("Organization?_count=5&_count=1&_sort=name&_sort=-name", &[("_count", "1"), ("_sort", "-name")]);
    }

    fn an_unknown_type_is_not_found(server) {
        let answer = server.get("Nonsense?name=x");
        assert_eq!((answer.status, &answer.body["resourceType"]), (404, &json!("OperationOutcome")));
        assert_eq!(server.get("Patient?name=x").status, 404);
        assert_eq!(server.get("organization?name=x").status, 404);
    }

    fn a_search_that_asks_too_much_is_refused(server) {
        let many: Vec<String> = (0..150).map(|n| format!("name=x{n}")).collect();
        refuse(server, &[&format!("Organization?{}", many.join("&"))]);
        let values: Vec<String> = (0..600).map(|n| format!("x{n}")).collect();
        let answer = post_search(server, "Organization/_search", &format!("name={}", values.join(",")));
        assert_eq!((answer.status, &answer.body["resourceType"]), (400, &json!("OperationOutcome")));
        // Each parameter alone would be small enough.
        let some = values[..400].join(",");
        let form = vec![format!("name={some}"); 90].join("&");
        assert_eq!(post_search(server, "Organization/_search", &form).status, 400);
        let form = vec![format!("name:exact={}", values[..40].join(",")); 20].join("&");
        assert_eq!(post_search(server, "Organization/_search", &form).status, 200);
    }
}
