//! `Subscription.channel.payload`: the form of a notification, and how much is in it.

use serde_json::Value;

use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;

use super::{Channel, Content, Issues, Kind, Mime, extensions};

const AT: &str = "Subscription.channel.payload";
/// What this server can send, and whether it is XML.
const TYPES: &[(&str, bool)] = &[
    ("application/fhir+json", false),
    ("application/json", false),
    ("application/fhir+xml", true),
    ("application/xml", true),
];

pub(super) fn read(
    channel: &Value,
    kind: &Kind,
    place: Option<&Channel>,
    issues: &mut Issues,
) -> Option<(Content, Option<Mime>)> {
    let mime = match channel.get("payload") {
        None => None,
        Some(payload) => match mime(payload.as_str().unwrap_or_default()) {
            Ok(mime) => Some(mime),
            Err(sentence) => {
                issues.add(IssueCode::NotSupported, sentence, AT);
                return None;
            }
        },
    };
    let extensions = extensions::of(channel.get("_payload"), extensions::CONTENT);
    match kind {
        Kind::Criteria(_) => {
            if let Some((n, _)) = extensions.first() {
                let sentence = "A search is told of by whole resources, or without payload; this is for topics.";
                issues.add(IssueCode::BusinessRule, sentence, format!("{AT}.extension[{n}]"));
            }
            // R4 sends a mere ping there (R4 subscription.html#websocket).
            if mime.is_some() && place == Some(&Channel::WebSocket) {
                issues.add(IssueCode::BusinessRule, "A search has no payload over a websocket.", AT);
            }
            Some((if mime.is_some() { Content::FullResource } else { Content::Empty }, mime))
        }
        Kind::Topic(_) => {
            if mime.is_none() {
                issues.add(IssueCode::Required, "A topic takes a payload type, such as application/fhir+json.", AT);
            }
            content(&extensions, issues).map(|content| (content, mime))
        }
    }
}

fn content(extensions: &[(usize, &Value)], issues: &mut Issues) -> Option<Content> {
    let (n, extension) = match extensions {
        [one] => one,
        [] => {
            let sentence = "A topic takes the extension backport-payload-content: empty, id-only or full-resource.";
            issues.add(IssueCode::Required, sentence, format!("{AT}.extension"));
            return None;
        }
        [_, (n, _), ..] => {
            let sentence = "The extension backport-payload-content is given once.";
            issues.add(IssueCode::Structure, sentence, format!("{AT}.extension[{n}]"));
            return None;
        }
    };
    let code = extension.get("valueCode").and_then(Value::as_str).unwrap_or_default();
    let content = Content::parse(code);
    if content.is_none() {
        let sentence = format!("The content is empty, id-only or full-resource, not '{}'.", excerpt(code));
        issues.add(IssueCode::NotSupported, sentence, format!("{AT}.extension[{n}].value"));
    }
    content
}

/// A media type, perhaps with `fhirVersion` (R4 http.html#version-parameter) and `charset`.
fn mime(text: &str) -> Result<Mime, String> {
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let Some((_, is_xml)) = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(essence)) else {
        let known: Vec<&str> = TYPES.iter().map(|(known, _)| *known).collect();
        return Err(format!("The payload is one of {}, not '{}'.", known.join(", "), excerpt(text)));
    };
    let mut content_type = essence.to_owned();
    for part in parts {
        let (name, value) = part.split_once('=').map_or((part, ""), |(name, value)| (name.trim(), value.trim()));
        let plain = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "fhirversion" if matches!(plain, "4.0" | "4.0.1") => {}
            "fhirversion" => return Err(format!("This server sends FHIR 4.0, not '{}'.", excerpt(value))),
            "charset" if plain.eq_ignore_ascii_case("utf-8") => {}
            _ => {
                return Err(format!(
                    "A payload type takes fhirVersion=4.0 and charset=utf-8, not '{}'.",
                    excerpt(part)
                ));
            }
        }
        content_type.push_str(&format!("; {name}={value}"));
    }
    Ok(Mime { content_type, is_xml: *is_xml })
}
