//! Delivery of notifications to other servers: what each attempt is signed with, when the next one is due, and which servers
//! are left alone for now.

pub mod breaker;
pub mod keys;
pub mod schedule;
pub mod secrets;
pub mod signature;
