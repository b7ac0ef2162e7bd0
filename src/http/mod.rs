//! The only user of actix-web: routes, what a request says beside its body, and how an answer is shaped.

mod address;
mod api;
mod body;
mod cors;
mod download;
mod export;
mod fhir;
mod headers;
mod health;
mod hosts;
mod http2;
mod identify;
mod negotiate;
mod operations;
mod respond;
pub mod routes;
pub mod server;
mod smart;
pub mod tls;
mod websocket;
