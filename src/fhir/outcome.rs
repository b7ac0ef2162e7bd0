//! Issues and the OperationOutcome they are told in (R4 OperationOutcome, issue-severity and issue-type code systems).

use serde_json::{Map, Value, json};

/// How bad an issue is: `issue-severity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Information,
    Warning,
    Error,
    Fatal,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// What kind of issue it is: the codes of `issue-type` that this server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueCode {
    Invalid,
    Structure,
    Required,
    Value,
    Invariant,
    Security,
    Login,
    Forbidden,
    Processing,
    NotSupported,
    Duplicate,
    MultipleMatches,
    NotFound,
    Deleted,
    TooLong,
    CodeInvalid,
    Extension,
    TooCostly,
    BusinessRule,
    Conflict,
    Transient,
    LockError,
    NoStore,
    Exception,
    Timeout,
    Incomplete,
    Throttled,
    Informational,
}

impl IssueCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Structure => "structure",
            Self::Required => "required",
            Self::Value => "value",
            Self::Invariant => "invariant",
            Self::Security => "security",
            Self::Login => "login",
            Self::Forbidden => "forbidden",
            Self::Processing => "processing",
            Self::NotSupported => "not-supported",
            Self::Duplicate => "duplicate",
            Self::MultipleMatches => "multiple-matches",
            Self::NotFound => "not-found",
            Self::Deleted => "deleted",
            Self::TooLong => "too-long",
            Self::CodeInvalid => "code-invalid",
            Self::Extension => "extension",
            Self::TooCostly => "too-costly",
            Self::BusinessRule => "business-rule",
            Self::Conflict => "conflict",
            Self::Transient => "transient",
            Self::LockError => "lock-error",
            Self::NoStore => "no-store",
            Self::Exception => "exception",
            Self::Timeout => "timeout",
            Self::Incomplete => "incomplete",
            Self::Throttled => "throttled",
            Self::Informational => "informational",
        }
    }
}

/// The longest sentence that is told.
const DIAGNOSTICS_CHARS_MAX: usize = 1_000;

/// One `OperationOutcome.issue`. `diagnostics` is a sentence that is safe to show to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub severity: Severity,
    pub code: IssueCode,
    pub diagnostics: String,
    /// The rule that is broken: the key of an invariant, or `URL#element` of a StructureDefinition; told as details.text.
    pub rule: Option<String>,
    /// FHIRPath of the element, or `http.PARAMETER` for a search parameter (R4 OperationOutcome.issue.expression).
    pub expression: Option<String>,
}

impl Issue {
    pub fn error(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        let mut diagnostics = diagnostics.into();
        // A client's text may be in it, however long.
        if let Some((end, _)) = diagnostics.char_indices().nth(DIAGNOSTICS_CHARS_MAX) {
            diagnostics.truncate(end);
            diagnostics.push('…');
        }
        Self { severity: Severity::Error, code, diagnostics, rule: None, expression: None }
    }

    pub fn warning(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, diagnostics) }
    }

    pub fn information(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { severity: Severity::Information, ..Self::error(code, diagnostics) }
    }

    /// The same issue, located at a FHIRPath expression.
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        self.expression = Some(expression.into());
        self
    }

    /// The same issue, with the name of the rule that is broken.
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// True for `error` and `fatal`: the interaction cannot go on.
    pub fn is_error(&self) -> bool {
        self.severity >= Severity::Error
    }

    fn to_json(&self) -> Value {
        let mut issue = Map::new();
        issue.insert("severity".into(), self.severity.as_str().into());
        issue.insert("code".into(), self.code.as_str().into());
        if let Some(rule) = &self.rule {
            issue.insert("details".into(), json!({ "text": rule }));
        }
        issue.insert("diagnostics".into(), self.diagnostics.as_str().into());
        if let Some(expression) = &self.expression {
            issue.insert("expression".into(), json!([expression]));
        }
        Value::Object(issue)
    }
}

/// The OperationOutcome resource for some issues. With none it says that all is well, since `issue` is 1..*.
pub fn operation_outcome(issues: &[Issue]) -> Value {
    let all_ok = [Issue::information(IssueCode::Informational, "All OK")];
    let issues = if issues.is_empty() { &all_ok[..] } else { issues };
    json!({
        "resourceType": "OperationOutcome",
        "issue": issues.iter().map(Issue::to_json).collect::<Vec<_>>(),
    })
}
