//! Sizes: of bodies, of what they expand to, of heads.

use std::io::Write;
use std::time::Instant;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::harness::{Answer, Server};

use super::{QUICK, check_refusal, peak_memory, raw, until, versions_stored};

const BODY_MAX: usize = 100_000;
/// Memory that refusing something may cost on top.
const MEMORY_MAX: u64 = 128 << 20;

fn small() -> Server {
    Server::sqlite(&[("PLUMBLINE_SERVER__BODY_BYTES_MAX", "100000")])
}

/// An Organization of exactly `bytes` bytes.
fn organization(bytes: usize) -> String {
    let empty = "{\"resourceType\":\"Organization\",\"name\":\"\"}".len();
    format!("{{\"resourceType\":\"Organization\",\"name\":\"{}\"}}", "x".repeat(bytes - empty))
}

fn post(server: &Server, encoding: Option<&str>, body: Vec<u8>) -> Answer {
    let start = Instant::now();
    let mut request = server.request("POST", "Organization").header("content-type", "application/fhir+json");
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    let answer = Answer::of(request.body(body));
    assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
    answer
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// `megabytes` of spaces in gzip.
fn gzip_bomb(megabytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let spaces = vec![b' '; 1 << 20];
    (0..megabytes).for_each(|_| encoder.write_all(&spaces).expect("in memory"));
    encoder.finish().expect("in memory")
}

#[test]
fn a_body_may_have_as_many_bytes_as_the_setting_says() {
    let server = small();
    assert_eq!(post(&server, None, organization(BODY_MAX).into_bytes()).status, 201);
    check_refusal(&post(&server, None, organization(BODY_MAX + 1).into_bytes()), &[413], "one byte more");
    check_refusal(
        &Answer::of(
            server
                .request("PUT", "Organization/a")
                .header("content-type", "application/fhir+json")
                .body(organization(BODY_MAX + 1)),
        ),
        &[413],
        "PUT",
    );
    check_refusal(
        &Answer::of(
            server
                .request("PATCH", "Organization/a")
                .header("content-type", "application/json-patch+json")
                .body(organization(BODY_MAX + 1)),
        ),
        &[413],
        "PATCH",
    );
    check_refusal(
        &Answer::of(
            server.request("POST", "").header("content-type", "application/fhir+xml").body(organization(BODY_MAX + 1)),
        ),
        &[413],
        "a Bundle",
    );
    let form = format!("name={}", "x".repeat(BODY_MAX));
    check_refusal(
        &Answer::of(
            server
                .request("POST", "Organization/_search")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form),
        ),
        &[413],
        "a form",
    );
    assert_eq!(versions_stored(&server), 1);
}

#[test]
fn a_length_that_is_too_large_is_refused_before_the_body() {
    let server = small();
    for length in ["100001", "1073741824", "9223372036854775807", "18446744073709551615"] {
        let head = format!(
            "POST /fhir/Organization HTTP/1.1\r\n{{host}}Content-Type: application/fhir+json\r\nContent-Length: {length}\r\n\r\n"
        );
        let reply = raw::exchange(&server, head.as_bytes(), b"");
        assert_eq!(reply.status, 413, "{length}: {reply:?}");
        assert!(reply.text.contains("OperationOutcome") && reply.took < QUICK, "{length}: {reply:?}");
    }
    for length in ["-1", "x", "1e3", "+5", "99999999999999999999999999", "1, 2", "0x10", ""] {
        let head = format!(
            "POST /fhir/Organization HTTP/1.1\r\n{{host}}Content-Type: application/fhir+json\r\nContent-Length: {length}\r\n\r\n"
        );
        let reply = raw::exchange(&server, head.as_bytes(), b"");
        assert!(matches!(reply.status, 400 | 413), "{length}: {reply:?}");
    }
}

