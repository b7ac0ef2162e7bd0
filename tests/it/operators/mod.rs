//! What operators see of deliveries and do about them, over HTTP and from the command line.

mod lanes;
mod secrets;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server, tokens};

/// Longer than anything takes on a machine that is busy with other tests.
const LONG: Duration = Duration::from_secs(60);
const JSON: (&str, &str) = ("content-type", "application/json");

/// A server that may call loopback, and tries again soon.
const SETTINGS: [(&str, &str); 3] = [
    ("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8"),
    ("PLUMBLINE_DELIVERY__RETRY_STEPS_S", "[1, 1]"),
    ("PLUMBLINE_DELIVERY__THEN_EVERY_S", "0"),
];

/// A call that a receiver got.
#[derive(Clone, Debug)]
struct Received {
    headers: Vec<(String, String)>,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value)
    }
}

/// Somebody who is told of changes, and answers with the status at hand.
struct Receiver {
    port: u16,
    status: Arc<AtomicU16>,
    calls: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (status, calls) = (Arc::new(AtomicU16::new(200)), Arc::new(Mutex::new(Vec::new())));
        let it = Self { port, status: Arc::clone(&status), calls: Arc::clone(&calls) };
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (status, calls) = (Arc::clone(&status), Arc::clone(&calls));
                std::thread::spawn(move || answer(&connection, &status, &calls));
            }
        });
        it
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn calls(&self) -> Vec<Received> {
        self.calls.lock().expect("no call panicked").clone()
    }

    /// The numbers of the events that it was told of, as often as it was.
    fn numbers(&self) -> Vec<i64> {
        let mut numbers = Vec::new();
        for call in self.calls() {
            let Ok(bundle) = serde_json::from_str::<Value>(&call.body) else { continue };
            let status = bundle["entry"][0]["resource"]["parameter"].as_array().cloned().unwrap_or_default();
            for event in status.iter().filter(|it| it["name"] == "notification-event") {
                let parts = event["part"].as_array().expect("parts");
                let number = parts.iter().find(|it| it["name"] == "event-number").expect("a number");
                numbers.push(number["valueString"].as_str().and_then(|text| text.parse().ok()).expect("a number"));
            }
        }
        numbers
    }
}

/// One request for each connection.
fn answer(connection: &TcpStream, status: &AtomicU16, calls: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(connection);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, it)| it.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body = String::from_utf8(body).expect("text");
    let is_handshake = body.contains("\"handshake\"");
    calls.lock().expect("no call panicked").push(Received { headers, body });
    // Whoever asks whether somebody is there is always told so, unless nobody is.
    let status = match status.load(Ordering::SeqCst) {
        status if is_handshake && status < 500 => 200,
        status => status,
    };
    let mut connection = connection;
    let _gone = connection
        .write_all(format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory with a subscriber to Organizations, seen by its operator.
struct World<'s> {
    server: &'s Server,
    operator: Bearer<'s>,
    receiver: Receiver,
}

impl<'s> World<'s> {
    fn new(server: &'s Server) -> Self {
        let receiver = Receiver::start();
        let content = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content";
        let subscription = json!({"resourceType": "Subscription", "id": "s", "status": "requested", "reason": "A test",
            "criteria": "urn:plumbline:topic:organization-change",
            "channel": {"type": "rest-hook", "endpoint": format!("http://127.0.0.1:{}/hook", receiver.port),
                "payload": "application/fhir+json",
                "_payload": {"extension": [{"url": content, "valueCode": "id-only"}]}}});
        let stored = server.put("Subscription/s", &subscription);
        assert_eq!(stored.status, 201, "{stored}");
        let token = tokens::printed(server, "api/delivery.read api/delivery.write system/AuditEvent.rs");
        let world = Self { server, operator: Bearer::new(server, token), receiver };
        until("the lane is active", || {
            let lane = world.get("");
            lane.status == 200 && lane.body["state"] == "active"
        });
        world
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/api/v1/lanes/Subscription%2Fs{rest}", self.server.base.trim_end_matches("/fhir"))
    }

    fn get(&self, rest: &str) -> Answer {
        self.operator.get(&self.url(rest))
    }

    fn post(&self, rest: &str, body: &Value) -> Answer {
        self.operator.send("POST", &self.url(rest), &[JSON], &body.to_string())
    }

    /// Waits until the lane says so.
    fn until(&self, name: &str, value: &Value) {
        until(&format!("{name} is {value}"), || self.get("").body[name] == *value);
    }

    fn change(&self, id: &str, name: &str) {
        let answer = self.server.put(
            &format!("Organization/{id}"),
            &json!({"resourceType": "Organization", "id": id, "active": true, "name": name}),
        );
        assert!(matches!(answer.status, 200 | 201), "{answer}");
    }

    /// Runs `plumbline lanes …`: exit code, output, and what it complains of.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.server.command(arguments).output().expect("the command runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
    }

    fn run_json(&self, arguments: &[&str]) -> Value {
        let (code, output, complaint) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {complaint}");
        serde_json::from_str(&output).expect("JSON")
    }

    /// The sentences of the record about administration, newest last.
    fn recorded(&self) -> Vec<String> {
        let answer = self.operator.get("AuditEvent?_count=1000&_sort=date");
        let text = |event: &&Value| event["outcomeDesc"].as_str().unwrap_or_default().to_owned();
        answer.entries("match").iter().map(text).filter(|text| !text.is_empty()).collect()
    }
}
