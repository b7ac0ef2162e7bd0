//! The parts of a StructureDefinition that a profile is compiled from (R4 structuredefinition.html, elementdefinition.html).

use std::sync::Arc;

use serde_json::{Map, Value};
use thiserror::Error;

use super::shape::{Discriminator, DiscriminatorKind, Rules};
use crate::fhir::definitions::Strength;
use crate::fhir::path::Path;

/// Why a definition cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DefinitionError {
    #[error("it is no StructureDefinition: {0} is missing or not text")]
    Missing(&'static str),
    #[error("element {element}: {problem}")]
    Element { element: String, problem: String },
    #[error("its base {0} is not loaded")]
    Base(String),
    #[error("it has neither a differential nor a snapshot")]
    Empty,
}

/// A StructureDefinition that constrains a type.
#[derive(Debug)]
pub struct Definition<'a> {
    pub url: &'a str,
    pub version: Option<&'a str>,
    pub type_name: &'a str,
    pub base: Option<&'a str>,
    /// Where an extension may be used.
    pub contexts: Vec<Context>,
    /// It states invariants of its context, which are not checked.
    pub has_context_invariants: bool,
    differential: Option<&'a [Value]>,
    snapshot: Option<&'a [Value]>,
}

/// StructureDefinition.context.
#[derive(Clone, Debug)]
pub struct Context {
    /// `element`, `extension` or `fhirpath`.
    pub kind: Box<str>,
    pub expression: Box<str>,
    /// The expression of a `fhirpath`, if it can be evaluated.
    pub path: Option<Arc<Path>>,
}

impl<'a> Definition<'a> {
    /// # Errors
    /// [`DefinitionError::Missing`] when it has no url or type.
    pub fn read(json: &'a Value) -> Result<Self, DefinitionError> {
        let text = |name: &'static str| json.get(name).and_then(Value::as_str);
        let elements = |name: &str| json.get(name)?.get("element")?.as_array().map(Vec::as_slice);
        let contexts = json.get("context").and_then(Value::as_array).into_iter().flatten();
        let context = |context: &Value| {
            let part = |name: &str| context.get(name).and_then(Value::as_str).map(Box::from);
            let (kind, expression): (Box<str>, Box<str>) = (part("type")?, part("expression")?);
            let path = (&*kind == "fhirpath").then(|| Path::parse(&expression).ok().map(Arc::new)).flatten();
            Some(Context { kind, expression, path })
        };
        Ok(Self {
            url: text("url").ok_or(DefinitionError::Missing("url"))?,
            version: text("version"),
            type_name: text("type").ok_or(DefinitionError::Missing("type"))?,
            base: text("baseDefinition"),
            contexts: contexts.filter_map(context).collect(),
            has_context_invariants: json.get("contextInvariant").is_some(),
            differential: elements("differential"),
            snapshot: elements("snapshot"),
        })
    }

    /// True for a profile or an extension, false for the definition of a type.
    pub fn is_constraint(json: &Value) -> bool {
        json.get("resourceType").and_then(Value::as_str) == Some("StructureDefinition")
            && json.get("derivation").and_then(Value::as_str) == Some("constraint")
    }

    /// The elements, and whether they are a snapshot: everything that holds, rather than what is added to the base.
    ///
    /// # Errors
    /// [`DefinitionError`] of the first element that cannot be read, or when there are none.
    pub fn elements(&self) -> Result<(Vec<ElementDefinition<'a>>, bool), DefinitionError> {
        let (elements, is_snapshot) = match (self.snapshot, self.differential) {
            (Some(elements), _) => (elements, true),
            (None, Some(elements)) => (elements, false),
            (None, None) => return Err(DefinitionError::Empty),
        };
        Ok((elements.iter().map(ElementDefinition::read).collect::<Result<_, _>>()?, is_snapshot))
    }
}

/// One ElementDefinition.
#[derive(Debug)]
pub struct ElementDefinition<'a> {
    /// Dotted names with slices, `Extension.extension:code.value[x]`.
    pub id: &'a str,
    pub min: Option<u32>,
    /// [`u32::MAX`] for `*`.
    pub max: Option<u32>,
    pub types: Option<Vec<TypeDefinition<'a>>>,
    pub fixed: Option<&'a Value>,
    pub pattern: Option<&'a Value>,
    pub binding: Option<(Strength, &'a str)>,
    /// The value set that codes of a weaker binding must not leave (elementdefinition-maxValueSet).
    pub max_value_set: Option<&'a str>,
    /// Names of what the definition asks for and is not checked here.
    pub unread: Vec<&'a str>,
    pub constraints: Vec<ConstraintDefinition<'a>>,
    pub slicing: Option<SlicingDefinition>,
    pub is_modifier: bool,
}

#[derive(Debug)]
pub struct TypeDefinition<'a> {
    pub code: &'a str,
    pub profiles: Vec<&'a str>,
    pub targets: Vec<&'a str>,
}

#[derive(Debug)]
pub struct ConstraintDefinition<'a> {
    pub key: &'a str,
    pub severity: &'a str,
    pub human: &'a str,
    pub expression: Option<&'a str>,
    pub source: Option<&'a str>,
}