#[test]
fn a_chunked_body_is_bounded_too() {
    let server = small();
    let head = b"POST /fhir/Organization HTTP/1.1\r\n{host}Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let before = peak_memory(&server);
    // 64 MB in chunks of 64 KB, of which the server should take no more than it needs to know.
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(vec![b' '; 0x10000]);
    chunk.extend(b"\r\n");
    let reply = raw::exchange(&server, head, &[chunk.repeat(1_000), b"0\r\n\r\n".to_vec()].concat());
    assert!(matches!(reply.status, 0 | 413), "{} {:.500}", reply.status, reply.text);
    assert!(
        reply.took < QUICK && peak_memory(&server) < before + MEMORY_MAX,
        "{:?}, {} bytes",
        reply.took,
        peak_memory(&server)
    );
    for (what, body) in [
        ("a size that is none", &b"zz\r\n{}\r\n0\r\n\r\n"[..]),
        ("a negative size", b"-1\r\n{}\r\n0\r\n\r\n"),
        ("a huge size", b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ("a line break too few", b"2\r\n{}0\r\n\r\n"),
    ] {
        let reply = raw::exchange(&server, head, body);
        assert!(matches!(reply.status, 400 | 413), "{what}: {reply:?}");
    }
    assert_eq!(versions_stored(&server), 0);
}

#[test]
fn a_compressed_body_is_taken() {
    let server = small();
    assert_eq!(post(&server, Some("gzip"), gzip(organization(1_000).as_bytes())).status, 201);
    assert_eq!(post(&server, Some("identity"), organization(1_000).into_bytes()).status, 201);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(organization(1_000).as_bytes()).expect("in memory");
    assert_eq!(post(&server, Some("deflate"), encoder.finish().expect("in memory")).status, 201);
}

#[test]
fn what_a_body_expands_to_is_bounded() {
    let server = small();
    let before = peak_memory(&server);
    for (what, bomb) in [
        ("1 GB in 1 MB", gzip_bomb(1_024)),
        ("zip of zips", gzip(&gzip_bomb(1_024))),
        ("100,001 bytes", gzip(organization(BODY_MAX + 1).as_bytes())),
    ] {
        let start = Instant::now();
        let answer = post(&server, Some("gzip"), bomb);
        check_refusal(&answer, &[400, 413], what);
        assert!(start.elapsed() < QUICK, "{what}: {:?}", start.elapsed());
    }
    // 256 MB of spaces in Brotli.
    check_refusal(&post(&server, Some("br"), brotli_bomb()), &[400, 413, 415], "br");
    assert!(peak_memory(&server) < before + MEMORY_MAX, "{} bytes", peak_memory(&server));
    for (what, encoding, body) in [
        ("no gzip", "gzip", organization(1_000).into_bytes()),
        ("half a gzip", "gzip", gzip(organization(1_000).as_bytes())[..40].to_vec()),
        ("a gzip with a wrong checksum", "gzip", {
            let mut bytes = gzip(organization(1_000).as_bytes());
            let at = bytes.len() - 6;
            bytes[at] ^= 1;
            bytes
        }),
        ("no deflate", "deflate", organization(1_000).into_bytes()),
    ] {
        check_refusal(&post(&server, Some(encoding), body), &[400], what);
    }
    for encoding in ["zstd", "compress", "nonsense", "gzip, gzip", "br, gzip"] {
        check_refusal(&post(&server, Some(encoding), gzip(organization(1_000).as_bytes())), &[400, 415], encoding);
    }
    assert_eq!(versions_stored(&server), 0);
}

/// What [`BROTLI_BOMB`] holds in hexadecimal digits.
fn brotli_bomb() -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).expect("a digit");
    BROTLI_BOMB.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

const BROTLI_BOMB: &str = "cbffff3f002440e2b14072effff8ffff078004401c1680eefd1fffffff00900088c302d0bdffe3ffff1f001200715800baf77ffcffff034002200e0b40f7fe8fffff7f004800c46101e8defff1ffff0f000980382c00ddfb3ffeffff012001108705a07bffc7ffff3f002400e2b00074effff8ffff078004401c1680eefd1fffffff00900088c302d0bdffe3ffff1f001200715800baf77ffcffff034002200e0b40f7fe8fffff7f004800c46101e8defff1ffff0f000980382c00ddfb3ffeffff012001108705a07bffc7ffff3f002400e2b00074effff8ffff078004401c1680eefd1fffffff00900088c302d0bdffe3ffff1f001200715800baf77ffcffff034002200e0b40f7fe8fffff7f004800c46101e8defff1ffff0f000980382c00ddfb3ffeffff012001108705a07bffc7ffff3f002400e2b00074effff8ffff078004401c1680eefd1fffffff00900088c302d0bdffe3ffff1f001200715800baf77ffcffff034002200e0b40f7fe8fffff7f004800c46101e8defff1ffff0f000980382c00ddfb3ffeffff012001108705a07bff37";

#[test]
fn heads_are_bounded() {
    let server = small();
    let before = peak_memory(&server);
    for (what, head) in [
        ("a header of 1 MB", format!("GET /fhir/metadata HTTP/1.1\r\n{{host}}X: {}\r\n\r\n", "x".repeat(1_000_000))),
        ("10,000 headers", format!("GET /fhir/metadata HTTP/1.1\r\n{{host}}{}\r\n", "X: y\r\n".repeat(10_000))),
        (
            "a header name of 1 MB",
            format!("GET /fhir/metadata HTTP/1.1\r\n{{host}}{}: y\r\n\r\n", "X".repeat(1_000_000)),
        ),
        ("a method of 1 MB", format!("{} /fhir/metadata HTTP/1.1\r\n{{host}}\r\n", "X".repeat(1_000_000))),
    ] {
        let reply = raw::exchange(&server, head.as_bytes(), b"");
        assert!(matches!(reply.status, 0 | 400 | 431), "{what}: {} {:.300}", reply.status, reply.text);
        assert!(reply.took < QUICK, "{what}: {:?}", reply.took);
    }
    for name in [
        "Accept",
        "Prefer",
        "If-None-Match",
        "If-Match",
        "If-Modified-Since",
        "If-None-Exist",
        "Content-Type",
        "Accept-Encoding",
        "Cookie",
    ] {
        let value = "a/b,".repeat(10_000);
        let head = format!("GET /fhir/Organization HTTP/1.1\r\n{{host}}{name}: {value}\r\n\r\n");
        let reply = raw::exchange(&server, head.as_bytes(), b"");
        assert!(matches!(reply.status, 200 | 400 | 406), "{name}: {} {:.300}", reply.status, reply.text);
    }
    assert!(peak_memory(&server) < before + MEMORY_MAX, "{} bytes", peak_memory(&server));
    assert_eq!(server.get("metadata").status, 200);
}

#[test]
fn more_connections_than_the_setting_says_wait_and_are_served() {
    let server = Server::sqlite(&[("PLUMBLINE_SERVER__CONNECTIONS_MAX", "4"), ("PLUMBLINE_SERVER__WORKERS", "1")]);
    let idle: Vec<_> = (0..64).map(|_| raw::connect(&server)).collect();
    drop(idle);
    until(QUICK, "it serves again", || server.get("metadata").status == 200);
}
