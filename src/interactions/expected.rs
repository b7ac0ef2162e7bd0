//! What a client believes to be stored when it writes (R4 http.html#concurrency; RFC 9110, 13.1.1 and 13.1.2).

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;
use crate::search::value::Target;
use crate::store::resources::Current;

/// The state under which alone a write may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `If-Match: W/"3"`: this version is the current one.
    Version(i64),
    /// `If-Match: *`: the resource is here, in whatever version.
    Anything,
    /// `If-None-Match: *`: the resource is not here.
    Nothing,
}

impl Expected {
    /// Reads the two headers of a write, or their twins in an entry of a Bundle.
    ///
    /// # Errors
    /// 400 for a value that cannot be used, and for both at once.
    pub fn read(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<Option<Self>, FhirError> {
        let bad = |sentence: String| Err(FhirError::malformed(sentence).code(IssueCode::Value));
        match (if_match.map(str::trim), if_none_match.map(str::trim)) {
            (None, None) => Ok(None),
            (Some("*"), None) => Ok(Some(Self::Anything)),
            (None, Some("*")) => Ok(Some(Self::Nothing)),
            (Some(tag), None) => match version_of(tag) {
                Some(version) => Ok(Some(Self::Version(version))),
                None => bad(format!("If-Match is an ETag such as W/\"3\", or *, not '{}'.", excerpt(tag))),
            },
            (None, Some(tag)) => bad(format!("If-None-Match of a write is *, not '{}'.", excerpt(tag))),
            (Some(_), Some(_)) => bad("A write has If-Match or If-None-Match, not both.".to_owned()),
        }
    }

    /// # Errors
    /// 412 when something else is stored.
    pub fn check(self, target: &Target, current: Option<&Current>) -> Result<(), FhirError> {
        let Target { resource_type, id } = target;
        let version = current.filter(|current| current.body.is_some()).map(|current| current.version);
        let sentence = match (self, version) {
            (Self::Version(expected), Some(version)) if version == expected => return Ok(()),
            (Self::Anything, Some(_)) | (Self::Nothing, None) => return Ok(()),
            (Self::Version(expected), Some(version)) => format!(
                "{resource_type}/{id} is at version {version}, not {expected}; read it again and repeat the change."
            ),
            (Self::Version(expected), None) => {
                format!("{resource_type}/{id} is not here, so it has no version {expected}.")
            }
            (Self::Anything, None) => format!("{resource_type}/{id} is not here."),
            (Self::Nothing, Some(version)) => format!("{resource_type}/{id} is here already, at version {version}."),
        };
        Err(FhirError::new(Kind::PreconditionFailed, sentence))
    }
}

/// The version in an ETag: `W/"3"`, `"3"`, or a bare 3 as some clients send it.
pub fn version_of(tag: &str) -> Option<i64> {
    let tag = tag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
    version_number(tag)
}

/// A version as this server writes it.
pub fn version_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|version: &i64| *version >= 0 && version.to_string() == text)
}
