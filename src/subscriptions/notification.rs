//! What a subscriber is sent (Backport 1.1.0, notifications in R4): a history Bundle whose first entry is the status of the
//! subscription. Bodies are stored JSON text and are put in as they are; nothing is parsed.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::fhir::types::{Instant, ResourceType};

use super::definition::{Content, Status};

/// Profile of the Parameters that tell the status.
pub const STATUS_PROFILE: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-status-r4";
const ERRORS: &str = "http://terminology.hl7.org/CodeSystem/subscription-error";

/// Why it is sent: `subscription-notification-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Handshake,
    Heartbeat,
    EventNotification,
    QueryStatus,
    QueryEvent,
}

impl Type {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Heartbeat => "heartbeat",
            Self::EventNotification => "event-notification",
            Self::QueryStatus => "query-status",
            Self::QueryEvent => "query-event",
        }
    }
}

/// Why notifications did not arrive: the codes of `subscription-error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    DnsResolutionError,
    NoResponse,
    ErrorResponse,
}

impl ErrorCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DnsResolutionError => "dns-resolution-error",
            Self::NoResponse => "no-response",
            Self::ErrorResponse => "error-response",
        }
    }
}

/// An error of a subscription, with a sentence about it, which is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `None` for what none of the codes says.
    pub code: Option<ErrorCode>,
    pub text: String,
}

/// What is one notification's own. The same stamp makes the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `Bundle.id`.
    pub bundle: Uuid,
    /// The id of the Parameters and its fullUrl.
    pub status: Uuid,
    /// `Bundle.timestamp`.
    pub now: Instant,
}

/// Whose notification it is.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The server's base URL without a trailing slash.
    pub base: &'a str,
    pub subscription_id: &'a str,
    /// URL of the topic; a notification of content `empty` does not tell it.
    pub topic: Option<&'a str>,
    pub status: Status,
    pub content: Content,
    pub errors: &'a [Failure],
    pub stamp: Stamp,
}

/// How a version was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PUT where there was nothing.
    UpdateAsCreate,
    Delete,
}

/// An event of a subscription.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// From 1, without gaps, within the subscription.
    pub number: i64,
    /// When the change happened.
    pub at: Instant,
    pub resource_type: ResourceType,
    pub id: &'a str,
    pub version: i64,
    pub how: How,
    /// The resource as it was then, in JSON; `None` for a deletion. It is only used for content `full-resource`.
    pub body: Option<&'a str>,
    /// Whether the one who is told may still read it. Of what they may not, number and time are told alone.
    pub is_seen: bool,
}

/// Asks a new endpoint whether it is there. `events` counts all events since the start, as everywhere below.
pub fn handshake(head: &Head<'_>, events: i64) -> String {
    bundle(head, Type::Handshake, events, &[])
}

/// A sign of life.
pub fn heartbeat(head: &Head<'_>, events: i64) -> String {
    bundle(head, Type::Heartbeat, events, &[])
}

/// Tells of events, in order of their numbers.
pub fn event_notification(head: &Head<'_>, events: i64, items: &[Item<'_>]) -> String {
    bundle(head, Type::EventNotification, events, items)
}

/// Answers `$events`.
pub fn query_events(head: &Head<'_>, events: i64, items: &[Item<'_>]) -> String {
    bundle(head, Type::QueryEvent, events, items)
}

/// The Parameters that tell how a subscription is, as `$status` answers (type [`Type::QueryStatus`]).
pub fn status(head: &Head<'_>, kind: Type, events: i64) -> Value {
    parameters(head, kind, events, &[])
}

