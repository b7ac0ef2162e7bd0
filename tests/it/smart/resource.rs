//! Access tokens where they are used (RFC 6750; RFC 9068): only what this server signed, for itself, for now, is one.

use plumbline::auth::jwt::SigningKey;
use plumbline::auth::keys::{ACCESS, ID, Keys, Seal};
use plumbline::fhir::types::Instant;
use plumbline::store::{Limits, Store};
use serde_json::{Value, json};

use super::browser::granted;
use super::signing::{Key, b64, decoded, hmac, jwt, unb64, unique, unix_now};
use super::{Smart, basic, until};
use crate::harness::{Answer, Server, on_both};

/// The keys with which a server signs access tokens and id_tokens, as only who has its database and its seal can get them.
fn signing_keys(server: &Server) -> (SigningKey, SigningKey) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&server.store_url(), Limits::default()).await.expect("the database");
        let seal = Seal::open(None, server.data()).expect("the seal");
        let now = Instant(unix_now() * 1_000_000);
        let keys = Keys::open(&store, seal, 90, now).await.expect("the keys");
        let ring = keys.ring();
        let key = |algorithm| ring.signing(algorithm, now).expect("a key").clone();
        (key(ACCESS), key(ID))
    })
}

/// Claims as this server makes them.
fn claims(server: &Server) -> Value {
    let now = unix_now();
    json!({
        "iss": server.base, "aud": server.base, "sub": "x", "iat": now, "exp": now + 300, "jti": unique(), "scope": "system/*.rs"})
}

/// A refusal that tells a client what it lacks (RFC 6750, 3).
fn assert_unauthorized(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {answer}");
    assert_eq!(answer.body["resourceType"], "OperationOutcome", "{what}: {answer}");
    assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")), "{what}: {answer:?}");
}

on_both! {
    fn a_token_that_this_server_did_not_sign_is_refused(server) {
        let smart = Smart::of(server);
        let right = smart.token("system/*.rs", "1h");
        assert_eq!(smart.fhir(&right, "Organization").status, 200);
        let (header, claims) = decoded(&right);
        let stranger = Key::ec(header["kid"].as_str().expect("a kid"));
        let keys = Answer::of(smart.request("GET", smart.published("jwks_uri"))).body;
        let own = keys["keys"].as_array().expect("keys").iter().find(|key| key["alg"] == "ES384").expect("a key").clone();
        let with = |name: &str, value: Value| { let mut header = header.clone(); header[name] = value; header };
        let mut forged = vec![
            ("without a signature", jwt(&with("alg", json!("none")), &claims, |_message| Vec::new())),
            ("of another key", jwt(&header, &claims, |message| stranger.sign("ES384", message))),
            ("with its own key", jwt(&with("jwk", stranger.jwk()), &claims, |message| stranger.sign("ES384", message))),
            ("of zeros", jwt(&header, &claims, |_message| vec![0; 96])),
        ];
        for secret in [own.to_string().into_bytes(), unb64(own["x"].as_str().expect("x")), own["x"].as_str().expect("x").as_bytes().to_vec(), Vec::from(*b"x")] {
            for alg in ["HS256", "HS384"] {
                forged.push(("by a shared secret", jwt(&with("alg", json!(alg)), &claims, |message| hmac(alg, &secret, message))));
            }
        }
        let parts: Vec<&str> = right.split('.').collect();
        let mut more = claims.clone();
        more["scope"] = "system/*.cruds".into();
        forged.extend([
            ("with another payload", format!("{}.{}.{}", parts[0], b64(more.to_string()), parts[2])),
            ("with another header", format!("{}.{}.{}", b64(with("x", json!(1)).to_string()), parts[1], parts[2])),
            ("without its signature", format!("{}.{}.", parts[0], parts[1])),
            ("cut", right[..right.len() - 4].to_owned()),
            ("nonsense", "x".to_owned()),
            ("of 10 kB", format!("{}.{}.{}", parts[0], b64(vec![b'x'; 10_000]), parts[2])),
        ]);
        for (what, token) in forged {
            assert_unauthorized(&smart.fhir(&token, "Organization"), what);
        }
        assert_eq!(smart.fhir(&right, "Organization").status, 200);
    }

    fn a_token_that_says_something_else_is_refused_though_this_server_signed_it(server) {
        let smart = Smart::of(server);
        let (access, id) = signing_keys(server);
        let signed = |kind: &str, claims: &Value| access.sign(kind, claims).expect("a token");
        let right = claims(server);
        assert_eq!(smart.fhir(&signed("at+jwt", &right), "Organization").status, 200, "as it should be it is accepted");
        let with = |name: &str, value: Value| { let mut claims = right.clone(); claims[name] = value; claims };
        let without = |name: &str| { let mut claims = right.clone(); claims.as_object_mut().expect("an object").shift_remove(name); claims };
        let now = unix_now();
        for (what, spoilt) in [
            ("for another server", with("aud", json!("https://other.example/fhir"))),
            ("for an app", with("aud", json!("app"))),
            ("for nobody", without("aud")),
            ("of another server", with("iss", json!("https://other.example/fhir"))),
            ("of nobody", without("iss")),
            ("over", with("exp", json!(now - 1))),
            ("over for long", with("exp", json!(1))),
            ("without an end", without("exp")),
            ("with an end as text", with("exp", json!((now + 300).to_string()))),
        ] {
            assert_unauthorized(&smart.fhir(&signed("at+jwt", &spoilt), "Organization"), what);
        }
        for kind in ["JWT", "", "id_token+jwt", "AT+JWTX"] {
            assert_unauthorized(&smart.fhir(&signed(kind, &right), "Organization"), kind);
        }
        assert_unauthorized(&smart.fhir(&id.sign("at+jwt", &right).expect("a token"), "Organization"), "by the key of id_tokens");
    }

    fn a_token_that_is_not_valid_yet_is_refused_though_this_server_signed_it(server) {
        let (access, _) = signing_keys(server);
        let mut early = claims(server);
        early["nbf"] = (unix_now() + 3_600).into();
        assert_unauthorized(&Smart::of(server).fhir(&access.sign("at+jwt", &early).expect("a token"), "Organization"), "not valid yet");
    }

    fn an_id_token_opens_nothing(server) {
        let smart = Smart::of(server);
        smart.app("app", "openid fhirUser user/*.rs");
        smart.user("ann", &[]);
        let tokens = granted(&smart, "app", "openid fhirUser user/*.rs", "ann");
        assert_eq!(smart.fhir(tokens["access_token"].as_str().expect("a token"), "Organization").status, 200);
        assert_unauthorized(&smart.fhir(tokens["id_token"].as_str().expect("a token"), "Organization"), "an id_token");
    }

    fn a_token_ends_in_time(server) {
        let smart = Smart::of(server);
        let token = smart.token("system/*.rs", "6s");
        assert_eq!(smart.fhir(&token, "Organization").status, 200);
        until("it has ended", || !smart.is_accepted(&token));
        assert_unauthorized(&smart.fhir(&token, "Organization"), "over");
        let short = smart.token("system/*.rs", "1s");
        until("it has ended", || !smart.is_accepted(&short));
    }

    fn a_token_of_another_directory_is_refused(server) {
        let other = Server::sqlite(&[]);
        let token = Smart::of(&other).token("system/*.rs", "1h");
        assert_eq!(Smart::of(&other).fhir(&token, "Organization").status, 200);
        assert_unauthorized(&Smart::of(server).fhir(&token, "Organization"), "of another directory");
    }
}

