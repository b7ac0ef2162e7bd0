//! The topics that this server offers. In R4 a topic is known by its URL alone: its definition is no resource (Backport
//! 1.1.0, topic discovery).

use std::sync::LazyLock;

use crate::fhir::types::ResourceType;
use crate::search::param::{SearchParam, registry};

use super::event::Interaction::{self, Create, Delete, Update};
use super::trigger::{Trigger, When};

/// Before the names of the topics that are this server's own.
const OWN: &str = "urn:plumbline:topic:";
/// Before those of HL7's National Directory guide.
const NATIONAL: &str = "http://ndh.org/topic/";

/// What subscribers can be told of.
#[derive(Clone, Debug)]
pub struct Topic {
    /// What the criteria of a subscription name.
    pub url: String,
    pub title: String,
    /// A sentence.
    pub description: String,
    /// Any of these sets it off.
    pub triggers: Vec<Trigger>,
    /// What narrows it, for each type of its resources.
    pub filters: Vec<FilterBy>,
}

/// The parameters that filters on resources of one type may name: all that can be searched, since each can be answered
/// from one resource. Only chains, `_has` and hierarchies of references cannot.
#[derive(Clone, Debug)]
pub struct FilterBy {
    pub resource_type: ResourceType,
    /// In order of their codes.
    pub params: Vec<&'static SearchParam>,
}

impl Topic {
    fn new(url: String, title: String, description: String, triggers: Vec<Trigger>) -> Self {
        let mut types: Vec<ResourceType> = triggers.iter().map(|trigger| trigger.resource_type).collect();
        types.sort();
        types.dedup();
        let filters = types
            .into_iter()
            .map(|resource_type| FilterBy { resource_type, params: registry().of_type(resource_type).collect() });
        Self { url, title, description, filters: filters.collect(), triggers }
    }

    /// The types of the resources it is about, in order.
    pub fn types(&self) -> impl Iterator<Item = ResourceType> {
        self.filters.iter().map(|filter| filter.resource_type)
    }
}

/// All topics, in the order in which they are declared.
pub fn topics() -> &'static [Topic] {
    static TOPICS: LazyLock<Vec<Topic>> = LazyLock::new(|| {
        let mut topics = Vec::new();
        for &resource_type in ResourceType::ALL.iter().filter(|it| it.is_directory()) {
            own(&mut topics, resource_type);
        }
        national(&mut topics);
        topics
    });
    &TOPICS
}

/// The topic of this canonical URL. A version after a bar is passed over: topics have none.
pub fn topic(canonical: &str) -> Option<&'static Topic> {
    let url = canonical.split_once('|').map_or(canonical, |(url, _)| url);
    topics().iter().find(|topic| topic.url == url)
}

fn own(topics: &mut Vec<Topic>, resource_type: ResourceType) {
    let name = resource_type.as_str().to_lowercase();
    for interaction in Interaction::ALL {
        let done = match interaction {
            Create => "created",
            Update => "updated",
            Delete => "deleted",
        };
        topics.push(Topic::new(
            format!("{OWN}{name}-{}", interaction.as_str()),
            format!("{resource_type} {done}"),
            format!("A resource of type {resource_type} was {done}."),
            vec![Trigger::new(resource_type, &[interaction], When::Always)],
        ));
    }
    topics.push(Topic::new(
        format!("{OWN}{name}-change"),
        format!("{resource_type} changed"),
        format!("A resource of type {resource_type} was created, updated or deleted."),
        vec![Trigger::new(resource_type, &Interaction::ALL, When::Always)],
    ));
}

fn national(topics: &mut Vec<Topic>) {
    use ResourceType::{
        Endpoint, HealthcareService, InsurancePlan, Location, Organization, OrganizationAffiliation, Practitioner,
        PractitionerRole,
    };
    let come_and_gone = [
        ("endpoint", Endpoint, When::Always, "A resource of type Endpoint"),
        ("healthcareservice", HealthcareService, When::Always, "A resource of type HealthcareService"),
        ("insuranceplan", InsurancePlan, When::Always, "A resource of type InsurancePlan"),
        ("location", Location, When::Always, "A resource of type Location"),
        ("network", Organization, When::IsNetwork, "A network (an Organization of type ntwk)"),
        ("practitioner", Practitioner, When::Always, "A resource of type Practitioner"),
        ("organization", Organization, When::IsNoNetwork, "An Organization that is no network"),
        ("practitionerrole", PractitionerRole, When::Always, "A resource of type PractitionerRole"),
        (
            "organizationaffiliation",
            OrganizationAffiliation,
            When::Always,
            "A resource of type OrganizationAffiliation",
        ),
    ];
    for (name, resource_type, when, what) in come_and_gone {
        let title = if when == When::IsNetwork { "Network" } else { resource_type.as_str() };
        topics.push(Topic::new(
            format!("{NATIONAL}{name}-create-or-delete"),
            format!("{title} created or deleted"),
            format!("{what} was created or deleted."),
            vec![Trigger::new(resource_type, &[Create, Delete], when)],
        ));
    }
    for resource_type in [Practitioner, Organization] {
        topics.push(Topic::new(
            format!("{NATIONAL}{}-qualification-create-modified-or-delete", resource_type.as_str().to_lowercase()),
            format!("Qualification of {resource_type} changed"),
            format!(
                "A resource of type {resource_type} came or went with a qualification, or its qualifications changed."
            ),
            vec![Trigger::new(resource_type, &Interaction::ALL, When::QualificationsChanged)],
        ));
    }
    topics.push(Topic::new(
        format!("{NATIONAL}networkmembership-create-modified-or-delete"),
        "Network membership changed".to_owned(),
        "A PractitionerRole or OrganizationAffiliation came or went with a network, or its networks changed."
            .to_owned(),
        [PractitionerRole, OrganizationAffiliation]
            .map(|resource_type| Trigger::new(resource_type, &Interaction::ALL, When::NetworksChanged))
            .to_vec(),
    ));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_topic_has_a_url_of_its_own() {
        let urls: HashSet<&str> = topics().iter().map(|topic| topic.url.as_str()).collect();
        assert_eq!((topics().len(), urls.len()), (8 * 4 + 9 + 2 + 1, topics().len()));
        for topic in topics() {
            assert!(super::topic(&topic.url).is_some_and(|found| found.url == topic.url));
            assert!(!topic.triggers.is_empty() && topic.filters.iter().all(|it| it.params.len() > 5), "{}", topic.url);
        }
        assert!(topic("urn:plumbline:topic:location-update|1.0.0").is_some());
        assert!(topic("urn:plumbline:topic:location").is_none());
    }

    #[test]
    fn filters_are_of_all_types_of_a_topic() {
        let membership = topic("http://ndh.org/topic/networkmembership-create-modified-or-delete").expect("a topic");
        let types: Vec<ResourceType> = membership.types().collect();
        assert_eq!(types, [ResourceType::PractitionerRole, ResourceType::OrganizationAffiliation]);
        assert!(membership.filters.iter().all(|it| it.params.iter().any(|param| param.code == "network")));
    }
}
