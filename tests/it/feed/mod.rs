//! The feed of changes, for those who keep a copy of the directory: as lines, by waiting, and as a stream of events.

mod events;
mod lines;
mod race;
mod rights;
mod waiting;

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use reqwest::blocking::RequestBuilder;
use serde_json::{Value, json};

use crate::harness::{Answer, Server};

/// Longer than anything takes on a machine that is busy with other tests.
const LONG: Duration = Duration::from_secs(60);

/// The URL of the feed.
fn feed(server: &Server, query: &str) -> String {
    format!("{}/api/v1/changes?{query}", server.base.trim_end_matches("/fhir"))
}

fn get(server: &Server, query: &str) -> Answer {
    server.get(&feed(server, query))
}

/// The changes in an answer.
fn changes(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"), "{answer}");
    answer.text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// `action Type/id/version` of changes.
fn told(changes: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    changes
        .iter()
        .map(|it| format!("{} {}/{}/{}", text(&it["action"]), text(&it["type"]), text(&it["id"]), it["version"]))
        .collect()
}

/// Where an answer says to go on, as a URL.
fn next(answer: &Answer) -> String {
    let link = answer.header("link").unwrap_or_else(|| panic!("a link: {answer}"));
    link.strip_prefix('<')
        .and_then(|link| link.strip_suffix(">; rel=\"next\""))
        .expect("a link to what follows")
        .to_owned()
}

/// The position in a URL of the feed.
fn position(url: &str) -> i64 {
    let (_, rest) = url.split_once("after=").expect("a position");
    rest.split('&').next().and_then(|text| text.parse().ok()).expect("a number")
}

/// The feed from this question on to its end, once everything that was committed has a position: the last change is `last`.
fn walk(server: &Server, query: &str, last: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut url = feed(server, query);
    let deadline = std::time::Instant::now() + LONG;
    while told(&all).last().is_none_or(|it| it != last) {
        assert!(std::time::Instant::now() < deadline, "{last} is not told: {:?}", told(&all));
        let answer = server.get(&url);
        all.extend(changes(&answer));
        url = next(&answer);
    }
    all
}

fn organization(id: &str, name: &str) -> Value {
    json!({"resourceType": "Organization", "id": id, "active": true, "name": name})
}

fn location(id: &str, name: &str) -> Value {
    json!({"resourceType": "Location", "id": id, "status": "active", "name": name})
}

fn store(server: &Server, resource: &Value) {
    let answer = server.put(&crate::harness::tokens::name(resource), resource);
    assert!(matches!(answer.status, 200 | 201), "{answer}");
}

fn delete(server: &Server, name: &str) {
    assert_eq!(server.delete(name).status, 204);
}

/// Tells a server to end, as an operating system does.
fn terminate(server: &Server) {
    let pid = server.pid().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
    assert!(sent.success());
}

/// An event of a stream: what its id was then, its name, its data.
#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// A stream of events.
struct Stream {
    events: Receiver<Event>,
}

impl Stream {
    fn open(request: RequestBuilder) -> Self {
        let response = request.header("accept", "text/event-stream").timeout(LONG * 2).send().expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (send, events) = channel();
        std::thread::spawn(move || {
            let mut event = Event::default();
            for line in BufReader::new(response).lines().map_while(Result::ok) {
                match line.split_once(": ").unwrap_or((&line, "")) {
                    ("id", id) => id.clone_into(&mut event.id),
                    ("event", name) => name.clone_into(&mut event.name),
                    ("data", data) => event.data = serde_json::from_str(data).expect("JSON"),
                    ("", _) if line.is_empty() => {
                        // As browsers do: without data it is no event, but its id counts.
                        let id = event.id.clone();
                        if send.send(std::mem::take(&mut event)).is_err() {
                            return;
                        }
                        event.id = id;
                    }
                    _ => {}
                }
            }
        });
        Self { events }
    }

    /// The next event with data; `None` at the end of the stream.
    fn next(&self) -> Option<Event> {
        loop {
            match self.events.recv_timeout(LONG) {
                Ok(event) if event.data.is_null() => {}
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("no event"),
            }
        }
    }

    fn take(&self, count: usize) -> Vec<Event> {
        (0..count).map(|n| self.next().unwrap_or_else(|| panic!("the stream ended after {n} events"))).collect()
    }
}
