//! What goes wrong below HTTP's semantics: methods, versions, hosts, slow and sudden clients.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Answer, Server};

use super::{QUICK, check_refusal, raw, until, versions_stored};

#[test]
fn a_foreign_host_is_refused() {
    let server = Server::sqlite(&[]);
    let (_, port) = raw::address(&server).rsplit_once(':').expect("a port");
    let get = |host: &[u8]| {
        raw::exchange(&server, &[b"GET /fhir/metadata HTTP/1.1\r\nConnection: close\r\n", host, b"\r\n"].concat(), b"")
    };
    for host in [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "evil.example:127.0.0.1",
        "localhost@evil.example",
        "192.168.0.1",
        "0.0.0.0",
        "10.0.0.1:8080",
        "[::2]",
        "example",
        "127.0.0.1:x",
        "localhost:80:80",
    ] {
        let reply = get(format!("Host: {host}\r\n").as_bytes());
        assert!(matches!(reply.status, 400 | 403), "{host}: {reply:?}");
        let is_explained = reply.text.contains("OperationOutcome") && reply.text.contains("server.base_url");
        assert!(reply.status == 400 || is_explained, "{host}: {reply:?}");
    }
    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.2",
        "[::1]",
        &format!("localhost:{port}"),
        &format!("127.0.0.1:{port}"),
        &format!("[::1]:{port}"),
    ] {
        assert_eq!(get(format!("Host: {host}\r\n").as_bytes()).status, 200, "{host}");
    }
    for (what, host) in [
        ("no Host", &b""[..]),
        ("an empty Host", b"Host:\r\n"),
        ("bytes for a Host", b"Host: \xff\xfe\r\n"),
        ("two Hosts", b"Host: localhost\r\nHost: evil.example\r\n"),
        ("two Hosts, the other way round", b"Host: evil.example\r\nHost: localhost\r\n"),
    ] {
        let reply = get(host);
        assert!(matches!(reply.status, 400 | 403), "{what}: {reply:?}");
    }
    let reply = raw::exchange(&server, b"GET http://evil.example/fhir/metadata HTTP/1.1\r\n{host}\r\n", b"");
    assert!(matches!(reply.status, 400 | 403 | 404), "a foreign absolute URL: {reply:?}");
    // A refused host can do nothing, whatever the method.
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let request = server
            .request(method, "Organization/a")
            .header("host", "evil.example")
            .header("content-type", "application/fhir+json");
        check_refusal(
            &Answer::of(request.body("{\"resourceType\":\"Organization\",\"id\":\"a\",\"name\":\"x\"}")),
            &[403],
            method,
        );
    }
    assert_eq!(versions_stored(&server), 0);
}

#[test]
fn a_page_of_another_origin_gets_no_permission() {
    let server = Server::sqlite(&[]);
    let preflight = server
        .request("OPTIONS", "Organization")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST");
    let answer = Answer::of(preflight);
    assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
    // What a page may send without asking: a form, or text.
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let request = server
            .request("POST", "Organization")
            .header("origin", "https://evil.example")
            .header("content-type", media_type);
        check_refusal(
            &Answer::of(request.body("{\"resourceType\":\"Organization\",\"name\":\"x\"}")),
            &[403, 415],
            media_type,
        );
    }
    assert_eq!(versions_stored(&server), 0);
}

#[test]
fn methods_that_are_not_allowed() {
    let server = Server::sqlite(&[]);
    for (method, path) in [
        ("TRACE", "metadata"),
        ("TRACE", "Organization/a"),
        ("OPTIONS", "Organization"),
        ("OPTIONS", ""),
        ("PROPFIND", "Organization"),
        ("NONSENSE", "Organization"),
        ("POST", "metadata"),
        ("DELETE", "metadata"),
        ("POST", "Organization/a"),
        ("PUT", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "_history"),
        ("DELETE", "Organization/_history"),
        ("PUT", "Organization/a/_history/1"),
        ("GET", "Organization/_search"),
        ("PUT", "Organization/_search"),
    ] {
        check_refusal(&Answer::of(server.request(method, path)), &[400, 404, 405], &format!("{method} {path}"));
    }
    let reply = raw::exchange(&server, b"TRACE /fhir/metadata HTTP/1.1\r\nCookie: secret=1\r\n{host}\r\n", b"");
    assert!(!reply.text.contains("secret"), "{reply:?}");
    let reply = raw::exchange(&server, b"CONNECT evil.example:443 HTTP/1.1\r\n{host}\r\n", b"");
    assert!(matches!(reply.status, 400 | 403 | 404 | 405), "{reply:?}");
    let put = server.put("Organization/a", &json!({"resourceType": "Organization", "id": "a", "name": "x"}));
    assert_eq!(put.status, 201, "{put}");
    for path in [
        "Organization/a",
        "Organization",
        "metadata",
        "Organization/a/_history",
        "Organization/a/_history/1",
        "_history",
        "",
        "Organization/b",
    ] {
        let (head, get) = (Answer::of(server.request("HEAD", path)), server.get(path));
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "HEAD {path}");
        assert_eq!(
            (head.header("etag"), head.header("content-type")),
            (get.header("etag"), get.header("content-type")),
            "HEAD {path}"
        );
    }
}

