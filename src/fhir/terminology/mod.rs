//! Terminology: code systems and value sets as facts, and what follows from them (expansion, subsumption, display).
//!
//! Built in is what `profiles/terminology` holds; an operator adds to it. Nothing is fetched, and nothing is guessed: a
//! value set that draws on a code system which is not loaded in full is not offered at all, because half an expansion
//! would reject codes that are valid. One version of each is loaded, so a `|version` on a url is not looked at.

mod code_set;
mod definition;
mod expand;
mod grammar;
pub mod nucc;
mod system;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use code_set::CodeSet;
use definition::{Component, Definition, Quote};
pub use definition::{Property, TerminologyError, ValueSet};
pub use expand::{Expansion, Unexpandable};
pub use grammar::Grammar;
pub use system::{Concept, System, in_language};

/// Bundles of one resource per line.
const FILES: [&str; 6] = [
    include_str!("../../../profiles/terminology/plan-net-codesystems.json"),
    include_str!("../../../profiles/terminology/plan-net-valuesets.json"),
    include_str!("../../../profiles/terminology/r4-codesystems.json"),
    include_str!("../../../profiles/terminology/r4-valuesets.json"),
    include_str!("../../../profiles/terminology/us-codesystems.json"),
    include_str!("../../../profiles/terminology/us-valuesets.json"),
];

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: &'a RawValue,
}

/// Code systems and value sets, each by its url.
#[derive(Default)]
pub struct Terminology {
    systems: HashMap<String, Arc<System>>,
    sets: HashMap<String, Set>,
    /// Displays that value sets give to the codes they list, by system and code.
    quoted: HashMap<String, HashMap<String, String>>,
}

/// A value set, and what was found about it.
struct Set {
    definition: Arc<ValueSet>,
    expansion: OnceLock<Result<Expansion, Unexpandable>>,
    code_set: OnceLock<Result<Arc<CodeSet>, Unexpandable>>,
}

impl Set {
    fn new(definition: Arc<ValueSet>) -> Self {
        Self { definition, expansion: OnceLock::new(), code_set: OnceLock::new() }
    }
}

