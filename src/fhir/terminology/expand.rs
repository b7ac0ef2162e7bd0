//! Expansion (R4 valueset.html#expansion): which codes a value set holds. All of them, or the reason why that cannot be
//! told: half an expansion would reject codes that are valid.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_json::Value;
use thiserror::Error;

use super::definition::{Component, Compose, Filter, Quote, ValueSet};
use super::grammar::Grammar;
use super::system::Unfiltered;
use super::{Concept, Terminology, unversioned};

/// Sets that include each other in a row. Each takes its part of a stack; published ones come to a handful.
const DEPTH_MAX: usize = 100;

/// The codes of a value set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// (system, code), in the order of the definition and without repetition; abstract codes are among them.
    pub codes: Vec<(String, String)>,
    /// What the set itself calls a code, by its place; other codes are called what their system calls them.
    displays: HashMap<usize, String>,
    designations: HashMap<usize, Vec<Value>>,
}

impl Expansion {
    /// The display that the set gives to the code at a place.
    pub fn own_display(&self, at: usize) -> Option<&str> {
        self.displays.get(&at).map(String::as_str)
    }

    /// `ValueSet.compose.include.concept.designation` of the code at a place.
    pub fn own_designations(&self, at: usize) -> &[Value] {
        self.designations.get(&at).map_or(&[], Vec::as_slice)
    }

    fn of(members: Vec<Member>) -> Self {
        let mut expansion = Self::default();
        for (at, member) in members.into_iter().enumerate() {
            if let Some(display) = member.display {
                expansion.displays.insert(at, display.to_owned());
            }
            if !member.designations.is_empty() {
                expansion.designations.insert(at, member.designations.to_vec());
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
    #[error("the regular expression '{pattern}' cannot be read, or is too large")]
    Pattern { pattern: String },
    #[error("a filter names the code '{code}', which the code system {system} does not have")]
    UnknownCode { system: String, code: String },
    #[error("version {asked} of the {what} {url} is not loaded")]
    OtherVersion { what: &'static str, url: String, asked: String },
    #[error("the value set {0} includes itself")]
    Recursive(String),
    #[error("the value set {0} is included over more than {DEPTH_MAX} others")]
    TooDeep(String),
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

/// A code that borrows from the definitions; `display` and `designations` are what the value set calls it.
#[derive(Clone, Copy)]
struct Member<'a> {
    system: &'a str,
    code: &'a str,
    display: Option<&'a str>,
    designations: &'a [Value],
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
    /// The set was sent by a client. A code that it lists and its system does not have is a mistake of theirs, while a
    /// published set may know of codes that the version here has no longer.
    is_sent: bool,
    /// The sets that are being expanded further up: a set that includes itself has no expansion.
    open: Vec<&'a str>,
    /// What was found of each included set. Without it a ladder of sets, each of which includes the next one twice, would
    /// cost two to the power of its length.
    found: HashMap<&'a str, Result<Rc<[Member<'a>]>, Unexpandable>>,
}

impl Terminology {
    /// The expansion of a definition at hand; `is_sent` for one of a client, which is held to its systems: codes that they
    /// do not have are not in it.
    ///
    /// # Errors
    /// [`Unexpandable`] when not every code of it is known.
    pub fn expand(&self, set: &ValueSet, is_sent: bool) -> Result<Expansion, Unexpandable> {
        self.members(set, &mut Walk { is_sent, ..Walk::default() }).map(Expansion::of)
    }

    /// What one include alone means.
    pub(super) fn expand_component(&self, include: &Component, is_sent: bool) -> Result<Expansion, Unexpandable> {
        self.select(include, &mut Walk { is_sent, ..Walk::default() }).map(Expansion::of)
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
        if walk.open.len() >= DEPTH_MAX {
            return Err(Unexpandable::TooDeep(set.url.clone()));
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
            let members =
                stated.into_iter().map(|(system, code, display)| Member { system, code, display, designations: &[] });
            let is_held = walk.is_sent && walk.open.is_empty();
            let members = members.filter(|member| !is_held || !self.lacks(member.system, member.code));
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
        // What a client says itself, not what the sets that it names say.
        let is_sent = walk.is_sent && walk.open.len() <= 1;
        let mut selected = match &component.system {
            Some(system) => Some(self.codes(system, component, is_sent)?),
            None => None,
        };
        for url in &component.value_set {
            if is_sent
                && let Some((url, asked)) = url.split_once('|')
                && self.definition(url).is_some_and(|set| set.version.as_deref() != Some(asked))
            {
                let (url, asked) = (url.to_owned(), asked.to_owned());
                return Err(Unexpandable::OtherVersion { what: "value set", url, asked });
            }
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

    /// True for a code that a system, known in full, does not have.
    fn lacks(&self, system: &str, code: &str) -> bool {
        self.is_complete_system(system) && !self.system_has(system, code)
    }

    /// The codes of one system; `is_sent` for what a client says of it.
    fn codes<'a>(&'a self, system: &'a str, component: &'a Component, is_sent: bool) -> Members<'a> {
        let loaded = self.systems.get(unversioned(system));
        // R4's own sets name versions of systems that R4 itself has in another one (task-code, v2-0360), and mean those.
        if let (Some(asked), Some(loaded)) = (&component.version, loaded)
            && is_sent
            && loaded.version.as_ref() != Some(asked)
        {
            let (url, asked) = (system.to_owned(), asked.clone());
            return Err(Unexpandable::OtherVersion { what: "code system", url, asked });
        }
        // Codes that are listed one by one need no code system; R4 lets no filter stand beside such a list (vsd-3).
        if !component.concept.is_empty() {
            if let Some(filter) = component.filter.first() {
                return Err(unanswered(system, filter));
            }
            let member = |quote: &'a Quote| {
                if is_sent && self.lacks(system, &quote.code) {
                    return None;
                }
                let known = loaded.and_then(|loaded| loaded.get(&quote.code));
                // In a system in which case does not count, a code has one spelling: its own.
                let code = known.map_or(&quote.code, |concept| &concept.code);
                let (display, designations) = (quote.display.as_deref(), quote.designation.as_slice());
                Some(Member { system, code, display, designations })
            };
            return Ok(component.concept.iter().filter_map(member).collect());
        }
        if Grammar::of(system).is_some() {
            return Err(Unexpandable::Grammar(system.to_owned()));
        }
        let loaded = match loaded {
            None => return Err(Unexpandable::UnknownSystem(system.to_owned())),
            Some(part) if !part.complete => return Err(Unexpandable::PartOfSystem(system.to_owned())),
            Some(whole) => whole,
        };
        let mut codes: Vec<&str> = loaded.concepts().iter().map(|concept| concept.code.as_str()).collect();
        for filter in &component.filter {
            let kept = loaded.filter(filter).map_err(|reason| match reason {
                Unfiltered::Unanswered => unanswered(system, filter),
                Unfiltered::Pattern => Unexpandable::Pattern { pattern: filter.value.clone() },
                Unfiltered::UnknownCode => {
                    Unexpandable::UnknownCode { system: system.to_owned(), code: filter.value.clone() }
                }
            })?;
            codes.retain(|code| kept.contains(code));
        }
        Ok(codes.into_iter().map(|code| Member { system, code, display: None, designations: &[] }).collect())
    }
}

fn unanswered(system: &str, filter: &Filter) -> Unexpandable {
    let Filter { property, op, .. } = filter;
    Unexpandable::Filter { system: system.to_owned(), property: property.clone(), op: op.clone() }
}
