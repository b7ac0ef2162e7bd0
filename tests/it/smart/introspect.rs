//! What a token is worth (RFC 7662; SMART App Launch 2.2, token introspection).

use serde_json::{Value, json};

use super::browser::{Ask, Browser, granted};
use super::signing::{Key, decoded, jwks, jwt};
use super::{Proof, Smart, assert_error, text_of, until};
use crate::harness::{Answer, Server, on_both};

const EVERYTHING: &str = "openid fhirUser launch launch/patient offline_access user/*.rs patient/*.rs";

fn ask(smart: &Smart, proof: &Proof, token: &str) -> Answer {
    smart.prove("introspection_endpoint", proof, &[("token", token)])
}

fn ask_with(smart: &Smart, bearer: &str, token: &str) -> Answer {
    smart.post_as("introspection_endpoint", Some(&format!("Bearer {bearer}")), &[("token", token)])
}

fn assert_inactive(answer: &Answer) {
    assert_eq!((answer.status, &answer.body), (200, &json!({"active": false})), "{answer}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

fn assert_active(answer: &Answer) {
    assert_eq!((answer.status, &answer.body["active"]), (200, &json!(true)), "{answer}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

on_both! {
    fn a_client_learns_about_its_own_tokens(server) {
        let smart = Smart::of(server);
        let (key, other) = (Key::ec("own"), Key::ec("own"));
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        smart.client_with_keys("other", &jwks(&[&other]), "system/*.rs");
        let token = smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
        let answer = ask(&smart, &Proof::Key("system", &key), &token);
        assert_active(&answer);
        let (_, claims) = decoded(&token);
        for member in ["exp", "iat", "iss", "sub", "aud", "jti", "client_id", "scope"] {
            assert_eq!(answer.body[member], claims[member], "{member}: {answer}");
        }
        assert!(answer.body["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")), "{answer}");
        assert_inactive(&ask(&smart, &Proof::Key("other", &other), &token));
    }

    fn a_resource_server_learns_about_every_token(server) {
        let smart = Smart::of(server);
        let key = Key::ec("own");
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        smart.client_with_keys("checker", &jwks(&[&key]), "api/token.read");
        smart.app("app", EVERYTHING);
        smart.user("pat", &["--fhir-user", "Patient/123"]);
        let checker = smart.backend_token(&Proof::Key("checker", &key), "api/token.read");
        let token = smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
        assert_active(&ask_with(&smart, &checker, &token));
        assert_active(&ask_with(&smart, &checker, &checker));
        let tokens = granted(&smart, "app", "openid fhirUser launch/patient offline_access patient/*.rs", "pat");
        let answer = ask_with(&smart, &checker, tokens["access_token"].as_str().expect("a token"));
        assert_active(&answer);
        assert_eq!(answer.body["client_id"], "app");
        assert_eq!(answer.body["scope"], tokens["scope"]);
        // SMART: what the app was told beside the token, and who the user is.
        assert_eq!(answer.body["patient"], "123");
        assert_eq!(answer.body["fhirUser"], format!("{}/Patient/123", server.base));
        let refresh = ask_with(&smart, &checker, tokens["refresh_token"].as_str().expect("a token"));
        assert_active(&refresh);
        assert_eq!(refresh.body["client_id"], "app");
    }

    fn a_token_that_was_taken_back_is_not_active(server) {
        let smart = Smart::of(server);
        smart.app("app", EVERYTHING);
        smart.user("ann", &[]);
        let checker = smart.token("api/token.read", "1h");
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        let (access, refresh) = (tokens["access_token"].as_str().expect("a token"), tokens["refresh_token"].as_str().expect("a token"));
        let renewed = smart.refresh(&Proof::Public("app"), refresh, None);
        let newest = text_of(&renewed, "refresh_token");
        assert_inactive(&ask_with(&smart, &checker, refresh));
        assert_active(&ask_with(&smart, &checker, &newest));
        assert_active(&ask_with(&smart, &checker, access));
        assert_eq!(smart.prove("revocation_endpoint", &Proof::Public("app"), &[("token", &newest)]).status, 200);
        for token in [access, &newest, refresh, &text_of(&renewed, "access_token")] {
            assert_inactive(&ask_with(&smart, &checker, token));
        }
    }

    fn an_access_token_of_who_is_gone_is_not_active(server) {
        let smart = Smart::of(server);
        smart.app("app", EVERYTHING);
        smart.app("other", EVERYTHING);
        smart.user("ann", &[]);
        smart.user("bob", &[]);
        let checker = smart.token("api/token.read", "1h");
        let of_user = granted(&smart, "app", "user/*.rs", "ann");
        let of_app = granted(&smart, "other", "user/*.rs", "bob");
        smart.cli(&["user", "remove", "ann"], "");
        smart.cli(&["client", "remove", "other"], "");
        for tokens in [of_user, of_app] {
            let token = tokens["access_token"].as_str().expect("a token");
            until("it is known here", || ask_with(&smart, &checker, token).body == json!({"active": false}));
        }
    }

    fn a_refresh_token_of_somebody_who_is_gone_is_not_active(server) {
        let smart = Smart::of(server);
        smart.app("app", EVERYTHING);
        smart.user("ann", &[]);
        let checker = smart.token("api/token.read", "1h");
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        smart.cli(&["user", "remove", "ann"], "");
        assert_inactive(&ask_with(&smart, &checker, tokens["refresh_token"].as_str().expect("a token")));
    }

    fn a_refresh_token_of_an_app_that_is_gone_is_not_active(server) {
        let smart = Smart::of(server);
        smart.app("app", EVERYTHING);
        smart.user("ann", &[]);
        let checker = smart.token("api/token.read", "1h");
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        smart.cli(&["client", "remove", "app"], "");
        assert_inactive(&ask_with(&smart, &checker, tokens["refresh_token"].as_str().expect("a token")));
    }
}

#[test]
fn who_does_not_show_who_they_are_learns_nothing() {
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
        Proof::Assertion("x"),
    ] {
        let answer = ask(&smart, &proof, &token);
        assert_error(&answer, &["invalid_client"]);
        assert_eq!(answer.status, 401, "{answer}");
    }
    for bearer in ["x", "a.b.c"] {
        assert_eq!(ask_with(&smart, bearer, &token).status, 401);
    }
}

#[test]
fn an_app_that_cannot_prove_who_it_is_learns_nothing() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    smart.user("ann", &[]);
    let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
    for name in ["access_token", "refresh_token"] {
        // Its name is known to everybody: a thief could find out so what a token is worth.
        let answer = ask(&smart, &Proof::Public("app"), tokens[name].as_str().expect("a token"));
        assert_error(&answer, &["invalid_client"]);
    }
}

#[test]
fn a_token_without_the_scope_for_it_tells_nothing() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let token = smart.token("system/*.rs", "1h");
    for scope in ["system/*.cruds", "api/launch.write", "user/*.rs"] {
        let answer = ask_with(&smart, &smart.token(scope, "1h"), &token);
        assert_eq!(
            (answer.status, answer.body["error"].as_str()),
            (403, Some("insufficient_scope")),
            "{scope}: {answer}"
        );
        assert_eq!(answer.body.get("active"), None);
    }
}

