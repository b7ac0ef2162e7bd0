//! HTTP/2, frame by frame: it works, and what one connection may ask for is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use openssl::ssl::SslStream;

use super::certificates::Issued;
use super::{address, connect, over_tls, trusting};
use crate::harness::Server;

/// Types and flags of frames (RFC 9113, 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Connection {
    stream: SslStream<TcpStream>,
    /// Streams on which an answer has begun.
    answered: BTreeSet<u32>,
}

impl Connection {
    fn open(server: &Server) -> Self {
        let mut client = trusting();
        client.set_alpn_protos(b"\x02h2").expect("protocols");
        let stream = connect(address(server), client).expect("a connection");
        let mut connection = Self { stream, answered: BTreeSet::new() };
        connection.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
        // The server is to keep no table of headers (RFC 9113, 6.5.2): it spells out each.
        connection.send(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
        connection
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.stream.write_all(&[&head, payload].concat()).expect("sent");
    }

    /// Asks, with or without a body to follow.
    fn ask(&mut self, stream: u32, head: &[(&str, &str)], has_body: bool) {
        let end = if has_body { 0 } else { END_STREAM };
        let packed: Vec<u8> = head.iter().flat_map(|(name, value)| literal(name, value)).collect();
        let mut pieces = packed.chunks(16_000).peekable();
        let first = pieces.next().unwrap_or_default();
        let mut last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        self.send(HEADERS, end | last, stream, first);
        while let Some(piece) = pieces.next() {
            last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            self.send(CONTINUATION, last, stream, piece);
        }
    }

    /// The next frame: type, flags, stream, payload.
    fn next(&mut self) -> (u8, u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        self.stream.read_exact(&mut payload).expect("a payload");
        (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload)
    }

    /// The statuses of the next so many answers, by their streams; 0 for one that is broken off.
    fn statuses(&mut self, count: usize) -> BTreeMap<u32, u16> {
        let mut found = BTreeMap::new();
        while found.len() < count {
            match self.next() {
                (HEADERS, _, stream, payload) => {
                    self.answered.insert(stream);
                    found.insert(stream, status(&payload));
                }
                // After an answer it means that the body is not wanted any more.
                (RST_STREAM, _, stream, _) if self.answered.insert(stream) => drop(found.insert(stream, 0)),
                (SETTINGS, flags, _, _) if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
                (GOAWAY, _, _, payload) => panic!("it went away: {payload:?}"),
                _ => {}
            }
        }
        found
    }
}

/// A header that no table keeps (RFC 7541, 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut packed = vec![0];
    for text in [name, value] {
        // A length of more than seven bits goes on in pieces of seven.
        match text.len() {
            short @ ..127 => packed.push(u8::try_from(short).expect("short")),
            mut long => {
                packed.push(127);
                long -= 127;
                while long >= 128 {
                    packed.push(u8::try_from(long % 128 + 128).expect("a byte"));
                    long /= 128;
                }
                packed.push(u8::try_from(long).expect("a byte"));
            }
        }
        packed.extend(text.as_bytes());
    }
    packed
}

/// The status with which the head of an answer begins (RFC 7541, appendices A and B).
fn status(head: &[u8]) -> u16 {
    // What it says first of the size of the table.
    let head = &head[head.iter().take_while(|byte| **byte >> 5 == 1).count()..];
    let indexed = [(0x88, 200), (0x89, 204), (0x8a, 206), (0x8b, 304), (0x8c, 400), (0x8d, 404), (0x8e, 500)];
    if let Some((_, status)) = indexed.iter().find(|(byte, _)| *byte == head[0]) {
        return *status;
    }
    // Index 8, status, in any of the forms of a literal; then the digits, mostly in Huffman's code.
    assert!(matches!(head[0], 0x48 | 0x08 | 0x18), "no status: {head:?}");
    let text = &head[2..2 + usize::from(head[1] & 0x7f)];
    if head[1] & 0x80 == 0 {
        return String::from_utf8_lossy(text).parse().expect("digits");
    }
    let bits = text.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let mut left = text.len() * 8;
    let mut take = |count: usize| {
        left -= count;
        u16::try_from(bits >> left & ((1 << count) - 1)).expect("few bits")
    };
    (0..3).fold(0, |number, _| {
        // 0, 1 and 2 have five bits, the other digits six.
        let five = take(5);
        let digit = if five < 3 { five } else { (five << 1 | take(1)) - 0b01_1001 + 3 };
        number * 10 + digit
    })
}

