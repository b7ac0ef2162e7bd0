//! What a caller may do to which resources: scopes say what an app was granted, the rules below what its user is allowed
//! to change. Whatever is not allowed here is refused everywhere.

use crate::fhir::types::ResourceType;

use super::caller::{Identity, Kind, Role};
use super::scope::{Access, Context, Module, ResourceScope};

/// Search parameters that a resource must meet, all of them.
pub type Constraint = Vec<(String, String)>;

/// What an interaction with a type is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    Denied,
    /// Every resource of the type.
    All,
    /// The resources that meet one of these.
    Where(Vec<Constraint>),
}

/// A resource that a user may change: the search parameter by which it has to point to what the user stands for.
struct Rule {
    resource_type: ResourceType,
    access: Access,
    tie: &'static str,
}

const fn rule(resource_type: ResourceType, access: Access, tie: &'static str) -> Rule {
    Rule { resource_type, access, tie }
}

const UPDATE: Access = Access::UPDATE;
const CHANGE: Access = Access::CHANGE;

/// What somebody who is a Practitioner may change: themselves, and the roles they have.
const PRACTITIONER: &[Rule] =
    &[rule(ResourceType::Practitioner, UPDATE, "_id"), rule(ResourceType::PractitionerRole, CHANGE, "practitioner")];

/// What an administrator of an Organization may change: it, its parts, and what belongs to it.
const ORGANIZATION: &[Rule] = &[
    rule(ResourceType::Organization, UPDATE, "_id"),
    rule(ResourceType::Organization, CHANGE, "partof"),
    rule(ResourceType::PractitionerRole, CHANGE, "organization"),
    rule(ResourceType::Location, CHANGE, "organization"),
    rule(ResourceType::HealthcareService, CHANGE, "organization"),
    rule(ResourceType::OrganizationAffiliation, CHANGE, "primary-organization"),
    rule(ResourceType::Endpoint, CHANGE, "organization"),
    rule(ResourceType::InsurancePlan, CHANGE, "owned-by"),
];

/// What `identity` may do to resources of this type by an interaction of this letter.
pub fn permission(identity: &Identity, access: Access, resource_type: ResourceType) -> Permission {
    permission_by(identity, access, access, resource_type)
}

/// What `identity` may make of this type by an update of what is not there: the letter `u` is enough for that in a scope, but
/// what somebody may not create they do not make in this way either.
pub fn permission_to_make(identity: &Identity, resource_type: ResourceType) -> Permission {
    permission_by(identity, Access::UPDATE, Access::CREATE, resource_type)
}

/// `access` is the letter of the scope, `rule` that of the user's rules.
fn permission_by(identity: &Identity, access: Access, rule: Access, resource_type: ResourceType) -> Permission {
    if resource_type == ResourceType::AuditEvent && !Access::LOOK.has(access) {
        // Nobody changes what was written down, not even here.
        return Permission::Denied;
    }
    if identity.kind == Kind::Operator {
        return Permission::All;
    }
    match by_scopes(identity, access, rule, resource_type) {
        Permission::All if is_owned(identity, access, resource_type) => Permission::Where(vec![own(identity)]),
        Permission::Where(constraints) if is_owned(identity, access, resource_type) => {
            let owned = |constraint: Constraint| constraint.into_iter().chain(own(identity)).collect();
            Permission::Where(constraints.into_iter().map(owned).collect())
        }
        permission => permission,
    }
}

/// A Subscription is its subscriber's: others would read what it is sent with, or have it sent elsewhere. Those who look after
/// deliveries reach all of them, and so do administrators.
fn is_owned(identity: &Identity, access: Access, resource_type: ResourceType) -> bool {
    resource_type == ResourceType::Subscription && is_bound(identity, !Access::LOOK.has(access))
}

/// Whether the Subscriptions that this caller writes are their own, whatever they say.
pub fn is_bound_to_own(identity: &Identity) -> bool {
    is_bound(identity, true)
}

fn is_bound(identity: &Identity, is_write: bool) -> bool {
    let is_admin = identity.user.as_ref().is_some_and(|user| user.role == Role::Admin);
    identity.kind == Kind::Token && !is_admin && !identity.scopes.has_module(Module::Delivery, is_write)
}

