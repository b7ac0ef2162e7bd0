//! Refresh tokens (RFC 6749, 6; RFC 9700, 4.14; SMART App Launch 2.2, scopes for requesting a refresh token).

use super::browser::{Ask, Browser, granted};
use super::signing::decoded;
use super::{PASSWORD, Proof, Smart, assert_error, scopes, text_of, until};
use crate::harness::{Server, on_both};

const EVERYTHING: &str = "openid fhirUser offline_access online_access user/*.cruds";
const APP: Proof = Proof::Public("app");

fn prepared(smart: &Smart) {
    smart.app("app", EVERYTHING);
    smart.user("ann", &["--fhir-user", "Practitioner/1"]);
}

/// The first refresh token of a new grant.
fn first(smart: &Smart, scope: &str) -> String {
    granted(smart, "app", scope, "ann")["refresh_token"].as_str().expect("a refresh token").to_owned()
}

on_both! {
    fn refresh_tokens_are_for_who_asks_for_them(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        for (scope, is_given) in [("user/*.rs", false), ("openid user/*.rs", false), ("offline_access user/*.rs", true), ("online_access user/*.rs", true)] {
            let tokens = granted(&smart, "app", scope, "ann");
            assert_eq!(tokens.get("refresh_token").is_some(), is_given, "{scope}: {tokens}");
        }
        smart.app("humble", "user/*.rs");
        let tokens = granted(&smart, "humble", "offline_access online_access user/*.rs", "ann");
        assert!(tokens.get("refresh_token").is_none(), "it is not registered for that: {tokens}");
    }

    fn a_refresh_brings_new_tokens(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let mut refresh = first(&smart, "openid fhirUser offline_access user/*.rs");
        let mut seen = vec![refresh.clone()];
        for _ in 0..3 {
            let answer = smart.refresh(&APP, &refresh, None);
            assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
            assert_eq!(scopes(&answer.body), ["fhirUser", "offline_access", "openid", "user/*.rs"]);
            let access = text_of(&answer, "access_token");
            assert!(smart.is_accepted(&access));
            refresh = text_of(&answer, "refresh_token");
            assert!(!seen.contains(&refresh) && !seen.contains(&access), "each is new");
            seen.extend([refresh.clone(), access]);
            if let Some(id_token) = answer.body["id_token"].as_str() {
                // OpenID Connect Core, 12.2.
                let (_, claims) = decoded(id_token);
                assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some(&*server.base), Some("app")));
            }
        }
    }

    fn a_refresh_token_that_is_used_again_ends_all_that_came_of_it(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        let (access, stolen) = (tokens["access_token"].as_str().expect("a token"), tokens["refresh_token"].as_str().expect("a token"));
        let renewed = smart.refresh(&APP, stolen, None);
        let (second, newest) = (text_of(&renewed, "access_token"), text_of(&renewed, "refresh_token"));
        let other = first(&smart, "offline_access user/*.rs");
        assert!(smart.is_accepted(access) && smart.is_accepted(&second));
        assert_error(&smart.refresh(&APP, stolen, None), &["invalid_grant"]);
        assert!(!smart.is_accepted(access) && !smart.is_accepted(&second), "the access tokens end");
        assert_error(&smart.refresh(&APP, &newest, None), &["invalid_grant"]);
        assert_error(&smart.refresh(&APP, stolen, None), &["invalid_grant"]);
        assert_eq!(smart.refresh(&APP, &other, None).status, 200, "what was granted at another time stays");
    }

    fn of_two_uses_at_once_one_counts_at_most(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let token = first(&smart, "offline_access user/*.rs");
        let answers: Vec<(u16, Option<String>)> = std::thread::scope(|scope| {
            let uses: Vec<_> = (0..8).map(|_| scope.spawn(|| {
                let answer = smart.refresh(&APP, &token, None);
                (answer.status, answer.body["refresh_token"].as_str().map(str::to_owned))
            })).collect();
            uses.into_iter().map(|done| done.join().expect("an answer")).collect()
        });
        assert!(answers.iter().filter(|(status, _)| *status == 200).count() <= 1, "{answers:?}");
        assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 400)), "{answers:?}");
        // It was used twice: what the one got has ended with the rest.
        for (_, next) in answers {
            if let Some(next) = next {
                assert_error(&smart.refresh(&APP, &next, None), &["invalid_grant"]);
            }
        }
    }

    fn a_refresh_may_ask_for_less_and_never_for_more(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let token = first(&smart, "openid offline_access user/Practitioner.rs user/Location.rs");
        for wider in ["user/Practitioner.cruds", "user/*.rs", "user/Organization.r", "system/Practitioner.rs", "openid fhirUser", "user/Practitioner.rs nonsense", "nonsense"] {
            assert_error(&smart.refresh(&APP, &token, Some(wider)), &["invalid_scope"]);
        }
        // Nothing of that used it up.
        let narrower = smart.refresh(&APP, &token, Some("user/Practitioner.r"));
        assert_eq!(narrower.status, 200, "{narrower}");
        assert_eq!(scopes(&narrower.body), ["user/Practitioner.r"]);
        let access = text_of(&narrower, "access_token");
        assert_eq!(decoded(&access).1["scope"], "user/Practitioner.r");
        assert_eq!(smart.fhir(&access, "Practitioner/none").status, 404);
        assert_eq!(smart.fhir(&access, "Location").status, 403);
        // RFC 6749, 6: the new refresh token is worth as much as the old one was.
        let whole = smart.refresh(&APP, &text_of(&narrower, "refresh_token"), None);
        assert_eq!(scopes(&whole.body), ["offline_access", "openid", "user/Location.rs", "user/Practitioner.rs"]);
    }

    fn a_refresh_token_is_one_apps(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        smart.app("other", EVERYTHING);
        let secret = smart.secret_app("third", EVERYTHING);
        let token = first(&smart, "offline_access user/*.rs");
        for proof in [Proof::Public("other"), Proof::Basic("third", &secret)] {
            assert_error(&smart.refresh(&proof, &token, None), &["invalid_grant"]);
        }
        assert_error(&smart.refresh(&Proof::Public("nobody"), &token, None), &["invalid_client"]);
        // An app that has nothing to prove need not say who it is, as SMART's table of parameters has it.
        assert_eq!(smart.refresh(&Proof::None, &token, None).status, 200, "nobody else used it up");
    }

    fn an_app_that_has_a_secret_shows_it_for_a_refresh(server) {
        let smart = Smart::of(server);
        let secret = smart.secret_app("app", EVERYTHING);
        smart.user("ann", &[]);
        let ask = Ask::new(&smart, "app", "offline_access user/*.rs");
        let proof = Proof::Basic("app", &secret);
        let token = text_of(&ask.exchange(&smart, &proof, &Browser::new().allow(&smart, &ask, "ann").code()), "refresh_token");
        for stranger in [Proof::Public("app"), Proof::Basic("app", "x"), Proof::None] {
            assert_error(&smart.refresh(&stranger, &token, None), &["invalid_client"]);
        }
        assert_eq!(smart.refresh(&proof, &token, None).status, 200);
    }

    fn what_somebody_granted_ends_with_their_account(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        let (access, refresh) = (tokens["access_token"].as_str().expect("a token"), tokens["refresh_token"].as_str().expect("a token"));
        smart.cli(&["user", "remove", "ann"], "");
        assert_error(&smart.refresh(&APP, refresh, None), &["invalid_grant"]);
        smart.assert_ends(access);
    }

    fn an_access_token_of_somebody_who_is_gone_is_not_the_next_ones_of_that_name(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        let access = tokens["access_token"].as_str().expect("a token");
        smart.cli(&["user", "remove", "ann"], "");
        smart.assert_ends(access);
        smart.cli(&["user", "add", "ann", "--admin"], PASSWORD);
        assert!(!smart.is_accepted(access), "it was granted by somebody else");
    }

    fn a_refresh_token_of_somebody_who_is_gone_is_not_the_next_ones_of_that_name(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        smart.cli(&["user", "remove", "ann"], "");
        smart.cli(&["user", "add", "ann", "--admin"], PASSWORD);
        let refresh = tokens["refresh_token"].as_str().expect("a token");
        assert_error(&smart.refresh(&APP, refresh, None), &["invalid_grant"]);
    }

    fn what_was_granted_to_an_app_ends_with_it(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        let (access, refresh) = (tokens["access_token"].as_str().expect("a token"), tokens["refresh_token"].as_str().expect("a token"));
        smart.cli(&["client", "remove", "app"], "");
        smart.assert_ends(access);
        assert_error(&smart.refresh(&APP, refresh, None), &["invalid_client"]);
    }

    fn an_access_token_of_an_app_that_is_gone_is_not_the_next_ones_of_that_name(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        let access = tokens["access_token"].as_str().expect("a token");
        smart.cli(&["client", "remove", "app"], "");
        smart.assert_ends(access);
        smart.app("app", EVERYTHING);
        assert!(!smart.is_accepted(access), "it was granted to another app");
    }

    fn a_refresh_token_of_an_app_that_is_gone_is_not_the_next_ones_of_that_name(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let tokens = granted(&smart, "app", "offline_access user/*.rs", "ann");
        smart.cli(&["client", "remove", "app"], "");
        smart.app("app", EVERYTHING);
        let refresh = tokens["refresh_token"].as_str().expect("a token");
        assert_error(&smart.refresh(&APP, refresh, None), &["invalid_grant"]);
    }
}

