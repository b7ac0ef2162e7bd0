//! What is wrong with a resource: pure, every issue in one walk.
//!
//! A [`Validator`] knows base R4, the profiles of `profiles/` and those of packages, and the terminology they bind. It
//! [chooses](choose) the profiles that a resource is held to, and [walks](walk) the resource beside them.

mod base;
mod choose;
mod compile;
mod definition;
pub mod facts;
mod native;
pub mod profiles;
mod shape;
mod walk;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fhir::definitions::{Definitions, definitions};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::terminology::Terminology;
use base::Base;
pub use choose::{NETWORK_TYPE, NotLoaded};
use profiles::{PROFILES, Profiles};
pub use shape::{DiscriminatorKind, ProfileId};
use walk::Walk;

/// How much is asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforce {
    /// The profiles it claims; a directory resource that claims none that is known, the Plan-Net profile of its type.
    PlanNet,
    /// The profiles it claims, and base R4.
    Base,
    /// The structure of base R4 alone: known elements, JSON types, formats, cardinality.
    Off,
}

/// What a validator found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Everything that is wrong, in the order of the walk.
    pub issues: Vec<Issue>,
    /// References whose targets matter but are elsewhere.
    pub targets: Vec<Target>,
    /// The profiles that the resource was held to.
    pub held: Vec<ProfileId>,
}

impl Verdict {
    /// True without an error; warnings are no matter.
    pub fn is_valid(&self) -> bool {
        !self.issues.iter().any(Issue::is_error)
    }
}

/// A reference to a resource that has to meet one of some profiles.
#[derive(Clone, Debug)]
pub struct Target {
    /// As it is written: `Organization/1`.
    pub reference: String,
    pub profiles: Vec<ProfileId>,
    /// FHIRPath of the Reference.
    pub path: String,
    /// The rule that asks for it.
    pub rule: Arc<str>,
}

/// Base R4, the profiles and the terminology, ready for any number of resources.
pub struct Validator {
    definitions: &'static Definitions,
    base: Base,
    profiles: Profiles,
    terminology: Arc<Terminology>,
}

impl Validator {
    /// The profiles of `profiles/`, and those among `documents`, which take the place of others of the same URL.
    pub fn new(terminology: Arc<Terminology>, documents: &[Value]) -> Self {
        let definitions = definitions();
        let base = Base::new(definitions);
        // They are part of the build, and a test reads each of them.
        let embedded: Vec<Value> = PROFILES.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        let profiles = Profiles::compile(definitions, &base, embedded.iter().chain(documents));
        Self { definitions, base, profiles, terminology }
    }

    /// The profiles that are loaded.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The code systems and value sets that they bind.
    pub fn terminology(&self) -> &Arc<Terminology> {
        &self.terminology
    }

    /// What of the definitions cannot be evaluated, as sentences.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let of_base = self.base.problems.iter().cloned();
        let refused = self.profiles.refused.iter().map(|(url, error)| format!("{url} is not used: {error}"));
        let of_profiles = self
            .profiles
            .iter()
            .flat_map(|profile| profile.problems.iter().map(|problem| format!("{}: {problem}", profile.url)));
        of_base.chain(refused).chain(of_profiles)
    }

    /// Everything about a resource, warnings and what could not be checked included. `nominated` are profiles that it has
    /// to meet besides those that [`Enforce`] stands for.
    pub fn validate(&self, resource: &Value, enforce: Enforce, nominated: &[ProfileId]) -> Verdict {
        self.walk(resource, enforce, nominated, true)
    }

    /// The errors alone: what a write asks, and sooner answered.
    pub fn errors(&self, resource: &Value, enforce: Enforce) -> Verdict {
        self.walk(resource, enforce, &[], false)
    }

    fn walk(&self, resource: &Value, enforce: Enforce, nominated: &[ProfileId], in_full: bool) -> Verdict {
        let mut walk = Walk::new(self, enforce, in_full, resource);
        let mut notes = Vec::new();
        let type_name = resource.get("resourceType").and_then(Value::as_str).unwrap_or("Resource");
        let mut held = self.held(resource, enforce, |index, issue| {
            if notes.len() < walk::MAX_ISSUES {
                notes.push(issue.at(format!("{}.meta.profile[{index}]", walk::excerpt(type_name))));
            }
        });
        for id in nominated {
            let Some(profile) = self.profiles.get(*id) else { continue };
            if *profile.type_name != *type_name {
                let sentence = format!("{} is a profile of {}", profile.url, profile.type_name);
                notes.push(Issue::error(IssueCode::Value, sentence).at(type_name));
            } else if !held.contains(id) {
                held.push(*id);
            }
        }
        walk.run(&held);
        let Walk { mut issues, targets, partial, .. } = walk;
        if in_full {
            issues.extend(self.unevaluated(&partial));
        }
        issues.extend(notes.into_iter().filter(|issue| in_full || issue.is_error()));
        Verdict { issues, targets, held }
    }

    /// What cannot be evaluated of the profiles and extensions at hand, told in each verdict that it would have touched.
    fn unevaluated(&self, touched: &[ProfileId]) -> Vec<Issue> {
        let profiles = touched.iter().filter_map(|id| self.profiles.get(*id));
        let problems = profiles.flat_map(|profile| profile.problems.iter().map(move |problem| (&profile.url, problem)));
        problems
            .map(|(url, problem)| {
                let sentence = format!("Not checked: {problem}");
                Issue::information(IssueCode::Informational, sentence).rule(&**url)
            })
            .collect()
    }
}
