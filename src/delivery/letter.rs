//! What is sent to a subscriber: body, headers, signature.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use crate::fhir::xml;
use crate::interactions::access::Sight;
use crate::interactions::subscription::{self, NAME};
use crate::interactions::write::stored;
use crate::net::NetError;
use crate::net::sender::{Answered, Post};
use crate::store::error::StoreError;
use crate::store::lanes::Lane;
use crate::store::notifications::Event;
use crate::subscriptions::definition::{Definition, Kind, Status};
use crate::subscriptions::notification::{self, Head, Item, Stamp};

use super::keys::KeysError;
use super::machine::Machine;
use super::roster::Subscriber;
use super::signature::{self, SignFault};

/// Bytes of resources in one call, unless a single one has more.
pub(super) const BYTES_MAX: usize = 1_048_576;

/// A message, before it is signed.
pub(super) struct Letter {
    /// The same for the same events, however often they are sent.
    id: String,
    body: Bytes,
}

/// What there is to send.
pub(super) enum Content {
    Letter(Letter),
    /// Nothing that this subscriber is told.
    Nothing,
    /// The subscriber may not be told of such things any more: why.
    Forbidden(String),
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum PostError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("this server cannot sign what it sends")]
    Keys(#[from] KeysError),
    #[error("this server cannot sign what it sends")]
    Sign(#[from] SignFault),
}

/// Asks whether the recipient is there.
pub(super) async fn handshake(machine: &Machine, to: &Subscriber, row: &Lane) -> Letter {
    let body = notification::handshake(&head(machine, to, Status::Requested), row.numbered);
    Letter { id: format!("handshake_{}_{}_{}", name(machine), to.lane, to.version), body: rendered(to, body) }
}

/// Tells that this server is there.
pub(super) async fn heartbeat(machine: &Machine, to: &Subscriber, row: &Lane) -> Letter {
    let body = notification::heartbeat(&head(machine, to, Status::Active), row.numbered);
    let at = machine.app.now().0;
    Letter { id: format!("heartbeat_{}_{}_{at}", name(machine), to.lane), body: rendered(to, body) }
}

/// Tells of events; `so_far` is the last number that was given. Of what the subscriber may not see any more they are told the
/// number alone.
///
/// # Errors
/// [`StoreError`] when what they may see cannot be found out.
pub(super) async fn events(
    machine: &Machine,
    to: &Subscriber,
    events: &[Event],
    so_far: i64,
) -> Result<Content, StoreError> {
    let mut seen = Vec::with_capacity(events.len());
    for event in events {
        if let Sight::Nothing = *to.viewer.sight(&machine.app, event.resource_type).await? {
            return Ok(Content::Forbidden(format!("The subscriber may not read {} any more.", event.resource_type)));
        }
        seen.push(to.viewer.may_see(&machine.app, event).await?);
    }
    let body = match (&to.definition.kind, events.first().zip(seen.first())) {
        (_, None) | (Kind::Criteria(_), Some((_, false))) => return Ok(Content::Nothing),
        (Kind::Criteria(_), Some((event, true))) => match (&to.definition.mime, &event.body) {
            (Some(_), Some(body)) => rendered(to, body.clone()),
            _ => Bytes::new(),
        },
        (Kind::Topic(_), Some(_)) => {
            let items: Vec<Item<'_>> =
                events.iter().zip(&seen).map(|(event, is_seen)| subscription::item(event, *is_seen)).collect();
            let last = events.last().map_or(0, |event| event.number).max(so_far);
            rendered(to, notification::event_notification(&head(machine, to, Status::Active), last, &items))
        }
    };
    Ok(Content::Letter(Letter { id: id(machine, to, events), body }))
}

/// Posts a message, signed now.
///
/// # Errors
/// [`PostError`] when it could not be signed, or no status comes back.
pub(super) async fn post(
    machine: &Machine,
    to: &Subscriber,
    endpoint: &str,
    letter: Letter,
) -> Result<Answered, PostError> {
    let now = machine.app.now();
    let timestamp_s = now.0.div_euclid(1_000_000);
    // The newest key of each kind first, and those before it as long as they overlap.
    let mut keys = machine.secrets.signing(&format!("{NAME}{}", to.id), now).await?;
    keys.extend(machine.keys.ring().signing(now));
    let signature = signature::sign(&keys, &letter.id, timestamp_s, &letter.body)?;
    let timestamp = timestamp_s.to_string();
    let mut headers: Vec<(&str, &str)> = vec![
        (signature::ID_HEADER, &letter.id),
        (signature::TIMESTAMP_HEADER, &timestamp),
        (signature::SIGNATURE_HEADER, &signature),
    ];
    if let Some(mime) = &to.definition.mime {
        headers.push(("Content-Type", &mime.content_type));
    }
    headers.extend(to.definition.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let timeout_s = to.definition.timeout_s.unwrap_or(machine.app.settings.delivery.timeout_s);
    let timeout = Duration::from_secs(u64::from(timeout_s));
    Ok(machine.sender.post(Post { url: endpoint, headers: &headers, body: letter.body, timeout }).await?)
}

fn head<'a>(machine: &'a Machine, to: &'a Subscriber, status: Status) -> Head<'a> {
    let stamp = Stamp { bundle: Uuid::new_v4(), status: Uuid::new_v4(), now: machine.app.now() };
    Head {
        base: machine.app.base(),
        subscription_id: &to.id,
        topic: to.definition.topic_url(),
        status,
        content: to.definition.content,
        errors: &[],
        stamp,
    }
}

fn rendered(to: &Subscriber, json: String) -> Bytes {
    Bytes::from(in_mime(&to.definition, json))
}

/// JSON as the recipient wants it.
pub(super) fn in_mime(definition: &Definition, json: String) -> String {
    if definition.mime.as_ref().is_some_and(|mime| mime.is_xml) {
        let xml = stored(&json).and_then(|body| xml::to_xml(&body));
        match xml {
            Ok(xml) => return xml,
            Err(error) => tracing::error!(%error, "a notification could not be written as XML"),
        }
    }
    json
}

/// This directory, in the ids of what it sends.
fn name(machine: &Machine) -> &str {
    machine.app.urn.rsplit(':').next().unwrap_or_default()
}

/// The same for the same events, another for others: a recipient may throw away what it has seen.
fn id(machine: &Machine, to: &Subscriber, events: &[Event]) -> String {
    let numbers: Vec<i64> = events.iter().map(|event| event.number).collect();
    let (first, last) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
    let count = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
    let (name, lane) = (name(machine), to.lane);
    if count == 1 {
        return format!("event_{name}_{lane}_{first}");
    }
    if last - first + 1 == count {
        return format!("event_{name}_{lane}_{first}_{last}");
    }
    let list = serde_json::json!(numbers).to_string();
    let digest = openssl::sha::sha256(list.as_bytes());
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("event_{name}_{lane}_{first}_{last}_{short}")
}
