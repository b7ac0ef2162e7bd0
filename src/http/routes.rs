//! All routes on one page.

use actix_web::web::{ServiceConfig, delete, get, head, patch, post, put, resource, scope, to};

use super::{fhir, health};

pub fn routes(config: &mut ServiceConfig) {
    config.route("/health/live", get().to(health::live)).route("/health/ready", get().to(health::ready));
    let read = |path: &str| resource(path.to_owned());
    config.service(
        scope("/fhir")
            .service(read("/metadata").route(get().to(fhir::metadata)).route(head().to(fhir::metadata)).default_service(to(fhir::not_allowed)))
            .service(
                read("/_history")
                    .route(get().to(fhir::history_system))
                    .route(head().to(fhir::history_system))
                    .default_service(to(fhir::not_allowed)),
            )
            .service(read("/_search").route(post().to(fhir::search_system)).default_service(to(fhir::not_allowed)))
            .service(
                resource(["/{type}/{id}/_history/{version}", "/{type}/{id}/_history/{version}/"])
                    .route(get().to(fhir::read_version))
                    .route(head().to(fhir::read_version))
                    .default_service(to(fhir::not_allowed)),
            )
            .service(
                resource(["/{type}/{id}/_history", "/{type}/{id}/_history/"])
                    .route(get().to(fhir::history_resource))
                    .route(head().to(fhir::history_resource))
                    .default_service(to(fhir::not_allowed)),
            )
            .service(read("/{type}/_search").route(post().to(fhir::search_type)).default_service(to(fhir::not_allowed)))
            .service(
                read("/{type}/_history")
                    .route(get().to(fhir::history_type))
                    .route(head().to(fhir::history_type))
                    .default_service(to(fhir::not_allowed)),
            )
            .service(
                resource(["/{type}/{id}", "/{type}/{id}/"])
                    .route(get().to(fhir::read_resource))
                    .route(head().to(fhir::read_resource))
                    .route(put().to(fhir::update_resource))
                    .route(patch().to(fhir::patch_resource))
                    .route(delete().to(fhir::delete_resource))
                    .default_service(to(fhir::not_allowed)),
            )
            .service(
                resource(["/{type}", "/{type}/"])
                    .route(get().to(fhir::search_type))
                    .route(head().to(fhir::search_type))
                    .route(post().to(fhir::create_resource))
                    .route(put().to(fhir::update_where))
                    .route(patch().to(fhir::patch_where))
                    .route(delete().to(fhir::delete_where))
                    .default_service(to(fhir::not_allowed)),
            )
            .service(
                resource(["", "/"])
                    .route(get().to(fhir::search_system))
                    .route(head().to(fhir::search_system))
                    .route(post().to(fhir::bundle))
                    .default_service(to(fhir::not_allowed)),
            )
            .default_service(to(fhir::not_found)),
    );
    config.default_service(to(fhir::not_found));
}
