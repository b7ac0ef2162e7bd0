//! What every answer tells browsers, and what pages from elsewhere may do.

use serde_json::json;

use super::certificates::Issued;
use super::{address, connect, get, over_tls, trusting};
use crate::harness::{Answer, Server};

const ALWAYS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
];
const PREFLIGHT: [(&str, &str); 3] = [
    ("origin", "https://page.example"),
    ("access-control-request-method", "GET"),
    ("access-control-request-headers", "authorization"),
];

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let request = server.request(method, &format!("{}{path}", server.base.trim_end_matches("/fhir")));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request.body(body.to_owned()))
}

#[test]
fn every_answer_protects_its_reader() {
    let server = Server::sqlite(&[]);
    let organization = json!({"resourceType": "Organization", "active": true, "name": "Acme"}).to_string();
    let json = ("content-type", "application/fhir+json");
    for (method, path, headers, body, status) in [
        ("GET", "/fhir/metadata", &[][..], "", 200),
        ("HEAD", "/fhir/metadata", &[], "", 200),
        ("GET", "/fhir/metadata", &[("accept-encoding", "gzip")], "", 200),
        ("GET", "/fhir/metadata", &[("accept-encoding", "identity;q=0")], "", 406),
        ("POST", "/fhir/Organization", &[json], &organization, 201),
        ("POST", "/fhir/Organization", &[json, ("content-encoding", "br")], &organization, 415),
        ("POST", "/fhir/Organization", &[json], "{", 400),
        ("GET", "/fhir/Organization/missing", &[], "", 404),
        ("DELETE", "/fhir/metadata", &[], "", 405),
        ("OPTIONS", "/fhir/metadata", &[], "", 405),
        ("OPTIONS", "/fhir/Organization/a", &PREFLIGHT, "", 204),
        ("GET", "/fhir/metadata", &[("host", "evil.example")], "", 403),
        ("GET", "/nowhere", &[], "", 404),
        ("GET", "/health/live", &[], "", 200),
    ] {
        let answer = ask(&server, method, path, headers, body);
        let what = format!("{method} {path} {headers:?}");
        assert_eq!(answer.status, status, "{what}: {answer}");
        for (name, value) in ALWAYS {
            assert_eq!(answer.headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{what}: {name}");
        }
        assert_eq!(answer.header("strict-transport-security"), None, "{what}: nobody comes by https");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{what}");
        assert_eq!(answer.header("cache-control"), None, "{what}");
    }
}

#[test]
fn what_comes_with_a_token_is_not_stored_on_the_way() {
    let server = Server::sqlite(&[]);
    let answer = ask(&server, "GET", "/fhir/metadata", &[("authorization", "Bearer x")], "");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
}

#[test]
fn https_is_promised_for_the_name_of_the_base_url() {
    let issued = Issued::new();
    let name = "strict-transport-security: max-age=31536000";
    for (base_url, is_promised) in [(None, false), (Some("https://directory.example/fhir"), true)] {
        let setting = base_url.map(|url| ("PLUMBLINE_SERVER__BASE_URL", url));
        let server = over_tls(&issued, setting.as_slice());
        let answer = get(connect(address(&server), trusting()).expect("a connection"), "/fhir/metadata");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.500}");
        assert_eq!(answer.contains(name), is_promised, "{answer:.500}");
    }
}

#[test]
fn pages_from_elsewhere_read_and_search() {
    let server = Server::sqlite(&[]);
    let page = ("origin", "https://page.example");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json = ("content-type", "application/fhir+json");
    for (method, path, headers, allowed) in [
        ("GET", "/fhir/metadata", &[page][..], Some("*")),
        ("GET", "/fhir/metadata", &[], Some("*")),
        ("GET", "/fhir/Organization?name=acme", &[page], Some("*")),
        ("GET", "/fhir/Organization/missing", &[page], Some("*")),
        ("POST", "/fhir/Organization/_search", &[page, form], Some("*")),
        ("POST", "/fhir/Organization", &[page, json], None),
        ("DELETE", "/fhir/Organization/a", &[page], None),
        ("GET", "/auth/jwks", &[page], Some("*")),
        ("POST", "/auth/token", &[page, form], None),
        ("GET", "/auth/authorize", &[page], None),
        ("GET", "/health/live", &[page], None),
    ] {
        let answer = ask(&server, method, path, headers, "");
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{method} {path}: {answer:?}");
        let exposed = answer.header("access-control-expose-headers");
        assert_eq!(
            exposed.is_some_and(|names| names.contains("ETag")),
            allowed.is_some(),
            "{method} {path}: {answer:?}"
        );
    }
}

#[test]
fn a_preflight_is_answered_at_once() {
    let server = Server::sqlite(&[]);
    let answer = ask(&server, "OPTIONS", "/fhir/Organization/a", &PREFLIGHT, "");
    assert_eq!(answer.status, 204, "{answer}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let headers = answer.header("access-control-allow-headers").unwrap_or_default();
    assert!(headers.contains("if-none-match"), "{headers}");
    assert!(!headers.contains("authorization") && !headers.contains("content-type"), "{headers}");
    for (method, path) in [("PUT", "/fhir/Organization/a"), ("POST", "/fhir/Organization"), ("POST", "/fhir")] {
        let asked = [PREFLIGHT[0], ("access-control-request-method", method)];
        let answer = ask(&server, "OPTIONS", path, &asked, "");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None), "{method} {path}");
    }
    let answer = ask(&server, "OPTIONS", "/auth/token", &PREFLIGHT, "");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None));
    let answer = ask(&server, "OPTIONS", "/fhir/metadata", &[&PREFLIGHT[..], &[("host", "evil.example")]].concat(), "");
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (403, None));
}
