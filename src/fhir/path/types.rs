//! What type an element can be, told from its place and shape, since JSON carries no type names.

use serde_json::Value;

use super::node::{Item, Node};

/// The types of an open choice `value[x]` (R4 datatypes.html#open), as they end a property name. Only these make
/// `periodUnit` something else than a choice of `period`.
const CHOICES: [&str; 50] = [
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "Base64Binary",
    "Boolean",
    "Canonical",
    "Code",
    "CodeableConcept",
    "Coding",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Count",
    "DataRequirement",
    "Date",
    "DateTime",
    "Decimal",
    "Distance",
    "Dosage",
    "Duration",
    "Expression",
    "HumanName",
    "Id",
    "Identifier",
    "Instant",
    "Integer",
    "Markdown",
    "Meta",
    "Money",
    "Oid",
    "ParameterDefinition",
    "Period",
    "PositiveInt",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "RelatedArtifact",
    "SampledData",
    "Signature",
    "String",
    "Time",
    "Timing",
    "TriggerDefinition",
    "UnsignedInt",
    "Uri",
    "Url",
    "UsageContext",
    "Uuid",
];

/// True when a property name that goes on with `suffix` is a choice element of that type.
pub fn is_choice_suffix(suffix: &str) -> bool {
    suffix.as_bytes().first().is_some_and(u8::is_ascii_uppercase) && CHOICES.contains(&suffix)
}

/// The elements of the data types, for telling an object's type when its name does not.
const SHAPES: [(&str, &[&str]); 24] = [
    ("Address", &["use", "type", "text", "line", "city", "district", "state", "postalCode", "country", "period"]),
    ("Annotation", &["authorReference", "authorString", "time", "text"]),
    ("Attachment", &["contentType", "language", "data", "url", "size", "hash", "title", "creation"]),
    ("CodeableConcept", &["coding", "text"]),
    ("Coding", &["system", "version", "code", "display", "userSelected"]),
    ("ContactDetail", &["name", "telecom"]),
    ("ContactPoint", &["system", "value", "use", "rank", "period"]),
    ("Expression", &["description", "name", "language", "expression", "reference"]),
    ("HumanName", &["use", "text", "family", "given", "prefix", "suffix", "period"]),
    ("Identifier", &["use", "type", "system", "value", "period", "assigner"]),
    ("Meta", &["versionId", "lastUpdated", "source", "profile", "security", "tag"]),
    ("Money", &["value", "currency"]),
    ("Narrative", &["status", "div"]),
    ("Period", &["start", "end"]),
    ("Quantity", &["value", "comparator", "unit", "system", "code"]),
    ("Range", &["low", "high"]),
    ("Ratio", &["numerator", "denominator"]),
    ("Reference", &["reference", "type", "identifier", "display"]),
    ("RelatedArtifact", &["type", "label", "display", "citation", "url", "document", "resource"]),
    ("SampledData", &["origin", "period", "factor", "lowerLimit", "upperLimit", "dimensions", "data"]),
    ("Signature", &["type", "when", "who", "onBehalfOf", "targetFormat", "sigFormat", "data"]),
    ("Timing", &["event", "repeat", "code"]),
    ("Extension", &["url"]),
    ("UsageContext", &["code", "valueCodeableConcept", "valueQuantity", "valueRange", "valueReference"]),
];

/// True when the node is of the type or of a type derived from it. Resources, choice elements and computed values know
/// their type. Of any other element it says whether it could be: a JSON string could be of every type that is written
/// as a string, and an object of every data type that has all its members.
pub(super) fn is(node: &Node, name: &str) -> bool {
    match &node.item {
        Item::Target(actual) => is_resource(actual, name),
        Item::Boolean(_) => same(name, "boolean"),
        Item::Text(_) => same(name, "string"),
        Item::Temporal(text) => match text.contains('T') {
            true => same(name, "dateTime") || (text.starts_with('T') && same(name, "time")),
            false => same(name, "date"),
        },
        Item::Number(number) => same(name, if number.as_integer().is_some() { "integer" } else { "decimal" }),
        Item::Element(value) => match (node.choice, value.get("resourceType").and_then(Value::as_str)) {
            (Some(actual), _) => name == "Element" || derives(actual, name),
            (None, Some(actual)) => is_resource(actual, name),
            (None, None) => could_be(value, name),
        },
    }
}

