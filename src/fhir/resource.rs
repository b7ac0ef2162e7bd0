//! A resource as JSON: strict parsing in, canonical bytes out. Unknown to this module: what the elements mean.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::error::{FhirError, Kind};
use super::outcome::{Issue, IssueCode};
use super::types::{Instant, is_id};

/// Values of one document. In memory each takes many times the two bytes that it may have as text.
const MAX_VALUES: usize = 2_000_000;

/// The name under which serde_json hands out a number whose digits it keeps (feature `arbitrary_precision`).
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// Parses one JSON document strictly (R4 json.html): UTF-8, one object, unique property names, nothing after it,
/// nesting of at most 128 levels.
///
/// # Errors
/// 400 `structure` with the line and column.
pub fn parse_json(body: &[u8]) -> Result<Value, FhirError> {
    let value = parse_any_json(body)?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(FhirError::malformed("The body must be a JSON object with a resourceType.").code(IssueCode::Structure))
    }
}

/// Parses one JSON document of any kind as strictly as [`parse_json`].
///
/// # Errors
/// 400 `structure` with the line and column.
pub fn parse_any_json(body: &[u8]) -> Result<Value, FhirError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // Each value but the first of its list comes after a comma; a text may have some, too.
    if body.len() > MAX_VALUES && body.iter().filter(|byte| **byte == b',').count() > MAX_VALUES {
        let sentence = format!("The body has more than {MAX_VALUES} values: send it in parts.");
        return Err(FhirError::new(Kind::TooLarge, sentence));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        FhirError::malformed(format!("The body is not valid UTF-8 (first bad byte at {}).", error.valid_up_to()))
            .code(IssueCode::Structure)
    })?;
    let parsed = serde_json::from_str::<Strict>(text).map_err(|error| {
        FhirError::malformed(format!("The body is not valid JSON: {error}.")).code(IssueCode::Structure)
    });
    parsed.map(|Strict(value)| value)
}

/// A JSON value in which no object names a property twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(Value::Bool(value)))
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(Value::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(Value::Number(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Strict, E> {
        Number::from_f64(value).map(|number| Strict(Value::Number(number))).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Strict, E> {
        Ok(Strict(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Strict(Value::Array(array)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name == NUMBER_TOKEN && object.is_empty() {
                let Digits(digits) = entries.next_value()?;
                return digits.parse().map(|number| Strict(Value::Number(number))).map_err(de::Error::custom);
            }
            let Strict(value) = entries.next_value()?;
            if object.contains_key(&name) {
                return Err(de::Error::custom(format!("property \"{}\" occurs twice in one object", excerpt(&name))));
            }
            object.insert(name, value);
        }
        Ok(Strict(Value::Object(object)))
    }
}

/// The digits of a number. serde_json hands them over as a text of its own; a text that stands in the document under the
/// same name is borrowed from it, and is no number.
struct Digits(String);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OwnedText;

        impl Visitor<'_> for OwnedText {
            type Value = Digits;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name that is no number's")
            }

            fn visit_string<E>(self, digits: String) -> Result<Digits, E> {
                Ok(Digits(digits))
            }

            fn visit_str<E: de::Error>(self, _in_document: &str) -> Result<Digits, E> {
                Err(E::custom(format!("no property is called \"{NUMBER_TOKEN}\"")))
            }
        }

        deserializer.deserialize_any(OwnedText)
    }
}

/// `resourceType` of a JSON object.
///
/// # Errors
/// 400 when it is missing or no string.
pub fn type_name(body: &Value) -> Result<&str, FhirError> {
    body.get("resourceType").and_then(Value::as_str).ok_or_else(|| {
        FhirError::with_issue(
            Kind::Malformed,
            Issue::error(IssueCode::Structure, "The resource has no resourceType.").at("resourceType"),
        )
    })
}

/// `id` of a resource; `None` when absent.
///
/// # Errors
/// 400 when it is not a legal id.
pub fn id(body: &Value) -> Result<Option<&str>, FhirError> {
    match body.get("id") {
        None => Ok(None),
        Some(Value::String(id)) if is_id(id) => Ok(Some(id)),
        Some(other) => Err(FhirError::with_issue(
            Kind::Malformed,
            Issue::error(
                IssueCode::Value,
                format!("The id {} is not legal: 1 to 64 letters, digits, '-' and '.'.", excerpt(&other.to_string())),
            )
            .at("id"),
        )),
    }
}

/// A resource as text in two pieces, between which the server writes what is its own to give: `id`, `meta.versionId` and
/// `meta.lastUpdated`. Made once, outside the transaction that knows those three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstamped {
    /// `{"resourceType":"…"`.
    head: String,
    /// The members of `meta` that are the client's, without braces.
    meta: String,
    /// All other members, each after a comma, and the closing brace.
    tail: String,
}

