use serde_json::{Value, json};

use super::{assert_refused, created, organization, organization_as, send, stored};
use crate::harness::{Answer, Server, on_both};

/// Method, URL and version of each entry.
fn calls(history: &Answer) -> Vec<(String, String, String)> {
    assert_eq!((history.status, &history.body["type"]), (200, &json!("history")), "{history}");
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text: {history}")).to_owned();
    let entries = history.body["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            (text(&entry["request"]["method"]), text(&entry["request"]["url"]), text(&entry["response"]["etag"]))
        })
        .collect()
}

fn versions(history: &Answer) -> Vec<String> {
    calls(history).into_iter().map(|(_, _, etag)| etag.trim_start_matches("W/").trim_matches('"').to_owned()).collect()
}

/// `method url` of all entries on all pages, each page at most `most` long.
fn walk(server: &Server, path: &str, most: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(url) = next {
        let page = server.get(&url);
        let calls = calls(&page);
        assert!(calls.len() <= most && page.link("self").is_some(), "{page}");
        all.extend(calls.into_iter().map(|(method, url, etag)| format!("{method} {url} {etag}")));
        next = page.link("next");
        assert!(all.len() < 1000, "the walk ends");
    }
    all
}

/// One, Two, deleted, Three.
fn four_versions(server: &Server) {
    stored(server, &organization_as("acme", "One"));
    stored(server, &organization_as("acme", "Two"));
    server.delete("Organization/acme");
    stored(server, &organization_as("acme", "Three"));
}

fn date_of(server: &Server, version: u32) -> String {
    let read = server.get(&format!("Organization/acme/_history/{version}"));
    read.body["meta"]["lastUpdated"].as_str().unwrap_or_else(|| panic!("a date: {read}")).to_owned()
}

