//! batch (R4 http.html#batch): every entry by itself, whatever becomes of the others.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::search::parse::Handling;
use crate::search::value::Target;

use super::answer::Answer;
use super::audit::{self, Refused};
use super::bundle::{self, Call, Entry, Get, Readable, Unread, What};
use super::history::Whose;
use super::{capability, create, delete, history, patch, read, search, update};

/// Entries that are under way at once, so that their writes are committed together.
const ENTRIES_AT_ONCE: usize = 32;
/// How long a batch may take, and how much it may answer; what comes after is refused.
const TIME_MAX: Duration = Duration::from_secs(60);
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Does what the entries say, each by itself: 200 with a response for each, in their order.
///
/// # Errors
/// 400 when the Bundle itself cannot be read.
pub async fn batch(
    app: &Arc<App>,
    caller: &Caller,
    mut bundle: Value,
    base: &str,
    with_resources: bool,
) -> Result<Answer, FhirError> {
    let until = Instant::now() + TIME_MAX;
    let mut room = ANSWER_BYTES_MAX;
    let mut answers: Vec<Vec<u8>> = Vec::new();
    let refused = RefCell::new(Vec::new());
    for stretch in stretches(bundle::entries(app, caller, &mut bundle)?) {
        let mut under_way = futures_util::stream::iter(stretch)
            .map(async |(n, entry)| match entry {
                Ok(Entry { call, .. }) => {
                    // Others who are served by this thread get their turn between two entries.
                    tokio::task::yield_now().await;
                    let is_get = matches!(&call, Call::Get(get) if !get.is_head);
                    let (method, path) = call.line();
                    let answer = run_until(app, caller, call, base, until).await;
                    if let Err(error) = &answer {
                        note(&refused, method, &path, error);
                    }
                    (n, is_get, answer.map(|it| bundle::response_entry(base, &it, is_get || with_resources)))
                }
                Err(unread) => {
                    let Unread { method, path, error } = *unread;
                    note(&refused, &method, &path, &error);
                    (n, false, Err(error))
                }
            })
            .buffered(ENTRIES_AT_ONCE);
        while let Some((n, is_get, answer)) = under_way.next().await {
            let fitting = answer.and_then(|answer| fit(answer, &mut room, is_get));
            answers.push(fitting.unwrap_or_else(|error| bundle::refusal_entry(&bundle::within(error, n))));
        }
    }
    audit::record_refusals(app, caller, refused.into_inner()).await;
    Ok(bundle::response_bundle("batch-response", base, &answers))
}

/// Keeps a refusal that is to be recorded.
fn note(refused: &RefCell<Vec<Refused>>, method: &str, path: &str, error: &FhirError) {
    if audit::is_for_lack_of_rights(error) {
        refused.borrow_mut().push(Refused::new(method, path, error.kind.status()));
    }
}

/// Takes room for an entry of the answer. What was written is told in any case.
fn fit(entry: Vec<u8>, room: &mut usize, is_get: bool) -> Result<Vec<u8>, FhirError> {
    match room.checked_sub(entry.len()) {
        None if is_get => Err(too_much()),
        left => {
            *room = left.unwrap_or(0);
            Ok(entry)
        }
    }
}

/// The refusal of more than one answer holds.
pub(super) fn too_much() -> FhirError {
    let sentence = format!("A Bundle is answered with at most {ANSWER_BYTES_MAX} bytes; ask for less at once.");
    FhirError::new(Kind::TooLarge, sentence).code(IssueCode::TooCostly)
}

/// The entries with their numbers, cut where one names a resource that an entry before it names too: those are done one
/// after the other. R4 asks no client to rely on that, but a client that does gets what it means.
fn stretches(entries: Vec<Readable>) -> Vec<Vec<(usize, Readable)>> {
    let mut stretches = vec![Vec::new()];
    let mut named = HashSet::new();
    for (n, entry) in entries.into_iter().enumerate() {
        if let Some(name) = entry.as_ref().ok().and_then(|entry| resource_named(&entry.call))
            && !named.insert(name.clone())
        {
            named.clear();
            named.insert(name);
            stretches.push(Vec::new());
        }
        if let Some(last) = stretches.last_mut() {
            last.push((n, entry));
        }
    }
    stretches
}

fn resource_named(call: &Call) -> Option<Target> {
    let (resource_type, id) = match call {
        Call::Update { resource_type, id, .. }
        | Call::Patch { resource_type, id, .. }
        | Call::Delete { resource_type, id, .. }
        | Call::Get(Get { what: What::Read(resource_type, id) | What::Version(resource_type, id, _), .. })
        | Call::Get(Get { what: What::History(Whose::Resource(resource_type, id), _), .. }) => (resource_type, id),
        _ => return None,
    };
    Some(Target { resource_type: *resource_type, id: id.clone() })
}

async fn run_until(
    app: &Arc<App>,
    caller: &Caller,
    call: Call,
    base: &str,
    until: Instant,
) -> Result<Answer, FhirError> {
    if Instant::now() >= until {
        let sentence =
            format!("The batch took longer than {} seconds before it came to this entry.", TIME_MAX.as_secs());
        return Err(FhirError::new(Kind::Unavailable, sentence).code(IssueCode::Timeout));
    }
    run(app, caller, call, base).await
}

async fn run(app: &Arc<App>, caller: &Caller, call: Call, base: &str) -> Result<Answer, FhirError> {
    match call {
        Call::Create { resource_type, body, condition } => {
            create::create(app, caller, resource_type, Arc::unwrap_or_clone(body), condition).await
        }
        Call::Update { resource_type, id, body, expected } => {
            update::update(app, caller, resource_type, &id, Arc::unwrap_or_clone(body), expected).await
        }
        Call::UpdateWhere { resource_type, condition, body, expected } => {
            update::update_where(app, caller, resource_type, condition, Arc::unwrap_or_clone(body), expected).await
        }
        Call::Patch { resource_type, id, document, expected } => {
            patch::patch(app, caller, resource_type, &id, &document, expected).await
        }
        Call::PatchWhere { resource_type, condition, document, expected } => {
            patch::patch_where(app, caller, resource_type, condition, document, expected).await
        }
        Call::Delete { resource_type, id, expected } => delete::delete(app, caller, resource_type, &id, expected).await,
        Call::DeleteWhere { resource_type, condition, expected } => {
            delete::delete_where(app, caller, resource_type, condition, expected).await
        }
        Call::Get(get) => run_get(app, caller, get, base).await,
    }
}

async fn run_get(app: &Arc<App>, caller: &Caller, get: Get, base: &str) -> Result<Answer, FhirError> {
    let answer = match get.what {
        What::Read(resource_type, id) => {
            Answer::stored(resource_type, &id, read::read(app, caller, resource_type, &id).await?)
        }
        What::Version(resource_type, id, version) => {
            Answer::stored(resource_type, &id, read::vread(app, caller, resource_type, &id, &version).await?)
        }
        What::History(whose, pairs) => history::history(app, caller, whose, &pairs, base).await?,
        What::Search(types, path, pairs) => {
            let request = search::Request { types, path, pairs, handling: Handling::Default, base: base.to_owned() };
            search::search(app, caller, request).await?
        }
        What::Capability => Answer::new(200, capability::statement(base)),
    };
    Ok(unless_known(answer, get.if_none_match))
}

/// 304 when the client has this version already.
pub(super) fn unless_known(answer: Answer, if_none_match: Option<i64>) -> Answer {
    if answer.version.is_some() && answer.version == if_none_match {
        Answer { status: 304, body: None, ..answer }
    } else {
        answer
    }
}
