//! A full disk and a lost database: 503 meanwhile, and afterwards as if nothing had been.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Server, postgres};

use super::{check_refusal, until};

/// Time in which a server must serve again.
const RECOVERY: Duration = Duration::from_secs(20);

fn organization(id: &str, name: &str) -> Value {
    json!({"resourceType": "Organization", "id": id, "name": name})
}

fn check_unavailable(answer: &Answer, what: &str) {
    check_refusal(answer, &[503], what);
    assert!(answer.header("retry-after").is_some(), "{what}: {answer:?}");
}

/// Sets how long the files of a process may grow, as `ulimit -f` does: what comes close to a full disk without a disk.
fn limit_files(server: &Server, bytes: &str) {
    let pid = server.pid().expect("it runs").to_string();
    let done = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")])
        .status()
        .expect("prlimit runs");
    assert!(done.success(), "prlimit --fsize={bytes}");
}

/// Writes until one is refused; the ids of those that were not.
fn fill(server: &Server, prefix: &str) -> Vec<String> {
    let mut stored = Vec::new();
    let filler = "x".repeat(20_000);
    for n in 0..2_000 {
        let id = format!("{prefix}{n}");
        let mut body = organization(&id, &id);
        body["alias"] = json!([filler]);
        let answer = server.put(&format!("Organization/{id}"), &body);
        if answer.status != 201 {
            check_unavailable(&answer, "a write on a full disk");
            return stored;
        }
        stored.push(id);
    }
    panic!("the disk does not fill")
}

#[test]
fn a_full_disk_is_answered_503_and_room_is_used_again() {
    let mut server = Server::sqlite(&[]);
    assert_eq!(server.put("Organization/first", &organization("first", "first")).status, 201);
    let mut stored = vec!["first".to_owned()];
    for round in 0..3 {
        limit_files(&server, &(1_500_000 + 500_000 * round).to_string());
        stored.extend(fill(&server, &format!("r{round}n")));
        // Many at once: a group of writes of which one or all fail.
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|n| {
                    let server = &server;
                    let mut body = organization(&format!("r{round}c{n}"), "c");
                    body["alias"] = json!(["y".repeat(50_000)]);
                    scope.spawn(move || server.put(&format!("Organization/r{round}c{n}"), &body))
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("an answer")).collect()
        });
        for (n, answer) in answers.iter().enumerate() {
            if answer.status == 201 {
                stored.push(format!("r{round}c{n}"));
            } else {
                check_unavailable(answer, "one of many writes on a full disk");
            }
        }
        let transaction = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            {"resource": organization("t1", &"z".repeat(100_000)), "request": {"method": "PUT", "url": "Organization/t1"}},
            {"resource": organization("t2", &"z".repeat(100_000)), "request": {"method": "PUT", "url": "Organization/t2"}},
        ]});
        // It may find room that the writes before it did not need; then it is there as a whole.
        let answer = server.post("", &transaction);
        let parts = ["t1", "t2"].map(|id| server.get(&format!("Organization/{id}")).status == 200);
        if answer.status == 200 {
            assert_eq!(parts, [true, true]);
            stored.extend(["t1".to_owned(), "t2".to_owned()]);
        } else {
            check_unavailable(&answer, "a transaction on a full disk");
            assert_eq!(parts, [stored.contains(&"t1".to_owned()); 2], "nothing is half-written");
        }
        assert_eq!(server.get("Organization/first").status, 200, "reads go on");
        assert_eq!(server.ids("Organization?name:exact=first"), ["first"], "searches go on");
        limit_files(&server, "unlimited");
        until(RECOVERY, "it writes again", || {
            server.put("Organization/probe", &organization("probe", &format!("round {round}"))).status < 300
        });
    }
    stored.push("probe".to_owned());
    stored.sort();
    stored.dedup();
    let check = |server: &Server| {
        for id in &stored {
            assert_eq!(server.get(&format!("Organization/{id}")).status, 200, "{id} was acknowledged");
        }
        let mut found = server.ids("Organization?_count=1000");
        found.sort();
        assert_eq!(found, stored, "what was refused is not there");
    };
    check(&server);
    server.restart();
    check(&server);
}

/// The database's file is gone with its folder, or cannot be opened: a start says so and ends.
#[test]
fn a_database_that_cannot_be_opened_ends_the_start_with_a_sentence() {
    let server = Server::sqlite(&[]);
    server.kill();
    let folder = server.data().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(server.data().join("garbage.db"), "x".repeat(100_000)).expect("a file");
    for url in [
        format!("sqlite:{}", folder.display()),
        format!("sqlite:{}", server.data().join("garbage.db").display()),
        "sqlite:/proc/nothing/x.db".to_owned(),
        "postgres://127.0.0.1:1/x".to_owned(),
        "mysql://x".to_owned(),
        "postgres://%zz".to_owned(),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_plumbline"))
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url])
            .current_dir(server.data())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{url}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("plumbline: ") && last.contains("database"), "{url}: {said}");
    }
}

