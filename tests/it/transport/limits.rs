//! Who asks too often is told to wait; nobody else notices.

use crate::harness::{Answer, Server};

/// One in 1,000 seconds: no test waits for the next.
const SELDOM: &str = "0.001";

fn at_most_three(kind: &str, settings: &[(&str, &str)]) -> Server {
    let (per_s, burst) = (format!("PLUMBLINE_LIMITS__{kind}_PER_S"), format!("PLUMBLINE_LIMITS__{kind}_BURST"));
    Server::sqlite(&[&[(per_s.as_str(), SELDOM), (burst.as_str(), "3")], settings].concat())
}

/// The statuses of so many requests, each with a header.
fn statuses(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u16> {
    let url = format!("{}{path}", server.base.trim_end_matches("/fhir"));
    let ask = |header: &(&str, &str)| Answer::of(server.request(method, &url).header(header.0, header.1)).status;
    headers.iter().map(ask).collect()
}

const NOTHING: (&str, &str) = ("x-nothing", "");

#[test]
fn the_fourth_of_three_is_refused() {
    let server = at_most_three("ADDRESS", &[]);
    // Every request counts, whatever comes of it.
    assert_eq!(statuses(&server, "GET", "/fhir/metadata", &[NOTHING]), [200]);
    assert_eq!(statuses(&server, "GET", "/nowhere", &[NOTHING]), [404]);
    assert_eq!(statuses(&server, "GET", "/fhir/metadata", &[("host", "evil.example")]), [403]);
    let refused = server.get("metadata");
    assert_eq!(refused.status, 429, "{refused}");
    let wait: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((900..=1_000).contains(&wait), "{wait}");
    let (severity, code, sentence, _) = refused.issue();
    assert_eq!((severity.as_str(), code.as_str()), ("error", "throttled"));
    assert!(sentence.contains(&wait.to_string()), "{sentence}");
    // A page may learn for how long to wait.
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    assert_eq!(statuses(&server, "GET", "/health/live", &[NOTHING; 5]), [200; 5]);
    assert_eq!(statuses(&server, "GET", "/health/ready", &[NOTHING; 5]), [200; 5]);
    assert_eq!(statuses(&server, "GET", "/health/other", &[NOTHING]), [429]);
}

#[test]
fn attempts_to_log_in_have_a_limit_of_their_own() {
    let server = at_most_three("AUTH", &[]);
    assert_eq!(statuses(&server, "GET", "/auth/token", &[NOTHING; 5]), [405; 5]);
    let first = statuses(&server, "POST", "/auth/token", &[NOTHING]);
    assert_ne!(first, [429]);
    // The same route in other letters.
    assert_ne!(statuses(&server, "POST", "/%61uth/token", &[NOTHING]), [429]);
    assert_ne!(statuses(&server, "POST", "/auth/other", &[NOTHING]), [429]);
    for path in ["/auth/token", "/auth/%74oken", "/%61uth/token"] {
        assert_eq!(statuses(&server, "POST", path, &[NOTHING]), [429], "{path}");
    }
    assert_eq!(statuses(&server, "GET", "/fhir/metadata", &[NOTHING; 5]), [200; 5]);
}

#[test]
fn behind_a_proxy_each_client_has_its_own_limit() {
    let forwarded = |address| ("x-forwarded-for", address);
    let (one, two) = (forwarded("198.51.100.1"), forwarded("203.0.113.5, 198.51.100.2"));
    let server = at_most_three("ADDRESS", &[("PLUMBLINE_SERVER__TRUSTED_PROXIES", "[127.0.0.0/8, 10.0.0.1]")]);
    assert_eq!(statuses(&server, "GET", "/fhir/metadata", &[one, one, one, one, two]), [200, 200, 200, 429, 200]);
    let (through, invented) = (forwarded("198.51.100.1, 10.0.0.1"), forwarded("192.0.2.77, 198.51.100.1"));
    assert_eq!(
        statuses(&server, "GET", "/fhir/metadata", &[through, invented, two, two, two]),
        [429, 429, 200, 200, 429]
    );
    // Without an address it is the proxy that asks.
    assert_eq!(statuses(&server, "GET", "/fhir/metadata", &[NOTHING, forwarded("nonsense")]), [200, 200]);
}

#[test]
fn nobody_else_can_say_for_whom_he_asks() {
    let server = at_most_three("ADDRESS", &[("PLUMBLINE_SERVER__TRUSTED_PROXIES", "[10.0.0.0/8]")]);
    let invented =
        ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"].map(|from| ("x-forwarded-for", from));
    assert_eq!(statuses(&server, "GET", "/fhir/metadata", &invented), [200, 200, 200, 429]);
}

#[test]
fn settings_that_are_no_limits_and_no_networks_are_refused() {
    let server = Server::sqlite(&[]);
    server.kill();
    for (name, value, named) in [
        ("PLUMBLINE_LIMITS__ADDRESS_PER_S", "-1", "limits.address_per_s"),
        ("PLUMBLINE_LIMITS__AUTH_BURST", "0", "limits.auth_burst"),
        ("PLUMBLINE_SERVER__TRUSTED_PROXIES", "[proxy.example]", "proxy.example"),
    ] {
        let output = server.command(&["serve", "--listen", "127.0.0.1:0"]).env(name, value).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(named), "{name}: {said}");
    }
}