impl Terminology {
    /// What is built in.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Terminology> = LazyLock::new(|| Terminology::load(&FILES));
        &EMBEDDED
    }

    /// What is built in, and then CodeSystem and ValueSet resources; others are passed over, and so is one without a url.
    /// A later one replaces an earlier one of the same url, but a part of a code system never replaces the whole.
    ///
    /// # Errors
    /// [`TerminologyError`] for the first one that cannot be read.
    pub fn with(extra: Vec<Value>) -> Result<Self, TerminologyError> {
        let built_in = Self::embedded();
        // What was expanded so far does not carry over: a set may hold more when more is loaded.
        let set = |(url, set): (&String, &Set)| (url.clone(), Set::new(Arc::clone(&set.definition)));
        let mut all = Self {
            systems: built_in.systems.clone(),
            sets: built_in.sets.iter().map(set).collect(),
            quoted: built_in.quoted.clone(),
        };
        for resource in extra {
            all.take(resource)?;
        }
        Ok(all)
    }

    /// Takes one more resource, as [`Self::with`] does, before anything is asked: what was expanded is not expanded again.
    /// False for one that is passed over.
    ///
    /// # Errors
    /// [`TerminologyError`] when it cannot be read; then nothing is changed.
    pub fn take(&mut self, resource: Value) -> Result<bool, TerminologyError> {
        let definition = Definition::from_value(resource)?;
        let is_taken = definition.is_some();
        definition.into_iter().for_each(|definition| self.add(definition));
        Ok(is_taken)
    }

    fn load(files: &[&str]) -> Self {
        let mut all = Self::default();
        // The files are part of the build and a test reads each of them, so there is nobody to report a bad one to.
        let entries =
            files.iter().filter_map(|file| serde_json::from_str::<File>(file).ok()).flat_map(|file| file.entry);
        for entry in entries {
            if let Ok(definition) = Definition::from_text(entry.resource.get()) {
                all.add(definition);
            }
        }
        all
    }

    fn add(&mut self, definition: Definition) {
        match definition {
            Definition::CodeSystem(definition) => {
                let system = System::new(definition);
                let has_whole = self.systems.get(&system.url).is_some_and(|known| known.complete);
                if system.complete || !has_whole {
                    self.systems.insert(system.url.clone(), Arc::new(system));
                }
            }
            Definition::ValueSet(set) => {
                self.quote(set.compose.as_ref().map_or(&[], |compose| &compose.include));
                self.sets.insert(set.url.clone(), Set::new(Arc::new(set)));
            }
        }
    }

    fn quote(&mut self, includes: &[Component]) {
        for include in includes {
            let Some(system) = &include.system else { continue };
            for Quote { code, display, .. } in &include.concept {
                let Some(display) = display else { continue };
                let displays = self.quoted.entry(system.clone()).or_default();
                displays.entry(code.clone()).or_insert_with(|| display.clone());
            }
        }
    }

    /// A code system, whole or in part.
    pub fn system(&self, url: &str) -> Option<&System> {
        self.systems.get(unversioned(url)).map(Arc::as_ref)
    }

    /// Every code system, in no order.
    pub fn systems(&self) -> impl Iterator<Item = &System> {
        self.systems.values().map(Arc::as_ref)
    }

    /// The definition of a value set.
    pub fn definition(&self, url: &str) -> Option<&ValueSet> {
        self.sets.get(unversioned(url)).map(|set| set.definition.as_ref())
    }

    /// The url of every value set, in no order.
    pub fn value_sets(&self) -> impl Iterator<Item = &str> {
        self.sets.keys().map(String::as_str)
    }

    /// The expansion of a value set, found once.
    ///
    /// # Errors
    /// [`Unexpandable`]: the set is unknown here, or cannot be expanded in full.
    pub fn expansion(&self, url: &str) -> Result<&Expansion, Unexpandable> {
        let url = unversioned(url);
        let set = self.sets.get(url).ok_or_else(|| Unexpandable::UnknownSet(url.to_owned()))?;
        set.expansion.get_or_init(|| self.expand(&set.definition, false)).as_ref().map_err(Clone::clone)
    }

    /// The expansion of a value set as (system, code) pairs, in the order of its definition and without repetition;
    /// abstract codes are among them. `None`: the set is unknown here, or cannot be expanded in full.
    pub fn value_set(&self, url: &str) -> Option<&[(String, String)]> {
        Some(&self.expansion(url).ok()?.codes)
    }

    /// The codes of a value set for questions of membership, made once. Sets that cannot be listed but follow a grammar
    /// have one too. `None`: the set is unknown here, or not every code of it is known.
    pub fn code_set(&self, url: &str) -> Option<Arc<CodeSet>> {
        self.try_code_set(url).ok()
    }

    /// The same, with the reason.
    ///
    /// # Errors
    /// [`Unexpandable`]: the set is unknown here, or not every code of it is known.
    pub fn try_code_set(&self, url: &str) -> Result<Arc<CodeSet>, Unexpandable> {
        let url = unversioned(url);
        let set = self.sets.get(url).ok_or_else(|| Unexpandable::UnknownSet(url.to_owned()))?;
        let found = set.code_set.get_or_init(|| match self.expansion(url) {
            Ok(expansion) => Ok(Arc::new(self.code_set_from(expansion))),
            Err(_reason) => self.code_set_of(&set.definition, false).map(|(codes, _)| Arc::new(codes)),
        });
        found.clone()
    }

    /// True if [`Self::system_has`] can tell of every code whether it is one of this system.
    pub fn is_complete_system(&self, system: &str) -> bool {
        Grammar::of(system).is_some() || self.system(system).is_some_and(|system| system.complete)
    }

    /// True for a code that the system is known to have.
    pub fn system_has(&self, system: &str, code: &str) -> bool {
        Grammar::of(system).is_some_and(|grammar| grammar.has(code))
            || self.system(system).is_some_and(|system| system.get(code).is_some())
    }

    /// The code itself, then every code that it subsumes. An unknown code subsumes just itself. `None`: the code system
    /// is not loaded.
    pub fn descendants(&self, system: &str, code: &str) -> Option<Vec<String>> {
        self.system(system).map(|system| system.below(code))
    }

    /// The code itself, then every code that subsumes it. An unknown code is subsumed by just itself. `None`: the code
    /// system is not loaded.
    pub fn ancestors(&self, system: &str, code: &str) -> Option<Vec<String>> {
        self.system(system).map(|system| system.above(code))
    }

    /// What the code system calls the code; for systems that are only quoted by value sets (NUCC, unless it is loaded),
    /// what those call it.
    pub fn display(&self, system: &str, code: &str) -> Option<&str> {
        let own = self.system(system).and_then(|system| system.get(code)?.display.as_deref());
        own.or_else(|| self.quoted.get(system)?.get(code).map(String::as_str))
    }
}

/// A canonical url without its `|version`.
pub fn unversioned(url: &str) -> &str {
    url.split_once('|').map_or(url, |(url, _)| url)
}
