//! From StructureDefinition JSON to the element tree.

use std::collections::HashMap;

use serde::Deserialize;
use thiserror::Error;

use super::{
    Binding, Constraint, Content, Definitions, Element, ElementSet, Kind, Node, NodeId, Primitive, Property, Strength,
    name_order,
};

/// Why StructureDefinitions could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("the text is not a StructureDefinition with a snapshot: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{path}: no definition of {target}")]
    Unknown { path: &'static str, target: &'static str },
    #[error("{path}: a max of {max:?} is neither a number nor *")]
    Max { path: &'static str, max: &'static str },
    #[error("{0} has too many elements")]
    TooManyElements(&'static str),
}

/// The parts of a StructureDefinition that the tree is made of.
#[derive(Deserialize)]
struct StructureDefinition<'a> {
    r#type: &'a str,
    kind: &'a str,
    r#abstract: bool,
    #[serde(rename = "baseDefinition")]
    base_definition: Option<&'a str>,
    #[serde(borrow)]
    snapshot: Snapshot<'a>,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(borrow)]
    element: Vec<ElementDefinition<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ElementDefinition<'a> {
    path: &'a str,
    min: u32,
    max: &'a str,
    content_reference: Option<&'a str>,
    #[serde(borrow, default)]
    r#type: Vec<TypeRef<'a>>,
    #[serde(default)]
    is_summary: bool,
    #[serde(default)]
    is_modifier: bool,
    #[serde(borrow)]
    binding: Option<BindingText<'a>>,
    #[serde(borrow, default)]
    constraint: Vec<ConstraintText<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingText<'a> {
    strength: &'a str,
    value_set: Option<&'a str>,
    #[serde(borrow, default)]
    extension: Vec<BindingExtension<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingExtension<'a> {
    url: &'a str,
    value_canonical: Option<&'a str>,
}

/// The value set that codes of a weaker binding must not leave.
const MAX_VALUE_SET: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet";

impl BindingText<'static> {
    fn binding(&self) -> Option<Binding> {
        let max = self.extension.iter().find(|extension| extension.url == MAX_VALUE_SET);
        let max = max.and_then(|extension| extension.value_canonical);
        Some(Binding { strength: Strength::from_code(self.strength)?, value_set: self.value_set?, max })
    }
}

#[derive(Deserialize)]
struct ConstraintText<'a> {
    key: &'a str,
    severity: &'a str,
    human: &'a str,
    expression: &'a str,
}

impl ConstraintText<'static> {
    fn constraint(&self) -> Constraint {
        let Self { key, severity, human, expression } = *self;
        Constraint { key, severity, human, expression }
    }
}

#[derive(Deserialize)]
struct TypeRef<'a> {
    code: &'a str,
    #[serde(borrow, default, rename = "targetProfile")]
    target_profile: Vec<&'a str>,
    #[serde(borrow, default)]
    extension: Vec<TypeExtension<'a>>,
}

#[derive(Deserialize)]
struct TypeExtension<'a> {
    url: &'a str,
    #[serde(rename = "valueUrl")]
    value_url: Option<&'a str>,
}

/// The FHIR type behind the FHIRPath type of `Element.id`, `Resource.id` and `Extension.url`.
const FHIR_TYPE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";

impl TypeRef<'static> {
    fn fhir_code(&self) -> &'static str {
        self.extension
            .iter()
            .find(|extension| extension.url == FHIR_TYPE)
            .and_then(|it| it.value_url)
            .unwrap_or(self.code)
    }
}

