use serde_json::json;

use super::{assert_refused, created, http_date, is_subsetted, organization, organization_as, send, stored, version};
use crate::harness::on_both;

on_both! {
    fn a_version_has_one_name(server) {
        stored(server, &organization_as("acme", "Acme"));
        assert_eq!(server.get("Organization/acme/_history/1").status, 200);
        for version in ["+1", "01", "1.0", "-1", "0"] {
            assert_refused(&server.get(&format!("Organization/acme/_history/{version}")), 404);
        }
    }

    fn a_read_has_the_resource_its_etag_and_its_date(server) {
        let id = created(server, &organization("Acme"));
        let read = server.get(&format!("Organization/{id}"));
        assert_eq!((read.status, &read.body["id"]), (200, &json!(id)), "{read}");
        assert_eq!(read.header("etag"), Some(format!("W/\"{}\"", version(&read)).as_str()));
        let last_updated = read.body["meta"]["lastUpdated"].as_str().expect("lastUpdated");
        assert_eq!(read.header("last-modified"), Some(http_date(last_updated).as_str()));
        assert!(read.header("date").is_some(), "a Date header");
    }

    fn a_read_of_what_never_was_is_404(server) {
        let read = server.get("Organization/nobody");
        assert_refused(&read, 404);
        assert_eq!(read.issue().1, "not-found");
    }

    fn a_read_of_what_was_deleted_is_410(server) {
        let id = created(server, &organization("Acme"));
        server.delete(&format!("Organization/{id}"));
        let read = server.get(&format!("Organization/{id}"));
        assert_refused(&read, 410);
        assert_eq!(read.issue().1, "deleted");
    }

    fn the_same_id_under_another_type_is_404(server) {
        stored(server, &organization_as("acme", "Acme"));
        assert_refused(&server.get("Location/acme"), 404);
    }

    fn what_is_no_id_is_refused(server) {
        for id in ["a_b", "a%20b", "a%2Fb", "%C3%A9", &"x".repeat(65)] {
            let read = server.get(&format!("Organization/{id}"));
            assert!(matches!(read.status, 400 | 404), "{id}: {read}");
            assert_refused(&read, read.status);
        }
    }

    fn types_and_ids_are_case_sensitive(server) {
        stored(server, &organization_as("acme", "Acme"));
        assert_refused(&server.get("Organization/ACME"), 404);
        assert_refused(&server.get("organization/acme"), 404);
    }

    fn a_percent_encoded_path_names_the_same_resource(server) {
        stored(server, &organization_as("acme", "Acme"));
        let read = server.get("Organization/%61cme");
        assert_eq!((read.status, &read.body["id"]), (200, &json!("acme")), "{read}");
    }

    fn vread_has_each_version_as_it_was(server) {
        stored(server, &organization_as("acme", "One"));
        stored(server, &organization_as("acme", "Two"));
        for (number, name) in [("1", "One"), ("2", "Two")] {
            let read = server.get(&format!("Organization/acme/_history/{number}"));
            assert_eq!((read.status, version(&read), &read.body["name"]), (200, number, &json!(name)), "{read}");
            assert_eq!(read.header("etag"), Some(format!("W/\"{number}\"").as_str()));
            let last_updated = read.body["meta"]["lastUpdated"].as_str().expect("lastUpdated");
            assert_eq!(read.header("last-modified"), Some(http_date(last_updated).as_str()));
        }
        assert_eq!(server.get("Organization/acme/_history/2").body, server.get("Organization/acme").body);
    }

    fn vread_of_a_deletion_is_410_and_of_older_versions_200(server) {
        stored(server, &organization_as("acme", "One"));
        server.delete("Organization/acme");
        assert_refused(&server.get("Organization/acme/_history/2"), 410);
        assert_eq!(server.get("Organization/acme/_history/1").body["name"], "One");
    }

    fn vread_of_an_unknown_version_is_404(server) {
        stored(server, &organization_as("acme", "One"));
        for url in ["Organization/acme/_history/2", "Organization/acme/_history/0", "Organization/acme/_history/x", "Organization/nobody/_history/1"] {
            assert_refused(&server.get(url), 404);
        }
    }

    fn if_none_match_with_the_current_version_is_304_without_a_body(server) {
        stored(server, &organization_as("acme", "One"));
        for tag in ["W/\"1\"", "\"1\"", "1", "W/\"9\", W/\"1\"", "*"] {
            for url in ["Organization/acme", "Organization/acme/_history/1"] {
                let read = send(server, "GET", url, &[("if-none-match", tag)], "");
                assert_eq!((read.status, read.text.as_str()), (304, ""), "{tag} on {url}");
                assert_eq!(read.header("etag"), Some("W/\"1\""), "{tag} on {url}");
            }
        }
    }

    fn if_none_match_with_another_version_is_200(server) {
        stored(server, &organization_as("acme", "One"));
        stored(server, &organization_as("acme", "Two"));
        for tag in ["W/\"1\"", "1", "W/\"x\"", "W/\"12\""] {
            let read = send(server, "GET", "Organization/acme", &[("if-none-match", tag)], "");
            assert_eq!((read.status, &read.body["name"]), (200, &json!("Two")), "{tag}");
        }
    }

    fn if_modified_since_is_304_unless_it_was(server) {
        stored(server, &organization_as("acme", "One"));
        let modified = server.get("Organization/acme").header("last-modified").expect("a date").to_owned();
        let unchanged = send(server, "GET", "Organization/acme", &[("if-modified-since", &modified)], "");
        assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""));
        let changed = send(server, "GET", "Organization/acme", &[("if-modified-since", "Mon, 05 Jan 2015 10:00:00 GMT")], "");
        assert_eq!((changed.status, &changed.body["name"]), (200, &json!("One")));
        let no_date = send(server, "GET", "Organization/acme", &[("if-modified-since", "yesterday")], "");
        assert_eq!(no_date.status, 200);
    }

    fn if_none_match_counts_more_than_if_modified_since(server) {
        stored(server, &organization_as("acme", "One"));
        let modified = server.get("Organization/acme").header("last-modified").expect("a date").to_owned();
        let both = [("if-none-match", "W/\"7\""), ("if-modified-since", modified.as_str())];
        assert_eq!(send(server, "GET", "Organization/acme", &both, "").status, 200);
    }

    fn a_condition_on_what_is_not_here_is_404_all_the_same(server) {
        assert_refused(&send(server, "GET", "Organization/nobody", &[("if-none-match", "W/\"1\"")], ""), 404);
    }

    fn summary_and_elements_give_a_part_that_is_tagged(server) {
        let mut resource = organization_as("acme", "Acme");
        resource["text"] = json!({"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Acme</div>"});
        resource["contact"] = json!([{"telecom": [{"system": "phone", "value": "1"}]}]);
        stored(server, &resource);
        let part = |query: &str| {
            let read = server.get(&format!("Organization/acme?{query}"));
            assert_eq!((read.status, &read.body["id"]), (200, &json!("acme")), "{query}: {read}");
            assert_eq!(version(&read), "1", "{query}: meta stays");
            assert!(is_subsetted(&read.body), "{query}: {read}");
            read.body
        };
        let summary = part("_summary=true");
        assert_eq!((&summary["name"], summary.get("contact"), summary.get("text")), (&json!("Acme"), None, None), "{summary}");
        let text = part("_summary=text");
        assert_eq!((text.get("name"), &text["text"]["status"]), (None, &json!("generated")), "{text}");
        let data = part("_summary=data");
        assert_eq!((&data["name"], data.get("text"), data.get("contact").is_some()), (&json!("Acme"), None, true), "{data}");
        let elements = part("_elements=name,active");
        assert_eq!((&elements["name"], &elements["active"], elements.get("identifier")), (&json!("Acme"), &json!(true), None), "{elements}");
        let whole = server.get("Organization/acme?_summary=false");
        assert!(!is_subsetted(&whole.body) && whole.body.get("contact").is_some(), "{whole}");
    }

    fn summary_works_on_a_version_too(server) {
        stored(server, &organization_as("acme", "Acme"));
        let read = server.get("Organization/acme/_history/1?_elements=name");
        assert!(is_subsetted(&read.body) && read.body.get("identifier").is_none(), "{read}");
    }

    fn a_summary_that_is_none_is_refused(server) {
        stored(server, &organization_as("acme", "Acme"));
        assert_refused(&server.get("Organization/acme?_summary=most"), 400);
    }
}
