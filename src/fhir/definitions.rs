//! The base R4 definitions this server knows, as a compact element tree: what `profiles/r4` says about each type.
//!
//! A [`Node`] is anything that is a JSON object in FHIR: a resource, a datatype or a backbone element. Its properties
//! are looked up by JSON name, with choices spelled out (`value[x]` is found as `valueString`, R4 formats.html#choice),
//! and lead to a primitive, to another node, or to any resource. Nodes refer to each other by id, since types recurse.

mod embedded;
mod load;

pub use embedded::STRUCTURE_DEFINITIONS;
pub use load::LoadError;

use std::collections::HashMap;
use std::sync::LazyLock;

/// The definitions that are compiled in.
///
/// Should they fail to load, which a test rules out, there are none, and so every resource type is unknown.
pub fn definitions() -> &'static Definitions {
    static DEFINITIONS: LazyLock<Definitions> =
        LazyLock::new(|| Definitions::load(STRUCTURE_DEFINITIONS).unwrap_or_default());
    &DEFINITIONS
}

/// All types by name, and the nodes they are made of.
#[derive(Debug, Default)]
pub struct Definitions {
    types: HashMap<&'static str, NodeId>,
    nodes: Vec<Node>,
}

impl Definitions {
    /// The tree of some StructureDefinitions, each of which must have a snapshot, and which must hold every type they
    /// use.
    pub fn load(texts: &[&'static str]) -> Result<Self, LoadError> {
        load::load(texts)
    }

    /// A resource type or complex datatype, abstract ones included.
    pub fn type_named(&self, name: &str) -> Option<&Node> {
        self.types.get(name).map(|id| self.node(*id))
    }

    /// A concrete resource type.
    pub fn resource(&self, name: &str) -> Option<&Node> {
        self.type_named(name).filter(|node| node.kind == Kind::Resource)
    }

    /// The property at the end of dotted JSON names that begin with a type, such as `Practitioner.name.family`.
    pub fn property_at(&self, path: &str) -> Option<&Property> {
        let mut names = path.split('.');
        let mut node = self.type_named(names.next()?)?;
        let mut found = node.property(names.next()?)?;
        for name in names {
            let Content::Object(id) = found.content else { return None };
            node = self.node(id);
            found = node.property(name)?;
        }
        Some(found)
    }

    /// Every node; its index is that of its id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of an id that these definitions gave out.
    pub fn node(&self, id: NodeId) -> &Node {
        static NOTHING: Node = Node {
            id: NodeId(usize::MAX),
            path: "",
            kind: Kind::Abstract,
            base: None,
            constraints: Vec::new(),
            elements: Vec::new(),
            properties: Vec::new(),
            required: ElementSet::EMPTY,
        };
        self.nodes.get(id.0).unwrap_or(&NOTHING)
    }
}

/// Where a [`Node`] is among the definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(usize);

impl NodeId {
    /// The place in [`Definitions::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a node is (StructureDefinition.kind and .abstract).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Resource,
    Datatype,
    Backbone,
    /// Resource, DomainResource, Element and BackboneElement: never an instance by themselves.
    Abstract,
}

/// A type or backbone element: the elements that its JSON object may have.
#[derive(Debug)]
pub struct Node {
    pub id: NodeId,
    /// `Practitioner`, or `Practitioner.qualification` for a backbone element.
    pub path: &'static str,
    pub kind: Kind,
    /// The type that this one specializes, whose constraints hold here too.
    pub base: Option<NodeId>,
    /// The invariants that the definition itself states.
    pub constraints: Vec<Constraint>,
    /// The elements that must be present.
    pub required: ElementSet,
    elements: Vec<Element>,
    /// In the order of [`name_order`].
    properties: Vec<Property>,
}

impl Node {
    /// The type that it is, or is in.
    pub fn type_name(&self) -> &'static str {
        self.path.split('.').next().unwrap_or(self.path)
    }

