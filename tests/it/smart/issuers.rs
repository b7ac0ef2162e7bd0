//! Tokens of other authorization servers that the settings trust: as good as our own if they are for this server.

use serde_json::{Value, json};

use super::peer::Peer;
use super::signing::{Key, b64, hmac, jwks, jwt, unique, unix_now};
use super::{ALLOW_LOOPBACK, Smart, until};
use crate::harness::{Answer, Server};

const ISSUER: &str = "https://id.payer.example";
const AUDIENCE: &str = "https://directory.example/fhir";

/// A trusted server: its key, and where it publishes it.
struct Trusted {
    key: Key,
    peer: Peer,
}

impl Trusted {
    fn new(key: Key) -> Self {
        let peer = Peer::publishing(&jwks(&[&key]), "max-age=600");
        Self { key, peer }
    }

    /// A directory that trusts it; `more` are further members of the setting.
    fn directory(&self, more: &str) -> Server {
        let issuers =
            format!("[{{issuer=\"{ISSUER}\",jwks_url=\"{}\",audience=\"{AUDIENCE}\"{more}}}]", self.peer.url());
        Server::sqlite(&[ALLOW_LOOPBACK, ("PLUMBLINE_AUTH__ISSUERS", &issuers)])
    }

    fn header(&self) -> Value {
        json!({"alg": self.key.alg, "kid": self.key.kid, "typ": "at+jwt"})
    }

    fn claims(&self) -> Value {
        let now = unix_now();
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "client_id": "their-app", "iat": now, "exp": now + 300, "jti": unique(), "scope": "system/Organization.rs"})
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let alg = header["alg"].as_str().expect("an algorithm").to_owned();
        jwt(header, claims, |message| self.key.sign(&alg, message))
    }

    /// A right token with one claim changed.
    fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[name] = value;
        self.token(&self.header(), &claims)
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().expect("an object").shift_remove(name).expect("it was there");
        self.token(&self.header(), &claims)
    }

    /// A right token with one member of its header changed.
    fn headed(&self, name: &str, value: Value) -> String {
        let mut header = self.header();
        header[name] = value;
        self.token(&header, &self.claims())
    }
}

fn get(server: &Server, token: &str, path: &str) -> u16 {
    Answer::of(server.request("GET", path).bearer_auth(token)).status
}

fn assert_refused(server: &Server, token: &str, what: &str) {
    let answer = Answer::of(server.request("GET", "Organization").bearer_auth(token));
    assert_eq!(answer.status, 401, "{what}: {answer}");
}

#[test]
fn a_token_for_this_server_is_accepted_by_what_it_says() {
    for (key, algorithms) in
        [(Key::rsa("r"), &["RS256", "RS384", "RS512"][..]), (Key::ec("e"), &["ES384"]), (Key::p256("p"), &["ES256"])]
    {
        let trusted = Trusted::new(key);
        let server = trusted.directory("");
        for alg in algorithms {
            let token = trusted.headed("alg", json!(alg));
            assert_eq!(get(&server, &token, "Organization"), 200, "{alg}");
            assert_eq!(get(&server, &token, "Location"), 403, "{alg}: it was not granted");
        }
        for typ in ["at+jwt", "application/at+jwt"] {
            assert_eq!(get(&server, &trusted.headed("typ", json!(typ)), "Organization"), 200, "{typ}");
        }
        assert_eq!(get(&server, &trusted.with("aud", json!(["https://other.example", AUDIENCE])), "Organization"), 200);
        assert_eq!(trusted.peer.requests(), 1, "their keys are kept as long as they are good");
    }
}

#[test]
fn without_a_setting_the_audience_is_the_fhir_base() {
    let trusted = Trusted::new(Key::ec("own"));
    let issuers = format!("[{{issuer=\"{ISSUER}\",jwks_url=\"{}\"}}]", trusted.peer.url());
    let server = Server::sqlite(&[ALLOW_LOOPBACK, ("PLUMBLINE_AUTH__ISSUERS", &issuers)]);
    assert_eq!(get(&server, &trusted.with("aud", json!(server.base)), "Organization"), 200);
    assert_refused(&server, &trusted.with("aud", json!(AUDIENCE)), "for another server");
    assert_refused(&server, &trusted.with("aud", json!(format!("{}/", server.base))), "for almost this one");
}

