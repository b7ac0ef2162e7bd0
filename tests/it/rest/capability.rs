use std::collections::HashSet;

use serde_json::{Value, json};

use super::{assert_refused, organization_as, send, stored};
use crate::harness::{Answer, Server, on_both};

/// The facts from which the server's parameters are made.
const FACTS: &str = include_str!("../../../profiles/search-parameters.json");

fn metadata(server: &Server) -> Answer {
    let answer = server.get("metadata");
    assert_eq!((answer.status, &answer.body["resourceType"]), (200, &json!("CapabilityStatement")), "{answer}");
    answer
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The types that are stored; those after them have operations only.
fn resources(metadata: &Answer) -> &[Value] {
    let all = list(&metadata.body["rest"][0], "resource");
    let stored = all.iter().take_while(|resource| resource["interaction"].is_array()).count();
    &all[..stored]
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// A value that a parameter can be asked for.
fn plausible(param: &Value, facts: &[Value], types: &[&str]) -> String {
    match text(param, "type") {
        "date" => "ge2020-01-01".into(),
        "number" | "quantity" => "5".into(),
        "uri" => "http://test.example/x".into(),
        "reference" => {
            let fact = facts
                .iter()
                .find(|fact| fact["url"] == param["definition"])
                .unwrap_or_else(|| panic!("a fact for {param}"));
            let target = list(fact, "target").iter().filter_map(Value::as_str).find(|target| types.contains(target));
            format!("{}/x", target.unwrap_or("Organization"))
        }
        "composite" => "x$2020".into(),
        "special" => "41.8|-87.6|10|km".into(),
        _ => "x".into(),
    }
}

on_both! {
    with [("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", "system/*.cruds system/AuditEvent.rs")];

    fn the_statement_has_what_r4_and_plan_net_demand(server) {
        let body = metadata(server).body;
        assert_eq!((&body["status"], &body["kind"], &body["fhirVersion"]), (&json!("active"), &json!("instance"), &json!("4.0.1")));
        assert!(body["date"].is_string() && body["implementation"]["description"].is_string() && body["software"]["name"].is_string());
        assert_eq!(body["implementation"]["url"], server.base);
        let has = |name: &str, value: &str| list(&body, name).iter().any(|one| one == value);
        assert!(has("instantiates", "http://hl7.org/fhir/us/davinci-pdex-plan-net/CapabilityStatement/plan-net"));
        assert!(has("format", "json") && has("format", "xml") && has("patchFormat", "application/json-patch+json"));
        assert_eq!(body["rest"][0]["mode"], "server");
        let system: Vec<&str> = list(&body["rest"][0], "interaction").iter().map(|interaction| text(interaction, "code")).collect();
        for code in ["transaction", "batch", "search-system", "history-system"] {
            assert!(system.contains(&code), "{code} in {system:?}");
        }
    }

    fn each_type_is_declared_once_with_distinct_parameters(server) {
        let metadata = metadata(server);
        let types: Vec<&str> = resources(&metadata).iter().map(|resource| text(resource, "type")).collect();
        assert_eq!(types.iter().collect::<HashSet<_>>().len(), types.len(), "{types:?}");
        for name in ["Endpoint", "HealthcareService", "InsurancePlan", "Location", "Organization", "OrganizationAffiliation", "Practitioner", "PractitionerRole"] {
            assert!(types.contains(&name), "{name}");
        }
        for resource in resources(&metadata) {
            let names: Vec<&str> = list(resource, "searchParam").iter().map(|param| text(param, "name")).collect();
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
            assert!(names.contains(&"_id") && names.contains(&"_lastUpdated"), "{names:?}");
            assert!(list(resource, "searchParam").iter().all(|param| text(param, "definition").starts_with("http")));
        }
    }

    fn every_declared_parameter_can_be_searched(server) {
        let facts: Vec<Value> = serde_json::from_str(FACTS).expect("the facts");
        let metadata = metadata(server);
        let types: Vec<&str> = resources(&metadata).iter().map(|resource| text(resource, "type")).collect();
        for resource in resources(&metadata) {
            let name = text(resource, "type");
            for param in list(resource, "searchParam") {
                let search = format!("{name}?{}={}", text(param, "name"), plausible(param, &facts, &types));
                let answer = server.get(&search);
                assert_eq!((answer.status, &answer.body["type"]), (200, &json!("searchset")), "{search}: {answer}");
                assert!(answer.link("self").is_some_and(|own| own.contains(text(param, "name"))), "{search} is used: {answer}");
            }
        }
        for param in list(&metadata.body["rest"][0], "searchParam") {
            let search = format!("?{}={}", text(param, "name"), plausible(param, &facts, &types));
            assert_eq!(server.get(&search).status, 200, "{search}");
        }
    }

    fn every_declared_include_can_be_asked_for(server) {
        let metadata = metadata(server);
        for resource in resources(&metadata) {
            let name = text(resource, "type");
            for (parameter, declared) in [("_include", "searchInclude"), ("_revinclude", "searchRevInclude")] {
                for include in list(resource, declared).iter().filter_map(Value::as_str) {
                    let answer = server.get(&format!("{name}?{parameter}={include}"));
                    assert_eq!(answer.status, 200, "{name}?{parameter}={include}: {answer}");
                }
            }
        }
    }

    fn what_is_not_declared_does_not_work(server) {
        let metadata = metadata(server);
        for resource in resources(&metadata) {
            let name = text(resource, "type");
            assert_refused(&server.get(&format!("{name}?colour=red")), 400);
        }
        let types: Vec<&str> = resources(&metadata).iter().map(|resource| text(resource, "type")).collect();
        for name in ["Patient", "Observation", "Bundle", "Parameters", "OperationOutcome", "ValueSet", "CapabilityStatement", "Encounter", "organization"] {
            assert!(!types.contains(&name));
            assert_refused(&server.get(name), 404);
            assert_refused(&server.get(&format!("{name}/x")), 404);
            let outcome = server.put(&format!("{name}/x"), &json!({"resourceType": name, "id": "x"}));
            assert_refused(&outcome, 404);
        }
    }

    fn every_type_answers_its_declared_reads(server) {
        let metadata = metadata(server);
        for resource in resources(&metadata) {
            let name = text(resource, "type");
            let codes: Vec<&str> = list(resource, "interaction").iter().map(|interaction| text(interaction, "code")).collect();
            for code in ["read", "vread", "history-instance", "history-type", "search-type"] {
                assert!(codes.contains(&code), "{code} of {name}");
            }
            for code in ["create", "update", "patch", "delete"] {
                assert_eq!(codes.contains(&code), name != "AuditEvent", "{code} of {name}");
            }
            assert_eq!((server.get(name).status, server.get(&format!("{name}/_history")).status), (200, 200), "{name}");
            assert_refused(&server.get(&format!("{name}/nobody")), 404);
            assert!(matches!(text(resource, "conditionalDelete"), "single" | "multiple" | "not-supported"));
            assert_eq!(resource["readHistory"], true, "{name}");
            // The record is written by the server alone.
            if name == "AuditEvent" {
                assert_refused(&server.delete("AuditEvent/nobody"), 403);
                continue;
            }
            assert_eq!(server.delete(&format!("{name}/nobody")).status, 204, "{name}");
            for flag in ["conditionalCreate", "conditionalUpdate", "updateCreate", "readHistory"] {
                assert_eq!(resource[flag], true, "{flag} of {name}");
            }
            assert_eq!((text(resource, "conditionalRead"), text(resource, "versioning")), ("full-support", "versioned-update"));
        }
    }

    fn mode_is_not_refused(server) {
        for mode in ["full", "normative", "terminology"] {
            assert_eq!(server.get(&format!("metadata?mode={mode}")).status, 200, "{mode}");
        }
    }

    fn the_etag_of_the_statement_is_that_of_its_content(server) {
        let first = metadata(server);
        stored(server, &organization_as("acme", "Acme"));
        let again = metadata(server);
        assert_eq!((first.header("etag").is_some(), first.header("etag")), (true, again.header("etag")));
        let etag = first.header("etag").expect("an ETag");
        let known = send(server, "GET", "metadata", &[("if-none-match", etag)], "");
        assert_eq!((known.status, known.text.as_str()), (304, ""));
        // Another name of the server is another content.
        let other = server.base.replace("127.0.0.1", "localhost");
        assert_ne!(server.get(&format!("{other}/metadata")).header("etag"), Some(etag));
    }

    fn the_statement_heeds_accept_and_fhir_version(server) {
        let xml = send(server, "GET", "metadata", &[("accept", "application/fhir+xml; fhirVersion=4.0")], "");
        assert_eq!(xml.status, 200);
        assert!(xml.text.contains("<CapabilityStatement xmlns=\"http://hl7.org/fhir\""), "{xml}");
        assert_refused(&send(server, "GET", "metadata", &[("accept", "application/fhir+json; fhirVersion=3.0")], ""), 406);
    }
}
