//! What sets a subscription off: a kind of change, and what must be true of it.

use serde_json::Value;

use crate::fhir::types::ResourceType;
use crate::search::param::registry;
use crate::search::value::{IndexEntries, system_hash};

use super::event::{Event, Interaction, State};

const ORGANIZATION_TYPES: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS";
const QUALIFICATION: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/qualification";

/// A kind of change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub resource_type: ResourceType,
    pub interactions: Vec<Interaction>,
    pub when: When,
}

impl Trigger {
    pub fn new(resource_type: ResourceType, interactions: &[Interaction], when: When) -> Self {
        Self { resource_type, interactions: interactions.to_vec(), when }
    }
}

/// What must be true of a change, beside its type and interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum When {
    Always,
    /// The Organization is a network: one of its types is `ntwk` of Plan-Net.
    IsNetwork,
    /// The Organization is none.
    IsNoNetwork,
    /// The qualifications are others than before: a creation or a deletion brought or took some, an update changed their
    /// elements. For a Practitioner these are `qualification`, for an Organization Plan-Net's extensions.
    QualificationsChanged,
    /// What the search parameter `network` finds is not what it was.
    NetworksChanged,
}

impl When {
    /// Whether it can only be told with the version before an update.
    pub fn compares(self) -> bool {
        matches!(self, Self::QualificationsChanged | Self::NetworksChanged)
    }

    /// Whether it is true of a change. A version that is missing counts as one in which there was nothing: in doubt
    /// somebody is told too much.
    pub fn holds<'a>(self, event: &Event<'a>) -> bool {
        match self {
            Self::Always => true,
            Self::IsNetwork => event.seen().is_some_and(is_network),
            Self::IsNoNetwork => event.seen().is_some_and(|state| !is_network(state)),
            Self::QualificationsChanged => {
                let of = |state: Option<State<'a>>| state.map(|state| qualifications(event.resource_type, state.body));
                of(event.before).unwrap_or_default() != of(event.after).unwrap_or_default()
            }
            Self::NetworksChanged => {
                let of = |state: Option<State<'a>>| state.map(|state| networks(event.resource_type, state.entries));
                of(event.before).unwrap_or_default() != of(event.after).unwrap_or_default()
            }
        }
    }
}

fn is_network(state: State<'_>) -> bool {
    let Some(kind) = registry().get(ResourceType::Organization, "type") else { return false };
    let system = system_hash(ORGANIZATION_TYPES);
    state.entries.tokens.iter().any(|entry| entry.param == kind.id && entry.system == system && entry.code == "ntwk")
}

fn qualifications(resource_type: ResourceType, body: &Value) -> Vec<&Value> {
    let items = |name: &str| body.get(name).and_then(Value::as_array).into_iter().flatten();
    match resource_type {
        ResourceType::Organization => {
            items("extension").filter(|it| it.get("url").and_then(Value::as_str) == Some(QUALIFICATION)).collect()
        }
        _ => items("qualification").collect(),
    }
}

/// The entries of the parameter `network`, and no others.
fn networks(resource_type: ResourceType, entries: &IndexEntries) -> IndexEntries {
    let mut found = IndexEntries::default();
    let Some(network) = registry().get(resource_type, "network") else { return found };
    let of_network = |id: i32| id == network.id || id == network.identifier_id;
    found.references = entries.references.iter().filter(|entry| of_network(entry.param)).cloned().collect();
    found.uris = entries.uris.iter().filter(|entry| of_network(entry.param)).cloned().collect();
    found.tokens = entries.tokens.iter().filter(|entry| of_network(entry.param)).cloned().collect();
    found
}
