//! Reference parameters: ids, `Type/id`, absolute URLs, `:[Type]`, `:identifier`, hierarchies (R4 search.html#reference).

use serde_json::json;

use super::{check, delete, load, organization, refuse, resource};
use crate::harness::on_both;

on_both! {
    with (crate::search::UNHELD);

    fn a_reference_is_found_by_id_by_name_and_by_url_however_it_is_stored(server) {
        let base = server.base.clone();
        let at = |id: &str, reference: &str| resource("Location", id, json!({"managingOrganization": {"reference": reference}}));
        load(server, &[
            organization("o1", json!({"name": "One"})),
            organization("o2", json!({"name": "Two"})),
            at("relative", "Organization/o1"),
            at("absolute", &format!("{base}/Organization/o1")),
            at("version", "Organization/o1/_history/1"),
            at("second", "Organization/o2"),
            at("foreign", "http://elsewhere.example/fhir/Organization/o1"),
            at("dangling", "Organization/never"),
            resource("Location", "none", json!({"name": "None"})),
            resource("Location", "words", json!({"managingOrganization": {"identifier": {"system": "http://a.example", "value": "77"}}})),
        ]);
        let absolute = format!("Location?organization={base}/Organization/o1");
        let absolute_typed = format!("Location?organization:Organization={base}/Organization/o1");
        check(server, &[
            ("Location?organization=o1", &["relative", "absolute", "version"]),
            ("Location?organization=Organization/o1", &["relative", "absolute", "version"]),
            (&absolute, &["relative", "absolute", "version"]),
            (&absolute_typed, &["relative", "absolute", "version"]),
            ("Location?organization:Organization=o1", &["relative", "absolute", "version"]),
            ("Location?organization=o1,o2", &["relative", "absolute", "version", "second"]),
            ("Location?organization=o1&organization=o2", &[]),
            ("Location?organization=http://elsewhere.example/fhir/Organization/o1", &["foreign"]),
            ("Location?organization=o2,http://elsewhere.example/fhir/Organization/o1", &["second", "foreign"]),
            ("Location?organization=never", &["dangling"]),
            ("Location?organization=nobody", &[]),
            ("Location?organization=Practitioner/o1", &[]),
            ("Location?organization=Patient/o1", &[]),
            ("Location?organization:missing=true", &["none"]),
            ("Location?organization:missing=false", &["relative", "absolute", "version", "second", "foreign", "dangling", "words"]),
            ("Location?organization:identifier=http://a.example|77", &["words"]),
            ("Location?organization:identifier=77", &["words"]),
            ("Location?organization:identifier=|77", &[]),
        ]);
        refuse(server, &[
            "Location?organization:Practitioner=o1", "Location?organization:Nonsense=o1", "Location?organization:exact=o1", "Location?organization:not=o1",
            "Location?organization:text=o1", "Location?organization:in=o1", "Location?organization=not%20an%20id", "Location?organization:above=o1",
            "Location?organization:below=o1", "Location?organization:contains=o1",
        ]);
    }

    fn an_id_that_may_be_of_several_types_is_refused_until_the_type_is_named(server) {
        load(server, &[
            organization("x", json!({"name": "X"})),
            resource("Provenance", "p", json!({"target": [{"reference": "Organization/x"}], "recorded": "2020-01-01T00:00:00Z", "agent": [{"who": {"display": "me"}}]})),
        ]);
        refuse(server, &["Provenance?target=x"]);
        check(server, &[
            ("Provenance?target=Organization/x", &["p"]),
            ("Provenance?target:Organization=x", &["p"]),
            ("Provenance?target:Location=x", &[]),
            ("Provenance?target=Location/x", &[]),
        ]);
    }

    fn below_and_above_follow_a_hierarchy(server) {
        let part = |id: &str, of: &str| organization(id, json!({"partOf": {"reference": format!("Organization/{of}")}}));
        load(server, &[
            organization("root", json!({"name": "Root"})),
            part("a", "root"), part("b", "root"), part("aa", "a"), part("aaa", "aa"),
            organization("apart", json!({"name": "Apart"})), part("cut", "gone"), part("gone", "root"),
        ]);
        delete(server, &["Organization/gone"]);
        check(server, &[
            ("Organization?partof=root", &["a", "b"]),
            ("Organization?partof:below=root", &["a", "b", "aa", "aaa"]),
            ("Organization?partof:below=Organization/a", &["aa", "aaa"]),
            ("Organization?partof:below=aaa", &[]),
            ("Organization?partof:below=nobody", &[]),
            ("Organization?partof:below=aa,b", &["aaa"]),
            // Whose parent is aa or above it.
            ("Organization?partof:above=aa", &["a", "b", "aa", "aaa"]),
            ("Organization?partof:above=root", &["a", "b"]),
            ("Organization?partof.partof:below=a", &["aaa"]),
        ]);
    }

    fn a_hierarchy_that_runs_in_a_circle_comes_to_an_end(server) {
        let part = |id: &str, of: &str| resource("Location", id, json!({"partOf": {"reference": format!("Location/{of}")}}));
        load(server, &[part("one", "three"), part("two", "one"), part("three", "two"), part("self", "self")]);
        check(server, &[
            ("Location?partof:below=one", &["one", "two", "three"]),
            ("Location?partof:above=one", &["one", "two", "three"]),
            ("Location?partof:below=self", &["self"]),
        ]);
    }

    fn extension_values_are_references_too(server) {
        const NETWORK: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/network-reference";
        const AREA: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/location-reference";
        load(server, &[
            organization("net", json!({"name": "Net", "extension": [{"url": AREA, "valueReference": {"reference": "Location/area"}}]})),
            resource("Location", "area", json!({"name": "Area"})),
            resource("PractitionerRole", "in", json!({"extension": [{"url": NETWORK, "valueReference": {"reference": "Organization/net"}}]})),
            resource("PractitionerRole", "out", json!({"active": true})),
        ]);
        check(server, &[
            ("PractitionerRole?network=net", &["in"]),
            ("PractitionerRole?network=Organization/net", &["in"]),
            ("PractitionerRole?network.name=net", &["in"]),
            ("PractitionerRole?network:missing=true", &["out"]),
            ("Organization?coverage-area=Location/area", &["net"]),
            ("Organization?coverage-area.name=area", &["net"]),
        ]);
    }
}
