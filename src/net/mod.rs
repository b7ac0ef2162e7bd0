//! Calls to other machines: the only maker of outbound clients.
//!
//! A URL to call may come from whoever writes to the directory or registers with it. Called without care it would reach
//! what only this machine can: the metadata of a cloud, a database, a router. So [`guard`] says which addresses may be
//! called, and [`client`] asks it about the very address that it connects to.

pub mod client;
pub mod guard;

pub use client::{Client, Fetched, Limits, NetError};
pub use guard::Guard;
