//! URLs and methods: trailing slashes, 404 and 405.

use serde_json::json;

use super::{assert_refused, bundle, organization, organization_as, send, stored};
use crate::harness::{Answer, on_both};

on_both! {
    fn a_trailing_slash_makes_no_difference(server) {
        let created = server.post("Organization/", &organization("Acme"));
        assert_eq!(created.status, 201, "{created}");
        stored(server, &organization_as("acme", "Acme"));
        for url in ["Organization/", "Organization/acme/", "Organization/acme/_history/", "Organization/acme/_history/1/", "Organization/_history/", "_history/", "metadata/"] {
            let with = server.get(url);
            assert_eq!((with.status, &with.body["resourceType"]), (200, &server.get(url.trim_end_matches('/')).body["resourceType"]), "{url}: {with}");
        }
        let search = server.get("Organization/?name=acme");
        assert_eq!((search.status, search.entries("match").len()), (200, 2), "{search}");
        assert_eq!(server.put("Organization/acme/", &organization_as("acme", "Bolt")).status, 200);
        assert_eq!(server.delete("Organization/acme/").status, 204);
        for url in ["", "/"] {
            let url = format!("{}{url}", server.base);
            assert_eq!(server.post(&url, &bundle("batch", &[])).status, 200, "{url}");
            assert_eq!(server.get(&format!("{url}?_type=Organization")).status, 200, "{url}");
        }
        let form = Answer::of(server.request("POST", "Organization/_search/").header("content-type", "application/x-www-form-urlencoded").body("name=acme"));
        assert_eq!(form.status, 200, "{form}");
    }

    fn a_method_that_a_url_does_not_take_is_405(server) {
        stored(server, &organization_as("acme", "Acme"));
        for (method, url) in [
            ("POST", "Organization/acme"), ("POST", "metadata"), ("DELETE", "metadata"), ("PUT", "metadata"), ("PUT", "Organization/acme/_history/1"),
            ("DELETE", "Organization/acme/_history/1"), ("POST", "Organization/acme/_history"), ("POST", "_history"), ("PUT", "Organization/_search"), ("GET", "Organization/acme/_history/1/x?"),
            ("PUT", ""), ("DELETE", ""), ("PATCH", ""), ("BREW", "Organization/acme"), ("TRACE", "Organization"),
        ] {
            let answer = send(server, method, url, &[("content-type", "application/fhir+json")], if method == "GET" { "" } else { "{}" });
            if url.contains("/x?") {
                assert_refused(&answer, 404);
            } else {
                assert_refused(&answer, 405);
                assert!(answer.header("allow").is_some_and(|allow| !allow.is_empty()), "{method} {url}: a 405 names what is allowed: {answer:?}");
            }
        }
        assert_eq!(server.get("Organization/acme").status, 200);
    }

    fn the_methods_in_allow_are_those_of_the_url(server) {
        let allow = |method: &str, url: &str| {
            let answer = send(server, method, url, &[], "");
            let mut names: Vec<String> = answer.header("allow").unwrap_or_default().split(',').map(|name| name.trim().to_owned()).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(allow("POST", "Organization/acme"), "DELETE GET HEAD PATCH PUT");
        assert_eq!(allow("BREW", "Organization"), "DELETE GET HEAD PATCH POST PUT");
        assert_eq!(allow("DELETE", "metadata"), "GET HEAD");
        assert_eq!(allow("PUT", "Organization/acme/_history"), "GET HEAD");
        assert_eq!(allow("PUT", ""), "GET HEAD POST");
    }

    fn a_url_that_leads_nowhere_is_404_with_an_outcome(server) {
        for url in ["Organization/acme/name", "Organization/acme/_history/1/2", "a/b/c/d/e", "Patient", "Patient?name=x", "$unknown", "Organization/$unknown", "Patient/_history"] {
            let answer = server.get(url);
            assert!(matches!(answer.status, 400 | 404), "{url}: {answer}");
            assert_refused(&answer, answer.status);
        }
        for url in ["", "/", "/other", "/fhirx"] {
            let answer = server.get(&format!("{}{url}", server.base.trim_end_matches("/fhir")));
            assert_refused(&answer, 404);
        }
    }

    fn a_bundle_of_another_kind_or_another_resource_at_the_base_is_refused(server) {
        for body in [bundle("collection", &[]), bundle("searchset", &[]), json!({"resourceType": "Bundle"}), organization("Acme")] {
            let answer = server.post("", &body);
            assert!(matches!(answer.status, 400 | 422), "{body}: {answer}");
            assert_refused(&answer, answer.status);
        }
    }
}
