//! The HTTP server: listening, limits, and who may talk to it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::middleware::{Compress, Next, from_fn};
use actix_web::web::{Data, PayloadConfig};
use actix_web::{Error, HttpMessage, HttpResponse, HttpServer};

use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::resource::excerpt;

use super::address::client_address;
use super::api::webhook_keys::Opened;
use super::body::{self, Refused};
use super::fhir::refused;
use super::http2::{self, Place};
use super::routes::routes;
use super::tls::{self, Tls};
use super::{cors, headers, hosts, smart, websocket};

/// How long a client may take to send its request's head, and to leave.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may be idle between requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const SHUTDOWN_S: u64 = 15;

/// Serves until it is told to stop: over TLS when there is a certificate, and then HTTP/2 as well as HTTP/1.1.
///
/// # Errors
/// When the listener or the certificate cannot be used.
pub fn serve(app: &Arc<App>, listener: TcpListener, tls: Option<Tls>) -> std::io::Result<Server> {
    let shared = Data::new(Arc::clone(app));
    let webhook_keys = Data::new(Opened::default());
    let body_bytes_max = app.settings.server.body_bytes_max;
    let factory = move || {
        actix_web::App::new()
            .app_data(shared.clone())
            .app_data(webhook_keys.clone())
            .app_data(PayloadConfig::new(body_bytes_max))
            .configure(routes)
            .wrap(Compress::default())
            .wrap(from_fn(guard))
    };
    let mut server = HttpServer::new(factory)
        .client_request_timeout(CLIENT_PATIENCE)
        // Longer than any request takes: a connection is not closed just when its client sends the next one.
        .keep_alive(KEEP_ALIVE)
        .client_disconnect_timeout(CLIENT_PATIENCE)
        // A client that has closed its side is gone: what it asked for is dropped, and with it the query under way.
        .h1_allow_half_closed(false)
        .max_connections(app.settings.server.connections_max)
        .shutdown_timeout(SHUTDOWN_S)
        .disable_signals();
    if app.settings.server.workers > 0 {
        server = server.workers(app.settings.server.workers);
    }
    let Some(tls) = tls else { return Ok(server.listen(listener)?.run()) };
    let acceptor = tls.acceptor().map_err(std::io::Error::other)?;
    tls.watch()?;
    let server = server.on_connect(|connection, data| {
        tls::remember(connection, data);
        http2::prepare(data);
    });
    Ok(server.listen_openssl(listener, acceptor)?.run())
}

/// Lets in what may come in, turns faults of the transport into OperationOutcomes, and completes every answer.
async fn guard(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(app) = request.app_data::<Data<Arc<App>>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let (admitted, place) = match http2::enter(&request) {
        Ok(place) => (admit(&app, &mut request).await, place),
        Err(status) => (Err(HttpResponse::new(status)), Place::default()),
    };
    let mut response = match admitted {
        Ok(()) => {
            let response = next.call(request).await?;
            // What actix refuses by itself has no OperationOutcome yet.
            match response.response().error().map(|error| transport_error(&app, error)) {
                Some(error) => {
                    let outcome = refused(&app, response.request(), error);
                    response.into_response(outcome)
                }
                None => response.map_into_boxed_body(),
            }
        }
        Err(response) => request.into_response(response),
    };
    headers::complete(&app.settings.server, &mut response);
    cors::complete(&app.origins, &mut response);
    Ok(response.map_body(|_head, body| http2::keep(body, place)))
}

/// Decides whether a request reaches its handler.
///
/// # Errors
/// The response that it gets instead.
async fn admit(app: &Data<Arc<App>>, request: &mut ServiceRequest) -> Result<(), HttpResponse> {
    let refuse = |request: &ServiceRequest, error| refused(app, request.request(), error);
    // Who asks for the server's health may know its address only, and has to ask often.
    if is_health(request) {
        // And has nothing to say.
        drop(request.take_payload());
        return Ok(());
    }
    if let Err(wait) = limit(app, request) {
        return Err(refuse(request, FhirError::throttled("your address", wait)));
    }
    if let Some(error) = hosts::foreign(app, request) {
        return Err(refuse(request, error));
    }
    if let Some(response) = cors::preflight(&app.origins, request) {
        return Err(response);
    }
    // What comes over a WebSocket is no body: it may take as long as it likes, and its messages are bounded.
    if websocket::is_upgrade(request) {
        return Ok(());
    }
    let is_auth = request.match_info().as_str().starts_with("/auth/");
    let most = if is_auth { smart::BODY_BYTES_MAX } else { app.settings.server.body_bytes_max };
    match body::admit(request, most).await {
        Ok(()) => Ok(()),
        Err(Refused::Encoding(encoding)) => {
            let sentence =
                format!("The Content-Encoding '{}' is not supported; send gzip, deflate or none.", excerpt(&encoding));
            Err(refuse(request, FhirError::new(Kind::UnsupportedMedia, sentence)))
        }
        Err(Refused::Unreadable(error)) => Err(refuse(request, transport_error(app, &error))),
    }
}

fn is_health(request: &ServiceRequest) -> bool {
    matches!(request.match_info().as_str(), "/health/live" | "/health/ready")
}

/// Counts a request for its address.
///
/// # Errors
/// The wait, when there are too many.
fn limit(app: &App, request: &ServiceRequest) -> Result<(), Duration> {
    let Some(address) = client_address(app, request.request()) else { return Ok(()) };
    app.limits.check_address(address)?;
    // The path as the router sees it: decoded.
    let is_attempt = *request.method() == Method::POST && request.match_info().as_str().starts_with("/auth/");
    if is_attempt { app.limits.check_auth(address) } else { Ok(()) }
}

fn transport_error(app: &App, error: &Error) -> FhirError {
    let most = app.settings.server.body_bytes_max;
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => {
            FhirError::new(Kind::TooLarge, format!("The body is larger than {most} bytes."))
        }
        Some(PayloadError::EncodingCorrupted) => {
            FhirError::malformed("The body is not in the Content-Encoding that it claims.")
        }
        Some(_) => FhirError::malformed("The body could not be read to its end."),
        None => match error.as_response_error().status_code().as_u16() {
            404 => FhirError::new(Kind::NotFound, "The URL leads nowhere on this server."),
            413 => FhirError::new(Kind::TooLarge, format!("The body is larger than {most} bytes.")),
            status if status < 500 => FhirError::malformed("The request could not be read."),
            _ => FhirError::new(Kind::Internal, "Internal error."),
        },
    }
}
