//! What everybody goes through who calls another server: URLs that are ones to call, the door that knows addresses, and
//! the settings of the connections.

use std::error::Error as StdError;
use std::iter::successors;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{redirect, retry, tls};
use thiserror::Error;
use tokio::net::lookup_host;
use url::{Host, Url};

use super::guard::Guard;
use crate::config;

const USER_AGENT: &str = concat!("plumbline/", env!("CARGO_PKG_VERSION"));
/// Characters of a URL: more than any that means well has, and few enough for a sentence.
const URL_MAX: usize = 2_048;
/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until there is a connection: finding the address and agreeing on TLS included.
    pub connect: Duration,
    /// From the first step to the last byte.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), whole: Duration::from_secs(10) }
    }
}

/// Why a call came to nothing. No sentence names an address that was found for a host: who sent the URL may read it.
#[derive(Debug, Error)]
pub enum NetError {
    /// The settings name something that is no range of addresses.
    #[error("settings: {0}")]
    Setting(String),
    #[error("no client for calls to other servers can be made")]
    Setup(#[source] reqwest::Error),
    #[error("the URL cannot be called: it {problem}")]
    Url { problem: &'static str, source: Option<url::ParseError> },
    #[error("{host} is refused: it is not at a public address, nor at one that net.allow_private lists")]
    Refused { host: String },
    #[error("{host} is refused: only https is used to call a server at a public address")]
    Plain { host: String },
    /// The value is not told: it may be a secret.
    #[error("the header {name} cannot be sent: it {problem}")]
    Header { name: String, problem: &'static str },
    /// A name without an address.
    #[error("{host} is not known to the DNS")]
    Unknown { host: String, source: reqwest::Error },
    #[error("{host} cannot be reached")]
    Unreachable { host: String, source: reqwest::Error },
    #[error("{host} did not answer in time")]
    Timeout { host: String, source: reqwest::Error },
    #[error("the answer has status {0}, not 200")]
    Status(u16),
    #[error("the answer has more than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the answer of {host} broke off")]
    Body { host: String, source: reqwest::Error },
}

impl NetError {
    /// Whether the same call can only come to the same end as long as nobody changes it or the settings.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Url { .. } | Self::Refused { .. } | Self::Plain { .. } | Self::Header { .. })
    }
}

/// Why no address of a host is let through.
#[derive(Clone, Copy, Debug, Error)]
enum Bar {
    #[error("none of its addresses may be called")]
    Address,
    #[error("none of its addresses may be called without TLS")]
    Plain,
}

impl Bar {
    fn of(self, host: String) -> NetError {
        match self {
            Self::Address => NetError::Refused { host },
            Self::Plain => NetError::Plain { host },
        }
    }
}

/// A name has no address, or nobody could be asked for it.
#[derive(Debug, Error)]
#[error("the name cannot be looked up")]
struct NotFound(#[source] std::io::Error);

/// Lets addresses through: what the guard permits where public addresses may be called, which takes TLS as a rule; elsewhere
/// only what the operator allowed.
///
/// As the resolver of a client it hands out the addresses that are connected to, so that no name can mean one address
/// when it is checked and another when it is called.
#[derive(Clone, Debug)]
struct Door {
    guard: Arc<Guard>,
    is_public_open: bool,
}

impl Door {
    /// Those of the addresses that may be called: one at least.
    fn admit(&self, found: impl IntoIterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Bar> {
        let mut permitted: Vec<_> = found.into_iter().filter(|found| self.guard.permits(found.ip())).collect();
        if permitted.is_empty() {
            return Err(Bar::Address);
        }
        permitted.retain(|address| self.is_public_open || self.guard.lists(address.ip()));
        if permitted.is_empty() { Err(Bar::Plain) } else { Ok(permitted) }
    }
}

impl Resolve for Door {
    fn resolve(&self, name: Name) -> Resolving {
        let door = self.clone();
        Box::pin(async move {
            // The port is the URL's; whoever connects puts it in.
            let admitted = door.admit(lookup_host((name.as_str(), 0)).await.map_err(NotFound)?)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// How a line is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub limits: Limits,
    /// Connections that are kept to each host for the next call, and for how long they are.
    pub idle_max: usize,
    pub idle: Duration,
    /// Whether public addresses may be called without TLS.
    pub is_plain_open: bool,
}

/// A client and the door that it goes through.
#[derive(Clone, Debug)]
struct Line {
    door: Door,
    http: reqwest::Client,
}

impl Line {
    fn new(guard: Arc<Guard>, tls: bool, usage: Use) -> Result<Self, NetError> {
        let door = Door { guard, is_public_open: tls || usage.is_plain_open };
        let http = reqwest::Client::builder()
            .dns_resolver(door.clone())
            .https_only(tls)
            .tls_version_min(tls::Version::TLS_1_2)
            // Whoever is called could send us on to what may not be called, and a proxy would do the calling unguarded.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .retry(retry::never())
            .pool_max_idle_per_host(usage.idle_max)
            .pool_idle_timeout(usage.idle)
            // Bytes are counted as they come. What would be unpacked in between could be a thousand times as many.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .user_agent(USER_AGENT)
            .connect_timeout(usage.limits.connect)
            .timeout(usage.limits.whole)
            .build()
            .map_err(NetError::Setup)?;
        Ok(Self { door, http })
    }
}

/// A URL that may be called as far as it can be told without looking up its host, and the client to call it with.
pub(super) struct Way<'l> {
    pub http: &'l reqwest::Client,
    pub url: Url,
    /// For sentences.
    pub host: String,
}

/// The line for https and that for http.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    tls: Line,
    plain: Line,
}

impl Lines {
    pub fn new(settings: &config::Net, usage: Use) -> Result<Self, NetError> {
        let guard = Arc::new(Guard::new(settings.ranges().map_err(NetError::Setting)?));
        Ok(Self { tls: Line::new(Arc::clone(&guard), true, usage)?, plain: Line::new(guard, false, usage)? })
    }

    pub fn to(&self, url: &str) -> Result<Way<'_>, NetError> {
        let Target { url, host, literal } = target(url)?;
        let Line { door, http } = if url.scheme() == "https" { &self.tls } else { &self.plain };
        // Nobody asks the resolver about an address.
        if let Some(address) = literal {
            door.admit([SocketAddr::new(address, 0)]).map_err(|bar| bar.of(host.clone()))?;
        }
        Ok(Way { http, url, host })
    }
}

/// A URL to call.
pub(super) struct Target {
    pub url: Url,
    /// For sentences.
    pub host: String,
    /// The host, if it is one.
    literal: Option<IpAddr>,
}

/// Takes a URL apart.
pub(super) fn target(text: &str) -> Result<Target, NetError> {
    let fault = |problem| NetError::Url { problem, source: None };
    if text.len() > URL_MAX {
        return Err(fault("is too long"));
    }
    let url =
        Url::parse(text).map_err(|source| NetError::Url { problem: "is not an absolute URL", source: Some(source) })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fault("begins with neither https nor http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault("has a user name or a password in it"));
    }
    // Parsed, an address is one however it was written: 2130706433 and 0x7f.1 are 127.0.0.1.
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err(fault("has no host")),
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    Ok(Target { url, host, literal })
}

/// Why there is no answer. The URL does not go into the log with it: a query may be nobody's business.
pub(super) fn unsent(host: String, error: reqwest::Error) -> NetError {
    let mut causes = successors(error.source(), |cause| (*cause).source());
    if let Some(bar) = causes.find_map(|cause| cause.downcast_ref::<Bar>()) {
        return bar.of(host);
    }
    let is_unknown = successors(error.source(), |cause| (*cause).source()).any(|cause| cause.is::<NotFound>());
    let source = error.without_url();
    match (is_unknown, source.is_timeout()) {
        (true, _) => NetError::Unknown { host, source },
        (false, true) => NetError::Timeout { host, source },
        (false, false) => NetError::Unreachable { host, source },
    }
}

pub(super) fn broken(host: String, error: reqwest::Error) -> NetError {
    let source = error.without_url();
    if source.is_timeout() { NetError::Timeout { host, source } } else { NetError::Body { host, source } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(is_public_open: bool, allow: &[&str]) -> Door {
        let allow = allow.iter().map(|range| range.parse().expect("a range")).collect();
        Door { guard: Arc::new(Guard::new(allow)), is_public_open }
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect()
    }

    #[test]
    fn of_the_addresses_of_a_name_only_those_are_called_that_may_be() {
        let found = addresses(&["10.1.0.1", "1.1.1.1", "::1", "2606:4700::1"]);
        let admitted = |door: Door| door.admit(found.clone()).expect("some are admitted");
        assert_eq!(admitted(door(true, &[])), addresses(&["1.1.1.1", "2606:4700::1"]));
        assert_eq!(admitted(door(true, &["::1/128"])), addresses(&["1.1.1.1", "::1", "2606:4700::1"]));
        assert_eq!(admitted(door(false, &["10.0.0.0/8"])), addresses(&["10.1.0.1"]));
    }

    #[test]
    fn when_none_may_be_called_the_reason_is_the_one_that_helps() {
        let barred = |door: Door, found: &[&str]| door.admit(addresses(found)).expect_err("none is admitted");
        assert!(matches!(barred(door(true, &[]), &["10.1.0.1", "::1"]), Bar::Address));
        assert!(matches!(barred(door(true, &[]), &[]), Bar::Address));
        assert!(matches!(barred(door(false, &[]), &["10.1.0.1"]), Bar::Address));
        assert!(matches!(barred(door(false, &["10.2.0.0/16"]), &["10.1.0.1", "1.1.1.1"]), Bar::Plain));
    }

    #[test]
    fn without_tls_public_addresses_are_called_where_that_is_asked_for_alone() {
        let settings = config::Net { allow_private: vec!["10.1.0.0/16".to_owned()] };
        let lines = |is_plain_open| {
            let usage = Use { limits: Limits::default(), idle_max: 0, idle: Duration::ZERO, is_plain_open };
            Lines::new(&settings, usage).expect("lines")
        };
        let (shut, open) = (lines(false), lines(true));
        assert!(matches!(shut.to("http://1.1.1.1/"), Err(NetError::Plain { .. })));
        assert!(open.to("http://1.1.1.1/").is_ok());
        for lines in [shut, open] {
            assert!(lines.to("https://1.1.1.1/").is_ok() && lines.to("http://10.1.0.1/").is_ok());
            for url in ["http://10.2.0.1/", "https://10.2.0.1/", "http://127.0.0.1/", "https://[::1]/"] {
                assert!(matches!(lines.to(url), Err(NetError::Refused { .. })), "{url}");
            }
        }
    }
}
