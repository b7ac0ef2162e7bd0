//! The forms of login and consent belong to one browser and one request: nobody can send them for somebody else.

use std::collections::BTreeMap;

use serde_json::json;

use super::browser::{Ask, Browser, Page};
use super::{PASSWORD, REDIRECT, Smart};
use crate::harness::{Server, on_both};

const SCOPE: &str = "openid user/*.rs";

/// An app of its users, one of an attacker, and somebody who uses both.
fn prepared(smart: &Smart) -> (Ask, Ask) {
    smart.app("app", SCOPE);
    smart.client("evil", &["--scope", SCOPE, "--redirect-uri", "https://other.example/callback"]);
    smart.user("ann", &[]);
    smart.user("mallory", &[]);
    let evil = Ask::new(smart, "evil", SCOPE).with("redirect_uri", "https://other.example/callback");
    (Ask::new(smart, "app", SCOPE), evil)
}

/// The person is told that this does not work, and neither logged in nor sent away with a code.
fn assert_refused(page: &Page, what: &str) {
    assert!(matches!(page.0.status, 400..=403), "{what}: {}", page.0);
    page.assert_refused_here(page.0.status, what);
    assert!(!page.0.headers.contains_key("set-cookie"), "{what}: {:?}", page.0.headers);
}

/// Sends both forms with these cookies and this request.
fn both_refused(smart: &Smart, cookies: &BTreeMap<String, String>, sealed: &str, what: &str) {
    for path in ["/auth/consent", "/auth/login", "/auth/logout"] {
        let fields = [("request", sealed), ("decision", "allow"), ("username", "ann"), ("password", PASSWORD)];
        let page = Browser { cookies: cookies.clone() }.post(smart, path, &fields);
        assert_refused(&page, &format!("{path} {what}"));
    }
}

