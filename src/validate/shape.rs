//! What a profile asks of an element: one tree for each profile, compiled once and walked beside the resource.
//!
//! A [`Shape`] says only what goes beyond the base definition of its element, which is walked in any case. Several shapes
//! may lie on one element: those of the profiles that a resource claims, of an extension's definition, of a slice.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::fhir::definitions::{Content, Definitions, ElementSet, Node, Property, Strength};
use crate::fhir::path::Path;
use crate::fhir::terminology::{CodeSet, Terminology};

/// The rules for one element.
#[derive(Clone, Debug)]
pub struct Shape {
    /// `URL#ElementDefinition.id`: how verdicts name the rule.
    pub rule: Arc<str>,
    pub min: u32,
    /// [`u32::MAX`] for `*`.
    pub max: u32,
    /// The types that are allowed; `None`: all of the base definition.
    pub types: Option<Vec<TypeRule>>,
    pub fixed: Option<Arc<Value>>,
    pub pattern: Option<Arc<Value>>,
    pub binding: Option<Arc<Binding>>,
    pub invariants: Vec<Arc<Invariant>>,
    /// By ordinal of the element in its node, which is how the walk asks for them.
    pub children: Vec<(u8, Shape)>,
    /// The children that must be there.
    pub required: ElementSet,
    pub slicing: Option<Slicing>,
    /// Profiles whose shape is already part of this one, since the profile at hand goes into their elements.
    pub inlined: Vec<ProfileId>,
    /// It is of the base definition, which a profile's bindings and targets take the place of.
    pub is_base: bool,
}

impl Shape {
    /// A shape that asks for nothing.
    pub fn new(rule: Arc<str>, min: u32, max: u32) -> Self {
        Self {
            rule,
            min,
            max,
            types: None,
            fixed: None,
            pattern: None,
            binding: None,
            invariants: Vec::new(),
            children: Vec::new(),
            required: ElementSet::EMPTY,
            slicing: None,
            inlined: Vec::new(),
            is_base: false,
        }
    }

    /// What it asks of a child element.
    pub fn child(&self, ordinal: u8) -> Option<&Shape> {
        self.children.iter().find(|(of, _)| *of == ordinal).map(|(_, shape)| shape)
    }

    /// What the items of the element can be, of these properties of it, as far as the shape leaves it open.
    pub fn nodes(&self, definitions: &'static Definitions, properties: &[&'static Property]) -> Vec<&'static Node> {
        let is_allowed = |property: &&&'static Property| match &self.types {
            Some(types) => types.iter().any(|rule| &*rule.code == property.type_code),
            None => true,
        };
        let node = |property: &&'static Property| match property.content {
            Content::Object(id) => Some(definitions.node(id)),
            Content::Primitive(_) => definitions.type_named("Element"),
            Content::Resource => definitions.type_named("Resource"),
        };
        properties.iter().filter(is_allowed).filter_map(node).collect()
    }

    /// The rule for a type of the element, `None` when any type will do or this one will not.
    pub fn type_rule(&self, code: &str) -> Option<&TypeRule> {
        self.types.as_ref()?.iter().find(|rule| &*rule.code == code)
    }
}

/// Where a profile is in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProfileId(pub(super) usize);

/// A type that an element may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeRule {
    pub code: Box<str>,
    /// Profiles of which the value must meet one.
    pub profiles: Vec<ProfileRef>,
    /// What a Reference may refer to; empty: anything that the base definition allows.
    pub targets: Vec<ProfileRef>,
}

/// A canonical URL of a type or profile, and what it turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRef {
    pub url: Box<str>,
    /// The profile, if it is one and is loaded.
    pub profile: Option<ProfileId>,
    /// The type that it is or constrains; `None` when the definition is not here.
    pub type_name: Option<Box<str>>,
}

/// Which codes an element takes.
#[derive(Debug)]
pub struct Binding {
    pub strength: Strength,
    /// Canonical URL, perhaps with a version.
    pub value_set: Box<str>,
    /// Only what is coded has to be in the set: text alone will do.
    pub allows_text: bool,
    codes: OnceLock<Option<Arc<CodeSet>>>,
}

impl Binding {
    pub fn new(strength: Strength, value_set: &str) -> Self {
        Self { strength, value_set: value_set.into(), allows_text: false, codes: OnceLock::new() }
    }

    /// The set that the codes of a weaker binding must not leave.
    pub fn max(value_set: &str) -> Self {
        Self { allows_text: true, ..Self::new(Strength::Required, value_set) }
    }

    /// The codes, expanded when they are first asked for; `None` when the value set is not here in full.
    pub fn codes(&self, terminology: &Terminology) -> Option<&CodeSet> {
        self.codes.get_or_init(|| terminology.code_set(&self.value_set)).as_deref()
    }
}

/// A constraint in FHIRPath.
#[derive(Debug)]
pub struct Invariant {
    pub key: Box<str>,
    pub is_error: bool,
    /// What holds, as a sentence.
    pub human: Box<str>,
    pub source: Box<str>,
    pub test: Test,
}

/// How an invariant is evaluated.
#[derive(Debug)]
pub enum Test {
    Path(Path),
    /// What its expression means, where FHIRPath cannot say it (see `native`).
    Native(fn(&Value) -> bool),
    /// An expression that cannot be evaluated here: every verdict that it would have touched says so.
    Unknown(Box<str>),
}

/// How the items of a repeating element, or the types of a choice, are told apart (R4 profiling.html#slicing).
#[derive(Clone, Debug, Default)]
pub struct Slicing {
    pub discriminators: Vec<Discriminator>,
    pub ordered: bool,
    pub rules: Rules,
    pub slices: Vec<Slice>,
}

/// Whether items that are in no slice are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    #[default]
    Open,
    Closed,
    OpenAtEnd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discriminator {
    pub kind: DiscriminatorKind,
    /// A path in the restricted FHIRPath of discriminators.
    pub path: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscriminatorKind {
    Value,
    Exists,
    Pattern,
    Type,
    Profile,
}

#[derive(Clone, Debug)]
pub struct Slice {
    pub name: Box<str>,
    pub shape: Shape,
    /// What an item of the slice looks like, one test for each discriminator.
    pub tests: Vec<Membership>,
}

/// One test of whether an item belongs to a slice.
#[derive(Clone, Debug)]
pub enum Membership {
    /// `url` has this value: extensions.
    Url(Box<str>),
    /// Some element at the path has this value, or includes it.
    Value {
        path: Arc<Path>,
        value: Arc<Value>,
        exact: bool,
    },
    /// Some element at the path has a code of the set.
    Code {
        path: Arc<Path>,
        binding: Arc<Binding>,
    },
    Exists {
        path: Arc<Path>,
        expected: bool,
    },
    /// The element itself is of one of these types.
    OwnType(Vec<Box<str>>),
    /// The element at the path, or what it refers to, is of one of these types.
    Type {
        path: Arc<Path>,
        codes: Vec<Box<str>>,
    },
    /// The element itself meets one of these profiles.
    Profile {
        path: Arc<Path>,
        profiles: Vec<ProfileRef>,
    },
    /// What cannot be told here; no item belongs to such a slice.
    Unknown,
}
