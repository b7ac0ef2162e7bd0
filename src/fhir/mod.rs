//! The model: resources, paths into them, issues about them. No I/O, no clock, no SQL.

pub mod definitions;
pub mod error;
pub mod outcome;
pub mod patch;
pub mod path;
pub mod resource;
pub mod subset;
pub mod terminology;
pub mod types;
pub mod xml;
