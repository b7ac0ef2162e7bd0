//! The one door: every change to the directory passes here. A new version, its index entries and its place in the log
//! become durable in one transaction, or nothing does.
//!
//! What can be known from the resource alone is done by [`prepare`] before a connection is taken: structure, index
//! entries. What depends on what is stored is done by [`put_all`] inside the transaction.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::config::References;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::{self, Unstamped};
use crate::fhir::subset;
use crate::fhir::types::{Instant, ResourceType};
use crate::search::include::references;
use crate::search::value::{IndexEntries, ReferenceEntry, Target};
use crate::store::change::{self, Change, Kind as ChangeKind};
use crate::store::conn::Conn;
use crate::store::resources::{self, Current};
use crate::validate::{self, Verdict};

use super::access::{self, Gate, Sight};
use super::audit::{self, Done};
use super::expected::Expected;
use super::{subscription, targets};

/// Referrers that are named when a delete is refused.
const REFERRERS_SHOWN: i64 = 5;

/// A resource that is ready to be stored.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub body: Arc<Value>,
    pub text: Unstamped,
    pub entries: IndexEntries,
    /// What it refers to and the store has to be asked about.
    pub targets: Vec<validate::Target>,
}

/// One write to one resource whose id is known.
#[derive(Clone, Debug)]
pub struct Put {
    pub target: Target,
    /// `None`: delete. Shared, since a unit of work that is repeated needs it again.
    pub resource: Option<Arc<Prepared>>,
    /// What the client believes to be stored.
    pub expected: Option<Expected>,
    /// By POST: the id is new and the history says so.
    pub is_create: bool,
}

