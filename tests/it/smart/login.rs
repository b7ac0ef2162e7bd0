//! Login: who knows the password, how often others may guess, and what a browser keeps.

use super::browser::{Ask, Browser, Page};
use super::{PASSWORD, REDIRECT, Smart, until};
use crate::harness::{Server, on_both};

const SCOPE: &str = "openid user/*.rs";

/// An app, and two people who may use it.
fn prepared(smart: &Smart) -> Ask {
    smart.app("app", SCOPE);
    smart.user("ann", &[]);
    smart.user("bob", &[]);
    Ask::new(smart, "app", SCOPE)
}

/// Tries to log in with a browser of its own.
fn attempt(smart: &Smart, ask: &Ask, user: &str, password: &str) -> Page {
    let mut browser = Browser::new();
    let page = browser.get(smart, &ask.url(smart));
    let page = browser.log_in(smart, &page, user, password);
    let has_session = browser.cookies.len() > 1;
    assert_eq!(has_session, page.asks_for_consent(), "a session is for those who logged in: {:?}", browser.cookies);
    page
}

/// A refusal as every other: status, page and headers.
fn assert_same(one: &Page, two: &Page) {
    assert_eq!(one.0.status, two.0.status);
    assert_eq!(one.common(), two.common());
    let headers = |page: &Page| {
        let mut headers: Vec<String> =
            page.0.headers.iter().filter(|(name, _)| *name != "date").map(|header| format!("{header:?}")).collect();
        headers.sort();
        headers
    };
    assert_eq!(headers(one), headers(two));
}