#[test]
fn a_token_for_somebody_else_is_refused() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory("");
    assert_eq!(get(&server, &trusted.with("x", json!(1)), "Organization"), 200);
    for aud in [
        json!("https://other.example"),
        json!("their-app"),
        json!(""),
        json!([]),
        json!(["https://other.example"]),
        json!(null),
        json!(1),
        json!({AUDIENCE: 1}),
        json!(format!("{AUDIENCE}/")),
        json!(AUDIENCE.to_uppercase()),
    ] {
        assert_refused(&server, &trusted.with("aud", aud.clone()), &aud.to_string());
    }
    assert_refused(&server, &trusted.without("aud"), "for nobody");
}

#[test]
fn a_token_of_somebody_else_is_refused() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory("");
    for iss in [
        json!("https://other.example"),
        json!(format!("{ISSUER}/")),
        json!(ISSUER.to_uppercase()),
        json!(""),
        json!(null),
        json!([ISSUER]),
        json!(server.base),
    ] {
        assert_refused(&server, &trusted.with("iss", iss.clone()), &iss.to_string());
    }
    assert_refused(&server, &trusted.without("iss"), "of nobody");
    let stranger = Key::ec("own");
    let forged = jwt(&trusted.header(), &trusted.claims(), |message| stranger.sign("ES384", message));
    assert_refused(&server, &forged, "by another key");
}

#[test]
fn two_trusted_servers_do_not_speak_for_each_other() {
    let (one, two) = (Trusted::new(Key::ec("one")), Trusted::new(Key::ec("two")));
    let issuers = format!(
        "[{{issuer=\"{ISSUER}\",jwks_url=\"{}\",audience=\"{AUDIENCE}\"}},{{issuer=\"https://second.example\",jwks_url=\"{}\",audience=\"{AUDIENCE}\"}}]",
        one.peer.url(),
        two.peer.url()
    );
    let server = Server::sqlite(&[ALLOW_LOOPBACK, ("PLUMBLINE_AUTH__ISSUERS", &issuers)]);
    assert_eq!(get(&server, &one.with("x", json!(1)), "Organization"), 200);
    assert_eq!(get(&server, &two.with("iss", json!("https://second.example")), "Organization"), 200);
    assert_refused(&server, &two.with("x", json!(1)), "the second for the first");
    assert_refused(&server, &one.with("iss", json!("https://second.example")), "the first for the second");
}

#[test]
fn a_token_outside_its_time_is_refused() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory("");
    let now = unix_now();
    for (name, value) in [
        ("exp", json!(now - 70)),
        ("exp", json!(0)),
        ("exp", json!((now + 300).to_string())),
        ("exp", json!(null)),
        ("nbf", json!(now + 150)),
        ("nbf", json!("soon")),
    ] {
        assert_refused(&server, &trusted.with(name, value.clone()), &format!("{name} {value}"));
    }
    assert_refused(&server, &trusted.without("exp"), "without an end");
    assert_eq!(get(&server, &trusted.with("nbf", json!(now - 5)), "Organization"), 200);
}

#[test]
fn a_token_ends_though_it_was_accepted_before() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory("");
    // Of the minute by which clocks may differ, some seconds are left.
    let token = trusted.with("exp", json!(unix_now() - 52));
    assert_eq!(get(&server, &token, "Organization"), 200);
    until("it has ended", || get(&server, &token, "Organization") == 401);
}

