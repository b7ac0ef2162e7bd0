//! Backend services (SMART App Launch 2.2): a system gets a token for itself by an assertion that it signs.

use serde_json::json;

use super::signing::{Assertion, Key, decoded, is_verified, jwks};
use super::{ASSERTION_TYPE, Proof, SEAL, Smart, assert_error, scopes, text_of};
use crate::harness::{Answer, Server, on_both};

/// One name for all nodes of a directory, as a balancer in front of them has it.
const NAME: (&str, &str) = ("PLUMBLINE_SERVER__BASE_URL", "http://localhost:1/fhir");

on_both! {
    fn a_system_with_either_kind_of_key_gets_a_token(server) {
        let smart = Smart::of(server);
        for key in [Key::rsa("r"), Key::ec("e")] {
            let id = format!("system-{}", key.kid);
            smart.client_with_keys(&id, &jwks(&[&key]), "system/*.rs");
            let answer = smart.backend(&Proof::Key(&id, &key), "system/*.rs");
            assert_eq!(answer.status, 200, "{answer}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("pragma"), Some("no-cache"));
            let body = &answer.body;
            assert_eq!(body["token_type"], "bearer", "SMART writes it so");
            assert_eq!(body["scope"], "system/*.rs");
            let lifetime = body["expires_in"].as_i64().expect("a number");
            assert!((1..=300).contains(&lifetime), "{body}");
            for unwanted in ["refresh_token", "id_token", "patient"] {
                assert!(body.get(unwanted).is_none(), "{body}");
            }
            assert!(smart.is_accepted(body["access_token"].as_str().expect("a token")));
        }
    }

    fn a_token_allows_what_it_says_and_no_more(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        smart.client_with_keys("reader", &jwks(&[&key]), "system/Organization.rs");
        let token = smart.backend_token(&Proof::Key("reader", &key), "system/Organization.rs");
        assert_eq!(smart.fhir(&token, "Organization").status, 200);
        assert_eq!(smart.fhir(&token, "Location").status, 403);
        let created = server.request("POST", "Organization").bearer_auth(&token)
            .header("content-type", "application/fhir+json").body(json!({"resourceType": "Organization", "name": "x"}).to_string());
        assert_eq!(Answer::of(created).status, 403);
    }

    fn what_is_granted_is_what_is_both_asked_for_and_registered(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        smart.client_with_keys("system", &jwks(&[&key]), "system/Organization.rs system/Location.cruds api/token.read user/*.cruds openid launch offline_access");
        let granted = |asked: &str| {
            let answer = smart.backend(&Proof::Key("system", &key), asked);
            assert_eq!(answer.status, 200, "{asked}: {answer}");
            let (_, claims) = decoded(answer.body["access_token"].as_str().expect("a token"));
            assert_eq!(claims["scope"], answer.body["scope"], "the token says the same");
            scopes(&answer.body)
        };
        assert_eq!(granted("system/*.rs"), ["system/Location.rs", "system/Organization.rs"]);
        assert_eq!(granted("system/Organization.cruds system/Practitioner.rs"), ["system/Organization.rs"]);
        assert_eq!(granted("system/Location.read"), ["system/Location.read"], "version 1 is answered in version 1");
        assert_eq!(granted("api/token.read"), ["api/token.read"]);
        // Nobody is there who could be a user or a patient, or log in.
        assert_eq!(granted("user/Location.rs patient/Location.rs system/Location.r openid launch offline_access fhirUser"), ["system/Location.r"]);
        assert_eq!(granted("system/Location.r nonsense system/Unknown.rs"), ["system/Location.r"]);
    }

    fn what_cannot_be_granted_is_an_invalid_scope(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        smart.client_with_keys("system", &jwks(&[&key]), "system/Organization.rs user/*.cruds patient/*.rs");
        for asked in ["system/Practitioner.rs", "system/Organization.cud", "user/Organization.rs", "patient/*.rs", "openid", "nonsense", "SYSTEM/Organization.rs"] {
            assert_error(&smart.backend(&Proof::Key("system", &key), asked), &["invalid_scope"]);
        }
    }

    fn a_token_ends_when_it_is_taken_back(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        let (token, other) = (smart.backend_token(&Proof::Key("system", &key), "system/*.rs"), smart.backend_token(&Proof::Key("system", &key), "system/*.rs"));
        assert!(smart.is_accepted(&token) && smart.is_accepted(&other));
        let revoked = smart.prove("revocation_endpoint", &Proof::Key("system", &key), &[("token", token.as_str())]);
        assert_eq!(revoked.status, 200, "{revoked}");
        assert!(!smart.is_accepted(&token), "at once");
        assert!(smart.is_accepted(&other));
    }

    fn a_token_ends_with_its_client(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        let token = smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
        assert!(smart.is_accepted(&token));
        smart.cli(&["client", "remove", "system"], "");
        smart.assert_ends(&token);
        assert_error(&smart.backend(&Proof::Key("system", &key), "system/*.rs"), &["invalid_client"]);
    }

    fn a_token_of_a_removed_client_is_not_the_next_ones_of_that_name(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        let token = smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
        smart.cli(&["client", "remove", "system"], "");
        smart.assert_ends(&token);
        smart.client_with_keys("system", &jwks(&[&Key::ec("other")]), "system/Location.r");
        assert!(!smart.is_accepted(&token), "it was granted to another client");
    }

    fn an_assertion_is_used_once(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        let assertion = smart.assertion(&key, "system").signed(&key);
        assert_eq!(smart.backend(&Proof::Assertion(&assertion), "system/*.rs").status, 200);
        assert_error(&smart.backend(&Proof::Assertion(&assertion), "system/*.rs"), &["invalid_client"]);
        // The same jti in an assertion that differs otherwise.
        let (_, claims) = decoded(&assertion);
        let again = smart.assertion(&key, "system").claim("jti", claims["jti"].clone()).signed(&key);
        assert_error(&smart.backend(&Proof::Assertion(&again), "system/*.rs"), &["invalid_client"]);
        assert_error(&smart.prove("introspection_endpoint", &Proof::Assertion(&again), &[("token", "x")]), &["invalid_client"]);
    }

    fn of_two_uses_at_once_one_counts(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        let assertion = smart.assertion(&key, "system").signed(&key);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let uses: Vec<_> = (0..8).map(|_| scope.spawn(|| smart.backend(&Proof::Assertion(&assertion), "system/*.rs").status)).collect();
            uses.into_iter().map(|done| done.join().expect("an answer")).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    }

    fn the_jti_of_another_client_is_no_replay(server) {
        let smart = Smart::of(server);
        let key = Key::ec("k");
        for id in ["one", "two"] {
            smart.client_with_keys(id, &jwks(&[&key]), "system/*.rs");
            let assertion = smart.assertion(&key, id).claim("jti", "shared").signed(&key);
            assert_eq!(smart.backend(&Proof::Assertion(&assertion), "system/*.rs").status, 200, "{id}");
        }
    }
}

fn replayed_after_a_restart(mut server: Server) {
    let key = Key::ec("k");
    let assertion = {
        let smart = Smart::of(&server);
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        let assertion = smart.assertion(&key, "system").signed(&key);
        assert_eq!(smart.backend(&Proof::Assertion(&assertion), "system/*.rs").status, 200);
        assertion
    };
    server.restart();
    let smart = Smart::of(&server);
    smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
    assert_error(&smart.backend(&Proof::Assertion(&assertion), "system/*.rs"), &["invalid_client"]);
}

#[test]
fn a_restart_does_not_make_an_assertion_new_on_sqlite() {
    replayed_after_a_restart(Server::sqlite(&[NAME]));
}

#[test]
fn a_restart_does_not_make_an_assertion_new_on_postgresql() {
    if let Some(server) = Server::postgres(&[NAME]) {
        replayed_after_a_restart(server);
    }
}

fn replayed_on_another_node(server: &Server) {
    let key = Key::ec("k");
    let smart = Smart::of(server);
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    let other_server = server.second(&[]);
    let other = Smart::of(&other_server);
    for (first, second) in [(&smart, &other), (&other, &smart)] {
        let assertion = first.assertion(&key, "system").signed(&key);
        assert_eq!(first.backend(&Proof::Assertion(&assertion), "system/*.rs").status, 200);
        assert_error(&second.backend(&Proof::Assertion(&assertion), "system/*.rs"), &["invalid_client"]);
    }
}

#[test]
fn another_node_does_not_take_a_used_assertion_on_sqlite() {
    replayed_on_another_node(&Server::sqlite(&[NAME, SEAL]));
}

#[test]
fn another_node_does_not_take_a_used_assertion_on_postgresql() {
    if let Some(server) = Server::postgres(&[NAME, SEAL]) {
        replayed_on_another_node(&server);
    }
}

#[test]
fn the_client_may_be_named_beside_its_assertion_if_it_is_the_same() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("k");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    smart.client_with_keys("other", &jwks(&[&key]), "system/*.rs");
    let ask = |named: &str| {
        let assertion = smart.assertion(&key, "system").signed(&key);
        let fields = [("grant_type", "client_credentials"), ("scope", "system/*.rs"), ("client_id", named)];
        smart.prove("token_endpoint", &Proof::Assertion(&assertion), &fields)
    };
    assert_eq!(ask("system").status, 200);
    assert_error(&ask("other"), &["invalid_client"]);
}

