//! What the server says of itself (SMART App Launch 2.2, conformance; OpenID Connect Discovery 1.0).

use serde_json::{Value, json};
use url::Url;

use super::Smart;
use crate::harness::{Answer, Server};

/// Everything that SMART 2.2 calls a capability.
const CAPABILITIES: &[&str] = &[
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
    "smart-app-state",
];

fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().unwrap_or_else(|| panic!("a list: {value}"));
    items.iter().map(|item| item.as_str().expect("text")).collect()
}

#[test]
fn the_document_is_json_whatever_is_asked_for() {
    let server = Server::sqlite(&[]);
    for accept in
        ["application/json", "text/html", "application/fhir+xml", "application/fhir+json", "image/png", "*/*", ""]
    {
        let request = server.request("GET", ".well-known/smart-configuration").header("accept", accept);
        let answer = Answer::of(request);
        assert_eq!(answer.status, 200, "{accept}: {answer}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{accept}");
        assert!(answer.body.is_object(), "{accept}: {answer}");
    }
    let head = Answer::of(server.request("HEAD", ".well-known/smart-configuration"));
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
}

#[test]
fn the_document_is_open_where_the_directory_is_closed() {
    let server = Server::sqlite(&[("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", "")]);
    assert_eq!(server.get("Organization").status, 401);
    for open in [".well-known/smart-configuration", ".well-known/openid-configuration", "metadata"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
}

#[test]
fn the_document_has_what_smart_requires() {
    let server = Server::sqlite(&[]);
    let document = server.get(".well-known/smart-configuration").body;
    assert_eq!(document["issuer"], server.base.as_str());
    for member in
        ["authorization_endpoint", "token_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint"]
    {
        assert!(document[member].is_string(), "{member}: {document}");
    }
    let mut grants = texts(&document["grant_types_supported"]);
    grants.sort_unstable();
    assert_eq!(grants, ["authorization_code", "client_credentials", "refresh_token"]);
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]), "plain is no protection");
    assert_eq!(document["response_types_supported"], json!(["code"]));
    let mut algorithms = texts(&document["token_endpoint_auth_signing_alg_values_supported"]);
    algorithms.sort_unstable();
    assert_eq!(algorithms, ["ES384", "RS384"]);
    let methods = texts(&document["token_endpoint_auth_methods_supported"]);
    for method in ["private_key_jwt", "client_secret_basic", "client_secret_post"] {
        assert!(methods.contains(&method), "{method}: {methods:?}");
    }
    let scopes = texts(&document["scopes_supported"]);
    for scope in ["openid", "fhirUser", "launch", "launch/patient", "offline_access", "online_access", "system/*.rs"] {
        assert!(scopes.contains(&scope), "{scope}: {scopes:?}");
    }
    // RFC 9207: an app can tell whose answer it gets.
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
}

#[test]
fn capabilities_are_those_that_smart_names() {
    let server = Server::sqlite(&[]);
    let document = server.get(".well-known/smart-configuration").body;
    let capabilities = texts(&document["capabilities"]);
    for capability in &capabilities {
        assert!(CAPABILITIES.contains(capability), "{capability} is no capability of SMART 2.2");
    }
    for needed in [
        "launch-ehr",
        "launch-standalone",
        "authorize-post",
        "client-public",
        "client-confidential-symmetric",
        "client-confidential-asymmetric",
        "sso-openid-connect",
        "permission-offline",
        "permission-online",
        "permission-patient",
        "permission-user",
        "permission-v1",
        "permission-v2",
    ] {
        assert!(capabilities.contains(&needed), "{needed}: {capabilities:?}");
    }
}

#[test]
fn every_url_is_absolute_and_answers() {
    let server = Server::sqlite(&[("PLUMBLINE_AUTH__DYNAMIC_REGISTRATION", "true")]);
    let smart = Smart::of(&server);
    for (member, method) in [
        ("jwks_uri", "GET"),
        ("authorization_endpoint", "GET"),
        ("authorization_endpoint", "POST"),
        ("token_endpoint", "POST"),
        ("introspection_endpoint", "POST"),
        ("revocation_endpoint", "POST"),
        ("registration_endpoint", "POST"),
    ] {
        let url = smart.published(member);
        assert!(Url::parse(url).is_ok_and(|url| url.has_host()), "{member} is absolute: {url}");
        let answer = Answer::of(smart.request(method, url));
        assert!(!matches!(answer.status, 404 | 405 | 500..), "{method} {url}: {answer}");
    }
}

