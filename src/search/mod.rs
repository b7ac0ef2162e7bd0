//! What a query means and what a resource offers to it; never how either is stored. Pure: no I/O, no clock, no SQL.

pub mod date;
pub mod extract;
pub mod fold;
pub mod geo;
pub mod include;
pub mod matching;
pub mod page;
pub mod param;
pub mod parse;
pub mod query;
pub mod value;
mod values;
