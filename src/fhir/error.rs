//! What a refusal is: a kind that maps to one HTTP status, and the issues that tell the caller why.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::outcome::{Issue, IssueCode};

/// Why an interaction was refused. Each kind is one HTTP status (R4 http.html, status codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Malformed,
    Unauthenticated,
    Forbidden,
    NotFound,
    NotAllowed,
    NotAcceptable,
    Conflict,
    Gone,
    PreconditionFailed,
    TooLarge,
    UnsupportedMedia,
    Invalid,
    Throttled,
    Internal,
    Unavailable,
}

impl Kind {
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::NotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::PreconditionFailed => 412,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::Invalid => 422,
            Self::Throttled => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    fn default_code(self) -> IssueCode {
        match self {
            Self::Malformed => IssueCode::Invalid,
            Self::Unauthenticated => IssueCode::Login,
            Self::Forbidden => IssueCode::Forbidden,
            Self::NotFound => IssueCode::NotFound,
            Self::NotAllowed => IssueCode::NotSupported,
            Self::NotAcceptable => IssueCode::NotSupported,
            Self::Conflict => IssueCode::Conflict,
            Self::Gone => IssueCode::Deleted,
            Self::PreconditionFailed => IssueCode::Conflict,
            Self::TooLarge => IssueCode::TooLong,
            Self::UnsupportedMedia => IssueCode::NotSupported,
            Self::Invalid => IssueCode::Processing,
            Self::Throttled => IssueCode::Throttled,
            Self::Internal => IssueCode::Exception,
            Self::Unavailable => IssueCode::Transient,
        }
    }
}

/// A refusal with two audiences: `issues` are for the caller, `source` is for the log and is never rendered.
#[derive(Debug)]
pub struct FhirError {
    pub kind: Kind,
    /// At least one.
    pub issues: Vec<Issue>,
    pub source: Option<Box<dyn Error + Send + Sync>>,
    /// ETag version of the deletion, for a 410 (R4 http.html#read).
    pub version: Option<i64>,
    /// After which time it may be tried again.
    pub wait: Option<Duration>,
}

impl FhirError {
    /// A refusal with one issue of the kind's usual code.
    pub fn new(kind: Kind, diagnostics: impl Into<String>) -> Self {
        Self::with_issue(kind, Issue::error(kind.default_code(), diagnostics))
    }

    pub fn with_issue(kind: Kind, issue: Issue) -> Self {
        Self::with_issues(kind, vec![issue])
    }

    pub fn with_issues(kind: Kind, issues: Vec<Issue>) -> Self {
        Self { kind, issues, source: None, version: None, wait: None }
    }

    pub fn malformed(diagnostics: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, diagnostics)
    }

    pub fn code(mut self, code: IssueCode) -> Self {
        for issue in &mut self.issues {
            issue.code = code;
        }
        self
    }

    /// The same refusal, located: every issue without an expression gets this one.
    pub fn at(mut self, expression: &str) -> Self {
        for issue in &mut self.issues {
            issue.expression.get_or_insert_with(|| expression.to_owned());
        }
        self
    }

    /// A refusal of too many requests.
    pub fn throttled(who: &str, wait: Duration) -> Self {
        let sentence = format!("Too many requests from {who}; try again in {} s.", seconds(wait));
        Self { wait: Some(wait), ..Self::new(Kind::Throttled, sentence) }
    }

    /// Whole seconds after which it may be tried again.
    pub fn wait_s(&self) -> Option<u64> {
        self.wait.map(seconds)
    }

    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl fmt::Display for FhirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, issue) in self.issues.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&issue.diagnostics)?;
            if let Some(expression) = &issue.expression {
                write!(f, " ({expression})")?;
            }
        }
        Ok(())
    }
}

impl Error for FhirError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
