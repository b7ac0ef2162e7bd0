//! The FHIR routes: each reads what its interaction needs and hands over.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::{excerpt, parse_any_json, parse_json, type_name};
use crate::fhir::types::{ResourceType, is_id};
use crate::interactions::answer::Answer;
use crate::interactions::bundle::{system_types, type_named};
use crate::interactions::condition::Condition;
use crate::interactions::history::{self, Whose};
use crate::interactions::patch::{self, Document};
use crate::interactions::{batch, capability, create, delete, read, search, transaction, update};

use super::identify;
use super::negotiate::{self, Media, Return, Wishes};
use super::respond::{refusal, respond};
use super::routes::Allowed;

type Shared = Data<Arc<App>>;

/// Runs a handler between reading the request's wishes and shaping the response.
pub(super) async fn serve(
    app: &Shared,
    request: &HttpRequest,
    handler: impl AsyncFnOnce(&Wishes, &Caller) -> Result<Answer, FhirError>,
) -> HttpResponse {
    serve_form(app, request, &[], handler).await
}

/// The same for a search, whose wishes may be in a form.
async fn serve_form(
    app: &Shared,
    request: &HttpRequest,
    form: &[u8],
    handler: impl AsyncFnOnce(&Wishes, &Caller) -> Result<Answer, FhirError>,
) -> HttpResponse {
    match Wishes::read(app, request, form) {
        Ok(wishes) => {
            let known = identify::caller(app, request).await;
            let caller = known.as_ref().map_or_else(|_| identify::nobody(app, request), Clone::clone);
            let result = match known {
                Ok(_) => handler(&wishes, &caller).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &result {
                identify::record(app, &caller, request, error).await;
            }
            respond(app, request, &wishes, result)
        }
        Err(error) => refusal(app, &Wishes::plain(app), &error),
    }
}

fn named(resource_type: &str, id: &str) -> Result<ResourceType, FhirError> {
    let resource_type = type_named(resource_type)?;
    if is_id(id) {
        Ok(resource_type)
    } else {
        let sentence = format!("'{}' is no id: 1 to 64 letters, digits, '-' and '.'.", excerpt(id));
        Err(FhirError::with_issue(Kind::Malformed, Issue::error(IssueCode::Value, sentence).at("id")))
    }
}

/// For everybody, even with a token that has expired: it says how to get another.
pub async fn metadata(app: Shared, request: HttpRequest) -> HttpResponse {
    let wishes = match identify::check_url(&request).and_then(|()| Wishes::read(&app, &request, &[])) {
        Ok(wishes) => wishes,
        Err(error) => return refusal(&app, &Wishes::plain(&app), &error),
    };
    let statement = capability::statement(&wishes.base);
    let digest = openssl::sha::sha256(statement.as_bytes());
    // The ETag changes with the content, as a version does.
    let version = digest.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes) & i64::MAX);
    respond(&app, &request, &wishes, Ok(Answer { version, ..Answer::new(200, statement) }))
}

pub async fn read_resource(app: Shared, request: HttpRequest, path: Path<(String, String)>) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let (name, id) = path.into_inner();
        let resource_type = named(&name, &id)?;
        Ok(Answer::stored(resource_type, &id, read::read(&app, caller, resource_type, &id).await?))
    })
    .await
}

pub async fn read_version(app: Shared, request: HttpRequest, path: Path<(String, String, String)>) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let (name, id, version) = path.into_inner();
        let resource_type = named(&name, &id)?;
        Ok(Answer::stored(resource_type, &id, read::vread(&app, caller, resource_type, &id, &version).await?))
    })
    .await
}

pub async fn search_type(app: Shared, request: HttpRequest, path: Path<String>, body: Bytes) -> HttpResponse {
    serve_form(&app, &request, form(&request, &body), async |wishes, caller| {
        let name = path.into_inner();
        let types = vec![type_named(&name)?];
        let pairs = search_parameters(&request, &body)?;
        search::search(
            &app,
            caller,
            search::Request { types, path: name, pairs, handling: wishes.handling, base: wishes.base.clone() },
        )
        .await
    })
    .await
}

