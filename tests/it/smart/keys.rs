//! The server's own keys: made once, sealed where others could read them, and the same for all nodes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::browser::granted;
use super::signing::{Key, is_verified, jwks, unb64};
use super::{Proof, SEAL, Smart, until};
use crate::harness::{Answer, Server};

/// One name for all nodes of a directory.
const NAME: (&str, &str) = ("PLUMBLINE_SERVER__BASE_URL", "http://localhost:1/fhir");

fn on_each(settings: &[(&str, &str)], check: impl Fn(Server)) {
    check(Server::sqlite(settings));
    if let Some(server) = Server::postgres(settings) {
        check(server);
    }
}

fn published(server: &Server) -> Value {
    let smart = Smart::of(server);
    Answer::of(smart.request("GET", smart.published("jwks_uri"))).body
}

fn key_file(server: &Server) -> std::path::PathBuf {
    server.data().join("auth.key")
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("a file").permissions().mode() & 0o777
}

/// What a server says that does not start.
fn refusal(server: &Server, environment: &[(&str, &str)]) -> String {
    server.kill();
    let mut command = server.command(&["serve", "--listen", "127.0.0.1:0"]);
    let log = tempfile::NamedTempFile::new().expect("a file");
    command
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.reopen().expect("a file"));
    let mut process = command.spawn().expect("it starts");
    let deadline = std::time::Instant::now() + super::PATIENCE;
    while process.try_wait().expect("a state").is_none() {
        if std::time::Instant::now() > deadline {
            process.kill().expect("it can be ended");
            break;
        }
        std::thread::yield_now();
    }
    let status = process.wait().expect("it ends");
    assert_eq!(status.code(), Some(2), "it does not serve");
    let said = fs::read_to_string(log.path()).expect("text");
    assert_eq!(said.trim().lines().count(), 1, "one sentence: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn the_key_is_made_for_its_owner_alone() {
    on_each(&[], |server| {
        assert_eq!(mode(&key_file(&server)), 0o600);
        let key = fs::read_to_string(key_file(&server)).expect("text");
        assert_eq!(STANDARD.decode(key.trim()).expect("base64").len(), 32);
    });
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let server = Server::sqlite(&[]);
    for open in [0o644, 0o640, 0o604, 0o660] {
        fs::set_permissions(key_file(&server), fs::Permissions::from_mode(open)).expect("changed");
        let said = refusal(&server, &[]);
        assert!(said.contains("auth.key") && said.contains("600"), "{said}");
    }
    fs::set_permissions(key_file(&server), fs::Permissions::from_mode(0o600)).expect("changed");
    let mut server = server;
    server.restart();
    assert_eq!(server.get("metadata").status, 200);
}

#[test]
fn another_key_than_the_one_that_sealed_is_refused() {
    on_each(&[], |server| {
        let right = fs::read_to_string(key_file(&server)).expect("text");
        let said = refusal(&server, &[SEAL]);
        assert!(said.contains("auth.key") && said.contains("PLUMBLINE_AUTH__KEY"), "{said}");
        assert!(!said.contains(SEAL.1) && !said.contains(right.trim()), "{said}");
        fs::write(key_file(&server), SEAL.1).expect("written");
        assert!(refusal(&server, &[]).contains("auth.key"));
        // A lost key is not made up for by a new one: that would end every token, and nobody would know why.
        fs::remove_file(key_file(&server)).expect("removed");
        assert!(refusal(&server, &[]).contains("auth.key"));
        fs::write(key_file(&server), right).expect("written");
        fs::set_permissions(key_file(&server), fs::Permissions::from_mode(0o600)).expect("changed");
        let mut server = server;
        server.restart();
        assert_eq!(server.get("metadata").status, 200);
    });
}

#[test]
fn what_is_no_key_is_refused() {
    let server = Server::sqlite(&[]);
    for wrong in ["x", "AAAA", "!!!!", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33]), ""] {
        let said = refusal(&server, &[("PLUMBLINE_AUTH__KEY", wrong)]);
        assert!(said.contains("auth.key") && said.contains("32 bytes"), "{said}");
        assert!(wrong.len() < 5 || !said.contains(wrong), "{said}");
    }
    fs::write(key_file(&server), "x").expect("written");
    assert!(refusal(&server, &[]).contains("auth.key"));
}

#[test]
fn the_keys_are_the_same_after_a_restart() {
    on_each(&[], |mut server| {
        let (before, token) = (published(&server), Smart::of(&server).token("system/*.rs", "1h"));
        server.restart();
        assert_eq!(published(&server), before);
        assert!(Smart::of(&server).is_accepted(&token));
        server.restart();
        assert_eq!(published(&server), before);
    });
}