#[test]
fn a_signature_that_proves_nothing_is_refused() {
    for key in [Key::rsa("own"), Key::ec("own")] {
        let trusted = Trusted::new(key);
        let server = trusted.directory("");
        let right = trusted.with("x", json!(1));
        assert_eq!(get(&server, &right, "Organization"), 200);
        let (header, claims) = (trusted.header(), trusted.claims());
        let named = |alg: &str| {
            let mut header = header.clone();
            header["alg"] = alg.into();
            header
        };
        for alg in ["HS256", "HS384", "HS512"] {
            for secret in trusted.key.public_forms() {
                assert_refused(&server, &jwt(&named(alg), &claims, |message| hmac(alg, &secret, message)), alg);
            }
        }
        for alg in ["none", "None", ""] {
            assert_refused(&server, &jwt(&named(alg), &claims, |_message| Vec::new()), alg);
        }
        let parts: Vec<&str> = right.split('.').collect();
        let mut more = claims.clone();
        more["scope"] = "system/*.cruds".into();
        assert_refused(&server, &format!("{}.{}.{}", parts[0], b64(more.to_string()), parts[2]), "changed");
        assert_refused(&server, &format!("{}.{}.", parts[0], parts[1]), "without a signature");
    }
}

#[test]
fn a_key_is_found_by_its_name() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory("");
    assert_eq!(get(&server, &trusted.with("x", json!(1)), "Organization"), 200);
    for kid in [json!("other"), json!(""), json!(null), json!(1), json!("../own"), json!("OWN")] {
        assert_refused(&server, &trusted.headed("kid", kid.clone()), &kid.to_string());
    }
    let mut header = trusted.header();
    header.as_object_mut().expect("an object").shift_remove("kid").expect("it was there");
    assert_refused(&server, &trusted.token(&header, &trusted.claims()), "without a kid");
    let stranger = Key::ec("own");
    let peer = Peer::publishing(&jwks(&[&stranger]), "max-age=600");
    for (name, value) in [("jwk", stranger.jwk()), ("jku", json!(peer.url())), ("x5u", json!(peer.url()))] {
        let mut header = trusted.header();
        header[name] = value;
        assert_refused(&server, &jwt(&header, &trusted.claims(), |message| stranger.sign("ES384", message)), name);
    }
    assert_eq!(peer.requests(), 0);
}

#[test]
fn what_says_who_somebody_is_opens_nothing() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory("");
    for typ in ["id_token+jwt", "id+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "JWE", "x"] {
        assert_refused(&server, &trusted.headed("typ", json!(typ)), typ);
    }
    // An id_token is for an app.
    let mut claims = trusted.claims();
    claims["aud"] = "their-app".into();
    claims["nonce"] = "x".into();
    assert_refused(
        &server,
        &trusted.token(&json!({"alg": "ES384", "kid": "own", "typ": "JWT"}), &claims),
        "an id_token",
    );
}

#[test]
fn their_scopes_mean_what_the_settings_say() {
    let trusted = Trusted::new(Key::ec("own"));
    let server =
        trusted.directory(",scopes={\"directory.read\"=\"system/Organization.rs\",reader=\"system/Location.rs\"}");
    let with = |scope: &str| trusted.with("scope", json!(scope));
    for (scope, organizations, locations) in [
        ("directory.read", 200, 403),
        ("something directory.read", 200, 403),
        ("directory.read reader", 200, 200),
        ("something", 403, 403),
        // Only what is listed counts, even if it looks like a scope of ours.
        ("system/*.cruds", 403, 403),
        ("directory", 403, 403),
        ("DIRECTORY.READ", 403, 403),
    ] {
        assert_eq!(
            (get(&server, &with(scope), "Organization"), get(&server, &with(scope), "Location")),
            (organizations, locations),
            "{scope}"
        );
    }
    assert_eq!(get(&server, &trusted.without("scope"), "Organization"), 403);
}

#[test]
fn scopes_may_be_a_list_in_a_claim_of_another_name() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory(",scope_claim=\"scp\"");
    assert_eq!(get(&server, &trusted.with("scp", json!(["x", "system/Location.rs"])), "Location"), 200);
    assert_eq!(get(&server, &trusted.with("scp", json!("x system/Location.rs")), "Location"), 200);
    for scp in [json!([]), json!([1]), json!(1), json!({"system/Location.rs": 1}), json!(null)] {
        assert!(matches!(get(&server, &trusted.with("scp", scp.clone()), "Location"), 401 | 403), "{scp}");
    }
    assert_eq!(get(&server, &trusted.with("x", json!(1)), "Organization"), 403, "the usual claim does not count");
}

