//! Membership in a value set, as validation asks for it: one look-up for each code, no list to walk.

use std::collections::{HashMap, HashSet};

use super::Terminology;
use super::definition::ValueSet;
use super::expand::{Expansion, Unexpandable};
use super::grammar::Grammar;

/// The codes of a value set, or the grammars that they follow.
#[derive(Debug, Default)]
pub struct CodeSet {
    systems: HashMap<String, Codes>,
    grammars: Vec<Grammar>,
}

#[derive(Debug, Default)]
struct Codes {
    /// Lower case, where case does not count.
    codes: HashSet<String>,
    any_case: bool,
}

impl Codes {
    fn contains(&self, code: &str) -> bool {
        if self.any_case { self.codes.contains(&code.to_lowercase()) } else { self.codes.contains(code) }
    }
}

impl CodeSet {
    /// True if the set holds this code of this system.
    pub fn contains(&self, system: &str, code: &str) -> bool {
        self.systems.get(system).is_some_and(|codes| codes.contains(code))
            || self.grammars.iter().any(|grammar| grammar.system() == system && grammar.has(code))
    }

    /// True if the set holds this code of whichever system: for elements of type `code`, which name none.
    pub fn contains_code(&self, code: &str) -> bool {
        self.systems.values().any(|codes| codes.contains(code)) || self.grammars.iter().any(|grammar| grammar.has(code))
    }

    /// The systems of which the set holds this code, sorted.
    pub fn systems_with(&self, code: &str) -> Vec<&str> {
        let listed = self.systems.iter().filter(|(_, codes)| codes.contains(code)).map(|(system, _)| system.as_str());
        let shaped = self.grammars.iter().filter(|grammar| grammar.has(code)).map(|grammar| grammar.system());
        let mut systems: Vec<&str> = listed.chain(shaped).collect();
        systems.sort_unstable();
        systems.dedup();
        systems
    }

    /// True if the set holds any code of this system.
    pub fn has_system(&self, system: &str) -> bool {
        self.systems.contains_key(system) || self.grammars.iter().any(|grammar| grammar.system() == system)
    }

    fn add(&mut self, terminology: &Terminology, expansion: &Expansion) {
        for (system, code) in &expansion.codes {
            if !self.systems.contains_key(system) {
                let any_case = terminology.system(system).is_some_and(|system| !system.case_sensitive);
                self.systems.insert(system.clone(), Codes { codes: HashSet::new(), any_case });
            }
            if let Some(codes) = self.systems.get_mut(system) {
                codes.codes.insert(if codes.any_case { code.to_lowercase() } else { code.clone() });
            }
        }
    }
}

impl Terminology {
    /// The codes of a definition at hand; besides sets that can be expanded, those that include the whole of a system that
    /// is a grammar, and exclude nothing. With them the expansion, where there is one. `is_sent` as in [`Self::expand`].
    ///
    /// # Errors
    /// [`Unexpandable`] when it cannot be told of every code whether the set holds it.
    pub fn code_set_of(&self, set: &ValueSet, is_sent: bool) -> Result<(CodeSet, Option<Expansion>), Unexpandable> {
        let reason = match self.expand(set, is_sent) {
            Ok(expansion) => return Ok((self.code_set_from(&expansion), Some(expansion))),
            Err(reason) => reason,
        };
        let Some(compose) = set.compose.as_ref().filter(|compose| compose.exclude.is_empty()) else {
            return Err(reason);
        };
        let mut code_set = CodeSet::default();
        for include in &compose.include {
            match include.whole_system().and_then(Grammar::of) {
                Some(grammar) => code_set.grammars.push(grammar),
                None => code_set.add(self, &self.expand_component(include, is_sent)?),
            }
        }
        Ok((code_set, None))
    }

    pub(super) fn code_set_from(&self, expansion: &Expansion) -> CodeSet {
        let mut code_set = CodeSet::default();
        code_set.add(self, expansion);
        code_set
    }
}