on_both! {
    with [("PLUMBLINE_AUTH__LOCK_AFTER", "3")];

    fn who_knows_the_password_is_let_in(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        assert!(attempt(&smart, &ask, "ann", PASSWORD).asks_for_consent());
    }

    fn a_wrong_password_and_an_unknown_account_look_alike(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        let stranger = attempt(&smart, &ask, "nobody", PASSWORD);
        assert!(!stranger.asks_for_consent(), "{}", stranger.0);
        assert!(matches!(stranger.0.status, 200 | 400..=403), "{}", stranger.0);
        let long = "x".repeat(2_000);
        for (user, password) in [("ann", "wrong"), ("bob", "Correct horse battery staple"), ("nobody", "wrong"), ("nobody", ""), (&long, "x"), ("ann'--", PASSWORD), ("", PASSWORD)] {
            assert_same(&attempt(&smart, &ask, user, password), &stranger);
        }
    }

    fn an_account_is_locked_after_too_many_wrong_passwords(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        let stranger = attempt(&smart, &ask, "nobody", "wrong");
        for _ in 0..3 {
            assert_same(&attempt(&smart, &ask, "ann", "wrong"), &stranger);
        }
        // Now the right one is as wrong as every other, and nobody learns that it is right.
        assert_same(&attempt(&smart, &ask, "ann", PASSWORD), &stranger);
        assert_same(&attempt(&smart, &ask, "ann", "wrong"), &stranger);
        assert!(attempt(&smart, &ask, "bob", PASSWORD).asks_for_consent(), "others are not locked out");
        assert!(smart.cli(&["user", "list"], "").lines().any(|line| line.contains("ann") && line.contains("locked")));
        smart.cli(&["user", "password", "ann"], "another good password");
        assert_same(&attempt(&smart, &ask, "ann", PASSWORD), &stranger);
        assert!(attempt(&smart, &ask, "ann", "another good password").asks_for_consent(), "a new password unlocks");
    }

    fn wrong_passwords_count_in_a_row(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        for _ in 0..3 {
            for password in ["wrong", "wrong", PASSWORD] {
                assert_eq!(attempt(&smart, &ask, "ann", password).asks_for_consent(), password == PASSWORD);
            }
        }
    }

    fn guesses_at_once_are_counted_each(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| attempt(&smart, &ask, "ann", "wrong"));
            }
        });
        assert!(!attempt(&smart, &ask, "ann", PASSWORD).asks_for_consent(), "it is locked by now");
    }

    fn guesses_at_once_are_no_way_around_the_lock(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        let pages: Vec<(Browser, Page)> = (0..24).map(|_| {
            let mut browser = Browser::new();
            let page = browser.get(&smart, &ask.url(&smart));
            (browser, page)
        }).collect();
        let (smart, start) = (&smart, &std::sync::Barrier::new(pages.len()));
        std::thread::scope(|scope| {
            for (n, (mut browser, page)) in pages.into_iter().enumerate() {
                scope.spawn(move || {
                    start.wait();
                    browser.log_in(smart, &page, "ann", &format!("guess number {n}"))
                });
            }
        });
        // The record says of which guesses it was looked at whether they are right.
        let auditor = smart.token("system/AuditEvent.rs", "1h");
        let events = smart.fhir(&auditor, "AuditEvent?_count=1000");
        let refused = |why: &str| events.entries("match").iter().filter(|event| event["outcomeDesc"].as_str().is_some_and(|it| it.contains(why))).count();
        let (wrong, locked) = (refused("wrong name or password"), refused("is locked"));
        assert_eq!(wrong + locked, 24, "{events}");
        assert_eq!(wrong, 3, "the account is locked after three");
    }

    fn a_login_lasts_until_it_is_ended(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        let mut browser = Browser::new();
        browser.allow(&smart, &ask, "ann");
        let consent = browser.get(&smart, &ask.url(&smart));
        assert!(consent.asks_for_consent() && consent.0.text.contains("ann"), "{}", consent.0);
        let kept = browser.cookies.clone();
        let page = browser.post(&smart, "/auth/logout", &[("request", &consent.sealed())]);
        assert!(page.asks_for_password(), "{}", page.0);
        assert!(browser.get(&smart, &ask.url(&smart)).asks_for_password());
        // The session itself has ended, not just its cookie.
        let mut thief = Browser { cookies: kept };
        assert!(thief.get(&smart, &ask.url(&smart)).asks_for_password());
        let page = thief.decide(&smart, &consent, "allow");
        assert!(page.0.header("location").is_none_or(|location| !location.contains("code=")), "{}", page.0);
    }

    fn the_session_of_somebody_who_is_removed_ends(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        let mut browser = Browser::new();
        browser.allow(&smart, &ask, "ann");
        let consent = browser.get(&smart, &ask.url(&smart));
        smart.cli(&["user", "remove", "ann"], "");
        assert!(browser.get(&smart, &ask.url(&smart)).asks_for_password());
        assert!(browser.decide(&smart, &consent, "allow").0.header("location").is_none());
    }

    fn the_session_of_somebody_who_is_removed_is_not_the_next_ones_of_that_name(server) {
        let smart = Smart::of(server);
        let ask = prepared(&smart);
        let mut browser = Browser::new();
        browser.allow(&smart, &ask, "ann");
        smart.cli(&["user", "remove", "ann"], "");
        smart.cli(&["user", "add", "ann"], "quite another password");
        assert!(browser.get(&smart, &ask.url(&smart)).asks_for_password(), "it was the session of another person");
    }
}

#[test]
fn a_lock_ends_by_itself() {
    let server = Server::sqlite(&[("PLUMBLINE_AUTH__LOCK_AFTER", "2"), ("PLUMBLINE_AUTH__LOCK_S", "8")]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart);
    for _ in 0..2 {
        attempt(&smart, &ask, "ann", "wrong");
    }
    assert!(!attempt(&smart, &ask, "ann", PASSWORD).asks_for_consent());
    until("the account is open again", || attempt(&smart, &ask, "ann", PASSWORD).asks_for_consent());
}

