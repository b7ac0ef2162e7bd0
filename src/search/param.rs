//! The registry of search parameters: one list serves extraction, queries and the CapabilityStatement, so that what is
//! declared is what works.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::fhir::path::Path;
use crate::fhir::types::ResourceType;

/// The facts of every parameter (SearchParameter resources): Plan-Net 1.2.0, base R4 and this server's own.
const FACTS: &str = include_str!("../../profiles/search-parameters.json");

/// `search-param-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    Number,
    Date,
    String,
    Token,
    Reference,
    Composite,
    Quantity,
    Uri,
    Special,
}

impl ParamKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::String => "string",
            Self::Token => "token",
            Self::Reference => "reference",
            Self::Composite => "composite",
            Self::Quantity => "quantity",
            Self::Uri => "uri",
            Self::Special => "special",
        }
    }
}

/// The number that stands for a parameter of one type in the index tables: a hash of `Type.code`, so that every node
/// and every release agrees on it without asking the database.
pub type ParamId = i32;

/// FNV-1a over `name`, folded to 31 bits.
pub fn param_id(name: &str) -> ParamId {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash & 0x7fff_ffff) as ParamId
}

/// A search parameter of one resource type.
#[derive(Debug)]
pub struct SearchParam {
    pub code: String,
    pub base: ResourceType,
    pub kind: ParamKind,
    /// Canonical URL of the SearchParameter.
    pub url: String,
    pub id: ParamId,
    /// Index rows for `:text` on a token (display texts), `:of-type`, and `:identifier` on a reference.
    pub text_id: ParamId,
    pub of_type_id: ParamId,
    pub identifier_id: ParamId,
    pub path: Path,
    /// Target types of a reference that are stored here; empty: any stored type.
    pub targets: Vec<ResourceType>,
    /// For a composite: the paths of its token and its date component.
    pub components: Option<(Path, Path)>,
}

impl SearchParam {
    /// The types a reference of this parameter may point to.
    pub fn target_types(&self) -> &[ResourceType] {
        if self.targets.is_empty() { ResourceType::ALL } else { &self.targets }
    }

    /// Names each word by its sound instead of its letters (the base parameter `phonetic`).
    pub fn is_phonetic(&self) -> bool {
        self.code == "phonetic"
    }
}

#[derive(Deserialize)]
struct Fact {
    url: String,
    code: String,
    base: Vec<String>,
    #[serde(rename = "type")]
    kind: ParamKind,
    expression: String,
    #[serde(default)]
    target: Vec<String>,
    #[serde(default)]
    component: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    expression: String,
}

/// All parameters, by type and code.
#[derive(Debug)]
pub struct Registry {
    by_type: HashMap<ResourceType, BTreeMap<String, SearchParam>>,
}

impl Registry {
    /// Builds the registry from SearchParameter facts.
    ///
    /// # Errors
    /// A sentence naming the parameter whose facts cannot be used: bad JSON, an expression outside the FHIRPath subset,
    /// or two parameters with one number.
    pub fn from_facts(facts: &str) -> Result<Self, String> {
        let facts: Vec<Fact> = serde_json::from_str(facts).map_err(|error| format!("search parameters: {error}"))?;
        let mut by_type: HashMap<ResourceType, BTreeMap<String, SearchParam>> = HashMap::new();
        let mut names: HashMap<ParamId, String> = HashMap::new();
        for fact in &facts {
            let bases: Vec<ResourceType> = if fact.base.iter().any(|base| base == "Resource") {
                ResourceType::ALL.to_vec()
            } else {
                fact.base.iter().filter_map(|base| ResourceType::parse(base)).collect()
            };
            for base in bases {
                let param = SearchParam::new(fact, base)?;
                for id in [param.id, param.text_id, param.of_type_id, param.identifier_id] {
                    if let Some(other) = names.insert(id, format!("{base}.{}", param.code)) {
                        return Err(format!("{base}.{} and {other} share the number {id}", param.code));
                    }
                }
                by_type.entry(base).or_default().insert(param.code.clone(), param);
            }
        }
        Ok(Self { by_type })
    }

    pub fn get(&self, base: ResourceType, code: &str) -> Option<&SearchParam> {
        self.by_type.get(&base)?.get(code)
    }

    /// The parameters of a type, in order of their codes.
    pub fn of_type(&self, base: ResourceType) -> impl Iterator<Item = &SearchParam> {
        self.by_type.get(&base).into_iter().flat_map(BTreeMap::values)
    }
}

impl SearchParam {
    fn new(fact: &Fact, base: ResourceType) -> Result<Self, String> {
        let name = format!("{base}.{}", fact.code);
        let parse = |text: &str| Path::parse(text).map_err(|error| format!("{name}: {error}"));
        let components = match fact.component.as_slice() {
            [token, date] => Some((parse(&token.expression)?, parse(&date.expression)?)),
            _ => None,
        };
        Ok(Self {
            code: fact.code.clone(),
            base,
            kind: fact.kind,
            url: fact.url.clone(),
            id: param_id(&name),
            text_id: param_id(&format!("{name}:text")),
            of_type_id: param_id(&format!("{name}:of-type")),
            identifier_id: param_id(&format!("{name}:identifier")),
            path: parse(&fact.expression)?,
            targets: fact.target.iter().filter_map(|target| ResourceType::parse(target)).collect(),
            components,
        })
    }
}

/// The parameters compiled into this program.
///
/// A test proves that the facts load; should they not, the registry is empty and every search names its parameter as
/// unknown rather than answering wrongly.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
        Registry::from_facts(FACTS).unwrap_or_else(|error| {
            tracing::error!(%error, "the search parameters compiled into this program cannot be used");
            Registry { by_type: HashMap::new() }
        })
    });
    &REGISTRY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_facts_load() {
        let registry = Registry::from_facts(FACTS).expect("facts load");
        for base in ResourceType::ALL {
            for code in ["_id", "_lastUpdated", "_profile", "_tag", "_security", "_source"] {
                assert!(registry.get(*base, code).is_some(), "{base}.{code}");
            }
        }
        let network = registry.get(ResourceType::PractitionerRole, "network").expect("network");
        assert_eq!(network.targets, [ResourceType::Organization]);
    }
}
