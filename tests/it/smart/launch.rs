//! Launches (SMART App Launch 2.2): an EHR says what an app is opened for, or the user does by who they are.

use serde_json::{Value, json};

use super::browser::{Ask, Browser, granted};
use super::signing::{Key, decoded, jwks, unique};
use super::{Proof, Smart, text_of};
use crate::harness::{Answer, Server, on_both};

const EVERYTHING: &str = "openid fhirUser launch launch/patient offline_access user/*.rs patient/*.rs";
const APP: Proof = Proof::Public("app");

fn prepared(smart: &Smart) {
    smart.app("app", EVERYTHING);
    smart.app("other", EVERYTHING);
    smart.user("ann", &[]);
}

fn post(smart: &Smart, token: Option<&str>, body: &str) -> Answer {
    let request =
        smart.request("POST", "/auth/launch").header("content-type", "application/json").body(body.to_owned());
    Answer::of(match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    })
}

/// A launch that an EHR makes with this context.
fn launched(smart: &Smart, context: &Value) -> String {
    let answer = post(smart, Some(&smart.token("api/launch.write", "1h")), &context.to_string());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.body["expires_in"].as_i64().is_some_and(|lifetime| lifetime > 0), "{answer}");
    text_of(&answer, "launch")
}

/// What the app gets that ann opens with a launch.
fn opened(smart: &Smart, scope: &str, launch: &str) -> Value {
    let ask = Ask::new(smart, "app", scope).with("launch", launch);
    let answer = ask.exchange(smart, &APP, &Browser::new().allow(smart, &ask, "ann").code());
    assert_eq!(answer.status, 200, "{answer}");
    answer.body
}

