//! A Subscription resource as this server understands it, or all that keeps it from being understood.

mod channel;
mod criteria;
mod extensions;
mod filters;
mod header;
mod payload;

use std::ops::RangeInclusive;

use chrono::DateTime;
use serde_json::Value;
use url::Url;

use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::fhir::types::{Instant, ResourceType};
use crate::search::parse;
use crate::search::query::Filter;

use super::topic::Topic;
use super::trigger::Trigger;

/// `Subscription.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Requested,
    Active,
    Error,
    Off,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Active => "active",
            Self::Error => "error",
            Self::Off => "off",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        [Self::Requested, Self::Active, Self::Error, Self::Off].into_iter().find(|status| status.as_str() == code)
    }
}

/// What the status of a Subscription asks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `requested`; `active` means the same, since only the server moves a subscription there.
    Start,
    Off,
}

/// What makes a subscription one of this server.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Base R4: the criteria are a search of this type.
    Criteria(ResourceType),
    /// Backport: the criteria name a topic.
    Topic(&'static Topic),
}

/// Where notifications go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    RestHook { endpoint: Url },
    WebSocket,
}

/// How much of a resource a notification carries (Backport 1.1.0, payload content).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    Empty,
    IdOnly,
    FullResource,
}

impl Content {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::IdOnly => "id-only",
            Self::FullResource => "full-resource",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        [Self::Empty, Self::IdOnly, Self::FullResource].into_iter().find(|content| content.as_str() == code)
    }
}

/// `Subscription.channel.payload`: the form of what is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mime {
    /// The Content-Type to send: what the subscriber wrote, fit for a header.
    pub content_type: String,
    pub is_xml: bool,
}

/// How much one subscription may ask for. Both ends of a range are allowed.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub heartbeat_s: RangeInclusive<u32>,
    pub timeout_s: RangeInclusive<u32>,
    /// Events in one notification.
    pub max_count: RangeInclusive<u32>,
    /// Conditions of all filters, and values of all conditions.
    pub conditions_max: usize,
    pub values_max: usize,
    pub headers_max: usize,
    /// Bytes of one header line, and of all.
    pub header_bytes_max: usize,
    pub headers_bytes_max: usize,
    pub endpoint_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            heartbeat_s: 5..=86_400,
            timeout_s: 1..=60,
            max_count: 1..=1_000,
            conditions_max: 50,
            values_max: 500,
            headers_max: 20,
            header_bytes_max: 8_192,
            headers_bytes_max: 16_384,
            endpoint_bytes_max: 2_048,
        }
    }
}

/// What a Subscription is read against.
#[derive(Clone)]
pub struct Context<'a> {
    pub search: parse::Context<'a>,
    /// Whether an endpoint may be `http`: what is sent there, anybody on the way can read.
    pub allow_http: bool,
    pub bounds: Bounds,
}

/// A Subscription that this server can serve.
#[derive(Clone, Debug)]
pub struct Definition {
    pub asked: Asked,
    pub kind: Kind,
    /// Any of these sets it off.
    pub triggers: Vec<Trigger>,
    /// For each type of the triggers, what must be true of the resource: all of it.
    pub filters: Vec<(ResourceType, Vec<Filter>)>,
    pub channel: Channel,
    /// Name and value of what is sent with each notification.
    pub headers: Vec<(String, String)>,
    pub content: Content,
    /// `None` only for a search without payload: notifications have no body then.
    pub mime: Option<Mime>,
    /// Seconds between signs of life; `None`: there are none.
    pub heartbeat_s: Option<u32>,
    /// Seconds after which an attempt has failed.
    pub timeout_s: Option<u32>,
    /// Events that one notification carries at most.
    pub max_count: Option<u32>,
    /// When the server turns it off.
    pub end: Option<Instant>,
}

impl Definition {
    /// Reads a Subscription that a client sends.
    ///
    /// # Errors
    /// Everything that is wrong with it or beyond this server, each with the FHIRPath of its element. It is assumed that the
    /// resource is valid R4; where it is not, that is told as well.
    pub fn read(body: &Value, context: &Context<'_>) -> Result<Self, Vec<Issue>> {
        let mut issues = Issues::default();
        let asked = asked(body, &mut issues);
        let end = end(body, &mut issues);
        if let (Some(end), Some(Asked::Start)) = (end, asked)
            && end <= context.search.now
        {
            issues.add(IssueCode::BusinessRule, "The end is in the past.", "Subscription.end");
        }
        Self::rest(body, context, asked, end, issues)
    }

