//! Nobody but this machine reaches the server, unless clients come by https; and it says so.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::Server;
use crate::harness::sockets::{listening, port};

use super::raw;

/// Starts `plumbline serve` with an address that it must refuse; what it says on standard error.
fn refused(address: &str) -> String {
    refused_with(address, &[])
}

fn refused_with(address: &str, settings: &[(&str, &str)]) -> String {
    let data = TempDir::new().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_plumbline"));
    let output = command
        .args(["serve", "--listen", address, "--data"])
        .arg(data.path())
        .current_dir(data.path())
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{address}: {output:?}");
    assert!(output.stdout.is_empty(), "{address}: {output:?}");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.starts_with("plumbline: ") && said.lines().count() == 1, "{address}: one sentence, not {said}");
    assert_eq!(
        std::fs::read_dir(data.path()).expect("a folder").count(),
        0,
        "{address}: nothing is made before it is refused"
    );
    said
}

#[test]
fn an_address_that_others_reach_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "10.1.2.3:0", "192.168.0.1:8080", "[2001:db8::1]:0", "0:0"] {
        let said = refused(address);
        let is_explained = ["other machines", "127.0.0.1", "server.base_url"].iter().all(|words| said.contains(words));
        assert!(is_explained, "{address}: {said}");
    }
    for address in [
        "",
        ":",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "nonsense.invalid:0",
        "http://127.0.0.1:0",
    ] {
        let said = refused(address);
        assert!(said.contains("address") || said.contains("other machines"), "{address}: {said}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    assert!(refused(&address).contains(&address));
}

#[test]
fn it_listens_on_loopback_only() {
    let server = Server::sqlite(&[]);
    let sockets = listening(server.pid().expect("it runs"));
    let (_, port) = raw::address(&server).rsplit_once(':').expect("a port");
    let port: u16 = port.parse().expect("a port");
    assert_eq!(sockets, [format!("0100007F:{port:04X}")]);
}

#[test]
fn it_says_that_it_listens_on_loopback_only() {
    let server = Server::sqlite(&[]);
    server.kill();
    for address in ["127.0.0.1:0", "localhost:0", "127.0.0.2:0"] {
        let mut process =
            server.command(&["serve", "--listen", address]).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines: Vec<String> =
            BufReader::new(process.stdout.take().expect("its output")).lines().map_while(Result::ok).take(5).collect();
        process.kill().expect("it can be killed");
        process.wait().expect("it ends");
        assert!(lines[0].starts_with(&format!("http://{}", address.trim_end_matches('0'))), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.contains("loopback") && line.contains("only on this machine")),
            "{lines:?}"
        );
    }
}

/// The first line of a server with settings, and what it answers to requests with `Host`s on paths.
fn answers(listen: &str, settings: &[(&str, &str)], asked: &[(&str, &str)]) -> (String, Vec<u16>, Vec<String>) {
    let server = Server::sqlite(&[]);
    server.kill();
    let mut process = server
        .command(&["serve", "--listen", listen])
        .envs(settings.iter().copied())
        // Nobody writes without a token where others come.
        .env_remove("PLUMBLINE_AUTH__ANONYMOUS_SCOPE")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines: Vec<String> =
        BufReader::new(process.stdout.take().expect("its output")).lines().map_while(Result::ok).take(5).collect();
    let (sockets, port) = (listening(process.id()), port(process.id()));
    let statuses = asked.iter().map(|(host, path)| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw::exchange_with(&format!("127.0.0.1:{port}"), head.as_bytes(), b"").status
    });
    let statuses = statuses.collect();
    process.kill().expect("it can be killed");
    process.wait().expect("it ends");
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    let said = lines.last().expect("a last line");
    assert_eq!(said.contains("only on this machine"), !sockets[0].starts_with("00000000"), "{lines:?}");
    (lines[0].clone(), statuses, sockets)
}

const BASE_URL: &str = "PLUMBLINE_SERVER__BASE_URL";

#[test]
fn base_url_names_a_host_that_is_answered() {
    let (first, statuses, _) = answers(
        "127.0.0.1:0",
        &[(BASE_URL, "https://directory.example/fhir")],
        &["directory.example", "Directory.Example", "localhost", "other.example", "directory.example.other"]
            .map(|host| (host, "/fhir/metadata")),
    );
    assert_eq!(first, "https://directory.example");
    assert_eq!(statuses, [200, 200, 200, 403, 403]);
}

#[test]
fn with_https_before_it_other_machines_reach_it() {
    let (first, statuses, sockets) = answers(
        "0.0.0.0:0",
        &[(BASE_URL, "https://directory.example:8443/fhir/")],
        &[
            ("directory.example:8443", "/fhir/metadata"),
            ("directory.example", "/fhir/metadata"),
            ("10.0.0.1", "/fhir/metadata"),
            ("10.0.0.1", "/health"),
            ("10.0.0.1", "/health/other"),
        ],
    );
    assert_eq!(first, "https://directory.example:8443");
    assert_eq!(statuses, [200, 403, 403, 403, 403]);
    assert!(sockets[0].starts_with("00000000:"), "{sockets:?}");
}

#[test]
fn health_is_answered_under_any_name() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let (_, statuses, _) = answers(
            listen,
            &[(BASE_URL, "https://directory.example/fhir")],
            &[
                ("10.0.0.1:8080", "/health/live"),
                ("evil.example", "/health/ready"),
                ("evil.example", "/health/live?x=/fhir"),
                ("evil.example", "/health/live/../../fhir/metadata"),
            ],
        );
        assert_eq!(statuses, [200, 200, 200, 403]);
    }
}

#[test]
fn without_https_other_machines_are_kept_out() {
    for (url, what) in [
        ("http://directory.example/fhir", "other machines"),
        ("https://directory.example", "ends in /fhir"),
        ("directory.example/fhir", "ends in /fhir"),
    ] {
        let said = refused_with("0.0.0.0:0", &[(BASE_URL, url)]);
        assert!(said.contains(what) && said.contains("server.base_url") && said.contains("https://"), "{url}: {said}");
    }
}