    /// The element behind a JSON property name, such as `valueString`; not `_birthDate`, nor `resourceType`.
    pub fn property(&self, name: &str) -> Option<&Property> {
        let found = self.properties.binary_search_by(|property| name_order(&property.name, name)).ok()?;
        self.properties.get(found)
    }

    /// Every JSON property, choices spelled out, shortest name first.
    pub fn properties(&self) -> &[Property] {
        &self.properties
    }

    /// The elements in the order of the definition.
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }
}

/// Names by length first: most comparisons of a look-up then end without touching the text.
fn name_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// One JSON property: an element, in one of its types.
#[derive(Debug)]
pub struct Property {
    /// The JSON name: `active`, `valueString`.
    pub name: Box<str>,
    /// The type's code, empty for a content reference.
    pub type_code: &'static str,
    pub content: Content,
    /// What a Reference of this type may refer to: canonical URLs of definitions; empty for any other type.
    pub targets: Vec<&'static str>,
    pub element: Element,
    /// The invariants of an element that is no backbone element. Those of one are on its node.
    pub constraints: Vec<Constraint>,
}

/// An invariant (ElementDefinition.constraint).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraint {
    pub key: &'static str,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// What holds, as a sentence.
    pub human: &'static str,
    /// FHIRPath.
    pub expression: &'static str,
}

/// What a property holds, or each item of it when it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Primitive(Primitive),
    Object(NodeId),
    /// A resource of any type: `contained`, `Bundle.entry.resource`.
    Resource,
}

/// The facts of an ElementDefinition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The last part of the path, without the `[x]` of a choice.
    pub name: &'static str,
    /// The place among the elements of its node.
    pub ordinal: u8,
    pub min: u32,
    /// [`u32::MAX`] for `*`.
    pub max: u32,
    pub is_choice: bool,
    pub is_summary: bool,
    pub is_modifier: bool,
    pub binding: Option<Binding>,
}

/// Which codes an element takes (ElementDefinition.binding).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub strength: Strength,
    /// Canonical URL, perhaps with a version.
    pub value_set: &'static str,
    /// The value set that a code is never outside of, however weak the binding (elementdefinition-maxValueSet).
    pub max: Option<&'static str>,
}

/// How binding a binding is (R4 terminologies.html#strength); the weaker two ask for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strength {
    Required,
    Extensible,
    Preferred,
    Example,
}

impl Strength {
    pub fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "required" => Self::Required,
            "extensible" => Self::Extensible,
            "preferred" => Self::Preferred,
            "example" => Self::Example,
            _ => return None,
        })
    }
}

impl Element {
    /// The value set of a required binding.
    pub fn required_set(&self) -> Option<&'static str> {
        self.binding.filter(|binding| binding.strength == Strength::Required).map(|binding| binding.value_set)
    }

    /// True if the JSON form is an array, however many items it has (R4 json.html#repeating).
    pub fn repeats(&self) -> bool {
        self.max > 1
    }
}

/// Some elements of one node, by ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementSet(u64);

impl ElementSet {
    pub const EMPTY: Self = Self(0);

    /// The most elements that a node may have.
    pub const CAPACITY: usize = u64::BITS as usize;

    pub fn of_ordinal(ordinal: u8) -> Self {
        Self(1u64.checked_shl(ordinal.into()).unwrap_or(0))
    }

    pub fn contains(self, element: &Element) -> bool {
        self.0 & Self::of(element).0 != 0
    }

    /// Adds an element; false if it was there already.
    pub fn insert(&mut self, element: &Element) -> bool {
        let new = !self.contains(element);
        self.0 |= Self::of(element).0;
        new
    }

    /// True if all of `other` is in here.
    pub fn includes(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// This set and what is in `other`.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn of(element: &Element) -> Self {
        Self::of_ordinal(element.ordinal)
    }
}

macro_rules! primitives {
    ($($variant:ident $code:literal),* $(,)?) => {
        /// The R4 primitive types (datatypes.html#primitive).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Primitive {
            $($variant),*
        }

        impl Primitive {
            pub fn from_code(code: &str) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code),*
                }
            }
        }
    };
}

