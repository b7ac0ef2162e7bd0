//! The integration suite: one binary. Every test that stores something runs on SQLite and on PostgreSQL.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod authz;
mod bulk;
mod conformance;
mod delivery;
mod feed;
mod harness;
mod import;
mod layering;
mod migrations;
mod net;
mod operators;
mod packages;
mod plan_net;
mod rest;
mod robustness;
mod search;
mod sender;
mod smart;
mod smoke;
mod subscriptions;
mod terminology;
mod transport;
mod validation;