pub(super) fn load(texts: &[&'static str]) -> Result<Definitions, LoadError> {
    let mut structures = texts.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<_>, _>>()?;
    // A primitive is a leaf of the tree: what it looks like is for its format to say.
    structures.retain(|structure: &StructureDefinition<'static>| structure.kind != "primitive-type");

    let mut tree = Tree::default();
    for structure in &structures {
        tree.add_nodes(structure);
    }
    for structure in &structures {
        for definition in &structure.snapshot.element {
            tree.add_element(structure, definition)?;
        }
    }
    for structure in &structures {
        tree.add_base(structure);
    }
    for node in &mut tree.nodes {
        node.properties.sort_unstable_by(|a, b| name_order(&a.name, &b.name));
    }
    let types = structures.iter().filter_map(|it| Some((it.r#type, *tree.by_path.get(it.r#type)?))).collect();
    Ok(Definitions { types, nodes: tree.nodes })
}

/// The nodes so far, and where the node of each path is.
#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    by_path: HashMap<&'static str, NodeId>,
}

impl Tree {
    /// Adds an empty node for the type and for each element of it that has children.
    fn add_nodes(&mut self, structure: &StructureDefinition<'static>) {
        let type_kind = match (structure.r#abstract, structure.kind) {
            (true, _) => Kind::Abstract,
            (false, "resource") => Kind::Resource,
            (false, _) => Kind::Datatype,
        };
        for definition in &structure.snapshot.element {
            let path = definition.path.rsplit_once('.').map_or(definition.path, |(parent, _)| parent);
            let id = NodeId(self.nodes.len());
            self.by_path.entry(path).or_insert_with(|| {
                let kind = if path.contains('.') { Kind::Backbone } else { type_kind };
                self.nodes.push(Node {
                    id,
                    path,
                    kind,
                    base: None,
                    constraints: Vec::new(),
                    required: ElementSet::EMPTY,
                    elements: Vec::new(),
                    properties: Vec::new(),
                });
                id
            });
        }
    }

    /// Adds an element to the node of its parent, as one property per type.
    fn add_element(
        &mut self,
        structure: &StructureDefinition<'static>,
        definition: &ElementDefinition<'static>,
    ) -> Result<(), LoadError> {
        let path = definition.path;
        let mut constraints: Vec<Constraint> = definition.constraint.iter().map(ConstraintText::constraint).collect();
        if let Some(node) = self.by_path.get(path).and_then(|id| self.nodes.get_mut(id.0)) {
            node.constraints.append(&mut constraints);
        }
        let Some((parent, name)) = path.rsplit_once('.') else { return Ok(()) };
        let contents = self.contents(structure, definition)?;
        let unknown = LoadError::Unknown { path, target: parent };
        let node = self.by_path.get(parent).and_then(|id| self.nodes.get_mut(id.0)).ok_or(unknown)?;

        let ordinal = node.elements.len();
        if ordinal >= ElementSet::CAPACITY {
            return Err(LoadError::TooManyElements(node.path));
        }
        let max = match definition.max {
            "*" => u32::MAX,
            max => max.parse().map_err(|_| LoadError::Max { path, max })?,
        };
        let element = Element {
            name: name.trim_end_matches("[x]"),
            ordinal: ordinal as u8,
            min: definition.min,
            max,
            is_choice: name.ends_with("[x]"),
            is_summary: definition.is_summary,
            is_modifier: definition.is_modifier,
            binding: definition.binding.as_ref().and_then(BindingText::binding),
        };
        if element.min > 0 {
            node.required.insert(&element);
        }
        node.elements.push(element);
        node.properties.extend(contents.into_iter().map(|(type_code, content)| {
            let name = if element.is_choice { choice_name(element.name, type_code) } else { element.name.into() };
            let is_this = |it: &&TypeRef<'static>| it.code == "Reference" && it.fhir_code() == type_code;
            let targets = definition.r#type.iter().filter(is_this).flat_map(|it| it.target_profile.iter().copied());
            Property { name, type_code, content, targets: targets.collect(), element, constraints: constraints.clone() }
        }));
        Ok(())
    }

    /// Links a type, or the backbone elements of one, with what they specialize.
    fn add_base(&mut self, structure: &StructureDefinition<'static>) {
        let type_base = structure.base_definition.and_then(|url| url.rsplit('/').next());
        for definition in &structure.snapshot.element {
            let is_type = definition.path == structure.r#type;
            let base = if is_type { type_base } else { definition.r#type.first().map(TypeRef::fhir_code) };
            let base = base.and_then(|base| self.by_path.get(base).copied());
            if let Some(node) = self.by_path.get(definition.path).and_then(|id| self.nodes.get_mut(id.0)) {
                node.base = base;
            }
        }
    }

    /// The type codes of an element, with what each of them holds.
    fn contents(
        &self,
        structure: &StructureDefinition<'static>,
        definition: &ElementDefinition<'static>,
    ) -> Result<Vec<(&'static str, Content)>, LoadError> {
        let path = definition.path;
        let object = |target| match self.by_path.get(target) {
            Some(id) => Ok(Content::Object(*id)),
            None => Err(LoadError::Unknown { path, target }),
        };
        if let Some(reference) = definition.content_reference {
            return Ok(vec![("", object(reference.trim_start_matches('#'))?)]);
        }
        // R4 says string here, but means id (Resource.id; the type was lost in the move to FHIRPath types).
        let is_resource_id = structure.kind == "resource" && path.strip_prefix(structure.r#type) == Some(".id");
        let content = |code| match Primitive::from_code(code) {
            _ if is_resource_id => Ok(Content::Primitive(Primitive::Id)),
            Some(primitive) => Ok(Content::Primitive(primitive)),
            None if code == "Resource" => Ok(Content::Resource),
            None if self.by_path.contains_key(path) => object(path),
            None => object(code),
        };
        let codes = definition.r#type.iter().map(TypeRef::fhir_code);
        codes.map(|code| Ok((code, content(code)?))).collect()
    }
}

/// The JSON name of a choice: `value` as a `dateTime` is `valueDateTime`.
fn choice_name(element: &str, type_code: &str) -> Box<str> {
    let mut name = String::from(element);
    let mut letters = type_code.chars();
    name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
    name.push_str(letters.as_str());
    name.into()
}
