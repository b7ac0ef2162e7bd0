//! The parameters of an operation, from the URL and from a body (R4 operations.html#request). Nothing is dropped silently:
//! a parameter that is not declared is refused.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;

use super::bad;

/// Parameters in one request.
const PARAMETERS_MAX: usize = 100;

/// What came with a request.
pub struct Sent {
    /// The decoded parameters of the URL.
    pub query: Vec<(String, String)>,
    /// The resource in the body of a POST: Parameters, or the one resource that the operation takes.
    pub body: Option<Value>,
}

/// What a parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Any of the types that are text: string, code, uri, canonical …
    Text,
    /// A number of things, 0 or more.
    Count,
    Flag,
    Coding,
    CodeableConcept,
    /// A resource of this type.
    Resource(&'static str),
    /// A resource of any type; the body itself unless it is Parameters.
    AnyResource,
}

/// A parameter that an operation takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub name: &'static str,
    pub shape: Shape,
    pub repeats: bool,
}

/// The values by name, each of the shape that was declared: text, a number, a boolean, or an object.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    values: HashMap<&'static str, Vec<Value>>,
}

impl Arguments {
    /// Reads what was sent.
    ///
    /// # Errors
    /// 400 with one issue for each parameter that cannot be used, located at `http.NAME`.
    pub(super) fn read(declared: &[Declared], sent: Sent) -> Result<Self, FhirError> {
        let mut arguments = Self::default();
        let mut issues = Vec::new();
        let mut take = |name: &str, read: &mut dyn FnMut(Shape) -> Result<Value, FhirError>| match arguments
            .take(declared, name, read)
        {
            Ok(()) => {}
            Err(error) => issues.extend(error.issues),
        };
        let body = parts(declared, sent.body)?;
        if sent.query.len() + body.len() > PARAMETERS_MAX {
            let sentence = format!("An operation takes at most {PARAMETERS_MAX} parameters.");
            return Err(FhirError::malformed(sentence).code(IssueCode::TooCostly).at("Parameters.parameter"));
        }
        for (name, text) in sent.query {
            // `_format` and `_pretty` shape the answer, and an empty value asks for nothing, as in a search.
            if !text.is_empty() && !matches!(name.as_str(), "_format" | "_pretty") {
                take(&name, &mut |shape| from_text(&name, &text, shape));
            }
        }
        for part in body {
            let name = part.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut part = Some(part);
            take(&name, &mut |shape| from_part(&name, part.take().unwrap_or_default(), shape));
        }
        if issues.is_empty() { Ok(arguments) } else { Err(FhirError::with_issues(Kind::Malformed, issues)) }
    }

    fn take(
        &mut self,
        declared: &[Declared],
        name: &str,
        read: &mut dyn FnMut(Shape) -> Result<Value, FhirError>,
    ) -> Result<(), FhirError> {
        let known = declared.iter().find(|known| known.name == name).ok_or_else(|| {
            let names: Vec<&str> = declared.iter().map(|known| known.name).collect();
            let sentence =
                format!("The operation has no parameter '{}' here; it takes {}.", excerpt(name), names.join(", "));
            let issue = Issue::error(IssueCode::NotSupported, sentence).at(format!("http.{}", excerpt(name)));
            FhirError::with_issue(Kind::Malformed, issue)
        })?;
        let values = self.values.entry(known.name).or_default();
        if !known.repeats && !values.is_empty() {
            return Err(bad(format!("The parameter '{name}' is given once."), name));
        }
        values.push(read(known.shape)?);
        Ok(())
    }

    /// The value of a parameter that does not repeat.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.values.get_mut(name)?.pop()
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.texts(name).next().map(str::to_owned)
    }

    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values.get(name).into_iter().flatten().filter_map(Value::as_str)
    }

    pub(super) fn count(&self, name: &str) -> Option<usize> {
        let count = self.values.get(name)?.first()?.as_u64()?;
        Some(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.values.get(name)?.first()?.as_bool()
    }
}

/// `Parameters.parameter`; a resource that is a parameter by itself stands for it (R4 operations.html#request).
fn parts(declared: &[Declared], body: Option<Value>) -> Result<Vec<Value>, FhirError> {
    let Some(mut body) = body else { return Ok(Vec::new()) };
    let name = body.get("resourceType").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_own = |declared: &&Declared| match declared.shape {
        Shape::Resource(of) => of == name,
        Shape::AnyResource => name != "Parameters",
        _ => false,
    };
    if let Some(own) = declared.iter().find(is_own) {
        let mut part = Map::new();
        part.insert("name".into(), own.name.into());
        part.insert("resource".into(), body);
        return Ok(vec![Value::Object(part)]);
    }
    if name != "Parameters" {
        let sentence = format!("The body of an operation is Parameters, not '{}'.", excerpt(&name));
        return Err(FhirError::malformed(sentence).at("resourceType"));
    }
    match body.get_mut("parameter").map(Value::take) {
        None => Ok(Vec::new()),
        Some(Value::Array(parts)) => Ok(parts),
        Some(_) => Err(FhirError::malformed("Parameters.parameter is an array.").at("Parameters.parameter")),
    }
}

