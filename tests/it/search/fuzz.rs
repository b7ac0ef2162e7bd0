//! Whatever is asked, the answer is a searchset or a refusal, never a failure of the server.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::{load, organization, resource};
use crate::harness::{Answer, Server};

const TYPES: &[&str] = &[
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "HealthcareService",
    "OrganizationAffiliation",
    "Endpoint",
    "InsurancePlan",
    "Subscription",
    "Basic",
    "Task",
    "Provenance",
    "VerificationResult",
    "DocumentReference",
    "Binary",
    "Consent",
    "Communication",
    "",
];
const CODES: &[&str] = &[
    "_id",
    "_lastUpdated",
    "_profile",
    "_tag",
    "_source",
    "_sort",
    "_count",
    "_summary",
    "_elements",
    "_total",
    "_include",
    "_revinclude",
    "_contained",
    "_cursor",
    "_type",
    "_format",
    "_pretty",
    "_has",
    "name",
    "family",
    "address",
    "identifier",
    "telecom",
    "phone",
    "date",
    "period",
    "organization",
    "partof",
    "location",
    "near",
    "type",
    "specialty",
    "cost",
    "group-size",
    "qual-code-period",
    "phonetic",
    "subject",
    "active",
    "network",
    "status",
    "coverage-area",
    "x",
];
const MODIFIERS: &[&str] = &[
    "",
    ":missing",
    ":exact",
    ":contains",
    ":not",
    ":text",
    ":in",
    ":not-in",
    ":above",
    ":below",
    ":of-type",
    ":identifier",
    ":Organization",
    ":iterate",
    ":PractitionerRole:location:specialty",
    ".name",
    ".near",
    ":Organization.partof",
    ".organization.name:exact",
    "._has:PractitionerRole:organization:role",
    ":",
    ".",
    "::",
    "..",
];
const VALUES: &[&str] = &[
    "a",
    "true",
    "false",
    "x|y",
    "|",
    "|x",
    "x|",
    "a|b|c",
    "2020",
    "ge2020-01-01T00:00:00Z",
    "ap9999-12-31",
    "eb0001",
    "ne1e400",
    "1e-999",
    "0e-2147483648",
    "0e2147483647",
    "5||USD",
    "42|-71|10|km",
    "90|180|1e300",
    "-90|-180|0",
    "0|0|-0",
    "Organization/o1",
    "http://a.example/x",
    "o1,o1,,",
    ",",
    "\\",
    "\\,",
    "a\\|b",
    "a$2020",
    "$",
    "\u{0}",
    "a\u{0}b",
    "%",
    "_",
    "'; DROP TABLE resource; --",
    "\"",
    "{}",
    "[]",
    "\u{FEFF}",
    "\u{10FFFF}",
    "\u{1}",
    "e\u{301}",
    "ﬁ",
    "ß",
    "İ",
    "-name",
    "name,-name",
    "-",
    "-,-",
    "count",
    "none",
    "0",
    "-1",
    "99999999999",
    "PractitionerRole:organization",
    "*",
    "*:*",
    "*:x",
    "Organization:*:Organization",
    "Organization:partof:Organization",
    "urn:oid:1.2.3",
    "http://hl7.org/fhir/issue-type|invalid",
    "9223372036854775807",
    "-9223372036854775808",
    "1.7976931348623157e308",
];

fn parameter() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        9 => (prop::sample::select(CODES), prop::sample::select(MODIFIERS)).prop_map(|(code, modifier)| format!("{code}{modifier}")),
        1 => any::<String>(),
    ];
    let value = prop_oneof![
        6 => prop::sample::select(VALUES).prop_map(str::to_owned),
        2 => prop::collection::vec(prop::sample::select(VALUES), 1..4).prop_map(|values| values.join(",")),
        1 => any::<String>(),
        1 => (prop::sample::select(&["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"][..]), prop::sample::select(VALUES)).prop_map(|(prefix, value)| format!("{prefix}{value}")),
    ];
    (name, value)
}

fn ask_anything(server: &Server, cases: u32) {
    let near = json!({"position": {"latitude": 42.0, "longitude": -71.0}, "managingOrganization": {"reference": "Organization/o1"}});
    load(
        server,
        &[
            organization("o1", json!({"name": "Acme", "partOf": {"reference": "Organization/o1"}})),
            resource("Location", "l1", near),
            resource(
                "PractitionerRole",
                "r1",
                json!({"organization": {"reference": "Organization/o1"}, "period": {"start": "2020"}}),
            ),
        ],
    );
    let strategy = (
        prop::sample::select(TYPES),
        prop::collection::vec(parameter(), 1..4),
        prop::sample::select(&["", "lenient", "strict"][..]),
        any::<bool>(),
    );
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::default()),
    );
    let outcome = runner.run(&strategy, |(resource_type, pairs, handling, is_post)| {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let request = if is_post {
            let path = if resource_type.is_empty() { "_search".to_owned() } else { format!("{resource_type}/_search") };
            server
                .request("POST", &path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(query.clone())
        } else {
            server.request("GET", &format!("{resource_type}?{query}"))
        };
        let answer = Answer::of(if handling.is_empty() {
            request
        } else {
            request.header("prefer", format!("handling={handling}"))
        });
        prop_assert!(matches!(answer.status, 200 | 400 | 406), "{resource_type}?{query} {handling}: {answer}");
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert_eq!(server.ids("Organization?name=acme"), ["o1"]);
}

#[test]
fn whatever_is_asked_sqlite_does_not_fail() {
    ask_anything(&Server::sqlite(&[]), 1500);
}

#[test]
fn whatever_is_asked_postgresql_does_not_fail() {
    if let Some(server) = Server::postgres(&[]) {
        ask_anything(&server, 1500);
    }
}

#[test]
fn each_kind_of_value_at_each_parameter_is_answered() {
    // The record of who did what is searched as everything else is, by those whose scopes name it.
    let scope = [("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", "system/*.cruds system/AuditEvent.rs")];
    for server in [Some(Server::sqlite(&scope)), Server::postgres(&scope)].into_iter().flatten() {
        let statement = server.get("metadata").body;
        for resource in statement["rest"][0]["resource"].as_array().expect("resources") {
            let resource_type = resource["type"].as_str().expect("type");
            for param in resource["searchParam"].as_array().into_iter().flatten() {
                let name = param["name"].as_str().expect("name");
                // All values of the list as repeats of one parameter would be refused together; three at a time are not.
                for value in ["a", "true", "2020", "5", "42|-71", "Organization/o1", "a|b", "a$2020", "urn:x"] {
                    let answer = server.get(&format!("{resource_type}?{name}={value}&_sort=-{name}&_total=accurate"));
                    assert!(matches!(answer.status, 200 | 400), "{resource_type}?{name}={value}: {answer}");
                }
                let sorted = server.get(&format!("{resource_type}?_sort={name},_id"));
                let has_order = param["type"] != "composite";
                assert_eq!(sorted.status, if has_order { 200 } else { 400 }, "{resource_type}?_sort={name}: {sorted}");
            }
        }
    }
}