    /// Reads a Subscription that is stored: the server may have given it any status, and its end may have come.
    ///
    /// # Errors
    /// As [`Self::read`], when this server has ceased to serve what it accepted.
    pub fn stored(body: &Value, context: &Context<'_>) -> Result<Self, Vec<Issue>> {
        let mut issues = Issues::default();
        let asked = match body.get("status").and_then(Value::as_str) {
            Some("off") => Asked::Off,
            _ => Asked::Start,
        };
        let end = end(body, &mut issues);
        Self::rest(body, context, Some(asked), end, issues)
    }

    fn rest(
        body: &Value,
        context: &Context<'_>,
        asked: Option<Asked>,
        end: Option<Instant>,
        mut issues: Issues,
    ) -> Result<Self, Vec<Issue>> {
        if text(body, "reason").is_none() {
            issues.add(IssueCode::Required, "A subscription says why it exists.", "Subscription.reason");
        }
        extensions::check(body, &mut issues);
        let subject = criteria::read(body, context, &mut issues);
        let sending = channel::read(body, subject.as_ref().map(|it| &it.kind), context, &mut issues);
        match (asked, subject, sending) {
            (Some(asked), Some(subject), Some(sending)) if issues.0.is_empty() => Ok(Self {
                asked,
                kind: subject.kind,
                triggers: subject.triggers,
                filters: subject.filters,
                channel: sending.channel,
                headers: sending.headers,
                content: sending.content,
                mime: sending.mime,
                heartbeat_s: sending.heartbeat_s,
                timeout_s: sending.timeout_s,
                max_count: sending.max_count,
                end,
            }),
            _ => Err(issues.0),
        }
    }

    /// What must be true of a resource of this type.
    pub fn filters_on(&self, resource_type: ResourceType) -> &[Filter] {
        self.filters.iter().find(|(it, _)| *it == resource_type).map_or(&[], |(_, filters)| filters)
    }

    /// The types of the resources that it is about.
    pub fn types(&self) -> impl Iterator<Item = ResourceType> {
        self.filters.iter().map(|(resource_type, _)| *resource_type)
    }

    /// The URL of the topic, for those who are told of a topic.
    pub fn topic_url(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Criteria(_) => None,
            Kind::Topic(topic) => Some(&topic.url),
        }
    }
}

/// What was found wrong so far.
#[derive(Debug, Default)]
struct Issues(Vec<Issue>);

impl Issues {
    fn add(&mut self, code: IssueCode, sentence: impl Into<String>, at: impl Into<String>) {
        self.0.push(Issue::error(code, sentence).at(at));
    }
}

/// A text that is not empty.
fn text<'v>(element: &'v Value, name: &str) -> Option<&'v str> {
    element.get(name)?.as_str().filter(|text| !text.trim().is_empty())
}

fn asked(body: &Value, issues: &mut Issues) -> Option<Asked> {
    const AT: &str = "Subscription.status";
    match body.get("status").and_then(Value::as_str) {
        Some("requested" | "active") => Some(Asked::Start),
        Some("off") => Some(Asked::Off),
        Some("error") => {
            issues.add(IssueCode::BusinessRule, "Only the server sets 'error'; ask for 'requested' or 'off'.", AT);
            None
        }
        Some(other) => {
            issues.add(IssueCode::Value, format!("The status is requested or off, not '{}'.", excerpt(other)), AT);
            None
        }
        None => {
            issues.add(IssueCode::Required, "A subscription has a status: requested or off.", AT);
            None
        }
    }
}

fn end(body: &Value, issues: &mut Issues) -> Option<Instant> {
    let end = body.get("end")?;
    let parsed = end.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    if parsed.is_none() {
        let sentence = format!("{} is no instant such as 2030-01-31T12:00:00Z.", excerpt(&end.to_string()));
        issues.add(IssueCode::Value, sentence, "Subscription.end");
    }
    parsed.map(|end| Instant(end.timestamp_micros()))
}

#[cfg(test)]
mod tests;
