//! batch (R4 http.html#batch): every entry by itself, whatever becomes of the others.

use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::Value;

use crate::app::App;
use crate::fhir::error::FhirError;
use crate::search::parse::Handling;

use super::answer::Answer;
use super::bundle::{self, Call, Entry, Get, What};
use super::{capability, create, delete, history, patch, read, search, update};

/// Entries that are under way at once, so that their writes are committed together.
const ENTRIES_AT_ONCE: usize = 32;

/// Does what the entries say, each by itself: 200 with a response for each, in their order.
///
/// # Errors
/// 400 when the Bundle itself cannot be read.
pub async fn batch(app: &Arc<App>, mut bundle: Value, base: &str, with_resources: bool) -> Result<Answer, FhirError> {
    let entries = bundle::entries(app, &mut bundle)?;
    let answers = futures_util::stream::iter(entries.into_iter().enumerate())
        .map(async |(n, entry)| {
            let done = match entry {
                Ok(Entry { call, .. }) => {
                    let is_get = matches!(&call, Call::Get(get) if !get.is_head);
                    run(app, call, base)
                        .await
                        .and_then(|answer| bundle::response_entry(base, &answer, is_get || with_resources))
                }
                Err(error) => Err(error),
            };
            done.unwrap_or_else(|error| bundle::refusal_entry(&bundle::within(error, n)))
        })
        .buffered(ENTRIES_AT_ONCE)
        .collect::<Vec<Value>>()
        .await;
    Ok(bundle::response_bundle("batch-response", base, answers))
}

async fn run(app: &Arc<App>, call: Call, base: &str) -> Result<Answer, FhirError> {
    match call {
        Call::Create { resource_type, body, condition } => {
            create::create(app, resource_type, Arc::unwrap_or_clone(body), condition).await
        }
        Call::Update { resource_type, id, body, expected } => {
            update::update(app, resource_type, &id, Arc::unwrap_or_clone(body), expected).await
        }
        Call::UpdateWhere { resource_type, condition, body, expected } => {
            update::update_where(app, resource_type, condition, Arc::unwrap_or_clone(body), expected).await
        }
        Call::Patch { resource_type, id, document, expected } => {
            patch::patch(app, resource_type, &id, &document, expected).await
        }
        Call::PatchWhere { resource_type, condition, document, expected } => {
            patch::patch_where(app, resource_type, condition, document, expected).await
        }
        Call::Delete { resource_type, id, expected } => delete::delete(app, resource_type, &id, expected).await,
        Call::DeleteWhere { resource_type, condition, expected } => {
            delete::delete_where(app, resource_type, condition, expected).await
        }
        Call::Get(get) => run_get(app, get, base).await,
    }
}

async fn run_get(app: &Arc<App>, get: Get, base: &str) -> Result<Answer, FhirError> {
    let answer = match get.what {
        What::Read(resource_type, id) => Answer::stored(resource_type, &id, read::read(app, resource_type, &id).await?),
        What::Version(resource_type, id, version) => {
            Answer::stored(resource_type, &id, read::vread(app, resource_type, &id, &version).await?)
        }
        What::History(whose, pairs) => history::history(app, whose, &pairs, base).await?,
        What::Search(types, path, pairs) => {
            let request = search::Request { types, path, pairs, handling: Handling::Default, base: base.to_owned() };
            search::search(app, request).await?
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
