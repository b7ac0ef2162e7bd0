//! What the store's errors mean to a caller.

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::store::error::{StoreError, UnitError};

impl From<StoreError> for FhirError {
    fn from(error: StoreError) -> Self {
        let refusal = match &error {
            StoreError::Unavailable(_) => {
                Self::new(Kind::Unavailable, "The database cannot be used at the moment; try again soon.")
            }
            StoreError::Busy => {
                Self::new(Kind::Unavailable, "Too many requests are waiting; try again in a few seconds.")
                    .code(IssueCode::Throttled)
            }
            StoreError::TimeLimit => {
                Self::new(Kind::Unavailable, "The search takes too long; narrow it, or ask for less at once.")
                    .code(IssueCode::TooCostly)
            }
            StoreError::Cancelled => {
                Self::new(Kind::Unavailable, "The request was ended before it was done; try again.")
            }
            StoreError::Contended(_) => {
                Self::new(Kind::Conflict, "Other writes to the same resources were in the way; try again.")
                    .code(IssueCode::LockError)
            }
            StoreError::Url { .. } | StoreError::Newer { .. } | StoreError::Statement(_) | StoreError::Corrupt(_) => {
                Self::new(Kind::Internal, "Internal error.")
            }
        };
        refusal.caused_by(error)
    }
}

impl UnitError for FhirError {
    fn store_error(&self) -> Option<&StoreError> {
        self.source.as_ref()?.downcast_ref()
    }
}
