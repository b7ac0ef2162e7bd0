//! `_include` and `_revinclude` (R4 search.html#include).

use crate::fhir::resource::excerpt;
use crate::fhir::types::ResourceType;

use super::param::{ParamKind, SearchParam, registry};

/// Longer than any `Source:parameter:Target` is.
const VALUE_BYTES_MAX: usize = 200;

#[derive(Clone, Debug)]
pub struct Include {
    /// `_revinclude`: from the target to those that point to it.
    pub reverse: bool,
    /// `:iterate`: also from resources that were themselves included.
    pub iterate: bool,
    /// The reference parameters to follow; several for `*`.
    pub params: Vec<&'static SearchParam>,
    /// Only targets of this type.
    pub target: Option<ResourceType>,
}

impl Include {
    /// Parses `Source:param[:Target]`, `Source:*` or `*`. A plain `*` means every reference of the searched types for
    /// `_include`, and every reference of any type for `_revinclude` and `:iterate`.
    ///
    /// # Errors
    /// A sentence that says which part names nothing.
    pub fn parse(value: &str, reverse: bool, iterate: bool, searched: &[ResourceType]) -> Result<Self, String> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("'{}' is too long to be Source:parameter", excerpt(value)));
        }
        let mut parts = value.split(':');
        let source = parts.next().unwrap_or_default();
        let (param, target) = (parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(format!("'{value}' has too many parts: it is Source:parameter or Source:parameter:Target"));
        }
        let target = match target {
            None | Some("") => None,
            Some(name) => Some(
                ResourceType::parse(name)
                    .ok_or_else(|| format!("'{name}' in '{value}' is no resource type of this server"))?,
            ),
        };
        if source == "*" && param.is_none() {
            let sources = if reverse || iterate { ResourceType::ALL } else { searched };
            let params = sources.iter().flat_map(|source| references(*source)).collect();
            return Ok(Self { reverse, iterate, params, target });
        }
        let source_type = ResourceType::parse(source)
            .ok_or_else(|| format!("'{source}' in '{value}' is no resource type of this server"))?;
        let params: Vec<_> = match param {
            None | Some("") => return Err(format!("'{value}' names no parameter: it is Source:parameter")),
            Some("*") => references(source_type).collect(),
            Some(code) => vec![references(source_type).find(|param| param.code == code).ok_or_else(|| {
                let known: Vec<_> = references(source_type).map(|param| param.code.as_str()).collect();
                format!("'{code}' is no reference parameter of {source}; it has {}", known.join(", "))
            })?],
        };
        if let Some(target) = target
            && !params.iter().any(|param| param.target_types().contains(&target))
        {
            return Err(format!("'{value}' never points to {target}"));
        }
        Ok(Self { reverse, iterate, params, target })
    }
}

/// The reference parameters of a type.
pub fn references(source: ResourceType) -> impl Iterator<Item = &'static SearchParam> {
    registry().of_type(source).filter(|param| param.kind == ParamKind::Reference)
}
