//! Tokens that are bound to a certificate (RFC 8705): who steals one cannot use it.

use reqwest::Identity;
use reqwest::blocking::Client;
use serde_json::Value;

use super::signing::{Key, b64, decoded, jwks};
use super::{Proof, REDIRECT, Smart, assert_error, plain, text_of};
use crate::harness::Server;
use crate::transport::certificates::{Issued, Pair};

/// A server with TLS of its own, and certificates of clients.
struct World {
    issued: Issued,
    server: Server,
    own: Pair,
    other: Pair,
}

impl World {
    fn new() -> Self {
        let issued = Issued::new();
        let server = Server::sqlite(&[
            ("PLUMBLINE_SERVER__TLS_CERT", issued.certificate_file()),
            ("PLUMBLINE_SERVER__TLS_KEY", issued.key_file()),
            ("PLUMBLINE_SERVER__TLS_CLIENT_CERTIFICATES", "optional"),
        ]);
        Self { issued, server, own: Pair::new("own", false, None), other: Pair::new("other", false, None) }
    }

    /// The server as somebody sees it who shows this certificate.
    fn seen_with(&self, shown: Option<&Pair>) -> Smart<'_> {
        Smart::through(&self.server, &self.server.base, self.client(shown))
    }

    fn client(&self, shown: Option<&Pair>) -> Client {
        let root = self.issued.root.certificate.to_pem().expect("PEM");
        let mut client = plain().add_root_certificate(reqwest::Certificate::from_pem(&root).expect("a root"));
        if let Some(pair) = shown {
            let (certificate, key) = (pair.certificate.to_pem(), pair.key.private_key_to_pem_pkcs8());
            let identity = Identity::from_pkcs8_pem(&certificate.expect("PEM"), &key.expect("PEM"));
            client = client.identity(identity.expect("a certificate with its key"));
        }
        client.build().expect("an HTTP client")
    }

    /// A file with the certificate of the client.
    fn file(&self) -> String {
        let file = self.server.data().join("client.pem");
        std::fs::write(&file, self.own.certificate.to_pem().expect("PEM")).expect("a file");
        file.to_str().expect("a path in UTF-8").to_owned()
    }

    fn thumbprint(&self) -> String {
        b64(self.own.certificate.digest(openssl::hash::MessageDigest::sha256()).expect("a digest"))
    }
}

#[test]
fn a_token_is_bound_to_the_certificate_of_its_client() {
    let world = World::new();
    let (with, without, other) =
        (world.seen_with(Some(&world.own)), world.seen_with(None), world.seen_with(Some(&world.other)));
    let key = Key::ec("own");
    let keys = world.server.data().join("keys.json");
    std::fs::write(&keys, jwks(&[&key]).to_string()).expect("a file");
    with.client(
        "system",
        &["--scope", "system/*.rs", "--jwks", keys.to_str().expect("a path"), "--certificate", &world.file()],
    );
    let proof = Proof::Key("system", &key);
    for stranger in [&without, &other] {
        assert_error(&stranger.backend(&proof, "system/*.rs"), &["invalid_client"]);
    }
    let token = with.backend_token(&proof, "system/*.rs");
    let (_, claims) = decoded(&token);
    assert_eq!(claims["cnf"]["x5t#S256"], world.thumbprint().as_str());
    assert!(with.is_accepted(&token));
    for stranger in [&without, &other] {
        for _ in 0..2 {
            let answer = stranger.fhir(&token, "Organization");
            assert_eq!(answer.status, 401, "{answer}");
        }
    }
    assert!(with.is_accepted(&token), "that others tried changes nothing");
    let known = with.prove("introspection_endpoint", &proof, &[("token", &token)]);
    assert_eq!(known.body["cnf"]["x5t#S256"], world.thumbprint().as_str(), "{known}");
    assert_error(&without.prove("revocation_endpoint", &proof, &[("token", &token)]), &["invalid_client"]);
    assert!(with.is_accepted(&token));
}

