//! The server speaks TLS, only as it is safe, and says what is wrong with its files.

use std::process::Stdio;

use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use serde_json::json;

use super::certificates::{Issued, Pair};
use super::{TLS_CERT, TLS_KEY, address, connect, get, over_tls, trusting};
use crate::harness::{Answer, Server};

/// A client that trusts the root of these certificates, and nobody else.
fn strict(issued: &Issued) -> openssl::ssl::SslConnectorBuilder {
    let mut client = SslConnector::builder(SslMethod::tls_client()).expect("a client");
    client.cert_store_mut().add_cert(issued.root.certificate.clone()).expect("a root");
    client
}

#[test]
fn clients_that_trust_the_root_are_served() {
    let issued = Issued::new();
    let server = over_tls(&issued, &[]);
    assert!(server.base.starts_with("https://127.0.0.1:"), "{}", server.base);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut client = strict(&issued);
        client.set_min_proto_version(Some(version)).expect("a version");
        client.set_max_proto_version(Some(version)).expect("a version");
        let stream = connect(address(&server), client).expect("a connection");
        assert_eq!(stream.ssl().version2(), Some(version));
        let answer = get(stream, "/fhir/metadata");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("CapabilityStatement"), "{answer:.300}");
    }
    let answer = get(connect(address(&server), strict(&issued)).expect("a connection"), "/fhir/Organization");
    assert!(answer.contains("\"url\":\"https://localhost/fhir/Organization\""), "links are https: {answer}");
    let root = reqwest::Certificate::from_pem(&issued.root.certificate.to_pem().expect("PEM")).expect("a root");
    let client = reqwest::blocking::Client::builder().no_proxy().add_root_certificate(root).build().expect("a client");
    let created = Answer::of(
        client
            .post(format!("{}/Organization", server.base))
            .header("content-type", "application/fhir+json")
            .body(json!({"resourceType": "Organization", "active": true, "name": "Acme"}).to_string()),
    );
    assert_eq!(created.status, 201, "{created}");
    assert!(created.header("location").is_some_and(|location| location.starts_with(&server.base)), "{created:?}");
    let other = Issued::new();
    connect(address(&server), strict(&other)).expect_err("a client that trusts another root");
}

#[test]
fn plain_http_gets_no_answer_from_tls() {
    let issued = Issued::new();
    let server = over_tls(&issued, &[]);
    let plain = server.request("GET", &server.base.replace("https://", "http://")).send();
    assert!(plain.is_err(), "{plain:?}");
}

#[test]
fn old_versions_and_weak_ciphers_are_refused() {
    let issued = Issued::new();
    let server = over_tls(&issued, &[]);
    for version in [SslVersion::TLS1, SslVersion::TLS1_1] {
        let mut client = trusting();
        client.set_cipher_list("ALL:@SECLEVEL=0").expect("ciphers");
        client.set_min_proto_version(Some(version)).expect("a version");
        client.set_max_proto_version(Some(version)).expect("a version");
        let said = connect(address(&server), client).expect_err("too old");
        assert!(said.contains("protocol version"), "the server says why: {said}");
    }
    for (ciphers, is_taken) in [
        ("ECDHE-ECDSA-AES128-SHA", false),
        ("AES128-SHA:AES256-SHA:AES128-GCM-SHA256", false),
        ("ALL:!ECDHE:!DHE", false),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", true),
    ] {
        let mut client = trusting();
        client.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("a version");
        client.set_cipher_list(&format!("{ciphers}:@SECLEVEL=0")).expect("ciphers");
        let connected = connect(address(&server), client);
        assert_eq!(connected.is_ok(), is_taken, "{ciphers}: {:?}", connected.err());
    }
}

#[test]
fn client_and_server_agree_on_a_protocol() {
    let issued = Issued::new();
    let server = over_tls(&issued, &[]);
    for (offered, chosen) in [
        (&b"\x08http/1.1\x02h2"[..], Some(&b"h2"[..])),
        (b"\x02h2", Some(b"h2")),
        (b"\x08http/1.1", Some(b"http/1.1")),
        (b"\x03ftp\x08http/1.1", Some(b"http/1.1")),
        (b"\x08http/1.0", Some(b"http/1.0")),
        (b"", None),
    ] {
        let mut client = trusting();
        if !offered.is_empty() {
            client.set_alpn_protos(offered).expect("protocols");
        }
        let stream = connect(address(&server), client).expect("a connection");
        assert_eq!(stream.ssl().selected_alpn_protocol(), chosen, "{offered:?}");
    }
    let mut client = trusting();
    client.set_alpn_protos(b"\x03ftp").expect("protocols");
    connect(address(&server), client).expect_err("a client that means another server");
}

