//! Codes and what they are exchanged for (RFC 6749, 4.1; RFC 7636; OpenID Connect Core; SMART App Launch 2.2, app-launch).

use serde_json::Value;

use super::browser::{Ask, Browser};
use super::signing::{Key, decoded, is_verified, jwks, unique, unix_now};
use super::{PASSWORD, Proof, REDIRECT, Smart, assert_error, scopes, text_of, until};
use crate::harness::{Answer, Server, on_both};

const EVERYTHING: &str = "openid fhirUser profile launch launch/patient offline_access online_access user/*.cruds patient/*.rs system/*.cruds";

/// A public app, a user, and a request of the app.
fn prepared(smart: &Smart, scope: &str) -> Ask {
    smart.app("app", EVERYTHING);
    smart.user("ann", &[]);
    Ask::new(smart, "app", scope)
}

/// A code that ann gave to an app.
fn code(smart: &Smart, ask: &Ask) -> String {
    Browser::new().allow(smart, ask, "ann").code()
}

on_both! {
    fn an_app_without_a_secret_gets_a_token_for_its_user(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart, "user/*.rs");
        let mut browser = Browser::new();
        let login = browser.get(&smart, &ask.url(&smart));
        assert!(login.asks_for_password(), "{}", login.0);
        let consent = browser.log_in(&smart, &login, "ann", PASSWORD);
        assert!(consent.asks_for_consent(), "{}", consent.0);
        let end = browser.decide(&smart, &consent, "allow");
        assert!(end.location().as_str().starts_with(&format!("{REDIRECT}?")), "{}", end.location());
        assert_eq!(end.told("error"), None);
        let answer = ask.exchange(&smart, &Proof::Public("app"), &end.code());
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
        let body = &answer.body;
        assert!(body["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")), "{body}");
        assert!(body["expires_in"].as_i64().is_some_and(|lifetime| (1..=3_600).contains(&lifetime)), "{body}");
        assert_eq!(body["scope"], "user/*.rs");
        for unwanted in ["refresh_token", "id_token", "patient"] {
            assert!(body.get(unwanted).is_none(), "{unwanted}: {body}");
        }
        let token = body["access_token"].as_str().expect("a token");
        assert_eq!(smart.fhir(token, "Organization").status, 200);
        let created = server.request("POST", "Organization").bearer_auth(token).header("content-type", "application/fhir+json");
        assert_eq!(Answer::of(created.body("{\"resourceType\":\"Organization\",\"name\":\"x\"}")).status, 403);
    }

    fn an_app_that_proves_who_it_is_gets_a_token_for_its_user(server) {
        let smart = Smart::of(server);
        smart.user("ann", &[]);
        let secret = smart.secret_app("secret", EVERYTHING);
        let key = Key::ec("own");
        let file = server.data().join("keys.json");
        std::fs::write(&file, jwks(&[&key]).to_string()).expect("a file");
        smart.client("signs", &["--scope", EVERYTHING, "--redirect-uri", REDIRECT, "--jwks", file.to_str().expect("a path")]);
        for (id, proof) in [("secret", Proof::Basic("secret", &secret)), ("secret", Proof::Post("secret", &secret)), ("signs", Proof::Key("signs", &key))] {
            let ask = Ask::new(&smart, id, "openid user/*.rs");
            let code = code(&smart, &ask);
            // Who does not prove it is another, even with code and verifier.
            for stranger in [Proof::Public(id), Proof::Basic(id, "x"), Proof::Key(id, &Key::ec("own"))] {
                assert_error(&ask.exchange(&smart, &stranger, &code), &["invalid_client"]);
            }
            let token = text_of(&ask.exchange(&smart, &proof, &code), "access_token");
            assert!(smart.is_accepted(&token));
        }
    }

    fn a_code_that_is_used_again_ends_all_that_it_gave(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart, "openid offline_access user/*.rs");
        let code = code(&smart, &ask);
        let tokens = ask.exchange(&smart, &Proof::Public("app"), &code);
        let (access, refresh) = (text_of(&tokens, "access_token"), text_of(&tokens, "refresh_token"));
        let renewed = smart.refresh(&Proof::Public("app"), &refresh, None);
        let (second, next) = (text_of(&renewed, "access_token"), text_of(&renewed, "refresh_token"));
        assert!(smart.is_accepted(&access) && smart.is_accepted(&second));
        assert_error(&ask.exchange(&smart, &Proof::Public("app"), &code), &["invalid_grant"]);
        assert!(!smart.is_accepted(&access) && !smart.is_accepted(&second), "the access tokens end");
        assert_error(&smart.refresh(&Proof::Public("app"), &next, None), &["invalid_grant"]);
        assert_error(&ask.exchange(&smart, &Proof::Public("app"), &code), &["invalid_grant"]);
    }

    fn a_thief_who_uses_a_code_again_ends_what_it_gave_whatever_else_they_lack(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart, "user/*.rs");
        let code = code(&smart, &ask);
        let access = text_of(&ask.exchange(&smart, &Proof::Public("app"), &code), "access_token");
        let thief = Ask { verifier: unique(), ..ask };
        assert_error(&thief.exchange(&smart, &Proof::Public("app"), &code), &["invalid_grant"]);
        assert!(!smart.is_accepted(&access));
    }

    fn of_two_exchanges_at_once_one_counts(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart, "user/*.rs");
        let code = code(&smart, &ask);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let uses: Vec<_> = (0..8).map(|_| scope.spawn(|| ask.exchange(&smart, &Proof::Public("app"), &code).status)).collect();
            uses.into_iter().map(|done| done.join().expect("an answer")).collect()
        });
        assert!(statuses.iter().filter(|status| **status == 200).count() <= 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 400)), "{statuses:?}");
    }

    fn a_code_belongs_to_one_app_and_one_address(server) {
        let smart = Smart::of(server);
        let second = "https://app.example/second";
        smart.client("app", &["--scope", EVERYTHING, "--redirect-uri", REDIRECT, "--redirect-uri", second]);
        smart.app("other", EVERYTHING);
        smart.user("ann", &[]);
        let ask = Ask::new(&smart, "app", "user/*.rs");
        let code = code(&smart, &ask);
        assert_error(&ask.exchange(&smart, &Proof::Public("other"), &code), &["invalid_grant"]);
        for uri in [second, "https://app.example/callback/", "https://other.example/", REDIRECT.to_uppercase().as_str()] {
            assert_error(&ask.clone().with("redirect_uri", uri).exchange(&smart, &Proof::Public("app"), &code), &["invalid_grant"]);
        }
        for uri in ["", " "] {
            assert_error(&ask.clone().with("redirect_uri", uri).exchange(&smart, &Proof::Public("app"), &code), &["invalid_grant", "invalid_request"]);
        }
    }

    fn a_code_without_its_verifier_is_worth_nothing(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart, "user/*.rs");
        let code = code(&smart, &ask);
        let challenge = ask.get("code_challenge").to_owned();
        let (right, upper) = (ask.verifier.clone(), ask.verifier.to_uppercase());
        let (short, long) = (right[..42].to_owned(), right.repeat(4));
        let wrong = [unique(), challenge, upper, short, long, format!("{right}x"), format!("{right}="), format!(" {right}"), "short".to_owned(), "ä".repeat(43)];
        for verifier in wrong.into_iter().chain([String::new()]) {
            let thief = Ask { verifier: verifier.clone(), ..ask.clone() };
            assert_error(&thief.exchange(&smart, &Proof::Public("app"), &code), &["invalid_grant", "invalid_request"]);
        }
        let fields = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", REDIRECT)];
        assert_error(&smart.prove("token_endpoint", &Proof::Public("app"), &fields), &["invalid_grant", "invalid_request"]);
    }

    fn who_is_denied_gets_no_code(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart, "user/*.rs");
        for decision in ["deny", "", "ALLOW", "yes"] {
            let mut browser = Browser::new();
            let page = browser.consent_page(&smart, &ask, "ann");
            let end = browser.decide(&smart, &page, decision);
            end.assert_told("access_denied");
            assert_eq!((end.told("state").as_deref(), end.told("iss")), (Some("a state of its own"), Some(smart.issuer())));
        }
    }

    fn no_code_and_no_token_is_in_the_database(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart, "openid offline_access user/*.rs");
        let mut browser = Browser::new();
        let code = browser.allow(&smart, &ask, "ann").code();
        let unused = browser.allow(&smart, &ask, "ann").code();
        let tokens = ask.exchange(&smart, &Proof::Public("app"), &code).body;
        let stored = super::stored(server);
        assert!(stored.contains("offline_access"), "this is where grants are kept");
        let kept = [code, unused, PASSWORD.to_owned()].into_iter().chain(browser.cookies.into_values());
        for secret in kept.chain(["access_token", "refresh_token", "id_token"].map(|name| tokens[name].as_str().expect(name).to_owned())) {
            assert!(!stored.contains(&secret), "{secret}");
        }
    }
}

