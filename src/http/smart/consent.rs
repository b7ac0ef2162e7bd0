//! The way of a person through login and consent: from an app's request to the address that takes them back to it.
//!
//! The request goes through the person's browser as sealed text, bound to a cookie of that browser. Nobody can send it from
//! another page, and none of it can be changed on the way.

use std::sync::Arc;

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::auth::client::Client;
use crate::auth::random;
use crate::auth::token::Account;
use crate::auth::urls;
use crate::smart::authorize::{self, Refused, Request};
use crate::smart::error::{Code, OAuthError};
use crate::smart::form::Form;
use crate::smart::login::{self, Session};
use crate::store::conn::Conn;
use crate::store::records;

use super::super::hosts::base;
use super::super::identify;
use super::pages::{self, Page};
use super::{form, log, recorded};

type Shared = Data<Arc<App>>;

const BROWSER: &str = "plumbline_browser";
const SESSION: &str = "plumbline_session";
const BROWSER_DAYS: i64 = 1;

/// The authorization endpoint.
pub async fn authorize(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    match begin(&app, &request, &body).await {
        Ok(response) => response,
        Err(Refused::Here(error)) => told(&error),
        Err(Refused::ToApp(address)) => sent(&address),
    }
}

async fn begin(app: &Arc<App>, http: &HttpRequest, body: &[u8]) -> Result<HttpResponse, Refused> {
    let base = base(app, http);
    if http.method() == Method::POST {
        let form = form(http, body)?;
        authorize::request(app, &base, &form).await?;
        // Another site's POST comes without our cookies; the GET that follows it comes with them.
        let query = form.to_query();
        return Ok(sent(&format!("{}/auth/authorize?{query}", urls::root(&base))));
    }
    let (asked, client) = authorize::request(app, &base, &Form::parse(http.query_string().as_bytes())?).await?;
    let browser = match cookie(http, BROWSER) {
        Some(known) => known,
        None => random().map_err(OAuthError::from)?,
    };
    let known = match cookie(http, SESSION).filter(|_| !asked.must_log_in) {
        Some(secret) => login::session(app, &secret).await?.map(|known| (known, secret)),
        None => None,
    };
    if asked.must_not_ask {
        let code = if known.is_some() { Code::ConsentRequired } else { Code::LoginRequired };
        let error = OAuthError::new(code, "The user has to be asked.");
        return Err(Refused::ToApp(asked.refused(&error)));
    }
    let at = At { app, http, asked, client, browser };
    let page = match known {
        Some(((session, account), secret)) => at.consent(&session, &account, &secret).await?,
        None => at.login(None)?,
    };
    let mut response = page.response(StatusCode::OK);
    // A cookie that is there already stays: it may have other requests under way.
    at.keep(&mut response, BROWSER, &at.browser, Duration::days(BROWSER_DAYS));
    Ok(response)
}

/// Name and password.
pub async fn log_in(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    ended(&app, &request, logged_in(&app, &request, &body).await).await
}

async fn logged_in(app: &Arc<App>, http: &HttpRequest, body: &[u8]) -> Result<HttpResponse, OAuthError> {
    let form = form(http, body)?;
    let at = At::open(app, http, &form, None).await?;
    let (name, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    let logged_in = login::log_in(app, &identify::nobody(app, http), &at.asked.client_id, name, password).await;
    let (session, secret) = match logged_in {
        Ok(logged_in) => logged_in,
        Err(error) if error.code == Code::AccessDenied => {
            return Ok(at.login(Some(&error.description))?.response(StatusCode::FORBIDDEN));
        }
        Err(error) => return Err(error),
    };
    // Whoever is logged in already stays so: another page of theirs may wait for their consent.
    let before = match cookie(http, SESSION) {
        Some(old) => login::session(app, &old).await?.map(|(session, _)| (session, old)),
        None => None,
    };
    let is_again = |(before, _): &(Session, String)| before.account == session.account && !at.asked.must_log_in;
    let (session, secret) = before.filter(is_again).unwrap_or((session, secret));
    let known = login::session(app, &secret).await?;
    let (_, account) = known.ok_or_else(|| OAuthError::new(Code::AccessDenied, "The account is gone."))?;
    let mut response = at.consent(&session, &account, &secret).await?.response(StatusCode::OK);
    at.keep(&mut response, SESSION, &secret, Duration::seconds(app.settings.auth.online_s.into()));
    Ok(response)
}

/// Allow, or deny.
pub async fn decide(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    ended(&app, &request, decided(&app, &request, &body).await).await
}

async fn decided(app: &Arc<App>, http: &HttpRequest, body: &[u8]) -> Result<HttpResponse, OAuthError> {
    let form = form(http, body)?;
    let secret = cookie(http, SESSION).ok_or_else(foreign)?;
    // What was shown was shown to whoever was logged in then.
    let at = At::open(app, http, &form, Some(&secret)).await?;
    let (session, account) = login::session(app, &secret).await?.ok_or_else(foreign)?;
    if form.get("decision") != Some("allow") {
        let error = OAuthError::new(Code::AccessDenied, "The user did not let the app in.");
        return Ok(sent(&at.asked.refused(&error)));
    }
    let grant = at.asked.grant(app, &session, &account).await;
    let granted = match grant {
        Ok(grant) => at.asked.granted(app, &identify::nobody(app, http), grant).await,
        Err(error) => Err(error),
    };
    Ok(sent(&granted.unwrap_or_else(|error| at.asked.refused(&error))))
}

/// Somebody else wants to log in.
pub async fn log_out(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    ended(&app, &request, logged_out(&app, &request, &body).await).await
}

async fn logged_out(app: &Arc<App>, http: &HttpRequest, body: &[u8]) -> Result<HttpResponse, OAuthError> {
    let form = form(http, body)?;
    let secret = cookie(http, SESSION).ok_or_else(foreign)?;
    let at = At::open(app, http, &form, Some(&secret)).await?;
    login::log_out(app, &identify::nobody(app, http), &secret).await?;
    let mut response = at.login(None)?.response(StatusCode::OK);
    at.keep(&mut response, SESSION, "", Duration::ZERO);
    Ok(response)
}

/// Where a person is on the way.
struct At<'r> {
    app: &'r Arc<App>,
    http: &'r HttpRequest,
    asked: Request,
    client: Client,
    browser: String,
}

