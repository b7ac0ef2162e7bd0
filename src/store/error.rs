//! What can go wrong with a database. The only file that tells diesel's errors apart.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the database URL '{url}' is not understood: use sqlite:FILE or postgres://USER@HOST/DATABASE")]
    Url { url: String },
    #[error("the database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the search took longer than the time limit")]
    TimeLimit,
    #[error("nobody waits for the answer any more")]
    Cancelled,
    #[error("too many requests are waiting")]
    Busy,
    /// Another transaction was in the way; the same unit may succeed now.
    #[error("two transactions were in each other's way")]
    Contended(#[source] Option<DieselError>),
    #[error("the database was made by a newer release: it has migration {found}, this release knows {known}")]
    Newer { found: i64, known: i64 },
    #[error("a statement failed")]
    Statement(#[source] DieselError),
    #[error("what is stored cannot be read: {0}")]
    Corrupt(String),
}

/// An error of a unit of work, which may be the store's own: the store retries and moves units by it.
pub trait UnitError: From<StoreError> + Send + 'static {
    fn store_error(&self) -> Option<&StoreError>;
}

impl UnitError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl StoreError {
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// Words of SQLite's errors that mean: not now, the disk or the file is not there as it should be.
const SQLITE_UNAVAILABLE: &[&str] = &[
    "disk is full",
    "disk I/O error",
    "database is locked",
    "unable to open database",
    "readonly database",
    "disk image is malformed",
    "no such table",
    "no transaction is active",
];

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        let message = match &error {
            DieselError::DatabaseError(kind, info) => {
                match kind {
                    // The other transaction stored the same new name first; on the next attempt it is found.
                    DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::UniqueViolation => {
                        return Self::Contended(Some(error));
                    }
                    DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
                        return Self::unavailable(error);
                    }
                    _ => {}
                }
                info.message()
            }
            DieselError::BrokenTransactionManager
            | DieselError::AlreadyInTransaction
            | DieselError::NotInTransaction => {
                return Self::unavailable(error);
            }
            _ => return Self::Statement(error),
        };
        if message.contains(super::limit::CANCELLED) {
            Self::Cancelled
        } else if message.contains(super::limit::TIME_LIMIT) || message.contains("statement timeout") {
            Self::TimeLimit
        } else if message.contains("deadlock detected") {
            Self::Contended(Some(error))
        } else if SQLITE_UNAVAILABLE.iter().any(|words| message.contains(words)) || is_postgres_unavailable(message) {
            Self::unavailable(error)
        } else {
            Self::Statement(error)
        }
    }
}

/// PostgreSQL going down, coming up, out of connections or out of disk.
fn is_postgres_unavailable(message: &str) -> bool {
    [
        "terminating connection",
        "shutting down",
        "starting up",
        "recovery mode",
        "too many clients",
        "connection closed",
        "error communicating with the server",
        "could not extend file",
        "No space left on device",
        "read-only transaction",
    ]
    .iter()
    .any(|words| message.contains(words))
}
