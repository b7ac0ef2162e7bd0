//! A certificate is renewed while the server runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use super::certificates::{Issued, Pair};
use super::{TLS_CERT, TLS_KEY, connect, get, trusting};
use crate::harness::Server;

/// A server whose log can be read.
struct Logged {
    process: Child,
    log: BufReader<ChildStderr>,
    address: String,
}

impl Logged {
    fn start(server: &Server, issued: &Issued) -> Self {
        server.kill();
        let mut process = server
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .envs([(TLS_CERT, issued.certificate_file()), (TLS_KEY, issued.key_file())])
            .env("PLUMBLINE_LOG__FILTER", "plumbline=info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut first = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        output.read_line(&mut first).expect("its first line");
        let address = first.trim().trim_start_matches("https://").to_owned();
        let log = BufReader::new(process.stderr.take().expect("its log"));
        Self { process, log, address }
    }

    /// Tells it to read its files again, and waits until it has said so in words of `expected`.
    fn renew(&mut self, expected: &str) -> String {
        let told = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status();
        assert!(told.expect("kill runs").success());
        loop {
            let mut line = String::new();
            let count = self.log.read_line(&mut line).expect("its log");
            assert!(count > 0, "it ended without saying '{expected}'");
            if line.contains("TLS certificate") {
                assert!(line.contains(expected), "'{expected}', not {line}");
                return line;
            }
        }
    }

    /// Whose certificate it shows.
    fn shown(&self) -> Vec<u8> {
        let stream = connect(&self.address, trusting()).expect("a connection");
        let shown = stream.ssl().peer_certificate().expect("a certificate").to_der().expect("DER");
        assert!(get(stream, "/health/live").starts_with("HTTP/1.1 200"));
        shown
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

#[test]
fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
    let issued = Issued::new();
    let server = Server::sqlite(&[]);
    let mut logged = Logged::start(&server, &issued);
    let der = |pair: &Pair| pair.certificate.to_der().expect("DER");
    assert_eq!(logged.shown(), der(&issued.own));

    // A connection that is open stays open.
    let open = connect(&logged.address, trusting()).expect("a connection");
    let second = Pair::new("second", false, None);
    issued.write(&[&second], &second);
    logged.renew("was read again");
    assert_eq!(logged.shown(), der(&second));
    assert!(get(open, "/health/live").starts_with("HTTP/1.1 200"));

    issued.write(&[&issued.own], &second);
    assert!(logged.renew("in use stays").contains("does not belong"));
    assert_eq!(logged.shown(), der(&second));

    std::fs::remove_file(issued.certificate_file()).expect("removed");
    assert!(logged.renew("in use stays").contains("cannot be read"));
    assert_eq!(logged.shown(), der(&second));

    issued.write(&[&issued.own], &issued.own);
    logged.renew("was read again");
    assert_eq!(logged.shown(), der(&issued.own));
}
