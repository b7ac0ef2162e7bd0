//! `Subscription.criteria`: a search of one type (R4), or a topic and filters (Backport).

use serde_json::Value;

use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;
use crate::fhir::types::ResourceType;
use crate::search::query::Filter;

use super::filters::{self, Reader};
use super::{Context, Issues, Kind, extensions, text};
use crate::subscriptions::event::Interaction;
use crate::subscriptions::topic::topic;
use crate::subscriptions::trigger::{Trigger, When};

const AT: &str = "Subscription.criteria";

/// What a subscription is about.
pub(super) struct Subject {
    pub(super) kind: Kind,
    pub(super) triggers: Vec<Trigger>,
    pub(super) filters: Vec<(ResourceType, Vec<Filter>)>,
}

pub(super) fn read(body: &Value, context: &Context<'_>, issues: &mut Issues) -> Option<Subject> {
    let Some(criteria) = text(body, "criteria") else {
        issues.add(IssueCode::Required, "A subscription has criteria: a search or the URL of a topic.", AT);
        return None;
    };
    let filters = extensions::of(body.get("_criteria"), extensions::FILTER);
    // A canonical URL has a scheme; a search begins with a type.
    if criteria.split('?').next().is_some_and(|start| start.contains(':')) {
        of_topic(criteria, &filters, context, issues)
    } else {
        if let Some((n, _)) = filters.first() {
            issues.add(
                IssueCode::Structure,
                "Filters narrow a topic; a search has its conditions in the criteria.",
                format!("{AT}.extension[{n}]"),
            );
        }
        of_search(criteria, context, issues)
    }
}

fn of_search(criteria: &str, context: &Context<'_>, issues: &mut Issues) -> Option<Subject> {
    let (name, query) = criteria.split_once('?').unwrap_or((criteria, ""));
    let Some(resource_type) = ResourceType::parse(name).filter(|it| is_told_of(*it)) else {
        let sentence = format!(
            "'{}' is no type that this server tells of. Criteria are a search without the server's base, such as \
             Practitioner?active=true, or the URL of a topic.",
            excerpt(name)
        );
        issues.add(IssueCode::NotSupported, sentence, AT);
        return None;
    };
    let mut reader = Reader::new(context, issues);
    let found = reader.of_query(resource_type, query, AT);
    Some(Subject {
        kind: Kind::Criteria(resource_type),
        // Criteria are held against the new state, so there is none for a deletion (R4 subscription.html).
        triggers: vec![Trigger::new(resource_type, &[Interaction::Create, Interaction::Update], When::Always)],
        filters: vec![(resource_type, found)],
    })
}

/// A subscription to what the server writes while it serves subscriptions would feed itself.
fn is_told_of(resource_type: ResourceType) -> bool {
    !matches!(resource_type, ResourceType::Subscription | ResourceType::AuditEvent | ResourceType::Binary)
}

fn of_topic(
    criteria: &str,
    filters: &[(usize, &Value)],
    context: &Context<'_>,
    issues: &mut Issues,
) -> Option<Subject> {
    let Some(topic) = topic(criteria) else {
        let sentence = format!(
            "'{}' is no topic of this server; the CapabilityStatement lists those it has. A search is given without the \
             server's base.",
            excerpt(criteria)
        );
        issues.add(IssueCode::NotSupported, sentence, AT);
        return None;
    };
    let mut found: Vec<(ResourceType, Vec<Filter>)> = topic.types().map(|it| (it, Vec::new())).collect();
    let mut reader = Reader::new(context, issues);
    for (n, extension) in filters {
        let at = format!("{AT}.extension[{n}].value");
        let Some(value) = extension.get("valueString").and_then(Value::as_str) else {
            reader.issues.add(IssueCode::Structure, "A filter is a string.", at);
            continue;
        };
        let (named, query) = filters::split_type(value);
        if let Some(name) = named
            && !found.iter().any(|(it, _)| it.as_str() == name)
        {
            let types: Vec<&str> = found.iter().map(|(it, _)| it.as_str()).collect();
            let sentence = format!("The topic is about {}, not about {}.", types.join(" and "), excerpt(name));
            reader.issues.add(IssueCode::NotSupported, sentence, at);
            continue;
        }
        if query.trim().is_empty() {
            reader.issues.add(IssueCode::Value, "A filter names a parameter and a value, as in active=true.", at);
            continue;
        }
        for (resource_type, conditions) in &mut found {
            // One that names a type says nothing about the others.
            if named.is_none_or(|name| name == resource_type.as_str()) {
                conditions.extend(reader.of_query(*resource_type, query, &at));
            }
        }
    }
    Some(Subject { kind: Kind::Topic(topic), triggers: topic.triggers.clone(), filters: found })
}
