//! Notifications over WebSockets (RFC 6455).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::harness::{on_both, tokens};

/// What a server says on a WebSocket.
#[derive(Clone, Debug, PartialEq)]
enum Frame {
    Text(String),
    Ping(Vec<u8>),
    Close(u16, String),
}

/// The other side of a WebSocket.
struct Client {
    connection: TcpStream,
    /// Bytes that are not read as frames yet.
    rest: Vec<u8>,
}

impl Client {
    /// Opens one, with more lines in the head of the request.
    fn open(server: &Server, lines: &str) -> Self {
        let (client, head) = Self::ask(server, lines);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// Asks for one; the client and the head of the answer.
    fn ask(server: &Server, lines: &str) -> (Self, String) {
        let host = server.base.trim_start_matches("http://").trim_end_matches("/fhir").to_owned();
        let mut connection = TcpStream::connect(&host).expect("a connection");
        connection.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let request = format!(
            "GET /fhir/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        connection.write_all(request.as_bytes()).expect("it is sent");
        let mut client = Self { connection, rest: Vec::new() };
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(at) = client.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = client.rest.drain(..at + 4).collect();
                return (client, String::from_utf8(head).expect("text"));
            }
            assert!(Instant::now() < end && client.fill(), "no answer");
        }
    }

    fn bearing(server: &Server, scope: &str) -> Self {
        let token = tokens::signed(&tokens::header(), &tokens::claims(server, scope));
        Self::open(server, &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Reads what there is; false when the connection is closed.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 65_536];
        match self.connection.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.rest.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn send(&mut self, first: u8, content: &[u8]) {
        let mut frame = vec![first];
        match u8::try_from(content.len()) {
            Ok(length) if length < 126 => frame.push(0x80 | length),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(content.len()).expect("a short message").to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        frame.extend(content);
        self.connection.write_all(&frame).expect("it is sent");
    }

    fn say(&mut self, text: &str) {
        self.send(0x81, text.as_bytes());
    }

    fn frame(&mut self) -> Option<Frame> {
        let (first, length) = (*self.rest.first()?, usize::from(*self.rest.get(1)?));
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let (start, length) = match length {
            126 => (4, number(self.rest.get(2..4)?)),
            127 => (10, number(self.rest.get(2..10)?)),
            length => (2, length),
        };
        let content = self.rest.get(start..start + length)?.to_vec();
        self.rest.drain(..start + length);
        Some(match first {
            0x81 => Frame::Text(String::from_utf8(content).expect("UTF-8")),
            0x89 => Frame::Ping(content),
            0x88 => {
                let code = content.get(..2).map_or(0, |code| u16::from_be_bytes([code[0], code[1]]));
                Frame::Close(code, String::from_utf8(content.get(2..).unwrap_or_default().to_vec()).expect("UTF-8"))
            }
            other => panic!("frame {other:x}"),
        })
    }

    /// The next frame; pings are answered.
    fn next(&mut self) -> Frame {
        self.within(Duration::from_secs(12)).expect("a frame in time")
    }

    fn within(&mut self, time: Duration) -> Option<Frame> {
        let end = Instant::now() + time;
        loop {
            match self.frame() {
                Some(Frame::Ping(content)) => self.send(0x8a, &content),
                Some(frame) => return Some(frame),
                None if Instant::now() > end || !self.fill() => return None,
                None => {}
            }
        }
    }

    fn text(&mut self) -> String {
        match self.next() {
            Frame::Text(text) => text,
            other => panic!("a text, not {other:?}"),
        }
    }

    /// The next notification, of a kind.
    fn bundle(&mut self, kind: &str) -> Value {
        let text = self.text();
        let bundle: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("JSON, not {text}"));
        assert_eq!(told(&bundle, "type"), [kind], "{bundle}");
        bundle
    }

    /// The code and the reason with which it is closed.
    fn closed(&mut self) -> (u16, String) {
        match self.next() {
            Frame::Close(code, reason) => (code, reason),
            other => panic!("an end, not {other:?}"),
        }
    }
}

/// A token for these Subscriptions.
fn token(by: &Bearer<'_>, ids: &[&str]) -> String {
    let query: Vec<String> = ids.iter().map(|id| format!("id={id}")).collect();
    let answer = by.get(&format!("Subscription/$get-ws-binding-token?{}", query.join("&")));
    assert_eq!(answer.status, 200, "{answer}");
    named(&answer.body, "token")[0]["valueString"].as_str().expect("a token").to_owned()
}

fn bind(by: &Bearer<'_>, ids: &[&str]) -> Client {
    let mut client = Client::open(by.server, "");
    client.say(&format!("bind-with-token: {}", token(by, ids)));
    for id in ids {
        let hello = client.bundle("handshake");
        assert_eq!(told(&hello, "subscription"), [format!("{}/Subscription/{id}", by.server.base)]);
    }
    client
}

fn put(by: &Bearer<'_>, id: &str, change: impl Fn(&mut Value)) {
    let mut subscription = by.get(&format!("Subscription/{id}")).body;
    change(&mut subscription);
    by.store(&subscription);
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn a_token_is_given_for_what_is_served_over_a_websocket(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("id-only"));
        let path = format!("Subscription/{id}/$get-ws-binding-token");
        for answer in [own.get(&path), own.post("Subscription/$get-ws-binding-token", &json!({"resourceType": "Parameters"}))] {
            assert_eq!((answer.status, &answer.body["resourceType"]), (200, &json!("Parameters")), "{answer}");
            let value = |name: &str, of: &str| named(&answer.body, name)[0][of].as_str().expect("text").to_owned();
            assert_eq!(value("subscription", "valueString"), id);
            assert_eq!(value("websocket-url", "valueUrl"), format!("{}/ws", server.base.replacen("http", "ws", 1)));
            assert!(value("token", "valueString").len() > 40 && value("expiration", "valueDateTime").contains('T'));
        }
        assert_eq!(stranger(server).get(&path).status, 404);
        assert_eq!(stranger(server).get(&format!("Subscription/$get-ws-binding-token?id={id}")).status, 404);
        let none = stranger(server).get("Subscription/$get-ws-binding-token");
        assert_eq!((none.status, none.issue().3.as_str()), (422, "http.id"), "{none}");
        assert_eq!(Bearer::nobody(server).get(&path).status, 401);
        let mut hook = by_hook("https://subscriber.example/hook", "empty");
        hook["status"] = json!("off");
        let hook = own.post("Subscription", &hook).body["id"].as_str().expect("an id").to_owned();
        let refused = own.get(&format!("Subscription/{hook}/$get-ws-binding-token"));
        assert_eq!((refused.status, refused.issue().3.as_str()), (422, "Subscription.channel.type"), "{refused}");
        put(&own, &id, |it| it["status"] = json!("off"));
        let refused = own.get(&path);
        assert_eq!((refused.status, refused.issue().3.as_str()), (422, "Subscription.status"), "{refused}");
    }