primitives! {
    Base64Binary "base64Binary",
    Boolean "boolean",
    Canonical "canonical",
    Code "code",
    Date "date",
    DateTime "dateTime",
    Decimal "decimal",
    Id "id",
    Instant "instant",
    Integer "integer",
    Markdown "markdown",
    Oid "oid",
    PositiveInt "positiveInt",
    String "string",
    Time "time",
    UnsignedInt "unsignedInt",
    Uri "uri",
    Url "url",
    Uuid "uuid",
    Xhtml "xhtml",
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Describes what a dotted path ends at.
    fn describe(path: &str) -> Option<String> {
        let definitions = definitions();
        let Property { content, element, .. } = definitions.property_at(path)?;
        let content = match content {
            Content::Primitive(primitive) => primitive.code(),
            Content::Object(id) => definitions.node(*id).path,
            Content::Resource => "any resource",
        };
        let max = if element.repeats() { "*" } else { "1" };
        let summary = if element.is_summary { " summary" } else { "" };
        Some(format!("{content} {}..{max}{summary}", element.min))
    }

    #[test]
    fn the_embedded_definitions_load() {
        let loaded = Definitions::load(STRUCTURE_DEFINITIONS);
        assert!(loaded.is_ok_and(|definitions| definitions.types.len() > 50));
    }

    #[test]
    fn properties_are_found() {
        let check = |path, expected: &str| assert_eq!(describe(path).as_deref(), Some(expected), "{path}");
        check("Practitioner.id", "id 0..1 summary");
        check("Practitioner.meta.lastUpdated", "instant 0..1 summary");
        check("Practitioner.name.family", "string 0..1 summary");
        check("Practitioner.qualification", "Practitioner.qualification 0..*");
        check("Practitioner.qualification.code", "CodeableConcept 1..1");
        check("Practitioner.contained", "any resource 0..*");
        check("Extension.url", "uri 1..1");
        check("Extension.valueString", "string 0..1");
        check("Extension.valueCodeableConcept.coding.code", "code 0..1 summary");
        check("Extension.extension.extension.valueDate", "date 0..1");
        check("Identifier.assigner.identifier", "Identifier 0..1 summary");
        check("Bundle.entry.link", "Bundle.link 0..* summary");
        check("Bundle.entry.resource", "any resource 0..1 summary");
        check("Parameters.parameter.part.valueInteger", "integer 0..1 summary");
        check("Timing.repeat.boundsPeriod", "Period 0..1 summary");
        check("Task.input.valueReference", "Reference 1..1");
        check("Narrative.div", "xhtml 1..1");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let check = |path| assert_eq!(describe(path), None, "{path}");
        check("Patient.name");
        check("Practitioner.nmae");
        check("Extension.value");
        check("Extension.value[x]");
        check("Extension.valuestring");
        check("Practitioner.resourceType");
    }

    #[test]
    fn only_concrete_resources_are_resources() {
        let check = |name, expected| assert_eq!(definitions().resource(name).is_some(), expected, "{name}");
        check("Practitioner", true);
        check("Binary", true);
        check("DomainResource", false);
        check("HumanName", false);
        check("Practitioner.qualification", false);
        check("string", false);
    }

    #[test]
    fn bad_definitions_are_refused() {
        let check = |text, expected: &str| {
            let error = Definitions::load(&[text]).err().map(|error| error.to_string());
            assert!(error.as_deref().is_some_and(|error| error.contains(expected)), "{text}: {error:?}");
        };
        check("{", "is not a StructureDefinition");
        check(r#"{"kind":"resource"}"#, "is not a StructureDefinition");
        check(
            r#"{"type":"A","kind":"resource","abstract":false,"snapshot":{"element":[
            {"path":"A","min":0,"max":"*"},{"path":"A.b","min":0,"max":"1","type":[{"code":"Nowhere"}]}]}}"#,
            "A.b",
        );
    }
}
