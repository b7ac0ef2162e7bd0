//! The form of a request to the token endpoint (RFC 6749, 3.2): what is not of it is refused, whoever sends it.

use super::browser::form;
use super::signing::{Key, jwks};
use super::{ASSERTION_TYPE, Proof, Smart, assert_error};
use crate::harness::{Answer, Server};

/// A server with a client that has keys, and the fields of a request of it that is right.
fn with_fields(check: impl Fn(&Smart, &dyn Fn() -> Vec<(String, String)>)) {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    smart.client_with_keys("client", &jwks(&[&key]), "system/*.rs");
    let fields = || {
        let assertion = smart.assertion(&key, "client").signed(&key);
        let fields = [
            ("grant_type", "client_credentials"),
            ("scope", "system/*.rs"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ];
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    };
    check(&smart, &fields);
    let fine = fields();
    assert_eq!(smart.post("token_endpoint", &borrowed(&fine)).status, 200, "what is right is granted");
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn send(smart: &Smart, method: &str, query: &str, media: &str, body: &str) -> Answer {
    let url = format!("{}{query}", smart.url("token_endpoint"));
    let request = smart.request(method, &url);
    Answer::of(if media.is_empty() { request } else { request.header("content-type", media).body(body.to_owned()) })
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn a_parameter_is_given_once() {
    with_fields(|smart, fields| {
        for n in 0..4 {
            let mut fields = fields();
            fields.push(fields[n].clone());
            let answer = smart.post("token_endpoint", &borrowed(&fields));
            assert_error(&answer, &["invalid_request", "invalid_client"]);
        }
    });
}

#[test]
fn what_is_in_the_url_does_not_count() {
    with_fields(|smart, fields| {
        let all = fields();
        let body = form(&borrowed(&all));
        for (query, body) in [
            (format!("?{body}"), String::new()),
            (format!("?{}", form(&borrowed(&all[..1]))), form(&borrowed(&all[1..]))),
            ("?client_id=client".to_owned(), body),
        ] {
            assert_error(&send(smart, "POST", &query, FORM, &body), &["invalid_request", "invalid_client"]);
        }
    });
}

#[test]
fn a_body_of_another_type_is_not_read() {
    with_fields(|smart, fields| {
        let body = form(&borrowed(&fields()));
        for media in [
            "",
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencodedx",
        ] {
            assert_error(&send(smart, "POST", "", media, &body), &["invalid_request", "invalid_client"]);
        }
        let json = "{\"grant_type\":\"client_credentials\"}";
        assert_error(&send(smart, "POST", "", "application/json", json), &["invalid_request"]);
    });
}

#[test]
fn a_character_set_may_be_named() {
    with_fields(|smart, fields| {
        let body = form(&borrowed(&fields()));
        assert_eq!(send(smart, "POST", "", "application/x-www-form-urlencoded;charset=UTF-8", &body).status, 200);
    });
}

#[test]
fn only_post_gets_a_token() {
    with_fields(|smart, fields| {
        let query = format!("?{}", form(&borrowed(&fields())));
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
            let answer = send(smart, method, &query, "", "");
            assert_eq!(answer.status, 405, "{method}: {answer}");
            assert_eq!(answer.header("allow"), Some("POST"), "{method}");
            let answer = send(smart, method, "", FORM, &form(&borrowed(&fields())));
            assert_eq!(answer.status, 405, "{method}: {answer}");
        }
    });
}

#[test]
fn an_oversized_body_is_not_read() {
    with_fields(|smart, fields| {
        let mut fields = fields();
        fields.push(("padding".to_owned(), "x".repeat(200_000)));
        let answer = smart.post("token_endpoint", &borrowed(&fields));
        assert!(matches!(answer.status, 400 | 413), "{answer}");
        assert!(answer.body.get("access_token").is_none());
    });
}

#[test]
fn more_parameters_than_anybody_needs_are_not_read() {
    with_fields(|smart, fields| {
        let mut fields = fields();
        fields.extend((0..1_000).map(|n| (format!("p{n}"), "x".to_owned())));
        assert_error(&smart.post("token_endpoint", &borrowed(&fields)), &["invalid_request"]);
    });
}

#[test]
fn parameters_that_nobody_knows_do_no_harm() {
    with_fields(|smart, fields| {
        let mut fields = fields();
        fields.push(("something".to_owned(), "else".to_owned()));
        assert_eq!(smart.post("token_endpoint", &borrowed(&fields)).status, 200);
    });
}

#[test]
fn an_empty_request_is_an_error_and_no_fault() {
    with_fields(|smart, _fields| {
        for body in ["", "&&&", "=", "%", "%zz=%", "\u{0}", "grant_type=%ff%fe"] {
            assert_error(&send(smart, "POST", "", FORM, body), &["invalid_request", "unsupported_grant_type"]);
        }
    });
}

#[test]
fn every_refusal_is_kept_by_no_cache() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    for (endpoint, fields) in [
        ("token_endpoint", &[("grant_type", "client_credentials"), ("scope", "x")][..]),
        ("token_endpoint", &[("grant_type", "x")]),
        ("introspection_endpoint", &[("token", "x")]),
        ("revocation_endpoint", &[("token", "x")]),
    ] {
        let answer = smart.prove(endpoint, &Proof::Public("nobody"), fields);
        assert!(matches!(answer.status, 400 | 401), "{answer}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("pragma"), Some("no-cache"));
    }
}

#[test]
fn who_fails_with_a_header_is_told_which_scheme_to_use() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let answer = smart.backend(&Proof::Basic("nobody", "nothing"), "system/*.rs");
    // RFC 6749, 5.2.
    assert_eq!((answer.status, answer.body["error"].as_str()), (401, Some("invalid_client")), "{answer}");
    assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Basic")), "{answer:?}");
}

#[test]
fn pages_of_registered_apps_may_ask_for_tokens_and_no_others() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", "user/*.rs");
    let allowed = |origin: &str| {
        let request = smart.request("POST", &smart.url("token_endpoint")).header("origin", origin);
        let answer = Answer::of(request.header("content-type", FORM).body("grant_type=x"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    // The server learns of a new client within seconds.
    super::until("the page may ask", || allowed("https://app.example").as_deref() == Some("https://app.example"));
    for origin in [
        "https://other.example",
        "http://app.example",
        "https://app.example:8443",
        "https://sub.app.example",
        "null",
        "*",
    ] {
        assert_eq!(allowed(origin), None, "{origin}");
    }
}
