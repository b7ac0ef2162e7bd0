//! Calls to other servers: what may be called, and what a server that is called can do to this one.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::{X509, X509NameBuilder};
use plumbline::config;
use plumbline::net::{Client, Fetched, Limits, NetError};
use tempfile::TempDir;

/// Bytes that the tests let a body have.
const BYTES_MAX: usize = 1_000;
/// A port at which nobody listens.
const CLOSED: u16 = 1;

fn settings(allow: &[&str]) -> config::Net {
    config::Net { allow_private: allow.iter().map(|range| (*range).to_owned()).collect() }
}

/// A client that may call the servers of these tests.
fn client() -> Client {
    Client::new(&settings(&["127.0.0.0/8"])).expect("a client")
}

async fn get(url: &str) -> Result<Fetched, NetError> {
    client().get_json(url, BYTES_MAX).await
}

/// The error and its causes, as the log has them.
fn told(error: &NetError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A server on loopback.
struct Peer {
    port: u16,
    /// The head of each request, sent before it is answered.
    heads: Receiver<String>,
}

impl Peer {
    /// A server that reads a request on each connection and then does something with the connection.
    fn new(answer: impl Fn(TcpStream) + Send + 'static) -> Self {
        let (told, heads) = channel();
        let port = serve(move |mut connection| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(connection.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let _test_is_over = told.send(String::from_utf8_lossy(&head).to_ascii_lowercase());
            answer(connection);
        });
        Self { port, heads }
    }

    /// A server that answers each request with the same bytes and closes the connection.
    fn saying(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::new(move |mut connection| {
            let _gone = connection.write_all(answer.as_bytes());
        })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/keys", self.port)
    }
}

/// Takes connections, one after another, until the tests end; the port.
fn serve(mut with: impl FnMut(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(&mut with));
    port
}

/// Waits until the client is gone.
fn wait(mut connection: TcpStream) {
    let _gone = connection.read(&mut [0]);
}

#[tokio::test]
async fn what_may_be_called_is_fetched() {
    let peer = Peer::saying(
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\nContent-Length: 11\r\nSet-Cookie: a=b\r\n\r\n{\"keys\":[]}",
    );
    let client = client();
    for url in [peer.url(), peer.url().replace("127.0.0.1", "localhost"), peer.url().replace("127.0.0.1", "0x7f.1")] {
        let fetched = client.get_json(&url, BYTES_MAX).await.expect("an answer");
        assert_eq!(fetched.body, b"{\"keys\":[]}");
        assert_eq!(fetched.max_age, Some(Duration::from_secs(600)));
        let head = peer.heads.recv().expect("a request");
        assert!(head.starts_with("get /keys http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nuser-agent: plumbline/{}\r\n", env!("CARGO_PKG_VERSION"))), "{head}");
        for unwanted in ["cookie:", "authorization:", "referer:", "accept-encoding:"] {
            assert!(!head.contains(unwanted), "{head}");
        }
    }
    let silent = Peer::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(get(&silent.url()).await.expect("an answer").max_age, None);
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    // The variables must not be set for the other tests in this process.
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.args(["--exact", "net::what_may_be_called_is_fetched"]).env_remove("NO_PROXY").env_remove("no_proxy");
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        again.env(name, format!("http://127.0.0.1:{CLOSED}"));
    }
    let output = again.output().expect("it runs");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[tokio::test]
async fn what_may_not_be_called_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("it does not wait");
    let port = listener.local_addr().expect("its address").port();
    let hosts = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "0.0.0.0",
        "0",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ];
    let none = Client::new(&settings(&[])).expect("a client");
    let other = Client::new(&settings(&["10.9.0.0/16", "fd00:9::/32"])).expect("a client");
    for (client, scheme) in [(&none, "http"), (&none, "https"), (&other, "http"), (&other, "https")] {
        for host in hosts {
            let url = format!("{scheme}://{host}:{port}/");
            let error = client.get_json(&url, BYTES_MAX).await.expect_err(&url);
            // Not every system knows itself by a name with a dot at its end.
            let unknown = host == "localhost." && matches!(error, NetError::Unknown { .. });
            assert!(unknown || matches!(error, NetError::Refused { .. }), "{url}: {error:?}");
            if host.to_lowercase().starts_with("localhost") {
                let told = told(&error);
                assert!(told.starts_with("localhost"), "{told}");
                assert!(!told.contains("127.") && !told.contains("::1"), "{told}");
            }
        }
    }
    // Nobody even connected.
    assert_eq!(listener.accept().expect_err("no connection").kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn without_tls_only_what_is_allowed_is_called() {
    for url in ["http://1.1.1.1/", "http://[2606:4700:4700::1111]/", "http://[::ffff:1.1.1.1]/"] {
        let error = get(url).await.expect_err(url);
        assert!(matches!(error, NetError::Plain { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains("https"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_url_to_call_is_refused() {
    let long = format!("https://directory.example/{}", "a".repeat(10_000));
    for (url, problem) in [
        ("", "absolute"),
        ("keys.json", "absolute"),
        ("//directory.example/keys", "absolute"),
        ("https://", "absolute"),
        ("https://256.256.256.256/", "absolute"),
        ("ftp://directory.example/keys", "https"),
        ("file:///etc/passwd", "https"),
        ("data:application/json,{}", "https"),
        ("unix:/run/socket", "https"),
        ("https://user@directory.example/", "user name"),
        ("https://:secret@directory.example/", "password"),
        ("http://user:secret@127.0.0.1/", "password"),
        (&long, "too long"),
    ] {
        let error = get(url).await.expect_err(url);
        assert!(matches!(error, NetError::Url { .. }), "{url}: {error:?}");
        let told = told(&error);
        assert!(told.contains(problem) && !told.contains("secret") && told.len() < 200, "{url}: {told}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let target = Peer::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        let peer = Peer::saying(format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            target.url()
        ));
        let error = get(&peer.url()).await.expect_err("refused");
        assert!(matches!(error, NetError::Status(found) if found == status), "{error:?}");
        assert_eq!((peer.heads.try_iter().count(), target.heads.try_iter().count()), (1, 0));
    }
}

#[tokio::test]
async fn only_200_is_an_answer() {
    for status in [201, 204, 206, 304, 401, 404, 500, 503] {
        let peer = Peer::saying(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"));
        let error = get(&peer.url()).await.expect_err("refused");
        assert!(matches!(error, NetError::Status(found) if found == status), "{error:?}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(peer.heads.try_iter().count(), 1, "asked once");
    }
}

#[tokio::test]
async fn a_body_is_no_larger_than_allowed() {
    let full = "a".repeat(BYTES_MAX);
    let sized = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunked = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    for answer in [sized(&full), chunked(&full)] {
        assert_eq!(get(&Peer::saying(answer).url()).await.expect("it fits").body.len(), BYTES_MAX);
    }
    let over = format!("{full}a");
    for answer in [sized(&over), chunked(&over)] {
        let error = get(&Peer::saying(answer).url()).await.expect_err("too large");
        assert!(matches!(error, NetError::TooLarge { bytes_max: BYTES_MAX }), "{error:?}");
    }
    // It ends when the client hangs up.
    let endless = Peer::new(|mut connection| {
        let _gone = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while connection.write_all(&[b'a'; 4_096]).is_ok() {}
    });
    let error = get(&endless.url()).await.expect_err("too large");
    assert!(matches!(error, NetError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_packed_is_not_unpacked() {
    let peer = Peer::saying("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\npacked");
    assert_eq!(get(&peer.url()).await.expect("an answer").body, b"packed");
}

#[tokio::test]
async fn who_is_slow_is_left() {
    let limits = Limits { whole: Duration::from_millis(100), ..Limits::default() };
    let client = Client::with_limits(&settings(&["127.0.0.1"]), limits).expect("a client");
    let silent = Peer::new(wait);
    let stuck = Peer::new(|mut connection| {
        let _gone = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{");
        wait(connection);
    });
    for url in [silent.url(), stuck.url(), silent.url().replace("http:", "https:")] {
        let error = client.get_json(&url, BYTES_MAX).await.expect_err("too slow");
        assert!(matches!(error, NetError::Timeout { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains("in time"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_fails_is_an_error_with_its_cause() {
    // What is closed unread is reset.
    let reset = serve(|connection| {
        let _request = connection.peek(&mut [0]);
    });
    let nonsense = Peer::saying("nonsense\r\n\r\n").port;
    for port in [reset, CLOSED, nonsense] {
        let error = get(&format!("http://127.0.0.1:{port}/?token=secret")).await.expect_err("no answer");
        assert!(matches!(error, NetError::Unreachable { .. }), "{error:?}");
        let told = told(&error);
        assert!(std::error::Error::source(&error).is_some() && !told.contains("secret"), "{told}");
    }
    // No part of a name has more than 63 characters, so that nobody on the network is asked about it.
    let error = get(&format!("http://{}.invalid/", "a".repeat(64))).await.expect_err("no such host");
    assert!(matches!(error, NetError::Unknown { .. }), "{error:?}");

    let short = Peer::saying("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{");
    let error = get(&short.url()).await.expect_err("no whole answer");
    assert!(matches!(error, NetError::Body { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let key = PKey::from_rsa(Rsa::generate(2_048).expect("a key")).expect("a key");
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_text("CN", "localhost").expect("a name");
    let name = name.build();
    let mut certificate = X509::builder().expect("a certificate");
    certificate.set_version(2).expect("a version");
    certificate.set_subject_name(&name).expect("a subject");
    certificate.set_issuer_name(&name).expect("an issuer");
    certificate.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("a beginning");
    certificate.set_not_after(&Asn1Time::days_from_now(1).expect("a time")).expect("an end");
    certificate.set_pubkey(&key).expect("a key");
    certificate.sign(&key, MessageDigest::sha256()).expect("a signature");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("an acceptor");
    acceptor.set_private_key(&key).expect("a key");
    acceptor.set_certificate(&certificate.build()).expect("a certificate");
    let acceptor = acceptor.build();

    let (told, outcomes) = channel();
    let port = serve(move |connection| {
        let _test_is_over = told.send(acceptor.accept(connection).is_ok());
    });
    let error = get(&format!("https://localhost:{port}/")).await.expect_err("refused");
    assert!(matches!(error, NetError::Unreachable { .. }), "{error:?}");
    assert!(self::told(&error).contains("certificate"), "{}", self::told(&error));
    assert!(!outcomes.recv().expect("a connection"), "the client went on");
}

#[test]
fn the_environment_says_what_may_be_called() {
    let folder = TempDir::new().expect("a folder");
    let run = |name: &str, value: &str| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plumbline"));
        command.args(["package", "list"]).current_dir(folder.path()).env(name, value).output().expect("it runs")
    };
    let (short, regular) = ("PLUMBLINE_NET_ALLOW_PRIVATE", "PLUMBLINE_NET__ALLOW_PRIVATE");
    for (name, value) in [
        (short, "127.0.0.0/8,10.1.0.0/16"),
        (short, "127.0.0.1, ::1"),
        (short, ""),
        (regular, r#"["127.0.0.0/8", "::1"]"#),
        (regular, "[]"),
    ] {
        let output = run(name, value);
        assert!(output.status.success(), "{value}: {output:?}");
    }
    for (name, value) in
        [(short, "127.0.0.0/8,10.0.0.0/33"), (short, "10.0.0.0/33"), (regular, r#"["127.0.0.0/8", "10.0.0.0/33"]"#)]
    {
        let output = run(name, value);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{value}: {output:?}");
        assert!(told.contains("net.allow_private") && told.contains("'10.0.0.0/33'"), "{told}");
    }
    let error = Client::new(&settings(&["localhost"])).expect_err("refused");
    assert!(matches!(&error, NetError::Setting(told) if told.contains("'localhost'")), "{error:?}");
}
