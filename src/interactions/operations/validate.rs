//! `$validate` (R4 resource-operation-validate): all that a write of the resource would be told, and warnings too, without
//! writing it.

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::config::References;
use crate::fhir::definitions::definitions;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode, operation_outcome};
use crate::fhir::resource::{self, excerpt};
use crate::fhir::types::{ResourceType, is_id};
use crate::interactions::access::{self, Sight};
use crate::interactions::answer::Answer;
use crate::interactions::bundle::type_named;
use crate::interactions::read;
use crate::interactions::targets;
use crate::interactions::write::{check_deletes, check_references, stored, unusable};
use crate::search::value::Target;
use crate::store::conn::Conn;
use crate::store::resources;
use crate::validate::{Enforce, NotLoaded, ProfileId, Verdict};

use super::arguments::{Arguments, Declared, Sent, Shape};
use super::{bad, text};

const DECLARED: [Declared; 3] =
    [Declared { name: "resource", shape: Shape::AnyResource, repeats: false }, text("mode"), text("profile")];

/// What the resource is to be good for (resource-validation-mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Content,
    Create,
    Update,
    Delete,
}

/// What a resource is compared with.
#[derive(Clone, Copy)]
struct Against {
    enforce: Enforce,
    /// The one that the client names.
    profile: Option<ProfileId>,
}

/// Validates what is sent or, for an instance, what is stored.
///
/// # Errors
/// 400 for parameters that do not fit together, 404 for an unknown type, instance or profile. A resource that is not valid
/// is no error: the answer is 200 with its issues.
pub async fn validate(
    app: &App,
    caller: &Caller,
    type_name: &str,
    id: Option<&str>,
    sent: Sent,
) -> Result<Answer, FhirError> {
    let resource_type = ResourceType::parse(type_name);
    if resource_type.is_none() && definitions().resource(type_name).is_none() {
        type_named(type_name)?;
    }
    if let (Some(resource_type), Some(_)) = (resource_type, id) {
        access::require(app, caller, Access::READ, resource_type)?;
    }
    let mut arguments = Arguments::read(&DECLARED, sent)?;
    let mode = match arguments.text("mode").as_deref() {
        None => Mode::Content,
        Some("create") => Mode::Create,
        Some("update") => Mode::Update,
        Some("delete") => Mode::Delete,
        // What is stored, against the profile that is named: two parameters say so without it.
        Some("profile") if id.is_some() && arguments.text("profile").is_some() => Mode::Content,
        Some("profile") => {
            return Err(bad("The mode profile is for a stored resource, Type/id/$validate, and a profile.", "mode"));
        }
        Some(other) => {
            return Err(bad(format!("A mode is create, update, delete or profile, not '{}'.", excerpt(other)), "mode"));
        }
    };
    // Who names a profile asks about that one, not about the one that a write would be held to.
    let against = match arguments.text("profile") {
        Some(url) => Against { enforce: Enforce::Base, profile: profile(app, type_name, &url)? },
        None => Against { enforce: app.settings.validation.enforce, profile: None },
    };
    let sent = arguments.value("resource");
    let target = match (resource_type, id) {
        (Some(resource_type), Some(id)) if is_id(id) => Some(Target { resource_type, id: id.to_owned() }),
        (_, Some(id)) => {
            return Err(FhirError::new(Kind::NotFound, format!("{type_name}/{} is not here.", excerpt(id))));
        }
        (_, None) => None,
    };
    let issues = match (mode, target, sent) {
        (Mode::Delete, Some(target), _) => deletable(app, caller, target).await?,
        (Mode::Delete, None, _) => {
            return Err(bad("What would be deleted is named by the URL: Type/id/$validate.", "mode"));
        }
        (_, Some(target), None) => {
            let stored_body = read::read(app, caller, target.resource_type, &target.id).await?.body;
            judge(app, caller, &stored(&stored_body)?, against).await?
        }
        (_, None, None) => {
            let sentence = "There is no resource to validate: send it as the body, or as the parameter resource.";
            let issue = Issue::error(IssueCode::Required, sentence).at("http.resource");
            return Err(FhirError::with_issue(Kind::Malformed, issue));
        }
        (mode, target, Some(body)) => {
            let named = resource::type_name(&body)?;
            if named != type_name {
                let sentence = format!("The body is of type {}, but the URL names {type_name}.", excerpt(named));
                return Err(FhirError::malformed(sentence).at("resourceType"));
            }
            let mut issues = judge(app, caller, &body, against).await?;
            issues.extend(unfit(mode, target.as_ref(), &body));
            issues
        }
    };
    Ok(Answer::new(200, operation_outcome(&issues).to_string()))
}

