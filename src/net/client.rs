//! The client: a URL in, a body out, within bounds, and from nobody whom the guard would not let through.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};

use super::line::{Limits, Lines, NetError, Use, Way, broken, unsent};
use crate::config;

/// What a server says is good for longer is good for that long: whoever adds it to a clock must not overflow.
const AGE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub body: Vec<u8>,
    /// How long the server says that it is good for (`Cache-Control`), a year at most; zero when it is not to be kept;
    /// `None` when it says nothing.
    pub max_age: Option<Duration>,
}

/// Calls other servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    lines: Lines,
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
        // No connection outlives its call: calls are rare, and each is held to the addresses of its own time.
        let usage = Use { limits, idle_max: 0, idle: Duration::ZERO, is_plain_open: false };
        Ok(Self { lines: Lines::new(settings, usage)? })
    }

    /// Fetches what is at a URL, without credentials and without following redirects. Whether it is JSON is not looked
    /// at; no more than `bytes_max` bytes of it are kept.
    ///
    /// # Errors
    /// When the URL is none to call, its host may not be called or cannot be reached, or the answer is not 200, too
    /// large, or does not come in time. Waits no longer than the [`Limits`].
    pub async fn get_json(&self, url: &str, bytes_max: usize) -> Result<Fetched, NetError> {
        let Way { http, url, host } = self.lines.to(url)?;
        let sent = http.get(url).header(ACCEPT, "application/json").send().await;
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
