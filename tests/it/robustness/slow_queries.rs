//! Searches that take long: they are ended, by the clock or because their client has gone, and nobody else waits for them.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, postgres};

use super::{check_refusal, raw, until};

/// Organizations to search; each has names that take long to look through.
const ORGANIZATIONS: usize = 6_000;
const PER_TRANSACTION: usize = 1_000;
/// Clients that search slowly at once.
const SEARCHERS: usize = 16;
/// In which a server that is busy with slow searches still reads.
const FAST: Duration = Duration::from_secs(1);

fn load(server: &Server) {
    let name = "abcdefghij".repeat(19);
    for first in (0..ORGANIZATIONS).step_by(PER_TRANSACTION) {
        let entries: Vec<Value> = (first..first + PER_TRANSACTION)
            .map(|n| {
                let organization = json!({"resourceType": "Organization", "id": format!("o{n}"), "name": format!("{name} {n}"), "partOf": {"reference": format!("Organization/o{}", n / 2)}});
                json!({"resource": organization, "request": {"method": "PUT", "url": format!("Organization/o{n}")}})
            })
            .collect();
        let answer = server.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}));
        assert_eq!(answer.status, 200, "{answer:.300}");
    }
}

/// A search that looks for each of many texts in each name, and finds none: `n` makes it another one.
fn slow(n: usize) -> String {
    let missing = |from: usize| (from..from + 400).map(|text| format!("hij{n}x{text}")).collect::<Vec<_>>().join(",");
    // The first one finds all, after looking through each name for all the others.
    format!(
        "Organization?name:contains={0},j%20&name:contains={1},j%20&name:contains={2}",
        missing(0),
        missing(400),
        missing(800)
    )
}

/// Seconds of processor time that a process has used.
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a Linux /proc");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let fields: Vec<f64> = fields.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
    // utime and stime, in hundredths.
    (fields[11] + fields[12]) / 100.0
}

/// Whether the process works hardly at all for a while.
fn is_idle(pid: u32) -> bool {
    let (before, start) = (processor_seconds(pid), Instant::now());
    while start.elapsed() < Duration::from_millis(500) {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    processor_seconds(pid) - before < 0.1
}

fn send(server: &Server, path: &str) -> TcpStream {
    let mut stream = raw::connect(server);
    stream.write_all(format!("GET /fhir/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).expect("sent");
    stream
}

fn a_slow_search_is_ended(server: &Server) {
    load(server);
    let start = Instant::now();
    for path in [slow(1), format!("{}&_summary=count", slow(2)), format!("{}&_total=accurate&_sort=name", slow(3))] {
        let answer = server.get(&path);
        check_refusal(&answer, &[503], "a slow search");
        assert_eq!(answer.issue().1, "too-costly", "{answer}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(server.ids("Organization?_id=o1"), ["o1"], "the connections are usable");
    assert_eq!(server.get("Organization?name=abc&_count=5").entries("match").len(), 5);
}

fn reads_pass_slow_searches(server: &Server) {
    load(server);
    let done = AtomicBool::new(false);
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        for searcher in 0..SEARCHERS {
            let done = &done;
            scope.spawn(move || {
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let answer = server.get(&slow(searcher * 1_000 + n));
                    assert!(matches!(answer.status, 200 | 503), "{answer:.300}");
                }
            });
        }
        for n in 0..40 {
            let start = Instant::now();
            let read = server.get(&format!("Organization/o{n}"));
            reads.push(start.elapsed());
            let start = Instant::now();
            let write =
                server.put("Location/w", &json!({"resourceType": "Location", "id": "w", "name": format!("n{n}")}));
            writes.push(start.elapsed());
            if read.status != 200 || write.status >= 300 {
                done.store(true, Ordering::Relaxed);
                panic!("{read:.300} {write:.300}");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    reads.sort();
    writes.sort();
    println!(
        "under {SEARCHERS} slow searches: read {:?}, at most {:?}; write {:?}, at most {:?}",
        reads[20], reads[39], writes[20], writes[39]
    );
    assert!(reads[20] < FAST && writes[20] < FAST, "reads {reads:?}, writes {writes:?}");
}

const PATIENT: &[(&str, &str)] = &[("PLUMBLINE_SEARCH__LIMIT_MS", "300000")];
const HASTY: &[(&str, &str)] = &[("PLUMBLINE_SEARCH__LIMIT_MS", "200")];
const DEFAULT: &[(&str, &str)] = &[("PLUMBLINE_SEARCH__LIMIT_MS", "2000")];

#[test]
fn a_slow_search_is_ended_on_sqlite() {
    a_slow_search_is_ended(&Server::sqlite(HASTY));
}

#[test]
fn a_slow_search_is_ended_on_postgresql() {
    if let Some(server) = Server::postgres(HASTY) {
        a_slow_search_is_ended(&server);
    }
}

#[test]
fn reads_pass_slow_searches_on_sqlite() {
    reads_pass_slow_searches(&Server::sqlite(DEFAULT));
}

#[test]
fn reads_pass_slow_searches_on_postgresql() {
    if let Some(server) = Server::postgres(DEFAULT) {
        reads_pass_slow_searches(&server);
    }
}

#[test]
fn a_client_that_leaves_ends_its_search_on_sqlite() {
    let server = Server::sqlite(PATIENT);
    load(&server);
    let pid = server.pid().expect("it runs");
    let before = processor_seconds(pid);
    // More than there are threads for slow searches: those that wait are given up too.
    let clients: Vec<TcpStream> = (0..8).map(|n| send(&server, &slow(n))).collect();
    until(Duration::from_secs(20), "the searches run", || processor_seconds(pid) > before + 0.5);
    assert!(!is_idle(pid), "the searches are slow enough to be seen");
    drop(clients);
    until(Duration::from_secs(10), "the searches are ended", || is_idle(pid));
    assert_eq!(server.get("Organization/o1").status, 200);
}

#[test]
fn a_client_that_leaves_ends_its_search_on_postgresql() {
    let Some(server) = Server::postgres(PATIENT) else { return };
    load(&server);
    let url = server.database_url().expect("PostgreSQL");
    let name = url.rsplit('/').next().expect("a name");
    let running = || {
        let count = postgres::ask(
            &postgres::maintenance(url),
            &format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND state = 'active'"),
        );
        count.parse::<usize>().expect("a count")
    };
    let clients: Vec<TcpStream> = (0..3).map(|n| send(&server, &slow(n))).collect();
    until(Duration::from_secs(20), "the searches run", || running() > 0);
    drop(clients);
    until(Duration::from_secs(10), "the searches are ended", || running() == 0);
    assert_eq!(server.get("Organization/o1").status, 200);
    assert_eq!(server.ids("Organization?_id=o1"), ["o1"]);
}