/// What a resource of this caller's own has, by the door through which it came.
fn own(identity: &Identity) -> Constraint {
    vec![("_source".to_owned(), identity.urn())]
}

fn by_scopes(identity: &Identity, access: Access, rule: Access, resource_type: ResourceType) -> Permission {
    let mut allowed = Vec::new();
    for scope in identity.scopes.resources().filter(|scope| covers(scope, access, resource_type)) {
        match by_scope(identity, scope, rule, resource_type) {
            Permission::All => return Permission::All,
            Permission::Where(constraints) => allowed.extend(constraints),
            Permission::Denied => {}
        }
    }
    if allowed.is_empty() { Permission::Denied } else { Permission::Where(allowed) }
}

/// A wildcard is about the directory and its processes; the record of who did what has to be named.
fn covers(scope: &ResourceScope, access: Access, resource_type: ResourceType) -> bool {
    let is_named = match scope.resource_type {
        Some(named) => named == resource_type,
        None => resource_type != ResourceType::AuditEvent,
    };
    is_named && scope.access.has(access)
}

fn by_scope(identity: &Identity, scope: &ResourceScope, access: Access, resource_type: ResourceType) -> Permission {
    let by_user = match scope.context {
        Context::System => Permission::All,
        Context::User => by_user(identity, access, resource_type),
        // The directory is the same for every patient; nothing in it is a patient's to change.
        Context::Patient if identity.patient.is_some() => public(access, resource_type),
        Context::Patient => Permission::Denied,
    };
    match by_user {
        _ if scope.constraint.is_empty() => by_user,
        Permission::Denied => Permission::Denied,
        Permission::All => Permission::Where(vec![scope.constraint.clone()]),
        Permission::Where(ties) => {
            let both = |tie: Constraint| scope.constraint.iter().cloned().chain(tie).collect();
            Permission::Where(ties.into_iter().map(both).collect())
        }
    }
}

fn public(access: Access, resource_type: ResourceType) -> Permission {
    let is_public = resource_type.is_directory() && Access::LOOK.has(access);
    if is_public { Permission::All } else { Permission::Denied }
}

