//! The authorization endpoint (RFC 6749, 4.1.1; RFC 7636; SMART App Launch 2.2, app-launch): from an app's request to a code
//! for it. In between a person logs in and agrees.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::client::{Client, is_client_id};
use crate::auth::scope::{Context, Scope, Scopes};
use crate::auth::token::{Account, Grant};
use crate::auth::{digest, random};
use crate::fhir::types::Instant;
use crate::interactions::audit::{self, Event, What};
use crate::store::conn::Conn;
use crate::store::records;

use super::error::{Code as ErrorCode, OAuthError};
use super::exchange::Code;
use super::form::Form;
use super::launch::{self, Launch};
use super::login::Session;
use super::token::grantable;

/// Characters of `state` and of `nonce`.
const STATE_MAX: usize = 2_048;
/// Seconds in which a person logs in and agrees.
const PATIENCE_S: i64 = 1_800;
const SECOND: i64 = 1_000_000;

/// A request that may go on: its client and its redirect URI are right.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub client_id: String,
    pub redirect_uri: String,
    pub state: String,
    /// What may be granted, before it is known to whom.
    pub scope: String,
    challenge: String,
    nonce: Option<String>,
    /// The digest of the launch.
    launch: Option<String>,
    /// The base as the app named it.
    base: String,
    /// Seconds since 1970 after which it is too late.
    until: i64,
    /// The person must log in again, or must not be asked.
    pub must_log_in: bool,
    pub must_not_ask: bool,
}

/// Why there is no request.
#[derive(Debug)]
pub enum Refused {
    /// The app is not known, or where to send the person is not certain: they are told, and sent nowhere.
    Here(OAuthError),
    /// The app is told.
    ToApp(String),
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Self::Here(error)
    }
}

/// Reads an app's request.
///
/// # Errors
/// [`Refused`].
pub async fn request(app: &Arc<App>, base: &str, form: &Form) -> Result<(Request, Client), Refused> {
    let wrong = |sentence: &str| OAuthError::new(ErrorCode::InvalidRequest, sentence);
    let client_id = form.require("client_id")?.to_owned();
    let redirect_uri = form.require("redirect_uri")?.to_owned();
    let known = async |conn: &mut Conn| match is_client_id(&client_id) {
        true => records::get::<Client>(conn, &client_id).await,
        false => Ok(None),
    };
    let client = app.store.read(known).await.map_err(OAuthError::from)?;
    let client = client.ok_or_else(|| wrong("This app is not known here."))?;
    // Compared whole: nothing that only looks like it will do.
    if !client.redirect_uris.contains(&redirect_uri) {
        return Err(wrong("The app wants to be answered at an address that is not registered for it.").into());
    }
    let state = form.get("state").unwrap_or_default().to_owned();
    match checked(app, base, form, &client, client_id, redirect_uri.clone(), state.clone()).await {
        Ok(request) => Ok((request, client)),
        Err(error) => Err(Refused::ToApp(refusal(&redirect_uri, &state, base, &error))),
    }
}

async fn checked(
    app: &Arc<App>,
    base: &str,
    form: &Form,
    client: &Client,
    client_id: String,
    redirect_uri: String,
    state: String,
) -> Result<Request, OAuthError> {
    let wrong = |sentence: &str| OAuthError::new(ErrorCode::InvalidRequest, sentence);
    if form.require("response_type")? != "code" {
        return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, "The response_type is code."));
    }
    form.require("state")?;
    let nonce = form.get("nonce").map(str::to_owned);
    if state.len() > STATE_MAX || nonce.as_ref().is_some_and(|nonce| nonce.len() > STATE_MAX) {
        return Err(wrong("state or nonce is longer than this server keeps."));
    }
    let audience = form.get("aud").or(form.get("resource")).ok_or_else(|| wrong("The parameter aud is missing."))?;
    if !app.bases.iter().any(|base| audience.trim_end_matches('/') == base) {
        return Err(wrong("aud is not the FHIR base of this server."));
    }
    let challenge = form.require("code_challenge")?;
    let is_challenge =
        challenge.len() == 43 && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if form.get("code_challenge_method") != Some("S256") || !is_challenge {
        return Err(wrong("PKCE is demanded: a code_challenge by the method S256 (RFC 7636)."));
    }
    let asked = Scopes::parse(form.require("scope")?);
    let launch = match form.get("launch") {
        Some(launch) => {
            let name = digest(launch);
            launch::find(app, &name, &client_id).await?;
            Some(name)
        }
        None if asked.has(&Scope::Launch) => {
            return Err(wrong("The scope launch needs the parameter launch, as the EHR gave it to the app."));
        }
        None => None,
    };
    let of_people = |scope: &Scope| match scope {
        Scope::Resource(scope) => scope.context != Context::System,
        Scope::Module { .. } => false,
        _ => true,
    };
    let scope = grantable(app, &asked.filtered(of_people).within(&client.scopes()));
    if scope.is_empty() {
        return Err(OAuthError::new(ErrorCode::InvalidScope, "None of these scopes can be granted to this app."));
    }
    let prompts: Vec<&str> = form.get("prompt").unwrap_or_default().split(' ').collect();
    Ok(Request {
        client_id,
        redirect_uri,
        state,
        scope: scope.to_string(),
        challenge: challenge.to_owned(),
        nonce,
        launch,
        base: base.to_owned(),
        until: app.now().0 / SECOND + PATIENCE_S,
        must_log_in: prompts.contains(&"login"),
        must_not_ask: prompts.contains(&"none"),
    })
}

