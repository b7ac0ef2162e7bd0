//! HTTP byte by byte: what a well-behaved client will not send.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::Server;

/// Longer than the server waits for any client.
const PATIENCE: Duration = Duration::from_secs(60);

/// `127.0.0.1:PORT` of a server.
pub fn address(server: &Server) -> &str {
    server.base.trim_start_matches("http://").trim_end_matches("/fhir")
}

pub fn connect(server: &Server) -> TcpStream {
    connect_to(address(server))
}

fn connect_to(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What came back on a connection until it closed.
pub struct Reply {
    /// 0 when the server closed without a word.
    pub status: u16,
    pub text: String,
    /// Until the last byte came, or the server closed without a word.
    pub took: Duration,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {:?}: {:.600}", self.status, self.took, self.text)
    }
}

impl Reply {
    /// How many responses there are in it.
    pub fn responses(&self) -> usize {
        self.text.matches("HTTP/1.").count()
    }
}

/// Sends `head` with the lines `Host` and `Connection: close` in place of `{host}`, then `body`, and reads to the end.
pub fn exchange(server: &Server, head: &[u8], body: &[u8]) -> Reply {
    exchange_with(address(server), head, body)
}

/// The same, with whoever listens at an address.
pub fn exchange_with(address: &str, head: &[u8], body: &[u8]) -> Reply {
    let mut stream = connect_to(address);
    let host = format!("Host: {address}\r\nConnection: close\r\n");
    let mut bytes = Vec::with_capacity(head.len() + body.len() + host.len());
    let mut rest = head;
    while let Some(at) = rest.windows(6).position(|window| window == b"{host}") {
        bytes.extend_from_slice(&rest[..at]);
        bytes.extend_from_slice(host.as_bytes());
        rest = &rest[at + 6..];
    }
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(body);
    // The server may refuse and close before it has read everything.
    let _refused = stream.write_all(&bytes);
    finish(stream)
}

/// Reads until the server closes.
pub fn finish(mut stream: TcpStream) -> Reply {
    let start = Instant::now();
    let mut received = Vec::new();
    let mut took = Duration::ZERO;
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                received.extend_from_slice(&buffer[..count]);
                took = start.elapsed();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server keeps the connection open for more than {PATIENCE:?}")
            }
            // Reset: it closed while we were still sending.
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&received).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, text, took: if status == 0 { start.elapsed() } else { took } }
}
