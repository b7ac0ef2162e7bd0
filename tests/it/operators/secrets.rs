use plumbline::delivery::signature::{VerifyingKey, verify};
use serde_json::{Value, json};

use super::{Received, World, until};
use crate::harness::{Server, on_both, tokens};

const GIVEN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Whether a receiver who knows this secret or public key believes a call.
fn is_by(call: &Received, key: &str) -> bool {
    let key = VerifyingKey::parse(key).expect("a key");
    let (id, at) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    verify(&[key], id, at, call.header("webhook-signature"), call.body.as_bytes(), tokens::now_s(), 300).is_ok()
}

fn public(server: &Server) -> Value {
    let answer = server.get(&format!("{}/api/v1/webhook-keys", server.base.trim_end_matches("/fhir")));
    assert_eq!(answer.status, 200, "{answer}");
    answer.body
}

fn texts(keys: &Value) -> Vec<&str> {
    keys["keys"].as_array().expect("a list").iter().map(|key| key["key"].as_str().expect("a text")).collect()
}

impl World<'_> {
    /// Changes something, and gives the call that tells of it, once it is signed with this key: nodes learn of new ones later.
    fn signed_with(&self, key: &str) -> Received {
        let mut n = 0;
        let mut found = None;
        until("a call is signed with the key", || {
            n += 1;
            self.change("acme", &format!("{key} {n}"));
            std::thread::sleep(std::time::Duration::from_millis(500));
            found = self.receiver.calls().into_iter().rev().find(|call| is_by(call, key));
            found.is_some()
        });
        found.expect("a call")
    }
}

