//! What client assertions say: from whom, for whom, and until when (RFC 7523, section 3).

use serde_json::{Value, json};

use super::assertions::{Target, refused_each};
use super::signing::{Key, jwks, jwt, unix_now};
use super::{Smart, assert_error};
use crate::harness::Server;

#[test]
fn issuer_and_subject_are_both_the_client() {
    refused_each([("iss", "nobody"), ("sub", "nobody"), ("sub", "")], |target, (claim, value)| {
        target.right().claim(claim, *value).signed(target.key)
    });
}

#[test]
fn another_client_cannot_be_spoken_for() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let (own, key) = (Key::ec("own"), Key::ec("own"));
    smart.client_with_keys("attacker", &jwks(&[&own]), "system/*.rs");
    smart.client_with_keys("client", &jwks(&[&key]), "system/*.rs");
    let target = Target { smart: &smart, key: &key, id: "client" };
    target.assert_refused(&target.right().signed(&own));
    target.assert_refused(&target.right().claim("iss", "attacker").signed(&own));
    target.assert_refused(&target.right().claim("sub", "attacker").signed(&own));
}

#[test]
fn an_audience_that_is_not_the_token_endpoint_is_refused() {
    let spoilt: [fn(&str, &str) -> Value; 12] = [
        |_token, base| base.into(),
        |_token, base| base.trim_end_matches("/fhir").into(),
        |token, _base| format!("{token}/").into(),
        |token, _base| format!("{token}?a=b").into(),
        |token, _base| token.to_uppercase().into(),
        |token, _base| token.replace("http://", "https://").into(),
        |token, _base| token.replace("127.0.0.1", "directory.example").into(),
        |token, _base| token.replace("127.0.0.1", "127.0.0.2").into(),
        |token, base| json!([token, base]),
        |token, _base| json!([token, token]),
        |_token, _base| json!([]),
        |_token, _base| json!({"aud": 1}),
    ];
    refused_each(spoilt, |target, spoil| {
        let (token, base) = (target.smart.published("token_endpoint"), target.smart.issuer());
        target.right().claim("aud", spoil(token, &base)).signed(target.key)
    });
}

#[test]
fn an_expired_assertion_is_refused() {
    refused_each([61, 3_600, i64::from(u32::MAX)], |target, ago| {
        target.right().claim("exp", unix_now() - ago).signed(target.key)
    });
}

#[test]
fn an_assertion_for_longer_than_five_minutes_is_refused() {
    // One minute is for clocks that differ, and some seconds for this test.
    refused_each([380, 3_600, 86_400 * 365, i64::MAX / 2], |target, ahead| {
        target.right().claim("exp", unix_now() + ahead).signed(target.key)
    });
}

#[test]
fn clocks_may_differ_by_half_a_minute() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    smart.client_with_keys("client", &jwks(&[&key]), "system/*.rs");
    let target = Target { smart: &smart, key: &key, id: "client" };
    let now = unix_now();
    for right in [
        target.right().claim("exp", now - 30),
        target.right().claim("exp", now + 330),
        target.right().claim("iat", now + 30),
        target.right().claim("nbf", now + 30),
    ] {
        assert_eq!(target.ask(&right.signed(&key)).status, 200, "{}", right.claims);
    }
    assert_eq!(target.ask(&target.right().without("iat").signed(&key)).status, 200, "iat is not required");
}

#[test]
fn what_is_required_is_there() {
    let claims = ["iss", "sub", "aud", "exp", "jti"];
    refused_each(claims, |target, claim| target.right().without(claim).signed(target.key));
    refused_each(claims, |target, claim| target.right().claim(claim, Value::Null).signed(target.key));
}

#[test]
fn a_claim_of_the_wrong_type_is_refused() {
    let wrong = [
        ("exp", json!((unix_now() + 200).to_string())),
        ("exp", json!([unix_now() + 200])),
        ("exp", json!(true)),
        ("exp", json!(-1)),
        ("nbf", json!("soon")),
        ("iat", json!("now")),
        ("jti", json!(1)),
        ("jti", json!("")),
        ("jti", json!(["a"])),
        ("iss", json!(["client"])),
        ("sub", json!({})),
    ];
    refused_each(wrong, |target, (claim, value)| target.right().claim(claim, value.clone()).signed(target.key));
}

#[test]
fn an_assertion_that_is_not_valid_yet_is_refused() {
    refused_each(["nbf", "iat"], |target, claim| target.right().claim(claim, unix_now() + 150).signed(target.key));
}

#[test]
fn claims_that_are_no_object_are_refused() {
    refused_each([json!([]), json!("x"), json!(null), json!(1)], |target, claims| {
        jwt(&target.right().header, claims, |message| target.key.sign(target.key.alg, message))
    });
}

#[test]
fn an_oversized_assertion_is_refused() {
    for bytes in [10_000, 17_000] {
        let server = Server::sqlite(&[]);
        let smart = Smart::of(&server);
        let key = Key::ec("own");
        smart.client_with_keys("client", &jwks(&[&key]), "system/*.rs");
        let target = Target { smart: &smart, key: &key, id: "client" };
        let answer = target.ask(&target.right().claim("padding", "x".repeat(bytes)).signed(&key));
        assert_error(&answer, &["invalid_client", "invalid_request"]);
    }
}
