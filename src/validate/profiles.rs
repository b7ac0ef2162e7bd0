//! The profiles that are loaded: those of `profiles/`, compiled in, and those of packages that the operator adds.

mod embedded;
mod link;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::base::{Base, STRUCTURES};
use super::compile::Compiler;
use super::definition::{Context, Definition, DefinitionError};
use super::shape::{Binding, Membership, ProfileId, Shape};
use crate::fhir::definitions::{Definitions, NodeId, Strength};
use crate::fhir::path::Path;

pub use embedded::PROFILES;

/// A profile or an extension, compiled.
#[derive(Debug)]
pub struct Profile {
    pub url: Box<str>,
    pub version: Option<Box<str>>,
    /// The type that it constrains.
    pub type_name: Box<str>,
    pub node: NodeId,
    /// Where it may be used, if it is an extension.
    pub contexts: Vec<Context>,
    /// It changes the meaning of what it extends.
    pub is_modifier: bool,
    pub shape: Shape,
    /// What of it cannot be evaluated, as sentences: each verdict on it says so.
    pub problems: Vec<String>,
}

impl Profile {
    pub fn is_extension(&self) -> bool {
        &*self.type_name == "Extension"
    }

    /// The names of the parts of a complex extension.
    pub fn parts(&self) -> Vec<&str> {
        let slicings = self.shape.children.iter().filter_map(|(_, child)| child.slicing.as_ref());
        let tests = slicings.flat_map(|slicing| &slicing.slices).flat_map(|slice| &slice.tests);
        tests.filter_map(|test| if let Membership::Url(url) = test { Some(&**url) } else { None }).collect()
    }
}

/// All profiles by canonical URL.
#[derive(Debug, Default)]
pub struct Profiles {
    list: Vec<Profile>,
    by_url: HashMap<Box<str>, ProfileId>,
    /// Definitions that could not be compiled, and why.
    pub refused: Vec<(Box<str>, DefinitionError)>,
}

impl Profiles {
    /// Compiles definitions; of two with one URL the later counts, unless it is refused. What is no constraining
    /// StructureDefinition is passed over.
    pub(super) fn compile<'a>(
        definitions: &'static Definitions,
        base: &Base,
        documents: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        let mut profiles = Self::default();
        let (mut sources, mut replaced) = (HashMap::new(), HashMap::new());
        let mut order = Vec::new();
        for json in documents.into_iter().filter(|json| Definition::is_constraint(json)) {
            match Definition::read(json) {
                Ok(definition) => {
                    order.push(definition.url);
                    if let Some(earlier) = sources.insert(definition.url, definition) {
                        replaced.entry(earlier.url).or_insert_with(Vec::new).push(earlier);
                    }
                }
                Err(error) => {
                    let url = json.get("url").or(json.get("id")).and_then(Value::as_str).unwrap_or("?");
                    profiles.refused.push((url.into(), error));
                }
            }
        }
        let mut loading =
            Loading { definitions, base, sources, replaced, begun: HashSet::new(), bindings: HashMap::new(), profiles };
        for url in order {
            loading.load(url);
        }
        let mut profiles = loading.profiles;
        profiles.link(definitions);
        profiles
    }

    /// The profile of a canonical URL, whatever its version.
    pub fn find(&self, url: &str) -> Option<(ProfileId, &Profile)> {
        let id = *self.by_url.get(url)?;
        Some((id, self.get(id)?))
    }

    pub fn get(&self, id: ProfileId) -> Option<&Profile> {
        self.list.get(id.0)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.list.iter()
    }
}

/// The profiles while they are compiled: bases first, whatever the order of the definitions.
struct Loading<'a, 'b> {
    definitions: &'static Definitions,
    base: &'b Base,
    sources: HashMap<&'a str, Definition<'a>>,
    /// What had the URL of one of the sources before it.
    replaced: HashMap<&'a str, Vec<Definition<'a>>>,
    /// Those that are compiled, refused, or being compiled: a profile is not based on itself.
    begun: HashSet<&'a str>,
    bindings: HashMap<(Strength, Box<str>), Arc<Binding>>,
    profiles: Profiles,
}

impl<'a> Loading<'a, '_> {
    fn load(&mut self, url: &'a str) {
        if !self.begun.insert(url) {
            return;
        }
        match self.compile(url) {
            Ok(profile) => {
                self.profiles.by_url.insert(url.into(), ProfileId(self.profiles.list.len()));
                self.profiles.list.push(profile);
            }
            Err(error) => {
                self.profiles.refused.push((url.into(), error));
                // A bad definition must not do away with a good one.
                if let Some(earlier) = self.replaced.get_mut(url).and_then(Vec::pop) {
                    self.sources.insert(url, earlier);
                    self.begun.remove(url);
                    self.load(url);
                }
            }
        }
    }

    fn compile(&mut self, url: &'a str) -> Result<Profile, DefinitionError> {
        let Some(definition) = self.sources.get(url) else { return Err(DefinitionError::Missing("url")) };
        let (elements, is_snapshot) = definition.elements()?;
        let type_name: Box<str> = definition.type_name.into();
        let node = self.definitions.type_named(&type_name);
        let node = node.ok_or_else(|| DefinitionError::Base(type_name.to_string()))?;
        let (version, contexts) = (definition.version.map(Box::from), definition.contexts.clone());
        let has_context_invariants = definition.has_context_invariants;

        // What the elements are applied to, and into whose shapes they may go.
        let base = definition.base.map(|url| url.split('|').next().unwrap_or(url));
        let mut needed: Vec<&'a str> = elements
            .iter()
            .flat_map(|element| element.types.iter().flatten())
            .flat_map(|definition| definition.profiles.iter().copied())
            .collect();
        needed.extend(base.and_then(|base| self.sources.get_key_value(base)).map(|(url, _)| *url));
        for url in needed {
            if self.sources.contains_key(url) {
                self.load(url);
            }
        }
        let mut shape = Shape::new(format!("{url}#{type_name}").into(), 0, u32::MAX);
        if !is_snapshot && let Some(base) = base.filter(|base| base.strip_prefix(STRUCTURES) != Some(&*type_name)) {
            let (_, parent) = self.profiles.find(base).ok_or_else(|| DefinitionError::Base(base.to_owned()))?;
            shape = parent.shape.clone();
        }
        let profiles = &self.profiles;
        let mut compiler = Compiler {
            definitions: self.definitions,
            base: self.base,
            profile: &|url| profiles.find(url).map(|(id, profile)| (id, &profile.shape)),
            bindings: &mut self.bindings,
            url,
            is_snapshot,
            problems: Vec::new(),
        };
        compiler.apply(&mut shape, node, &elements)?;
        let mut problems = compiler.problems;
        let paths = contexts.iter().filter(|context| &*context.kind == "fhirpath");
        problems.extend(paths.filter_map(|context| {
            Path::parse(&context.expression).err().map(|error| format!("its context {}: {error}", context.expression))
        }));
        problems.extend(has_context_invariants.then(|| "its contextInvariant".to_owned()));
        let is_modifier = elements.first().is_some_and(|root| root.is_modifier);
        Ok(Profile { url: url.into(), version, type_name, node: node.id, contexts, is_modifier, shape, problems })
    }
}
