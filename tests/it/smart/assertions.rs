//! Client assertions that prove nothing (RFC 7523, section 3; SMART App Launch 2.2, client-confidential-asymmetric). All of
//! them get the same answer, so that nobody learns how far they came.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::peer::{Peer, Trap};
use super::signing::{Assertion, Key, b64, hmac, jwks, jwt};
use super::{ALLOW_LOOPBACK, Proof, Smart, assert_error};
use crate::harness::{Answer, Server};

/// A client to be impersonated.
pub struct Target<'a> {
    pub smart: &'a Smart<'a>,
    /// Its key, which the attacker has only where they are the client themselves.
    pub key: &'a Key,
    pub id: &'a str,
}

impl Target<'_> {
    /// An assertion that is right, to be spoilt.
    pub fn right(&self) -> Assertion {
        self.smart.assertion(self.key, self.id)
    }

    pub fn ask(&self, assertion: &str) -> Answer {
        self.smart.backend(&Proof::Assertion(assertion), "system/*.rs")
    }

    /// What a client gets that is not known at all.
    fn stranger(&self) -> Answer {
        let answer = self.ask(&self.smart.assertion(self.key, "nobody").signed(self.key));
        assert_error(&answer, &["invalid_client"]);
        answer
    }

    /// The attacker learns no more than a stranger does, and the right assertion still counts.
    pub fn assert_refused(&self, assertion: &str) {
        let (answer, stranger) = (self.ask(assertion), self.stranger());
        assert_error(&answer, &["invalid_client"]);
        assert_eq!((answer.status, &answer.text), (stranger.status, &stranger.text), "all fail alike: {assertion}");
        assert_eq!(answer.header("www-authenticate"), stranger.header("www-authenticate"));
        assert_eq!(self.ask(&self.right().signed(self.key)).status, 200, "the client itself is let in");
    }
}

/// Keys of clients that are attacked: RSA keys take a while to make.
static OWN: LazyLock<[Key; 2]> = LazyLock::new(|| [Key::rsa("own"), Key::ec("own")]);

/// Attacks a client with an RSA key and one with an EC key.
pub fn refused(attack: impl Fn(&Target) -> String) {
    refused_each([()], |target, ()| attack(target));
}