on_both! {
    fn the_history_of_a_resource_is_newest_first_with_its_deletions(server) {
        four_versions(server);
        let history = server.get("Organization/acme/_history");
        assert_eq!(versions(&history), ["4", "3", "2", "1"]);
        let methods: Vec<String> = calls(&history).into_iter().map(|(method, url, _)| format!("{method} {url}")).collect();
        assert_eq!(methods, ["PUT Organization/acme", "DELETE Organization/acme", "PUT Organization/acme", "PUT Organization/acme"]);
    }

    fn history_entries_say_what_happened(server) {
        four_versions(server);
        let history = server.get("Organization/acme/_history");
        for entry in history.body["entry"].as_array().expect("entries") {
            let is_delete = entry["request"]["method"] == "DELETE";
            assert_eq!(entry.get("resource").is_none(), is_delete, "{entry}");
            assert_eq!(entry["fullUrl"], format!("{}/Organization/acme", server.base));
            let status = entry["response"]["status"].as_str().and_then(|status| status.get(..3));
            assert!(matches!(status, Some("200" | "201" | "204")), "{entry}");
            assert!(entry["response"]["lastModified"].is_string(), "{entry}");
            if !is_delete {
                assert_eq!(entry["response"]["lastModified"], entry["resource"]["meta"]["lastUpdated"]);
                assert_eq!(entry["response"]["etag"], format!("W/\"{}\"", entry["resource"]["meta"]["versionId"].as_str().expect("a version")));
            }
        }
        let statuses: Vec<&str> = history.body["entry"].as_array().expect("entries").iter().filter_map(|entry| entry["response"]["status"].as_str()?.get(..3)).collect();
        assert_eq!(statuses, ["201", "204", "200", "201"], "brought back, deleted, updated, created");
        let names: Vec<&Value> = history.body["entry"].as_array().expect("entries").iter().map(|entry| &entry["resource"]["name"]).collect();
        assert_eq!(names, [&json!("Three"), &Value::Null, &json!("Two"), &json!("One")]);
    }

    fn a_create_is_a_post_in_the_history(server) {
        let id = created(server, &organization("Acme"));
        let history = server.get(&format!("Organization/{id}/_history"));
        assert_eq!(calls(&history), [("POST".to_owned(), "Organization".to_owned(), "W/\"1\"".to_owned())]);
    }

    fn conditional_calls_appear_as_plain_ones(server) {
        let condition = ("if-none-exist", "identifier=urn:test|Acme");
        assert_eq!(super::send_json(server, "POST", "Organization", condition, &organization("Acme")).status, 201);
        let mut changed = organization("Acme");
        changed["alias"] = json!(["A"]);
        assert_eq!(server.put("Organization?identifier=urn:test|Acme", &changed).status, 200);
        assert_eq!(server.delete("Organization?identifier=urn:test|Acme").status, 204);
        let history = calls(&server.get("Organization/_history"));
        let methods: Vec<(&str, bool)> = history.iter().map(|(method, url, _)| (method.as_str(), url.contains('?'))).collect();
        assert_eq!(methods, [("DELETE", false), ("PUT", false), ("POST", false)]);
    }

    fn the_history_of_a_type_has_only_that_type(server) {
        stored(server, &organization_as("acme", "One"));
        stored(server, &json!({"resourceType": "Location", "id": "here", "name": "Here"}));
        stored(server, &organization_as("bolt", "Two"));
        server.delete("Organization/acme");
        assert_eq!(walk(server, "Organization/_history", 20), ["DELETE Organization/acme W/\"2\"", "PUT Organization/bolt W/\"1\"", "PUT Organization/acme W/\"1\""]);
        assert_eq!(walk(server, "Location/_history", 20), ["PUT Location/here W/\"1\""]);
        assert!(walk(server, "Endpoint/_history", 20).is_empty());
    }

    fn the_history_of_the_system_has_everything(server) {
        stored(server, &organization_as("acme", "One"));
        stored(server, &json!({"resourceType": "Location", "id": "here", "name": "Here"}));
        server.delete("Organization/acme");
        let expected = ["DELETE Organization/acme W/\"2\"", "PUT Location/here W/\"1\"", "PUT Organization/acme W/\"1\""];
        assert_eq!(walk(server, "_history", 20), expected);
    }

    fn a_history_is_walked_by_its_next_links(server) {
        for n in 0..7 {
            stored(server, &organization_as("acme", &n.to_string()));
        }
        for path in ["Organization/acme/_history?_count=2", "Organization/_history?_count=3", "_history?_count=1"] {
            let most = path.rsplit('=').next().and_then(|count| count.parse().ok()).expect("a count");
            let expected: Vec<String> = (1..8).rev().map(|n| format!("PUT Organization/acme W/\"{n}\"")).collect();
            assert_eq!(walk(server, path, most), expected, "{path}");
        }
        assert_eq!(server.get("Organization/acme/_history?_count=7").link("next"), None);
    }

    fn writes_during_a_walk_do_not_shift_its_pages(server) {
        for n in 0..4 {
            stored(server, &organization_as("acme", &n.to_string()));
        }
        let first = server.get("Organization/acme/_history?_count=2");
        stored(server, &organization_as("acme", "later"));
        let second = server.get(&first.link("next").expect("a second page"));
        assert_eq!((versions(&first), versions(&second)), (vec!["4".to_owned(), "3".to_owned()], vec!["2".to_owned(), "1".to_owned()]));
    }

    fn a_count_of_0_gives_no_entries(server) {
        four_versions(server);
        let history = server.get("Organization/acme/_history?_count=0");
        assert!(versions(&history).is_empty(), "{history}");
        assert_eq!((&history.body["total"], history.link("next")), (&json!(4), None), "{history}");
    }

    fn since_gives_what_changed_at_or_after_it(server) {
        four_versions(server);
        let since = |date: &str| versions(&server.get(&format!("Organization/acme/_history?_since={date}")));
        assert_eq!(since(&date_of(server, 1)), ["4", "3", "2", "1"]);
        assert_eq!(since(&date_of(server, 2)), ["4", "3", "2"]);
        assert_eq!(since(&date_of(server, 4)), ["4"]);
        assert!(since("2999-01-01T00:00:00Z").is_empty());
        assert_eq!(since("2001-01-01T00:00:00%2B01:00").len(), 4);
        let of_type = server.get(&format!("Organization/_history?_since={}", date_of(server, 4)));
        assert_eq!(versions(&of_type), ["4"]);
    }

    fn at_gives_what_was_current_then(server) {
        four_versions(server);
        let at = |date: &str| versions(&server.get(&format!("Organization/acme/_history?_at={date}")));
        assert_eq!(at(&date_of(server, 2)), ["2"]);
        assert_eq!(at(&date_of(server, 4)), ["4"]);
        assert!(at("2001").is_empty());
        assert_eq!(at("2999"), ["4"], "still current then");
        let year = date_of(server, 1)[..4].to_owned();
        assert!(at(&year).contains(&"1".to_owned()) && at(&year).contains(&"4".to_owned()));
        assert_eq!(versions(&server.get(&format!("Organization/_history?_at={}", date_of(server, 2)))), ["2"]);
    }

    fn the_links_of_a_history_keep_its_parameters(server) {
        four_versions(server);
        let since = date_of(server, 2);
        let first = server.get(&format!("Organization/acme/_history?_since={since}&_count=2"));
        let own = first.link("self").expect("self");
        assert!(own.contains("_since=") && own.contains("_count=2"), "{own}");
        let second = server.get(&first.link("next").expect("a second page"));
        assert_eq!((versions(&second), second.link("next")), (vec!["2".to_owned()], None), "{second}");
    }

    fn a_parameter_that_cannot_be_used_is_refused(server) {
        stored(server, &organization_as("acme", "One"));
        for query in ["_since=yesterday", "_since=2020", "_count=many", "_count=-1", "_at=x", "_count=1&_count=2", "_since=2020-01-01T00:00:00Z&_since=2021-01-01T00:00:00Z", "name=acme", "_cursor=x"] {
            assert_refused(&server.get(&format!("Organization/acme/_history?{query}")), 400);
        }
    }

    fn the_history_of_what_never_was_is_404(server) {
        assert_refused(&server.get("Organization/nobody/_history"), 404);
        assert_refused(&server.get("Patient/_history"), 404);
        assert_refused(&server.get("Patient/a/_history"), 404);
    }

    fn a_history_may_be_xml(server) {
        four_versions(server);
        let history = send(server, "GET", "Organization/acme/_history", &[("accept", "application/fhir+xml")], "");
        assert_eq!(history.status, 200, "{history}");
        assert!(history.text.starts_with("<Bundle xmlns=\"http://hl7.org/fhir\"") || history.text.starts_with("<?xml"), "{history}");
        assert_eq!(history.text.matches("<entry>").count(), 4, "{history}");
    }
}