pub async fn search_system(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    serve_form(&app, &request, form(&request, &body), async |wishes, caller| {
        let pairs = search_parameters(&request, &body)?;
        let types = system_types(&pairs)?;
        let request =
            search::Request { types, path: String::new(), pairs, handling: wishes.handling, base: wishes.base.clone() };
        search::search(&app, caller, request).await
    })
    .await
}

/// The body of a POST whose media type is that of a form.
fn form<'b>(request: &HttpRequest, body: &'b Bytes) -> &'b [u8] {
    let is_form = request.method() == Method::POST && negotiate::media(request).is_ok_and(|media| media == Media::Form);
    if is_form { body } else { &[] }
}

/// The parameters of the URL and, for a POST, of the form.
fn search_parameters(request: &HttpRequest, body: &Bytes) -> Result<Vec<(String, String)>, FhirError> {
    let form = form(request, body);
    if request.method() == Method::POST && form.len() < body.len() {
        let sentence = "A search is posted as application/x-www-form-urlencoded in UTF-8.";
        return Err(FhirError::new(Kind::UnsupportedMedia, sentence));
    }
    Ok(negotiate::query(request).into_iter().chain(form_urlencoded::parse(form).into_owned()).collect())
}

pub async fn history_resource(app: Shared, request: HttpRequest, path: Path<(String, String)>) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        let (name, id) = path.into_inner();
        let whose = Whose::Resource(named(&name, &id)?, id);
        history::history(&app, caller, whose, &negotiate::query(&request), &wishes.base).await
    })
    .await
}

pub async fn history_type(app: Shared, request: HttpRequest, path: Path<String>) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        let whose = Whose::Type(type_named(&path.into_inner())?);
        history::history(&app, caller, whose, &negotiate::query(&request), &wishes.base).await
    })
    .await
}

pub async fn history_system(app: Shared, request: HttpRequest) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        history::history(&app, caller, Whose::Everything, &negotiate::query(&request), &wishes.base).await
    })
    .await
}

pub async fn create_resource(app: Shared, request: HttpRequest, path: Path<String>, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let resource_type = type_named(&path.into_inner())?;
        let resource = negotiate::resource(&request, &body)?;
        let condition = negotiate::if_none_exist(&request)?;
        let condition =
            condition.map(|text| Condition::parse(&app, caller, Access::CREATE, resource_type, text)).transpose()?;
        create::create(&app, caller, resource_type, resource, condition).await
    })
    .await
}

pub async fn update_resource(
    app: Shared,
    request: HttpRequest,
    path: Path<(String, String)>,
    body: Bytes,
) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let (name, id) = path.into_inner();
        let resource_type = named(&name, &id)?;
        let expected = negotiate::expected(&request)?;
        update::update(&app, caller, resource_type, &id, negotiate::resource(&request, &body)?, expected).await
    })
    .await
}

pub async fn update_where(app: Shared, request: HttpRequest, path: Path<String>, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let resource_type = type_named(&path.into_inner())?;
        let condition = Condition::parse(&app, caller, Access::UPDATE, resource_type, request.query_string())?;
        let expected = negotiate::expected(&request)?;
        update::update_where(&app, caller, resource_type, condition, negotiate::resource(&request, &body)?, expected)
            .await
    })
    .await
}

pub async fn patch_resource(
    app: Shared,
    request: HttpRequest,
    path: Path<(String, String)>,
    body: Bytes,
) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let (name, id) = path.into_inner();
        let resource_type = named(&name, &id)?;
        let expected = negotiate::expected(&request)?;
        patch::patch(&app, caller, resource_type, &id, &patch_document(&request, &body)?, expected).await
    })
    .await
}