impl<'r> At<'r> {
    /// Where a form of ours comes from.
    ///
    /// # Errors
    /// `access_denied` for a form that is not ours, not this browser's, or too late.
    async fn open(
        app: &'r Arc<App>,
        http: &'r HttpRequest,
        form: &Form,
        session: Option<&str>,
    ) -> Result<Self, OAuthError> {
        // Browsers say which page a form is from.
        let site = http.headers().get("sec-fetch-site").map(|site| site.as_bytes());
        if site.is_some_and(|site| site != b"same-origin") {
            return Err(foreign());
        }
        let browser = cookie(http, BROWSER).ok_or_else(foreign)?;
        let sealed = form.get("request").ok_or_else(foreign)?;
        let asked = Request::open(app, sealed, &browser, session).ok_or_else(foreign)?;
        let id = &asked.client_id;
        let client = app.store.read(async |conn: &mut Conn| records::get::<Client>(conn, id).await).await?;
        // It may have been removed meanwhile, or its address changed.
        let client = client.filter(|client| client.redirect_uris.contains(&asked.redirect_uri)).ok_or_else(foreign)?;
        Ok(Self { app, http, asked, client, browser })
    }

    fn sealed(&self, session: Option<&str>) -> Result<String, OAuthError> {
        let sealed = self.asked.seal(self.app, &self.browser, session);
        sealed.ok_or_else(|| OAuthError::new(Code::ServerError, "Internal error."))
    }

    fn login(&self, problem: Option<&str>) -> Result<Page, OAuthError> {
        Ok(pages::login(&self.client, &self.asked, &self.sealed(None)?, &self.root(), problem))
    }

    async fn consent(&self, session: &Session, account: &Account, secret: &str) -> Result<Page, OAuthError> {
        let grant = self.asked.grant(self.app, session, account).await?;
        Ok(pages::consent(&self.client, &self.asked, &grant, &self.sealed(Some(secret))?, &self.root()))
    }

    /// The path above `/auth`, as the browser sees it: something else may be beside us on the host.
    fn root(&self) -> String {
        let base = base(self.app, self.http);
        let url = url::Url::parse(urls::root(&base));
        url.map_or_else(|_| String::new(), |url| url.path().trim_end_matches('/').to_owned())
    }

    /// Sets a cookie that only our own pages get, and no script.
    fn keep(&self, response: &mut HttpResponse, name: &str, value: &str, age: Duration) {
        let is_tls = base(self.app, self.http).starts_with("https://");
        let cookie = Cookie::build(name.to_owned(), value.to_owned())
            .path(format!("{}/auth", self.root()))
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(is_tls)
            .max_age(age)
            .finish();
        if let Err(error) = response.add_cookie(&cookie) {
            tracing::error!(%error, "a cookie cannot be set");
        }
    }
}

/// A cookie of ours: whatever else comes under its name is none.
fn cookie(request: &HttpRequest, name: &str) -> Option<String> {
    let is_ours =
        |value: &String| value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    request.cookie(name).map(|cookie| cookie.value().to_owned()).filter(is_ours)
}

fn foreign() -> OAuthError {
    let sentence = "This page is too old, or was opened in another browser. Go back to the app and start again.";
    OAuthError::new(Code::AccessDenied, sentence)
}

/// To an address of ours or of the app, by GET.
fn sent(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, address))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

async fn ended(app: &Arc<App>, http: &HttpRequest, result: Result<HttpResponse, OAuthError>) -> HttpResponse {
    let result = recorded(app, &identify::nobody(app, http), http, result).await;
    result.unwrap_or_else(|error| told(&error))
}

fn told(error: &OAuthError) -> HttpResponse {
    log(error);
    let status = match error.code {
        Code::AccessDenied => StatusCode::FORBIDDEN,
        code => StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST),
    };
    pages::refusal(&error.description).response(status)
}
