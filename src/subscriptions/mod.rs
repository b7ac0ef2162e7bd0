//! Subscriptions: what a client may ask to be told of, which changes that is, and what it is told. Pure: no I/O, no clock,
//! no SQL, no sending.
//!
//! Two kinds are understood: those of base R4, whose criteria are a search (R4 subscription.html), and those of the
//! Subscriptions R5 Backport 1.1.0, whose criteria name a topic.

pub mod definition;
pub mod event;
pub mod notification;
pub mod registry;
pub mod topic;
pub mod trigger;
