//! The integration suite: one binary. Every test that stores something runs on SQLite and on PostgreSQL.

mod harness;
mod rest;
mod robustness;
mod search;
mod smoke;
