//! Delivery of notifications to other servers: what each attempt is signed with, when the next one is due, and which servers
//! are left alone for now.

pub mod breaker;
mod fan_out;
mod letter;
pub mod machine;
pub mod operate;
mod outcome;
mod recorder;
mod roster;
pub mod schedule;
mod worker;
