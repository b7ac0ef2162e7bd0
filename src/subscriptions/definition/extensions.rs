//! The extensions of a Subscription: where those of the Backport belong, and which are refused wherever they are.

use serde_json::Value;

use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;

use super::Issues;

/// Before the names of the Backport's extensions.
const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";

pub(super) const FILTER: &str = "backport-filter-criteria";
pub(super) const HEARTBEAT: &str = "backport-heartbeat-period";
pub(super) const TIMEOUT: &str = "backport-timeout";
pub(super) const MAX_COUNT: &str = "backport-max-count";
pub(super) const CHANNEL_TYPE: &str = "backport-channel-type";
pub(super) const CONTENT: &str = "backport-payload-content";

/// Each extension of the Backport and the element that carries it.
const PLACES: &[(&str, &str)] = &[
    (FILTER, "Subscription.criteria"),
    (HEARTBEAT, "Subscription.channel"),
    (TIMEOUT, "Subscription.channel"),
    (MAX_COUNT, "Subscription.channel"),
    (CHANNEL_TYPE, "Subscription.channel.type"),
    (CONTENT, "Subscription.channel.payload"),
];

/// The extensions of this name among those of an element, each with its position.
pub(super) fn of<'v>(element: Option<&'v Value>, name: &str) -> Vec<(usize, &'v Value)> {
    let all = element.and_then(|it| it.get("extension")).and_then(Value::as_array).into_iter().flatten();
    let is_it =
        |it: &Value| it.get("url").and_then(Value::as_str).and_then(|url| url.strip_prefix(BACKPORT)) == Some(name);
    all.enumerate().filter(|(_, it)| is_it(it)).collect()
}

/// Refuses extensions of other versions of FHIR (Backport 1.1.0: they are not to be used in R4), and those of the Backport
/// that stand where nobody looks for them: what they ask for would be passed over.
pub(super) fn check(body: &Value, issues: &mut Issues) {
    walk(body, "Subscription", issues);
}

fn walk(element: &Value, path: &str, issues: &mut Issues) {
    let Some(object) = element.as_object() else { return };
    for (name, value) in object {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        if name == "extension" || name == "modifierExtension" {
            for (n, extension) in items.iter().enumerate() {
                let url = extension.get("url").and_then(Value::as_str).unwrap_or_default();
                judge(url, path, &format!("{path}.{name}[{n}]"), issues);
            }
        }
        // The sibling of a primitive holds its extensions.
        let name = name.strip_prefix('_').unwrap_or(name);
        for (n, item) in items.iter().enumerate() {
            let below = if value.is_array() { format!("{path}.{name}[{n}]") } else { format!("{path}.{name}") };
            walk(item, &below, issues);
        }
    }
}

fn judge(url: &str, on: &str, at: &str, issues: &mut Issues) {
    if is_of_other_version(url) {
        let sentence =
            format!("'{}' is an extension for another version of FHIR; use those of the Backport.", excerpt(url));
        issues.add(IssueCode::NotSupported, sentence, at);
        return;
    }
    let Some(name) = url.strip_prefix(BACKPORT) else { return };
    match PLACES.iter().find(|(known, _)| *known == name) {
        Some((_, place)) if *place == on => {}
        Some((_, place)) => issues.add(IssueCode::Structure, format!("The extension {name} belongs to {place}."), at),
        None => {
            let sentence = format!("'{}' is no extension of the Backport that this server knows.", excerpt(name));
            issues.add(IssueCode::NotSupported, sentence, at);
        }
    }
}

/// `http://hl7.org/fhir/5.0/…`.
fn is_of_other_version(url: &str) -> bool {
    let version = url.strip_prefix("http://hl7.org/fhir/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    version.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}