#[test]
fn nobody_from_elsewhere_is_an_administrator() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory(",organization_claim=\"organization\"");
    let write = |token: &str, id: &str| {
        let body = json!({"resourceType": "Organization", "id": id, "name": "x"});
        let request = server.request("PUT", &format!("Organization/{id}")).bearer_auth(token);
        Answer::of(request.header("content-type", "application/fhir+json").body(body.to_string())).status
    };
    for id in ["own", "other"] {
        assert_eq!(
            server
                .put(&format!("Organization/{id}"), &json!({"resourceType": "Organization", "id": id, "name": "y"}))
                .status,
            201
        );
    }
    let with = |claims: &[(&str, &str)]| {
        let mut all = trusted.claims();
        all["scope"] = "user/*.cruds".into();
        for (name, value) in claims {
            all[*name] = (*value).into();
        }
        trusted.token(&trusted.header(), &all)
    };
    for claims in [
        &[("organization", "admin")][..],
        &[("fhirUser", "admin")],
        &[("fhirUser", "Practitioner/1"), ("organization", "admin")],
        &[("role", "admin"), ("account", "x"), ("fhirUser", "Practitioner/1")],
        &[("fhirUser", "https://other.example/fhir/Organization/own")],
        &[("fhirUser", "Practitioner/1"), ("organization", "https://other.example/fhir/Organization/own")],
    ] {
        assert_eq!(write(&with(claims), "own"), 403, "{claims:?}");
    }
    let own = with(&[("fhirUser", "Practitioner/1"), ("organization", "Organization/own")]);
    assert_eq!((write(&own, "own"), write(&own, "other")), (200, 403));
}

#[test]
fn new_keys_count_without_a_restart_and_old_ones_no_more() {
    let trusted = Trusted::new(Key::ec("old"));
    trusted.peer.publish(&jwks(&[&trusted.key]), "max-age=0");
    let server = trusted.directory("");
    let old = trusted.with("x", json!(1));
    assert_eq!(get(&server, &old, "Organization"), 200);
    let next = Trusted { key: Key::ec("new"), peer: Peer::silent() };
    trusted.peer.publish(&jwks(&[&next.key]), "max-age=0");
    assert_eq!(get(&server, &next.with("x", json!(2)), "Organization"), 200);
    assert_refused(&server, &trusted.with("x", json!(3)), "by a key that is gone");
}

#[test]
fn where_keys_cannot_be_fetched_nobody_is_let_in() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory("");
    let status = |answer: &str| {
        trusted.peer.answer(answer.to_owned());
        get(&server, &trusted.with("jti", json!(unique())), "Organization")
    };
    for answer in [
        "",
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
        "x",
    ] {
        assert!(matches!(status(answer), 401 | 503), "{answer}");
    }
    trusted.peer.publish(&jwks(&[&trusted.key]), "max-age=600");
    until("they are there, and it works", || get(&server, &trusted.with("x", json!(1)), "Organization") == 200);
    // Its own tokens do not depend on others.
    assert_eq!(get(&server, &Smart::of(&server).token("system/*.rs", "1h"), "Organization"), 200);
}

#[test]
fn their_tokens_do_not_stand_in_for_ours_elsewhere() {
    let trusted = Trusted::new(Key::ec("own"));
    let server = trusted.directory("");
    let smart = Smart::of(&server);
    let checker = smart.token("api/token.read", "1h");
    let theirs = trusted.with("x", json!(1));
    let answer = smart.post_as("introspection_endpoint", Some(&format!("Bearer {checker}")), &[("token", &theirs)]);
    assert_eq!(answer.body, json!({"active": false}), "who issued it knows more about it");
}
