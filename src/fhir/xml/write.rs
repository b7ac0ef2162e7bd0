//! JSON to XML.

use fhirbolt::element::Primitive;
use serde_json::{Map, Value};

use super::characters::{clip, escape, is_xml_char};
use super::read::Reader;
use super::scan::Token;
use super::shape::is_extension;
use super::{FHIR, R4Element, R4Value, XHTML};
use crate::fhir::error::{FhirError, Kind as Refusal};

pub(super) fn unwritable(why: &str) -> FhirError {
    FhirError::new(Refusal::NotAcceptable, format!("The resource cannot be shown as XML: {why}."))
}

/// One JSON object as fhirbolt's element: `x` and `_x` joined, attributes as primitives, everything else as elements.
/// All values are text, for that is what they are in XML. Nothing is made a list that was none.
pub(super) fn object_to_element(
    object: &Map<String, Value>,
    within: &str,
    depth: usize,
) -> Result<R4Element, FhirError> {
    let depth = depth.checked_sub(1).ok_or_else(|| unwritable("it is nested too deeply"))?;
    let is_resource = is_resource_object(object, within);
    let mut element = R4Element::with_capacity(object.len());
    for (key, value) in object {
        let (name, value, sibling) = match key.strip_prefix('_') {
            Some(name) if object.contains_key(name) => continue,
            Some(name) => (name, None, Some(value)),
            None => (key.as_str(), Some(value), object.get(&format!("_{key}"))),
        };
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(unwritable(&format!("'{}' cannot be the name of an element", clip(name))));
        }
        let is_attribute = match name {
            "resourceType" => is_resource,
            "id" => !is_resource,
            "url" => is_extension(within),
            _ => false,
        };
        if is_attribute {
            if let Some(text) = value.and_then(scalar) {
                element.insert(name.to_owned(), R4Value::Primitive(Primitive::String(text)));
            }
            continue;
        }
        let converted = match (value, sibling) {
            (Some(Value::Array(_)), _) | (None, Some(Value::Array(_))) => {
                let (values, siblings) = (items_of(value), items_of(sibling));
                let len = values.len().max(siblings.len());
                let list = (0..len).map(|n| item_to_element(values.get(n), siblings.get(n), name, depth));
                R4Value::Sequence(list.collect::<Result<_, _>>()?)
            }
            _ => R4Value::Element(item_to_element(value, sibling, name, depth)?),
        };
        element.insert(name.to_owned(), converted);
    }
    Ok(element)
}

fn item_to_element(
    value: Option<&Value>,
    sibling: Option<&Value>,
    name: &str,
    depth: usize,
) -> Result<R4Element, FhirError> {
    let mut element = match value {
        Some(Value::Object(object)) => return object_to_element(object, name, depth),
        Some(Value::Array(_)) => return Err(unwritable(&format!("'{}' has a list in a list", clip(name)))),
        _ => R4Element::new(),
    };
    if let Some(text) = value.and_then(scalar) {
        element.insert("value".to_owned(), R4Value::Primitive(Primitive::String(text)));
    }
    if let Some(Value::Object(object)) = sibling {
        // `_x` has an id and extensions. Its "value" would be taken for the value of x.
        let extra = object_to_element(object, name, depth)?;
        element.extend(extra.into_iter().filter(|(key, _)| key == "id" || key == "extension"));
    }
    Ok(element)
}

fn items_of(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// R4's ExampleScenario.instance has an element of the name resourceType, and is no resource.
fn is_resource_object(object: &Map<String, Value>, within: &str) -> bool {
    object.get("resourceType").is_some_and(Value::is_string) && within != "instance"
}

fn text_of<'e>(element: &'e R4Element, key: &str) -> Option<&'e str> {
    match element.get(key) {
        Some(R4Value::Primitive(Primitive::String(text))) => Some(text),
        _ => None,
    }
}

pub(super) fn write_resource(out: &mut String, resource: &R4Element, is_root: bool) {
    // A type that is no name would break the document, and no resource of that type exists.
    let name = text_of(resource, "resourceType").filter(|name| name.bytes().all(|b| b.is_ascii_alphabetic()));
    let name = name.filter(|name| !name.is_empty()).unwrap_or("Resource");
    out.extend(["<", name]);
    if is_root {
        out.extend([" xmlns=\"", FHIR, "\""]);
    }
    out.push('>');
    write_children(out, resource);
    out.extend(["</", name, ">"]);
}

fn write_children(out: &mut String, element: &R4Element) {
    for (name, value) in element {
        match value {
            R4Value::Element(child) => write_element(out, name, child),
            R4Value::Sequence(items) => items.iter().for_each(|item| write_element(out, name, item)),
            R4Value::Primitive(_) => {}
        }
    }
}

fn write_element(out: &mut String, name: &str, element: &R4Element) {
    if element.is_empty() {
        return;
    }
    if name == "div" {
        if let Some(narrative) = text_of(element, "value") {
            write_narrative(out, narrative);
        }
        return;
    }
    out.extend(["<", name]);
    if element.contains_key("resourceType") && matches!(element.get("resourceType"), Some(R4Value::Primitive(_))) {
        out.push('>');
        write_resource(out, element, false);
        out.extend(["</", name, ">"]);
        return;
    }
    for key in ["id", "url", "value"] {
        if let Some(text) = text_of(element, key) {
            out.extend([" ", key, "=\""]);
            escape(out, text);
            out.push('"');
        }
    }
    if element.values().any(|value| !matches!(value, R4Value::Primitive(_))) {
        out.push('>');
        write_children(out, element);
        out.extend(["</", name, ">"]);
    } else {
        out.push_str("/>");
    }
}

/// The narrative goes in as it is, once it is known to be one well-formed `div`: anything else could end the element
/// it stands in and begin another.
fn write_narrative(out: &mut String, narrative: &str) {
    // The one HTML entity that is common in the wild, though FHIR has none (R4 narrative.html).
    let narrative = narrative.trim().replace("&nbsp;", "&#160;");
    match well_formed_div(&narrative) {
        Some(div) => out.push_str(&div),
        None => {
            out.extend(["<div xmlns=\"", XHTML, "\">"]);
            escape(out, &narrative);
            out.push_str("</div>");
        }
    }
}

fn well_formed_div(narrative: &str) -> Option<String> {
    if !narrative.chars().all(is_xml_char) {
        return None;
    }
    let mut reader = Reader::new(narrative);
    // Many a div in JSON leaves its namespace out; there is no other it could mean.
    reader.namespaces.push(("", XHTML.into()));
    let Ok(Token::Start(tag)) = reader.scanner.next() else {
        return None;
    };
    reader.enter(&tag, 1).ok()?;
    let div = reader.narrative(&tag).ok()?;
    (tag.name == "div" && reader.scanner.rest.is_empty()).then_some(div)
}
