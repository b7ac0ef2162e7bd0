//! What apps ask of the authorization endpoint (RFC 6749, 4.1.1; RFC 7636; RFC 9700). As long as it is not certain where an
//! answer belongs, it goes nowhere.

use super::browser::{Ask, Browser, Page, form};
use super::{Proof, REDIRECT, Smart};
use crate::harness::{Server, on_both};

const EVERYTHING: &str =
    "openid fhirUser profile launch launch/patient offline_access online_access user/*.rs patient/*.rs";

/// Sends a request by GET and by POST, each with a browser of its own; what comes of each in the end.
fn both_ways(smart: &Smart, fields: &[(&str, &str)]) -> [Page; 2] {
    let endpoint = smart.url("authorization_endpoint");
    let got = Browser::new().get(smart, &format!("{endpoint}?{}", form(fields)));
    let mut browser = Browser::new();
    let mut posted = browser.post(smart, &endpoint, fields);
    // The server may send the browser to itself first.
    if let Some(own) =
        posted.0.header("location").filter(|location| location.starts_with(smart.published("authorization_endpoint")))
    {
        let own = own.to_owned();
        posted = browser.get(smart, &own);
    }
    [got, posted]
}

on_both! {
    fn an_app_may_ask_by_get_and_by_post(server) {
        let smart = Smart::of(server);
        smart.app("app", EVERYTHING);
        smart.user("ann", &[]);
        let ask = Ask::new(&smart, "app", "openid user/*.rs");
        for page in both_ways(&smart, &ask.fields()) {
            assert!(page.asks_for_password(), "{}", page.0);
        }
        let mut browser = Browser::new();
        let posted = browser.post(&smart, &smart.url("authorization_endpoint"), &ask.fields());
        let page = match posted.0.header("location") {
            Some(own) => { let own = own.to_owned(); browser.get(&smart, &own) }
            None => posted,
        };
        let consent = browser.log_in(&smart, &page, "ann", super::PASSWORD);
        let code = browser.decide(&smart, &consent, "allow").code();
        assert_eq!(ask.exchange(&smart, &Proof::Public("app"), &code).status, 200);
    }

    fn a_redirect_uri_that_only_looks_like_the_registered_one_is_refused(server) {
        let smart = Smart::of(server);
        smart.app("app", EVERYTHING);
        smart.client("other", &["--scope", EVERYTHING, "--redirect-uri", "https://other.example/callback"]);
        let ask = Ask::new(&smart, "app", "user/*.rs");
        for uri in [
            "https://app.example/callbackx",
            "https://app.example/callback/x",
            "https://app.example/callback.other.example",
            "https://app.example/callback/",
            "https://app.example/callbac",
            "https://app.example/",
            "https://app.example",
            "https://app.example:443/callback",
            "https://app.example:8443/callback",
            "https://app.example:/callback",
            "https://app.example./callback",
            "https://other.example/callback",
            "https://app.example.other.example/callback",
            "https://sub.app.example/callback",
            "https://other.example/https://app.example/callback",
            "https://other.example?https://app.example/callback",
            "https://app.example@other.example/callback",
            "https://user@app.example/callback",
            "https://other.example\\@app.example/callback",
            "https:\\\\app.example\\callback",
            "http://app.example/callback",
            "httpsx://app.example/callback",
            "javascript:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "//app.example/callback",
            "/callback",
            "callback",
            "https://app.example/callback?a=b",
            "https://app.example/callback?",
            "https://app.example/callback#",
            "https://app.example/callback#a",
            "https://APP.example/callback",
            "https://app.example/Callback",
            "HTTPS://app.example/callback",
            "https://app.example/callback/../callback",
            "https://app.example/x/../callback",
            "https://app.example//callback",
            "https://app.example/./callback",
            "https://app.example/%63allback",
            "https://app.example/callback%00",
            "https://app.example/callback\u{0}",
            "https://app.example/callback\r\nSet-Cookie: a=b",
            " https://app.example/callback",
            "https://app.example/callback ",
            "https://app.example/callback\t",
            "https://ápp.example/callback",
            "https://app.example/callback,https://other.example/callback",
            "https://app.example/callback https://other.example/callback",
            "*",
            "",
        ] {
            for page in both_ways(&smart, &ask.clone().with("redirect_uri", uri).fields()) {
                page.assert_refused_here(400, uri);
            }
        }
        assert!(both_ways(&smart, &ask.fields()).iter().all(Page::asks_for_password));
    }
}

#[test]
fn a_redirect_uri_is_named_once() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    let ask = Ask::new(&smart, "app", "user/*.rs");
    for second in [REDIRECT, "https://other.example/callback"] {
        let mut fields = ask.fields();
        fields.push(("redirect_uri", second));
        let mut reversed = fields.clone();
        reversed.reverse();
        for fields in [fields, reversed] {
            both_ways(&smart, &fields).iter().for_each(|page| page.assert_refused_here(400, second));
        }
    }
    for page in both_ways(&smart, &ask.clone().without("redirect_uri").fields()) {
        page.assert_refused_here(400, "none");
    }
}