#[test]
fn a_code_that_is_too_old_is_worth_nothing() {
    for lifetime in ["0", "1"] {
        let server = Server::sqlite(&[("PLUMBLINE_AUTH__CODE_S", lifetime)]);
        let smart = Smart::of(&server);
        let ask = prepared(&smart, "user/*.rs");
        let code = code(&smart, &ask);
        let since = unix_now();
        let ends = if lifetime == "0" { since } else { since + 2 };
        until("the code is too old", || server.get("metadata").status == 200 && unix_now() >= ends);
        assert_error(&ask.exchange(&smart, &Proof::Public("app"), &code), &["invalid_grant"]);
    }
}

#[test]
fn a_code_that_nobody_gave_out_is_worth_nothing() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart, "offline_access user/*.rs");
    let code = code(&smart, &ask);
    let (cut, more) = (&code[1..], format!("{code}A"));
    let tokens = ask.exchange(&smart, &Proof::Public("app"), &code);
    let (access, refresh) = (text_of(&tokens, "access_token"), text_of(&tokens, "refresh_token"));
    for wrong in [cut, &more, "x", &unique(), "' OR 1=1", &access, &refresh] {
        assert_error(&ask.exchange(&smart, &Proof::Public("app"), wrong), &["invalid_grant"]);
    }
    assert_error(&ask.exchange(&smart, &Proof::Public("app"), ""), &["invalid_request"]);
    // And a token of another kind is no refresh token.
    for wrong in [&code, &access] {
        assert_error(&smart.refresh(&Proof::Public("app"), wrong, None), &["invalid_grant"]);
    }
}

