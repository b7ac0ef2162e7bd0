//! Subscriptions of all kinds, and which versions of the directory each has to be told of.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Server;
use crate::harness::receiver::Receiver;

use super::history::{Change, Kind};

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";

/// What a notification carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// A Bundle with resources.
    Resources,
    /// A Bundle with names of resources.
    Names,
    /// A Bundle with numbers.
    Numbers,
    /// R4 criteria: the resource itself.
    Resource,
    /// R4 criteria: no body.
    Nothing,
}

/// A subscription of a test.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// Also the path of its endpoint.
    pub key: &'static str,
    /// The name of a topic, or a search.
    pub criteria: &'static str,
    pub filter: Option<&'static str>,
    pub max_count: Option<u32>,
    pub carries: Carries,
    /// What it is to be told of.
    pub wants: fn(&Change) -> bool,
}

/// Whether a version says `active`, or, where it is a deletion, the version before did.
fn is_active(change: &Change, active: bool) -> bool {
    change.after.as_ref().or(change.before.as_ref()).is_some_and(|it| it["active"] == active)
}

fn is_of(change: &Change, resource_type: &str) -> bool {
    change.name.split('/').next() == Some(resource_type)
}

const fn subscriber(
    key: &'static str,
    criteria: &'static str,
    max_count: Option<u32>,
    carries: Carries,
    wants: fn(&Change) -> bool,
) -> Subscriber {
    Subscriber { key, criteria, filter: None, max_count, carries, wants }
}

/// One of each kind.
pub fn all() -> Vec<Subscriber> {
    use Carries::{Names, Nothing, Numbers, Resource, Resources};
    vec![
        subscriber("one", "practitioner-change", Some(1), Resources, |it| is_of(it, "Practitioner")),
        subscriber("five", "practitioner-change", Some(5), Resources, |it| is_of(it, "Practitioner")),
        subscriber("many", "practitionerrole-change", None, Resources, |it| is_of(it, "PractitionerRole")),
        subscriber("names", "organization-change", None, Names, |it| is_of(it, "Organization")),
        subscriber("numbers", "practitioner-change", Some(3), Numbers, |it| is_of(it, "Practitioner")),
        subscriber("gone", "practitionerrole-delete", Some(5), Resources, |it| {
            is_of(it, "PractitionerRole") && it.kind == Kind::Delete
        }),
        Subscriber {
            filter: Some("active=true"),
            ..subscriber("filtered", "practitioner-change", Some(5), Resources, |it| {
                is_of(it, "Practitioner") && is_active(it, true)
            })
        },
        subscriber("search", "Practitioner?active=true", None, Resource, |it| {
            is_of(it, "Practitioner") && it.kind != Kind::Delete && is_active(it, true)
        }),
        subscriber("bell", "Organization?active=false", None, Nothing, |it| {
            is_of(it, "Organization") && it.kind != Kind::Delete && is_active(it, false)
        }),
    ]
}

impl Subscriber {
    /// The Subscription that asks for it.
    pub fn resource(&self, endpoint: &str) -> Value {
        let mut channel = json!({"type": "rest-hook", "endpoint": endpoint});
        let content = match self.carries {
            Carries::Resources => Some("full-resource"),
            Carries::Names => Some("id-only"),
            Carries::Numbers => Some("empty"),
            Carries::Resource | Carries::Nothing => None,
        };
        if self.carries != Carries::Nothing {
            channel["payload"] = "application/fhir+json".into();
        }
        let mut criteria = self.criteria.to_owned();
        if let Some(content) = content {
            criteria = format!("urn:plumbline:topic:{criteria}");
            let extension = json!([{"url": format!("{BACKPORT}/backport-payload-content"), "valueCode": content}]);
            channel["_payload"] = json!({"extension": extension});
        }
        if let Some(count) = self.max_count {
            channel["extension"] =
                json!([{"url": format!("{BACKPORT}/backport-max-count"), "valuePositiveInt": count}]);
        }
        let mut resource = json!({
            "resourceType": "Subscription", "status": "requested", "reason": "a test", "criteria": criteria,
            "channel": channel,
        });
        if let Some(filter) = self.filter {
            let extension = json!([{"url": format!("{BACKPORT}/backport-filter-criteria"), "valueString": filter}]);
            resource["_criteria"] = json!({"extension": extension});
        }
        resource
    }
}

/// Stores a Subscription; its id.
pub fn subscribe(server: &Server, resource: &Value) -> String {
    let stored = server.post("Subscription", resource);
    assert_eq!((stored.status, &stored.body["status"]), (201, &json!("requested")), "{stored}");
    stored.body["id"].as_str().expect("an id").to_owned()
}

/// Waits until a Subscription has a status; as it is then.
pub fn wait_for_status(server: &Server, id: &str, status: &str) -> Value {
    let deadline = std::time::Instant::now() + super::PATIENCE;
    loop {
        let read = server.get(&format!("Subscription/{id}"));
        assert_eq!(read.status, 200, "{read}");
        if read.body["status"] == status {
            return read.body;
        }
        assert!(std::time::Instant::now() < deadline, "not {status}: {read}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Stores the Subscriptions and waits until all are active; their ids.
pub fn subscribe_all(server: &Server, receiver: &Receiver, subscribers: &[Subscriber]) -> Vec<String> {
    let resource = |it: &Subscriber| it.resource(&receiver.url(it.key));
    let ids: Vec<String> = subscribers.iter().map(|it| subscribe(server, &resource(it))).collect();
    for id in &ids {
        wait_for_status(server, id, "active");
    }
    ids
}