#[derive(Debug)]
pub struct SlicingDefinition {
    pub discriminators: Vec<Discriminator>,
    pub ordered: bool,
    pub rules: Rules,
}

/// The FHIR type behind a FHIRPath type code.
const FHIR_TYPE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";

impl<'a> ElementDefinition<'a> {
    fn read(json: &'a Value) -> Result<Self, DefinitionError> {
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        let id = text("id").ok_or(DefinitionError::Missing("the id of an element"))?;
        let fault = |problem: String| DefinitionError::Element { element: id.to_owned(), problem };
        let max = match text("max") {
            None => None,
            Some("*") => Some(u32::MAX),
            Some(max) => Some(max.parse().map_err(|_| fault(format!("a max of '{max}' is neither a number nor *")))?),
        };
        let min = json.get("min").and_then(Value::as_u64).map(|min| u32::try_from(min).unwrap_or(u32::MAX));
        let binding = match json.get("binding") {
            None => None,
            Some(binding) => {
                let strength = binding.get("strength").and_then(Value::as_str).and_then(Strength::from_code);
                let strength = strength.ok_or_else(|| fault("its binding has no strength".to_owned()))?;
                binding.get("valueSet").and_then(Value::as_str).map(|value_set| (strength, value_set))
            }
        };
        Ok(Self {
            id,
            min,
            max,
            types: json.get("type").and_then(Value::as_array).map(|types| types.iter().filter_map(type_of).collect()),
            fixed: value_named(json, "fixed"),
            pattern: value_named(json, "pattern"),
            binding,
            max_value_set: json.get("binding").and_then(max_value_set),
            unread: unread(json),
            constraints: list(json, "constraint").filter_map(constraint).collect(),
            is_modifier: json.get("isModifier").and_then(Value::as_bool).unwrap_or(false),
            slicing: json.get("slicing").map(slicing).transpose().map_err(fault)?,
        })
    }
}

/// Where a binding has its maximum value set.
const MAX_VALUE_SET: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet";

fn max_value_set(binding: &Value) -> Option<&str> {
    let found = list(binding, "extension").find(|it| it.get("url").and_then(Value::as_str) == Some(MAX_VALUE_SET))?;
    found.get("valueCanonical").or(found.get("valueUri"))?.as_str()
}

/// What an ElementDefinition may ask for and nothing here looks at.
fn unread(json: &Value) -> Vec<&str> {
    let names = json.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let mut unread: Vec<&str> = names
        .filter(|name| *name == "maxLength" || name.starts_with("minValue") || name.starts_with("maxValue"))
        .collect();
    unread.extend(list(json, "type").any(|it| it.get("aggregation").is_some()).then_some("type.aggregation"));
    unread.extend(
        list(json, "constraint").any(|it| it.get("expression").is_none()).then_some("a constraint without FHIRPath"),
    );
    unread
}

fn list<'a>(json: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    json.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn texts<'a>(json: &'a Value, name: &str) -> Vec<&'a str> {
    list(json, name).filter_map(Value::as_str).collect()
}

/// `fixed[x]` or `pattern[x]`.
fn value_named<'a>(json: &'a Value, prefix: &str) -> Option<&'a Value> {
    let is_choice =
        |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    json.as_object().into_iter().flat_map(Map::iter).find(|(name, _)| is_choice(name)).map(|(_, value)| value)
}

fn type_of(json: &Value) -> Option<TypeDefinition<'_>> {
    let fhir = list(json, "extension").find(|it| it.get("url").and_then(Value::as_str) == Some(FHIR_TYPE));
    let fhir = fhir.and_then(|it| it.get("valueUrl")?.as_str());
    let code = fhir.or_else(|| json.get("code")?.as_str())?;
    Some(TypeDefinition { code, profiles: texts(json, "profile"), targets: texts(json, "targetProfile") })
}

fn constraint(json: &Value) -> Option<ConstraintDefinition<'_>> {
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    Some(ConstraintDefinition {
        key: text("key")?,
        severity: text("severity")?,
        human: text("human").unwrap_or_default(),
        expression: text("expression"),
        source: text("source"),
    })
}

fn slicing(json: &Value) -> Result<SlicingDefinition, String> {
    let discriminator = |json: &Value| {
        let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = match text("type") {
            "value" => DiscriminatorKind::Value,
            "exists" => DiscriminatorKind::Exists,
            "pattern" => DiscriminatorKind::Pattern,
            "type" => DiscriminatorKind::Type,
            "profile" => DiscriminatorKind::Profile,
            other => return Err(format!("'{other}' is no kind of discriminator")),
        };
        Ok(Discriminator { kind, path: text("path").into() })
    };
    Ok(SlicingDefinition {
        discriminators: list(json, "discriminator").map(discriminator).collect::<Result<_, _>>()?,
        ordered: json.get("ordered").and_then(Value::as_bool).unwrap_or(false),
        rules: match json.get("rules").and_then(Value::as_str) {
            Some("closed") => Rules::Closed,
            Some("openAtEnd") => Rules::OpenAtEnd,
            _ => Rules::Open,
        },
    })
}
