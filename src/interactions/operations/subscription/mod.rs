//! What subscribers ask about their Subscriptions (Backport 1.1.0): how they are, what happened, and a token for a WebSocket.

pub mod binding;
pub mod events;
pub mod status;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::FhirError;
use crate::fhir::outcome::{Issue, IssueCode, operation_outcome};
use crate::fhir::resource::excerpt;
use crate::fhir::types::{ResourceType, is_id};
use crate::interactions::access;
use crate::interactions::answer::Answer;
use crate::interactions::subscription::NAME;
use crate::interactions::write::stored;
use crate::search::parse::{self, Handling};
use crate::store::View;
use crate::store::conn::Conn;
use crate::store::lanes::{self, Lane};
use crate::store::page;
use crate::subscriptions::notification::Stamp;

use super::arguments::{Arguments, Declared, Shape};
use super::{Offered, bad};

/// Subscriptions that one answer tells of.
const TOLD_MAX: usize = 1_000;

const ID: Declared = Declared { name: "id", shape: Shape::Text, repeats: true };

/// The operations of this type.
pub const OFFERED: [Offered; 3] = [
    Offered {
        resource_type: "Subscription",
        name: "status",
        definition: "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status",
    },
    Offered {
        resource_type: "Subscription",
        name: "events",
        definition: "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-events",
    },
    Offered {
        resource_type: "Subscription",
        name: "get-ws-binding-token",
        definition: "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-get-ws-binding-token",
    },
];

/// A Subscription as it is stored.
struct Told {
    id: String,
    body: Value,
}

fn stamp(app: &App) -> Stamp {
    Stamp { bundle: Uuid::new_v4(), status: Uuid::new_v4(), now: app.now() }
}

/// The ids that are asked for.
///
/// # Errors
/// 400 for what is none.
fn ids(arguments: &Arguments) -> Result<Vec<&str>, FhirError> {
    let wrong = |id: &str| bad(format!("'{}' is no id: 1 to 64 letters, digits, '-' and '.'.", excerpt(id)), "id");
    arguments.texts("id").map(|id| if is_id(id) { Ok(id) } else { Err(wrong(id)) }).collect()
}

/// The Subscriptions that a caller may see and that meet search parameters, in order of their ids; true when there are more.
///
/// # Errors
/// 401 and 403 when the caller may search none; the store's.
async fn visible(app: &App, caller: &Caller, pairs: &[(String, String)]) -> Result<(Vec<Told>, bool), FhirError> {
    let sort = ("_sort".to_owned(), "_id".to_owned());
    let pairs: Vec<(String, String)> = pairs.iter().cloned().chain([sort]).collect();
    let types = [ResourceType::Subscription];
    let mut query = parse::parse(&types, &pairs, app.search_context(Handling::Strict))?;
    for part in &mut query.types {
        access::narrow(app, caller, &[Access::SEARCH], part)?;
    }
    let limit = i64::try_from(TOLD_MAX).unwrap_or(i64::MAX - 1) + 1;
    let find = async move |conn: &mut Conn| page::page(conn, &query.types, None, limit).await;
    let mut found = app.store.search(View::Current, find).await?;
    let has_more = found.len() > TOLD_MAX;
    found.truncate(TOLD_MAX);
    let told = found.into_iter().map(|found| Ok(Told { id: found.id, body: stored(&found.body)? }));
    Ok((told.collect::<Result<_, FhirError>>()?, has_more))
}

/// The lane of a Subscription; `None` when it has none yet.
async fn lane_of(app: &App, id: &str) -> Result<Option<Lane>, FhirError> {
    let name = format!("{NAME}{id}");
    Ok(app.store.read(async |conn: &mut Conn| lanes::named(conn, &name).await).await?)
}

/// A searchset of these, with a warning when there are more than that.
fn searchset(stamp: Stamp, url: &str, matches: Vec<(String, Value)>, has_more: bool) -> Answer {
    let found = |(full_url, resource)| json!({"fullUrl": full_url, "resource": resource, "search": {"mode": "match"}});
    let count = matches.len();
    let mut entries: Vec<Value> = matches.into_iter().map(found).collect();
    let mut bundle = json!({
        "resourceType": "Bundle",
        "id": stamp.bundle.to_string(),
        "type": "searchset",
        "timestamp": stamp.now.to_fhir(),
        "link": [{"relation": "self", "url": url}],
    });
    if has_more {
        let sentence = format!("There are more than {TOLD_MAX}; ask for the others by their ids.");
        let warning = operation_outcome(&[Issue::warning(IssueCode::Incomplete, sentence)]);
        entries.push(json!({"resource": warning, "search": {"mode": "outcome"}}));
    }
    if let Some(bundle) = bundle.as_object_mut() {
        if !has_more {
            bundle.insert("total".into(), count.into());
        }
        // An empty list is no JSON of FHIR.
        if !entries.is_empty() {
            bundle.insert("entry".into(), entries.into());
        }
    }
    Answer::new(200, bundle.to_string())
}