fn bundle(head: &Head<'_>, kind: Type, events: i64, items: &[Item<'_>]) -> String {
    let Head { base, subscription_id, content, stamp, .. } = head;
    let Stamp { bundle, status, now } = stamp;
    let bodies: usize = items.iter().filter_map(|item| item.body).map(|body| body.len() + 512).sum();
    let mut text = String::with_capacity(2_048 + bodies);
    text.push_str(&format!(
        "{{\"resourceType\":\"Bundle\",\"id\":\"{bundle}\",\"type\":\"history\",\"timestamp\":\"{}\",\"entry\":[",
        now.to_fhir()
    ));
    text.push_str(&format!("{{\"fullUrl\":\"urn:uuid:{status}\",\"resource\":"));
    text.push_str(&parameters(head, kind, events, items).to_string());
    let request = json!({"method": "GET", "url": format!("{base}/Subscription/{subscription_id}/$status")});
    text.push_str(&format!(",\"request\":{request},\"response\":{{\"status\":\"200\"}}}}"));
    if *content != Content::Empty {
        for item in items.iter().filter(|item| item.is_seen) {
            text.push(',');
            entry(&mut text, head, item);
        }
    }
    text.push_str("]}");
    text
}

/// An entry for a change, as the history has it. In a history one resource may be in several (R4 bundle.html, bdl-7), so
/// each event has its own.
fn entry(text: &mut String, head: &Head<'_>, item: &Item<'_>) {
    let Item { resource_type, id, version, at, how, .. } = *item;
    let name = format!("{resource_type}/{id}");
    text.push_str(&format!("{{\"fullUrl\":{}", Value::from(full_url(head, item))));
    if let (Content::FullResource, Some(body)) = (head.content, item.body) {
        text.push_str(",\"resource\":");
        text.push_str(body);
    }
    let (method, url, status) = match how {
        How::Create => ("POST", resource_type.to_string(), "201"),
        How::Update => ("PUT", name, "200"),
        How::UpdateAsCreate => ("PUT", name, "201"),
        How::Delete => ("DELETE", name, "204"),
    };
    let request = json!({"method": method, "url": url});
    let response = json!({"status": status, "etag": format!("W/\"{version}\""), "lastModified": at.to_fhir()});
    text.push_str(&format!(",\"request\":{request},\"response\":{response}}}"));
}

/// The URL of the resource. The Parameters are under a URN, from which a relative reference leads nowhere (R4
/// bundle.html#references); so the focus is absolute, too, and equals the fullUrl of its entry.
fn full_url(head: &Head<'_>, item: &Item<'_>) -> String {
    format!("{}/{}/{}", head.base, item.resource_type, item.id)
}

fn parameters(head: &Head<'_>, kind: Type, events: i64, items: &[Item<'_>]) -> Value {
    let Head { base, subscription_id, status, content, errors, stamp, .. } = head;
    let subscription = format!("{base}/Subscription/{subscription_id}");
    let mut all = vec![json!({"name": "subscription", "valueReference": {"reference": subscription}})];
    // A status that was asked for goes to one who may see the subscription.
    let tells_topic = kind == Type::QueryStatus || *content != Content::Empty;
    if let Some(topic) = head.topic.filter(|_| tells_topic) {
        all.push(json!({"name": "topic", "valueCanonical": topic}));
    }
    all.push(json!({"name": "status", "valueCode": status.as_str()}));
    all.push(json!({"name": "type", "valueCode": kind.as_str()}));
    all.push(json!({"name": "events-since-subscription-start", "valueString": events.to_string()}));
    all.extend(items.iter().map(|item| notification_event(head, item)));
    all.extend(errors.iter().map(|error| json!({"name": "error", "valueCodeableConcept": concept(error)})));
    json!({
        "resourceType": "Parameters",
        "id": stamp.status.to_string(),
        "meta": {"profile": [STATUS_PROFILE]},
        "parameter": all,
    })
}

fn notification_event(head: &Head<'_>, item: &Item<'_>) -> Value {
    let mut parts = vec![
        json!({"name": "event-number", "valueString": item.number.to_string()}),
        json!({"name": "timestamp", "valueInstant": item.at.to_fhir()}),
    ];
    if head.content != Content::Empty && item.is_seen {
        parts.push(json!({"name": "focus", "valueReference": {"reference": full_url(head, item)}}));
    }
    json!({"name": "notification-event", "part": parts})
}

fn concept(failure: &Failure) -> Value {
    match failure.code {
        Some(code) => json!({"coding": [{"system": ERRORS, "code": code.as_str()}], "text": failure.text}),
        None => json!({"text": failure.text}),
    }
}

#[cfg(test)]
mod tests;