#[test]
fn versions_of_http() {
    let server = Server::sqlite(&[]);
    let with_host = raw::exchange(&server, b"GET /fhir/metadata HTTP/1.0\r\n{host}\r\n", b"");
    assert_eq!((with_host.status, with_host.responses()), (200, 1), "{with_host:?}");
    let without_host = raw::exchange(&server, b"GET /fhir/metadata HTTP/1.0\r\n\r\n", b"");
    assert_eq!(without_host.status, 200, "HTTP/1.0 knows no Host: {without_host:?}");
    for line in [
        "GET /fhir/metadata HTTP/9.9",
        "GET /fhir/metadata HTTP/1.1 x",
        "GET /fhir/metadata",
        "PRI * HTTP/2.0",
        "GET  /fhir/metadata  HTTP/1.1",
        "\u{16}\u{3}\u{1}",
        "GET\0/fhir HTTP/1.1",
        "",
        "\n\n\n",
    ] {
        let reply = raw::exchange(&server, format!("{line}\r\n{{host}}\r\n").as_bytes(), b"");
        assert!(matches!(reply.status, 0 | 400 | 505), "{line}: {reply:?}");
    }
    assert_eq!(server.get("metadata").status, 200);
}

/// Two lengths are how one request hides in another.
#[test]
fn requests_cannot_be_smuggled() {
    let server = Server::sqlite(&[]);
    let inner = "DELETE /fhir/Organization/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(
        server.put("Organization/a", &json!({"resourceType": "Organization", "id": "a", "name": "x"})).status,
        201
    );
    for (what, headers, body) in [
        ("both", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", format!("0\r\n\r\n{inner}")),
        (
            "both, the other way round",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            format!("0\r\n\r\n{inner}"),
        ),
        ("two lengths", "Content-Length: 0\r\nContent-Length: 60\r\n", inner.to_owned()),
        ("an unknown encoding", "Transfer-Encoding: xchunked\r\n", format!("0\r\n\r\n{inner}")),
        ("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", format!("0\r\n\r\n{inner}")),
        ("a space before the colon", "Content-Length : 60\r\n", inner.to_owned()),
        ("a folded header", "X: y\r\n Content-Length: 60\r\n", inner.to_owned()),
    ] {
        let head =
            format!("POST /fhir/Organization HTTP/1.1\r\n{{host}}Content-Type: application/fhir+json\r\n{headers}\r\n");
        let reply = raw::exchange(&server, head.as_bytes(), body.as_bytes());
        assert!((400..500).contains(&reply.status) || reply.status == 0, "{what}: {reply:?}");
        assert!(reply.responses() <= 1, "{what}: {reply:?}");
        assert_eq!(server.get("Organization/a").status, 200, "{what}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::sqlite(&[]);
    let one = |path: &str| format!("GET /fhir/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let many: String = (0..200).map(|n| one(&format!("Organization/n{n}"))).collect();
    let last = "GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let reply = raw::exchange(&server, format!("{many}{last}").as_bytes(), b"");
    assert_eq!(reply.responses(), 201, "{:.500}", reply.text);
    let places: Vec<usize> = (0..200)
        .map(|n| reply.text.find(&format!("Organization/n{n} ")).unwrap_or_else(|| panic!("n{n} is answered")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    // A refused body does not turn into the next request.
    let body = "x".repeat(100);
    let put = format!(
        "PUT /fhir/Organization/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n{body}"
    );
    let reply = raw::exchange(&server, format!("{put}{put}{last}").as_bytes(), b"");
    let statuses: Vec<&str> = reply.text.split("HTTP/1.1 ").skip(1).map(|response| &response[..3]).collect();
    assert_eq!(statuses, ["415", "415", "200"], "{:.500}", reply.text);
}

#[test]
fn a_client_that_dawdles_with_its_head_is_cut() {
    let server = Server::sqlite(&[]);
    let mut stream = raw::connect(&server);
    stream.write_all(b"GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\nX: ").expect("sent");
    let mut drip = stream.try_clone().expect("a handle");
    let reply = std::thread::scope(|scope| {
        // A byte now and then makes no difference: what counts is when the head is done.
        scope.spawn(move || {
            while drip.write_all(b"x").is_ok() {
                std::thread::park_timeout(Duration::from_millis(500))
            }
        });
        raw::finish(stream)
    });
    assert!(matches!(reply.status, 0 | 408), "{reply:?}");
    assert!(reply.took < Duration::from_secs(20), "{:?}", reply.took);
}

#[test]
fn a_client_that_dawdles_with_its_body_is_cut() {
    let server = Server::sqlite(&[]);
    let mut stream = raw::connect(&server);
    stream.write_all(b"POST /fhir/Organization HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nContent-Length: 1000\r\n\r\n{").expect("sent");
    let reply = raw::finish(stream);
    assert!(matches!(reply.status, 0 | 400 | 408), "{reply:?}");
    assert!(reply.took < Duration::from_secs(30), "{:?}", reply.took);
    assert_eq!(versions_stored(&server), 0);
}

#[test]
fn clients_that_leave_in_the_middle_do_no_harm() {
    let server = Server::sqlite(&[]);
    for head in [
        "GET /fhir/metadata HTTP/1.1\r\n",
        "POST /fhir/Organization HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nContent-Length: 50\r\n\r\n{\"resourceType\":\"Organization\",\"name\":\"x\"}",
        "POST /fhir/Organization HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n{\"resourceType\":\"Organization\",\"name\":\"x\"}\r\n",
    ] {
        for _ in 0..50 {
            raw::connect(&server).write_all(head.as_bytes()).expect("sent");
        }
    }
    until(QUICK, "it answers", || server.get("metadata").status == 200);
    assert_eq!(versions_stored(&server), 0, "half a body is no body, even if what came is sound JSON");
}
