//! Other servers, on loopback: those that publish keys, and those that lie in wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// A server that gives every request the same answer, until it is told another.
pub struct Peer {
    port: u16,
    answer: Arc<Mutex<String>>,
    requests: Arc<AtomicUsize>,
}

impl Peer {
    /// A server that publishes a JWK Set, good for as long as `cache_control` says.
    pub fn publishing(keys: &Value, cache_control: &str) -> Self {
        Self::answering(published(keys, cache_control))
    }

    /// A server whose answer is these bytes.
    pub fn answering(answer: String) -> Self {
        let (answer, requests) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (kept, counted) = (Arc::clone(&answer), Arc::clone(&requests));
        let port = serve(move |mut connection| {
            counted.fetch_add(1, Ordering::SeqCst);
            read_head(&mut connection);
            let answer = kept.lock().expect("no test panicked here").clone();
            let _gone = connection.write_all(answer.as_bytes());
        });
        Self { port, answer, requests }
    }

    /// A server that takes a request and never answers it.
    pub fn silent() -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let port = serve(move |mut connection| {
            counted.fetch_add(1, Ordering::SeqCst);
            read_head(&mut connection);
            // Until the other side has had enough.
            let _gone = connection.read(&mut [0]);
        });
        Self { port, answer: Arc::default(), requests }
    }

    pub fn publish(&self, keys: &Value, cache_control: &str) {
        self.answer(published(keys, cache_control));
    }

    pub fn answer(&self, answer: String) {
        *self.answer.lock().expect("no test panicked here") = answer;
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/jwks.json", self.port)
    }

    /// How many came so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn published(keys: &Value, cache_control: &str) -> String {
    let body = keys.to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: {cache_control}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn serve(with: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let with = Arc::new(with);
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let with = Arc::clone(&with);
            thread::spawn(move || with(connection));
        }
    });
    port
}

fn read_head(connection: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && matches!(connection.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
}

/// A port on which nobody answers, but where it is seen whether anybody came.
pub struct Trap(TcpListener);

impl Trap {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("it does not wait");
        Self(listener)
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("its address").port()
    }

    /// Connections wait in the kernel until they are taken: nobody who came is missed.
    pub fn assert_untouched(&self) {
        match self.0.accept() {
            Ok((_, who)) => panic!("{who} connected"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
}
