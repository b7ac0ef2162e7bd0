//! What a caller may do to the resources of a type, as conditions that a search or a write can use. [`policy`] decides;
//! here its constraints become filters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::{self, Caller};
use crate::auth::policy::{self, Constraint, Permission};
use crate::auth::scope::{Access, Module, Scope};
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::types::{Instant, ResourceType};
use crate::search::matching::{self, Subject};
use crate::search::parse::{self, Handling};
use crate::search::query::{Filter, ReferenceMatch, Test, TypeQuery};
use crate::search::value::{IndexEntries, Target};
use crate::store::conn::Conn;
use crate::store::history;

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
    sight_of(app, policy::permission(&caller.identity, access, resource_type), resource_type)
}

fn sight_of(app: &App, permission: Permission, resource_type: ResourceType) -> Sight {
    match permission {
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
    if resource_type == ResourceType::AuditEvent && !Access::LOOK.has(access) {
        return FhirError::new(Kind::Forbidden, "AuditEvents are written by the server alone, and never changed.");
    }
    if caller.is_anonymous() {
        let sentence = format!("This needs an access token with a scope such as {needed}.");
        return FhirError::new(Kind::Unauthenticated, sentence);
    }
    let sentence = format!("The access token does not allow this; it takes a scope such as {needed}.");
    FhirError::new(Kind::Forbidden, sentence)
}

/// Lets those pass who may read, or change, a module.
///
/// # Errors
/// 401 for a caller without a token, 403 for one whose token does not name the module.
pub fn require_module(caller: &Caller, module: Module, is_write: bool) -> Result<(), FhirError> {
    if caller.identity.kind == caller::Kind::Operator || caller.identity.scopes.has_module(module, is_write) {
        return Ok(());
    }
    let needed = Scope::Module { module, is_write };
    let sentence = format!("This needs an access token with the scope {needed}.");
    let kind = if caller.is_anonymous() { Kind::Unauthenticated } else { Kind::Forbidden };
    Err(FhirError::new(kind, sentence))
}

impl Sight {
    /// Whether a resource is among those that may be touched. `body` is its JSON.
    pub fn reaches(&self, app: &App, target: &Target, at: Instant, body: &Value) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Only(_) => self.reaches_entries(target, at, &app.extractor().entries(target.resource_type, body)),
        }
    }

    /// The same for one whose index entries are known.
    pub fn reaches_entries(&self, target: &Target, at: Instant, entries: &IndexEntries) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Only(alternatives) => {
                let Target { resource_type, id } = target;
                let subject = Subject { resource_type: *resource_type, id, last_updated: at, entries };
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
fn check_filters(app: &App, caller: &Caller, filters: &[Filter]) -> Result<(), FhirError> {
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
            Filter::Value { param, test: Test::Reference(references) }
            | Filter::Not { param, test: Test::Reference(references) } => {
                let is_tree = |it: &ReferenceMatch| matches!(it, ReferenceMatch::Below(_) | ReferenceMatch::Above(_));
                if references.iter().any(is_tree) {
                    for resource_type in param.target_types().iter().copied().chain([param.base]) {
                        if !matches!(sight(app, caller, Access::SEARCH, resource_type), Sight::Everything) {
                            return Err(denied(caller, Access::SEARCH, resource_type));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Narrows a search of one type to the resources in sight by one of `accesses`, and its chains to what the caller may search.
///
/// # Errors
/// As [`require`] when nothing is in sight, and for a type that a chain or `_has` leads through.
pub fn narrow(app: &App, caller: &Caller, accesses: &[Access], part: &mut TypeQuery) -> Result<(), FhirError> {
    check_filters(app, caller, &part.filters)?;
    let filters = std::mem::take(&mut part.filters);
    part.filters = narrowed(app, caller, filters);
    let mut alternatives = Vec::new();
    for access in accesses {
        match sight(app, caller, *access, part.resource_type) {
            Sight::Everything => return Ok(()),
            Sight::Nothing => {}
            Sight::Only(some) => alternatives.extend(some),
        }
    }
    match alternatives.len() {
        0 => Err(denied(caller, accesses.first().copied().unwrap_or(Access::SEARCH), part.resource_type)),
        // Beside the others they can drive the search. But a circle in a scope is none that distances are measured from.
        1 if !alternatives.iter().flatten().any(is_near) => {
            part.filters.extend(alternatives.into_iter().flatten());
            Ok(())
        }
        _ => {
            part.filters.push(Filter::Any(alternatives));
            Ok(())
        }
    }
}

fn is_near(filter: &Filter) -> bool {
    matches!(filter, Filter::Value { test: Test::Near(_), .. })
}

/// Filters whose chains lead only through what the caller may search.
fn narrowed(app: &App, caller: &Caller, filters: Vec<Filter>) -> Vec<Filter> {
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
    /// What is taken back again is not yet what it is to be.
    is_trial: bool,
    known: RefCell<HashMap<(ResourceType, Access), Arc<Sight>>>,
}

impl<'a> Gate<'a> {
    pub fn new(app: &'a App, caller: &'a Caller, is_trial: bool) -> Self {
        Self { app, caller, is_trial, known: RefCell::default() }
    }

    /// What the caller may do so to resources of a type; worked out once.
    ///
    /// # Errors
    /// As [`require`].
    pub fn sight(&self, access: Access, resource_type: ResourceType) -> Result<Arc<Sight>, FhirError> {
        let key = (resource_type, access);
        if let Some(known) = self.known.borrow().get(&key) {
            return Ok(Arc::clone(known));
        }
        let sight = Arc::new(require(self.app, self.caller, access, resource_type)?);
        self.known.borrow_mut().insert(key, Arc::clone(&sight));
        Ok(sight)
    }

    /// What a resource was before the deletion that was its version `deleted`, if that matters for a write by this caller:
    /// who takes its place takes over what refers to it.
    ///
    /// # Errors
    /// As [`require`]; the store's.
    pub async fn last_seen(
        &self,
        conn: &mut Conn,
        access: Access,
        target: &Target,
        deleted: i64,
    ) -> Result<Option<(Instant, Value)>, FhirError> {
        let Sight::Only(_) = *self.sight(access, target.resource_type)? else { return Ok(None) };
        let found = history::get(conn, target.resource_type, &target.id, deleted - 1).await?;
        let Some(history::Version { at, body: Some(body), .. }) = found else { return Ok(None) };
        Ok(Some((at, stored(&body)?)))
    }

    /// Lets a write pass when the caller may do it to the resource as it was, here or until it was deleted, and as it is to be.
    ///
    /// # Errors
    /// As [`require`]; 403 when it is another resource than they may write.
    pub fn pass(
        &self,
        access: Access,
        target: &Target,
        is_here: bool,
        before: Option<(Instant, &Value)>,
        after: Option<(Instant, &IndexEntries)>,
    ) -> Result<(), FhirError> {
        let sight = self.sight(access, target.resource_type)?;
        if !is_here && access == Access::UPDATE {
            let makes = policy::permission_to_make(&self.caller.identity, target.resource_type);
            let makes = sight_of(self.app, makes, target.resource_type);
            if !self.is_trial && after.is_some_and(|(at, entries)| !makes.reaches_entries(target, at, entries)) {
                let sentence =
                    format!("{}/{} is not here, and not made by this user.", target.resource_type, target.id);
                return Err(FhirError::new(Kind::Forbidden, sentence));
            }
        }
        let was = before.is_none_or(|(at, body)| sight.reaches(self.app, target, at, body));
        let is = self.is_trial || after.is_none_or(|(at, entries)| sight.reaches_entries(target, at, entries));
        if was && is {
            return Ok(());
        }
        let Target { resource_type, id } = target;
        let which = if was { "what it would become" } else { "this resource" };
        let sentence = format!(
            "{resource_type}/{id} is not written: the access token allows that for some resources, but not for {which}."
        );
        Err(FhirError::new(Kind::Forbidden, sentence))
    }
}
