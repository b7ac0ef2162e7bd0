//! What an answer means: whether to go on, to try again, to try without that event, or to stop.

use std::time::Duration;

use crate::net::sender::Answered;

use super::letter::PostError;

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    /// It is about what was sent: others may be taken.
    Refused(String),
    /// It is about the recipient: all wait. `is_host` when it may be about its server, and not about this endpoint alone.
    Failed {
        why: String,
        retry_after: Option<Duration>,
        is_host: bool,
    },
    /// There is no use in trying again.
    Ended(String),
}

/// Reads an answer. 2xx is success; 410 says that nobody is there any more; 400, 409, 413, 415 and 422 are about the message;
/// everything else, redirects among it, about the recipient, and 429, 502, 503 and 504 about its server, as is no answer.
pub(super) fn outcome(answer: &Result<Answered, PostError>) -> Outcome {
    match answer {
        Ok(answer) if answer.is_success() => Outcome::Delivered,
        Ok(Answered { status, retry_after, .. }) => {
            let why = format!("the endpoint answered with status {status}");
            match status {
                410 => Outcome::Ended(why),
                400 | 409 | 413 | 415 | 422 => Outcome::Refused(why),
                _ => {
                    let is_host = matches!(status, 429 | 502 | 503 | 504);
                    Outcome::Failed { why, retry_after: *retry_after, is_host }
                }
            }
        }
        Err(PostError::Net(error)) if error.is_permanent() => Outcome::Ended(error.to_string()),
        Err(error) => {
            let is_host = matches!(error, PostError::Net(_));
            Outcome::Failed { why: error.to_string(), retry_after: None, is_host }
        }
    }
}