#[test]
fn a_token_that_is_none_is_not_active() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let checker = smart.token("api/token.read", "1h");
    let token = smart.token("system/*.rs", "1h");
    let (header, claims) = decoded(&token);
    let forged = jwt(&header, &claims, |message| Key::ec("own").sign("ES384", message));
    let unsigned = jwt(&json!({"alg": "none", "typ": "at+jwt"}), &claims, |_message| Vec::new());
    smart.app("app", EVERYTHING);
    smart.user("ann", &[]);
    let id_token = granted(&smart, "app", "openid", "ann")["id_token"].as_str().expect("a token").to_owned();
    let request = Ask::new(&smart, "app", "user/*.rs");
    let code = Browser::new().allow(&smart, &request, "ann").code();
    for wrong in [
        "x",
        "..",
        "a.b.c",
        "' OR 1=1",
        "ä",
        &"x".repeat(10_000),
        &forged,
        &unsigned,
        &id_token,
        &code,
        &token[1..],
        &format!("{token}x"),
    ] {
        assert_inactive(&ask_with(&smart, &checker, wrong));
    }
    assert_active(&ask_with(&smart, &checker, &token));
    // To have asked about a code does not use it.
    assert_eq!(request.exchange(&smart, &Proof::Public("app"), &code).status, 200);
}

#[test]
fn a_token_that_is_over_is_not_active() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let checker = smart.token("api/token.read", "1h");
    let token = smart.token("system/*.rs", "2s");
    until("it is over", || ask_with(&smart, &checker, &token).body == json!({"active": false}));
    let short = smart.token("api/token.read", "2s");
    until("it is over for who asks, too", || ask_with(&smart, &short, &checker).status == 401);
}

#[test]
fn a_token_is_needed() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let checker = format!("Bearer {}", smart.token("api/token.read", "1h"));
    for fields in [&[][..], &[("token", "")], &[("token_type_hint", "access_token")], &[("token", "x"), ("token", "x")]]
    {
        let answer = smart.post_as("introspection_endpoint", Some(&checker), fields);
        assert_eq!((answer.status, answer.body["error"].as_str()), (400, Some("invalid_request")), "{answer}");
    }
    let get = Answer::of(smart.request("GET", &format!("{}?token=x", smart.url("introspection_endpoint"))));
    assert_eq!(get.status, 405, "{get}");
}

#[test]
fn a_hint_does_not_decide() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    smart.user("ann", &[]);
    let checker = format!("Bearer {}", smart.token("api/token.read", "1h"));
    let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
    for name in ["access_token", "refresh_token"] {
        for hint in ["access_token", "refresh_token", "something"] {
            let fields = [("token", tokens[name].as_str().expect("a token")), ("token_type_hint", hint)];
            assert_active(&smart.post_as("introspection_endpoint", Some(&checker), &fields));
        }
    }
}

#[test]
fn nothing_is_told_that_is_not_for_others() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    smart.user("ann", &[]);
    let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
    let checker = smart.token("api/token.read", "1h");
    let answer = ask_with(&smart, &checker, tokens["access_token"].as_str().expect("a token"));
    let refresh = tokens["refresh_token"].as_str().expect("a token");
    assert!(!answer.text.contains(refresh) && !answer.text.contains("argon2"), "{answer}");
    let known = [
        "active",
        "scope",
        "client_id",
        "token_type",
        "exp",
        "iat",
        "iss",
        "sub",
        "aud",
        "jti",
        "username",
        "fhirUser",
    ];
    let members: Vec<&String> = answer.body.as_object().map(|object| object.keys().collect()).unwrap_or_default();
    assert!(members.iter().all(|name| known.contains(&name.as_str())), "{members:?}");
    assert_ne!(answer.body["sub"], Value::Null);
}
