//! What lies between the socket and FHIR: TLS, HTTP/2, limits, and what answers tell browsers.

mod answers;
pub mod certificates;
mod http2;
mod limits;
mod renewal;
mod tls;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslStream, SslVerifyMode};

use crate::harness::Server;
use certificates::Issued;

/// Longer than the server waits for any client.
const PATIENCE: Duration = Duration::from_secs(60);

const TLS_CERT: &str = "PLUMBLINE_SERVER__TLS_CERT";
const TLS_KEY: &str = "PLUMBLINE_SERVER__TLS_KEY";

/// A server that speaks TLS with this certificate.
fn over_tls(issued: &Issued, settings: &[(&str, &str)]) -> Server {
    let files = [(TLS_CERT, issued.certificate_file()), (TLS_KEY, issued.key_file())];
    Server::sqlite(&[&files[..], settings].concat())
}

/// `127.0.0.1:PORT` of a server.
fn address(server: &Server) -> &str {
    server.base.trim_start_matches("https://").trim_end_matches("/fhir")
}

/// A client that takes any certificate.
fn trusting() -> SslConnectorBuilder {
    let mut client = SslConnector::builder(SslMethod::tls_client()).expect("a client");
    client.set_verify(SslVerifyMode::NONE);
    client
}

/// A connection over TLS, or why there is none.
fn connect(address: &str, client: SslConnectorBuilder) -> Result<SslStream<TcpStream>, String> {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    client.build().connect("127.0.0.1", stream).map_err(|error| error.to_string())
}

/// The whole answer to a GET with HTTP/1.1.
fn get(mut stream: SslStream<TcpStream>, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    let _closed_without_goodbye = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
