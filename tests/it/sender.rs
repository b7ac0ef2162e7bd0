//! Posts to other servers: what goes out, what comes back, and what a server that is called can do to this one.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender as Teller, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use plumbline::config;
use plumbline::net::{Answered, NetError, Post, Sender};

const BODY: &str = r#"{"resourceType":"Bundle"}"#;

fn settings(allow: &[&str]) -> config::Net {
    config::Net { allow_private: allow.iter().map(|range| (*range).to_owned()).collect() }
}

/// A sender that may call the servers of these tests.
fn sender() -> Sender {
    Sender::new(&settings(&["127.0.0.0/8"])).expect("a sender")
}

fn post(url: &str) -> Post<'_> {
    let headers = &[("Content-Type", "application/fhir+json"), ("webhook-id", "msg_1")];
    Post { url, headers, body: Bytes::from_static(BODY.as_bytes()), timeout: Duration::from_secs(5) }
}

/// What a server does about a request: which one it is of its connection comes with it. The connection goes on if it says so.
type Act = dyn Fn(&mut TcpStream, usize) -> bool + Send + Sync;

/// A server on loopback that takes one request after another on each connection.
struct Peer {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Receiver<String>,
}

impl Peer {
    fn new(act: impl Fn(&mut TcpStream, usize) -> bool + Send + Sync + 'static) -> Self {
        let (teller, requests) = channel();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, act, teller) = (Arc::clone(&connections), Arc::new(act), Arc::new(Mutex::new(teller)));
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let (act, teller) = (Arc::clone(&act), Arc::clone(&teller));
                thread::spawn(move || converse(connection, &*act, &teller));
            }
        });
        Self { port, connections, requests }
    }

    /// A server that gives each request the same answer and keeps the connection.
    fn saying(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::new(move |connection, _| connection.write_all(answer.as_bytes()).is_ok())
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn converse(mut connection: TcpStream, act: &Act, teller: &Mutex<Teller<String>>) {
    for n in 0.. {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(BODY.as_bytes()) {
            if !matches!(connection.read(&mut byte), Ok(1)) {
                return;
            }
            request.push(byte[0]);
        }
        let _test_is_over = teller.lock().expect("the teller").send(String::from_utf8_lossy(&request).into_owned());
        if !act(&mut connection, n) {
            return;
        }
    }
}

fn sized(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Waits until the client is gone.
fn wait(connection: &mut TcpStream) -> bool {
    let _gone = connection.read(&mut [0]);
    false
}

async fn answered(peer: &Peer) -> Answered {
    sender().post(post(&peer.url())).await.expect("an answer")
}

#[tokio::test]
async fn what_is_posted_arrives_as_it_is() {
    let peer = Peer::saying(sized("202 Accepted", "thanks"));
    let answer = answered(&peer).await;
    assert_eq!((answer.status, answer.retry_after, answer.excerpt.as_str()), (202, None, "thanks"));
    assert!(answer.is_success() && answer.ms < 5_000, "{answer:?}");
    let request = peer.requests.recv().expect("a request");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
    assert_eq!(body, BODY);
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /hook http/1.1\r\n"), "{head}");
    for wanted in
        ["content-type: application/fhir+json", "webhook-id: msg_1", "content-length: 25", "user-agent: plumbline/"]
    {
        assert!(head.contains(&format!("\r\n{wanted}")), "{head}");
    }
    for unwanted in ["cookie:", "referer:", "accept-encoding:", "transfer-encoding:", "expect:"] {
        assert!(!head.contains(unwanted), "{head}");
    }
}

#[tokio::test]
async fn connections_are_kept_for_the_next_post() {
    let small = sized("200 OK", "");
    let whole = sized("500 Oh", &"a".repeat(10_000));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned();
    for answer in [small, whole, chunked] {
        let peer = Peer::saying(answer);
        let sender = sender();
        for _ in 0..5 {
            sender.clone().post(post(&peer.url())).await.expect("an answer");
            // The connection is back when the end of the answer has been seen.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((peer.requests.try_iter().count(), peer.connections()), (5, 1));
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_does_no_harm() {
    let peer = Peer::new(|connection, _| {
        let _gone = connection.write_all(sized("200 OK", "").as_bytes());
        false
    });
    let sender = sender();
    for _ in 0..3 {
        assert_eq!(sender.post(post(&peer.url())).await.expect("an answer").status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((peer.requests.try_iter().count(), peer.connections()), (3, 3));
}

#[tokio::test]
async fn any_status_is_an_answer_and_redirects_are_not_followed() {
    for status in [200, 204, 301, 302, 303, 307, 308, 400, 401, 410, 429, 500, 503] {
        let target = Peer::saying(sized("200 OK", ""));
        let peer = Peer::saying(format!(
            "HTTP/1.1 {status} So\r\nLocation: {}\r\n{}\r\n",
            target.url(),
            if status == 204 { "" } else { "Content-Length: 0\r\n" }
        ));
        let answer = answered(&peer).await;
        assert_eq!((answer.status, answer.is_success()), (status, status < 300));
        assert_eq!((peer.requests.try_iter().count(), target.requests.try_iter().count()), (1, 0));
    }
}

#[tokio::test]
async fn a_server_may_say_when_it_wants_more() {
    let said = |value: &str| {
        Peer::saying(format!(
            "HTTP/1.1 429 Too Many\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    assert_eq!(answered(&said("120")).await.retry_after, Some(Duration::from_secs(120)));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    let wait = answered(&said(&date)).await.retry_after.expect("a wait");
    assert!((80..=90).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(answered(&said("tomorrow")).await.retry_after, None);
}

#[tokio::test]
async fn of_a_long_answer_the_beginning_is_kept() {
    let peer = Peer::saying(sized("500 Oh", &format!("<b>\r\n{}", "e".repeat(5_000))));
    let answer = answered(&peer).await;
    assert_eq!(answer.excerpt, format!("<b>  {}", "e".repeat(1_019)));
    // It ends when the client hangs up, and does so with any size.
    let (told, written) = channel();
    let endless = Peer::new(move |connection, _| {
        let _gone = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let count = (0..100_000).take_while(|_| connection.write_all(&[b'a'; 4_096]).is_ok()).count();
        let _test_is_over = told.send(count);
        false
    });
    let began = Instant::now();
    assert_eq!(answered(&endless).await.excerpt, "a".repeat(1_024));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let count = tokio::task::spawn_blocking(move || written.recv_timeout(Duration::from_secs(10))).await;
    assert!(count.expect("a thread").expect("it ended") < 100_000, "the client read on");
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_left() {
    let silent = Peer::new(|connection, _| wait(connection));
    let half =
        Peer::new(|connection, _| connection.write_all(b"HTTP/1.1 200 OK\r\nContent-").is_ok() && wait(connection));
    // A byte now and then is no answer either.
    let drip = Peer::new(|connection, _| {
        let _gone = connection.write_all(b"HTTP/1.1 200 OK\r\nX-Drip: ");
        while connection.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
        false
    });
    for url in [silent.url(), half.url(), drip.url(), silent.url().replace("http:", "https:")] {
        let began = Instant::now();
        let impatient = Post { timeout: Duration::from_millis(200), ..post(&url) };
        let error = sender().post(impatient).await.expect_err("too slow");
        assert!(matches!(error, NetError::Timeout { .. }) && !error.is_permanent(), "{url}: {error:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn the_status_counts_when_the_rest_is_slow_or_breaks_off() {
    let drip = Peer::new(|connection, _| {
        let _gone = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nslow");
        while connection.write_all(b".").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
        false
    });
    let (url, began) = (drip.url(), Instant::now());
    let impatient = Post { timeout: Duration::from_millis(300), ..post(&url) };
    let answer = sender().post(impatient).await.expect("an answer");
    assert!(answer.status == 200 && answer.excerpt.starts_with("slow"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // However long the call may take, the rest is not waited for so long.
    let began = Instant::now();
    assert_eq!(sender().post(post(&drip.url())).await.expect("an answer").status, 200);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());

    let short = Peer::new(|connection, _| {
        let _gone = connection.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 10\r\n\r\nshort");
        false
    });
    let answer = answered(&short).await;
    assert_eq!((answer.status, answer.excerpt.as_str()), (503, "short"));
}

#[tokio::test]
async fn a_connection_that_fails_is_a_fault_that_can_pass() {
    // What is closed with something unread in it is reset.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let reset = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        listener.incoming().map_while(Result::ok).for_each(|connection| {
            let _request = connection.peek(&mut [0]);
        });
    });
    let nonsense = Peer::saying("nonsense\r\n\r\n").port;
    for port in [reset, nonsense, 1] {
        let url = format!("http://127.0.0.1:{port}/?token=secret");
        let error = sender().post(post(&url)).await.expect_err("no answer");
        assert!(matches!(error, NetError::Unreachable { .. }) && !error.is_permanent(), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn what_may_not_be_called_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("it does not wait");
    let port = listener.local_addr().expect("its address").port();
    for sender in [
        Sender::new(&settings(&[])).expect("a sender"),
        Sender::new(&settings(&["10.9.0.0/16"])).expect("a sender"),
        Sender::with_http(&settings(&[]), true).expect("a sender"),
    ] {
        for scheme in ["http", "https"] {
            for host in
                ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"]
            {
                let url = format!("{scheme}://{host}:{port}/");
                let error = sender.post(post(&url)).await.expect_err(&url);
                assert!(matches!(error, NetError::Refused { .. }) && error.is_permanent(), "{url}: {error:?}");
            }
        }
    }
    assert_eq!(listener.accept().expect_err("no connection").kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn what_cannot_be_called_at_all_is_told_apart() {
    let error = sender().post(post("http://1.1.1.1/")).await.expect_err("refused");
    assert!(matches!(error, NetError::Plain { .. }) && error.is_permanent(), "{error:?}");
    for url in ["", "hook", "ftp://payer.example/", "https://user:secret@payer.example/"] {
        let error = sender().post(post(url)).await.expect_err(url);
        assert!(matches!(error, NetError::Url { .. }) && error.is_permanent(), "{url}: {error:?}");
    }
    let peer = Peer::saying(sized("200 OK", ""));
    let (url, headers) = (peer.url(), [("Host", "elsewhere.example")]);
    let error = sender().post(Post { headers: &headers, ..post(&url) }).await.expect_err("refused");
    assert!(matches!(error, NetError::Header { .. }) && error.is_permanent(), "{error:?}");
    assert_eq!(peer.connections(), 0);
}
