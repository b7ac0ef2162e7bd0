//! Errors of the authorization server, as RFC 6749 (5.2) words them.

use crate::auth::keys::KeyError;
use crate::auth::token::TokenError;
use crate::fhir::error::FhirError;
use crate::store::error::{StoreError, UnitError};

/// The `error` of an answer (RFC 6749, 4.1.2.1 and 5.2; RFC 7591, 3.2.2; OpenID Connect Core, 3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    UnsupportedTokenType,
    InvalidScope,
    InvalidToken,
    InsufficientScope,
    AccessDenied,
    LoginRequired,
    ConsentRequired,
    InvalidRedirectUri,
    InvalidClientMetadata,
    TemporarilyUnavailable,
    ServerError,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    pub fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::AccessDenied | Self::InsufficientScope => 403,
            Self::TemporarilyUnavailable => 503,
            Self::ServerError => 500,
            _ => 400,
        }
    }
}

/// A refusal: its code, and a sentence for whoever writes the client.
#[derive(Debug)]
pub struct OAuthError {
    pub code: Code,
    pub description: String,
    /// For the log alone.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl OAuthError {
    pub fn new(code: Code, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), source: None }
    }

    /// The one answer to every failure of a client to show who it is: it tells nobody how far they came.
    pub fn invalid_client() -> Self {
        Self::new(Code::InvalidClient, "The client is not known here, or did not prove that it is the one.")
    }

    fn caused_by(code: Code, description: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..Self::new(code, description) }
    }
}

impl std::fmt::Display for OAuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.description)
    }
}

impl std::error::Error for OAuthError {}

const UNAVAILABLE: &str = "The server cannot do this now; try again later.";

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        Self::caused_by(Code::TemporarilyUnavailable, UNAVAILABLE, error)
    }
}

impl UnitError for OAuthError {
    fn store_error(&self) -> Option<&StoreError> {
        self.source.as_ref()?.downcast_ref()
    }
}

impl From<KeyError> for OAuthError {
    fn from(error: KeyError) -> Self {
        Self::caused_by(Code::ServerError, "Internal error.", error)
    }
}

impl From<openssl::error::ErrorStack> for OAuthError {
    fn from(error: openssl::error::ErrorStack) -> Self {
        Self::caused_by(Code::ServerError, "Internal error.", error)
    }
}

impl From<TokenError> for OAuthError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(sentence) => Self::new(Code::InvalidToken, sentence),
            TokenError::Store(error) => error.into(),
            error => Self::caused_by(Code::ServerError, "Internal error.", error),
        }
    }
}

/// An event that cannot be recorded keeps what it is about from happening.
impl From<FhirError> for OAuthError {
    fn from(error: FhirError) -> Self {
        Self::caused_by(Code::TemporarilyUnavailable, UNAVAILABLE, error)
    }
}