#[test]
fn an_audience_may_be_a_list_of_one() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("k");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    let assertion = Assertion::new(&key, "system", "").claim("aud", json!([smart.published("token_endpoint")]));
    assert_eq!(smart.backend(&Proof::Assertion(&assertion.signed(&key)), "system/*.rs").status, 200);
}

#[test]
fn another_grant_type_is_unsupported() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("k");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    for grant_type in [
        "password",
        "implicit",
        "Client_Credentials",
        "client_credentials ",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ] {
        let fields = [("grant_type", grant_type), ("scope", "system/*.rs")];
        let answer = smart.prove("token_endpoint", &Proof::Key("system", &key), &fields);
        assert_eq!((answer.status, answer.body["error"].as_str()), (400, Some("unsupported_grant_type")), "{answer}");
        assert_error(&answer, &["unsupported_grant_type"]);
    }
    let answer = smart.prove("token_endpoint", &Proof::Key("system", &key), &[("scope", "system/*.rs")]);
    assert_error(&answer, &["invalid_request"]);
}

#[test]
fn a_missing_scope_is_an_invalid_request() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("k");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    let grant = ("grant_type", "client_credentials");
    for fields in [&[grant][..], &[grant, ("scope", "")], &[grant, ("scope", "   ")]] {
        let answer = smart.prove("token_endpoint", &Proof::Key("system", &key), fields);
        assert_error(&answer, &["invalid_request", "invalid_scope"]);
    }
}

