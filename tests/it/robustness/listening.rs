//! Nobody but this machine reaches the server, and it says so.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::Server;

use super::raw;

/// Starts `plumbline serve` with an address that it must refuse; what it says on standard error.
fn refused(address: &str) -> String {
    let data = TempDir::new().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_plumbline"));
    let output = command
        .args(["serve", "--listen", address, "--data"])
        .arg(data.path())
        .current_dir(data.path())
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{address}: {output:?}");
    assert!(output.stdout.is_empty(), "{address}: {output:?}");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.starts_with("plumbline: ") && said.lines().count() == 1, "{address}: one sentence, not {said}");
    assert_eq!(
        std::fs::read_dir(data.path()).expect("a folder").count(),
        0,
        "{address}: nothing is made before it is refused"
    );
    said
}

#[test]
fn an_address_that_others_reach_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "10.1.2.3:0", "192.168.0.1:8080", "[2001:db8::1]:0", "0:0"] {
        let said = refused(address);
        assert!(said.contains("other machines") && said.contains("127.0.0.1"), "{address}: {said}");
    }
    for address in [
        "",
        ":",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "nonsense.invalid:0",
        "http://127.0.0.1:0",
    ] {
        let said = refused(address);
        assert!(said.contains("address") || said.contains("other machines"), "{address}: {said}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    assert!(refused(&address).contains(&address));
}

/// The sockets on which a process listens, as the kernel shows them: local addresses in hexadecimal digits.
fn listening(pid: u32) -> Vec<String> {
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("its files")
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let lines = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in lines.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A: TCP listens. UDP has no such state: any socket counts.
            let is_open = fields[3] == "0A" || table.starts_with("udp");
            if is_open && own.iter().any(|inode| inode == fields[9]) {
                found.push(fields[1].to_owned());
            }
        }
    }
    found
}

#[test]
fn it_listens_on_loopback_only() {
    let server = Server::sqlite(&[]);
    let sockets = listening(server.pid().expect("it runs"));
    let (_, port) = raw::address(&server).rsplit_once(':').expect("a port");
    let port: u16 = port.parse().expect("a port");
    assert_eq!(sockets, [format!("0100007F:{port:04X}")]);
}

#[test]
fn it_says_that_it_listens_on_loopback_only() {
    let server = Server::sqlite(&[]);
    server.kill();
    for address in ["127.0.0.1:0", "localhost:0", "127.0.0.2:0"] {
        let mut process =
            server.command(&["serve", "--listen", address]).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines: Vec<String> =
            BufReader::new(process.stdout.take().expect("its output")).lines().map_while(Result::ok).take(5).collect();
        process.kill().expect("it can be killed");
        process.wait().expect("it ends");
        assert!(lines[0].starts_with(&format!("http://{}", address.trim_end_matches('0'))), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.contains("loopback") && line.contains("only on this machine")),
            "{lines:?}"
        );
    }
}

#[test]
fn base_url_names_a_host_that_is_answered() {
    let server = Server::sqlite(&[]);
    server.kill();
    let mut process = server
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .env("PLUMBLINE_SERVER__BASE_URL", "https://directory.example/fhir")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let first = BufReader::new(process.stdout.take().expect("its output")).lines().next().and_then(Result::ok);
    let socket = listening(process.id()).pop().expect("a socket");
    let port = socket.split(':').next_back().and_then(|port| u16::from_str_radix(port, 16).ok()).expect("a port");
    let get = |host: &str| {
        raw::exchange_with(
            &format!("127.0.0.1:{port}"),
            format!("GET /fhir/metadata HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
            b"",
        )
        .status
    };
    let statuses =
        ["directory.example", "Directory.Example", "localhost", "other.example", "directory.example.other"].map(get);
    process.kill().expect("it can be killed");
    process.wait().expect("it ends");
    assert_eq!(first.as_deref(), Some("https://directory.example"));
    assert_eq!(statuses, [200, 200, 200, 403, 403]);
}
