use serde_json::{Value, json};

use super::*;
use crate::fhir::terminology::Terminology;
use crate::fhir::types::Instant;
use crate::search::extract::Extractor;
use crate::search::parse::{self, Handling};
use crate::search::value::IndexEntries;
use crate::subscriptions::definition::{Bounds, Context};

const FILTER: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-filter-criteria";
const CONTENT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content";
const NETWORK: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/network-reference";
const MEMBERSHIP: &str = "http://ndh.org/topic/networkmembership-create-modified-or-delete";

fn definition(criteria: &str, filters: &[String]) -> Arc<Definition> {
    let filters: Vec<Value> = filters.iter().map(|it| json!({"url": FILTER, "valueString": it})).collect();
    let mut body = json!({
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "a test",
        "criteria": criteria,
        "channel": {"type": "rest-hook", "endpoint": "https://example.org/hook"},
    });
    if criteria.contains(':') {
        body["_criteria"] = json!({"extension": filters});
        body["channel"]["payload"] = json!("application/fhir+json");
        body["channel"]["_payload"] = json!({"extension": [{"url": CONTENT, "valueCode": "id-only"}]});
    }
    let bases = [];
    let search = parse::Context {
        bases: &bases,
        now: Instant(1_767_225_600_000_000),
        handling: Handling::Default,
        terminology: Terminology::embedded(),
        count_default: 20,
        count_max: 100,
    };
    let context = Context { search, allow_http: false, bounds: Bounds::default() };
    Arc::new(Definition::read(&body, &context).unwrap_or_else(|issues| panic!("{criteria} {filters:?}: {issues:?}")))
}

/// A resource and what it offers to search.
struct Version(Value, IndexEntries);

impl Version {
    fn new(body: Value) -> Self {
        let name = body["resourceType"].as_str().expect("a type");
        let resource_type = ResourceType::parse(name).expect("a stored type");
        let entries = Extractor { bases: &[] }.entries(resource_type, &body);
        Self(body, entries)
    }

    fn state(&self) -> State<'_> {
        State { body: &self.0, entries: &self.1 }
    }
}

fn event<'a>(before: Option<&'a Version>, after: Option<&'a Version>) -> Event<'a> {
    let body = &after.or(before).expect("a version").0;
    Event {
        resource_type: ResourceType::parse(body["resourceType"].as_str().expect("a type")).expect("a stored type"),
        id: body["id"].as_str().expect("an id"),
        at: Instant(1_767_225_600_000_000),
        interaction: match (before, after) {
            (None, _) => Interaction::Create,
            (_, Some(_)) => Interaction::Update,
            (_, None) => Interaction::Delete,
        },
        after: after.map(Version::state),
        before: before.map(Version::state),
    }
}

fn role(network: &str) -> Version {
    Version::new(json!({
        "resourceType": "PractitionerRole",
        "id": "r1",
        "active": true,
        "extension": [{"url": NETWORK, "valueReference": {"reference": format!("Organization/{network}")}}],
        "specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "207Q00000X"}]}],
        "practitioner": {"reference": "Practitioner/p1"},
    }))
}

/// The subscriptions of this list that a change sets off, by their places in it.
fn matching(subscriptions: &[(&str, &[&str])], event: &Event<'_>) -> Vec<usize> {
    let mut registry = Registry::new();
    for (n, (criteria, filters)) in subscriptions.iter().enumerate() {
        let filters: Vec<String> = filters.iter().map(|it| (*it).to_owned()).collect();
        registry.insert(n, definition(criteria, &filters));
    }
    registry.matching(event)
}

#[test]
fn ten_thousand_subscriptions_to_other_networks_are_not_asked() {
    let mut registry = Registry::new();
    let topic = "urn:plumbline:topic:practitionerrole-change";
    for n in 0..10_000 {
        let filters =
            [format!("network=Organization/n{n}"), "active=true".to_owned(), "specialty=207Q00000X".to_owned()];
        registry.insert(n, definition(topic, &filters));
    }
    let version = role("n77");
    let found = registry.find(&event(None, Some(&version)));
    assert_eq!(found, Matches { keys: vec![77], evaluations: 1 });
}

#[test]
fn ten_thousand_equal_subscriptions_are_asked_once() {
    let mut registry = Registry::new();
    for n in 0..10_000 {
        // The order of conditions does not matter.
        let mut filters = ["active=true".to_owned(), "practitioner:missing=false".to_owned()];
        if n % 2 == 0 {
            filters.reverse();
        }
        registry.insert(n, definition("urn:plumbline:topic:practitionerrole-create", &filters));
    }
    let version = role("n1");
    let found = registry.find(&event(None, Some(&version)));
    assert_eq!((found.keys.len(), found.evaluations), (10_000, 1));
    (1..10_000).for_each(|n| drop(registry.remove(n)));
    assert_eq!(registry.matching(&event(None, Some(&version))), [0]);
}

