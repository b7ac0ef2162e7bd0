//! All routes on one page.

use actix_web::web::{PayloadConfig, ServiceConfig, delete, get, head, patch, post, put, resource, scope, to};

use super::api::{changes, lanes, webhook_keys};
use super::smart::consent;
use super::{export, fhir, health, operations, smart, websocket};

/// The methods that a URL takes, as the `Allow` header of a 405 names them.
pub(super) struct Allowed(pub &'static str);

pub fn routes(config: &mut ServiceConfig) {
    config.route("/health/live", get().to(health::live)).route("/health/ready", get().to(health::ready));
    // A slash at the end makes no difference.
    let url = |path: &str, allowed: &'static str| {
        resource([path.to_owned(), format!("{path}/")])
            .app_data(Allowed(allowed))
            .default_service(to(fhir::not_allowed))
    };
    config.service(
        scope("/fhir")
            .service(
                url("/.well-known/smart-configuration", "GET, HEAD")
                    .route(get().to(smart::smart_configuration))
                    .route(head().to(smart::smart_configuration)),
            )
            .service(
                url("/.well-known/openid-configuration", "GET, HEAD")
                    .route(get().to(smart::openid_configuration))
                    .route(head().to(smart::openid_configuration)),
            )
            .service(url("/metadata", "GET, HEAD").route(get().to(fhir::metadata)).route(head().to(fhir::metadata)))
            .service(
                url("/_history", "GET, HEAD")
                    .route(get().to(fhir::history_system))
                    .route(head().to(fhir::history_system)),
            )
            .service(url("/_search", "POST").route(post().to(fhir::search_system)))
            .service(
                url("/$export", "GET, POST")
                    .route(get().to(export::kick_off_system))
                    .route(post().to(export::kick_off_system)),
            )
            .service(
                url("/{type}/$export", "GET, POST")
                    .route(get().to(export::kick_off_type))
                    .route(post().to(export::kick_off_type)),
            )
            .service(
                url("/_export/{export}", "GET, HEAD, DELETE")
                    .route(get().to(export::status))
                    .route(head().to(export::status))
                    .route(delete().to(export::remove)),
            )
            .service(
                url("/_export/{export}/{file}", "GET, HEAD")
                    .route(get().to(export::file))
                    .route(head().to(export::file)),
            )
            .service(
                url("/ValueSet/$expand", "GET, HEAD, POST")
                    .route(get().to(operations::value_set_expand))
                    .route(head().to(operations::value_set_expand))
                    .route(post().to(operations::value_set_expand)),
            )
            .service(
                url("/ValueSet/$validate-code", "GET, HEAD, POST")
                    .route(get().to(operations::value_set_validate_code))
                    .route(head().to(operations::value_set_validate_code))
                    .route(post().to(operations::value_set_validate_code)),
            )
            .service(
                url("/CodeSystem/$lookup", "GET, HEAD, POST")
                    .route(get().to(operations::code_system_lookup))
                    .route(head().to(operations::code_system_lookup))
                    .route(post().to(operations::code_system_lookup)),
            )
            .service(
                url("/{type}/$validate", "GET, HEAD, POST")
                    .route(get().to(operations::validate_type))
                    .route(head().to(operations::validate_type))
                    .route(post().to(operations::validate_type)),
            )
            .service(
                url("/{type}/{id}/$validate", "GET, HEAD, POST")
                    .route(get().to(operations::validate_instance))
                    .route(head().to(operations::validate_instance))
                    .route(post().to(operations::validate_instance)),
            )
            .service(url("/ws", "GET").route(get().to(websocket::open)))
            .service(
                url("/Subscription/$status", "GET, HEAD, POST")
                    .route(get().to(operations::subscriptions_status))
                    .route(head().to(operations::subscriptions_status))
                    .route(post().to(operations::subscriptions_status)),
            )
            .service(
                url("/Subscription/{id}/$status", "GET, HEAD, POST")
                    .route(get().to(operations::subscription_status))
                    .route(head().to(operations::subscription_status))
                    .route(post().to(operations::subscription_status)),
            )
            .service(
                url("/Subscription/{id}/$events", "GET, HEAD, POST")
                    .route(get().to(operations::subscription_events))
                    .route(head().to(operations::subscription_events))
                    .route(post().to(operations::subscription_events)),
            )
            .service(
                url("/Subscription/$get-ws-binding-token", "GET, POST")
                    .route(get().to(operations::subscriptions_token))
                    .route(post().to(operations::subscriptions_token)),
            )
            .service(
                url("/Subscription/{id}/$get-ws-binding-token", "GET, POST")
                    .route(get().to(operations::subscription_token))
                    .route(post().to(operations::subscription_token)),
            )
            .service(
                url("/{type}/{id}/_history/{version}", "GET, HEAD")
                    .route(get().to(fhir::read_version))
                    .route(head().to(fhir::read_version)),
            )
            .service(
                url("/{type}/{id}/_history", "GET, HEAD")
                    .route(get().to(fhir::history_resource))
                    .route(head().to(fhir::history_resource)),
            )
            .service(url("/{type}/_search", "POST").route(post().to(fhir::search_type)))
            .service(
                url("/{type}/_history", "GET, HEAD")
                    .route(get().to(fhir::history_type))
                    .route(head().to(fhir::history_type)),
            )
            .service(
                url("/{type}/{id}", "GET, HEAD, PUT, PATCH, DELETE")
                    .route(get().to(fhir::read_resource))
                    .route(head().to(fhir::read_resource))
                    .route(put().to(fhir::update_resource))
                    .route(patch().to(fhir::patch_resource))
                    .route(delete().to(fhir::delete_resource)),
            )
            .service(
                url("/{type}", "GET, HEAD, POST, PUT, PATCH, DELETE")
                    .route(get().to(fhir::search_type))
                    .route(head().to(fhir::search_type))
                    .route(post().to(fhir::create_resource))
                    .route(put().to(fhir::update_where))
                    .route(patch().to(fhir::patch_where))
                    .route(delete().to(fhir::delete_where)),
            )
            .service(
                url("", "GET, HEAD, POST")
                    .route(get().to(fhir::search_system))
                    .route(head().to(fhir::search_system))
                    .route(post().to(fhir::bundle)),
            )
            .default_service(to(fhir::not_found)),
    );
    let auth = |path: &str, allowed: &'static str| {
        resource(path.to_owned())
            .app_data(Allowed(allowed))
            .app_data(PayloadConfig::new(smart::BODY_BYTES_MAX))
            .default_service(to(smart::not_allowed))
    };
    config.service(
        scope("/auth")
            .service(auth("/jwks", "GET, HEAD").route(get().to(smart::jwks)).route(head().to(smart::jwks)))
            .service(auth("/token", "POST").route(post().to(smart::token)))
            .service(auth("/introspect", "POST").route(post().to(smart::introspect)))
            .service(auth("/revoke", "POST").route(post().to(smart::revoke)))
            .service(auth("/launch", "POST").route(post().to(smart::launch)))
            .service(auth("/register", "POST").route(post().to(smart::register)))
            .service(
                auth("/authorize", "GET, POST")
                    .route(get().to(consent::authorize))
                    .route(post().to(consent::authorize)),
            )
            .service(auth("/login", "POST").route(post().to(consent::log_in)))
            .service(auth("/consent", "POST").route(post().to(consent::decide)))
            .service(auth("/logout", "POST").route(post().to(consent::log_out)))
            .default_service(to(fhir::not_found)),
    );
    config.service(
        scope("/api/v1")
            .service(url("/changes", "GET, HEAD").route(get().to(changes::changes)).route(head().to(changes::changes)))
            .service(
                url("/webhook-keys", "GET, HEAD")
                    .route(get().to(webhook_keys::webhook_keys))
                    .route(head().to(webhook_keys::webhook_keys)),
            )
            .service(url("/lanes", "GET, HEAD").route(get().to(lanes::list)).route(head().to(lanes::list)))
            .service(
                url("/lanes/{lane}/attempts", "GET, HEAD")
                    .route(get().to(lanes::attempts))
                    .route(head().to(lanes::attempts)),
            )
            .service(url("/lanes/{lane}/held", "GET, HEAD").route(get().to(lanes::held)).route(head().to(lanes::held)))
            .service(url("/lanes/{lane}/pause", "POST").route(post().to(lanes::pause)))
            .service(url("/lanes/{lane}/resume", "POST").route(post().to(lanes::resume)))
            .service(url("/lanes/{lane}/restart", "POST").route(post().to(lanes::restart)))
            .service(url("/lanes/{lane}/redrive", "POST").route(post().to(lanes::redrive)))
            .service(
                url("/lanes/{lane}/secret", "GET, HEAD, POST, DELETE")
                    .route(get().to(lanes::secrets))
                    .route(head().to(lanes::secrets))
                    .route(post().to(lanes::give_secret))
                    .route(delete().to(lanes::take_secret)),
            )
            .service(url("/lanes/{lane}", "GET, HEAD").route(get().to(lanes::show)).route(head().to(lanes::show)))
            .default_service(to(fhir::not_found)),
    );
    config.default_service(to(fhir::not_found));
}
