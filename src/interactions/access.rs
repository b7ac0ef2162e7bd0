//! What a caller may do to the resources of a type, as conditions that a search or a write can use. [`policy`] decides;
//! here its constraints become filters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::policy::{self, Constraint, Permission};
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::types::{Instant, ResourceType};
use crate::search::matching::{self, Subject};
use crate::search::parse::{self, Handling};
use crate::search::query::{Filter, ReferenceMatch, Test};
use crate::search::value::{IndexEntries, Target};

use super::read::{Stored, not_found};
use super::write::stored;

/// Which resources of a type an interaction may touch.
#[derive(Clone, Debug)]
pub enum Sight {
    Nothing,
    Everything,
    /// Those that meet all filters of one of these.
    Only(Vec<Vec<Filter>>),
}

/// The resources of a type that a caller may touch so.
pub fn sight(app: &App, caller: &Caller, access: Access, resource_type: ResourceType) -> Sight {
    match policy::permission(&caller.identity, access, resource_type) {
        Permission::Denied => Sight::Nothing,
        Permission::All => Sight::Everything,
        Permission::Where(constraints) => {
            let filters: Vec<Vec<Filter>> =
                constraints.iter().filter_map(|it| filters(app, resource_type, it)).collect();
            if filters.is_empty() { Sight::Nothing } else { Sight::Only(filters) }
        }
    }
}

/// The filters that a constraint comes to; `None` when it is none that this server can hold anybody to.
pub fn filters(app: &App, resource_type: ResourceType, constraint: &Constraint) -> Option<Vec<Filter>> {
    let context = app.search_context(Handling::Strict);
    let mut query = parse::parse(&[resource_type], constraint, context).ok()?;
    let filters = query.types.pop()?.filters;
    // What is no filter, such as _count, would constrain nothing.
    (filters.len() == constraint.len() && filters.iter().all(is_of_one_resource)).then_some(filters)
}

/// Whether one resource alone tells if it meets a filter.
fn is_of_one_resource(filter: &Filter) -> bool {
    !matches!(filter, Filter::Chain { .. } | Filter::Has { .. } | Filter::Any(_))
}

/// What a caller may touch so, where nothing is a refusal.
///
/// # Errors
/// 401 for a caller without a token, 403 for one whose token does not reach as far.
pub fn require(app: &App, caller: &Caller, access: Access, resource_type: ResourceType) -> Result<Sight, FhirError> {
    match sight(app, caller, access, resource_type) {
        Sight::Nothing => Err(denied(caller, access, resource_type)),
        sight => Ok(sight),
    }
}

/// The refusal of an interaction with a type.
pub fn denied(caller: &Caller, access: Access, resource_type: ResourceType) -> FhirError {
    let context = if caller.identity.user.is_some() { "user" } else { "system" };
    let needed = format!("{context}/{resource_type}.{access}");
    if resource_type == ResourceType::AuditEvent && !Access::READ.or(Access::SEARCH).has(access) {
        return FhirError::new(Kind::Forbidden, "AuditEvents are written by the server alone, and never changed.");
    }
    if caller.is_anonymous() {
        let sentence = format!("This needs an access token with a scope such as {needed}.");
        return FhirError::new(Kind::Unauthenticated, sentence);
    }
    let sentence = format!("The access token does not allow this; it takes a scope such as {needed}.");
    FhirError::new(Kind::Forbidden, sentence)
}

impl Sight {
    /// Whether a resource is among those that may be touched. `body` is its JSON.
    pub fn reaches(&self, app: &App, target: &Target, at: Instant, body: &Value) -> bool {
        self.reaches_entries(target, at, || app.extractor().entries(target.resource_type, body))
    }

    /// The same for one whose index entries are known, or easily found.
    pub fn reaches_entries(&self, target: &Target, at: Instant, entries: impl FnOnce() -> IndexEntries) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Only(alternatives) => {
                let entries = entries();
                let Target { resource_type, id } = target;
                let subject = Subject { resource_type: *resource_type, id, last_updated: at, entries: &entries };
                // What cannot be told from the resource alone is not granted.
                alternatives.iter().any(|filters| matching::all_hold(filters, &subject) == Some(true))
            }
        }
    }

    /// A resource that was read, if it may be.
    ///
    /// # Errors
    /// 404 as for one that is not here: whoever may not see it is not told that it is.
    pub fn let_through(
        &self,
        app: &App,
        resource_type: ResourceType,
        id: &str,
        found: Stored,
    ) -> Result<Stored, FhirError> {
        if let Self::Everything = self {
            return Ok(found);
        }
        let target = Target { resource_type, id: id.to_owned() };
        if self.reaches(app, &target, found.last_updated, &stored(&found.body)?) {
            Ok(found)
        } else {
            Err(not_found(resource_type, id))
        }
    }
}