#[test]
fn registration_is_published_where_it_is_open_only() {
    for (setting, is_open) in [("false", false), ("true", true)] {
        let server = Server::sqlite(&[("PLUMBLINE_AUTH__DYNAMIC_REGISTRATION", setting)]);
        for document in [".well-known/smart-configuration", ".well-known/openid-configuration"] {
            let document = server.get(document).body;
            assert_eq!(document.get("registration_endpoint").is_some(), is_open, "{document}");
        }
    }
}

#[test]
fn behind_a_proxy_every_url_is_the_one_that_clients_use() {
    let server = Server::sqlite(&[("PLUMBLINE_SERVER__BASE_URL", "https://directory.example/fhir")]);
    let document = server.get(".well-known/smart-configuration").body;
    assert_eq!(document["issuer"], "https://directory.example/fhir");
    for (name, value) in document.as_object().expect("an object") {
        if name.ends_with("_endpoint") || name.ends_with("_uri") {
            let url = value.as_str().expect("a URL");
            assert!(url.starts_with("https://directory.example/auth/"), "{name}: {url}");
        }
    }
}

#[test]
fn the_capability_statement_leads_to_the_same_endpoints() {
    let server = Server::sqlite(&[]);
    let document = server.get(".well-known/smart-configuration").body;
    let statement = server.get("metadata").body;
    let security = &statement["rest"][0]["security"];
    let codings = security["service"][0]["coding"].as_array().expect("a coding");
    assert!(
        codings.iter().any(|coding| coding["code"] == "SMART-on-FHIR"
            && coding["system"] == "http://terminology.hl7.org/CodeSystem/restful-security-service"),
        "{security}"
    );
    let uris =
        security["extension"].as_array().expect("extensions").iter().find(|extension| {
            extension["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
        });
    let uris = uris.expect("oauth-uris")["extension"].as_array().expect("parts");
    for (name, member) in [
        ("authorize", "authorization_endpoint"),
        ("token", "token_endpoint"),
        ("introspect", "introspection_endpoint"),
        ("revoke", "revocation_endpoint"),
    ] {
        let uri = uris.iter().find(|part| part["url"] == name).unwrap_or_else(|| panic!("{name}: {security}"));
        assert_eq!(uri["valueUri"], document[member], "{name}");
    }
}

#[test]
fn published_keys_are_public_and_nothing_more() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let answer = Answer::of(smart.request("GET", smart.published("jwks_uri")));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let keys = answer.body["keys"].as_array().expect("keys");
    let mut algorithms: Vec<&str> = keys.iter().map(|key| key["alg"].as_str().expect("an algorithm")).collect();
    algorithms.sort_unstable();
    assert_eq!(algorithms, ["ES384", "RS256"]);
    for key in keys {
        let expected: &[&str] = match key["kty"].as_str() {
            Some("RSA") => &["alg", "e", "kid", "kty", "n", "use"],
            Some("EC") => &["alg", "crv", "kid", "kty", "use", "x", "y"],
            other => panic!("a kind of key: {other:?}"),
        };
        let mut members: Vec<&str> = key.as_object().expect("an object").keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, expected, "no member of a private key");
        assert_eq!(key["use"], "sig");
    }
    assert_ne!(keys[0]["kid"], keys[1]["kid"]);
}

#[test]
fn openid_clients_find_the_same_server() {
    let server = Server::sqlite(&[]);
    let smart = server.get(".well-known/smart-configuration").body;
    let answer = server.get(".well-known/openid-configuration");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let openid = answer.body;
    // The issuer, with the well-known path added, is where this document is.
    assert_eq!(openid["issuer"], server.base.as_str());
    for (name, value) in smart.as_object().expect("an object") {
        if name != "capabilities" {
            assert_eq!(openid[name], *value, "{name}");
        }
    }
    assert_eq!(openid["subject_types_supported"], json!(["public"]));
    assert!(texts(&openid["id_token_signing_alg_values_supported"]).contains(&"RS256"), "OpenID Connect wants it");
    assert!(!texts(&openid["id_token_signing_alg_values_supported"]).contains(&"none"));
}

#[test]
fn pages_from_everywhere_may_read_the_documents() {
    let server = Server::sqlite(&[]);
    for document in [".well-known/smart-configuration", ".well-known/openid-configuration"] {
        for origin in [None, Some("https://somewhere.example"), Some("null")] {
            let mut request = server.request("GET", document);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let answer = Answer::of(request);
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{document} {origin:?}");
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
    }
}

#[test]
fn documents_are_read_and_not_written() {
    let server = Server::sqlite(&[]);
    for path in [".well-known/smart-configuration", ".well-known/openid-configuration"] {
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(Answer::of(server.request(method, path)).status, 405, "{method} {path}");
        }
    }
}