#[test]
fn a_login_ends_by_itself() {
    let server = Server::sqlite(&[("PLUMBLINE_AUTH__ONLINE_S", "3")]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart);
    let mut browser = Browser::new();
    assert!(browser.consent_page(&smart, &ask, "ann").asks_for_consent());
    let cookies = browser.cookies.clone();
    until("the login has ended", || {
        Browser { cookies: cookies.clone() }.get(&smart, &ask.url(&smart)).asks_for_password()
    });
}

#[test]
fn a_cookie_is_for_the_login_alone() {
    for (settings, is_https) in
        [(&[][..], false), (&[("PLUMBLINE_SERVER__BASE_URL", "https://directory.example/fhir")], true)]
    {
        let server = Server::sqlite(settings);
        let smart = Smart::of(&server);
        let ask = prepared(&smart);
        let mut browser = Browser::new();
        let login = browser.get(&smart, &ask.url(&smart));
        let consent = browser.log_in(&smart, &login, "ann", PASSWORD);
        assert!(consent.asks_for_consent(), "{}", consent.0);
        assert_eq!(browser.cookies.len(), 2, "one of the browser, one of the session");
        for page in [&login, &consent] {
            let cookies: Vec<&str> =
                page.0.headers.get_all("set-cookie").iter().map(|it| it.to_str().expect("text")).collect();
            assert_eq!(cookies.len(), 1, "{cookies:?}");
            let attributes: Vec<&str> = cookies[0].split("; ").skip(1).collect();
            for attribute in ["HttpOnly", "SameSite=Lax", "Path=/auth"] {
                assert!(attributes.contains(&attribute), "{attribute}: {cookies:?}");
            }
            assert_eq!(attributes.contains(&"Secure"), is_https, "{cookies:?}");
            assert!(!attributes.iter().any(|attribute| attribute.starts_with("Domain")), "{cookies:?}");
        }
    }
}

#[test]
fn a_session_is_made_at_login_and_never_taken_over() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart);
    let mut first = Browser::new();
    first.consent_page(&smart, &ask, "bob");
    let name = first.cookies.keys().find(|name| name.contains("session")).expect("a session").clone();
    let mut second = Browser::new();
    // An attacker plants their own session, or one that is not.
    for planted in [first.cookies[&name].clone(), "planted".to_owned()] {
        let page = second.get(&smart, &ask.clone().with("prompt", "login").url(&smart));
        second.cookies.insert(name.clone(), planted.clone());
        let page = second.log_in(&smart, &page, "ann", PASSWORD);
        assert!(page.asks_for_consent() && page.0.text.contains("ann"), "{}", page.0);
        assert_ne!(second.cookies[&name], planted);
    }
    assert!(first.get(&smart, &ask.url(&smart)).0.text.contains("bob"));
}

#[test]
fn a_cookie_that_is_nobodys_lets_nobody_in() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart);
    let mut browser = Browser::new();
    browser.consent_page(&smart, &ask, "ann");
    let (name, session) = browser.cookies.iter().find(|(name, _)| name.contains("session")).expect("a session");
    let (name, session) = (name.clone(), session.clone());
    for wrong in
        ["x".to_owned(), session[1..].to_owned(), format!("{session}x"), session.to_uppercase(), "ann".to_owned()]
    {
        browser.cookies.insert(name.clone(), wrong.clone());
        assert!(browser.get(&smart, &ask.url(&smart)).asks_for_password(), "{wrong}");
    }
    browser.cookies.insert(name, session);
    assert!(browser.get(&smart, &ask.url(&smart)).asks_for_consent());
}