#[test]
fn a_client_may_show_a_certificate_of_its_own() {
    let issued = Issued::new();
    let server = over_tls(&issued, &[("PLUMBLINE_SERVER__TLS_CLIENT_CERTIFICATES", "optional")]);
    let own = Pair::new("a client", false, None);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for shows_one in [false, true] {
            let mut client = trusting();
            client.set_max_proto_version(Some(version)).expect("a version");
            if shows_one {
                client.set_certificate(&own.certificate).expect("a certificate");
                client.set_private_key(&own.key).expect("a key");
            }
            let answer = get(connect(address(&server), client).expect("a connection"), "/fhir/metadata");
            assert!(answer.starts_with("HTTP/1.1 200"), "{version:?}, {shows_one}: {answer:.300}");
        }
    }
}

/// What a server says that must not start, in one sentence and with exit code 2.
fn refused(server: &Server, settings: &[(&str, &str)]) -> String {
    let mut command = server.command(&["serve", "--listen", "127.0.0.1:0"]);
    let output = command.envs(settings.iter().copied()).stdin(Stdio::null()).output().expect("it runs");
    let said = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{settings:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{settings:?}: {output:?}");
    assert!(said.starts_with("plumbline: ") && said.lines().count() == 1, "{settings:?}: one sentence, not {said}");
    said
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let server = Server::sqlite(&[]);
    server.kill();
    let issued = Issued::new();
    let (certificate, key) = (issued.certificate_file(), issued.key_file());
    let missing = issued.path("missing.pem");
    let missing = missing.to_str().expect("a path in UTF-8");
    for (certificate, key, named) in [
        (missing, key, missing),
        (certificate, missing, missing),
        (key, key, "no certificate in PEM"),
        (certificate, certificate, "no private key in PEM"),
    ] {
        let said = refused(&server, &[(TLS_CERT, certificate), (TLS_KEY, key)]);
        assert!(said.contains(named) && said.contains("server.tls_"), "{said}");
    }
    for (certificate, key, named) in [(Some(certificate), None, "server.tls_key"), (None, Some(key), "server.tls_cert")]
    {
        let settings: Vec<_> = [(TLS_CERT, certificate), (TLS_KEY, key)]
            .into_iter()
            .filter_map(|(name, file)| Some((name, file?)))
            .collect();
        assert!(refused(&server, &settings).contains(named));
    }
    let both = [(TLS_CERT, certificate), (TLS_KEY, key)];
    let said = refused(&server, &[&both[..], &[("PLUMBLINE_SERVER__BASE_URL", "http://localhost/fhir")]].concat());
    assert!(said.contains("server.base_url"), "{said}");
    let said = refused(&server, &[("PLUMBLINE_SERVER__TLS_CLIENT_CERTIFICATES", "optional")]);
    assert!(said.contains("server.tls_cert"), "{said}");
    issued.lock();
    let said = refused(&server, &both);
    assert!(said.contains(key) && said.contains("passphrase"), "{said}");
    issued.write(&[&issued.own], &Pair::new("other", false, None));
    let said = refused(&server, &both);
    assert!(said.contains(key) && said.contains(certificate) && said.contains("does not belong"), "{said}");
    issued.write(&[&issued.root, &issued.own], &issued.own);
    let said = refused(&server, &both);
    assert!(said.contains("own certificate first"), "{said}");
}

#[test]
fn the_command_line_names_the_files_too() {
    let issued = Issued::new();
    let server = Server::sqlite(&[]);
    server.kill();
    let files = ["--tls-cert", issued.certificate_file(), "--tls-key", issued.key_file()];
    let mut command = server.command(&[&["serve", "--listen", "127.0.0.1:0"][..], &files].concat());
    let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut output = std::io::BufReader::new(process.stdout.take().expect("its output"));
    let mut first = String::new();
    std::io::BufRead::read_line(&mut output, &mut first).expect("its first line");
    let address = first.trim().strip_prefix("https://").expect("https");
    let answer = get(connect(address, trusting()).expect("a connection"), "/health/live");
    process.kill().expect("it can be killed");
    process.wait().expect("it ends");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
