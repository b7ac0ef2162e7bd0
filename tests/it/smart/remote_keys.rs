//! Keys of clients at URLs: fetched when they are needed, kept as long as they are good, and never from where only this
//! server can look.

use serde_json::json;

use super::peer::{Peer, Trap};
use super::signing::{Key, jwks};
use super::{ALLOW_LOOPBACK, Proof, Smart, assert_error, until};
use crate::harness::{Server, on_both};

on_both! {
    with [crate::smart::ALLOW_LOOPBACK];

    fn keys_may_be_at_a_url(server) {
        let smart = Smart::of(server);
        for key in [Key::rsa("r"), Key::ec("e")] {
            let (peer, id) = (Peer::publishing(&jwks(&[&key]), "max-age=600"), format!("system-{}", key.kid));
            smart.client(&id, &["--scope", "system/*.rs", "--jwks", &peer.url()]);
            let token = smart.backend_token(&Proof::Key(&id, &key), "system/*.rs");
            assert!(smart.is_accepted(&token));
            // The URL may be named in the assertion, too.
            let named = smart.assertion(&key, &id).header("jku", peer.url()).signed(&key);
            assert_eq!(smart.backend(&Proof::Assertion(&named), "system/*.rs").status, 200);
            assert_eq!(peer.requests(), 1, "they are kept as long as they are good");
        }
    }
}

#[test]
fn a_new_key_at_the_url_counts_without_a_restart() {
    let server = Server::sqlite(&[ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let peer = Peer::publishing(&jwks(&[&old]), "max-age=0");
    smart.client("system", &["--scope", "system/*.rs", "--jwks", &peer.url()]);
    smart.backend_token(&Proof::Key("system", &old), "system/*.rs");
    peer.publish(&jwks(&[&old, &new]), "max-age=0");
    smart.backend_token(&Proof::Key("system", &new), "system/*.rs");
    smart.backend_token(&Proof::Key("system", &old), "system/*.rs");
}

#[test]
fn a_key_that_is_gone_from_the_url_stops_counting() {
    let server = Server::sqlite(&[ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    for directive in ["max-age=0", "no-store", "no-cache"] {
        let (peer, id) = (Peer::publishing(&jwks(&[&old]), directive), directive.replace('=', "-"));
        smart.client(&id, &["--scope", "system/*.rs", "--jwks", &peer.url()]);
        smart.backend_token(&Proof::Key(&id, &old), "system/*.rs");
        peer.publish(&jwks(&[&new]), directive);
        assert_error(&smart.backend(&Proof::Key(&id, &old), "system/*.rs"), &["invalid_client"]);
        smart.backend_token(&Proof::Key(&id, &new), "system/*.rs");
    }
}

#[test]
fn keys_that_cannot_be_fetched_again_stop_counting_when_they_are_over() {
    let server = Server::sqlite(&[ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    let peer = Peer::publishing(&jwks(&[&key]), "max-age=0");
    smart.client("system", &["--scope", "system/*.rs", "--jwks", &peer.url()]);
    smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
    peer.answer("HTTP/1.1 503 Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned());
    assert_error(&smart.backend(&Proof::Key("system", &key), "system/*.rs"), &["invalid_client"]);
    peer.publish(&jwks(&[&key]), "max-age=0");
    until("they are fetched again", || smart.backend(&Proof::Key("system", &key), "system/*.rs").status == 200);
}

#[test]
fn unknown_names_do_not_make_the_server_fetch_again_and_again() {
    let server = Server::sqlite(&[ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    let peer = Peer::publishing(&jwks(&[&key]), "max-age=600");
    smart.client("system", &["--scope", "system/*.rs", "--jwks", &peer.url()]);
    smart.backend_token(&Proof::Key("system", &key), "system/*.rs");
    for n in 0..20 {
        let other = Key::ec(&format!("other-{n}"));
        assert_error(&smart.backend(&Proof::Key("system", &other), "system/*.rs"), &["invalid_client"]);
    }
    // Seconds have passed at most, in which once or twice is enough.
    assert!(peer.requests() <= 5, "{} requests", peer.requests());
}

#[test]
fn without_permission_nothing_inside_is_called() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let (key, trap) = (Key::ec("own"), Trap::new());
    let hosts = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"];
    for (n, host) in hosts.into_iter().enumerate() {
        for scheme in ["http", "https"] {
            let id = format!("system-{n}-{scheme}");
            let url = format!("{scheme}://{host}:{}/jwks.json", trap.port());
            smart.client(&id, &["--scope", "system/*.rs", "--jwks", &url]);
            assert_error(&smart.backend(&Proof::Key(&id, &key), "system/*.rs"), &["invalid_client"]);
        }
    }
    trap.assert_untouched();
}

#[test]
fn a_redirect_leads_nowhere() {
    let server = Server::sqlite(&[ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    for status in [301, 302, 303, 307, 308] {
        let target = Peer::publishing(&jwks(&[&key]), "max-age=600");
        let location = target.url();
        let answer =
            format!("HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (peer, id) = (Peer::answering(answer), format!("system-{status}"));
        smart.client(&id, &["--scope", "system/*.rs", "--jwks", &peer.url()]);
        assert_error(&smart.backend(&Proof::Key(&id, &key), "system/*.rs"), &["invalid_client"]);
        assert_eq!((peer.requests(), target.requests()), (1, 0));
    }
}

#[test]
fn what_is_no_set_of_public_keys_is_not_used() {
    let server = Server::sqlite(&[ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    let key = Key::rsa("own");
    let padded = json!({"keys": [key.jwk()], "padding": "x".repeat(1_000_000)});
    let many: Vec<_> = (0..1_000).map(|n| key.named(&format!("own-{n}")).jwk()).chain([key.jwk()]).collect();
    let wrong = [
        json!({}),
        json!([]),
        json!({"keys": {}}),
        json!({"keys": []}),
        padded,
        json!({"keys": many}),
        json!({"keys": [key.private_jwk()]}),
        json!("x"),
    ];
    for (n, keys) in wrong.iter().enumerate() {
        let (peer, id) = (Peer::publishing(keys, "max-age=600"), format!("system-{n}"));
        smart.client(&id, &["--scope", "system/*.rs", "--jwks", &peer.url()]);
        assert_error(&smart.backend(&Proof::Key(&id, &key), "system/*.rs"), &["invalid_client"]);
        assert_eq!(peer.requests(), 1);
    }
}

#[test]
fn who_is_slow_does_not_hold_up_others() {
    let server = Server::sqlite(&[ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    let key = Key::ec("own");
    let peer = Peer::silent();
    smart.client("slow", &["--scope", "system/*.rs", "--jwks", &peer.url()]);
    smart.client_with_keys("quick", &jwks(&[&key]), "system/*.rs");
    std::thread::scope(|scope| {
        let waiting: Vec<_> =
            (0..4).map(|_| scope.spawn(|| smart.backend(&Proof::Key("slow", &key), "system/*.rs"))).collect();
        super::until("the slow one is asked", || peer.requests() > 0);
        smart.backend_token(&Proof::Key("quick", &key), "system/*.rs");
        assert!(waiting.iter().any(|slow| !slow.is_finished()), "the slow one is still waited for");
        for slow in waiting {
            assert_error(&slow.join().expect("an answer"), &["invalid_client"]);
        }
    });
}
