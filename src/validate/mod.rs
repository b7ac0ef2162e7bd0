//! What is wrong with a resource: pure, every issue in one walk.

pub mod structure;
