//! What a request says about the answer it wants, and about the state it believes in (R4 http.html#mime-type, #general).

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};
use serde_json::Value;

use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::{excerpt, parse_json};
use crate::fhir::subset::Summary;
use crate::fhir::xml;
use crate::interactions::expected::{Expected, version_of};
use crate::search::parse::Handling;

use super::hosts;

/// JSON or XML, under the name that the client used for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub is_xml: bool,
    pub mime: &'static str,
}

const FHIR_JSON: Format = Format { is_xml: false, mime: "application/fhir+json; charset=utf-8" };
const FHIR_XML: Format = Format { is_xml: true, mime: "application/fhir+xml; charset=utf-8" };
const JSON: Format = Format { is_xml: false, mime: "application/json; charset=utf-8" };
const XML: Format = Format { is_xml: true, mime: "application/xml; charset=utf-8" };

/// `Prefer: return=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    Minimal,
    Representation,
    OperationOutcome,
}

/// The wishes of a request.
#[derive(Clone, Debug)]
pub struct Wishes {
    pub format: Format,
    pub pretty: bool,
    pub returns: Option<Return>,
    pub handling: Handling,
    pub summary: Summary,
    pub elements: Vec<String>,
    /// The FHIR base as this client names it, without a trailing slash.
    pub base: String,
}

impl Wishes {
    /// What to answer in when the request itself is at fault.
    pub fn plain(app: &App) -> Self {
        Self {
            format: FHIR_JSON,
            pretty: false,
            returns: None,
            handling: Handling::Default,
            summary: Summary::False,
            elements: Vec::new(),
            base: app.base().to_owned(),
        }
    }

    /// The wishes in the headers, the URL, and the form of a search that is posted.
    ///
    /// # Errors
    /// 406 when the client accepts neither JSON nor XML; 400 for a `_summary` that is none.
    pub fn read(app: &App, request: &HttpRequest, form: &[u8]) -> Result<Self, FhirError> {
        let mut wishes = Self { base: hosts::base(app, request), ..Self::plain(app) };
        let mut named = None;
        if !(request.query_string().is_empty() && form.is_empty()) {
            let pairs = form_urlencoded::parse(request.query_string().as_bytes()).chain(form_urlencoded::parse(form));
            for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
                match name.as_ref() {
                    "_format" => named = Some(value.into_owned()),
                    "_pretty" => wishes.pretty = value == "true",
                    "_summary" => {
                        wishes.summary = Summary::parse(&value).ok_or_else(|| {
                            FhirError::malformed("_summary is true, text, data, count or false.").at("http._summary")
                        })?;
                    }
                    "_elements" => wishes.elements.extend(value.split(',').map(|name| name.trim().to_owned())),
                    _ => {}
                }
            }
        }
        wishes.format = match named {
            Some(name) => format_named(&name).ok_or_else(|| not_acceptable(&name))?,
            None => accepted(request)?,
        };
        wishes.read_prefer(request);
        Ok(wishes)
    }

    /// The wishes of a request that is answered in JSON, whatever else its client accepts.
    pub fn in_json(app: &App, request: &HttpRequest) -> Self {
        let mut wishes = Self { base: hosts::base(app, request), ..Self::plain(app) };
        wishes.read_prefer(request);
        wishes
    }

    fn read_prefer(&mut self, request: &HttpRequest) {
        for prefer in
            text_headers(request, &HeaderName::from_static("prefer")).flat_map(|value| value.split([',', ';']))
        {
            match prefer.trim() {
                "return=minimal" => self.returns = Some(Return::Minimal),
                "return=representation" => self.returns = Some(Return::Representation),
                "return=OperationOutcome" => self.returns = Some(Return::OperationOutcome),
                "handling=lenient" => self.handling = Handling::Lenient,
                "handling=strict" => self.handling = Handling::Strict,
                _ => {}
            }
        }
    }
}

fn text_headers<'r>(request: &'r HttpRequest, name: &HeaderName) -> impl Iterator<Item = &'r str> {
    request.headers().get_all(name).filter_map(|value| value.to_str().ok())
}

fn header_text<'r>(request: &'r HttpRequest, name: &'static str) -> Option<&'r str> {
    request.headers().get(name)?.to_str().ok()
}

/// A format by a value of `_format`. A `+` that was not percent-encoded has become a space.
fn format_named(name: &str) -> Option<Format> {
    Some(match name.split(';').next().unwrap_or_default().trim() {
        "json" | "application/fhir+json" | "application/fhir json" | "text/fhir+json" => FHIR_JSON,
        "application/json" | "text/json" => JSON,
        "xml" | "application/fhir+xml" | "application/fhir xml" => FHIR_XML,
        "application/xml" | "text/xml" => XML,
        _ => return None,
    })
}