impl Request {
    /// The request as text that goes through the person's browser and back, where it can be neither changed nor used in
    /// another browser, nor, once somebody is logged in, for somebody else: the secrets are those of its cookies.
    pub fn seal(&self, app: &App, browser: &str, session: Option<&str>) -> Option<String> {
        app.signature.seal(self, &context(browser, session))
    }

    /// The request in such a text, if it is in time.
    pub fn open(app: &App, sealed: &str, browser: &str, session: Option<&str>) -> Option<Self> {
        let request: Self = app.signature.open(sealed, &context(browser, session))?;
        (app.now().0 / SECOND < request.until).then_some(request)
    }

    /// The address that tells the app of a refusal.
    pub fn refused(&self, error: &OAuthError) -> String {
        refusal(&self.redirect_uri, &self.state, &self.base, error)
    }

    /// What this person would grant: scopes that need a patient only if there is one.
    ///
    /// # Errors
    /// When the launch has ended.
    pub async fn grant(&self, app: &Arc<App>, session: &Session, account: &Account) -> Result<Grant, OAuthError> {
        let launch = match &self.launch {
            Some(name) => Some(launch::find(app, name, &self.client_id).await?),
            None => None,
        };
        // What an app is opened for is told to one that may know it.
        let launch = launch.filter(|_| Scopes::parse(&self.scope).has(&Scope::Launch));
        // A patient of another server has an id there, which means nothing here.
        let own = account.fhir_user.as_deref().and_then(|user| user.strip_prefix("Patient/")).map(str::to_owned);
        let patient = launch.as_ref().and_then(Launch::patient).or(own);
        let has_patient = patient.is_some();
        let scopes = Scopes::parse(&self.scope).filtered(|scope| match scope {
            Scope::Resource(scope) => scope.context != Context::Patient || has_patient,
            Scope::LaunchPatient => has_patient,
            _ => true,
        });
        let mut context: Map<String, Value> = launch.map(|launch| launch.context).unwrap_or_default();
        let is_patients =
            scopes.has(&Scope::LaunchPatient) || scopes.resources().any(|scope| scope.context == Context::Patient);
        if let Some(patient) = patient.as_ref().filter(|_| is_patients) {
            context.insert("patient".into(), patient.as_str().into());
        }
        Ok(Grant {
            client_id: self.client_id.clone(),
            account: session.account.clone(),
            scope: scopes.to_string(),
            patient: patient.filter(|_| is_patients),
            context,
            auth_time: session.logged_in_at,
        })
    }

    /// The address that brings the app its code.
    ///
    /// # Errors
    /// When the launch has ended or was used, or nothing is left to grant.
    pub async fn granted(&self, app: &Arc<App>, caller: &Caller, grant: Grant) -> Result<String, OAuthError> {
        if grant.scope.is_empty() {
            let sentence = "None of these scopes can be granted to this app for this user.";
            return Err(OAuthError::new(ErrorCode::InvalidScope, sentence));
        }
        let (secret, grant_id) = (random()?, random()?);
        let account = grant.account.clone();
        let now = app.now();
        let expires_at = now.0 + i64::from(app.settings.auth.code_s) * SECOND;
        let code = Code {
            redirect_uri: self.redirect_uri.clone(),
            challenge: self.challenge.clone(),
            nonce: self.nonce.clone(),
            expires_at,
            grant_id,
            grant,
            is_used: false,
        };
        let (name, launch, client_id) = (digest(&secret), self.launch.clone(), self.client_id.clone());
        let stored = app.store.write(async move |conn: &mut Conn| {
            if let Some(launch) = &launch {
                launch::take(conn, launch, &client_id, now).await?;
            }
            records::insert(conn, &name, &code, Some(Instant(expires_at))).await?;
            Ok::<_, OAuthError>(())
        });
        stored.await?;
        let description = format!("let the app {} in with the scope '{}'", self.client_id, self.scope);
        let event = Event {
            what: What::Token("code"),
            is_success: true,
            description,
            client: Some(&self.client_id),
            account: Some(&account),
        };
        audit::record(app, caller, event).await?;
        // RFC 9207 tells the app whose code it is.
        Ok(with(&self.redirect_uri, &[("code", &secret), ("state", &self.state), ("iss", &self.base)]))
    }
}

fn context(browser: &str, session: Option<&str>) -> String {
    match session {
        None => format!("login {}", digest(browser)),
        Some(session) => format!("consent {} {}", digest(browser), digest(session)),
    }
}

fn refusal(redirect_uri: &str, state: &str, base: &str, error: &OAuthError) -> String {
    let mut pairs = vec![("error", error.code.as_str()), ("error_description", error.description.as_str())];
    if !state.is_empty() {
        pairs.push(("state", state));
    }
    pairs.push(("iss", base));
    with(redirect_uri, &pairs)
}

/// A registered URI with parameters added to those it has.
fn with(redirect_uri: &str, pairs: &[(&str, &str)]) -> String {
    match Url::parse(redirect_uri) {
        Ok(mut url) => {
            url.query_pairs_mut().extend_pairs(pairs);
            url.into()
        }
        // What is registered was parsed before.
        Err(_changed_by_hand) => redirect_uri.to_owned(),
    }
}