on_both! {
    fn an_app_is_told_what_it_was_opened_for(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let context = json!({
            "patient": "123", "encounter": "e-1", "intent": "find-a-doctor", "need_patient_banner": true,
            "smart_style_url": "https://ehr.example/style.json", "tenant": "t", "fhirContext": [{"reference": "Location/1"}]});
        let mut sent = context.clone();
        sent["client_id"] = "app".into();
        let tokens = opened(&smart, "launch offline_access patient/*.rs", &launched(&smart, &sent));
        for (name, value) in context.as_object().expect("an object") {
            assert_eq!(&tokens[name], value, "{name}: {tokens}");
        }
        assert_eq!(tokens.get("client_id"), None);
        assert!(smart.is_accepted(tokens["access_token"].as_str().expect("a token")));
        // And told again with every new token.
        let again = smart.refresh(&APP, tokens["refresh_token"].as_str().expect("a token"), None);
        assert_eq!((&again.body["patient"], &again.body["encounter"]), (&json!("123"), &json!("e-1")), "{again}");
    }

    fn only_who_may_launch_launches(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let body = json!({"client_id": "app", "patient": "1"}).to_string();
        let nobody = post(&smart, None, &body);
        assert_eq!(nobody.status, 401, "{nobody}");
        assert!(nobody.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")), "{nobody:?}");
        for wrong in ["x", "a.b.c"] {
            assert_eq!(post(&smart, Some(wrong), &body).status, 401);
        }
        for scope in ["system/*.cruds", "api/launch.read", "api/token.read", "user/*.cruds"] {
            let answer = post(&smart, Some(&smart.token(scope, "1h")), &body);
            assert_eq!((answer.status, answer.body["error"].as_str()), (403, Some("insufficient_scope")), "{scope}: {answer}");
        }
        // A portal is a backend service that is registered for it.
        let key = Key::ec("own");
        smart.client_with_keys("portal", &jwks(&[&key]), "api/launch.write");
        let token = smart.backend_token(&Proof::Key("portal", &key), "api/launch.write");
        assert_eq!(post(&smart, Some(&token), &body).status, 200);
        smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        let token = smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
        assert_eq!(post(&smart, Some(&token), &body).status, 403);
    }

    fn a_launch_is_used_once(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let launch = launched(&smart, &json!({"client_id": "app", "patient": "1"}));
        let ask = Ask::new(&smart, "app", "launch patient/*.rs").with("launch", &launch);
        // Two pages with one launch: the first that is agreed to has it.
        let (mut first, mut second) = (Browser::new(), Browser::new());
        let pages = (first.consent_page(&smart, &ask, "ann"), second.consent_page(&smart, &ask, "ann"));
        assert!(pages.0.asks_for_consent() && pages.1.asks_for_consent());
        assert!(first.decide(&smart, &pages.0, "allow").told("code").is_some());
        let end = second.decide(&smart, &pages.1, "allow");
        assert!(end.0.header("location").is_none_or(|location| !location.contains("code=")), "{}", end.0);
        Browser::new().get(&smart, &ask.url(&smart)).assert_told("invalid_request");
    }

    fn a_launch_is_for_one_app(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        let launch = launched(&smart, &json!({"client_id": "other", "patient": "1"}));
        for scope in ["launch patient/*.rs", "user/*.rs"] {
            let ask = Ask::new(&smart, "app", scope).with("launch", &launch);
            let page = Browser::new().get(&smart, &ask.url(&smart));
            page.assert_told("invalid_request");
            assert_eq!(page.told("state").as_deref(), Some("a state of its own"));
        }
        let ask = Ask::new(&smart, "other", "launch patient/*.rs").with("launch", &launch);
        assert!(Browser::new().get(&smart, &ask.url(&smart)).asks_for_password(), "it is still there for the other");
    }

    fn a_user_who_is_a_patient_is_the_patient(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        smart.user("pat", &["--fhir-user", "Patient/123"]);
        for scope in ["launch/patient patient/*.rs", "launch/patient openid fhirUser"] {
            let tokens = granted(&smart, "app", scope, "pat");
            assert_eq!(tokens["patient"], "123", "{scope}: {tokens}");
            assert_eq!(super::scopes(&tokens), { let mut all: Vec<&str> = scope.split(' ').collect(); all.sort_unstable(); all });
        }
        let tokens = granted(&smart, "app", "user/*.rs", "pat");
        assert_eq!(tokens.get("patient"), None, "nobody asked: {tokens}");
    }

    fn without_a_patient_there_is_nothing_of_a_patient(server) {
        let smart = Smart::of(server);
        prepared(&smart);
        smart.user("doc", &["--fhir-user", "Practitioner/123"]);
        // A patient of another server has an id there.
        smart.user("guest", &["--fhir-user", "https://members.example/fhir/Patient/5"]);
        for user in ["ann", "doc", "guest"] {
            let tokens = granted(&smart, "app", "launch/patient patient/*.rs patient/Location.r user/*.rs", user);
            assert_eq!(super::scopes(&tokens), ["user/*.rs"]);
            assert_eq!(tokens.get("patient"), None);
            assert_eq!(decoded(tokens["access_token"].as_str().expect("a token")).1.get("patient"), None);
        }
        let ask = Ask::new(&smart, "app", "launch/patient patient/*.rs");
        let mut browser = Browser::new();
        let page = browser.consent_page(&smart, &ask, "ann");
        let end = if page.asks_for_consent() { browser.decide(&smart, &page, "allow") } else { page };
        assert!(end.0.header("location").is_none_or(|location| location.contains("error=invalid_scope")), "{}", end.0);
    }
}

#[test]
fn a_launch_that_nobody_made_is_refused() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    let launch = launched(&smart, &json!({"client_id": "app", "patient": "1"}));
    let upper = launch.to_uppercase();
    for wrong in ["x", &launch[1..], &format!("{launch}A"), &upper, &unique(), "' OR 1=1", "{\"patient\":\"1\"}"] {
        for scope in ["launch patient/*.rs", "user/*.rs"] {
            let ask = Ask::new(&smart, "app", scope).with("launch", wrong);
            Browser::new().get(&smart, &ask.url(&smart)).assert_told("invalid_request");
        }
    }
}

#[test]
fn the_scope_launch_needs_a_launch() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    for ask in
        [Ask::new(&smart, "app", "launch user/*.rs"), Ask::new(&smart, "app", "launch user/*.rs").with("launch", "")]
    {
        Browser::new().get(&smart, &ask.url(&smart)).assert_told("invalid_request");
    }
}

