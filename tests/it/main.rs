//! The integration suite: one binary. Every test that stores something runs on SQLite and on PostgreSQL.

mod harness;
mod conformance;
mod import;
mod plan_net;
mod rest;
mod robustness;
mod search;
mod smoke;
