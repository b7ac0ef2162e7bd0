//! The only user of actix-web: routes, what a request says beside its body, and how an answer is shaped.

mod body;
mod fhir;
mod health;
mod identify;
mod negotiate;
mod operations;
mod respond;
pub mod routes;
pub mod server;
mod smart;