#[test]
fn an_unknown_app_is_refused_here() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    let ask = Ask::new(&smart, "app", "user/*.rs");
    for id in ["nobody", "APP", "app ", "", "<script>alert(1)</script>", "' OR 1=1"] {
        for page in both_ways(&smart, &ask.clone().with("client_id", id).fields()) {
            page.assert_refused_here(400, id);
            assert!(!page.0.text.contains("alert(1)"), "{}", page.0);
        }
    }
    for page in both_ways(&smart, &ask.clone().without("client_id").fields()) {
        page.assert_refused_here(400, "none");
    }
    let mut twice = ask.fields();
    twice.push(("client_id", "app"));
    both_ways(&smart, &twice).iter().for_each(|page| page.assert_refused_here(400, "twice"));
}

#[test]
fn a_system_without_a_redirect_uri_is_no_app() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.client("system", &["--scope", "system/*.rs user/*.rs", "--secret"]);
    for page in both_ways(&smart, &Ask::new(&smart, "system", "user/*.rs").fields()) {
        page.assert_refused_here(400, "nothing is registered");
    }
}

#[test]
fn several_registered_uris_are_each_as_good() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let (second, native) = ("http://localhost:3000/cb?tenant=1", "org.example.app:/callback");
    let uris = ["--redirect-uri", REDIRECT, "--redirect-uri", second, "--redirect-uri", native];
    smart.client("app", &[&["--scope", EVERYTHING], &uris[..]].concat());
    smart.user("ann", &[]);
    for uri in [REDIRECT, second, native] {
        let ask = Ask::new(&smart, "app", "user/*.rs").with("redirect_uri", uri);
        let end = Browser::new().allow(&smart, &ask, "ann");
        assert!(end.location().as_str().starts_with(uri), "{}", end.location());
        assert_eq!(ask.exchange(&smart, &Proof::Public("app"), &end.code()).status, 200);
    }
    let tenant =
        Browser::new().allow(&smart, &Ask::new(&smart, "app", "user/*.rs").with("redirect_uri", second), "ann");
    assert_eq!(tenant.told("tenant").as_deref(), Some("1"), "the app's own parameters stay");
}

#[test]
fn the_response_is_a_code_and_nothing_else() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    let ask = Ask::new(&smart, "app", "openid user/*.rs");
    for response_type in ["token", "id_token", "code token", "code id_token", "none", "CODE"] {
        for page in both_ways(&smart, &ask.clone().with("response_type", response_type).fields()) {
            page.assert_told("unsupported_response_type");
            assert_eq!(page.told("state").as_deref(), Some("a state of its own"));
            assert_eq!(page.told("iss"), Some(smart.issuer()));
            assert_eq!(page.location().fragment(), None);
        }
    }
    for page in both_ways(&smart, &ask.without("response_type").fields()) {
        page.assert_told("invalid_request");
        assert_eq!(page.told("state").as_deref(), Some("a state of its own"));
    }
}

#[test]
fn a_code_is_tied_to_a_verifier_by_s256() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    smart.secret_app("confidential", EVERYTHING);
    for app in ["app", "confidential"] {
        let ask = Ask::new(&smart, app, "user/*.rs");
        let verifier = ask.verifier.clone();
        for spoilt in [
            ask.clone().without("code_challenge"),
            ask.clone().without("code_challenge_method"),
            ask.clone().without("code_challenge").without("code_challenge_method"),
            ask.clone().with("code_challenge_method", "plain"),
            ask.clone().with("code_challenge_method", "plain").with("code_challenge", &verifier),
            ask.clone().with("code_challenge_method", "s256"),
            ask.clone().with("code_challenge_method", "S512"),
            ask.clone().with("code_challenge", "short"),
            ask.clone().with("code_challenge", &"x".repeat(129)),
            ask.clone().with("code_challenge", &"!".repeat(43)),
            ask.clone().with("code_challenge", &format!("{}=", ask.get("code_challenge"))),
        ] {
            for page in both_ways(&smart, &spoilt.fields()) {
                page.assert_told("invalid_request");
                assert_eq!(page.told("state").as_deref(), Some("a state of its own"));
            }
        }
    }
}

#[test]
fn the_audience_is_this_server() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    let ask = Ask::new(&smart, "app", "user/*.rs");
    let base = smart.issuer();
    for aud in [
        "https://other.example/fhir".to_owned(),
        base.replace("/fhir", ""),
        base.replace("127.0.0.1", "127.0.0.2"),
        format!("{base}/Organization"),
        format!("{base}@other.example"),
        String::new(),
    ] {
        for page in both_ways(&smart, &ask.clone().with("aud", &aud).fields()) {
            page.assert_told("invalid_request");
        }
    }
    for page in both_ways(&smart, &ask.clone().without("aud").fields()) {
        page.assert_told("invalid_request");
    }
    assert!(both_ways(&smart, &ask.fields()).iter().all(Page::asks_for_password));
}

