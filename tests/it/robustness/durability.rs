//! kill -9 in the middle of writing: what was acknowledged is there, and what is there is whole.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Server;

use super::until;

const ROUNDS: usize = 4;
const WRITERS: usize = 8;
/// Acknowledged writes of a round before the server is killed.
const WRITES_PER_ROUND: usize = 150;

/// By `Type/id`: the highest version that was acknowledged.
type Acknowledged = HashMap<String, u64>;

/// Sends a request; `None` when no whole answer came.
fn try_send(server: &Server, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let response = server
        .request(method, path)
        .header("content-type", "application/fhir+json")
        .body(body.to_string())
        .send()
        .ok()?;
    let status = response.status().as_u16();
    Some((status, serde_json::from_str(&response.text().ok()?).ok()?))
}

fn version_of(resource: &Value) -> u64 {
    resource["meta"]["versionId"].as_str().and_then(|version| version.parse().ok()).expect("a version")
}

/// Writes until the server is gone: creates, updates of one resource of its own, and transactions.
fn write(server: &Server, name: &str, acknowledged: &Mutex<Acknowledged>, count: &AtomicUsize) {
    let own = format!("own-{name}");
    for n in 0.. {
        let marker = format!("{name}-{n}");
        let organization = json!({"resourceType": "Organization", "name": marker});
        let entry = |kind: &str| json!({"resource": {"resourceType": kind, "name": marker}, "request": {"method": "POST", "url": kind}});
        let answer = match n % 3 {
            0 => try_send(server, "POST", "Organization", &organization),
            1 => try_send(
                server,
                "PUT",
                &format!("Organization/{own}"),
                &json!({"resourceType": "Organization", "id": own, "name": marker}),
            ),
            _ => try_send(
                server,
                "POST",
                "",
                &json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry("Organization"), entry("Location")]}),
            ),
        };
        let Some((status, body)) = answer else { return };
        assert!(matches!(status, 200 | 201), "{marker}: {status} {body}");
        let mut acknowledged = acknowledged.lock().expect("no writer panicked");
        match body["entry"].as_array() {
            None => {
                acknowledged.insert(format!("Organization/{}", body["id"].as_str().expect("id")), version_of(&body));
            }
            Some(entries) => {
                for entry in entries {
                    let location = entry["response"]["location"].as_str().expect("a location");
                    let place = location
                        .rsplit("/fhir/")
                        .next()
                        .and_then(|place| place.split("/_history/").next())
                        .expect("Type/id");
                    acknowledged.insert(place.to_owned(), 1);
                }
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything that is there agrees with what was acknowledged, and with itself.
fn check(server: &Server, acknowledged: &Acknowledged) {
    for (place, version) in acknowledged {
        let read = server.get(place);
        assert_eq!(read.status, 200, "{place} was acknowledged: {read}");
        assert!(version_of(&read.body) >= *version, "{place} was acknowledged with version {version}: {read}");
        assert_eq!(server.get(&format!("{place}/_history/{version}")).status, 200, "{place} version {version}");
    }
    let mut names: HashMap<&str, HashSet<String>> = HashMap::new();
    for kind in ["Organization", "Location"] {
        // The index, the log and the resources tell the same.
        let mut found: HashMap<String, u64> = HashMap::new();
        let mut next = Some(format!("{kind}?_count=1000"));
        while let Some(url) = next {
            let page = server.get(&url);
            for resource in page.entries("match") {
                let name = resource["name"].as_str().expect("name");
                found.insert(resource["id"].as_str().expect("id").to_owned(), version_of(resource));
                names.entry(kind).or_default().insert(name.to_owned());
            }
            next = page.link("next");
        }
        assert_eq!(server.get(&format!("{kind}?_summary=count")).body["total"], found.len(), "{kind}");
        let mut logged: HashMap<String, Vec<u64>> = HashMap::new();
        let mut next = Some(format!("{kind}/_history?_count=1000"));
        while let Some(url) = next {
            let page = server.get(&url);
            assert_eq!(page.status, 200, "{page}");
            for entry in page.body["entry"].as_array().map(Vec::as_slice).unwrap_or_default() {
                logged
                    .entry(entry["resource"]["id"].as_str().expect("id").to_owned())
                    .or_default()
                    .push(version_of(&entry["resource"]));
            }
            next = page.link("next");
        }
        for (id, versions) in &mut logged {
            versions.sort_unstable();
            let consecutive: Vec<u64> = (1..=versions.len() as u64).collect();
            assert_eq!(*versions, consecutive, "{kind}/{id}");
            assert_eq!(found.get(id), versions.last(), "{kind}/{id} by search and by history");
        }
        assert_eq!(found.len(), logged.len(), "{kind}");
    }
    // A transaction is whole or not at all: the third of three writes makes one of each.
    for name in names.get("Location").into_iter().flatten() {
        assert!(names["Organization"].contains(name), "half a transaction: {name}");
    }
    let thirds = names
        .get("Organization")
        .into_iter()
        .flatten()
        .filter(|name| name.rsplit('-').next().and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n % 3 == 2));
    for name in thirds {
        assert!(names["Location"].contains(name), "half a transaction: {name}");
        assert_eq!(server.ids(&format!("Organization?name:exact={name}")).len(), 1, "{name} is found by its name");
        assert_eq!(
            server.ids(&format!("Location?name={name}&name:exact={name}")).len(),
            1,
            "{name} is found by its name"
        );
    }
}

fn acknowledged_writes_survive(mut server: Server) {
    let acknowledged = Mutex::new(Acknowledged::new());
    for round in 0..ROUNDS {
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (server, acknowledged, count) = (&server, &acknowledged, &count);
                scope.spawn(move || write(server, &format!("r{round}w{writer}"), acknowledged, count));
            }
            until(Duration::from_secs(60), "writes are acknowledged", || {
                count.load(Ordering::Relaxed) >= WRITES_PER_ROUND + 37 * round
            });
            server.kill();
        });
        server.restart();
        check(&server, &acknowledged.lock().expect("no writer panicked"));
    }
}

/// The server is killed while it starts, again and again; then it starts.
fn a_start_that_is_killed_does_no_harm(mut server: Server) {
    let put = server.put("Organization/a", &json!({"resourceType": "Organization", "id": "a", "name": "x"}));
    assert_eq!(put.status, 201, "{put}");
    for _ in 0..5 {
        server.kill();
        let mut process = server
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        process.kill().expect("it can be killed");
        process.wait().expect("it ends");
        server.restart();
        assert_eq!(server.get("Organization/a").status, 200);
    }
    assert_eq!(server.ids("Organization?name=x"), ["a"]);
}

#[test]
fn acknowledged_writes_survive_on_sqlite() {
    acknowledged_writes_survive(Server::sqlite(&[]));
}

#[test]
fn acknowledged_writes_survive_on_postgresql() {
    if let Some(server) = Server::postgres(&[]) {
        acknowledged_writes_survive(server);
    }
}

#[test]
fn a_killed_start_does_no_harm_on_sqlite() {
    a_start_that_is_killed_does_no_harm(Server::sqlite(&[]));
}

#[test]
fn a_killed_start_does_no_harm_on_postgresql() {
    if let Some(server) = Server::postgres(&[]) {
        a_start_that_is_killed_does_no_harm(server);
    }
}
