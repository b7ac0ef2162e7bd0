//! FHIR XML to JSON and back (R4 xml.html, json.html).
//!
//! JSON is the only form the rest of the server knows; this module is the whole of the XML door. What is a list, a
//! number or a boolean, and in which order elements stand, comes from fhirbolt's `Element<R4>`. Its XML reader and
//! writer are not used, because they change what they carry: both trim the text inside a narrative (`a <b>b</b> c`
//! comes out as `a<b>b</b>c`), the reader refuses `xml:lang` in one, drops unknown attributes, takes
//! `<identifier value="1"/>` for an identifier with a value and loses whatever follows an empty contained resource, the
//! writer panics on a `div` without a value and leaves line breaks in attributes for the next parser to turn into
//! spaces. Its JSON reader wants `resourceType` first, turns a scalar into a one-element list and cuts integers to 32
//! bits, and is not used either. So no byte from outside reaches fhirbolt as a document: it is asked about paths
//! ([`shape`]), and it sorts ([`to_xml`]).

mod characters;
mod read;
mod scan;
mod shape;
#[cfg(test)]
mod tests;
mod write;

use fhirbolt::FhirReleases;
use fhirbolt::element::{Element, Value as FhirValue, to_element};
use serde_json::Value;

use super::error::FhirError;
use read::Reader;
use write::{object_to_element, unwritable, write_resource};

type R4Element = Element<{ FhirReleases::R4 }>;
type R4Value = FhirValue<{ FhirReleases::R4 }>;

const FHIR: &str = "http://hl7.org/fhir";
const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// Elements within each other, narratives included. R4 content stays below 20, and the reader recurses.
const MAX_DEPTH: usize = 64;
/// Attributes on one element, and namespaces in scope: each is searched from end to end.
const MAX_ATTRIBUTES: usize = 32;
/// JSON levels that [`to_xml`] follows: what `serde_json` reads at most.
const MAX_JSON_DEPTH: usize = 128;

/// Reads one resource from FHIR XML.
///
/// Strict where leniency would lose or invent data (unknown elements and attributes, text outside narratives, repeated
/// elements that do not repeat, empty elements), lenient about element order. No document type and no entities beyond
/// the five of XML itself, so there is nothing to expand and nothing to fetch. Time is linear in the body.
pub fn from_xml(body: &[u8]) -> Result<Value, FhirError> {
    let text = std::str::from_utf8(body).map_err(|fault| {
        FhirError::malformed(format!("The XML is not UTF-8: byte {} does not belong.", fault.valid_up_to() + 1))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(text);
    reader.resource_document().map_err(|fault| reader.locate(fault))
}

/// Writes one resource as FHIR XML, UTF-8, without indentation: white space in it is the resource's own.
///
/// A member that R4 does not know goes last. A narrative that is not XHTML is carried as text, and a character that
/// XML 1.0 has no way to write becomes U+FFFD.
pub fn to_xml(resource: &Value) -> Result<String, FhirError> {
    let resource = resource.as_object().ok_or_else(|| unwritable("it is not a JSON object"))?;
    if !resource.contains_key("resourceType") {
        return Err(unwritable("it has no resourceType"));
    }
    let element = object_to_element(resource, "", MAX_JSON_DEPTH)?;
    // XML wants the elements in the order of the specification (R4 xml.html); this is fhirbolt's sort.
    let sorted: R4Element =
        to_element(element).map_err(|fault| unwritable("fhirbolt cannot order it").caused_by(fault))?;
    let mut out = String::with_capacity(2048);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    write_resource(&mut out, &sorted, true);
    Ok(out)
}
