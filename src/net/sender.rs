//! The sender: a body out, a status back. Many calls go to the same few servers, so connections to them are kept.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use super::line::{Limits, Lines, NetError, Target, Use, Way, target, unsent};
use crate::config;

/// Until there is a connection, and from the first step to the last byte when a call does not say.
const LIMITS: Limits = Limits { connect: Duration::from_secs(5), whole: Duration::from_secs(60) };
/// How long a connection is kept that nobody uses, and how many are, for each host. A kept connection leads to the address that
/// was checked when it was made.
const IDLE: Duration = Duration::from_secs(20);
const IDLE_MAX: usize = 16;
/// Bytes of an answer that are kept, and that are read at most: what ends within them leaves the connection good for the next
/// call.
const EXCERPT_BYTES: usize = 1_024;
const READ_BYTES_MAX: usize = 16_384;
/// How long the rest of an answer is waited for. The status has said all that matters.
const REST: Duration = Duration::from_secs(2);
/// Who says "later" does not mean in more than a year: whoever adds it to a clock must not overflow.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Characters of a header's name in a sentence.
const NAME_MAX: usize = 64;
/// Headers that belong to the connection or frame the message (RFC 9110, 7.6.1, 8.6, 10.1.1; RFC 9112): whoever could set them
/// could send a second request in the first.
const OWN_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is to be posted.
#[derive(Clone, Debug)]
pub struct Post<'p> {
    pub url: &'p str,
    /// Names and values, `Content-Type` among them. A name may come more than once.
    pub headers: &'p [(&'p str, &'p str)],
    pub body: Bytes,
    /// From the first step to the last byte that is read.
    pub timeout: Duration,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Whatever it is: redirects are not followed.
    pub status: u16,
    /// How long the server wants to be left alone (`Retry-After`), a year at most; zero for a date that is past; `None` when
    /// it says nothing, or nothing that can be read.
    pub retry_after: Option<Duration>,
    /// The first 1,024 bytes of the answer as text, without control characters; less when the rest was slow or broke off.
    pub excerpt: String,
    /// Milliseconds from the first step to the status.
    pub ms: u64,
}

impl Answered {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Posts to other servers. Cheap to clone; clones share the kept connections.
#[derive(Clone, Debug)]
pub struct Sender {
    lines: Lines,
}

impl Sender {
    /// A sender that may call public addresses with https, and what the settings allow with http, too.
    ///
    /// # Errors
    /// When the settings name what is no range of addresses, or TLS cannot be set up.
    pub fn new(settings: &config::Net) -> Result<Self, NetError> {
        Self::with_http(settings, false)
    }

    /// The same; with `is_http_allowed` it calls public addresses without TLS as well. Addresses that are not public remain as
    /// they are.
    ///
    /// # Errors
    /// As [`Sender::new`].
    pub fn with_http(settings: &config::Net, is_http_allowed: bool) -> Result<Self, NetError> {
        let usage = Use { limits: LIMITS, idle_max: IDLE_MAX, idle: IDLE, is_plain_open: is_http_allowed };
        Ok(Self { lines: Lines::new(settings, usage)? })
    }

    /// Posts once: nothing is repeated, redirected or unpacked. Any status is an answer, also when the rest of the answer
    /// does not come.
    ///
    /// # Errors
    /// When the URL is none to call, a header cannot be sent, the host may not be called or cannot be reached, or no status
    /// comes in time. [`NetError::is_permanent`] tells what there is no use in trying again.
    pub async fn post(&self, request: Post<'_>) -> Result<Answered, NetError> {
        let began = Instant::now();
        let headers = headers(request.headers)?;
        let Way { http, url, host } = self.lines.to(request.url)?;
        let sent = http.post(url).headers(headers).body(request.body).timeout(request.timeout).send().await;
        let mut response = sent.map_err(|error| unsent(host, error))?;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = response.status().as_u16();
        let wish = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = wish.and_then(|value| retry_after(value, SystemTime::now()));
        let mut beginning = Vec::new();
        let _slow = tokio::time::timeout(REST, read(&mut response, &mut beginning)).await;
        Ok(Answered { status, retry_after, excerpt: excerpt(&beginning), ms })
    }
}

/// The key by which calls to one server are counted: `host:port`, with the port that the scheme means when there is none, in
/// lower case and without a dot at the end of the name.
///
/// # Errors
/// When the URL is none to call.
pub fn host_of(url: &str) -> Result<String, NetError> {
    let Target { url, host, .. } = target(url)?;
    Ok(format!("{}:{}", host.trim_end_matches('.'), url.port_or_known_default().unwrap_or_default()))
}

fn headers(pairs: &[(&str, &str)]) -> Result<HeaderMap, NetError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let fault = |problem| NetError::Header { name: printable(name).chars().take(NAME_MAX).collect(), problem };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| fault("has no valid name"))?;
        if OWN_HEADERS.contains(&key.as_str()) {
            return Err(fault("is of the connection, not of the message"));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_invalid| fault("has no valid value"))?;
        // It may be somebody's token: it is shown nowhere.
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