#[test]
fn a_context_is_what_smart_says_it_is() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    let token = smart.token("api/launch.write", "1h");
    for (name, value) in [
        ("patient", json!(1)),
        ("patient", json!("Patient/1")),
        ("patient", json!("a b")),
        ("patient", json!("")),
        ("patient", json!("x".repeat(65))),
        ("patient", json!(["1"])),
        ("encounter", json!({"id": "1"})),
        ("encounter", json!("../1")),
        ("need_patient_banner", json!("true")),
        ("need_patient_banner", json!(1)),
        ("intent", json!(1)),
        ("smart_style_url", json!(["x"])),
        ("tenant", json!(null)),
        ("fhirContext", json!("Location/1")),
        ("fhirContext", json!(["Location/1"])),
        ("intent", json!("x".repeat(10_000))),
        // What would pass for part of the answer to the app.
        ("access_token", json!("x")),
        ("scope", json!("system/*.cruds")),
        ("refresh_token", json!("x")),
        ("id_token", json!("x")),
        ("expires_in", json!(1)),
        ("sub", json!("x")),
        ("practitioner", json!("1")),
    ] {
        let answer = post(&smart, Some(&token), &json!({"client_id": "app", name: value}).to_string());
        assert_eq!((answer.status, answer.body["error"].as_str()), (400, Some("invalid_request")), "{name}: {answer}");
    }
    for body in [
        "",
        "x",
        "[]",
        "null",
        "{}",
        "{\"patient\":\"1\"}",
        "{\"client_id\":1}",
        "{\"client_id\":\"nobody\"}",
        "{\"client_id\":\"app\"",
        "{\"client_id\":\"\"}",
    ] {
        let answer = post(&smart, Some(&token), body);
        assert_eq!((answer.status, answer.body["error"].as_str()), (400, Some("invalid_request")), "{body}: {answer}");
    }
    let nested = format!("{{\"client_id\":\"app\",\"fhirContext\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(post(&smart, Some(&token), &nested).status, 400);
}

#[test]
fn a_launch_without_a_context_is_one() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    let tokens = opened(&smart, "launch user/*.rs", &launched(&smart, &json!({"client_id": "app"})));
    assert_eq!(tokens.get("patient"), None, "{tokens}");
}

#[test]
fn an_app_without_the_scope_launch_is_told_nothing() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    smart.app("humble", "user/*.rs");
    for (app, scope) in [("humble", "launch user/*.rs"), ("app", "user/*.rs")] {
        let launch = launched(&smart, &json!({"client_id": app, "patient": "1", "encounter": "2", "intent": "x"}));
        let ask = Ask::new(&smart, app, scope).with("launch", &launch);
        let answer = ask.exchange(&smart, &Proof::Public(app), &Browser::new().allow(&smart, &ask, "ann").code());
        assert_eq!(super::scopes(&answer.body), ["user/*.rs"]);
        for name in ["patient", "encounter", "intent"] {
            assert_eq!(
                answer.body.get(name),
                None,
                "{app}: SMART calls the scope the permission to get this: {answer}"
            );
        }
    }
}

#[test]
fn what_the_ehr_opened_counts_before_who_the_user_is() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    smart.user("pat", &["--fhir-user", "Patient/123"]);
    let launch = launched(&smart, &json!({"client_id": "app", "patient": "456"}));
    let ask = Ask::new(&smart, "app", "launch patient/*.rs").with("launch", &launch);
    let answer = ask.exchange(&smart, &APP, &Browser::new().allow(&smart, &ask, "pat").code());
    assert_eq!(answer.body["patient"], "456", "{answer}");
}

#[test]
fn every_launch_is_another() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    prepared(&smart);
    let context = json!({"client_id": "app", "patient": "1"});
    let (one, two) = (launched(&smart, &context), launched(&smart, &context));
    assert!(one != two && one.len() >= 22, "{one} {two}");
    assert!(!super::stored(&server).contains(&one), "it is kept so that nobody who reads the database can use it");
}