    fn events_come_from_the_binding_on(server) {
        let own = subscriber(server);
        let full = activate(&own, &by_websocket("full-resource"));
        let mut other = by_websocket("id-only");
        other["criteria"] = json!("urn:plumbline:topic:organization-change");
        let other = activate(&own, &other);
        own.store(&practitioner("ann", "Lee"));
        until_events(&own, &full, 1);
        let mut client = bind(&own, &[&full, &other]);
        own.store(&practitioner("bob", "Ray"));
        let event = client.bundle("event-notification");
        assert_eq!(numbered(&event), [("2".to_owned(), "Practitioner/bob".to_owned())]);
        assert_eq!(told(&event, "events-since-subscription-start"), ["2"]);
        assert_eq!(event["entry"][1]["resource"]["name"][0]["family"], "Ray");
        own.store(&json!({"resourceType": "Organization", "id": "acme", "name": "Acme"}));
        let event = client.bundle("event-notification");
        assert_eq!(numbered(&event), [("1".to_owned(), "Organization/acme".to_owned())]);
        assert!(event["entry"][1].get("resource").is_none());
        client.send(0x88, &1_000_u16.to_be_bytes());
        assert_eq!(client.closed().0, 1_000);
    }

    fn many_events_come_in_order_and_in_portions(server) {
        let own = subscriber(server);
        let mut few = by_websocket("id-only");
        few["channel"]["extension"] = json!([{"url": format!("{BACKPORT}backport-max-count"), "valuePositiveInt": 7}]);
        let id = activate(&own, &few);
        let mut client = bind(&own, &[&id]);
        let entries: Vec<Value> = (0..100).map(|n| {
            json!({"resource": practitioner(&format!("p{n}"), "Lee"), "request": {"method": "PUT", "url": format!("Practitioner/p{n}")}})
        }).collect();
        let answer = own.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}));
        assert_eq!(answer.status, 200, "{answer}");
        let mut numbers = Vec::new();
        while numbers.len() < 100 {
            let some = numbered(&client.bundle("event-notification"));
            assert!(!some.is_empty() && some.len() <= 7);
            numbers.extend(some.into_iter().map(|(number, _)| number.parse::<u32>().expect("a number")));
        }
        assert_eq!(numbers, (1..=100).collect::<Vec<u32>>());
    }

    fn it_ends_with_the_subscription(server) {
        let own = subscriber(server);
        for is_deletion in [false, true] {
            let id = activate(&own, &by_websocket("empty"));
            let mut client = bind(&own, &[&id]);
            match is_deletion {
                false => put(&own, &id, |it| it["status"] = json!("off")),
                true => assert_eq!(own.delete(&format!("Subscription/{id}")).status, 204),
            }
            assert_eq!(told(&client.bundle("heartbeat"), "status"), ["off"]);
            let (code, reason) = client.closed();
            assert!(code == 1_000 && reason.contains(if is_deletion { "deleted" } else { "off" }), "{code} {reason}");
        }
    }

    fn heartbeats_come_when_they_are_asked_for(server) {
        let own = subscriber(server);
        let mut beating = by_websocket("empty");
        beating["channel"]["extension"] = json!([{"url": format!("{BACKPORT}backport-heartbeat-period"), "valueUnsignedInt": 5}]);
        let id = activate(&own, &beating);
        let mut client = bind(&own, &[&id]);
        let beat = client.bundle("heartbeat");
        assert_eq!((told(&beat, "status"), told(&beat, "events-since-subscription-start")), (vec!["active".to_owned()], vec!["0".to_owned()]));
    }

    fn a_token_works_once_and_a_bad_command_ends_it(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("empty"));
        let token = token(&own, &[&id]);
        let mut client = Client::open(server, "");
        client.say(&json!({"type": "bind-with-token", "payload": {"token": token}}).to_string());
        client.bundle("handshake");
        let mut again = Client::open(server, "");
        again.say(&format!("bind-with-token {token}"));
        let (code, reason) = again.closed();
        assert!(code == 1_008 && reason.contains("works once"), "{code} {reason}");
        for (first, content, expected) in [
            (0x81, &b"hello"[..], 1_008),
            (0x81, b"bind-with-token:", 1_008),
            (0x82, b"bytes", 1_003),
            (0x01, b"bind", 1_003),
            (0x81, &[b'x'; 5_000], 1_009),
        ] {
            let mut client = Client::open(server, "");
            client.send(first, content);
            assert_eq!(client.closed().0, expected);
        }
        // One that says nothing is not kept.
        let mut client = Client::open(server, "");
        let (code, reason) = client.closed();
        assert!(code == 1_008 && reason.contains("in time"), "{code} {reason}");
    }

    fn base_r4_is_bound_by_its_id(server) {
        let own = subscriber(server);
        let search = json!({"resourceType": "Subscription", "status": "requested", "reason": "to know",
            "criteria": "Practitioner?family=lee", "channel": {"type": "websocket"}});
        let id = activate(&own, &search);
        let mut client = Client::bearing(server, EVERYTHING);
        client.say(&format!("bind {id}"));
        assert_eq!(client.text(), format!("bound {id}"));
        own.store(&practitioner("bob", "Ray"));
        own.store(&practitioner("ann", "Lee"));
        assert_eq!(client.text(), format!("ping {id}"));
        assert_eq!(client.within(Duration::from_millis(1_500)), None);
        // By somebody who may not see it, and by nobody.
        let mut other = Client::bearing(server, "system/Practitioner.rs");
        other.say(&format!("bind {id}"));
        assert_eq!(other.closed().0, 1_008);
        let mut nobody = Client::open(server, "");
        nobody.say(&format!("bind {id}"));
        assert_eq!(nobody.closed().0, 1_008);
        let (_, head) = Client::ask(server, "Authorization: Bearer nonsense\r\n");
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    }

    fn what_may_not_be_read_keeps_its_number(server) {
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("full-resource"));
        let mut client = Client::bearing(server, "system/Subscription.r system/Practitioner.r?family=ray");
        client.say(&format!("bind {id}"));
        client.bundle("handshake");
        own.store(&practitioner("ann", "Lee"));
        let event = client.bundle("event-notification");
        assert_eq!(numbered(&event), [("1".to_owned(), String::new())], "{event}");
        own.store(&practitioner("bob", "Ray"));
        let event = client.bundle("event-notification");
        assert_eq!(numbered(&event), [("2".to_owned(), "Practitioner/bob".to_owned())], "{event}");
    }

    fn it_ends_with_the_client(server) {
        let cli = |arguments: &[&str]| {
            let done = server.command(arguments).output().expect("the command runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).expect("text").trim().to_owned()
        };
        let secret = cli(&["client", "add", "--id", "watcher", "--secret", "--scope", "system/*.cruds"]);
        let url = format!("{}/auth/token", server.base.trim_end_matches("/fhir"));
        let request = server.request("POST", &url).basic_auth("watcher", Some(secret));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let granted = Answer::of(request.body("grant_type=client_credentials&scope=system/*.cruds"));
        let watcher = Bearer::new(server, granted.body["access_token"].as_str().expect("a token").to_owned());
        let id = activate(&watcher, &by_websocket("empty"));
        let mut client = bind(&watcher, &[&id]);
        cli(&["client", "remove", "watcher"]);
        let end = loop {
            match client.next() {
                Frame::Text(_) => {}
                end => break end,
            }
        };
        let Frame::Close(1_000, reason) = &end else { panic!("{end:?}") };
        assert!(reason.contains("may not be seen"), "{reason}");
    }

    fn it_works_beside_another_node(server) {
        // On SQLite one of them delivers, whichever it is; the other finds what it numbered.
        let second = server.second(&[]);
        let own = subscriber(server);
        let id = activate(&own, &by_websocket("id-only"));
        let mut clients = [bind(&own, &[&id]), bind(&subscriber(&second), &[&id])];
        own.store(&practitioner("ann", "Lee"));
        for client in &mut clients {
            assert_eq!(numbered(&client.bundle("event-notification"))[0].0, "1");
        }
    }
}

