//! A change of the directory as subscriptions see it.

use serde_json::Value;

use crate::fhir::types::{Instant, ResourceType};
use crate::search::date::DateRange;
use crate::search::matching::Subject;
use crate::search::value::IndexEntries;

/// What was done to a resource. A PUT that made it is a creation, and so is one that follows a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interaction {
    Create,
    Update,
    Delete,
}

impl Interaction {
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// As topics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A version of a resource, and all that it offers to search.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    pub body: &'a Value,
    pub entries: &'a IndexEntries,
}

/// One change of one resource. What states it has to bring along, [`super::registry::Registry::needs`] tells.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub resource_type: ResourceType,
    pub id: &'a str,
    /// When it happened: `meta.lastUpdated` of the version that it made.
    pub at: Instant,
    pub interaction: Interaction,
    /// The version that the change made; `None` for a deletion.
    pub after: Option<State<'a>>,
    /// The version that was current before; `None` for a creation.
    pub before: Option<State<'a>>,
}

impl<'a> Event<'a> {
    /// The version that filters look at: the new one, and of a deletion the one that was deleted.
    pub fn seen(&self) -> Option<State<'a>> {
        match self.interaction {
            Interaction::Delete => self.before,
            Interaction::Create | Interaction::Update => self.after,
        }
    }

    /// The same for [`crate::search::matching`].
    pub fn subject(&self) -> Option<Subject<'a>> {
        let State { body, entries } = self.seen()?;
        let last_updated = match self.interaction {
            Interaction::Delete => last_updated(body).unwrap_or(self.at),
            Interaction::Create | Interaction::Update => self.at,
        };
        Some(Subject { resource_type: self.resource_type, id: self.id, last_updated, entries })
    }

    /// The version that an update replaced, for [`crate::search::matching`].
    pub fn replaced(&self) -> Option<Subject<'a>> {
        let State { body, entries } = self.before.filter(|_| self.interaction == Interaction::Update)?;
        let last_updated = last_updated(body).unwrap_or(self.at);
        Some(Subject { resource_type: self.resource_type, id: self.id, last_updated, entries })
    }
}

fn last_updated(body: &Value) -> Option<Instant> {
    let text = body.get("meta")?.get("lastUpdated")?.as_str()?;
    DateRange::parse(text).map(|range| Instant(range.lo))
}
