//! Expansion (R4 valueset.html#expansion): which codes a value set holds. All of them, or the reason why that cannot be
//! told: half an expansion would reject codes that are valid.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use thiserror::Error;

use super::definition::{Component, Compose, ValueSet};
use super::grammar::Grammar;
use super::{Concept, Terminology, unversioned};

/// The codes of a value set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// (system, code), in the order of the definition and without repetition; abstract codes are among them.
    pub codes: Vec<(String, String)>,
    /// What the set itself calls a code, by its place; other codes are called what their system calls them.
    displays: HashMap<usize, String>,
}

impl Expansion {
    /// The display that the set gives to the code at a place.
    pub fn own_display(&self, at: usize) -> Option<&str> {
        self.displays.get(&at).map(String::as_str)
    }

    fn of(members: Vec<Member>) -> Self {
        let mut expansion = Self::default();
        for (at, member) in members.into_iter().enumerate() {
            if let Some(display) = member.display {
                expansion.displays.insert(at, display.to_owned());
            }
            expansion.codes.push((member.system.to_owned(), member.code.to_owned()));
        }
        expansion
    }
}

/// Why a value set cannot be expanded in full.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unexpandable {
    #[error("the value set {0} is not loaded")]
    UnknownSet(String),
    #[error("the code system {0} is not loaded")]
    UnknownSystem(String),
    #[error("of the code system {0} only a part is loaded")]
    PartOfSystem(String),
    #[error("the code system {0} is a grammar, whose codes cannot be listed")]
    Grammar(String),
    #[error("the filter '{property} {op}' on the code system {system} cannot be answered")]
    Filter { system: String, property: String, op: String },
    #[error("the value set {0} includes itself")]
    Recursive(String),
    #[error("the value set {0} neither says what it is made of nor has a complete expansion")]
    Empty(String),
    #[error("an include or exclude names neither a code system nor a value set")]
    Nameless,
}

impl Unexpandable {
    /// The code system that an operator would have to load.
    pub fn missing_system(&self) -> Option<&str> {
        match self {
            Self::UnknownSystem(system) | Self::PartOfSystem(system) => Some(system),
            _ => None,
        }
    }
}

/// A code that borrows from the definitions; `display` is what the value set calls it.
#[derive(Clone, Copy)]
struct Member<'a> {
    system: &'a str,
    code: &'a str,
    display: Option<&'a str>,
}

impl<'a> Member<'a> {
    fn key(&self) -> (&'a str, &'a str) {
        (self.system, self.code)
    }
}

type Members<'a> = Result<Vec<Member<'a>>, Unexpandable>;

/// One expansion on its way through sets that include others.
#[derive(Default)]
struct Walk<'a> {
    /// The sets that are being expanded further up: a set that includes itself has no expansion.
    open: Vec<&'a str>,
    /// What was found of each included set. Without it a ladder of sets, each of which includes the next one twice, would
    /// cost two to the power of its length.
    found: HashMap<&'a str, Result<Rc<[Member<'a>]>, Unexpandable>>,
}

impl Terminology {
    /// The expansion of a definition at hand.
    ///
    /// # Errors
    /// [`Unexpandable`] when not every code of it is known.
    pub fn expand(&self, set: &ValueSet) -> Result<Expansion, Unexpandable> {
        self.members(set, &mut Walk::default()).map(Expansion::of)
    }

    /// What one include alone means.
    pub(super) fn expand_component(&self, include: &Component) -> Result<Expansion, Unexpandable> {
        self.select(include, &mut Walk::default()).map(Expansion::of)
    }

