//! Calls to other machines: the only maker of outbound clients.
//!
//! A URL to call may come from whoever writes to the directory or registers with it. Called without care it would reach
//! what only this machine can: the metadata of a cloud, a database, a router. So [`guard`] says which addresses may be
//! called, and [`mod@line`] asks it about the very address that it connects to. [`client`] fetches, [`sender`] posts.

pub mod client;
pub mod guard;
pub mod line;
pub mod sender;

pub use client::{Client, Fetched};
pub use guard::Guard;
pub use line::{Limits, NetError};
pub use sender::{Answered, Post, Sender, host_of};