/// Refuses filters that would tell a caller about resources that they may not search.
///
/// # Errors
/// As [`require`], for the type that a chain or `_has` leads through.
pub fn check_filters(app: &App, caller: &Caller, filters: &[Filter]) -> Result<(), FhirError> {
    for filter in filters {
        match filter {
            Filter::Chain { target, inner, .. } => {
                require(app, caller, Access::SEARCH, *target)?;
                check_filters(app, caller, std::slice::from_ref(inner))?;
            }
            Filter::Has { param, inner } => {
                require(app, caller, Access::SEARCH, param.base)?;
                check_filters(app, caller, std::slice::from_ref(inner))?;
            }
            Filter::Any(alternatives) => {
                alternatives.iter().try_for_each(|filters| check_filters(app, caller, filters))?;
            }
            // The tree that these walk is made of the references of other resources.
            Filter::Value { test: Test::Reference(references), .. }
            | Filter::Not { test: Test::Reference(references), .. } => {
                for reference in references {
                    if let ReferenceMatch::Below(target) | ReferenceMatch::Above(target) = reference
                        && !matches!(sight(app, caller, Access::SEARCH, target.resource_type), Sight::Everything)
                    {
                        return Err(denied(caller, Access::SEARCH, target.resource_type));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The filters of a search, so narrowed that its chains lead only through what the caller may search.
pub fn narrowed(app: &App, caller: &Caller, filters: Vec<Filter>) -> Vec<Filter> {
    let through = |inner: Box<Filter>, resource_type| {
        let mut inner = narrowed(app, caller, vec![*inner]);
        match sight(app, caller, Access::SEARCH, resource_type) {
            Sight::Everything => Box::new(inner.pop().unwrap_or(Filter::Nothing)),
            Sight::Nothing => Box::new(Filter::Nothing),
            Sight::Only(alternatives) => {
                let both = |seen: Vec<Filter>| inner.iter().cloned().chain(seen).collect();
                Box::new(Filter::Any(alternatives.into_iter().map(both).collect()))
            }
        }
    };
    let one = |filter| match filter {
        Filter::Chain { param, target, inner } => Filter::Chain { param, target, inner: through(inner, target) },
        Filter::Has { param, inner } => Filter::Has { param, inner: through(inner, param.base) },
        other => other,
    };
    filters.into_iter().map(one).collect()
}

/// Decides about the writes of one unit of work.
pub struct Gate<'a> {
    app: &'a App,
    caller: &'a Caller,
    known: RefCell<HashMap<(ResourceType, Access), Arc<Sight>>>,
}

impl<'a> Gate<'a> {
    pub fn new(app: &'a App, caller: &'a Caller) -> Self {
        Self { app, caller, known: RefCell::default() }
    }

    /// Lets a write pass when the caller may do it to the resource as it was and as it is to be.
    ///
    /// # Errors
    /// As [`require`]; 403 when it is another resource than they may write.
    pub fn pass(
        &self,
        access: Access,
        target: &Target,
        before: Option<(Instant, &Value)>,
        after: Option<(Instant, &IndexEntries)>,
    ) -> Result<(), FhirError> {
        let key = (target.resource_type, access);
        let known = self.known.borrow().get(&key).cloned();
        let sight = match known {
            Some(sight) => sight,
            None => {
                let sight = Arc::new(require(self.app, self.caller, access, target.resource_type)?);
                self.known.borrow_mut().insert(key, Arc::clone(&sight));
                sight
            }
        };
        let was = before.is_none_or(|(at, body)| sight.reaches(self.app, target, at, body));
        let is = after.is_none_or(|(at, entries)| sight.reaches_entries(target, at, || entries.clone()));
        if was && is {
            return Ok(());
        }
        let Target { resource_type, id } = target;
        let which = if was { "what it would become" } else { "this resource" };
        let sentence =
            format!("{resource_type}/{id}: the access token allows this for some resources, but not for {which}.");
        Err(FhirError::new(Kind::Forbidden, sentence))
    }
}