#[test]
fn a_token_is_in_the_header_and_nowhere_else() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let token = smart.token("system/*.rs", "1h");
    for query in [
        format!("Organization?access_token={token}"),
        format!("Organization?name=x&access_token={token}"),
        format!("metadata?access_token={token}"),
        "Organization?access_token=".to_owned(),
        format!("Organization?%61ccess_token={token}"),
    ] {
        let answer = server.get(&query);
        assert_eq!(answer.status, 400, "{query}: {answer}");
        assert!(!answer.text.contains(&token), "{answer}");
    }
    let form =
        server.request("POST", "Organization/_search").header("content-type", "application/x-www-form-urlencoded");
    let answer = Answer::of(form.body(format!("access_token={token}")));
    assert!(!answer.text.contains(&token), "{answer}");
}

#[test]
fn a_request_has_one_token() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let token = smart.token("system/*.rs", "1h");
    let bearer = format!("Bearer {token}");
    for second in [bearer.as_str(), "Bearer x", "Basic x", ""] {
        let request =
            server.request("GET", "Organization").header("authorization", &bearer).header("authorization", second);
        let answer = Answer::of(request);
        assert!(matches!(answer.status, 400 | 401), "{second}: {answer}");
    }
    for wrong in [
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer {token},"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        token.clone(),
        format!("bearer{token}"),
    ] {
        let answer = Answer::of(server.request("GET", "Organization").header("authorization", &wrong));
        assert_unauthorized(&answer, &wrong);
    }
    for right in [format!("bearer {token}"), format!("BEARER {token}")] {
        assert_eq!(Answer::of(server.request("GET", "Organization").header("authorization", &right)).status, 200);
    }
}

#[test]
fn a_secret_is_for_the_token_endpoint() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let secret = smart.client("system", &["--scope", "system/*.cruds", "--secret"]);
    for header in [basic("system", &secret), basic("ann", "x"), "Digest x".to_owned(), "Negotiate x".to_owned()] {
        let answer = Answer::of(server.request("GET", "Organization").header("authorization", header));
        assert_unauthorized(&answer, "another scheme");
    }
}

#[test]
fn who_shows_a_wrong_token_is_not_treated_as_nobody() {
    let server = Server::sqlite(&[]);
    // Everybody may read, and in this test write; with a wrong token nobody may.
    assert_eq!(server.get("Organization").status, 200);
    for (method, path) in [
        ("GET", "Organization"),
        ("GET", "Organization/x"),
        ("GET", "_history"),
        ("POST", "Organization"),
        ("DELETE", "Organization/x"),
        ("GET", "ValueSet/$expand?url=x"),
    ] {
        let request = server.request(method, path).bearer_auth("x").header("content-type", "application/fhir+json");
        assert_unauthorized(&Answer::of(request.body("{\"resourceType\":\"Organization\"}")), path);
    }
}

#[test]
fn what_a_token_opens_is_kept_by_no_cache() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    let token = smart.token("system/*.rs", "1h");
    for path in ["Organization", "metadata"] {
        let answer = smart.fhir(&token, path);
        assert!(
            answer.header("cache-control").is_some_and(|it| it.contains("no-store") || it.contains("private")),
            "{answer:?}"
        );
    }
}

#[test]
fn a_command_makes_no_token_that_it_should_not() {
    let server = Server::sqlite(&[]);
    for arguments in [
        &["token", "--scope", "nonsense"][..],
        &["token", "--scope", ""],
        &["token", "--scope", "system/*.rs", "--ttl", "0s"],
        &["token", "--scope", "system/*.rs", "--ttl", "1000d"],
        &["token", "--scope", "system/*.rs", "--ttl", "x"],
    ] {
        let output = super::run(&server, arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
    }
}