pub async fn patch_where(app: Shared, request: HttpRequest, path: Path<String>, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let resource_type = type_named(&path.into_inner())?;
        let condition = Condition::parse(&app, caller, Access::UPDATE, resource_type, request.query_string())?;
        let expected = negotiate::expected(&request)?;
        patch::patch_where(&app, caller, resource_type, condition, patch_document(&request, &body)?, expected).await
    })
    .await
}

/// JSON Patch by its own media type, FHIRPath Patch as Parameters.
fn patch_document(request: &HttpRequest, body: &Bytes) -> Result<Document, FhirError> {
    if negotiate::media(request)? == Media::JsonPatch {
        return Ok(Document::Json(parse_any_json(body)?));
    }
    let parameters = negotiate::resource(request, body)?;
    if type_name(&parameters)? == "Parameters" {
        return Ok(Document::FhirPath(parameters));
    }
    let sentence = "A patch is application/json-patch+json, or Parameters (FHIRPath Patch) as application/fhir+json or application/fhir+xml.";
    Err(FhirError::new(Kind::UnsupportedMedia, sentence))
}

pub async fn delete_resource(app: Shared, request: HttpRequest, path: Path<(String, String)>) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let (name, id) = path.into_inner();
        let resource_type = named(&name, &id)?;
        delete::delete(&app, caller, resource_type, &id, negotiate::expected(&request)?).await
    })
    .await
}

pub async fn delete_where(app: Shared, request: HttpRequest, path: Path<String>) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let resource_type = type_named(&path.into_inner())?;
        let condition = Condition::parse(&app, caller, Access::DELETE, resource_type, request.query_string())?;
        delete::delete_where(&app, caller, resource_type, condition, negotiate::expected(&request)?).await
    })
    .await
}

pub async fn bundle(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        let _turn = app.bundle_turn().await?;
        let bundle = match negotiate::media(&request)? {
            Media::Json => parse_json(&body)?,
            _ => negotiate::resource(&request, &body)?,
        };
        let name = type_name(&bundle)?;
        let kind = bundle.get("type").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let with_resources = wishes.returns == Some(Return::Representation);
        match (name, kind.as_str()) {
            ("Bundle", "transaction") => {
                transaction::transaction(&app, caller, bundle, &wishes.base, with_resources).await
            }
            ("Bundle", "batch") => batch::batch(&app, caller, bundle, &wishes.base, with_resources).await,
            ("Bundle", other) => {
                let sentence = format!(
                    "A Bundle of type '{}' is not processed here; send a batch or a transaction.",
                    excerpt(other)
                );
                Err(FhirError::malformed(sentence).at("Bundle.type"))
            }
            (other, _) => {
                let sentence =
                    format!("A {} is sent to /{}; only a Bundle is sent to the base.", excerpt(other), excerpt(other));
                Err(FhirError::malformed(sentence).at("resourceType"))
            }
        }
    })
    .await
}

/// A method that the URL does not take.
pub async fn not_allowed(app: Shared, request: HttpRequest) -> HttpResponse {
    let sentence = format!("{} is not allowed on {}.", request.method(), excerpt(request.path()));
    let mut response = refused(&app, &request, FhirError::new(Kind::NotAllowed, sentence));
    if let Some(Allowed(methods)) = request.app_data::<Allowed>() {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}

/// A URL that leads nowhere.
pub async fn not_found(app: Shared, request: HttpRequest) -> HttpResponse {
    let sentence = format!("{} is no URL of this server; its FHIR base is {}.", excerpt(request.path()), app.base());
    refused(&app, &request, FhirError::new(Kind::NotFound, sentence))
}

/// A refusal in the format that the client asked for, as far as that can be told.
pub fn refused(app: &Shared, request: &HttpRequest, error: FhirError) -> HttpResponse {
    let wishes = Wishes::read(app, request, &[]).unwrap_or_else(|_unreadable| Wishes::plain(app));
    refusal(app, &wishes, &error)
}