fn from_text(name: &str, text: &str, shape: Shape) -> Result<Value, FhirError> {
    match shape {
        Shape::Text => Ok(text.into()),
        Shape::Count => text
            .parse::<u32>()
            .map(Value::from)
            .map_err(|_not_a_number| bad(format!("'{name}' is a number of 0 or more, not '{}'.", excerpt(text)), name)),
        Shape::Flag => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(bad(format!("'{name}' is true or false, not '{}'.", excerpt(text)), name)),
        },
        Shape::Coding | Shape::CodeableConcept | Shape::Resource(_) | Shape::AnyResource => {
            Err(bad(format!("'{name}' does not fit into a URL; send it as Parameters with POST."), name))
        }
    }
}

fn from_part(name: &str, part: Value, shape: Shape) -> Result<Value, FhirError> {
    let Value::Object(mut part) = part else {
        return Err(FhirError::malformed("Each parameter is an object.").at("Parameters.parameter"));
    };
    let value = match shape {
        Shape::Resource(_) | Shape::AnyResource => part.remove("resource"),
        Shape::Coding => part.remove("valueCoding"),
        Shape::CodeableConcept => part.remove("valueCodeableConcept"),
        _ => part.into_iter().find(|(name, _)| name.starts_with("value")).map(|(_, value)| value),
    };
    let fits = value.as_ref().is_some_and(|value| match shape {
        Shape::Text => value.as_str().is_some_and(|text| !text.is_empty()),
        Shape::Count => value.as_u64().is_some_and(|count| u32::try_from(count).is_ok()),
        Shape::Flag => value.is_boolean(),
        Shape::Coding | Shape::CodeableConcept => value.is_object(),
        Shape::Resource(of) => value.get("resourceType").is_some_and(|name| name == of),
        Shape::AnyResource => value.get("resourceType").is_some_and(Value::is_string),
    });
    value.filter(|_| fits).ok_or_else(|| {
        let wanted = match shape {
            Shape::Text => "text that is not empty".to_owned(),
            Shape::Count => "a number of 0 or more".to_owned(),
            Shape::Flag => "true or false".to_owned(),
            Shape::Coding => "a valueCoding".to_owned(),
            Shape::CodeableConcept => "a valueCodeableConcept".to_owned(),
            Shape::Resource(of) => format!("a resource of type {of}"),
            Shape::AnyResource => "a resource".to_owned(),
        };
        bad(format!("The parameter '{name}' holds {wanted}."), name)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DECLARED: [Declared; 5] = [
        Declared { name: "url", shape: Shape::Text, repeats: false },
        Declared { name: "count", shape: Shape::Count, repeats: false },
        Declared { name: "flag", shape: Shape::Flag, repeats: false },
        Declared { name: "property", shape: Shape::Text, repeats: true },
        Declared { name: "valueSet", shape: Shape::Resource("ValueSet"), repeats: false },
    ];

    fn read(query: &[(&str, &str)], body: Option<Value>) -> Result<Arguments, FhirError> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Arguments::read(&DECLARED, Sent { query, body })
    }

    fn body(parameter: Value) -> Option<Value> {
        Some(json!({"resourceType": "Parameters", "parameter": parameter}))
    }

    #[test]
    fn url_and_body_say_the_same() {
        let query =
            [("url", "u"), ("count", "3"), ("flag", "true"), ("property", "a"), ("property", "b"), ("_format", "xml")];
        let posted = json!([{"name": "url", "valueUri": "u"}, {"name": "count", "valueInteger": 3}, {"name": "flag", "valueBoolean": true},
            {"name": "property", "valueCode": "a"}, {"name": "property", "valueString": "b"}]);
        for arguments in [read(&query, None), read(&[], body(posted))] {
            let arguments = arguments.expect("good parameters");
            assert_eq!(
                (arguments.text("url").as_deref(), arguments.count("count"), arguments.flag("flag")),
                (Some("u"), Some(3), Some(true))
            );
            assert_eq!(arguments.texts("property").collect::<Vec<_>>(), ["a", "b"]);
        }
    }

    #[test]
    fn a_resource_may_be_the_body() {
        let set = json!({"resourceType": "ValueSet", "status": "active"});
        let mut arguments = read(&[("count", "1")], Some(set.clone())).expect("good parameters");
        assert_eq!(arguments.value("valueSet"), Some(set));
    }

    #[test]
    fn what_cannot_be_used_is_refused_where_it_is() {
        for (query, posted, expression) in [
            (&[("colour", "red")][..], None, "http.colour"),
            (&[("url", "a"), ("url", "b")], None, "http.url"),
            (&[("count", "-1")], None, "http.count"),
            (&[("flag", "yes")], None, "http.flag"),
            (&[("valueSet", "x")], None, "http.valueSet"),
            (&[], body(json!([{"name": "count", "valueString": "x"}])), "http.count"),
            (&[], body(json!([{"name": "url"}])), "http.url"),
            (&[], body(json!([{"name": "valueSet", "resource": {"resourceType": "Basic"}}])), "http.valueSet"),
            (&[], body(json!({})), "Parameters.parameter"),
            (&[], Some(json!({"resourceType": "Basic"})), "resourceType"),
        ] {
            let error = read(query, posted).expect_err("refused");
            let found = error.issues[0].expression.clone();
            assert_eq!((error.kind, found.as_deref()), (Kind::Malformed, Some(expression)), "{error}");
        }
    }
}