fn only(cookies: &BTreeMap<String, String>, part: &str) -> BTreeMap<String, String> {
    cookies.iter().filter(|(name, _)| name.contains(part)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

on_both! {
    fn a_form_without_the_browser_it_was_made_for_is_refused(server) {
        let smart = Smart::of(server);
        let (ask, evil) = prepared(&smart);
        let (mut victim, mut attacker) = (Browser::new(), Browser::new());
        let consent = victim.consent_page(&smart, &ask, "ann");
        let other = attacker.consent_page(&smart, &evil, "mallory");
        assert!(consent.asks_for_consent() && other.asks_for_consent());
        both_refused(&smart, &BTreeMap::new(), &consent.sealed(), "without cookies");
        both_refused(&smart, &only(&victim.cookies, "session"), &consent.sealed(), "without the browser's");
        both_refused(&smart, &attacker.cookies, &consent.sealed(), "with those of another browser");
        // The attacker makes the victim's browser send the attacker's form.
        both_refused(&smart, &victim.cookies, &other.sealed(), "with the request of another browser");
        let mut mixed = only(&attacker.cookies, "browser");
        mixed.extend(only(&victim.cookies, "session"));
        both_refused(&smart, &mixed, &consent.sealed(), "with the session alone");
        // And as it was meant, it works.
        assert!(victim.decide(&smart, &consent, "allow").location().as_str().starts_with(REDIRECT));
    }

    fn a_form_that_was_changed_is_refused(server) {
        let smart = Smart::of(server);
        let (ask, evil) = prepared(&smart);
        let mut victim = Browser::new();
        let consent = victim.consent_page(&smart, &ask, "ann");
        let (sealed, other) = (consent.sealed(), victim.get(&smart, &evil.url(&smart)).sealed());
        // What any page of results carries is sealed by this server, too.
        for n in 0..3 {
            let organization = json!({"resourceType": "Organization", "id": format!("o{n}"), "name": "x"});
            assert_eq!(server.put(&format!("Organization/o{n}"), &organization).status, 201);
        }
        let next = server.get("Organization?_count=1").link("next").expect("a next page");
        let cursor = next.split(['?', '&']).find_map(|pair| pair.strip_prefix("_cursor=")).or_else(|| next.rsplit('=').next()).expect("a cursor").to_owned();
        let (middle, length) = (sealed.len() / 2, sealed.len());
        let flipped = |at: usize| {
            let replacement = if sealed.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{replacement}{}", &sealed[..at], &sealed[at + 1..])
        };
        for (what, wrong) in [
            ("empty", String::new()),
            ("nonsense", "x".repeat(200)),
            ("cut", sealed[..length - 4].to_owned()),
            ("extended", format!("{sealed}AAAA")),
            ("changed at its beginning", flipped(0)),
            ("changed in its middle", flipped(middle)),
            ("changed near its end", flipped(length - 5)),
            ("made of two", format!("{}{}", &sealed[..24], &other[24..])),
            ("made of two, the other way", format!("{}{}", &other[..middle], &sealed[middle..])),
            ("without a signature", sealed[22..].to_owned()),
            ("a cursor", cursor),
        ] {
            both_refused(&smart, &victim.cookies, &wrong, what);
        }
        for path in ["/auth/consent", "/auth/login"] {
            let page = victim.post(&smart, path, &[("decision", "allow"), ("username", "ann"), ("password", PASSWORD)]);
            assert_refused(&page, "none");
            let twice = [("request", sealed.as_str()), ("request", other.as_str()), ("decision", "allow")];
            assert_refused(&victim.post(&smart, path, &twice), "two");
        }
    }

    fn consent_is_for_one_app(server) {
        let smart = Smart::of(server);
        let (ask, evil) = prepared(&smart);
        let mut victim = Browser::new();
        let consent = victim.consent_page(&smart, &ask, "ann");
        let other = victim.get(&smart, &evil.url(&smart));
        // Fields beside the sealed request say nothing.
        for (name, value) in [("client_id", "evil"), ("redirect_uri", "https://other.example/callback"), ("scope", "user/*.cruds"), ("state", "x")] {
            let page = victim.post(&smart, &consent.action(0), &[("request", &consent.sealed()), ("decision", "allow"), (name, value)]);
            assert!(page.location().as_str().starts_with(REDIRECT), "{name}: {}", page.location());
            assert_eq!(page.told("state").as_deref(), Some("a state of its own"), "{name}");
        }
        let page = victim.decide(&smart, &other, "allow");
        assert!(page.location().as_str().starts_with("https://other.example/callback?"), "{}", page.location());
    }
}

#[test]
fn who_is_not_logged_in_cannot_consent() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let (ask, _) = prepared(&smart);
    let mut browser = Browser::new();
    let login = browser.get(&smart, &ask.url(&smart));
    let page = browser.post(&smart, "/auth/consent", &[("request", &login.sealed()), ("decision", "allow")]);
    assert!(page.0.header("location").is_none(), "{}", page.0);
    assert!(!page.asks_for_consent(), "{}", page.0);
}

#[test]
fn consent_is_not_given_by_a_link() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let (ask, _) = prepared(&smart);
    let mut browser = Browser::new();
    let consent = browser.consent_page(&smart, &ask, "ann");
    let query = super::browser::form(&[("request", &consent.sealed()), ("decision", "allow")]);
    let page = browser.get(&smart, &format!("/auth/consent?{query}"));
    assert_eq!(page.0.status, 405, "{}", page.0);
    let page = browser.post(&smart, &format!("/auth/consent?{query}"), &[]);
    assert_refused(&page, "in the URL");
}

#[test]
fn an_app_that_is_removed_meanwhile_gets_nothing() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let (ask, _) = prepared(&smart);
    let mut browser = Browser::new();
    let consent = browser.consent_page(&smart, &ask, "ann");
    smart.cli(&["client", "remove", "app"], "");
    assert_refused(&browser.decide(&smart, &consent, "allow"), "removed");
    smart.client("app", &["--scope", SCOPE, "--redirect-uri", "https://moved.example/callback"]);
    assert_refused(&browser.decide(&smart, &consent, "allow"), "moved");
}

#[test]
fn two_requests_of_one_browser_are_kept_apart() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let (ask, evil) = prepared(&smart);
    let mut browser = Browser::new();
    let first = browser.get(&smart, &ask.url(&smart));
    let second = browser.get(&smart, &evil.url(&smart));
    let first = browser.log_in(&smart, &first, "ann", PASSWORD);
    let second = browser.log_in(&smart, &second, "ann", PASSWORD);
    assert!(browser.decide(&smart, &second, "allow").location().as_str().starts_with("https://other.example/"));
    assert!(browser.decide(&smart, &first, "allow").location().as_str().starts_with(REDIRECT));
}
