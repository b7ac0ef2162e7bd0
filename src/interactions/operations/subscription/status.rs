//! `$status` (Backport 1.1.0): how Subscriptions are, and how many events they have had.

use std::collections::HashMap;

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::excerpt;
use crate::fhir::types::ResourceType;
use crate::interactions::answer::Answer;
use crate::interactions::link::{self, Pages};
use crate::interactions::operations::arguments::{Arguments, Declared, Sent, Shape};
use crate::interactions::operations::bad;
use crate::interactions::read;
use crate::interactions::subscription::NAME;
use crate::interactions::write::stored;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes::{self, Lane};
use crate::store::notifications;
use crate::subscriptions::definition::{Content, Status};
use crate::subscriptions::notification::{self, ErrorCode, Failure, Head, Stamp, Type};
use crate::subscriptions::topic::topic;

use super::{ID, Told, ids, searchset, stamp, visible};

const DECLARED: [Declared; 2] = [ID, Declared { name: "status", shape: Shape::Text, repeats: true }];

/// Tells how one Subscription is. The parameters `id` and `status` are passed over: the URL says which one.
///
/// # Errors
/// 400 for a parameter that there is none of; as [`read::read`] for the Subscription.
pub async fn of_one(app: &App, caller: &Caller, id: &str, sent: Sent, base: &str) -> Result<Answer, FhirError> {
    let found = read::read(app, caller, ResourceType::Subscription, id).await?;
    let shape = link::shape(&sent.query);
    Arguments::read(&DECLARED, sent)?;
    let told = Told { id: id.to_owned(), body: stored(&found.body)? };
    let path = format!("Subscription/{id}/$status");
    let url = Pages { base, path: &path, used: &[], shape: &shape }.url(None);
    answer(app, base, &url, vec![told], false).await
}

/// Tells how all Subscriptions are that the caller may see: of these ids, with one of these status, as far as that is asked;
/// in order of their ids, at most 1,000.
///
/// # Errors
/// 400 for what is no id or status, 401 and 403 when the caller may search no Subscription.
pub async fn of_many(app: &App, caller: &Caller, sent: Sent, base: &str) -> Result<Answer, FhirError> {
    let shape = link::shape(&sent.query);
    let arguments = Arguments::read(&DECLARED, sent)?;
    let ids = ids(&arguments)?;
    let unknown = |code: &str| {
        let sentence = format!("A status is requested, active, error or off, not '{}'.", excerpt(code));
        bad(sentence, "status")
    };
    let status: Vec<&str> = arguments
        .texts("status")
        .map(|code| Status::parse(code).map(Status::as_str).ok_or_else(|| unknown(code)))
        .collect::<Result<_, _>>()?;
    let pairs = [("_id", ids.join(",")), ("status", status.join(","))];
    let pairs: Vec<(String, String)> =
        pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.into(), value)).collect();
    let (told, has_more) = visible(app, caller, &pairs).await?;
    let named = |name: &'static str, values: &[&str]| -> Vec<(String, String)> {
        values.iter().map(|value| (name.to_owned(), (*value).to_owned())).collect()
    };
    let used = [named("id", &ids), named("status", &status)].concat();
    let url = Pages { base, path: "Subscription/$status", used: &used, shape: &shape }.url(None);
    answer(app, base, &url, told, has_more).await
}

async fn answer(app: &App, base: &str, url: &str, told: Vec<Told>, has_more: bool) -> Result<Answer, FhirError> {
    let names: Vec<String> = told.iter().map(|it| format!("{NAME}{}", it.id)).collect();
    let read = async |conn: &mut Conn| {
        let mut lanes = HashMap::new();
        for lane in lanes::of_names(conn, names).await? {
            let code = error_code(conn, &lane).await?;
            lanes.insert(lane.name.clone(), (lane, code));
        }
        Ok::<_, StoreError>(lanes)
    };
    let lanes = app.store.read(read).await?;
    let whole = stamp(app);
    let one = |Told { id, body }: Told| {
        let lane = lanes.get(&format!("{NAME}{id}"));
        let stamp = Stamp { now: whole.now, ..stamp(app) };
        let status = status(&body);
        let errors = errors(&body, status, lane);
        let criteria = body.get("criteria").and_then(Value::as_str).unwrap_or_default();
        let head = Head {
            base,
            subscription_id: &id,
            topic: topic(criteria).map(|topic| topic.url.as_str()),
            status,
            // Who may see a Subscription may see what it is about, whatever it is sent.
            content: Content::IdOnly,
            errors: &errors,
            stamp,
        };
        let events = lane.map_or(0, |(lane, _)| lane.numbered);
        (format!("urn:uuid:{}", stamp.status), notification::status(&head, Type::QueryStatus, events))
    };
    Ok(searchset(whole, url, told.into_iter().map(one).collect(), has_more))
}

fn status(body: &Value) -> Status {
    body.get("status").and_then(Value::as_str).and_then(Status::parse).unwrap_or(Status::Off)
}

/// Why the last call to a recipient failed that cannot be reached; `None` when that is not what it is about.
async fn error_code(conn: &mut Conn, lane: &Lane) -> Result<Option<ErrorCode>, StoreError> {
    let is_failing = lane.failures > 0 || lane.state == lanes::State::Failed;
    let last = if is_failing { notifications::attempts(conn, lane.lane, i64::MAX, 1).await?.pop() } else { None };
    Ok(last.filter(|call| !call.is_ok).map(|call| match (call.status, call.excerpt) {
        (Some(_), _) => ErrorCode::ErrorResponse,
        // As the sentence has it that is made where calls are.
        (None, Some(why)) if why.ends_with("is not known to the DNS") => ErrorCode::DnsResolutionError,
        (None, _) => ErrorCode::NoResponse,
    }))
}

/// What is wrong: with one that was given up, and with one that is tried again.
fn errors(body: &Value, status: Status, lane: Option<&(Lane, Option<ErrorCode>)>) -> Vec<Failure> {
    let kept = body.get("error").and_then(Value::as_str).filter(|_| status == Status::Error);
    let failing = lane.filter(|(lane, _)| status == Status::Active && lane.failures > 0);
    let text = kept.or_else(|| failing.and_then(|(lane, _)| lane.error.as_deref()));
    let code = lane.and_then(|(_, code)| *code);
    text.map(|text| Failure { code, text: text.to_owned() }).into_iter().collect()
}
