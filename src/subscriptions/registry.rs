//! Which subscriptions a change sets off. What is asked of a change does not grow with the subscriptions: those that ask
//! the same are asked once, and those that ask for one value are found by that value.

mod keys;
mod place;

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, RandomState};
use std::sync::Arc;

use crate::fhir::types::ResourceType;
use crate::search::matching::Subject;

use super::definition::Definition;
use super::trigger::When;

pub use super::event::{Event, Interaction, State};
use place::Place;

/// What an event has to bring along to be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// There are subscriptions to such changes; without, nothing has to be asked.
    pub any: bool,
    pub before: bool,
    pub after: bool,
}

/// The subscriptions that an event sets off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matches<K> {
    /// In order, each once.
    pub keys: Vec<K>,
    /// How many lists of filters were held against the resource to find them.
    pub evaluations: usize,
}

/// The definitions of active subscriptions, by the changes that concern them.
#[derive(Clone, Debug)]
pub struct Registry<K> {
    definitions: HashMap<K, Arc<Definition>>,
    places: HashMap<(ResourceType, Interaction), BTreeMap<When, Place<K>>>,
    hasher: RandomState,
}

impl<K> Default for Registry<K> {
    fn default() -> Self {
        Self { definitions: HashMap::new(), places: HashMap::new(), hasher: RandomState::new() }
    }
}

impl<K: Copy + Eq + Hash + Ord> Registry<K> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subscription; one of the same key is replaced. That it is active, and not off, is for the caller to know.
    pub fn insert(&mut self, key: K, definition: Arc<Definition>) {
        self.remove(key);
        for (resource_type, interaction, when) in occasions(&definition) {
            let places = self.places.entry((resource_type, interaction)).or_default();
            places.entry(when).or_default().insert(key, resource_type, &definition, &self.hasher);
        }
        self.definitions.insert(key, definition);
    }

    /// Takes a subscription out; `None` when it was not in.
    pub fn remove(&mut self, key: K) -> Option<Arc<Definition>> {
        let definition = self.definitions.remove(&key)?;
        for (resource_type, interaction, when) in occasions(&definition) {
            let Some(places) = self.places.get_mut(&(resource_type, interaction)) else { continue };
            if let Some(place) = places.get_mut(&when) {
                place.remove(key, resource_type, &definition);
                if place.is_empty() {
                    places.remove(&when);
                }
            }
            if places.is_empty() {
                self.places.remove(&(resource_type, interaction));
            }
        }
        Some(definition)
    }

    pub fn get(&self, key: K) -> Option<&Arc<Definition>> {
        self.definitions.get(&key)
    }

    /// In no order.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.definitions.keys().copied()
    }

    pub fn len(&self) -> usize {
        self.definitions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty()
    }

    /// What a change of this kind has to bring along.
    pub fn needs(&self, resource_type: ResourceType, interaction: Interaction) -> Needs {
        let mut needs = Needs::default();
        for (when, place) in self.places.get(&(resource_type, interaction)).into_iter().flatten() {
            needs.any = true;
            let looks = *when != When::Always || place.has_filters();
            match interaction {
                Interaction::Delete => needs.before |= looks,
                Interaction::Create => needs.after |= looks,
                Interaction::Update => {
                    needs.after |= looks;
                    needs.before |= when.compares();
                }
            }
        }
        needs
    }

    /// The subscriptions that a change sets off, in order. One that cannot be judged, because the event does not bring what
    /// [`Self::needs`] asks for, is not among them.
    pub fn matching(&self, event: &Event<'_>) -> Vec<K> {
        self.find(event).keys
    }

    /// The same, with what it took to find them.
    pub fn find(&self, event: &Event<'_>) -> Matches<K> {
        let mut matches = Matches { keys: Vec::new(), evaluations: 0 };
        for (when, place) in self.places.get(&(event.resource_type, event.interaction)).into_iter().flatten() {
            if when.holds(event) {
                // Who asks for changes between two versions means what left as well as what came.
                let replaced = event.replaced().filter(|_| when.compares());
                let subjects: Vec<Subject<'_>> = event.subject().into_iter().chain(replaced).collect();
                place.find(&subjects, event.resource_type, &self.hasher, &mut matches);
            }
        }
        matches.keys.sort_unstable();
        matches.keys.dedup();
        matches
    }
}

/// Each kind of change that a definition is about, once.
fn occasions(definition: &Definition) -> Vec<(ResourceType, Interaction, When)> {
    let mut all: Vec<_> = definition
        .triggers
        .iter()
        .flat_map(|trigger| trigger.interactions.iter().map(|it| (trigger.resource_type, *it, trigger.when)))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
