//! Clients with secrets (RFC 6749, 2.3.1): for systems that cannot sign.

use super::signing::{Key, jwks};
use super::{ASSERTION_TYPE, Proof, Smart, assert_error, basic, stored};
use crate::harness::{Server, on_both};

on_both! {
    fn a_secret_is_shown_in_a_header_or_in_the_body(server) {
        let smart = Smart::of(server);
        let secret = smart.client("system", &["--scope", "system/*.rs", "--secret"]);
        for proof in [Proof::Basic("system", &secret), Proof::Post("system", &secret)] {
            let token = smart.backend_token(&proof, "system/*.rs");
            assert!(smart.is_accepted(&token));
        }
    }

    fn a_wrong_secret_and_an_unknown_client_are_answered_alike(server) {
        let smart = Smart::of(server);
        let secret = smart.client("system", &["--scope", "system/*.rs", "--secret"]);
        let stranger = smart.backend(&Proof::Basic("nobody", &secret), "system/*.rs");
        assert_error(&stranger, &["invalid_client"]);
        let long = "x".repeat(10_000);
        let upper = secret.to_uppercase();
        for wrong in ["x", "", &secret[1..], &format!("{secret}x"), &format!("{secret} "), &upper, &long, "' OR 1=1"] {
            for proof in [Proof::Basic("system", wrong), Proof::Post("system", wrong)] {
                let answer = smart.backend(&proof, "system/*.rs");
                assert_error(&answer, &["invalid_client"]);
                assert_eq!((answer.status, &answer.text), (stranger.status, &stranger.text), "{wrong}");
            }
        }
        smart.backend_token(&Proof::Basic("system", &secret), "system/*.rs");
    }

    fn the_secret_is_not_in_the_database(server) {
        let smart = Smart::of(server);
        let secret = smart.client("system", &["--scope", "system/*.rs", "--secret"]);
        smart.backend_token(&Proof::Basic("system", &secret), "system/*.rs");
        let stored = stored(server);
        assert!(stored.contains("$argon2id$"), "its hash is");
        assert!(stored.contains("system/*.rs"), "this is where clients are kept");
        assert!(!stored.contains(&secret));
        for command in [&["client", "list"][..], &["client", "list", "--json"]] {
            let listed = smart.cli(command, "");
            assert!(listed.contains("system") && !listed.contains(&secret) && !listed.contains("argon2"), "{listed}");
        }
    }

    fn a_new_secret_takes_the_place_of_the_old_one(server) {
        let smart = Smart::of(server);
        let old = smart.client("system", &["--scope", "system/*.rs", "--secret"]);
        smart.backend_token(&Proof::Basic("system", &old), "system/*.rs");
        let new = smart.cli(&["client", "rotate", "system"], "");
        assert_ne!(old, new);
        assert_error(&smart.backend(&Proof::Basic("system", &old), "system/*.rs"), &["invalid_client"]);
        smart.backend_token(&Proof::Basic("system", &new), "system/*.rs");
    }
}

#[test]
fn every_secret_is_another() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let one = smart.client("one", &["--scope", "system/*.rs", "--secret"]);
    let two = smart.client("two", &["--scope", "system/*.rs", "--secret"]);
    assert!(one != two && one.len() >= 40, "256 bits that nobody guesses: {one}");
    assert_error(&smart.backend(&Proof::Basic("two", &one), "system/*.rs"), &["invalid_client"]);
}

#[test]
fn a_client_shows_in_one_way_who_it_is() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    smart.client_with_keys("signs", &jwks(&[&key]), "system/*.rs");
    let secret = smart.client("system", &["--scope", "system/*.rs", "--secret"]);
    let assertion = smart.assertion(&key, "signs").signed(&key);
    let grant = [("grant_type", "client_credentials"), ("scope", "system/*.rs")];
    let signed = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.as_str())];
    let post = [("client_id", "system"), ("client_secret", secret.as_str())];
    let header = basic("system", &secret);
    for (header, fields) in [
        (Some(header.as_str()), [&grant[..], &signed].concat()),
        (Some(header.as_str()), [&grant[..], &post].concat()),
        (None, [&grant[..], &signed, &post].concat()),
        (Some(header.as_str()), [&grant[..], &signed, &post].concat()),
        // A client_id that says something else than the header.
        (Some(header.as_str()), [&grant[..], &[("client_id", "signs")]].concat()),
    ] {
        assert_error(&smart.post_as("token_endpoint", header, &fields), &["invalid_request", "invalid_client"]);
    }
    assert_eq!(smart.post_as("token_endpoint", Some(&header), &grant).status, 200);
    let named = [&grant[..], &[("client_id", "system")]].concat();
    assert_eq!(smart.post_as("token_endpoint", Some(&header), &named).status, 200, "the same name is no other way");
}

#[test]
fn a_client_with_keys_has_no_secret() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    smart.client_with_keys("signs", &jwks(&[&key]), "system/*.rs");
    for secret in ["", "signs", "null", &jwks(&[&key]).to_string()] {
        for proof in [Proof::Basic("signs", secret), Proof::Post("signs", secret)] {
            assert_error(&smart.backend(&proof, "system/*.rs"), &["invalid_client"]);
        }
    }
}

#[test]
fn a_client_with_a_secret_is_not_believed_without_it() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.client("system", &["--scope", "system/*.rs", "--secret"]);
    let key = Key::ec("own");
    for proof in [Proof::Public("system"), Proof::Key("system", &key), Proof::None] {
        assert_error(&smart.backend(&proof, "system/*.rs"), &["invalid_client"]);
    }
}

#[test]
fn a_header_that_is_not_basic_shows_nobody() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let secret = smart.client("system", &["--scope", "system/*.rs", "--secret"]);
    let right = basic("system", &secret);
    let token = right.trim_start_matches("Basic ");
    let grant = [("grant_type", "client_credentials"), ("scope", "system/*.rs")];
    for header in [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic c3lzdGVt",
        &format!("Bearer {token}"),
        &format!("Digest {token}"),
        token,
        &format!("Basic {token}, Basic {token}"),
    ] {
        assert_error(&smart.post_as("token_endpoint", Some(header), &grant), &["invalid_client"]);
    }
    for scheme in ["basic", "BASIC"] {
        let answer = smart.post_as("token_endpoint", Some(&format!("{scheme} {token}")), &grant);
        assert_eq!(answer.status, 200, "the case of a scheme says nothing: {answer}");
    }
}

#[test]
fn two_headers_show_nobody() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let secret = smart.client("system", &["--scope", "system/*.rs", "--secret"]);
    let request = smart
        .request("POST", &smart.url("token_endpoint"))
        .header("authorization", basic("system", &secret))
        .header("authorization", basic("system", "x"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=system/*.rs");
    assert_error(&crate::harness::Answer::of(request), &["invalid_request", "invalid_client"]);
}

#[test]
fn id_and_secret_are_encoded_as_in_a_form() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let secret = smart.client("urn:system/a@b", &["--scope", "system/*.rs", "--secret"]);
    for id in ["urn%3Asystem%2Fa%40b", "urn%3asystem/a@b"] {
        smart.backend_token(&Proof::Basic(id, &secret), "system/*.rs");
    }
    smart.backend_token(&Proof::Post("urn:system/a@b", &secret), "system/*.rs");
}