#[test]
fn a_state_is_needed_and_comes_back_as_it_was() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    smart.user("ann", &[]);
    let ask = Ask::new(&smart, "app", "user/*.rs");
    for page in both_ways(&smart, &ask.clone().without("state").fields()) {
        page.assert_told("invalid_request");
    }
    let long = "s".repeat(1_000);
    for state in ["1", "a b+c&d=e#f?g%20/", "\"><script>alert(1)</script>", "ä€💥", "'\\\r\n\t", &long] {
        let ask = ask.clone().with("state", state);
        let (mut browser, mut denier) = (Browser::new(), Browser::new());
        let end = browser.allow(&smart, &ask, "ann");
        assert_eq!(end.told("state").as_deref(), Some(state));
        assert_eq!(end.told("iss"), Some(smart.issuer()));
        let page = denier.consent_page(&smart, &ask, "ann");
        assert!(!page.0.text.contains("<script"), "{}", page.0);
        assert_eq!(denier.decide(&smart, &page, "deny").told("state").as_deref(), Some(state));
        for page in both_ways(&smart, &ask.with("response_type", "token").fields()) {
            assert_eq!(page.told("state").as_deref(), Some(state));
        }
    }
}

#[test]
fn what_nobody_can_grant_is_an_invalid_scope() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", "user/Practitioner.rs system/*.cruds api/token.read");
    let ask = Ask::new(&smart, "app", "");
    for scope in ["system/*.rs", "api/token.read", "user/Location.rs", "nonsense", "openid"] {
        both_ways(&smart, &ask.clone().with("scope", scope).fields())
            .iter()
            .for_each(|page| page.assert_told("invalid_scope"));
    }
    for page in both_ways(&smart, &ask.without("scope").fields()) {
        let error = page.told("error").expect("an error");
        assert!(matches!(error.as_str(), "invalid_scope" | "invalid_request"), "{error}");
    }
}

#[test]
fn nobody_is_asked_where_nobody_may_be() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    smart.user("ann", &[]);
    let ask = Ask::new(&smart, "app", "openid user/*.rs");
    let mut browser = Browser::new();
    let silent = ask.clone().with("prompt", "none").url(&smart);
    let page = browser.get(&smart, &silent);
    page.assert_told("login_required");
    assert_eq!(page.told("state").as_deref(), Some("a state of its own"));
    browser.allow(&smart, &ask, "ann");
    browser.get(&smart, &silent).assert_told("consent_required");
    // The others are asked for in vain as well.
    for prompt in ["none login", "login none", "none consent"] {
        let page = browser.get(&smart, &ask.clone().with("prompt", prompt).url(&smart));
        assert!(page.told("error").is_some(), "{prompt}");
    }
}

#[test]
fn who_is_to_log_in_again_has_to() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    smart.user("ann", &[]);
    let ask = Ask::new(&smart, "app", "openid user/*.rs");
    let mut browser = Browser::new();
    browser.allow(&smart, &ask, "ann");
    assert!(browser.get(&smart, &ask.url(&smart)).asks_for_consent());
    assert!(browser.get(&smart, &ask.clone().with("prompt", "login").url(&smart)).asks_for_password());
}

#[test]
fn a_request_that_no_browser_sends_is_no_fault_of_the_server() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    let ask = Ask::new(&smart, "app", "user/*.rs").without("state");
    let fields = form(&ask.fields());
    // What a URL encodes can stand in a body as it is; a browser that is sent on must not get it as a header.
    for state in ["a\r\nSet-Cookie: a=b\r\n\r\n", "a\nb", "\u{e4}\u{20ac}", "\u{0}", "a b", "%", "\u{1b}[31m"] {
        let body = format!("{fields}&state={state}");
        let request = smart.request("POST", &smart.url("authorization_endpoint"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = crate::harness::Answer::of(request);
        assert!(answer.status < 500, "{state:?}: {answer}");
        assert!(!answer.headers.get_all("set-cookie").iter().any(|cookie| cookie == "a=b"), "{state:?}: {answer:?}");
    }
}

#[test]
fn longer_requests_than_anybody_sends_are_refused() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    let ask = Ask::new(&smart, "app", "user/*.rs");
    let long = "x".repeat(20_000);
    for name in ["state", "nonce", "scope", "aud", "code_challenge", "launch", "prompt"] {
        for page in both_ways(&smart, &ask.clone().with(name, &long).fields()) {
            assert!(!page.asks_for_password() && page.0.status < 500, "{name}: {}", page.0);
            assert!(page.0.header("location").is_none_or(|location| location.contains("error=")), "{name}: {}", page.0);
        }
    }
}

#[test]
fn other_methods_are_refused() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.app("app", EVERYTHING);
    let url = Ask::new(&smart, "app", "user/*.rs").url(&smart);
    for method in ["PUT", "DELETE", "PATCH"] {
        assert_eq!(crate::harness::Answer::of(smart.request(method, &url)).status, 405, "{method}");
    }
    for path in ["/auth/login", "/auth/consent", "/auth/logout"] {
        assert_eq!(crate::harness::Answer::of(smart.request("GET", path)).status, 405, "{path}");
    }
}
