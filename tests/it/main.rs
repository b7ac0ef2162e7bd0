//! The integration suite: one binary. Every test that stores something runs on SQLite and on PostgreSQL.

mod conformance;
mod harness;
mod import;
mod layering;
mod migrations;
mod plan_net;
mod rest;
mod robustness;
mod search;
mod smoke;
