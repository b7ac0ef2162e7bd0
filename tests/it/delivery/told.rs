//! What a receiver was told, taken apart, and whether that is right.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::harness::receiver::Arrival;

use super::history::{Change, name_of, version_of};
use super::subscribers::{Carries, Subscriber};

/// An event that the receiver was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub number: u64,
    /// `Type/id` and version, where the subscriber is told these.
    pub subject: Option<(String, u64)>,
    /// When it happened, of topics.
    pub at: Option<String>,
    pub resource: Option<Value>,
}

/// The events of a request; none when it is a handshake or a sign of life.
pub fn events(carries: Carries, arrival: &Arrival) -> Vec<Event> {
    match carries {
        Carries::Resource | Carries::Nothing => vec![of_criteria(carries, arrival)],
        Carries::Resources | Carries::Names | Carries::Numbers => of_topic(carries, &arrival.json()),
    }
}

/// Where the body is the resource, or nothing, the number is in the id of the message.
fn of_criteria(carries: Carries, arrival: &Arrival) -> Event {
    let id = arrival.header("webhook-id").expect("a webhook-id");
    let number = id.rsplit('_').next().and_then(|it| it.parse().ok()).expect("a number");
    if carries == Carries::Nothing {
        assert!(arrival.body.is_empty(), "{}", arrival.json());
        return Event { number, subject: None, at: None, resource: None };
    }
    let body = arrival.json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let name = format!("{}/{}", text(&body["resourceType"]), text(&body["id"]));
    let version = version_of(&body["meta"]["versionId"]);
    Event { number, subject: Some((name, version)), at: None, resource: Some(body) }
}

/// The value of a part of Parameters.
fn part<'v>(parts: &'v Value, name: &str, value: &str) -> Option<&'v Value> {
    parts.as_array()?.iter().find(|it| it["name"] == name)?.get(value)
}

fn of_topic(carries: Carries, bundle: &Value) -> Vec<Event> {
    let entries = bundle["entry"].as_array().unwrap_or_else(|| panic!("entries: {bundle}"));
    let parameters = &entries[0]["resource"]["parameter"];
    if part(parameters, "type", "valueCode").expect("a type") != "event-notification" {
        return Vec::new();
    }
    let told: Vec<&Value> =
        parameters.as_array().expect("parameters").iter().filter(|it| it["name"] == "notification-event").collect();
    let is_named = carries != Carries::Numbers;
    assert_eq!(entries.len() - 1, if is_named { told.len() } else { 0 }, "{bundle}");
    let mut events = Vec::new();
    for (n, parts) in told.iter().map(|it| &it["part"]).enumerate() {
        let text = |name: &str, value: &str| part(parts, name, value).and_then(Value::as_str).map(str::to_owned);
        let number = text("event-number", "valueString").expect("a number").parse().expect("a number");
        let at = text("timestamp", "valueInstant");
        if !is_named {
            assert_eq!(part(parts, "focus", "valueReference"), None);
            events.push(Event { number, subject: None, at, resource: None });
            continue;
        }
        let entry = &entries[n + 1];
        let focus = part(parts, "focus", "valueReference").expect("a focus")["reference"].as_str().expect("a URL");
        assert_eq!(entry["fullUrl"], focus, "{bundle}");
        let resource = entry.get("resource").cloned();
        assert!(carries == Carries::Resources || resource.is_none(), "{bundle}");
        let version = version_of(&entry["response"]["etag"]);
        let is_deletion = entry["request"]["method"] == "DELETE";
        if carries == Carries::Resources {
            let content = resource.as_ref().map(|it| version_of(&it["meta"]["versionId"]));
            assert_eq!(content, (!is_deletion).then_some(version), "{bundle}");
        }
        events.push(Event { number, subject: Some((name_of(focus), version)), at, resource });
    }
    events
}

/// In which order things came.
#[derive(Default)]
struct Order {
    numbers: BTreeSet<u64>,
    newest: HashMap<String, (u64, u64)>,
}

