//! How an export is asked for, and what is refused.

use serde_json::{Value, json};

use super::{
    accepted, anybody, assert_refused, exported, holds, kick_off, lines, location, manifest, names, organization,
};
use crate::harness::on_both;

on_both! {
    with [("PLUMBLINE_EXPORT__CLIENT_MAX", "100")];

    fn all_is_exported_type_by_type(server) {
        let bearer = anybody(server);
        for resource in [organization("a", "A"), organization("b", "B"), location("l", "active")] {
            bearer.store(&resource);
        }
        bearer.store(&json!({"resourceType": "Basic", "id": "c", "code": {"text": "x"}}));
        let url = kick_off(&bearer, "$export");
        let manifest = manifest(&bearer, &url);
        assert_eq!(manifest["request"], format!("{}/$export", server.base));
        assert_eq!(manifest["requiresAccessToken"], false);
        assert_eq!(manifest["error"], json!([]));
        assert!(manifest.get("deleted").is_none(), "{manifest}");
        let types: Vec<&Value> = manifest["output"].as_array().expect("files").iter().map(|it| &it["type"]).collect();
        assert_eq!(types, ["Organization", "Location", "Basic"], "what there is, and nothing else");
        assert_eq!(names(&bearer, &manifest), ["Basic/c", "Location/l", "Organization/a", "Organization/b"]);
        // As it is stored, to the byte.
        let stored = bearer.get("Organization/a");
        let file = bearer.get(manifest["output"][0]["url"].as_str().expect("a URL"));
        assert_eq!(file.text.lines().next(), Some(stored.text.as_str()));
        assert_eq!(bearer.get(&url).body, manifest, "the same as often as it is asked for");
    }

    fn an_empty_directory_is_an_empty_export(server) {
        let manifest = exported(&anybody(server), "$export?_type=Practitioner");
        assert_eq!((&manifest["output"], &manifest["error"]), (&json!([]), &json!([])));
    }

    fn a_post_means_the_same_as_a_get(server) {
        let bearer = anybody(server);
        bearer.store(&organization("a", "A"));
        bearer.store(&location("l", "active"));
        let body = json!({"resourceType": "Parameters", "parameter": [
            {"name": "_type", "valueString": "Organization"},
            {"name": "_outputFormat", "valueString": "application/fhir+ndjson"},
            {"name": "_since", "valueInstant": "2020-01-01T00:00:00Z"}]});
        let manifest = manifest(&bearer, &accepted(&bearer.post("$export", &body)));
        assert_eq!(manifest["request"], format!("{}/$export", server.base));
        assert_eq!(names(&bearer, &manifest), ["Organization/a"]);
        let manifest = super::manifest(&bearer, &accepted(&bearer.post("$export", &json!({"resourceType": "Parameters"}))));
        assert_eq!(names(&bearer, &manifest).len(), 2);
        assert_eq!(bearer.send("POST", "Location/$export", &[], "").status, 202);
    }

    fn a_type_in_the_url_and_one_in_the_parameters_are_the_same(server) {
        let bearer = anybody(server);
        bearer.store(&organization("a", "A"));
        bearer.store(&location("l", "active"));
        assert_eq!(holds(&bearer, "$export?_type=Location"), ["Location/l"]);
        assert_eq!(holds(&bearer, "Location/$export"), ["Location/l"]);
        for both in ["$export?_type=Location,Organization", "$export?_type=Location&_type=Organization,Location"] {
            assert_eq!(holds(&bearer, both), ["Location/l", "Organization/a"], "{both}");
        }
    }

    fn every_name_of_the_format_will_do(server) {
        let bearer = anybody(server);
        for format in ["application/fhir%2Bndjson", "application/fhir+ndjson", "application/ndjson", "ndjson", ""] {
            let url = kick_off(&bearer, &format!("$export?_outputFormat={format}"));
            assert_eq!(bearer.delete(&url).status, 202, "{format}");
        }
    }

    fn headers_need_not_be_sent_and_answers_are_json(server) {
        let bearer = anybody(server);
        for headers in [&[][..], &[("accept", "*/*")], &[("accept", "application/fhir+xml")], &[("accept", "image/png")]] {
            let answer = bearer.send("GET", "$export", headers, "");
            assert_eq!(answer.status, 202, "{headers:?}: {answer}");
            assert_refused(&bearer.send("GET", "$export?_type=Nothing", headers, ""), 400, "http._type");
        }
    }

    fn what_cannot_be_used_is_refused_by_name(server) {
        let bearer = anybody(server);
        for (query, place) in [
            ("_outputFormat=text/csv", "http._outputFormat"),
            ("_outputFormat=parquet", "http._outputFormat"),
            ("_since=yesterday", "http._since"),
            ("_since=2026-01-01", "http._since"),
            ("_since=2026-01-01T00:00:00", "http._since"),
            ("_since=2026-01-01T00:00Z", "http._since"),
            ("_since=2026-01-01T00:00:00Z&_since=2026-01-01T00:00:00Z", "http._since"),
            ("_type=Patient", "http._type"),
            ("_type=Location,nothing", "http._type"),
            ("_type=Location,,Organization", "http._type"),
            ("_elements=Patient.name", "http._elements"),
            ("_elements=name.family.x", "http._elements"),
            ("_typeFilter=Location", "http._typeFilter"),
            ("_typeFilter=Patient?name=x", "http._typeFilter"),
            ("_type=Location&_typeFilter=Organization?name=x", "http._typeFilter"),
            ("_typeFilter=Location?nme=x", "http._typeFilter"),
            ("_typeFilter=Location?_include=Location:organization", "http._typeFilter"),
            ("_typeFilter=Location?_sort=name", "http._typeFilter"),
            ("_typeFilter=Location?_count=10", "http._typeFilter"),
            ("_typeFilter=Location?_revinclude:iterate=PractitionerRole:location", "http._typeFilter"),
            ("patient=Patient/1", "http.patient"),
            ("includeAssociatedData=LatestProvenanceResources", "http.includeAssociatedData"),
            ("colour=red", "http.colour"),
        ] {
            assert_refused(&bearer.get(&format!("$export?{query}")), 400, place);
        }
        assert_refused(&bearer.get("Location/$export?_type=Location"), 400, "http._type");
        assert_refused(&bearer.get("Patient/$export"), 404, "");
        assert_refused(&bearer.get("Group/1/$export"), 404, "");
        let body = json!({"resourceType": "Parameters", "parameter": [
            {"name": "patient", "valueReference": {"reference": "Patient/1"}}]});
        assert_refused(&bearer.post("$export", &body), 400, "http.patient");
        assert_refused(&bearer.post("$export", &organization("a", "A")), 400, "resourceType");
        assert_eq!(bearer.send("PUT", "$export", &[], "").status, 405);
    }

    fn all_that_is_wrong_is_named_at_once(server) {
        let answer = anybody(server).get("$export?_outputFormat=csv&_since=now&_type=X");
        let places: Vec<&Value> = answer.body["issue"].as_array().expect("issues").iter().map(|it| &it["expression"][0]).collect();
        assert_eq!(places, ["http._outputFormat", "http._since", "http._type"], "{answer}");
    }

    fn a_lenient_client_is_told_what_was_left_out(server) {
        let bearer = anybody(server);
        bearer.store(&location("l", "active"));
        let query = "$export?_type=Location,Patient&patient=Patient/1&colour=red&_typeFilter=Location?nme=x&_typeFilter=Patient?x=y";
        let lenient = [("prefer", "respond-async, handling=lenient")];
        let manifest = manifest(&bearer, &accepted(&bearer.send("GET", query, &lenient, "")));
        assert_eq!(names(&bearer, &manifest), ["Location/l"]);
        let told = lines(&bearer, &manifest, "error");
        assert!(told.iter().all(|it| it["resourceType"] == "OperationOutcome" && it["issue"][0]["severity"] == "warning"));
        let told: String = told.iter().map(|it| it["issue"][0]["diagnostics"].as_str().expect("a sentence")).collect();
        for name in ["'patient'", "'colour'", "'Patient'", "'nme'"] {
            assert!(told.contains(name), "{name}: {told}");
        }
        // There is no other format, and an export from another moment on would be another export.
        for query in ["_outputFormat=csv", "_since=now", "_type=Patient", "_typeFilter=Location?_sort=name"] {
            assert_eq!(bearer.send("GET", &format!("$export?{query}"), &lenient, "").status, 400, "{query}");
        }
        let body = json!({"resourceType": "Parameters", "parameter": [{"name": "patient", "valueString": "x"}]});
        assert_eq!(bearer.send_json("POST", "$export", Some(("prefer", "handling=lenient")), &body).status, 202);
    }

    fn elements_cut_resources_down(server) {
        let bearer = anybody(server);
        bearer.store(&organization("a", "A"));
        bearer.store(&location("l", "active"));
        let manifest = exported(&bearer, "$export?_elements=Organization.name,id");
        let found = lines(&bearer, &manifest, "output");
        let [organization, location] = found.as_slice() else { panic!("two: {found:?}") };
        assert_eq!((&organization["name"], organization.get("active")), (&json!("A"), None), "{organization}");
        assert_eq!(location.get("status"), None, "{location}");
        for resource in &found {
            assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED", "{resource}");
            assert!(resource["meta"]["lastUpdated"].is_string() && resource["id"].is_string(), "{resource}");
        }
    }

    fn it_is_declared(server) {
        let statement = server.get("metadata").body;
        let operation = json!({"name": "export", "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export"});
        assert_eq!(statement["rest"][0]["operation"], json!([operation]));
        let instantiates = statement["instantiates"].as_array().expect("a list");
        assert!(instantiates.contains(&json!("http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data")));
    }
}