/// The same once for each case.
pub fn refused_each<C>(cases: impl IntoIterator<Item = C>, attack: impl Fn(&Target, &C) -> String) {
    let server = Server::sqlite(&[ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    for key in OWN.iter() {
        smart.client_with_keys(&format!("client-{}", key.alg), &jwks(&[key]), "system/*.rs");
    }
    for case in cases {
        for key in OWN.iter() {
            let id = format!("client-{}", key.alg);
            let target = Target { smart: &smart, key, id: &id };
            target.assert_refused(&attack(&target, &case));
        }
    }
}

/// Attacks a client whose registered keys are these.
fn refused_with_keys(keys: &Value, key: &Key, attack: impl Fn(&Target) -> String) {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    smart.client_with_keys("client", keys, "system/*.rs");
    let target = Target { smart: &smart, key, id: "client" };
    let (answer, stranger) = (target.ask(&attack(&target)), target.stranger());
    assert_error(&answer, &["invalid_client"]);
    assert_eq!((answer.status, &answer.text), (stranger.status, &stranger.text), "all fail alike");
}

/// Keys and algorithms.
mod signatures {
    use super::*;

    #[test]
    fn without_a_signature_it_proves_nothing() {
        refused_each(["none", "None", "NONE", "nOnE", ""], |target, alg| {
            let right = target.right().header("alg", *alg);
            jwt(&right.header, &right.claims, |_message| Vec::new())
        });
    }

    #[test]
    fn without_a_signature_part_it_proves_nothing() {
        refused(|target| {
            let signed = target.right().signed(target.key);
            signed.rsplit_once('.').expect("a signature").0.to_owned()
        });
    }

    #[test]
    fn with_the_signature_cut_off_it_proves_nothing() {
        refused(|target| {
            let signed = target.right().signed(target.key);
            format!("{}.", signed.rsplit_once('.').expect("a signature").0)
        });
    }

    #[test]
    fn a_public_key_is_no_shared_secret() {
        let forms = OWN.iter().map(|key| key.public_forms().len()).min().expect("keys");
        let cases = ["HS256", "HS384", "HS512"].into_iter().flat_map(|alg| (0..forms).map(move |n| (alg, n)));
        refused_each(cases, |target, (alg, n)| {
            let right = target.right().header("alg", *alg);
            jwt(&right.header, &right.claims, |message| hmac(alg, &target.key.public_forms()[*n], message))
        });
    }

    #[test]
    fn algorithms_beside_those_of_smart_are_refused() {
        for alg in ["RS256", "RS512", "PS256", "PS384", "PS512", "rs384", "RS385"] {
            let key = Key::rsa("own");
            refused_with_keys(&jwks(&[&key]), &key, |target| target.right().header("alg", alg).signed(&key));
        }
        let key = Key::p256("own");
        let both = jwks(&[&key, &Key::ec("other")]);
        refused_with_keys(&both, &key, |target| target.right().header("alg", "ES256").signed(&key));
    }

    #[test]
    fn an_algorithm_for_another_kind_of_key_is_refused() {
        refused(|target| {
            let other = if target.key.alg == "RS384" { "ES384" } else { "RS384" };
            let right = target.right().header("alg", other);
            jwt(&right.header, &right.claims, |message| target.key.sign(target.key.alg, message))
        });
    }

    #[test]
    fn an_ec_signature_of_zeros_is_none() {
        let key = Key::ec("own");
        refused_with_keys(&jwks(&[&key]), &key, |target| {
            let right = target.right();
            jwt(&right.header, &right.claims, |_message| vec![0; 96])
        });
    }

    #[test]
    fn another_key_is_not_the_one() {
        refused(|target| {
            let other = if target.key.alg == "RS384" { Key::rsa("own") } else { Key::ec("own") };
            target.right().signed(&other)
        });
    }

    #[test]
    fn a_key_of_another_client_is_not_the_one() {
        refused(|target| {
            let (other, id) = (Key::ec("own"), super::super::signing::unique());
            target.smart.client_with_keys(&id, &jwks(&[&other]), "system/*.rs");
            target.right().header("alg", "ES384").signed(&other)
        });
    }

    #[test]
    fn what_is_changed_after_signing_is_refused() {
        refused(|target| {
            let signed = target.right().signed(target.key);
            let parts: Vec<&str> = signed.split('.').collect();
            let claims = target.right().claim("sub", target.id).claims;
            format!("{}.{}.{}", parts[0], b64(claims.to_string()), parts[2])
        });
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let nonsense = ["x", "..", "a.b.c", "e30.e30.", "\u{0}", "{}", "null", &"a.".repeat(50)];
        refused_each(nonsense, |_target, nonsense| (*nonsense).to_owned());
    }

    #[test]
    fn an_encrypted_or_nested_token_is_refused() {
        refused(|target| format!("{}.x.y", target.right().signed(target.key)));
    }
}

/// Which key is meant.
mod kids {
    use super::*;

    #[test]
    fn a_missing_kid_is_refused() {
        refused(|target| target.right().without_header("kid").signed(target.key));
    }

    #[test]
    fn an_unknown_kid_is_refused() {
        refused(|target| target.right().header("kid", "other").signed(target.key));
    }

    #[test]
    fn a_kid_that_is_no_plain_name_is_refused() {
        let long = "k".repeat(7_000);
        let kids = [
            "",
            " own",
            "own ",
            "OWN",
            "own\u{0}",
            "../../etc/passwd",
            "/dev/null",
            "' OR 1=1",
            "own' OR '1'='1' --",
            "оwn",
            "\u{202e}nwo",
            "💥",
            "%6fwn",
            &long,
        ];
        refused_each(kids, |target, kid| target.right().header("kid", *kid).signed(target.key));
    }

    #[test]
    fn a_kid_that_is_no_text_is_refused() {
        let kids = [json!(null), json!(1), json!(true), json!(["own"]), json!({"own": "own"})];
        refused_each(kids, |target, kid| target.right().header("kid", kid.clone()).signed(target.key));
    }

    #[test]
    fn two_keys_of_one_name_are_none() {
        let (one, two) = (Key::rsa("own"), Key::rsa("own"));
        for key in [&one, &two] {
            refused_with_keys(&jwks(&[&one, &two]), key, |target| target.right().signed(key));
        }
    }

    #[test]
    fn two_keys_of_one_name_and_different_kinds_are_told_apart() {
        let server = Server::sqlite(&[]);
        let smart = Smart::of(&server);
        let (rsa, ec) = (Key::rsa("own"), Key::ec("own"));
        smart.client_with_keys("client", &jwks(&[&rsa, &ec]), "system/*.rs");
        for key in [&rsa, &ec] {
            smart.backend_token(&Proof::Key("client", key), "system/*.rs");
        }
    }

    #[test]
    fn a_key_for_another_use_is_none() {
        for (member, value) in [("use", json!("enc")), ("alg", json!("RS256")), ("key_ops", json!(["sign"]))] {
            let (key, usable) = (Key::rsa("own"), Key::rsa("usable"));
            let mut keys = jwks(&[&key, &usable]);
            keys["keys"][0][member] = value;
            refused_with_keys(&keys, &key, |target| target.right().signed(&key));
        }
    }

    #[test]
    fn a_weak_key_is_none() {
        let key = openssl::rsa::Rsa::generate(1_024).expect("a key");
        let weak = json!({"kty": "RSA", "kid": "own", "n": b64(key.n().to_vec()), "e": b64(key.e().to_vec())});
        let usable = Key::rsa("usable");
        let pkey = openssl::pkey::PKey::from_rsa(key).expect("a key");
        refused_with_keys(&json!({"keys": [weak, usable.jwk()]}), &usable, |target| {
            let right = target.right().header("kid", "own");
            jwt(&right.header, &right.claims, |message| {
                let mut signer =
                    openssl::sign::Signer::new(openssl::hash::MessageDigest::sha384(), &pkey).expect("a signer");
                signer.sign_oneshot_to_vec(message).expect("a signature")
            })
        });
    }
}

/// Keys that an assertion brings along or points to.
mod headers {
    use super::*;

    #[test]
    fn a_key_that_comes_along_proves_nothing() {
        refused(|target| {
            let own = if target.key.alg == "RS384" { Key::rsa("own") } else { Key::ec("own") };
            target.right().header("jwk", own.jwk()).signed(&own)
        });
    }

    #[test]
    fn a_url_of_an_attackers_keys_is_not_fetched() {
        refused_each(["jku", "x5u"], |target, header| {
            let own = if target.key.alg == "RS384" { Key::rsa("own") } else { Key::ec("own") };
            let peer = Peer::publishing(&jwks(&[&own]), "max-age=600");
            let assertion = target.right().header(header, peer.url()).signed(&own);
            assert_error(&target.ask(&assertion), &["invalid_client"]);
            assert_eq!(peer.requests(), 0, "{header}");
            assertion
        });
    }

    #[test]
    fn a_url_that_is_not_the_registered_one_is_not_fetched() {
        let server = Server::sqlite(&[ALLOW_LOOPBACK]);
        let smart = Smart::of(&server);
        let key = Key::rsa("own");
        let (registered, other, trap) = (
            Peer::publishing(&jwks(&[&key]), "max-age=600"),
            Peer::publishing(&jwks(&[&key]), "max-age=600"),
            Trap::new(),
        );
        smart.client("client", &["--scope", "system/*.rs", "--jwks", &registered.url()]);
        let target = Target { smart: &smart, key: &key, id: "client" };
        for url in [
            other.url(),
            format!("http://127.0.0.1:{}/", trap.port()),
            registered.url().replace("127.0.0.1", "localhost"),
            format!("{}?", registered.url()),
            format!("{}#x", registered.url()),
            registered.url().to_uppercase(),
            String::new(),
        ] {
            target.assert_refused(&target.right().header("jku", url).signed(&key));
        }
        assert_eq!(other.requests(), 0);
        trap.assert_untouched();
        let named = target.right().header("jku", registered.url()).signed(&key);
        assert_eq!(target.ask(&named).status, 200, "the registered URL may be named");
    }

    #[test]
    fn a_url_for_a_client_with_registered_keys_is_refused() {
        refused(|target| {
            let peer = Peer::publishing(&jwks(&[target.key]), "max-age=600");
            let assertion = target.right().header("jku", peer.url()).signed(target.key);
            assert_error(&target.ask(&assertion), &["invalid_client"]);
            assert_eq!(peer.requests(), 0);
            target.right().header("jku", peer.url()).signed(target.key)
        });
    }

    #[test]
    fn a_url_of_a_certificate_is_never_fetched() {
        let server = Server::sqlite(&[ALLOW_LOOPBACK]);
        let smart = Smart::of(&server);
        let (key, trap) = (Key::rsa("own"), Trap::new());
        smart.client_with_keys("client", &jwks(&[&key]), "system/*.rs");
        let target = Target { smart: &smart, key: &key, id: "client" };
        let url = format!("http://127.0.0.1:{}/", trap.port());
        target.ask(&target.right().header("x5u", url.clone()).signed(&key));
        target.assert_refused(&target.right().header("x5u", url).signed(&Key::rsa("own")));
        trap.assert_untouched();
    }

    #[test]
    fn a_certificate_that_comes_along_proves_nothing() {
        refused(|target| target.right().header("x5c", json!(["MIIB"])).signed(&Key::ec("own")));
    }

    #[test]
    fn an_extension_that_must_be_understood_is_not() {
        refused_each([json!(["b64"]), json!(["x"]), json!([])], |target, crit| {
            target.right().header("crit", crit.clone()).header("x", 1).header("b64", false).signed(target.key)
        });
    }

    #[test]
    fn the_type_of_the_token_is_jwt() {
        let types =
            [json!("at+jwt"), json!("JWE"), json!("jwt+"), json!("logout+jwt"), json!(""), json!(1), json!(null)];
        refused_each(types, |target, typ| target.right().header("typ", typ.clone()).signed(target.key));
        refused(|target| target.right().without_header("typ").signed(target.key));
    }
}