#[test]
fn a_crowd_under_one_value_is_found_by_another() {
    let mut registry = Registry::new();
    for n in 0..2_000 {
        let filters = ["network=Organization/n1".to_owned(), format!("practitioner=Practitioner/p{n}")];
        registry.insert(n, definition("urn:plumbline:topic:practitionerrole-create", &filters));
    }
    let version = role("n1");
    let found = registry.find(&event(None, Some(&version)));
    assert_eq!(found.keys, [1]);
    assert!(found.evaluations < 5, "{found:?}");
}

#[test]
fn each_kind_of_value_finds_its_subscriptions() {
    let version = Version::new(json!({
        "resourceType": "Organization",
        "id": "o1",
        "meta": {"profile": ["http://example.org/p"]},
        "identifier": [{"system": "http://s", "value": "X1", "type": {"coding": [{"system": "http://t", "code": "TAX"}]}}],
        "type": [{"coding": [{"system": "http://c", "code": "Pay"}], "text": "Payer"}],
        "partOf": {"reference": "https://elsewhere.example/Organization/9", "identifier": {"system": "http://s", "value": "9"}},
        "name": "Acme",
    }));
    let ours = [
        "_id=o1,o2",
        "identifier=http://s|x1",
        "identifier=x1",
        "identifier:of-type=http://t|TAX|X1",
        "type=http://c|pay",
        "type=http://c|",
        "partof=https://elsewhere.example/Organization/9",
        "partof:identifier=http://s|9",
        "_profile=http://example.org/p",
        "name=acm",
        "type:not=prov",
        "type:text=pay",
        "active:missing=true",
        "_lastUpdated=gt2025",
    ];
    let others = [
        "_id=o2",
        "identifier=http://t|x1",
        "identifier:of-type=http://t|NPI|X1",
        "type=http://d|pay",
        "type=|pay",
        "type=http://d|",
        "partof=Organization/9",
        "partof:identifier=9|9",
        "_profile=http://example.org/q",
        "name=beta",
        "type:not=pay",
        "active=true",
        "_lastUpdated=lt2025",
    ];
    let all: Vec<[&str; 1]> = ours.iter().chain(&others).map(|it| [*it]).collect();
    let subscriptions: Vec<(&str, &[&str])> =
        all.iter().map(|it| ("urn:plumbline:topic:organization-create", &it[..])).collect();
    let found = matching(&subscriptions, &event(None, Some(&version)));
    assert_eq!(found, (0..ours.len()).collect::<Vec<_>>());
}

#[test]
fn filters_look_at_the_new_state_and_at_what_was_deleted() {
    let subscriptions: &[(&str, &[&str])] = &[
        ("PractitionerRole?network=Organization/a", &[]),
        ("PractitionerRole?network=Organization/b", &[]),
        ("urn:plumbline:topic:practitionerrole-change", &["network=Organization/a"]),
        ("urn:plumbline:topic:practitionerrole-change", &["network=Organization/b"]),
        ("urn:plumbline:topic:practitionerrole-delete", &[]),
        ("urn:plumbline:topic:practitioner-change", &[]),
        (MEMBERSHIP, &["network=Organization/a"]),
        (MEMBERSHIP, &["network=Organization/c"]),
    ];
    let (a, b) = (role("a"), role("b"));
    assert_eq!(matching(subscriptions, &event(None, Some(&a))), [0, 2, 6]);
    // Whoever asks for memberships of a network is told of those that end.
    assert_eq!(matching(subscriptions, &event(Some(&a), Some(&b))), [1, 3, 6]);
    assert_eq!(matching(subscriptions, &event(Some(&a), Some(&a))), [0, 2]);
    assert_eq!(matching(subscriptions, &event(Some(&a), None)), [2, 4, 6]);
}

