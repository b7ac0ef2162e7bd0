//! Loading files into the directory: FHIR NDJSON, resources, Bundles, folders of them and FHIR packages.
//!
//! The life of a resource: [`source`] finds the files, [`reader`] cuts them into [`reader::Unit`]s (a line, or a
//! document), [`item`] reads a unit into puts, skips and rejects, [`commit`] stores many puts in one transaction.
//! [`pipeline`] runs the first steps on threads of their own and keeps the order, so that the one who commits always
//! finds the next batch ready.
//!
//! What makes an import repeatable: a resource is put under its own id, or under one that follows from its content
//! ([`identity`]), and content that is there already makes no new version. What makes it resumable: each transaction
//! also stores how many units of these files are done. So a crash, Ctrl-C or a full disk cost one transaction, and the
//! same command goes on.

mod bundle;
pub mod check;
mod commit;
mod identity;
mod item;
mod pipeline;
mod reader;
mod rejects;
pub mod source;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use thiserror::Error;

use crate::fhir::error::FhirError;

pub use pipeline::{Progress, import};
pub use source::Sources;
pub use summary::{Counts, Summary};

/// How to import.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where refused resources are listed; made when there is the first one.
    pub rejects: PathBuf,
    /// Resources of one transaction.
    pub transaction_resources: usize,
    /// Goes on where an earlier import of the same files ended. Otherwise it starts at their beginning.
    pub resume: bool,
    /// Set from outside to end the import after the transaction at hand.
    pub stop: Arc<AtomicBool>,
}

/// Why an import could not be run or ended early. What is wrong with single resources is in the rejects instead.
#[derive(Debug, Error)]
pub enum ImportError {
    #[error("{} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} holds no file to import: they end in .json, .ndjson, .jsonl or .tgz, with .gz or .zst if compressed", path.display())]
    Empty { path: PathBuf },
    #[error("refused resources cannot be listed in {}", path.display())]
    Rejects {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the database ended the import; what was committed stays, and the same command goes on from there")]
    Store(#[source] FhirError),
    #[error("a thread of the import ended early")]
    Thread(#[source] std::io::Error),
}