impl Unstamped {
    /// Members keep their order, but `resourceType`, `id` and `meta` come first.
    pub fn new(body: &Value) -> Self {
        let member = |name: &str, value: &Value| format!("{}:{value}", Value::from(name));
        let members = body.as_object().into_iter().flatten();
        let mut unstamped = Self { head: String::from("{"), meta: String::new(), tail: String::new() };
        for (name, value) in members {
            match name.as_str() {
                "resourceType" => unstamped.head.push_str(&member(name, value)),
                "id" => {}
                "meta" => {
                    let own = value.as_object().into_iter().flatten().filter(|(name, _)| !is_servers(name));
                    unstamped.meta = own.map(|(name, value)| member(name, value)).collect::<Vec<_>>().join(",");
                }
                _ => {
                    unstamped.tail.push(',');
                    unstamped.tail.push_str(&member(name, value));
                }
            }
        }
        unstamped.tail.push('}');
        unstamped
    }

    /// The whole resource as one version of it is stored.
    pub fn stamped(&self, id: &str, version: i64, at: Instant) -> String {
        let Self { head, meta, tail } = self;
        let comma = if meta.is_empty() { "" } else { "," };
        format!(
            "{head},\"id\":\"{id}\",\"meta\":{{{meta}{comma}\"versionId\":\"{version}\",\"lastUpdated\":\"{}\"}}{tail}",
            at.to_fhir()
        )
    }
}

/// Members of `meta` that the server sets.
fn is_servers(name: &str) -> bool {
    matches!(name, "versionId" | "lastUpdated")
}

/// True when two bodies differ in nothing but what the server sets: such a write makes no new version.
pub fn same_content(left: &Value, right: &Value) -> bool {
    let (Value::Object(left), Value::Object(right)) = (left, right) else { return false };
    let is_own = |name: &str| matches!(name, "meta" | "id");
    let rest = |object: &Map<String, Value>| object.keys().filter(|name| !is_own(name)).count();
    rest(left) == rest(right)
        && left.iter().all(|(name, value)| is_own(name) || right.get(name) == Some(value))
        && same_meta(left.get("meta"), right.get("meta"))
}

fn same_meta(left: Option<&Value>, right: Option<&Value>) -> bool {
    let clients = |meta: Option<&Value>| -> Vec<(String, Value)> {
        let mut own: Vec<_> = meta
            .and_then(Value::as_object)
            .map(|meta| meta.iter().filter(|(name, _)| !is_servers(name)))
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        own.sort_by(|a, b| a.0.cmp(&b.0));
        own
    };
    clients(left) == clients(right)
}

/// At most 80 characters of a client's text, for a message.
pub fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hostile_json_is_refused_with_a_sentence() {
        let refused = |body: &[u8], part: &str| {
            let error = parse_json(body).expect_err("refused");
            assert!(error.to_string().contains(part), "{error}");
        };
        refused(b"{\"a\":1,\"a\":2}", "occurs twice");
        refused(b"{\"a\":\"\xff\"}", "UTF-8");
        refused(b"{} {}", "not valid JSON");
        refused(b"[1]", "must be a JSON object");
        refused("[".repeat(10_000).as_bytes(), "recursion limit");
        refused(b"{\"a\":1", "EOF");
        refused(format!("{{\"a\":[{}1]}}", "1,".repeat(MAX_VALUES + 1)).as_bytes(), "more than 2000000 values");
        refused(b"{\"a\":{\"$serde_json::private::Number\":\"1\"}}", "no property is called");
        refused(b"{\"a\":{\"\\u0024serde_json::private::Number\":\"\\u0031\"}}", "no property is called");
        refused(b"{\"a\":{\"$serde_json::private::Number\":1}}", "not valid JSON");
    }

    #[test]
    fn decimals_keep_their_digits() {
        let value = parse_json(b"{\"a\":1.10,\"b\":[0.000000000000000000001,1E3]}").expect("parses");
        assert_eq!(value.to_string(), "{\"a\":1.10,\"b\":[0.000000000000000000001,1e+3]}");
    }

    #[test]
    fn stamping_keeps_the_rest_of_meta() {
        let body =
            json!({"code": {}, "resourceType": "Basic", "meta": {"tag": [{"code": "x"}], "versionId": "9"}, "\"": 1.5});
        let stamped = Unstamped::new(&body).stamped("a", 2, Instant(1_500_000));
        assert_eq!(
            stamped,
            r#"{"resourceType":"Basic","id":"a","meta":{"tag":[{"code":"x"}],"versionId":"2","lastUpdated":"1970-01-01T00:00:01.500Z"},"code":{},"\"":1.5}"#
        );
        let bare = Unstamped::new(&json!({"resourceType": "Basic", "id": "z"})).stamped("a", 1, Instant(0));
        assert_eq!(
            bare,
            r#"{"resourceType":"Basic","id":"a","meta":{"versionId":"1","lastUpdated":"1970-01-01T00:00:00.000Z"}}"#
        );
    }

    #[test]
    fn content_is_the_same_whatever_the_server_set() {
        let body =
            json!({"resourceType": "Basic", "id": "a", "meta": {"tag": [{"code": "x"}], "versionId": "2"}, "code": {}});
        assert!(same_content(&body, &json!({"resourceType": "Basic", "code": {}, "meta": {"tag": [{"code": "x"}]}})));
        assert!(!same_content(&body, &json!({"resourceType": "Basic", "id": "a", "code": {}})));
        assert!(!same_content(&body, &json!({"resourceType": "Basic", "meta": {"tag": [{"code": "x"}]}})));
    }
}