/// True when a resource type is `name` or one of the two abstract types over it.
pub(super) fn is_resource(actual: &str, name: &str) -> bool {
    match name {
        "Resource" => true,
        "DomainResource" => !matches!(actual, "Bundle" | "Binary" | "Parameters"),
        _ => actual == name,
    }
}

/// Equality but for the case of the first letter, in which `DateTime` of a property differs from the type `dateTime`.
fn same(left: &str, right: &str) -> bool {
    match (left.split_at_checked(1), right.split_at_checked(1)) {
        (Some((a, left)), Some((b, right))) => left == right && a.eq_ignore_ascii_case(b),
        _ => false,
    }
}

fn derives(actual: &str, name: &str) -> bool {
    let base = match actual {
        "Age" | "Count" | "Distance" | "Duration" | "SimpleQuantity" => "Quantity",
        "Canonical" | "Oid" | "Url" | "Uuid" => "uri",
        "Code" | "Id" | "Markdown" => "string",
        "PositiveInt" | "UnsignedInt" => "integer",
        _ => actual,
    };
    same(actual, name) || same(base, name)
}

fn could_be(value: &Value, name: &str) -> bool {
    match value {
        Value::Bool(_) => same(name, "boolean"),
        Value::Number(number) if number.as_str().contains(['.', 'e', 'E']) => same(name, "decimal"),
        Value::Number(_) => {
            matches!(name, "integer" | "Integer" | "decimal" | "Decimal" | "positiveInt" | "unsignedInt")
        }
        Value::String(text) => match name {
            "date" | "dateTime" | "instant" | "time" | "Date" | "DateTime" | "Time" => {
                super::temporal::Temporal::parse(text).is_some()
            }
            "string" | "String" | "uri" | "url" | "canonical" | "code" | "id" | "oid" | "uuid" | "markdown" => true,
            "base64Binary" | "xhtml" => true,
            _ => false,
        },
        Value::Object(map) => {
            let fits = |members: &[&str]| {
                let own = |key: &str| matches!(key, "id" | "extension") || members.contains(&key);
                map.keys().all(|key| {
                    own(key.strip_prefix('_').unwrap_or(key))
                        // The only data type here whose members have no fixed names is Extension.
                        || (name == "Extension" && key.strip_prefix("value").is_some_and(is_choice_suffix))
                })
            };
            match name {
                "Element" | "BackboneElement" => true,
                "Age" | "Count" | "Distance" | "Duration" | "SimpleQuantity" => is_shape("Quantity", fits),
                _ => is_shape(name, fits),
            }
        }
        Value::Null | Value::Array(_) => false,
    }
}

fn is_shape(name: &str, fits: impl Fn(&[&str]) -> bool) -> bool {
    SHAPES.iter().any(|(shape, members)| *shape == name && fits(members))
}

/// The resource type a literal reference names (R4 references.html#literal): `Practitioner/1`, with or without a base
/// URL and `/_history/`, or a conditional `Practitioner?identifier=`.
pub fn type_in_reference(reference: &str) -> Option<&str> {
    let path = reference.split(['?', '#', '|']).next()?;
    if path.len() < reference.len() && !path.contains('/') && is_type_name(path) {
        return Some(path);
    }
    let path = path.split("/_history/").next()?;
    let mut segments = path.rsplit('/');
    let (_id, name) = (segments.next()?, segments.next()?);
    is_type_name(name).then_some(name)
}

fn is_type_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_name_their_type() {
        let check = |reference: &str, want: Option<&str>| assert_eq!(type_in_reference(reference), want, "{reference}");
        check("Practitioner/1", Some("Practitioner"));
        check("https://example.org/fhir/Practitioner/1", Some("Practitioner"));
        check("Practitioner/1/_history/2", Some("Practitioner"));
        check("Practitioner?identifier=a|b/c", Some("Practitioner"));
        check("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", None);
        check("#p", None);
        check("Practitioner", None);
        check("", None);
    }
}