/// Reads an answer until it ends, is no longer of interest, or fails.
async fn read(response: &mut Response, beginning: &mut Vec<u8>) {
    let mut count = 0;
    while count < READ_BYTES_MAX
        && let Ok(Some(piece)) = response.chunk().await
    {
        count += piece.len();
        let missing = EXCERPT_BYTES.saturating_sub(beginning.len());
        beginning.extend(piece.iter().take(missing));
    }
}

/// Bytes as text of one line that does nothing to whoever prints or stores it.
fn excerpt(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes);
    // A character that was cut in half is none that the server sent.
    if bytes.len() == EXCERPT_BYTES && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none()) {
        text.to_mut().pop();
    }
    printable(&text)
}

fn printable(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_ascii_whitespace() { ' ' } else { c });
    spaced.filter(|c| !c.is_control()).collect()
}

/// A `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is long.
        return Some(value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs).min(RETRY_AFTER_MAX));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_be_left_alone_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(RETRY_AFTER_MAX.as_secs())),
            ("31536001", Some(RETRY_AFTER_MAX.as_secs())),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun Nov  6 08:50:07 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(RETRY_AFTER_MAX.as_secs())),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("+1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now).map(|wait| wait.as_secs()), expected, "{value}");
        }
    }

    #[test]
    fn an_excerpt_is_text_that_does_no_harm() {
        assert_eq!(excerpt(b""), "");
        assert_eq!(excerpt(b"no\r\nsuch\tthing\0\x1b[31m\x7f"), "no  such thing[31m");
        assert_eq!(excerpt(b"caf\xc3\xa9 \xff!"), "caf\u{e9} \u{fffd}!");
        // U+009B begins a sequence of control as ESC [ does.
        assert_eq!(excerpt("a\u{9b}31mb".as_bytes()), "a31mb");
        let mut cut = vec![b'a'; EXCERPT_BYTES - 1];
        cut.push(0xc3);
        assert_eq!(excerpt(&cut), "a".repeat(EXCERPT_BYTES - 1));
        assert_eq!(excerpt(b"a\xc3"), "a\u{fffd}");
    }

    #[test]
    fn headers_are_those_of_the_message() {
        let sent = headers(&[("Content-Type", "application/json"), ("X-Tag", "a"), ("x-tag", "b")]).expect("headers");
        assert_eq!(sent.get_all("x-tag").iter().count(), 2);
        assert!(!format!("{sent:?}").contains("json"), "{sent:?}");
        for (name, value, told) in [
            ("Host", "elsewhere", "Host"),
            ("content-length", "0", "connection"),
            ("Transfer-Encoding", "chunked", "connection"),
            ("a b", "c", "valid name"),
            ("", "c", "valid name"),
            ("x-token", "secret\r\nHost: elsewhere", "valid value"),
            ("x\r\ny: z", "secret", "valid name"),
        ] {
            let error = headers(&[(name, value)]).expect_err(name);
            assert!(matches!(error, NetError::Header { .. }) && error.is_permanent(), "{error:?}");
            let sentence = error.to_string();
            assert!(sentence.contains(told) && !sentence.contains("secret"), "{sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }

    #[test]
    fn a_server_is_known_by_host_and_port() {
        for (url, expected) in [
            ("https://Payer.example/hooks?a=b#c", "payer.example:443"),
            ("https://payer.example.:443/", "payer.example:443"),
            ("http://payer.example", "payer.example:80"),
            ("http://payer.example:8080/", "payer.example:8080"),
            ("http://127.1:9/", "127.0.0.1:9"),
            ("https://[2606:4700:0:0::1]/", "[2606:4700::1]:443"),
        ] {
            assert_eq!(host_of(url).expect(url), expected);
        }
        assert!(host_of("mailto:somebody@payer.example").expect_err("refused").is_permanent());
    }
}