#[test]
fn a_client_that_proves_nothing_gets_no_token_of_its_own() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", "system/*.rs user/*.rs");
    assert_error(&smart.backend(&Proof::Public("app"), "system/*.rs"), &["unauthorized_client", "invalid_client"]);
}

#[test]
fn a_client_with_keys_is_not_believed_without_them() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("k");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    for proof in [Proof::Public("system"), Proof::Basic("system", ""), Proof::Post("system", "x"), Proof::None] {
        assert_error(&smart.backend(&proof, "system/*.rs"), &["invalid_client"]);
    }
}

#[test]
fn new_keys_take_the_place_of_the_old_ones() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let (old, new) = (Key::ec("old"), Key::rsa("new"));
    smart.client_with_keys("system", &jwks(&[&old]), "system/*.rs");
    smart.backend_token(&Proof::Key("system", &old), "system/*.rs");
    let file = server.data().join("new.json");
    std::fs::write(&file, jwks(&[&new]).to_string()).expect("a file");
    smart.cli(&["client", "rotate", "system", "--jwks", file.to_str().expect("a path")], "");
    assert_error(&smart.backend(&Proof::Key("system", &old), "system/*.rs"), &["invalid_client"]);
    smart.backend_token(&Proof::Key("system", &new), "system/*.rs");
}

#[test]
fn a_private_key_is_not_registered() {
    let server = Server::sqlite(&[]);
    let key = Key::rsa("k");
    let file = server.data().join("private.json");
    std::fs::write(&file, json!({"keys": [key.private_jwk()]}).to_string()).expect("a file");
    let file = file.to_str().expect("a path");
    let output = super::run(&server, &["client", "add", "--id", "x", "--scope", "system/*.rs", "--jwks", file], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("private"), "{output:?}");
}

#[test]
fn the_token_says_who_may_use_it_where_and_how_long() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("k");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    let answer = smart.backend(&Proof::Key("system", &key), "system/*.rs");
    let token = text_of(&answer, "access_token");
    let (header, claims) = decoded(&token);
    // RFC 9068, 2.1 and 2.2.
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["alg"], "ES384");
    assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some(&*server.base), Some(&*server.base)));
    assert_eq!((claims["client_id"].as_str(), claims["sub"].as_str()), (Some("system"), Some("system")));
    assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() >= 16), "{claims}");
    let (iat, exp) = (claims["iat"].as_i64().expect("a time"), claims["exp"].as_i64().expect("a time"));
    assert_eq!(answer.body["expires_in"].as_i64(), Some(exp - iat));
    let keys = Answer::of(smart.request("GET", smart.published("jwks_uri"))).body;
    assert!(is_verified(&token, &keys));
}

#[test]
fn the_type_of_the_assertion_is_part_of_the_request() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("k");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    let assertion = smart.assertion(&key, "system").signed(&key);
    let fields = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion.as_str()),
    ];
    for (n, value) in [(2, ""), (2, "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), (2, "jwt"), (3, "")] {
        let mut fields = fields;
        fields[n].1 = value;
        assert_error(&smart.post("token_endpoint", &fields), &["invalid_client"]);
    }
    assert_eq!(smart.post("token_endpoint", &fields).status, 200);
}