impl Put {
    /// What the caller must be allowed to do.
    fn access(&self) -> Access {
        match (&self.resource, self.is_create) {
            (None, _) => Access::DELETE,
            (Some(_), true) => Access::CREATE,
            (Some(_), false) => Access::UPDATE,
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Updated,
    /// The content was there already: no new version.
    Unchanged,
    Deleted,
    /// There was nothing to delete.
    WasGone,
}

#[derive(Clone, Debug)]
pub struct Written {
    pub target: Target,
    pub outcome: Outcome,
    /// 0 when there is and was nothing.
    pub version: i64,
    pub last_updated: Instant,
    /// The JSON as stored; `None` after a delete.
    pub body: Option<String>,
}

/// Checks a resource and finds its index entries.
///
/// # Errors
/// 401 and 403 when the caller may do `what` to no resource of the type; 400 when `resourceType` is not `resource_type`; 422
/// with everything that is wrong with it.
pub fn prepare(
    app: &App,
    caller: &Caller,
    what: Access,
    resource_type: ResourceType,
    body: impl Into<Arc<Value>>,
) -> Result<Arc<Prepared>, FhirError> {
    access::require(app, caller, what, resource_type)?;
    let mut body = body.into();
    let named = resource::type_name(&body)?;
    if named != resource_type.as_str() {
        return Err(FhirError::with_issue(
            Kind::Malformed,
            Issue::error(
                IssueCode::Invalid,
                format!("The body is of type {}, but the URL names {resource_type}.", resource::excerpt(named)),
            )
            .at("resourceType"),
        ));
    }
    let mut refused = Vec::new();
    if resource_type == ResourceType::Subscription {
        refused = subscription::admit(app, caller, Arc::make_mut(&mut body))?;
    }
    let Verdict { mut issues, mut targets, .. } = app.validator.errors(&body, app.settings.validation.enforce);
    issues.extend(refused);
    issues.extend(unusable(&body));
    if issues.iter().any(Issue::is_error) {
        return Err(FhirError::with_issues(Kind::Invalid, issues));
    }
    let entries = app.extractor().entries(resource_type, &body);
    let text = Unstamped::new(&body);
    targets.retain(|target| app.validator.is_ambiguous(&target.profiles));
    Ok(Arc::new(Prepared { body, text, entries, targets }))
}

/// What keeps a valid resource from being stored, whatever the profiles say.
pub(super) fn unusable(body: &Value) -> Option<Issue> {
    subset::is_subset(body).then(|| {
        let sentence = "The resource is tagged SUBSETTED: it is only a part, and would take the place of the whole.";
        Issue::error(IssueCode::BusinessRule, sentence).at("meta.tag")
    })
}

/// Stores `puts` in one transaction.
///
/// # Errors
/// The first refusal of [`put_all`]; nothing is stored then.
pub async fn write(app: &Arc<App>, caller: &Caller, puts: Vec<Put>) -> Result<Vec<Written>, FhirError> {
    let (door, caller) = (Arc::clone(app), caller.clone());
    app.store.write(async move |conn: &mut Conn| put_all(&door, &caller, conn, &puts).await).await
}

/// Stores one resource in one transaction.
///
/// # Errors
/// As [`write()`].
pub async fn write_one(app: &Arc<App>, caller: &Caller, put: Put) -> Result<Written, FhirError> {
    let written = write(app, caller, vec![put]).await?;
    written.into_iter().next().ok_or_else(nothing_written)
}

/// What cannot happen: a write that succeeded without writing.
pub(super) fn nothing_written() -> FhirError {
    FhirError::new(Kind::Internal, "Internal error.")
}

/// Stores `puts` in the transaction at hand, in order; a resource may come more than once.
///
/// # Errors
/// 412 when something else is stored than the client expects; 409 when a delete would leave references dangling, 422 when a
/// write has dangling ones (setting `store.references`), or refers to what is not of the kind that its profile asks for.
pub async fn put_all(app: &App, caller: &Caller, conn: &mut Conn, puts: &[Put]) -> Result<Vec<Written>, FhirError> {
    let written = put_each(app, caller, conn, puts, app.settings.store.references, false).await?;
    subscription::keep_owners(conn, caller, puts).await?;
    targets::check(app, conn, puts).await?;
    Ok(written)
}

/// The same for what is taken back again: a trial, whose references may dangle.
///
/// # Errors
/// 412 when something else is stored than the client expects.
pub(super) async fn try_all(app: &App, caller: &Caller, conn: &mut Conn, puts: &[Put]) -> Result<(), FhirError> {
    put_each(app, caller, conn, puts, References::Off, true).await.map(drop)
}

/// How many there are before a resource comes again.
pub fn distinct(puts: &[Put]) -> usize {
    let mut names = HashSet::with_capacity(puts.len());
    puts.iter().take_while(|put| names.insert(&put.target)).count()
}

async fn put_each(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    puts: &[Put],
    integrity: References,
    is_trial: bool,
) -> Result<Vec<Written>, FhirError> {
    let gate = Gate::new(app, caller, is_trial);
    let mut written = Vec::with_capacity(puts.len());
    let mut done = Vec::new();
    let mut rest = puts;
    while !rest.is_empty() {
        // Those are read, decided and written together.
        let (batch, later) = rest.split_at(distinct(rest));
        rest = later;
        let (some, mut changes) = decide_batch(app, &gate, conn, batch).await?;
        written.extend(some);
        done.extend(changes.iter().map(|change| Done {
            target: change.target.clone(),
            version: change.version,
            kind: change.kind,
        }));
        // The record goes along with the last of what it is about.
        if rest.is_empty() && !is_trial && !done.is_empty() {
            changes.extend(audit::of_writes(app, caller, &done));
        }
        apply(app, caller, conn, changes, integrity).await?;
    }
    Ok(written)
}

async fn decide_batch(
    app: &App,
    gate: &Gate<'_>,
    conn: &mut Conn,
    puts: &[Put],
) -> Result<(Vec<Written>, Vec<Change>), FhirError> {
    let at = app.now();
    // An id that the server has just made up is nobody else's: there is nothing to look for.
    let known: Vec<Target> = puts.iter().filter(|put| !put.is_create).map(|put| put.target.clone()).collect();
    let found = resources::lock(conn, &known).await?;
    let mut written = Vec::with_capacity(puts.len());
    let mut changes = Vec::with_capacity(puts.len() + 1);
    for put in puts {
        let current = found.get(&put.target);
        let gone = match current.filter(|current| current.is_deleted()) {
            Some(deleted) => gate.last_seen(conn, put.access(), &put.target, deleted.version).await?,
            None => None,
        };
        let (one, change) = decide(app, gate, put, current, gone, at)?;
        written.push(one);
        changes.extend(change);
    }
    Ok((written, changes))
}

async fn apply(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    changes: Vec<Change>,
    integrity: References,
) -> Result<(), FhirError> {
    let (mut deleted, mut mentioned) = (Vec::new(), Vec::new());
    if integrity == References::Enforce {
        let gone = changes.iter().filter(|change| change.body.is_none());
        deleted.extend(gone.filter_map(|change| Some((change.rid?, change.target.clone()))));
        // The record names what was deleted, too.
        let clients = changes.iter().filter(|change| change.target.resource_type != ResourceType::AuditEvent);
        mentioned.extend(clients.flat_map(|change| {
            let to = |reference: &ReferenceEntry| (change.target.clone(), reference.target.clone());
            change.add.references.iter().map(to)
        }));
    }
    change::apply(conn, changes).await?;
    // What counts is how things are in the end: the same transaction may delete or change a referrer too.
    check_deletes(app, caller, conn, &deleted).await?;
    check_references(conn, mentioned).await
}

/// What a write comes to, given what is stored, or was until it was deleted.
fn decide(
    app: &App,
    gate: &Gate<'_>,
    put: &Put,
    current: Option<&Current>,
    gone: Option<(Instant, Value)>,
    now: Instant,
) -> Result<(Written, Option<Change>), FhirError> {
    let version = current.map_or(0, |current| current.version);
    // lastUpdated grows from version to version, even if the clock does not.
    let at =
        current.map_or(now, |current| now.max(Instant(current.last_updated.0 + i64::from(current.version > 0) * 1000)));
    let old = match current.and_then(|current| current.body.as_deref()) {
        Some(body) => Some((body, stored(body)?)),
        None => None,
    };
    // Who may not write it is not told either which version it has. That nothing is here, anybody is told.
    let expect = || put.expected.map_or(Ok(()), |expected| expected.check(&put.target, current));
    if old.is_none() {
        expect()?;
    }
    let before = current.zip(old.as_ref()).map(|(current, (_, body))| (current.last_updated, body));
    let before = before.or(gone.as_ref().map(|(at, body)| (*at, body)).filter(|_| put.resource.is_some()));
    let after = put.resource.as_ref().map(|prepared| (at, &prepared.entries));
    gate.pass(put.access(), &put.target, old.is_some(), before, after)?;
    expect()?;
    let same = |outcome| {
        let last_updated = current.map_or(now, |current| current.last_updated);
        let body = old.as_ref().map(|(text, _)| (*text).to_owned());
        Written { target: put.target.clone(), outcome, version, last_updated, body }
    };
    let (outcome, kind, body, entries) = match &put.resource {
        None if old.is_none() => return Ok((same(Outcome::WasGone), None)),
        None => (Outcome::Deleted, ChangeKind::Delete, None, IndexEntries::default()),
        Some(prepared) => {
            if let Some((_, old)) = &old
                && resource::same_content(old, &prepared.body)
            {
                return Ok((same(Outcome::Unchanged), None));
            }
            let body = prepared.text.stamped(&put.target.id, version + 1, at);
            let outcome = if old.is_some() { Outcome::Updated } else { Outcome::Created };
            let kind = match (put.is_create, outcome) {
                (true, _) => ChangeKind::Create,
                (false, Outcome::Created) => ChangeKind::UpdateAsCreate,
                (false, _) => ChangeKind::Update,
            };
            (outcome, kind, Some(body), prepared.entries.clone())
        }
    };
    let before =
        old.as_ref().map(|(_, old)| app.extractor().entries(put.target.resource_type, old)).unwrap_or_default();
    let change = Change {
        rid: current.map(|current| current.rid),
        version: version + 1,
        at,
        kind,
        body: body.clone(),
        replaced: old.as_ref().map(|(text, _)| (version, (*text).to_owned())),
        add: entries.clone().minus(&before),
        remove: before.minus(&entries),
        target: put.target.clone(),
    };
    Ok((Written { target: put.target.clone(), outcome, version: version + 1, last_updated: at, body }, Some(change)))
}

/// The JSON of a stored body.
///
/// # Errors
/// 500 when it cannot be read: the database was changed from outside.
pub fn stored(body: &str) -> Result<Value, FhirError> {
    serde_json::from_str(body).map_err(|error| FhirError::new(Kind::Internal, "Internal error.").caused_by(error))
}

/// # Errors
/// 409 with what still refers to something that is deleted, as far as the caller may read it.
pub(super) async fn check_deletes(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    deleted: &[(i64, Target)],
) -> Result<(), FhirError> {
    for (rid, Target { resource_type, id }) in deleted {
        let params: Vec<i32> = ResourceType::ALL
            .iter()
            .filter(|source| **source != ResourceType::AuditEvent)
            .flat_map(|source| references(*source))
            .filter(|param| param.target_types().contains(resource_type))
            .map(|param| param.id)
            .collect();
        let referrers = resources::referrers(conn, *rid, &params, REFERRERS_SHOWN).await?;
        if !referrers.is_empty() {
            let is_seen = |name: &String| {
                let referrer = name.split('/').next().and_then(ResourceType::parse);
                referrer.is_some_and(|it| matches!(access::sight(app, caller, Access::READ, it), Sight::Everything))
            };
            let mut named: Vec<String> = referrers.iter().filter(|name| is_seen(name)).cloned().collect();
            if named.len() < referrers.len() {
                named.push("others".into());
            }
            let sentence =
                format!("{resource_type}/{id} is referred to by {}; change or delete those first.", named.join(", "));
            return Err(FhirError::new(Kind::Conflict, sentence));
        }
    }
    Ok(())
}

/// # Errors
/// 422 with each reference to what is not here; `mentioned` says what refers to what.
pub(super) async fn check_references(conn: &mut Conn, mentioned: Vec<(Target, Target)>) -> Result<(), FhirError> {
    let targets: Vec<Target> = mentioned.iter().map(|(_, target)| target.clone()).collect();
    let missing: HashSet<Target> = resources::missing(conn, &targets).await?.into_iter().collect();
    let issue = |(from, to): &(Target, Target)| {
        let to = format!("{}/{}", to.resource_type, to.id);
        // The name is what a transaction finds the entry by.
        let sentence = format!("{}/{} refers to {to}, which does not exist here.", from.resource_type, from.id);
        let place = format!("{}.descendants().where(reference = '{to}')", from.resource_type);
        Issue::error(IssueCode::NotFound, sentence).at(place)
    };
    let issues: Vec<Issue> = mentioned.iter().filter(|(_, target)| missing.contains(target)).map(issue).collect();
    if issues.is_empty() { Ok(()) } else { Err(FhirError::with_issues(Kind::Invalid, issues)) }
}