fn accepted(request: &HttpRequest) -> Result<Format, FhirError> {
    let mut best: Option<(f32, Format)> = None;
    let mut has_any = false;
    for range in text_headers(request, &header::ACCEPT).flat_map(|value| value.split(',')) {
        has_any = true;
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let (mut quality, mut is_version_known) = (1.0, true);
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("q", value)) => quality = value.parse().unwrap_or(0.0),
                Some(("fhirVersion", version)) => is_version_known = is_r4(version),
                _ => {}
            }
        }
        let format = match name {
            "*/*" | "application/*" => Some(FHIR_JSON),
            "text/html" => None,
            _ => format_named(&name.to_ascii_lowercase()),
        };
        if let Some(format) = format.filter(|_| is_version_known && quality > 0.0)
            && best.is_none_or(|(so_far, _)| quality > so_far)
        {
            best = Some((quality, format));
        }
    }
    match best {
        Some((_, format)) => Ok(format),
        None if !has_any => Ok(FHIR_JSON),
        None => Err(not_acceptable(header_text(request, "accept").unwrap_or_default())),
    }
}

fn is_r4(version: &str) -> bool {
    matches!(version.trim_matches('"'), "4.0" | "4.0.0" | "4.0.1" | "R4")
}

fn not_acceptable(asked: &str) -> FhirError {
    let sentence = format!(
        "'{}' cannot be answered; this server speaks application/fhir+json and application/fhir+xml of FHIR 4.0.",
        excerpt(asked)
    );
    FhirError::new(Kind::NotAcceptable, sentence)
}

/// A body's media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Xml,
    JsonPatch,
    Form,
}

/// The media type of a request body.
///
/// # Errors
/// 415 for any other than JSON, XML, JSON Patch or a form, for another FHIR version, or for another charset than UTF-8.
pub fn media(request: &HttpRequest) -> Result<Media, FhirError> {
    let text = header_text(request, "content-type").unwrap_or_default();
    let refuse = || {
        let sentence = format!(
            "The Content-Type '{}' is not supported; send application/fhir+json or application/fhir+xml in UTF-8.",
            excerpt(text)
        );
        FhirError::new(Kind::UnsupportedMedia, sentence)
    };
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    for parameter in parts {
        match parameter.split_once('=') {
            Some((name, value))
                if name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8") =>
            {
                return Err(refuse());
            }
            Some(("fhirVersion", version)) if !is_r4(version) => return Err(refuse()),
            _ => {}
        }
    }
    match name.as_str() {
        "application/fhir+json" | "application/json" | "text/json" => Ok(Media::Json),
        "application/fhir+xml" | "application/xml" | "text/xml" => Ok(Media::Xml),
        "application/json-patch+json" => Ok(Media::JsonPatch),
        "application/x-www-form-urlencoded" => Ok(Media::Form),
        _ => Err(refuse()),
    }
}

/// The resource in a body.
///
/// # Errors
/// 415 for another media type, 400 when it cannot be parsed.
pub fn resource(request: &HttpRequest, body: &[u8]) -> Result<Value, FhirError> {
    match media(request)? {
        Media::Json => parse_json(body),
        Media::Xml => xml::from_xml(body),
        Media::JsonPatch | Media::Form => Err(FhirError::new(
            Kind::UnsupportedMedia,
            "A resource is sent as application/fhir+json or application/fhir+xml.",
        )),
    }
}

/// A header on which a write depends: one that cannot be read must not be passed over.
fn condition<'r>(request: &'r HttpRequest, name: &'static str) -> Result<Option<&'r str>, FhirError> {
    let mut values = request.headers().get_all(name);
    match (values.next().map(|value| std::str::from_utf8(value.as_bytes())), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(FhirError::malformed(format!("The header {name} stands once, in UTF-8.")).code(IssueCode::Value)),
    }
}

/// What `If-Match` or `If-None-Match` of a write expects.
///
/// # Errors
/// As [`Expected::read`].
pub fn expected(request: &HttpRequest) -> Result<Option<Expected>, FhirError> {
    Expected::read(condition(request, "if-match")?, condition(request, "if-none-match")?)
}

/// True when the client has what it would get: by `If-None-Match`, or else by `If-Modified-Since`.
pub fn is_known(request: &HttpRequest, version: Option<i64>, modified_s: Option<i64>) -> bool {
    if let Some(text) = header_text(request, "if-none-match") {
        return text.split(',').any(|tag| tag.trim() == "*" || (version.is_some() && version_of(tag) == version));
    }
    let since = header_text(request, "if-modified-since").and_then(|text| httpdate::parse_http_date(text).ok());
    let since_s = since
        .and_then(|since| since.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|age| i64::try_from(age.as_secs()).ok());
    matches!((since_s, modified_s), (Some(since), Some(modified)) if modified <= since)
}

/// The text of `If-None-Exist`.
///
/// # Errors
/// 400 when it cannot be read.
pub fn if_none_exist(request: &HttpRequest) -> Result<Option<&str>, FhirError> {
    condition(request, "if-none-exist")
}

/// The decoded parameters of the URL.
pub fn query(request: &HttpRequest) -> Vec<(String, String)> {
    form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect()
}
