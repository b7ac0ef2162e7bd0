//! Uri parameters: whole values, and paths by `:above` and `:below` (R4 search.html#uri).

use serde_json::json;

use super::{check, load, organization, refuse};
use crate::harness::on_both;

on_both! {
    fn a_uri_is_compared_whole_and_as_written(server) {
        let with = |id: &str, profile: &str| organization(id, json!({"name": "X", "meta": {"profile": [profile]}}));
        load(server, &[
            with("plain", "http://a.example/fhir/StructureDefinition/One"),
            with("case", "http://a.example/fhir/StructureDefinition/one"),
            with("longer", "http://a.example/fhir/StructureDefinition/One/Two"),
            with("similar", "http://a.example/fhir/StructureDefinition/OneMore"),
            with("escaped", "http://a.example/a%20b"),
            organization("none", json!({"name": "X"})),
        ]);
        check(server, &[
            ("Organization?_profile=http://a.example/fhir/StructureDefinition/One", &["plain"]),
            ("Organization?_profile=http://a.example/fhir/StructureDefinition", &[]),
            ("Organization?_profile=http%3A%2F%2Fa.example%2Ffhir%2FStructureDefinition%2Fone", &["case"]),
            ("Organization?_profile=http://a.example/a%2520b", &["escaped"]),
            ("Organization?_profile=http://a.example/a%20b", &[]),
            ("Organization?_profile:below=http://a.example/fhir/StructureDefinition/One", &["plain", "longer"]),
            ("Organization?_profile:below=http://a.example/fhir", &["plain", "case", "longer", "similar"]),
            ("Organization?_profile:below=http://a.example/fhir/", &["plain", "case", "longer", "similar"]),
            ("Organization?_profile:above=http://a.example/fhir/StructureDefinition/One/Two/Three", &["plain", "longer"]),
            ("Organization?_profile:above=http://a.example/fhir/StructureDefinition/One", &["plain"]),
            ("Organization?_profile:missing=true", &["none"]),
            ("Organization?_profile=http://a.example/a%2520b,http://a.example/fhir/StructureDefinition/one", &["escaped", "case"]),
        ]);
        refuse(server, &[
            "Organization?_profile:below=urn:oid:1.2.3", "Organization?_profile:above=urn:oid:1.2.3", "Organization?_profile:exact=http://a.example",
            "Organization?_profile:contains=a", "Organization?_profile:not=http://a.example", "Organization?_profile:in=http://a.example",
        ]);
    }

    fn the_source_of_a_resource_is_a_uri(server) {
        let from = |id: &str, source: &str| organization(id, json!({"name": "X", "meta": {"source": source}}));
        let long = format!("http://a.example/{}", "x".repeat(700));
        load(server, &[from("urn", "urn:uuid:0a0b0c0d-0000-4000-8000-000000000000"), from("feed", "http://a.example/feed#1"), from("long", &long)]);
        let by_long = format!("Organization?_source={long}");
        check(server, &[
            ("Organization?_source=urn:uuid:0a0b0c0d-0000-4000-8000-000000000000", &["urn"]),
            ("Organization?_source=http://a.example/feed%231", &["feed"]),
            ("Organization?_source:below=http://a.example", &["feed", "long"]),
            (&by_long, &["long"]),
        ]);
    }
}