/// The profile that the client names. The definition of the type is none: what it says holds anyway.
fn profile(app: &App, type_name: &str, url: &str) -> Result<Option<ProfileId>, FhirError> {
    let defined = url.split('|').next().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
    let found = app.validator.profile_named(url);
    if matches!(found, Ok(None)) && ![type_name, "DomainResource", "Resource"].contains(&defined) {
        return Err(bad(format!("{} is the definition of another type than {type_name}.", excerpt(url)), "profile"));
    }
    found.map_err(|reason| {
        let hint = match reason {
            NotLoaded::Profile => "An operator adds the package it is in with `plumbline package add`.".to_owned(),
            NotLoaded::Version(loaded) => format!("It has {loaded}."),
        };
        let sentence = format!("The profile '{}' is not loaded on this server. {hint}", excerpt(url));
        FhirError::new(Kind::NotFound, sentence).at("http.profile")
    })
}

/// What is wrong with a resource, by itself and with regard to what is stored; the profiles it was held to come last.
async fn judge(app: &App, caller: &Caller, body: &Value, against: Against) -> Result<Vec<Issue>, FhirError> {
    let Against { enforce, profile } = against;
    let Verdict { mut issues, mut targets, held } = app.validator.validate(body, enforce, profile.as_slice());
    issues.extend(unusable(body));
    targets.retain(|target| app.validator.is_ambiguous(&target.profiles));
    let resource_type = body.get("resourceType").and_then(Value::as_str).and_then(ResourceType::parse);
    let is_sound = !issues.iter().any(Issue::is_error);
    let found = app
        .store
        .read(async |conn: &mut Conn| {
            // What is stored is told of those resources alone that the caller may read.
            let is_read = |target: &Target| {
                matches!(access::sight(app, caller, Access::READ, target.resource_type), Sight::Everything)
            };
            let wanted = targets.iter().filter_map(|it| Some((it, app.extractor().resolve(&it.reference)?)));
            let wanted = wanted.filter(|(_, target)| is_read(target));
            let mut found: Vec<Issue> =
                targets::of_another_kind(app, conn, wanted).await?.into_iter().flatten().collect();
            if let Some(resource_type) = resource_type
                && is_sound
                && app.settings.store.references == References::Enforce
            {
                let entries = app.extractor().entries(resource_type, body);
                let id = body.get("id").and_then(Value::as_str).unwrap_or("(new)").to_owned();
                let from = Target { resource_type, id };
                let mentioned = entries.references.into_iter().filter(|reference| is_read(&reference.target));
                let mentioned = mentioned.map(|reference| (from.clone(), reference.target)).collect();
                found.extend(
                    check_references(conn, mentioned).await.err().map(|error| error.issues).into_iter().flatten(),
                );
            }
            Ok::<_, FhirError>(found)
        })
        .await?;
    issues.extend(found);
    for profile in held.iter().filter_map(|id| app.validator.profiles().get(*id)) {
        let version = profile.version.as_deref().map(|version| format!("|{version}")).unwrap_or_default();
        let sentence = format!("Held to {}{version}", profile.url);
        issues.push(Issue::information(IssueCode::Informational, sentence));
    }
    Ok(issues)
}

/// What keeps a resource from being created or updated as it is.
fn unfit(mode: Mode, target: Option<&Target>, body: &Value) -> Option<Issue> {
    let id = body.get("id").and_then(Value::as_str);
    let place = || format!("{}.id", body.get("resourceType").and_then(Value::as_str).unwrap_or("Resource"));
    match (mode, target, id) {
        (Mode::Create, Some(target), _) => {
            let sentence = format!("A create is sent to {}, without an id", target.resource_type);
            Some(Issue::error(IssueCode::BusinessRule, sentence).at(place()))
        }
        (Mode::Update, _, None) => Some(Issue::error(IssueCode::Required, "An update has an id").at(place())),
        (Mode::Update, Some(target), Some(id)) if id != target.id => {
            let sentence = format!("The id is '{}', but the URL names {}", excerpt(id), target.id);
            Some(Issue::error(IssueCode::Value, sentence).at(place()))
        }
        _ => None,
    }
}

/// What keeps a resource from being deleted.
async fn deletable(app: &App, caller: &Caller, target: Target) -> Result<Vec<Issue>, FhirError> {
    access::require(app, caller, Access::DELETE, target.resource_type)?;
    app.store
        .read(async |conn: &mut Conn| {
            read::read_in(app, caller, conn, target.resource_type, &target.id).await?;
            if app.settings.store.references != References::Enforce {
                return Ok(Vec::new());
            }
            let current = resources::get(conn, target.resource_type, &target.id).await?;
            let deleted: Vec<_> = current.map(|current| (current.rid, target.clone())).into_iter().collect();
            Ok(check_deletes(app, caller, conn, &deleted).await.err().map(|error| error.issues).unwrap_or_default())
        })
        .await
}