impl Order {
    /// Of each resource the versions come in order; what has come before may come again at any time.
    fn next(&mut self, key: &str, event: &Event) {
        let Some((name, version)) = &event.subject else { return };
        if !self.numbers.insert(event.number) {
            return;
        }
        let (last, number) = self.newest.insert(name.clone(), (*version, event.number)).unwrap_or_default();
        assert!(*version > last, "{key}: version {version} of {name} comes after {last}");
        assert!(event.number > number, "{key}: version {version} of {name} is number {} after {number}", event.number);
    }
}

/// What was taken of the requests to one subscriber, by the numbers.
///
/// # Panics
/// When a number comes with two different events, a notification has more events than it may, or the versions of a
/// resource come in another order than that in which they were written; also of what was not taken.
pub fn taken(subscriber: &Subscriber, log: &[Arrival]) -> BTreeMap<u64, Event> {
    let key = subscriber.key;
    let path = format!("/{key}");
    let mut known: BTreeMap<u64, Event> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    // What has come, and what was taken: the numbers, and of each resource the newest version with its number.
    let mut orders: [Order; 2] = Default::default();
    for arrival in log.iter().filter(|arrival| arrival.path == path) {
        let events = events(subscriber.carries, arrival);
        let most = subscriber.max_count.map_or(usize::MAX, |it| usize::try_from(it).expect("a count"));
        assert!(events.len() <= most, "{key}: {} events at once", events.len());
        for event in events {
            let before = known.entry(event.number).or_insert_with(|| event.clone());
            assert_eq!(*before, event, "{key}: one number, two events");
            orders[0].next(key, &event);
            if arrival.is_taken() {
                orders[1].next(key, &event);
                taken.insert(event.number);
            }
        }
    }
    known.retain(|number, _| taken.contains(number));
    known
}

/// Checks that a subscriber was told of everything that has happened and concerns them, and of nothing else.
pub fn check(subscriber: &Subscriber, log: &[Arrival], history: &BTreeMap<String, Vec<Change>>) {
    let key = subscriber.key;
    let taken = taken(subscriber, log);
    let numbers: BTreeSet<u64> = taken.keys().copied().collect();
    let wanted: Vec<&Change> = history.values().flatten().filter(|it| (subscriber.wants)(it)).collect();
    let due: BTreeSet<u64> = (1..=wanted.len() as u64).collect();
    let (missing, beyond) = (&due - &numbers, &numbers - &due);
    assert!(missing.is_empty() && beyond.is_empty(), "{key}: missing {missing:?}, beyond {}: {beyond:?}", due.len());
    let by_name: BTreeMap<(&str, u64), &Change> =
        wanted.iter().map(|change| ((change.name.as_str(), change.version), *change)).collect();
    match subscriber.carries {
        Carries::Nothing => {}
        Carries::Numbers => {
            let mut told: Vec<&str> = taken.values().filter_map(|event| event.at.as_deref()).collect();
            let mut happened: Vec<&str> = wanted.iter().map(|change| change.at.as_str()).collect();
            told.sort_unstable();
            happened.sort_unstable();
            assert_eq!(told, happened, "{key}: times");
        }
        Carries::Names | Carries::Resources | Carries::Resource => {
            let told: Vec<(&str, u64)> =
                taken.values().filter_map(|it| it.subject.as_ref()).map(|(name, v)| (name.as_str(), *v)).collect();
            let unique: BTreeSet<(&str, u64)> = told.iter().copied().collect();
            assert_eq!(unique.len(), told.len(), "{key}: a change has two numbers");
            assert_eq!(unique, by_name.keys().copied().collect::<BTreeSet<_>>(), "{key}: changes");
        }
    }
    for event in taken.values() {
        let Some((name, version)) = &event.subject else { continue };
        let change = by_name[&(name.as_str(), *version)];
        if subscriber.carries != Carries::Names {
            assert_eq!(event.resource, change.after, "{key}: {name} {version}");
        }
        if let Some(at) = &event.at {
            assert_eq!(*at, change.at, "{key}: {name} {version}");
        }
    }
}