fn head<'h>(method: &'h str, path: &'h str, authority: &'h str) -> Vec<(&'h str, &'h str)> {
    vec![(":method", method), (":scheme", "https"), (":path", path), (":authority", authority)]
}

#[test]
fn it_is_answered_under_the_servers_names() {
    let issued = Issued::new();
    let server = over_tls(&issued, &[]);
    let mut connection = Connection::open(&server);
    connection.ask(1, &head("GET", "/fhir/metadata", address(&server)), false);
    connection.ask(3, &head("GET", "/fhir/metadata", "evil.example"), false);
    connection.ask(5, &head("GET", "/health/live", "evil.example"), false);
    connection.ask(7, &head("GET", "/fhir/Organization/missing", "localhost"), false);
    let two_names = [head("GET", "/fhir/metadata", "localhost"), vec![("host", "evil.example")]].concat();
    connection.ask(9, &two_names, false);
    let nameless = [(":method", "GET"), (":scheme", "https"), (":path", "/fhir/metadata")];
    connection.ask(11, &nameless, false);
    let statuses = connection.statuses(6);
    let of = |stream| statuses[&stream];
    assert_eq!([1, 3, 5, 7, 9].map(of), [200, 403, 200, 404, 403]);
    assert!(matches!(of(11), 0 | 400), "{statuses:?}");
}

#[test]
fn a_hundred_requests_at_once_are_enough() {
    let issued = Issued::new();
    let server = over_tls(&issued, &[]);
    let mut connection = Connection::open(&server);
    // Bodies that do not come yet.
    let post =
        [head("POST", "/fhir/Organization", "localhost"), vec![("content-type", "application/fhir+json")]].concat();
    for number in 0..105 {
        connection.ask(number * 2 + 1, &post, true);
    }
    let refused = connection.statuses(5);
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), [201, 203, 205, 207, 209]);
    assert!(refused.values().all(|status| *status == 429), "{refused:?}");
    // The first one comes to its end, and makes room for another.
    connection.send(0, END_STREAM, 1, b"{}");
    assert_eq!(connection.statuses(1), BTreeMap::from([(1, 400)]));
    connection.ask(211, &head("GET", "/fhir/metadata", "localhost"), false);
    assert_eq!(connection.statuses(1), BTreeMap::from([(211, 200)]));
    // Another connection has its own hundred.
    let mut other = Connection::open(&server);
    other.ask(1, &head("GET", "/fhir/metadata", "localhost"), false);
    assert_eq!(other.statuses(1), BTreeMap::from([(1, 200)]));
}

#[test]
fn heads_are_bounded() {
    let issued = Issued::new();
    let server = over_tls(&issued, &[]);
    let mut connection = Connection::open(&server);
    let large = "x".repeat(40_000);
    let with = |headers: Vec<(&'static str, String)>| (head("GET", "/fhir/metadata", "localhost"), headers);
    for (stream, (head, headers), status) in [
        (1, with(vec![("x-a", "x".repeat(100_000))]), 200),
        (3, with(vec![("x-a", large.clone()), ("x-b", large.clone()), ("x-c", large.clone()), ("x-d", large)]), 431),
        (5, with(vec![("x-a", String::new()); 90]), 200),
        (7, with(vec![("x-a", String::new()); 97]), 431),
    ] {
        let extra = headers.iter().map(|(name, value)| (*name, value.as_str()));
        connection.ask(stream, &head.into_iter().chain(extra).collect::<Vec<_>>(), false);
        assert_eq!(connection.statuses(1), BTreeMap::from([(stream, status)]));
    }
}