#[test]
fn an_id_token_says_who_logged_in() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    smart.user("ann", &["--fhir-user", "Practitioner/123"]);
    smart.user("bob", &["--fhir-user", "https://other.example/fhir/Practitioner/9"]);
    smart.user("cyd", &[]);
    let keys = Answer::of(smart.request("GET", smart.published("jwks_uri"))).body;
    let before = unix_now();
    for (user, fhir_user) in [
        ("ann", Some(format!("{}/Practitioner/123", server.base))),
        ("bob", Some("https://other.example/fhir/Practitioner/9".to_owned())),
        ("cyd", None),
    ] {
        for scope in ["openid fhirUser", "openid", "fhirUser user/*.rs"] {
            let ask = Ask::new(&smart, "app", scope).with("nonce", "a nonce");
            let answer = ask.exchange(&smart, &Proof::Public("app"), &Browser::new().allow(&smart, &ask, user).code());
            if !scope.contains("openid") {
                assert_eq!(answer.body.get("id_token"), None, "nobody asked who it is");
                continue;
            }
            let token = text_of(&answer, "id_token");
            let (header, claims) = decoded(&token);
            assert_eq!(header["alg"], "RS256");
            assert!(is_verified(&token, &keys), "{header}");
            assert_eq!(claims["iss"], server.base.as_str());
            assert_eq!(claims["aud"], "app");
            assert_eq!(claims["nonce"], "a nonce");
            assert!(claims["sub"].as_str().is_some_and(|sub| (1..=255).contains(&sub.len())), "{claims}");
            let time = |name: &str| claims[name].as_i64().unwrap_or_else(|| panic!("{name}: {claims}"));
            assert!((before..=unix_now()).contains(&time("iat")), "{claims}");
            assert!((before..=time("iat")).contains(&time("auth_time")), "{claims}");
            assert!(time("exp") > unix_now() && time("exp") <= unix_now() + 3_600, "{claims}");
            let expected = fhir_user.as_deref().filter(|_| scope.contains("fhirUser"));
            assert_eq!(claims.get("fhirUser").and_then(Value::as_str), expected, "{scope}: {claims}");
        }
    }
}

