//! Which resources an export holds: what was asked for, as far as who asked may see it.

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::FhirError;
use crate::fhir::types::ResourceType;
use crate::interactions::access::{self, Sight};
use crate::search::date::DateRange;
use crate::search::query::{DateMatch, Filter, Prefix, TypeQuery};

use super::asked::Asked;
use super::filters;

/// The resources of one type that an export holds.
#[derive(Clone, Debug)]
pub struct Part {
    /// Without filters: all of the type, of which `since` is then to be asked.
    pub query: TypeQuery,
    /// What the caller may see of the type, for what has no index any more: the deleted.
    pub sight: Sight,
    /// Root elements to which the resources are cut down; none: they are whole.
    pub elements: Vec<String>,
}

/// What an export holds of each type. What is left out for a lenient client is added to `notes`.
///
/// # Errors
/// 400 for a filter that cannot be used; 401 and 403 for a type that was named and that the caller may not read and search,
/// or when that is all.
pub fn plan(app: &App, caller: &Caller, asked: &Asked, notes: &mut Vec<String>) -> Result<Vec<Part>, FhirError> {
    let named: Vec<ResourceType> = asked.types.iter().filter_map(|name| ResourceType::parse(name)).collect();
    let mut parts = Vec::new();
    for resource_type in ResourceType::ALL.iter().copied() {
        let sight = if named.contains(&resource_type) {
            access::require(app, caller, Access::LOOK, resource_type)?
        } else if named.is_empty() && is_of_all(resource_type) {
            access::sight(app, caller, Access::LOOK, resource_type)
        } else {
            continue;
        };
        if !matches!(sight, Sight::Nothing) {
            parts.push(part(app, caller, asked, resource_type, sight, notes)?);
        }
    }
    if parts.is_empty() {
        return Err(access::denied(caller, Access::LOOK, ResourceType::Practitioner));
    }
    // A filter of a type that the caller may not see asks about it all the same.
    for (name, _) in &asked.filters {
        if let Some(filtered) = ResourceType::parse(name)
            && !parts.iter().any(|part| part.query.resource_type == filtered)
        {
            return Err(access::denied(caller, Access::LOOK, filtered));
        }
    }
    Ok(parts)
}

/// The record of who did what, and who is told about what, are no part of the directory: they have to be named.
fn is_of_all(resource_type: ResourceType) -> bool {
    !matches!(resource_type, ResourceType::AuditEvent | ResourceType::Subscription)
}

fn part(
    app: &App,
    caller: &Caller,
    asked: &Asked,
    resource_type: ResourceType,
    sight: Sight,
    notes: &mut Vec<String>,
) -> Result<Part, FhirError> {
    let name = resource_type.as_str();
    let mut alternatives = Vec::new();
    for (_, query) in asked.filters.iter().filter(|(of, _)| of == name) {
        alternatives.push(filters::filters(app, caller, resource_type, query, asked.handling(), notes)?);
    }
    let mut query = TypeQuery { resource_type, filters: Vec::new(), sort: Vec::new() };
    if alternatives.is_empty() {
        access::narrow(app, caller, &[Access::LOOK], &mut query)?;
    } else if alternatives.len() == 1 {
        query.filters = alternatives.pop().unwrap_or_default();
    } else if !alternatives.iter().any(Vec::is_empty) {
        query.filters.push(Filter::Any(alternatives));
    }
    if let Some(since) = asked.since().filter(|_| !query.filters.is_empty()) {
        // To the microsecond: an instant is one, however it is written.
        let range = DateRange { lo: since.0, hi: since.0 + 1 };
        let ranges = vec![DateMatch { prefix: Prefix::Gt, range }];
        query.filters.push(Filter::LastUpdated { base: resource_type, ranges });
    }
    let is_about = |of: &Option<String>| of.as_deref().is_none_or(|of| of == name);
    let elements = asked.elements.iter().filter(|(of, _)| is_about(of)).map(|(_, element)| element.clone()).collect();
    Ok(Part { query, sight, elements })
}
