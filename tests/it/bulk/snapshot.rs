//! An export is one state of the directory, and `transactionTime` tells which.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::DateTime;
use serde_json::{Value, json};

use super::{anybody, exported, kick_off, lines, manifest, names, organization, until};
use crate::harness::{Server, on_both, postgres};

const WRITERS: usize = 4;
const EXPORTS: usize = 5;

/// Microseconds of an instant.
fn micros(instant: &Value) -> i64 {
    let text = instant.as_str().expect("an instant");
    DateTime::parse_from_rfc3339(text).expect("an instant").timestamp_micros()
}

on_both! {
    with [("PLUMBLINE_EXPORT__CLIENT_MAX", "100")];

    fn an_export_is_one_state_while_others_write(server) {
        let (is_over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
        // An Organization and the Location that it owns come together, and the Location goes through two versions.
        let write = |writer: usize| {
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let id = format!("w{writer}n{n}");
                let put = |resource: Value, kind: &str| json!({"resource": resource, "request": {"method": "PUT", "url": format!("{kind}/{id}")}});
                let place = |status: &str| {
                    let owner = format!("Organization/{id}");
                    put(json!({"resourceType": "Location", "id": id, "status": status, "name": id, "managingOrganization": {"reference": owner}}), "Location")
                };
                for entries in [json!([put(organization(&id, &id), "Organization"), place("suspended")]), json!([place("active")])] {
                    let answer = server.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}));
                    assert_eq!(answer.status, 200, "{answer}");
                }
                written.fetch_add(1, Ordering::Relaxed);
            }
        };
        let bearer = anybody(server);
        let exports = std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || write(writer));
            }
            until("the first writes", || (written.load(Ordering::Relaxed) > 20).then_some(()));
            let exports: Vec<Value> = (0..EXPORTS).map(|_| exported(&bearer, "$export?_type=Organization,Location")).collect();
            is_over.store(true, Ordering::Relaxed);
            exports
        });
        // What there is now, with the moment since which it is there.
        let now = lines(&bearer, &exported(&bearer, "$export?_type=Organization"), "output");
        for export in exports {
            let until = micros(&export["transactionTime"]);
            let found = lines(&bearer, &export, "output");
            let ids = |kind: &str| -> HashSet<&str> {
                found.iter().filter(|it| it["resourceType"] == kind).filter_map(|it| it["id"].as_str()).collect()
            };
            assert_eq!(ids("Organization"), ids("Location"), "both of a transaction, or none");
            assert_eq!(ids("Organization").len() * 2, found.len(), "each once");
            let missing: Vec<&Value> = now.iter()
                .filter(|it| micros(&it["meta"]["lastUpdated"]) <= until && !ids("Organization").contains(it["id"].as_str().expect("id")))
                .collect();
            assert!(missing.is_empty(), "at {}: {missing:?}", export["transactionTime"]);
        }
    }

    fn a_chain_of_exports_misses_nothing(server) {
        let (is_over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
        let write = |writer: usize| {
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                server.put(&format!("Organization/w{writer}n{n}"), &organization(&format!("w{writer}n{n}"), "O"));
                written.fetch_add(1, Ordering::Relaxed);
            }
        };
        let bearer = anybody(server);
        let mut known: HashSet<String> = HashSet::new();
        let mut since = "2020-01-01T00:00:00Z".to_owned();
        let mut go_on = || {
            let export = exported(&bearer, &format!("$export?_type=Organization&_since={since}"));
            known.extend(names(&bearer, &export));
            since = export["transactionTime"].as_str().expect("an instant").to_owned();
        };
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || write(writer));
            }
            for n in 0..EXPORTS {
                until("more writes", || (written.load(Ordering::Relaxed) > n * 20).then_some(()));
                go_on();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        go_on();
        assert_eq!(known.len(), written.load(Ordering::Relaxed));
    }
}

