//! Taking a token back (RFC 7009).

use super::browser::granted;
use super::signing::{Key, jwks};
use super::{Proof, Smart, assert_error, text_of, until};
use crate::harness::{Answer, Server, on_both};

const EVERYTHING: &str = "openid offline_access user/*.rs";
const APP: Proof = Proof::Public("app");

fn revoke(smart: &Smart, proof: &Proof, token: &str) -> Answer {
    smart.prove("revocation_endpoint", proof, &[("token", token)])
}

fn prepared(smart: &Smart) {
    smart.app("app", EVERYTHING);
    smart.app("other", EVERYTHING);
    smart.user("ann", &[]);
}

/// Access and refresh token of a new grant.
fn tokens(smart: &Smart) -> (String, String) {
    let tokens = granted(smart, "app", "offline_access user/*.rs", "ann");
    let text = |name: &str| tokens[name].as_str().expect("a token").to_owned();
    (text("access_token"), text("refresh_token"))
}

on_both! {
    fn a_refresh_token_that_is_taken_back_takes_all_along(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let (access, refresh) = tokens(&smart);
        let (kept, _) = tokens(&smart);
        let renewed = smart.refresh(&APP, &refresh, None);
        let (second, newest) = (text_of(&renewed, "access_token"), text_of(&renewed, "refresh_token"));
        assert!(smart.is_accepted(&access) && smart.is_accepted(&second));
        assert_eq!(revoke(&smart, &APP, &newest).status, 200);
        assert!(!smart.is_accepted(&access) && !smart.is_accepted(&second), "at once");
        assert_error(&smart.refresh(&APP, &newest, None), &["invalid_grant"]);
        assert!(smart.is_accepted(&kept), "what was granted at another time stays");
    }

    fn an_access_token_that_is_taken_back_goes_alone(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let (access, refresh) = tokens(&smart);
        assert!(smart.is_accepted(&access));
        assert_eq!(revoke(&smart, &APP, &access).status, 200);
        assert!(!smart.is_accepted(&access));
        let answer = smart.refresh(&APP, &refresh, None);
        assert!(smart.is_accepted(&text_of(&answer, "access_token")), "the app goes on");
    }

    fn only_its_own_tokens_does_a_client_take_back(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let key = Key::ec("own");
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        let (access, refresh) = tokens(&smart);
        for proof in [Proof::Public("other"), Proof::Key("system", &key)] {
            for token in [&access, &refresh] {
                let answer = revoke(&smart, &proof, token);
                assert!(matches!(answer.status, 200 | 400), "{answer}");
            }
        }
        assert!(smart.is_accepted(&access));
        assert_eq!(smart.refresh(&APP, &refresh, None).status, 200);
    }

    fn a_token_stays_taken_back(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let (access, refresh) = tokens(&smart);
        for _ in 0..2 {
            assert_eq!(revoke(&smart, &APP, &access).status, 200);
            assert_eq!(revoke(&smart, &APP, &refresh).status, 200);
            assert!(!smart.is_accepted(&access));
        }
    }

    fn a_used_refresh_token_can_be_taken_back(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let (access, refresh) = tokens(&smart);
        let renewed = smart.refresh(&APP, &refresh, None);
        assert_eq!(revoke(&smart, &APP, &refresh).status, 200);
        assert!(!smart.is_accepted(&access) && !smart.is_accepted(&text_of(&renewed, "access_token")));
    }
}

#[test]
fn a_token_that_nobody_knows_is_no_error() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    let own = smart.token("system/*.rs", "1h");
    for token in ["x", "..", "a.b.c", "' OR 1=1", &"x".repeat(10_000), &own] {
        assert_eq!(revoke(&smart, &APP, token).status, 200, "{token}");
        let fields = [("token", token), ("token_type_hint", "something")];
        assert_eq!(smart.prove("revocation_endpoint", &APP, &fields).status, 200);
    }
    assert!(smart.is_accepted(&own), "it belongs to no client");
}

#[test]
fn who_does_not_show_who_they_are_takes_nothing_back() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    let token = smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
    for proof in [
        Proof::None,
        Proof::Public("system"),
        Proof::Public("nobody"),
        Proof::Basic("system", "x"),
        Proof::Key("system", &Key::ec("own")),
    ] {
        assert_error(&revoke(&smart, &proof, &token), &["invalid_client"]);
    }
    let bearer = smart.post_as("revocation_endpoint", Some(&format!("Bearer {token}")), &[("token", &token)]);
    assert_error(&bearer, &["invalid_client"]);
    assert!(smart.is_accepted(&token));
}

#[test]
fn a_token_is_needed() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    assert_error(&smart.prove("revocation_endpoint", &APP, &[]), &["invalid_request"]);
    let get = Answer::of(smart.request("GET", &format!("{}?token=x", smart.url("revocation_endpoint"))));
    assert_eq!(get.status, 405, "{get}");
}

#[test]
fn another_node_learns_of_it_within_seconds() {
    let Some(server) = Server::postgres(&[super::SEAL, ("PLUMBLINE_SERVER__BASE_URL", "http://localhost:1/fhir")])
    else {
        return;
    };
    let smart = Smart::of(&server);
    prepared(&smart);
    let other_server = server.second(&[]);
    let other = Smart::of(&other_server);
    let (access, refresh) = tokens(&smart);
    assert!(smart.is_accepted(&access) && other.is_accepted(&access));
    assert_eq!(revoke(&smart, &APP, &refresh).status, 200);
    assert!(!smart.is_accepted(&access));
    let since = std::time::Instant::now();
    until("the other node knows", || !other.is_accepted(&access));
    assert!(since.elapsed().as_secs() < 15, "{:?}", since.elapsed());
}
