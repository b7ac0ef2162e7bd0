//! `Subscription.channel.header`: what goes with each notification, so that a receiver knows its sender.

use serde_json::Value;

use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;

use super::{Bounds, Issues};

/// Headers that say how a message is to be read; they are the sender's own.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// The server signs what it sends in headers of these names.
const SIGNATURE: &str = "webhook-";

/// Name and value of each header.
pub(super) fn read(channel: &Value, bounds: &Bounds, issues: &mut Issues) -> Vec<(String, String)> {
    let lines = channel.get("header").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let bytes: usize = lines.iter().filter_map(Value::as_str).map(str::len).sum();
    if lines.len() > bounds.headers_max || bytes > bounds.headers_bytes_max {
        let sentence = format!(
            "A channel has at most {} headers of together {} bytes.",
            bounds.headers_max, bounds.headers_bytes_max
        );
        issues.add(IssueCode::TooCostly, sentence, "Subscription.channel.header");
        return Vec::new();
    }
    let mut headers = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        match parse(line.as_str().unwrap_or_default(), bounds) {
            Ok(header) => headers.push(header),
            Err(sentence) => issues.add(IssueCode::Value, sentence, format!("Subscription.channel.header[{n}]")),
        }
    }
    headers
}

/// `Name: value`. A sentence never repeats the value, which may be a secret.
fn parse(line: &str, bounds: &Bounds) -> Result<(String, String), String> {
    if line.len() > bounds.header_bytes_max {
        return Err(format!("A header has at most {} bytes.", bounds.header_bytes_max));
    }
    let (name, value) = line.split_once(':').ok_or("A header is written 'Name: value'.")?;
    // RFC 9110, 5.6.2.
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("'{}' is no name of a header.", excerpt(name)));
    }
    let value = value.trim_matches([' ', '\t']);
    if value.is_empty() || !value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
        return Err(format!("The value of the header {} is printable ASCII.", excerpt(name)));
    }
    let folded = name.to_ascii_lowercase();
    if RESERVED.contains(&folded.as_str()) || folded.starts_with(SIGNATURE) {
        return Err(format!("The header {} is the server's own to send.", excerpt(name)));
    }
    Ok((name.to_owned(), value.to_owned()))
}
