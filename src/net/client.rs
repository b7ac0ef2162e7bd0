//! The client: a URL in, a body out, within bounds, and from nobody whom the guard would not let through.

use std::error::Error as StdError;
use std::iter::successors;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::{StatusCode, redirect, retry, tls};
use thiserror::Error;
use tokio::net::lookup_host;
use url::{Host, Url};

use super::guard::Guard;
use crate::config;

const USER_AGENT: &str = concat!("plumbline/", env!("CARGO_PKG_VERSION"));
/// Characters of a URL: more than any that means well has, and few enough for a sentence.
const URL_MAX: usize = 2_048;
/// What a server says is good for longer is good for that long: whoever adds it to a clock must not overflow.
const AGE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub body: Vec<u8>,
    /// How long the server says that it is good for (`Cache-Control`), a year at most; zero when it is not to be kept;
    /// `None` when it says nothing.
    pub max_age: Option<Duration>,
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

/// Lets addresses through: with TLS what the guard permits, without only what the operator allowed.
///
/// As the resolver of a client it hands out the addresses that are connected to, so that no name can mean one address
/// when it is checked and another when it is called.
#[derive(Clone, Debug)]
struct Door {
    guard: Arc<Guard>,
    tls: bool,
}

impl Door {
    /// Those of the addresses that may be called: one at least.
    fn admit(&self, found: impl IntoIterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Bar> {
        let mut permitted: Vec<_> = found.into_iter().filter(|found| self.guard.permits(found.ip())).collect();
        if permitted.is_empty() {
            return Err(Bar::Address);
        }
        permitted.retain(|address| self.tls || self.guard.lists(address.ip()));
        if permitted.is_empty() { Err(Bar::Plain) } else { Ok(permitted) }
    }
}

impl Resolve for Door {
    fn resolve(&self, name: Name) -> Resolving {
        let door = self.clone();
        Box::pin(async move {
            // The port is the URL's; whoever connects puts it in.
            let admitted = door.admit(lookup_host((name.as_str(), 0)).await?)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// A client and the door that it goes through.
#[derive(Clone, Debug)]
struct Line {
    door: Door,
    http: reqwest::Client,
}

impl Line {
    fn new(guard: Arc<Guard>, tls: bool, limits: Limits) -> Result<Self, NetError> {
        let door = Door { guard, tls };
        let http = reqwest::Client::builder()
            .dns_resolver(door.clone())
            .https_only(tls)
            .tls_version_min(tls::Version::TLS_1_2)
            // Whoever is called could send us on to what may not be called, and a proxy would do the calling unguarded.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .retry(retry::never())
            // No connection outlives its call: calls are rare, and each is held to the addresses of its own time.
            .pool_max_idle_per_host(0)
            // Bytes are counted as they come. What would be unpacked in between could be a thousand times as many.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .user_agent(USER_AGENT)
            .connect_timeout(limits.connect)
            .timeout(limits.whole)
            .build()
            .map_err(NetError::Setup)?;
        Ok(Self { door, http })
    }
}

/// Calls other servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    tls: Line,
    plain: Line,
}

impl Client {
    /// A client that may call public addresses with https, and what the settings allow with http, too.
    ///
    /// # Errors
    /// When the settings name what is no range of addresses, or TLS cannot be set up.
    pub fn new(settings: &config::Net) -> Result<Self, NetError> {
        Self::with_limits(settings, Limits::default())
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_limits(settings: &config::Net, limits: Limits) -> Result<Self, NetError> {
        let guard = Arc::new(Guard::new(settings.ranges().map_err(NetError::Setting)?));
        Ok(Self { tls: Line::new(Arc::clone(&guard), true, limits)?, plain: Line::new(guard, false, limits)? })
    }

    /// Fetches what is at a URL, without credentials and without following redirects. Whether it is JSON is not looked
    /// at; no more than `bytes_max` bytes of it are kept.
    ///
    /// # Errors
    /// When the URL is none to call, its host may not be called or cannot be reached, or the answer is not 200, too
    /// large, or does not come in time. Waits no longer than the [`Limits`].
    pub async fn get_json(&self, url: &str, bytes_max: usize) -> Result<Fetched, NetError> {
        let (url, host, literal) = target(url)?;
        let line = if url.scheme() == "https" { &self.tls } else { &self.plain };
        // Nobody asks the resolver about an address.
        if let Some(address) = literal {
            line.door.admit([SocketAddr::new(address, 0)]).map_err(|bar| bar.of(host.clone()))?;
        }
        let sent = line.http.get(url).header(ACCEPT, "application/json").send().await;
        let mut response = sent.map_err(|error| unsent(host.clone(), error))?;
        if response.status() != StatusCode::OK {
            return Err(NetError::Status(response.status().as_u16()));
        }
        let max_age = max_age(response.headers());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| broken(host.clone(), error))? {
            if body.len() + piece.len() > bytes_max {
                return Err(NetError::TooLarge { bytes_max });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Fetched { body, max_age })
    }
}

/// A URL to call: with its host for sentences and, if the host is one, its address.
fn target(text: &str) -> Result<(Url, String, Option<IpAddr>), NetError> {
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
    Ok((url, host, literal))
}

/// Why there is no answer. The URL does not go into the log with it: a query may be nobody's business.
fn unsent(host: String, error: reqwest::Error) -> NetError {
    let mut causes = successors(error.source(), |cause| (*cause).source());
    if let Some(bar) = causes.find_map(|cause| cause.downcast_ref::<Bar>()) {
        return bar.of(host);
    }
    let source = error.without_url();
    if source.is_timeout() { NetError::Timeout { host, source } } else { NetError::Unreachable { host, source } }
}

fn broken(host: String, error: reqwest::Error) -> NetError {
    let source = error.without_url();
    if source.is_timeout() { NetError::Timeout { host, source } } else { NetError::Body { host, source } }
}

/// How long an answer is good for by its `Cache-Control` (RFC 9111, 5.2.2); what contradicts itself is good for the
/// shortest of the times, and what cannot be read for none.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let age = |directive: &str| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => Some(Duration::ZERO),
            "max-age" => Some(Duration::from_secs(value.trim().trim_matches('"').parse().unwrap_or(0)).min(AGE_MAX)),
            _ => None,
        }
    };
    directives.flat_map(|value| value.split(',')).filter_map(age).min()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn door(tls: bool, allow: &[&str]) -> Door {
        let allow = allow.iter().map(|range| range.parse().expect("a range")).collect();
        Door { guard: Arc::new(Guard::new(allow)), tls }
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
    fn an_answer_is_good_for_as_long_as_it_says() {
        let cases: [(&[&str], Option<u64>); 13] = [
            (&[], None),
            (&["public"], None),
            (&["s-maxage=60"], None),
            (&["max-age=60"], Some(60)),
            (&["public, Max-Age = \"60\" , must-revalidate"], Some(60)),
            (&["public", "max-age=60"], Some(60)),
            (&["max-age=60", "max-age=30"], Some(30)),
            (&["max-age=60, no-store"], Some(0)),
            (&["no-cache"], Some(0)),
            (&["max-age=-1"], Some(0)),
            (&["max-age=99999999999999999999999"], Some(0)),
            (&["max-age=18446744073709551615"], Some(AGE_MAX.as_secs())),
            (&["max-age"], Some(0)),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            assert_eq!(max_age(&headers).map(|age| age.as_secs()), expected, "{values:?}");
        }
    }
}