#[test]
fn nodes_with_one_key_are_one_server() {
    on_each(&[SEAL, NAME], |server| {
        let other = server.second(&[]);
        assert_eq!(published(&server), published(&other));
        let (one, two) = (Smart::of(&server), Smart::of(&other));
        let key = Key::ec("own");
        one.client_with_keys("system", &jwks(&[&key]), "system/*.rs");
        one.app("app", "openid offline_access user/*.rs");
        one.user("ann", &[]);
        for (issues, accepts) in [(&one, &two), (&two, &one)] {
            let token = issues.backend_token(&Proof::Key("system", &key), "system/*.rs");
            assert!(accepts.is_accepted(&token));
            assert!(accepts.is_accepted(&issues.token("system/*.rs", "1h")));
            let tokens = granted(issues, "app", "openid offline_access user/*.rs", "ann");
            assert!(accepts.is_accepted(tokens["access_token"].as_str().expect("a token")));
            assert!(is_verified(tokens["id_token"].as_str().expect("a token"), &published(accepts.server)));
            // What one gave out the other exchanges, once.
            let refresh = tokens["refresh_token"].as_str().expect("a token");
            assert_eq!(accepts.refresh(&Proof::Public("app"), refresh, None).status, 200);
            assert_eq!(issues.refresh(&Proof::Public("app"), refresh, None).status, 400);
        }
    });
}

#[test]
fn a_node_that_comes_first_makes_the_keys_for_all() {
    let Some(server) = Server::postgres(&[SEAL, NAME]) else { return };
    let others: Vec<Server> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3).map(|_| scope.spawn(|| server.second(&[]))).collect();
        starts.into_iter().map(|started| started.join().expect("a server")).collect()
    });
    for other in &others {
        assert_eq!(published(other), published(&server));
    }
}

/// Whether a text holds these bytes in base64, whatever stands around them.
fn holds(text: &str, bytes: &[u8]) -> bool {
    let runs = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/-_".contains(c))).filter(|run| run.len() >= 40);
    // From each of four letters a run of base64 can begin.
    runs.flat_map(|run| (0..4).map(move |start| &run[start..run.len() - (run.len() - start) % 4])).any(|run| {
        let decoded = [STANDARD_NO_PAD.decode(run), URL_SAFE_NO_PAD.decode(run)];
        decoded.into_iter().flatten().any(|decoded| decoded.windows(bytes.len()).any(|window| window == bytes))
    })
}

#[test]
fn private_keys_are_not_in_the_database() {
    on_each(&[], |server| {
        let keys = published(&server);
        // A private key in any of the usual forms holds the public one as well.
        let numbers: Vec<Vec<u8>> = ["n", "x", "y"]
            .iter()
            .flat_map(|name| keys["keys"].as_array().expect("keys").iter().filter_map(|key| key[*name].as_str()))
            .map(unb64)
            .collect();
        assert_eq!(numbers.len(), 3, "one of RSA, two of EC");
        let stored = super::stored(&server);
        assert!(stored.contains("ES384") && stored.contains("RS256"), "this is where keys are kept");
        assert!(!stored.contains("PRIVATE KEY"));
        for number in &numbers {
            assert!(!holds(&stored, number), "a private key lies open");
            // That it would be found.
            for n in 0..3 {
                let around = [vec![0; 20 + n], number.clone(), vec![0; 20]].concat();
                assert!(holds(&format!("{{\"private\":\"{}\"}}", STANDARD.encode(&around)), number));
                assert!(holds(&format!("x {} y", URL_SAFE_NO_PAD.encode(&around)), number));
            }
        }
        let seal = fs::read_to_string(key_file(&server)).expect("text");
        assert!(!stored.contains(seal.trim()), "what seals them is elsewhere");
    });
}

#[test]
fn keys_that_are_replaced_stay_until_nothing_is_left_of_them() {
    on_each(&[("PLUMBLINE_AUTH__KEY_DAYS", "0")], |mut server| {
        let (before, token) = (published(&server), Smart::of(&server).token("system/*.rs", "1h"));
        server.restart();
        let after = published(&server);
        let kids = |keys: &Value| {
            keys["keys"].as_array().expect("keys").iter().map(|key| key["kid"].to_string()).collect::<Vec<_>>()
        };
        assert!(kids(&after).len() > kids(&before).len(), "there are new ones");
        assert!(kids(&before).iter().all(|kid| kids(&after).contains(kid)), "and the old ones");
        let smart = Smart::of(&server);
        assert!(smart.is_accepted(&token));
        let new = smart.token("system/*.rs", "1h");
        assert!(smart.is_accepted(&new) && is_verified(&new, &published(&server)));
    });
}

#[test]
fn a_command_beside_the_server_has_the_same_keys() {
    on_each(&[], |server| {
        let smart = Smart::of(&server);
        let token = smart.token("system/*.rs", "1h");
        assert!(is_verified(&token, &published(&server)));
        until("it is accepted", || smart.is_accepted(&token));
        fs::set_permissions(key_file(&server), fs::Permissions::from_mode(0o644)).expect("changed");
        let output = super::run(&server, &["token", "--scope", "system/*.rs"], "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("auth.key"), "{output:?}");
    });
}
