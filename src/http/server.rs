//! The HTTP server: listening, limits, and who may talk to it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{Version, header};
use actix_web::middleware::{Compress, Next, from_fn};
use actix_web::web::{Data, PayloadConfig};
use actix_web::{Error, HttpServer};

use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;

use super::body::{self, Refused};
use super::fhir::refused;
use super::routes::routes;

/// How long a client may take to send its request's head, and to leave.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may be idle between requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const SHUTDOWN_S: u64 = 15;

/// Serves until it is told to stop.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(app: &Arc<App>, listener: TcpListener) -> std::io::Result<Server> {
    let shared = Data::new(Arc::clone(app));
    let body_bytes_max = app.settings.server.body_bytes_max;
    let factory = move || {
        actix_web::App::new()
            .app_data(shared.clone())
            .app_data(PayloadConfig::new(body_bytes_max))
            .configure(routes)
            .wrap(from_fn(guard))
            .wrap(Compress::default())
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
    Ok(server.listen(listener)?.run())
}

/// Refuses what did not come for this server by name, and turns faults of the transport into OperationOutcomes.
///
/// Without authorization the only protection is that nobody but this machine reaches the server. A web page in a browser
/// here could, under a name of its own that it lets point to this machine: so the name must be one of ours.
async fn guard(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(app) = request.app_data::<Data<Arc<App>>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    if let Some(error) = foreign(&app, &request) {
        let response = refused(&app, request.request(), error);
        return Ok(request.into_response(response));
    }
    if let Err(fault) = body::admit(&mut request, app.settings.server.body_bytes_max).await {
        let error = match fault {
            Refused::Encoding(encoding) => {
                let sentence = format!(
                    "The Content-Encoding '{}' is not supported; send gzip, deflate or none.",
                    excerpt(&encoding)
                );
                FhirError::new(Kind::UnsupportedMedia, sentence)
            }
            Refused::Unreadable(error) => transport_error(&app, &error),
        };
        let response = refused(&app, request.request(), error);
        return Ok(request.into_response(response));
    }
    let response = next.call(request).await?;
    // What actix refuses by itself has no OperationOutcome yet.
    match response.response().error().map(|error| transport_error(&app, error)) {
        Some(error) => {
            let outcome = refused(&app, response.request(), error);
            Ok(response.into_response(outcome))
        }
        None => Ok(response.map_into_boxed_body()),
    }
}

/// The refusal of a request that names another server than this one, or none where HTTP wants one (RFC 9112, 3.2).
fn foreign(app: &App, request: &ServiceRequest) -> Option<FhirError> {
    let mut hosts = request.headers().get_all(header::HOST);
    let (host, another) = (hosts.next(), hosts.next());
    let has_none = host.is_none_or(|host| host.is_empty());
    if another.is_some() || has_none && request.version() > Version::HTTP_10 {
        return Some(FhirError::malformed("A request has one Host header."));
    }
    let named = host.filter(|host| !host.is_empty()).map(|host| host.to_str().unwrap_or("?"));
    // A URL with a host in the request line means that host, whatever the header says.
    let in_line = request.uri().authority().map(|authority| authority.as_str());
    let is_foreign = [named, in_line].into_iter().flatten().any(|host| !is_own_host(app, host));
    is_foreign.then(|| {
        let sentence =
            "This server does not answer under that name; use the address it printed at start, or set server.base_url.";
        FhirError::new(Kind::Forbidden, sentence).code(IssueCode::Security)
    })
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

/// True for the names of this machine to itself and the name in `server.base_url`.
pub fn is_own_host(app: &App, host: &str) -> bool {
    let configured =
        app.settings.server.base_url.as_deref().and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
    if configured.is_some_and(|rest| rest.split('/').next().is_some_and(|own| own.eq_ignore_ascii_case(host))) {
        return true;
    }
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