/// Ends all connections of a database.
fn end_connections(url: &str) {
    postgres::ask(
        &postgres::maintenance(url),
        &format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}'", database(url)),
    );
}

fn database(url: &str) -> &str {
    url.rsplit('/').next().expect("a name")
}

fn allow_connections(url: &str, allowed: bool) {
    postgres::ask(
        &postgres::maintenance(url),
        &format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}", database(url)),
    );
}

/// One request of each kind.
fn all_kinds(server: &Server, n: usize) -> Vec<(&'static str, Answer)> {
    let id = format!("k{n}");
    vec![
        ("read", server.get("Organization/first")),
        ("search", server.get("Organization?name=first")),
        ("history", server.get("Organization/first/_history")),
        ("update", server.put(&format!("Organization/{id}"), &organization(&id, "x"))),
        ("create", server.post("Organization", &organization("x", "created"))),
        ("conditional update", server.put("Organization?name:exact=first", &json!({"resourceType": "Organization", "name": "first", "alias": [id]}))),
        ("patch", server.patch("Organization/first", "application/json-patch+json", &json!([{"op": "add", "path": "/active", "value": n.is_multiple_of(2)}]))),
        ("transaction", server.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": "GET", "url": "Organization/first"}}]}))),
        ("delete", server.delete(&format!("Organization/{id}"))),
    ]
}

#[test]
fn lost_connections_are_replaced() {
    let Some(server) = Server::postgres(&[]) else { return };
    let url = server.database_url().expect("PostgreSQL");
    assert_eq!(server.put("Organization/first", &organization("first", "first")).status, 201);
    all_kinds(&server, 0);
    for round in 1..6 {
        end_connections(url);
        for (kind, answer) in all_kinds(&server, round) {
            if answer.status >= 300 && !(kind == "delete" && answer.status == 404) {
                check_unavailable(&answer, kind);
            }
        }
        until(RECOVERY, "all kinds of requests succeed again", || {
            all_kinds(&server, round).iter().all(|(_, answer)| answer.status < 300)
        });
    }
}

#[test]
fn a_database_that_is_away_is_answered_503_until_it_is_back() {
    let Some(server) = Server::postgres(&[]) else { return };
    let url = server.database_url().expect("PostgreSQL");
    let root = server.base.trim_end_matches("/fhir");
    assert_eq!(server.put("Organization/first", &organization("first", "first")).status, 201);
    all_kinds(&server, 0);
    for round in 1..4 {
        allow_connections(url, false);
        end_connections(url);
        for _ in 0..3 {
            for (kind, answer) in all_kinds(&server, round) {
                check_unavailable(&answer, kind);
            }
        }
        assert_eq!(server.get(&format!("{root}/health/ready")).status, 503);
        assert_eq!(server.get(&format!("{root}/health/live")).status, 200);
        assert_eq!(server.get("metadata").status, 200, "what needs no database is there");
        allow_connections(url, true);
        until(RECOVERY, "all kinds of requests succeed again", || {
            all_kinds(&server, round).iter().all(|(_, answer)| answer.status < 300)
        });
        assert_eq!(server.get(&format!("{root}/health/ready")).status, 200);
    }
}

/// Connections end while many write: each is acknowledged and there, or refused.
#[test]
fn writes_while_connections_end_are_there_or_refused() {
    let Some(server) = Server::postgres(&[]) else { return };
    let url = server.database_url().expect("PostgreSQL");
    let stored: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let server = &server;
                scope.spawn(move || {
                    let mut stored = Vec::new();
                    for n in 0..150 {
                        let id = format!("w{writer}n{n}");
                        let answer = server.put(&format!("Organization/{id}"), &organization(&id, &id));
                        match answer.status {
                            201 => stored.push(id),
                            _ => check_unavailable(&answer, &id),
                        }
                    }
                    stored
                })
            })
            .collect();
        for _ in 0..10 {
            end_connections(url);
        }
        writers.into_iter().flat_map(|writer| writer.join().expect("no writer panicked")).collect()
    });
    assert!(!stored.is_empty());
    for id in &stored {
        until(RECOVERY, id, || server.get(&format!("Organization/{id}")).status == 200);
    }
}