    /// An included set. It does not go through the cache of whole expansions: two sets that include each other would wait
    /// for each other for ever.
    fn named<'a>(&'a self, url: &'a str, walk: &mut Walk<'a>) -> Result<Rc<[Member<'a>]>, Unexpandable> {
        let url = unversioned(url);
        if let Some(found) = walk.found.get(url) {
            return found.clone();
        }
        let set = self.sets.get(url).ok_or_else(|| Unexpandable::UnknownSet(url.to_owned()))?;
        let found = self.members(&set.definition, walk).map(Rc::from);
        walk.found.insert(url, found.clone());
        found
    }

    fn members<'a>(&'a self, set: &'a ValueSet, walk: &mut Walk<'a>) -> Members<'a> {
        if !set.url.is_empty() && walk.open.contains(&set.url.as_str()) {
            return Err(Unexpandable::Recursive(set.url.clone()));
        }
        walk.open.push(&set.url);
        let composed = match &set.compose {
            Some(compose) => self.composed(compose, walk),
            None => Err(Unexpandable::Empty(set.url.clone())),
        };
        walk.open.pop();
        // What the publisher found stands in for what cannot be found here.
        composed.or_else(|reason| {
            let stated = set.expansion.as_ref().and_then(|expansion| expansion.codes()).ok_or(reason)?;
            let mut seen = HashSet::new();
            let members = stated.into_iter().map(|(system, code, display)| Member { system, code, display });
            Ok(members.filter(|member| seen.insert(member.key())).collect())
        })
    }

    fn composed<'a>(&'a self, compose: &'a Compose, walk: &mut Walk<'a>) -> Members<'a> {
        let mut excluded = HashSet::new();
        for exclude in &compose.exclude {
            excluded.extend(self.select(exclude, walk)?.iter().map(Member::key));
        }
        let mut seen = HashSet::new();
        let mut members = Vec::new();
        for include in &compose.include {
            let selected = self.select(include, walk)?;
            members.extend(
                selected.into_iter().filter(|member| !excluded.contains(&member.key()) && seen.insert(member.key())),
            );
        }
        if compose.inactive == Some(false) {
            let concept = |member: &Member<'a>| self.system(member.system).and_then(|system| system.get(member.code));
            members.retain(|member| !concept(member).is_some_and(Concept::is_inactive));
        }
        Ok(members)
    }

    /// What one include or exclude means: what its system part and every one of its value sets have in common.
    fn select<'a>(&'a self, component: &'a Component, walk: &mut Walk<'a>) -> Members<'a> {
        let mut selected = match &component.system {
            Some(system) => Some(self.codes(system, component)?),
            None => None,
        };
        for url in &component.value_set {
            let set = self.named(url, walk)?;
            selected = Some(match selected {
                Some(so_far) => {
                    let set: HashSet<_> = set.iter().map(Member::key).collect();
                    so_far.into_iter().filter(|member| set.contains(&member.key())).collect()
                }
                None => set.to_vec(),
            });
        }
        selected.ok_or(Unexpandable::Nameless)
    }

    fn codes<'a>(&'a self, system: &'a str, component: &'a Component) -> Members<'a> {
        // Codes that are listed one by one need no code system; R4 lets no filter stand beside such a list (vsd-3).
        if !component.concept.is_empty() {
            if let Some(filter) = component.filter.first() {
                return Err(unanswered(system, &filter.property, &filter.op));
            }
            let quotes = component.concept.iter();
            return Ok(quotes
                .map(|quote| Member { system, code: &quote.code, display: quote.display.as_deref() })
                .collect());
        }
        if Grammar::of(system).is_some() {
            return Err(Unexpandable::Grammar(system.to_owned()));
        }
        let loaded = match self.systems.get(unversioned(system)) {
            None => return Err(Unexpandable::UnknownSystem(system.to_owned())),
            Some(part) if !part.complete => return Err(Unexpandable::PartOfSystem(system.to_owned())),
            Some(whole) => whole,
        };
        let mut codes: Vec<&str> = loaded.concepts().iter().map(|concept| concept.code.as_str()).collect();
        for filter in &component.filter {
            let kept = loaded.filter(filter).ok_or_else(|| unanswered(system, &filter.property, &filter.op))?;
            codes.retain(|code| kept.contains(code));
        }
        Ok(codes.into_iter().map(|code| Member { system, code, display: None }).collect())
    }
}

fn unanswered(system: &str, property: &str, op: &str) -> Unexpandable {
    Unexpandable::Filter { system: system.to_owned(), property: property.to_owned(), op: op.to_owned() }
}
