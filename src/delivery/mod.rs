//! How changes reach those who asked for them, losing nothing.
//!
//! A commit adds to the log. [`fan_out`] walks the log behind its mark, finds out who is to be told ([`roster`]), and gives each
//! event the next number of each lane, in one transaction. A worker for each lane ([`worker`]) sends what is owed, one
//! call at a time: [`letter`] writes and signs it, [`outcome`] reads the answer, [`schedule`] and [`breaker`] say when to
//! try again, [`recorder`] keeps how far the lane has come. [`machine`] is the thread on which all of this happens.
//!
//! A lane belongs to one node at a time, which is known by a lock that ends with its process
//! ([`crate::store::presence`]). What a node that dies had sent without having it recorded is sent again, under the same numbers:
//! at least once, in order, and never another event under a number.
//!
//! WebSockets are no lanes' to call: what they are sent ([`socket`]) is read as it is numbered, and owed to nobody.

mod batch;
pub mod breaker;
mod fan_out;
pub mod keys;
mod letter;
pub mod machine;
pub mod operate;
mod outcome;
mod recorder;
mod roster;
pub mod schedule;
pub mod secrets;
pub mod signature;
pub mod socket;
pub mod trust;
mod viewer;
mod worker;
