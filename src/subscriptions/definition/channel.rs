//! `Subscription.channel`: where notifications go, and what goes with them.

use std::ops::RangeInclusive;

use serde_json::Value;
use url::Url;

use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;

use super::{Channel, Content, Context, Issues, Kind, Mime, extensions, header, payload};

const AT: &str = "Subscription.channel";

/// How a subscription is served.
pub(super) struct Sending {
    pub(super) channel: Channel,
    pub(super) headers: Vec<(String, String)>,
    pub(super) content: Content,
    pub(super) mime: Option<Mime>,
    pub(super) heartbeat_s: Option<u32>,
    pub(super) timeout_s: Option<u32>,
    pub(super) max_count: Option<u32>,
}

/// `kind` is `None` when the criteria could not be read: what depends on them is not judged then.
pub(super) fn read(body: &Value, kind: Option<&Kind>, context: &Context<'_>, issues: &mut Issues) -> Option<Sending> {
    let Some(channel) = body.get("channel").filter(|channel| channel.is_object()) else {
        issues.add(IssueCode::Required, "A subscription has a channel.", AT);
        return None;
    };
    let place = place(channel, context, issues);
    let headers = header::read(channel, &context.bounds, issues);
    let bounds = &context.bounds;
    let heartbeat_s = number(channel, extensions::HEARTBEAT, "valueUnsignedInt", &bounds.heartbeat_s, issues);
    let timeout_s = number(channel, extensions::TIMEOUT, "valueUnsignedInt", &bounds.timeout_s, issues);
    let max_count = number(channel, extensions::MAX_COUNT, "valuePositiveInt", &bounds.max_count, issues);
    if matches!(kind, Some(Kind::Criteria(_))) {
        for name in [extensions::HEARTBEAT, extensions::MAX_COUNT] {
            for (n, _) in extensions::of(Some(channel), name) {
                let sentence = "Notifications of a search are single resources or nothing; this is for topics.";
                issues.add(IssueCode::BusinessRule, sentence, format!("{AT}.extension[{n}]"));
            }
        }
    }
    if place == Some(Channel::WebSocket) && !headers.is_empty() {
        issues.add(
            IssueCode::BusinessRule,
            "Headers go with a rest-hook; a websocket has none.",
            format!("{AT}.header"),
        );
    }
    let (content, mime) = payload::read(channel, kind?, place.as_ref(), issues)?;
    Some(Sending { channel: place?, headers, content, mime, heartbeat_s, timeout_s, max_count })
}

fn place(channel: &Value, context: &Context<'_>, issues: &mut Issues) -> Option<Channel> {
    let at = "Subscription.channel.type";
    if let Some((n, _)) = extensions::of(channel.get("_type"), extensions::CHANNEL_TYPE).first() {
        let sentence = "No channel but rest-hook and websocket is supported.";
        issues.add(IssueCode::NotSupported, sentence, format!("{at}.extension[{n}]"));
    }
    match channel.get("type").and_then(Value::as_str) {
        Some("rest-hook") => endpoint(channel, context, issues).map(|endpoint| Channel::RestHook { endpoint }),
        Some("websocket") => Some(Channel::WebSocket),
        Some(other) => {
            let sentence = format!("The channel is rest-hook or websocket; '{}' is not supported.", excerpt(other));
            issues.add(IssueCode::NotSupported, sentence, at);
            None
        }
        None => {
            issues.add(IssueCode::Required, "A channel has a type: rest-hook or websocket.", at);
            None
        }
    }
}

/// The URL that notifications are posted to. Whether its address may be called is for the one who calls.
fn endpoint(channel: &Value, context: &Context<'_>, issues: &mut Issues) -> Option<Url> {
    let at = "Subscription.channel.endpoint";
    let Some(text) = super::text(channel, "endpoint") else {
        issues.add(IssueCode::Required, "A rest-hook has an endpoint.", at);
        return None;
    };
    // A parser of URLs passes over line breaks and the like.
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        issues.add(IssueCode::Value, "An endpoint has no white space in it.", at);
        return None;
    }
    let wrong = match Url::parse(text) {
        Err(error) => format!("'{}' is no absolute URL: {error}.", excerpt(text)),
        Ok(_) if text.len() > context.bounds.endpoint_bytes_max => {
            format!("An endpoint has at most {} bytes.", context.bounds.endpoint_bytes_max)
        }
        Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host().is_none() => {
            format!("'{}' is no https URL.", excerpt(text))
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "An endpoint has no user or password in it; send a header.".to_owned()
        }
        Ok(url) if url.fragment().is_some() => "An endpoint has no fragment.".to_owned(),
        Ok(url) if url.scheme() == "http" && !context.allow_http => {
            "An endpoint is https: what goes to http can be read on its way.".to_owned()
        }
        Ok(url) => return Some(url),
    };
    issues.add(IssueCode::Value, wrong, at);
    None
}

/// The number in an extension that may stand here once.
fn number(channel: &Value, name: &str, value: &str, bounds: &RangeInclusive<u32>, issues: &mut Issues) -> Option<u32> {
    let mut found = extensions::of(Some(channel), name).into_iter();
    let (n, extension) = found.next()?;
    for (n, _) in found {
        issues.add(
            IssueCode::Structure,
            format!("The extension {name} is given once."),
            format!("{AT}.extension[{n}]"),
        );
    }
    let at = format!("{AT}.extension[{n}].value");
    let Some(number) = extension.get(value).and_then(Value::as_u64) else {
        issues.add(IssueCode::Structure, format!("The extension {name} has a {value}, a whole number."), at);
        return None;
    };
    let number = u32::try_from(number).ok().filter(|number| bounds.contains(number));
    if number.is_none() {
        let sentence = format!("{name} is {} to {}.", bounds.start(), bounds.end());
        issues.add(IssueCode::BusinessRule, sentence, at);
    }
    number
}
