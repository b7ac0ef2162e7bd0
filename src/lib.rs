#![doc = include_str!("ARCHITECTURE.md")]

pub mod fhir;

pub mod config;
pub mod search;
pub mod subscriptions;
pub mod validate;

pub mod files;
pub mod net;
pub mod packages;

pub mod store;

pub mod auth;
pub mod limits;

pub mod app;
pub mod delivery;
pub mod interactions;
pub mod smart;

pub mod http;

pub mod bulk;
pub mod demo;
pub mod ingest;

pub mod cli;
