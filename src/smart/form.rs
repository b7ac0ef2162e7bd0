//! The parameters of a request, from a form or a URL (RFC 6749, 3.1 and 3.2).

use super::error::{Code, OAuthError};

/// Parameters of one request, and bytes of the longest value: an assertion or a token.
const PARAMETERS_MAX: usize = 50;
const VALUE_BYTES_MAX: usize = 16_384;

/// Decoded parameters, each once.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// # Errors
    /// `invalid_request` when a parameter is repeated, or there is more than anybody needs.
    pub fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        let wrong = |sentence: &str| OAuthError::new(Code::InvalidRequest, sentence);
        let mut form = Self::default();
        // What has no value counts as left out.
        for (name, value) in form_urlencoded::parse(text).into_owned().filter(|(_, value)| !value.is_empty()) {
            if form.get(&name).is_some() {
                return Err(wrong("A parameter is given twice."));
            }
            if form.0.len() == PARAMETERS_MAX || value.len() > VALUE_BYTES_MAX {
                return Err(wrong("The request has more parameters, or longer ones, than this server reads."));
            }
            form.0.push((name, value));
        }
        Ok(form)
    }

    /// The same parameters as a query.
    pub fn to_query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// # Errors
    /// `invalid_request` when it is not there.
    pub fn require(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::new(Code::InvalidRequest, format!("The parameter {name} is missing.")))
    }
}