#[test]
fn online_access_lasts_as_long_as_the_login() {
    let server = Server::sqlite(&[("PLUMBLINE_AUTH__ONLINE_S", "8")]);
    let smart = Smart::of(&server);
    prepared(&smart);
    let (mut online, offline) = (first(&smart, "online_access user/*.rs"), first(&smart, "offline_access user/*.rs"));
    // Its use does not make it last longer.
    until("the login has ended", || {
        let answer = smart.refresh(&APP, &online, None);
        if answer.status != 200 {
            assert_error(&answer, &["invalid_grant"]);
            return true;
        }
        online = text_of(&answer, "refresh_token");
        false
    });
    assert_eq!(smart.refresh(&APP, &offline, None).status, 200, "offline access lasts");
}

#[test]
fn a_refresh_token_that_nobody_gave_out_is_worth_nothing() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    let token = first(&smart, "offline_access user/*.rs");
    let upper = token.to_uppercase();
    for wrong in ["x", &token[1..], &format!("{token}A"), &upper, "' OR 1=1", &"x".repeat(10_000)] {
        assert_error(&smart.refresh(&APP, wrong, None), &["invalid_grant"]);
    }
    assert_error(&smart.refresh(&APP, "", None), &["invalid_request"]);
    assert!(!smart.is_accepted(&token), "it opens nothing by itself");
    assert_eq!(smart.refresh(&APP, &token, None).status, 200);
}

#[test]
fn what_is_known_of_the_user_is_as_new_as_the_token() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    let token = first(&smart, "openid fhirUser offline_access user/*.rs");
    let answer = smart.refresh(&APP, &token, None);
    let (_, claims) = decoded(&text_of(&answer, "id_token"));
    assert_eq!(claims["fhirUser"], format!("{}/Practitioner/1", server.base));
}
