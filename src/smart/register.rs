//! Clients that register themselves (RFC 7591), where the operator allows it. They get no more than the settings say, and are
//! apps of people: a backend service is registered by the operator.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::client::{Authentication, Client, redirect_uri_fault};
use crate::auth::jwt::KeySet;
use crate::auth::scope::Scopes;
use crate::auth::{password, random};
use crate::interactions::audit::{self, Event, What};
use crate::store::conn::Conn;
use crate::store::records;

use super::error::{Code, OAuthError};

/// Redirect URIs of one client, and characters of its name and of a URI.
const REDIRECT_URIS_MAX: usize = 20;
const NAME_MAX: usize = 100;
const URI_MAX: usize = 2_000;

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    redirect_uris: Vec<String>,
    client_name: Option<String>,
    token_endpoint_auth_method: Option<String>,
    scope: Option<String>,
    jwks: Option<Value>,
    jwks_uri: Option<String>,
    grant_types: Option<Vec<String>>,
}

/// Registers a client by its metadata, and answers with what was registered.
///
/// # Errors
/// `access_denied` where it is not allowed; `invalid_redirect_uri` and `invalid_client_metadata` for what cannot be.
pub async fn register(app: &Arc<App>, caller: &Caller, body: &[u8]) -> Result<Value, OAuthError> {
    if !app.settings.auth.dynamic_registration {
        let sentence = "Apps are registered by the operator of this server, not by themselves.";
        return Err(OAuthError::new(Code::AccessDenied, sentence));
    }
    let wrong = |sentence: String| OAuthError::new(Code::InvalidClientMetadata, sentence);
    let metadata: Metadata = serde_json::from_slice(body).map_err(|error| wrong(format!("The metadata: {error}.")))?;
    let (client, secret) = client(app, metadata).await?;
    let id = random()?;
    let (name, kept) = (id.clone(), client.clone());
    app.store.write(async move |conn: &mut Conn| records::insert(conn, &name, &kept, None).await).await?;
    let event = Event {
        what: What::Administration,
        is_success: true,
        description: format!("the app '{}' registered itself", client.name),
        client: Some(&id),
        account: None,
    };
    audit::record(app, caller, event).await?;
    let mut answer = json!({
        "client_id": id,
        "client_id_issued_at": client.created_at / 1_000_000,
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "token_endpoint_auth_method": client.method(),
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": client.scope,
    });
    if let Some(answer) = answer.as_object_mut() {
        match &client.authentication {
            Authentication::Jwks(keys) => drop(answer.insert("jwks".into(), keys.clone())),
            Authentication::JwksUrl(url) => drop(answer.insert("jwks_uri".into(), url.as_str().into())),
            Authentication::Public | Authentication::Secret(_) => {}
        }
    }
    if let (Some(secret), Some(answer)) = (secret, answer.as_object_mut()) {
        answer.insert("client_secret".into(), secret.into());
        answer.insert("client_secret_expires_at".into(), 0.into());
    }
    Ok(answer)
}

async fn client(app: &App, metadata: Metadata) -> Result<(Client, Option<String>), OAuthError> {
    let wrong = |sentence: &str| OAuthError::new(Code::InvalidClientMetadata, sentence);
    let uris = metadata.redirect_uris;
    if uris.is_empty() || uris.len() > REDIRECT_URIS_MAX {
        let sentence = format!("An app has 1 to {REDIRECT_URIS_MAX} redirect_uris.");
        return Err(OAuthError::new(Code::InvalidRedirectUri, sentence));
    }
    let fault = |uri: &String| if uri.len() > URI_MAX { Some("it is too long") } else { redirect_uri_fault(uri) };
    if let Some(fault) = uris.iter().find_map(fault) {
        return Err(OAuthError::new(Code::InvalidRedirectUri, format!("A redirect_uri cannot be used: {fault}.")));
    }
    let is_known = |it: &String| matches!(it.as_str(), "authorization_code" | "refresh_token");
    if metadata.grant_types.is_some_and(|types| !types.iter().all(is_known)) {
        return Err(wrong("An app that registers itself has the grant types authorization_code and refresh_token."));
    }
    let mut secret = None;
    let authentication = match metadata.token_endpoint_auth_method.as_deref() {
        Some("none") => Authentication::Public,
        None | Some("client_secret_basic" | "client_secret_post") => {
            let new = random()?;
            let text = new.clone();
            let hash = app.turns.at_secrets(move || Ok(password::hash(&text))).await?;
            secret = Some(new);
            let hash = hash.map_err(|error| wrong(&error))?;
            Authentication::Secret(hash)
        }
        Some("private_key_jwt") => match (metadata.jwks, metadata.jwks_uri) {
            (Some(keys), None) => {
                KeySet::parse(keys.to_string().as_bytes()).map_err(|fault| wrong(&fault))?;
                Authentication::Jwks(keys)
            }
            (None, Some(url)) if url.len() <= URI_MAX && url.starts_with("https://") => Authentication::JwksUrl(url),
            _ => return Err(wrong("private_key_jwt takes jwks, or a jwks_uri that begins with https://.")),
        },
        Some(_) => {
            return Err(wrong("The token_endpoint_auth_method is none, private_key_jwt or client_secret_basic."));
        }
    };
    let allowed = Scopes::parse(&app.settings.auth.registration_scope);
    let scope = match metadata.scope {
        Some(asked) => Scopes::parse(&asked).within(&allowed),
        None => allowed,
    };
    let name = metadata.client_name.unwrap_or_else(|| "an app without a name".into());
    let name = name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
    let created_at = app.now().0;
    let client = Client {
        is_self_registered: true,
        name,
        scope: scope.to_string(),
        authentication,
        redirect_uris: uris,
        certificate: None,
        created_at,
    };
    Ok((client, secret))
}