/// A transaction that somebody keeps open.
struct Session {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn begin(url: &str, application: &str) -> Self {
        let mut process = Command::new("psql")
            .args(["-q", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", url])
            .env("PGAPPNAME", application)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let input = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut session = Self { _process: process, input, output };
        session.run("BEGIN; SELECT 1");
        session
    }

    /// Executes statements of which the last gives one row; that row.
    fn run(&mut self, statements: &str) -> String {
        writeln!(self.input, "{statements};").expect("psql reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("psql answers");
        line.trim().to_owned()
    }

    /// Adds an Organization that bears a moment of five seconds ago; that moment.
    fn add(&mut self, id: &str) -> i64 {
        let resource = organization(id, id).to_string();
        let at = self.run("SELECT (extract(epoch from clock_timestamp()) * 1000)::bigint * 1000 - 5000000");
        self.run(&format!(
            "INSERT INTO resource (rtype, id, version, live, last_updated, body) VALUES (3, '{id}', 1, 1, {at}, '{resource}') RETURNING rid"
        ));
        self.run(&format!(
            "INSERT INTO version (rid, rtype, version, at, kind) SELECT rid, 3, 1, {at}, 2 FROM resource WHERE id = '{id}' RETURNING seq"
        ));
        at.parse().expect("a moment")
    }
}

/// Waits until an export has written its files and looks for what it cannot have seen.
fn has_written(server: &Server, url: &str) {
    let database = server.database_url().expect("PostgreSQL");
    let reads = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'plumbline long read' AND query LIKE '%pg_locks%'";
    until("a look for open transactions", || (postgres::ask(database, reads) == "1").then_some(()));
    assert_eq!(server.get(url).status, 202);
}

#[test]
fn what_is_committed_late_is_in_the_next_export() {
    let Some(server) = Server::postgres(&[]) else { return };
    let database = server.database_url().expect("PostgreSQL");
    let bearer = anybody(&server);
    // Begun before the export, by anybody who has written; or by a server that has not written yet but read the clock.
    for (id, application, writes_first) in [("early", "psql", true), ("later", "plumbline", false)] {
        let mut session = Session::begin(database, application);
        let before = if writes_first { session.add(id) } else { 0 };
        let url = kick_off(&bearer, "$export?_type=Organization");
        has_written(&server, &url);
        let at = if writes_first { before } else { session.add(id) };
        session.run("COMMIT; SELECT 1");
        let first = manifest(&bearer, &url);
        let name = format!("Organization/{id}");
        assert!(!names(&bearer, &first).contains(&name), "{id}");
        assert_eq!(micros(&first["transactionTime"]), at - 1_000, "{id}");
        let since = first["transactionTime"].as_str().expect("an instant");
        let second = exported(&bearer, &format!("$export?_type=Organization&_since={since}"));
        assert!(names(&bearer, &second).contains(&name), "{id}");
    }
}

#[test]
fn what_is_not_committed_or_not_asked_for_does_not_matter() {
    let Some(server) = Server::postgres(&[]) else { return };
    let database = server.database_url().expect("PostgreSQL");
    let bearer = anybody(&server);
    for (end, path) in [("ROLLBACK", "$export?_type=Organization"), ("COMMIT", "$export?_type=Location")] {
        let mut session = Session::begin(database, "psql");
        let at = session.add("x");
        let url = kick_off(&bearer, path);
        has_written(&server, &url);
        session.run(&format!("{end}; SELECT 1"));
        let until = micros(&manifest(&bearer, &url)["transactionTime"]);
        assert!(until > at + 4_000_000, "{end} {path}: {until}, {at}");
    }
    // Whoever only reads, or writes elsewhere, keeps no export waiting.
    let mut reader = Session::begin(database, "psql");
    reader.run("SELECT count(*) FROM resource");
    let mut elsewhere = Session::begin(&postgres::maintenance(database), "psql");
    elsewhere.run("SELECT pg_current_xact_id()");
    exported(&bearer, "$export?_type=Organization");
}