#[test]
fn topics_of_the_national_directory() {
    let qualification = |text: &str| json!([{"code": {"text": text}}]);
    let subscriptions: &[(&str, &[&str])] = &[
        ("http://ndh.org/topic/network-create-or-delete", &[]),
        ("http://ndh.org/topic/organization-create-or-delete", &[]),
        ("http://ndh.org/topic/organization-qualification-create-modified-or-delete", &[]),
        ("http://ndh.org/topic/practitioner-qualification-create-modified-or-delete", &[]),
        ("http://ndh.org/topic/practitioner-create-or-delete", &[]),
        (MEMBERSHIP, &[]),
    ];
    let organization = |code: &str, extension: Value| {
        let system = "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS";
        Version::new(
            json!({"resourceType": "Organization", "id": "o", "type": [{"coding": [{"system": system, "code": code}]}], "extension": extension}),
        )
    };
    let practitioner = |qualification: Value| {
        Version::new(json!({"resourceType": "Practitioner", "id": "p", "qualification": qualification}))
    };
    let url = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/qualification";
    let (network, clinic) = (organization("ntwk", json!([])), organization("prvgrp", json!([])));
    let licensed = organization("prvgrp", json!([{"url": url, "extension": []}]));
    assert_eq!(matching(subscriptions, &event(None, Some(&network))), [0]);
    assert_eq!(matching(subscriptions, &event(Some(&clinic), None)), [1]);
    assert_eq!(matching(subscriptions, &event(Some(&network), Some(&clinic))), Vec::<usize>::new());
    assert_eq!(matching(subscriptions, &event(Some(&clinic), Some(&licensed))), [2]);
    assert_eq!(matching(subscriptions, &event(Some(&licensed), None)), [1, 2]);
    let (none, one, other) =
        (practitioner(json!([])), practitioner(qualification("MD")), practitioner(qualification("DO")));
    assert_eq!(matching(subscriptions, &event(None, Some(&none))), [4]);
    assert_eq!(matching(subscriptions, &event(None, Some(&one))), [3, 4]);
    assert_eq!(matching(subscriptions, &event(Some(&one), Some(&other))), [3]);
    assert_eq!(matching(subscriptions, &event(Some(&one), Some(&one))), Vec::<usize>::new());
    let (in_a, in_b) = (role("a"), role("b"));
    assert_eq!(matching(subscriptions, &event(Some(&in_a), Some(&in_b))), [5]);
    assert_eq!(matching(subscriptions, &event(Some(&in_a), Some(&in_a))), Vec::<usize>::new());
    let affiliation = Version::new(
        json!({"resourceType": "OrganizationAffiliation", "id": "x", "network": [{"reference": "Organization/a"}]}),
    );
    assert_eq!(matching(subscriptions, &event(Some(&affiliation), None)), [5]);
}

#[test]
fn what_an_event_has_to_bring() {
    use Interaction::{Create, Delete, Update};
    let mut registry = Registry::new();
    let role = ResourceType::PractitionerRole;
    assert_eq!(registry.needs(role, Create), Needs::default());
    registry.insert(1, definition("urn:plumbline:topic:practitionerrole-change", &[]));
    let nothing = Needs { any: true, ..Needs::default() };
    for interaction in Interaction::ALL {
        assert_eq!(registry.needs(role, interaction), nothing);
    }
    let version = self::role("a");
    let bare = Event { after: None, ..event(None, Some(&version)) };
    assert_eq!(registry.matching(&bare), [1]);
    registry.insert(2, definition("PractitionerRole?active=true", &[]));
    assert_eq!(registry.needs(role, Create), Needs { any: true, before: false, after: true });
    assert_eq!(registry.needs(role, Update), Needs { any: true, before: false, after: true });
    assert_eq!(registry.needs(role, Delete), nothing);
    // Without what it needs, nobody can say that it matches.
    assert_eq!(registry.matching(&bare), [1]);
    registry.insert(3, definition(MEMBERSHIP, &[]));
    assert_eq!(registry.needs(role, Update), Needs { any: true, before: true, after: true });
    assert_eq!(registry.needs(role, Delete), Needs { any: true, before: true, after: false });
    assert_eq!(registry.needs(ResourceType::Location, Update), Needs::default());
}

#[test]
fn what_is_replaced_or_removed_leaves_nothing_behind() {
    let mut registry = Registry::new();
    let version = role("b");
    let event = event(None, Some(&version));
    registry.insert(1, definition("PractitionerRole?network=Organization/a", &[]));
    registry.insert(1, definition("PractitionerRole?network=Organization/b", &[]));
    assert_eq!((registry.matching(&event), registry.len()), (vec![1], 1));
    registry.insert(1, definition("urn:plumbline:topic:practitionerrole-delete", &[]));
    assert_eq!(registry.matching(&event), Vec::<i32>::new());
    assert!(registry.remove(1).is_some() && registry.remove(1).is_none());
    assert!(registry.places.is_empty() && registry.is_empty());
}