on_both! {
    with { crate::operators::SETTINGS };

    fn everybody_may_know_by_what_key_they_are_told(server) {
        let world = World::new(server);
        let keys = public(server);
        let key = &keys["keys"][0];
        assert_eq!((texts(&keys).len(), &key["expires"]), (1, &Value::Null), "{keys}");
        assert_eq!((&key["jwk"]["kty"], &key["jwk"]["crv"], &key["jwk"]["kid"]), (&json!("OKP"), &json!("Ed25519"), &key["id"]), "{keys}");
        assert!(!keys.to_string().contains("whsk_") && key["jwk"].get("d").is_none(), "{keys}");
        world.signed_with(texts(&keys)[0]);
        assert!(world.receiver.calls().iter().all(|call| is_by(call, texts(&keys)[0])), "the handshake, too");
        let expired = server.request("GET", &format!("{}/api/v1/webhook-keys", server.base.trim_end_matches("/fhir")));
        assert_eq!(crate::harness::Answer::of(expired.bearer_auth("nonsense")).status, 200);
        let other = format!("{}/api/v1/webhook-keys?x=y", server.base.trim_end_matches("/fhir"));
        assert_eq!(server.get(&other).status, 400);
    }

    fn a_lane_has_a_secret_that_is_shown_once(server) {
        let world = World::new(server);
        assert_eq!(world.get("/secret").body, json!({"lane": "Subscription/s", "secrets": []}));
        assert_eq!(world.operator.delete(&world.url("/secret")).status, 404);
        assert_eq!(world.post("/secret", &json!({"rotate": true})).status, 404);
        for wrong in [json!({"value": "secret"}), json!({"value": "whsec_AAAA"}), json!({"atOnce": true}), json!({"secret": GIVEN})] {
            let answer = world.post("/secret", &wrong);
            assert_eq!((answer.status, answer.issue().0.as_str()), (400, "error"), "{wrong}: {answer}");
            assert!(!answer.text.contains("AAAA"), "{answer}");
        }
        let made = world.post("/secret", &json!({}));
        let first = made.body["secret"].as_str().expect("a secret").to_owned();
        assert_eq!((made.status, &made.body["lane"]), (200, &json!("Subscription/s")), "{made}");
        let again = world.post("/secret", &json!({}));
        assert_eq!((again.status, again.issue().1.as_str()), (409, "conflict"), "{again}");
        let known = world.get("/secret");
        assert_eq!((known.body["secrets"].as_array().map(Vec::len), &known.body["secrets"][0]["expires"]), (Some(1), &Value::Null), "{known}");
        assert!(!known.text.contains("whsec_"), "{known}");
        world.signed_with(&first);
        // From the command line, with one of the receiver's own; the old one signs along.
        assert_eq!(world.run(&["lanes", "secret", "Subscription/s"]).0, 1);
        let rotated = world.run_json(&["lanes", "secret", "Subscription/s", "--rotate", "--value", GIVEN]);
        assert_eq!(rotated, json!({"lane": "Subscription/s", "secret": GIVEN}));
        let call = world.signed_with(GIVEN);
        assert!(is_by(&call, &first), "{call:?}");
        assert_eq!(world.get("/secret").body["secrets"].as_array().map(Vec::len), Some(2));
        let (code, text, _) = world.run(&["lanes", "secret", "Subscription/s", "--rotate", "--at-once"]);
        assert!(code == 0 && text.starts_with("whsec_") && text.lines().count() == 1, "{text}");
        assert_eq!(world.get("/secret").body["secrets"].as_array().map(Vec::len), Some(1));
        assert_eq!(world.run(&["lanes", "secret", "Subscription/s", "--remove"]).0, 0);
        assert_eq!(world.run(&["lanes", "secret", "Subscription/s", "--remove"]).0, 1);
        let recorded = world.recorded();
        for sentence in ["made a secret of Subscription/s", "rotated the secret of Subscription/s", "removed the secret of Subscription/s"] {
            assert!(recorded.iter().any(|it| it == sentence), "{sentence}: {recorded:?}");
        }
        assert!(recorded.iter().all(|it| !it.contains("whsec_")), "{recorded:?}");
    }

    fn the_keys_of_webhooks_are_rotated(server) {
        let world = World::new(server);
        let first = texts(&public(server))[0].to_owned();
        let (code, text, _) = world.run(&["key", "rotate-webhook"]);
        let id = text.split(' ').next().expect("an id").to_owned();
        assert_eq!(code, 0, "{text}");
        // A server looks again each minute; one that starts now knows.
        let both = public(&server.second(&[]));
        assert_eq!((both["keys"].as_array().map(Vec::len), &both["keys"][0]["id"]), (Some(2), &json!(id)), "{both}");
        assert_eq!(texts(&both)[1], first);
        for _ in 0..2 {
            assert_eq!(world.run(&["key", "rotate-webhook"]).0, 0);
        }
        let (code, _, complaint) = world.run(&["key", "rotate-webhook"]);
        assert!(code == 1 && complaint.contains("4 keys"), "{complaint}");
        assert_eq!(world.run(&["key", "rotate-webhook", "--at-once"]).0, 0);
        assert_eq!(texts(&public(&server.second(&[]))).len(), 1);
        // Those who replace the keys of tokens leave the others as they are.
        let (code, text, _) = world.run(&["key", "replace"]);
        assert!(code == 0 && !text.contains("webhook"), "{text}");
        let kept = public(&server.second(&[]));
        assert_eq!(world.run(&["lanes", "secret", "Subscription/s"]).0, 0);
        // Unless what sealed them is lost.
        std::fs::remove_file(server.data().join("auth.key")).expect("it is there");
        let (code, text, _) = world.run(&["key", "replace"]);
        assert!(code == 0 && text.contains("webhook") && text.contains("plumbline lanes secret Subscription/s --rotate --at-once"), "{text}");
        let new = public(&server.second(&[]));
        assert!(texts(&new).len() == 1 && new != kept, "{new}");
        assert_eq!(world.run(&["lanes", "secret", "Subscription/s", "--rotate", "--at-once"]).0, 0);
        assert!(!world.run(&["key", "replace"]).1.contains("webhook"));
    }
}