#[test]
fn pages_hold_nothing_that_could_be_misused() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let ask = prepared(&smart);
    let mut browser = Browser::new();
    let login = browser.get(&smart, &ask.url(&smart));
    let wrong = browser.log_in(&smart, &login, "ann", "wrong");
    let consent = browser.log_in(&smart, &login, "ann", PASSWORD);
    let error = browser.get(&smart, &ask.clone().with("client_id", "nobody").url(&smart));
    for (name, page) in [("login", &login), ("wrong", &wrong), ("consent", &consent), ("error", &error)] {
        let policy = page.0.header("content-security-policy").unwrap_or_else(|| panic!("{name}: a policy"));
        let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
        assert!(directives.contains(&"frame-ancestors 'none'"), "{name}: {policy}");
        assert!(directives.contains(&"default-src 'none'"), "{name}: {policy}");
        assert!(directives.iter().any(|it| it.starts_with("base-uri 'none'")), "{name}: {policy}");
        assert!(directives.iter().any(|it| it.starts_with("form-action ")), "default-src does not cover it: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{name}: {policy}");
        assert_eq!(page.0.header("cache-control"), Some("no-store"), "{name}");
        assert_eq!(page.0.header("x-frame-options"), Some("DENY"), "{name}");
        assert_eq!(page.0.header("x-content-type-options"), Some("nosniff"), "{name}");
        assert_eq!(page.0.header("referrer-policy"), Some("no-referrer"), "{name}");
        assert_eq!(page.0.header("access-control-allow-origin"), None, "{name}");
        assert_eq!(page.0.header("content-type"), Some("text/html; charset=utf-8"), "{name}");
        let text = page.0.text.to_lowercase();
        for unwanted in [
            "<script",
            "javascript:",
            " onclick",
            " onload",
            " onerror",
            "<iframe",
            "http-equiv",
            &PASSWORD.to_lowercase(),
        ] {
            assert!(!text.contains(unwanted), "{name}: {unwanted}");
        }
    }
    // The way back to the app is allowed, or browsers would stop there.
    let policy = consent.0.header("content-security-policy").expect("a policy");
    assert!(policy.contains("https://app.example"), "{policy}");
}

#[test]
fn names_are_shown_as_text() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let name = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;";
    smart.client("app", &["--name", name, "--scope", SCOPE, "--redirect-uri", REDIRECT]);
    let user = "<b>ann</b>\"><script>alert(2)</script>";
    smart.user(user, &[]);
    let ask = Ask::new(&smart, "app", SCOPE).with("state", "\"><script>alert(3)</script>").with("nonce", "<script>");
    let mut browser = Browser::new();
    let login = browser.get(&smart, &ask.url(&smart));
    let wrong = browser.log_in(&smart, &login, user, "wrong");
    let consent = browser.log_in(&smart, &login, user, PASSWORD);
    assert!(consent.asks_for_consent(), "{}", consent.0);
    for page in [&login, &wrong, &consent] {
        for tag in ["<script", "<img", "<b>ann"] {
            assert!(!page.0.text.contains(tag), "{tag}: {}", page.0);
        }
        assert!(page.0.text.contains("&lt;script&gt;alert(1)"), "the name is there: {}", page.0);
        assert!(page.0.text.contains("&amp;amp;"), "and as it is: {}", page.0);
    }
    assert!(consent.0.text.contains("&lt;b&gt;ann"), "{}", consent.0);
}

#[test]
fn people_are_told_what_they_agree_to() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let scope = "openid offline_access user/Practitioner.rs user/Location.cruds user/Organization.rs?active=true";
    smart.client("app", &["--name", "The Finder", "--scope", scope, "--redirect-uri", REDIRECT]);
    smart.user("ann", &[]);
    let page = Browser::new().consent_page(&smart, &Ask::new(&smart, "app", scope), "ann");
    for told in ["The Finder", "ann", "Practitioner", "Location", "change", "away", "active", "app.example"] {
        assert!(page.0.text.contains(told), "{told}: {}", page.0);
    }
}

#[test]
fn a_password_is_long_and_kept_as_a_hash() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let output = super::run(&server, &["user", "add", "ann"], "fourteen chars");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("15"), "{output:?}");
    smart.user("ann", &[]);
    let stored = super::stored(&server);
    assert!(stored.contains("$argon2id$") && !stored.contains(PASSWORD));
}