#[test]
fn people_are_told_apart_and_recognized() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    let subject = |user: &str| {
        let ask = Ask::new(&smart, "app", "openid");
        let answer = ask.exchange(&smart, &Proof::Public("app"), &Browser::new().allow(&smart, &ask, user).code());
        let (_, claims) = decoded(&text_of(&answer, "id_token"));
        assert_eq!(claims.get("nonce"), None, "none was given");
        claims["sub"].clone()
    };
    smart.user("ann", &[]);
    smart.user("bob", &[]);
    let ann = subject("ann");
    assert_eq!(ann, subject("ann"));
    assert_ne!(ann, subject("bob"));
}

#[test]
fn what_is_granted_is_told() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.client(
        "app",
        &["--scope", "openid user/Practitioner.rs user/Location.cruds system/*.cruds", "--redirect-uri", REDIRECT],
    );
    smart.user("ann", &[]);
    let granted = |scope: &str| {
        let ask = Ask::new(&smart, "app", scope);
        let answer = ask.exchange(&smart, &Proof::Public("app"), &code(&smart, &ask));
        let (_, claims) = decoded(&text_of(&answer, "access_token"));
        assert_eq!(claims["scope"], answer.body["scope"]);
        scopes(&answer.body)
    };
    assert_eq!(granted("user/*.rs"), ["user/Location.rs", "user/Practitioner.rs"]);
    assert_eq!(granted("user/Practitioner.cruds openid fhirUser"), ["openid", "user/Practitioner.rs"]);
    assert_eq!(granted("user/Location.r nonsense launch/unknown"), ["user/Location.r"]);
    // Who asks in version 1 is answered in version 1.
    assert_eq!(granted("user/Practitioner.read user/Location.*"), ["user/Location.*", "user/Practitioner.read"]);
    assert_eq!(granted("user/Location.write"), ["user/Location.write"]);
    // Nobody who logs in is the whole system.
    assert_eq!(granted("system/*.cruds system/Location.rs user/Location.rs"), ["user/Location.rs"]);
}

#[test]
fn an_app_of_people_gets_no_token_of_its_own() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let secret = smart.secret_app("app", "openid user/*.rs");
    for scope in ["user/*.rs", "openid", "system/*.rs"] {
        let answer = smart.backend(&Proof::Basic("app", &secret), scope);
        assert_error(&answer, &["invalid_scope", "unauthorized_client"]);
    }
}

#[test]
fn every_code_is_another() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart, "user/*.rs");
    let mut browser = Browser::new();
    let codes = [(); 3].map(|()| browser.allow(&smart, &ask, "ann").code());
    assert!(codes[0] != codes[1] && codes[1] != codes[2] && codes[0] != codes[2]);
    assert!(codes.iter().all(|code| code.len() >= 22), "nobody guesses it");
    // None is spent by the others.
    for code in codes {
        assert_eq!(ask.exchange(&smart, &Proof::Public("app"), &code).status, 200);
    }
}

#[test]
fn a_code_of_an_app_that_is_gone_is_worth_nothing() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart, "user/*.rs");
    let code = code(&smart, &ask);
    smart.cli(&["client", "remove", "app"], "");
    assert_error(&ask.exchange(&smart, &Proof::Public("app"), &code), &["invalid_client"]);
}

#[test]
fn a_code_of_somebody_who_is_gone_is_worth_nothing() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart, "user/*.rs");
    let code = code(&smart, &ask);
    smart.cli(&["user", "remove", "ann"], "");
    assert_error(&ask.exchange(&smart, &Proof::Public("app"), &code), &["invalid_grant"]);
}
