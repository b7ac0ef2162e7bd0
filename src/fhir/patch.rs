//! The ways to change a part of a resource (R4 http.html#patch): JSON Patch and FHIRPath Patch.
//!
//! Both are atomic: all operations apply in order, or the resource stays as it was. What they leave behind is JSON; that
//! it is still a valid resource is for validation to say.

pub mod fhirpath_patch;
pub mod json_patch;
mod place;

use super::error::{FhirError, Kind};

/// How many operations one patch may have.
const MAX_OPERATIONS: usize = 1000;

fn check_count(operations: usize) -> Result<(), FhirError> {
    if operations <= MAX_OPERATIONS {
        return Ok(());
    }
    let message = format!("The patch has {operations} operations; at most {MAX_OPERATIONS} are allowed.");
    Err(FhirError::new(Kind::TooLarge, message))
}