fn by_user(identity: &Identity, access: Access, resource_type: ResourceType) -> Permission {
    let (rules, own, id) = match identity.user.as_ref().map(|user| &user.role) {
        Some(Role::Admin) => return Permission::All,
        Some(Role::Practitioner(id)) => (PRACTITIONER, ResourceType::Practitioner, id),
        Some(Role::Organization(id)) => (ORGANIZATION, ResourceType::Organization, id),
        Some(Role::Member) | None => return public(access, resource_type),
    };
    if let Permission::All = public(access, resource_type) {
        return Permission::All;
    }
    let ties = rules.iter().filter(|rule| rule.resource_type == resource_type && rule.access.has(access));
    let constraints: Vec<Constraint> = ties
        .map(|rule| {
            let value = if rule.tie == "_id" { id.clone() } else { format!("{own}/{id}") };
            vec![(rule.tie.to_owned(), value)]
        })
        .collect();
    if constraints.is_empty() { Permission::Denied } else { Permission::Where(constraints) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::caller::User;
    use crate::auth::scope::Scopes;

    fn identity(scopes: &str, role: Option<&str>) -> Identity {
        let user = role.and_then(Role::parse).map(|role| User { name: "u".into(), fhir_user: None, role });
        Identity { kind: Kind::Token, user, ..Identity::anonymous(Scopes::parse(scopes)) }
    }

    fn check(scopes: &str, role: Option<&str>, access: Access, resource_type: ResourceType, expected: &str) {
        let told = match permission(&identity(scopes, role), access, resource_type) {
            Permission::Denied => "-".to_owned(),
            Permission::All => "*".to_owned(),
            Permission::Where(all) => {
                let one = |it: &Constraint| it.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
                all.iter().map(one).collect::<Vec<_>>().join(" | ")
            }
        };
        assert_eq!(told, expected, "{scopes} {role:?} {access} {resource_type}");
    }

    #[test]
    fn scopes_and_rules_decide_together() {
        use ResourceType as T;
        check("", None, Access::READ, T::Practitioner, "-");
        check("system/*.rs", None, Access::READ, T::Practitioner, "*");
        check("system/*.rs", None, Access::UPDATE, T::Practitioner, "-");
        check("system/*.r", None, Access::SEARCH, T::Practitioner, "-");
        check("system/Practitioner.cud", None, Access::DELETE, T::Practitioner, "*");
        check("system/Practitioner.cud", None, Access::DELETE, T::Location, "-");
        check("system/Location.r?status=active system/Location.r", None, Access::READ, T::Location, "*");
        check(
            "system/Location.r?status=active system/Location.r?name=x&type=y",
            None,
            Access::READ,
            T::Location,
            "status=active | name=x&type=y",
        );
        // A user's app changes what is the user's, whatever its scopes.
        check("user/*.cruds", Some("admin"), Access::DELETE, T::Location, "*");
        check("user/*.cruds", Some("Practitioner/1"), Access::UPDATE, T::Practitioner, "_id=1");
        check("user/*.cruds", Some("Practitioner/1"), Access::CREATE, T::Practitioner, "-");
        check("user/*.cruds", Some("Practitioner/1"), Access::READ, T::Practitioner, "*");
        check(
            "user/*.cruds",
            Some("Practitioner/1"),
            Access::DELETE,
            T::PractitionerRole,
            "practitioner=Practitioner/1",
        );
        check("user/*.cruds", Some("Practitioner/1"), Access::READ, T::Task, "-");
        check(
            "user/PractitionerRole.u?active=true",
            Some("Practitioner/1"),
            Access::UPDATE,
            T::PractitionerRole,
            "active=true&practitioner=Practitioner/1",
        );
        let parts = "_id=9 | partof=Organization/9";
        check("user/*.cruds", Some("Organization/9"), Access::UPDATE, T::Organization, parts);
        check("user/*.cruds", Some("Organization/9"), Access::CREATE, T::Organization, "partof=Organization/9");
        check("user/*.cruds", Some("member"), Access::UPDATE, T::Practitioner, "-");
        check("user/*.cruds", None, Access::UPDATE, T::Practitioner, "-");
        check("user/*.rs", Some("member"), Access::READ, T::Practitioner, "*");
        // Nobody is in context.
        check("patient/*.rs", None, Access::READ, T::Practitioner, "-");
    }

    #[test]
    fn a_subscription_is_its_subscribers() {
        let subscription = ResourceType::Subscription;
        let own = format!("_source={}", identity("", None).urn());
        check("system/*.cruds", None, Access::READ, subscription, &own);
        check("system/Subscription.u?status=off", None, Access::UPDATE, subscription, &format!("status=off&{own}"));
        check("system/*.rs api/delivery.read", None, Access::READ, subscription, "*");
        check("system/*.cruds api/delivery.read", None, Access::DELETE, subscription, &own);
        check("system/*.cruds api/delivery.write", None, Access::DELETE, subscription, "*");
        check("user/*.cruds", Some("admin"), Access::DELETE, subscription, "*");
        let anonymous = Identity::anonymous(Scopes::parse("system/*.cruds"));
        assert_eq!(permission(&anonymous, Access::READ, subscription), Permission::All);
    }

    #[test]
    fn the_audit_is_read_by_name_and_never_written() {
        let audit = ResourceType::AuditEvent;
        check("system/*.cruds", None, Access::READ, audit, "-");
        check("system/AuditEvent.rs", None, Access::SEARCH, audit, "*");
        check("system/AuditEvent.cruds", None, Access::UPDATE, audit, "-");
        check("user/AuditEvent.rs", Some("Practitioner/1"), Access::READ, audit, "-");
        check("user/AuditEvent.rs", Some("admin"), Access::READ, audit, "*");
        let operator = Identity { kind: Kind::Operator, ..identity("", None) };
        assert_eq!(permission(&operator, Access::DELETE, audit), Permission::Denied);
    }
}