mod places {
    use super::*;

    #[test]
    fn one_address_has_so_many() {
        let settings = tokens::trusting_with(&[("PLUMBLINE_LIMITS__SOCKETS_PER_ADDRESS", "2")]);
        let server = Server::sqlite(&settings);
        let first = Client::open(&server, "");
        let _second = Client::open(&server, "");
        let (_, head) = Client::ask(&server, "");
        assert!(head.starts_with("HTTP/1.1 429 ") && head.to_lowercase().contains("retry-after: 60"), "{head}");
        drop(first);
        let end = Instant::now() + Duration::from_secs(60);
        while !Client::ask(&server, "").1.starts_with("HTTP/1.1 101 ") {
            assert!(Instant::now() < end, "the place is given back");
        }
    }

    #[test]
    fn a_server_that_stops_says_so() {
        let server = Server::sqlite(&tokens::trusting());
        let own = subscriber(&server);
        let id = activate(&own, &by_websocket("empty"));
        let mut client = bind(&own, &[&id]);
        let pid = server.pid().expect("it runs").to_string();
        let stopped = std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(stopped.success());
        assert_eq!(client.closed(), (1_001, "The server is stopping.".to_owned()));
    }

    #[test]
    fn who_takes_nothing_is_left() {
        let server = Server::sqlite(&tokens::trusting());
        let own = subscriber(&server);
        let id = activate(&own, &by_websocket("empty"));
        let mut client = Client::open(&server, "");
        client.say(&format!("bind-with-token: {}", token(&own, &[&id])));
        // The ping after the handshake is not answered.
        let end = Instant::now() + Duration::from_secs(40);
        let frame = loop {
            match client.frame() {
                Some(Frame::Close(code, reason)) => break (code, reason),
                Some(_) => {}
                None => assert!(Instant::now() < end && client.fill(), "it is closed with a reason"),
            }
        };
        assert!(frame.0 == 1_008 && frame.1.contains("does not answer"), "{frame:?}");
    }
}