#[test]
fn a_secret_is_not_enough_where_a_certificate_is_registered() {
    let world = World::new();
    let (with, without, other) =
        (world.seen_with(Some(&world.own)), world.seen_with(None), world.seen_with(Some(&world.other)));
    let secret = with.client("system", &["--scope", "system/*.rs", "--secret", "--certificate", &world.file()]);
    let proof = Proof::Basic("system", &secret);
    for stranger in [&without, &other] {
        assert_error(&stranger.backend(&proof, "system/*.rs"), &["invalid_client"]);
    }
    assert_error(&with.backend(&Proof::Basic("system", "x"), "system/*.rs"), &["invalid_client"]);
    let token = with.backend_token(&proof, "system/*.rs");
    assert!(with.is_accepted(&token) && !without.is_accepted(&token));
}

#[test]
fn tokens_of_people_are_bound_as_well() {
    use super::browser::{Ask, Browser};
    let world = World::new();
    let (with, without) = (world.seen_with(Some(&world.own)), world.seen_with(None));
    with.client(
        "app",
        &["--scope", "offline_access user/*.rs", "--redirect-uri", REDIRECT, "--certificate", &world.file()],
    );
    with.user("ann", &[]);
    let (ask, proof) = (Ask::new(&without, "app", "offline_access user/*.rs"), Proof::Public("app"));
    // The browser of the user shows no certificate.
    let code = Browser::new().allow(&without, &ask, "ann").code();
    assert_error(&ask.exchange(&without, &proof, &code), &["invalid_client"]);
    let tokens = ask.exchange(&with, &proof, &code);
    let (access, refresh) = (text_of(&tokens, "access_token"), text_of(&tokens, "refresh_token"));
    assert!(with.is_accepted(&access) && !without.is_accepted(&access));
    assert_error(&without.refresh(&proof, &refresh, None), &["invalid_client"]);
    let renewed = text_of(&with.refresh(&proof, &refresh, None), "access_token");
    assert!(with.is_accepted(&renewed) && !without.is_accepted(&renewed));
}

#[test]
fn who_registered_no_certificate_may_show_one_or_not() {
    let world = World::new();
    let (with, without) = (world.seen_with(Some(&world.own)), world.seen_with(None));
    let key = Key::ec("own");
    with.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
    for asks in [&with, &without] {
        let token = asks.backend_token(&Proof::Key("system", &key), "system/*.rs");
        assert_eq!(decoded(&token).1.get("cnf"), None::<&Value>);
        assert!(with.is_accepted(&token) && without.is_accepted(&token));
    }
}

#[test]
fn a_certificate_alone_is_no_proof() {
    let world = World::new();
    let with = world.seen_with(Some(&world.own));
    let key = Key::ec("own");
    let keys = world.server.data().join("keys.json");
    std::fs::write(&keys, jwks(&[&key]).to_string()).expect("a file");
    with.client(
        "system",
        &["--scope", "system/*.rs", "--jwks", keys.to_str().expect("a path"), "--certificate", &world.file()],
    );
    for proof in [Proof::Public("system"), Proof::Key("system", &Key::ec("own")), Proof::None] {
        assert_error(&with.backend(&proof, "system/*.rs"), &["invalid_client"]);
    }
}

#[test]
fn what_is_declared_is_what_works() {
    let declared = |server: &Server, client: Client| {
        Smart::through(server, &server.base, client).document["tls_client_certificate_bound_access_tokens"] == true
    };
    let world = World::new();
    assert!(declared(&world.server, world.client(None)));
    let plain_server = Server::sqlite(&[]);
    assert!(!declared(&plain_server, plain().build().expect("a client")), "nobody is asked for a certificate here");
}

#[test]
fn what_is_no_certificate_is_not_registered() {
    let server = Server::sqlite(&[]);
    let file = server.data().join("wrong.pem");
    std::fs::write(&file, "x").expect("a file");
    let file = file.to_str().expect("a path");
    let output = super::run(
        &server,
        &["client", "add", "--id", "x", "--scope", "system/*.rs", "--secret", "--certificate", file],
        "",
    );
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--certificate"), "{output:?}");
}
