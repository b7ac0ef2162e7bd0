//! One file for each FHIR interaction (R4 http.html). Every write of the product passes [`mod@write`].

pub mod access;
pub mod answer;
pub mod audit;
pub mod batch;
pub mod bundle;
pub mod capability;
pub mod changes;
pub mod condition;
pub mod create;
pub mod delete;
mod error;
pub mod expected;
pub mod history;
pub mod link;
pub mod operations;
pub mod patch;
pub mod read;
pub mod rewrite;
pub mod search;
mod seen;
pub mod subscription;
mod targets;
pub mod transaction;
pub mod update;
pub mod write;
