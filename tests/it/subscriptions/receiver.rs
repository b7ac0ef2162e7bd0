//! A server on loopback that takes notifications.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::told;

/// A notification as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// In small letters, with their values.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// `handshake`, `event-notification` …; empty where the body is no such Bundle.
    pub fn kind(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or(Value::Null);
        told(&body, "type").pop().unwrap_or_default()
    }
}

/// It answers each call with the status it is set to, 200 at first.
pub struct Receiver {
    port: u16,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let receiver = Self { port, status: Arc::new(AtomicU16::new(200)), received: Arc::default() };
        let (status, received) = (Arc::clone(&receiver.status), Arc::clone(&receiver.received));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (status, received) = (Arc::clone(&status), Arc::clone(&received));
                std::thread::spawn(move || take(&connection, &status, &received));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub fn all(&self) -> Vec<Received> {
        self.received.lock().expect("no thread panicked").clone()
    }

    /// Waits until there are so many of a kind; these.
    pub fn until(&self, kind: &str, count: usize) -> Vec<Received> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let found: Vec<Received> = self.all().into_iter().filter(|it| it.kind() == kind).collect();
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < end, "{count} of kind '{kind}': {:?}", self.all());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Answers the calls on a connection until it is closed.
fn take(connection: &TcpStream, status: &AtomicU16, received: &Mutex<Vec<Received>>) {
    let mut input = BufReader::new(connection);
    loop {
        let mut headers = Vec::new();
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && !line.trim().is_empty() {
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.trim().to_lowercase(), value.trim().to_owned()));
            }
            line.clear();
        }
        if headers.is_empty() {
            return;
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
        let mut body = vec![0; length.parse().expect("a length")];
        if input.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8(body).expect("UTF-8");
        received.lock().expect("no thread panicked").push(Received { headers, body });
        let status = status.load(Ordering::SeqCst);
        let answer = format!("HTTP/1.1 {status} Answer\r\nContent-Length: 0\r\n\r\n");
        let mut output = connection;
        if output.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
