//! The shape of a resource against base R4: known elements, cardinality, JSON types and formats, all in one walk.
//!
//! Profiles, bindings, references and most invariants are for other validators; here is what must hold before they can
//! be looked at (R4 json.html, element.html, references.html#contained).

mod nearest;
mod path;
mod primitive;
mod reference;
mod wording;
mod xhtml;

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::fhir::definitions::{
    Content, Definitions, Element, ElementSet, Kind, Node, Primitive, Property, definitions,
};
use crate::fhir::outcome::{Issue, IssueCode};
use nearest::suggestion;
use path::{Path, is_identifier};
use primitive::Fault;
use wording::{excerpt, kind_of};

/// The most issues that are listed: a hostile body of many small faults must not be answered with a far bigger one.
const MAX_ISSUES: usize = 1000;

/// The most steps below the root: each is one level of JSON, of which serde_json reads no more than this.
const MAX_DEPTH: usize = 128;

const EMPTY_ELEMENT: &str = "An element must have a value or children (ele-1)";

/// All that is wrong with the structure of a resource, in the order of its JSON; nothing if it is valid.
///
/// Each issue is located by FHIRPath, as `Practitioner.name[0].family`. Past 1000 issues, one more says that there are
/// others. The time is linear in the size of the resource.
pub fn check(resource: &Value) -> Vec<Issue> {
    let mut walk = Walk { definitions: definitions(), issues: Vec::new(), contained: false, truncated: false };
    let name = resource.get("resourceType").and_then(Value::as_str).unwrap_or("Resource");
    walk.resource(resource, &Path::root(if is_identifier(name) { name } else { "Resource" }));
    if walk.truncated {
        walk.issues.push(Issue::error(IssueCode::TooCostly, "There are more issues than are listed here"));
    }
    walk.issues
}

/// What one walk through a resource carries along.
struct Walk<'d> {
    definitions: &'d Definitions,
    issues: Vec<Issue>,
    /// In a contained resource.
    contained: bool,
    truncated: bool,
}

impl<'d> Walk<'d> {
    fn report(&mut self, code: IssueCode, path: &Path<'_>, diagnostics: impl Display) {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue::error(code, diagnostics.to_string()).at(path.to_string()));
        } else {
            self.truncated = true;
        }
    }

    /// A resource: the whole, a contained one, or one in a Bundle or Parameters.
    fn resource(&mut self, value: &Value, path: &Path<'_>) {
        let Value::Object(object) = value else {
            return self.report(IssueCode::Structure, path, format_args!("Must be a resource, not {}", kind_of(value)));
        };
        match object.get("resourceType") {
            Some(Value::String(name)) => match self.definitions.resource(name) {
                Some(node) => self.object(object, node, path),
                None => {
                    let problem = format_args!("Resource type '{}' is not known here", excerpt(name));
                    self.report(IssueCode::NotSupported, path, problem);
                }
            },
            Some(_) => self.report(IssueCode::Structure, path, "The resourceType must be a string"),
            None => self.report(IssueCode::Required, path, "A resource must have a resourceType"),
        }
    }

    /// A contained resource, which has an id and contains no others (R4 references.html#contained).
    fn contained(&mut self, value: &Value, path: &Path<'_>) {
        if std::mem::replace(&mut self.contained, true) {
            return self.report(IssueCode::Invariant, path, "A contained resource must not contain others (dom-2)");
        }
        if value.is_object() && value.get("id").is_none() {
            self.report(IssueCode::Required, path, "A contained resource must have an id");
        }
        self.resource(value, path);
        self.contained = false;
    }

    /// The object of a resource, datatype or backbone element.
    fn object(&mut self, object: &Map<String, Value>, node: &'d Node, path: &Path<'_>) {
        if path.depth() > MAX_DEPTH {
            return self.report(IssueCode::Structure, path, "Nested too deeply");
        }
        self.properties(object, node, path);
        if node.kind != Kind::Resource && is_without_children(object) {
            self.report(IssueCode::Invariant, path, EMPTY_ELEMENT);
        }
        match node.path {
            "Extension" => self.extension(object, path),
            "Reference" => self.reference(object, path),
            _ => {}
        }
    }

    /// Each property there is, and each required one that is not.
    fn properties(&mut self, object: &Map<String, Value>, node: &'d Node, path: &Path<'_>) {
        let mut seen = ElementSet::EMPTY;
        let mut twice = ElementSet::EMPTY;
        for (key, value) in object {
            let (name, sibling) = key.strip_prefix('_').map_or((&**key, false), |name| (name, true));
            let property = match node.property(name) {
                Some(property) if !sibling || matches!(property.content, Content::Primitive(_)) => property,
                _ if key == "resourceType" && node.kind == Kind::Resource => continue,
                _ => {
                    self.unknown(key, node, path);
                    continue;
                }
            };
            let element = &property.element;
            let path = path.element(property);
            if !seen.insert(element)
                && element.is_choice
                && !twice.contains(element)
                && is_other_choice(object, node, property)
            {
                twice.insert(element);
                let problem = format_args!("{}[x] is given in more than one type", element.name);
                self.report(IssueCode::Structure, &path, problem);
            }
            if sibling {
                self.sibling(value, object.get(name), element, &path);
            } else {
                self.values(value, object, property, &path);
            }
        }
        if !seen.includes(node.required) {
            for element in node.elements().iter().filter(|it| it.min > 0 && !seen.contains(it)) {
                let path = path.name(element.name);
                self.report(IssueCode::Required, &path, format_args!("{} is required", element.name));
            }
        }
    }

    /// A value or extensions, not both (ext-1). The url is required as any element is.
    fn extension(&mut self, object: &Map<String, Value>, path: &Path<'_>) {
        let has_value = object.keys().any(|key| key.trim_start_matches('_').starts_with("value"));
        if has_value == object.keys().any(|key| key == "extension") {
            let problem = "An extension must have either a value or extensions, not both (ext-1)";
            self.report(IssueCode::Invariant, path, problem);
        }
    }

    fn reference(&mut self, object: &Map<String, Value>, path: &Path<'_>) {
        let Some(Value::String(text)) = object.get("reference") else { return };
        // An empty string has been told of as one.
        if !text.is_empty() && !reference::is_valid(text) {
            let text = excerpt(text);
            let problem = format_args!("'{text}' is neither Type/id, nor a URL, nor #id of a contained resource");
            self.report(IssueCode::Value, &path.name("reference"), problem);
        }
    }

    fn unknown(&mut self, key: &str, node: &Node, path: &Path<'_>) {
        let key_path = path.name(key);
        let path = if is_identifier(key) { &key_path } else { path };
        if self.issues.len() < MAX_ISSUES {
            let problem = format_args!("{} has no property '{}'{}", node.path, excerpt(key), suggestion(key, node));
            self.report(IssueCode::Structure, path, problem);
        } else {
            self.truncated = true;
        }
    }

    /// The value of a property: an array if the element repeats, and else one value.
    fn values(&mut self, value: &Value, object: &Map<String, Value>, property: &Property, path: &Path<'_>) {
        let element = &property.element;
        let Value::Array(items) = value else {
            if element.repeats() && !value.is_null() {
                let problem = format_args!("{} must be an array, not {}", element.name, kind_of(value));
                self.report(IssueCode::Structure, path, problem);
            }
            return self.value(value, property, path);
        };
        if !element.repeats() {
            self.report(IssueCode::Structure, path, format_args!("{} must not be an array", element.name));
        }
        self.array_size(items, element, path);
        let mut siblings = None;
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            if item.is_null() && matches!(property.content, Content::Primitive(_)) {
                let siblings = siblings.get_or_insert_with(|| object.get(&format!("_{}", property.name)));
                if siblings.and_then(|it| it.get(index)).is_none_or(Value::is_null) {
                    let problem = format_args!("null needs an object at the same place of _{}", property.name);
                    self.report(IssueCode::Structure, &path, problem);
                }
            } else {
                self.value(item, property, &path);
            }
        }
    }

    fn array_size(&mut self, items: &[Value], element: &Element, path: &Path<'_>) {
        if items.is_empty() {
            self.report(IssueCode::Structure, path, "An array must not be empty: leave the property out");
        } else if items.len() < element.min as usize {
            let problem = format_args!("{} must be there at least {} times", element.name, element.min);
            self.report(IssueCode::Required, path, problem);
        } else if element.repeats() && items.len() > element.max as usize {
            let problem = format_args!("{} must be there at most {} times", element.name, element.max);
            self.report(IssueCode::Structure, path, problem);
        }
    }

    /// One value that is not an item's null.
    fn value(&mut self, value: &Value, property: &Property, path: &Path<'_>) {
        match (property.content, value) {
            (_, Value::Null) => self.report(IssueCode::Structure, path, "null is not allowed: leave the property out"),
            (Content::Primitive(primitive), _) => self.primitive(primitive, value, path),
            (Content::Object(id), Value::Object(object)) => self.object(object, self.definitions.node(id), path),
            (Content::Object(_), _) => {
                self.report(IssueCode::Structure, path, format_args!("Must be an object, not {}", kind_of(value)));
            }
            (Content::Resource, _) if property.element.name == "contained" => self.contained(value, path),
            (Content::Resource, _) => self.resource(value, path),
        }
    }

    fn primitive(&mut self, primitive: Primitive, value: &Value, path: &Path<'_>) {
        let Err(fault) = primitive::check(primitive, value) else { return };
        match fault {
            Fault::JsonType(expected) => {
                self.report(IssueCode::Structure, path, format_args!("Must be {expected}, not {}", kind_of(value)));
            }
            Fault::Empty => self.report(IssueCode::Value, path, "A string must not be empty: leave the property out"),
            Fault::TooLong => {
                self.report(IssueCode::TooLong, path, "A string must not be longer than 1048576 characters")
            }
            Fault::ControlCharacter => {
                self.report(IssueCode::Value, path, "Control characters other than tab, CR and LF are not allowed");
            }
            Fault::Xhtml(fault) => self.report(IssueCode::Value, path, format_args!("Not a safe narrative: {fault}")),
            Fault::Format(expected) => {
                let text = value.as_str().map_or_else(|| excerpt(&value.to_string()), excerpt);
                self.report(IssueCode::Value, path, format_args!("'{text}' is not {expected}"));
            }
        }
    }

    /// `_name`: the id and extensions of a primitive, in step with its values if it repeats (R4 json.html#primitive).
    fn sibling(&mut self, sibling: &Value, value: Option<&Value>, element: &Element, path: &Path<'_>) {
        let Value::Array(items) = sibling else {
            if element.repeats() {
                self.report(IssueCode::Structure, path, format_args!("_{} must be an array", element.name));
            }
            return self.primitive_children(sibling, value.is_some(), path);
        };
        if !element.repeats() {
            return self.report(IssueCode::Structure, path, format_args!("_{} must not be an array", element.name));
        }
        self.array_size(items, element, path);
        let values = value.and_then(Value::as_array);
        if values.is_some_and(|values| values.len() != items.len()) {
            let problem = format_args!("{0} and _{0} must have the same number of items", element.name);
            self.report(IssueCode::Structure, path, problem);
        }
        for (index, item) in items.iter().enumerate() {
            let has_value = values.and_then(|values| values.get(index)).is_some_and(|value| !value.is_null());
            if !(item.is_null() && has_value) {
                self.primitive_children(item, has_value, &path.index(index));
            }
        }
    }

    /// The id and extensions of one primitive: there must be an extension if there is no value.
    fn primitive_children(&mut self, sibling: &Value, has_value: bool, path: &Path<'_>) {
        let Value::Object(object) = sibling else {
            let problem = format_args!("The id and extensions of a value are an object, not {}", kind_of(sibling));
            return self.report(IssueCode::Structure, path, problem);
        };
        if let Some(node) = self.definitions.type_named("Element") {
            self.properties(object, node, path);
        }
        if object.is_empty() || !has_value && is_without_children(object) {
            self.report(IssueCode::Invariant, path, EMPTY_ELEMENT);
        }
    }
}

/// True for `{}` and for an id alone, which is not a child that counts (ele-1).
fn is_without_children(object: &Map<String, Value>) -> bool {
    object.keys().all(|key| key == "id")
}

/// True if the object gives the choice in another type than this one. Only looked for when the choice is there before.
fn is_other_choice(object: &Map<String, Value>, node: &Node, property: &Property) -> bool {
    object.keys().any(|key| {
        let other = node.property(key.strip_prefix('_').unwrap_or(key));
        other.is_some_and(|other| other.element == property.element && other.name != property.name)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Checks a resource, with issues written as `FHIRPath code`.
    #[track_caller]
    fn check_resource(resource: Value, expected: &[&str]) {
        let found: Vec<_> = check(&resource)
            .iter()
            .map(|issue| format!("{} {}", issue.expression.as_deref().unwrap_or_default(), issue.code.as_str()))
            .collect();
        assert_eq!(found, expected, "{resource}: {:#?}", check(&resource));
    }

    /// The same for the properties of a Practitioner, with `Practitioner.` left out.
    #[track_caller]
    fn check_practitioner(mut properties: Value, expected: &[&str]) {
        properties["resourceType"] = "Practitioner".into();
        let expected: Vec<_> = expected.iter().map(|issue| format!("Practitioner.{issue}")).collect();
        check_resource(properties, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn valid_resources_have_no_issues() {
        check_practitioner(json!({}), &[]);
        check_practitioner(json!({"id": "a", "_id": {"extension": [{"url": "x", "valueCode": "y"}]}}), &[]);
        check_practitioner(json!({"meta": {"lastUpdated": "2025-09-16T13:55:11.1234567+00:00"}}), &[]);
        check_practitioner(json!({"telecom": [{"extension": [{"url": "http://x", "valueBoolean": true}]}]}), &[]);
        check_practitioner(json!({"qualification": [{"code": {"text": "MD"}, "issuer": {"display": "x"}}]}), &[]);
        check_practitioner(
            json!({"extension": [{"url": "x", "extension": [{"url": "y", "_valueDate": {"extension":
            [{"url": "z", "valueCode": "unknown"}]}}]}]}),
            &[],
        );
        check_practitioner(json!({"birthDate": "1970", "_birthDate": {"id": "b"}}), &[]);
        check_practitioner(
            json!({"name": [{"given": ["A", null], "_given": [null, {"extension": [{"url": "x", "valueString": "B"}]}]}]}),
            &[],
        );
        check_resource(
            json!({"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "x"}}]}),
            &[],
        );
    }

    #[test]
    fn all_issues_are_found_in_one_walk() {
        check_practitioner(
            json!({"active": "yes", "nmae": [], "name": [{"family": ""}, {"given": "A"}], "birthDate": "1970-02-30"}),
            &[
                "active structure",
                "nmae structure",
                "name[0].family value",
                "name[1].given structure",
                "birthDate value",
            ],
        );
        let issues = check(&json!({"resourceType": "Practitioner", "nmae": []}));
        let text = "Practitioner has no property 'nmae'; did you mean 'name'?";
        assert_eq!(issues.iter().map(|issue| &*issue.diagnostics).collect::<Vec<_>>(), [text]);
    }

    #[test]
    fn resource_types() {
        check_resource(json!([]), &["Resource structure"]);
        check_resource(json!({}), &["Resource required"]);
        check_resource(json!({"resourceType": 5}), &["Resource structure"]);
        check_resource(json!({"resourceType": "Patient"}), &["Patient not-supported"]);
        check_resource(json!({"resourceType": "HumanName"}), &["HumanName not-supported"]);
        check_resource(json!({"resourceType": "DomainResource"}), &["DomainResource not-supported"]);
        check_resource(json!({"resourceType": "a b"}), &["Resource not-supported"]);
        check_practitioner(json!({"name": [{"resourceType": "HumanName"}]}), &["name[0].resourceType structure"]);
    }

    #[test]
    fn json_types_and_cardinality() {
        check_practitioner(json!({"name": {"family": "A"}}), &["name structure"]);
        check_practitioner(json!({"active": [true]}), &["active structure"]);
        check_practitioner(json!({"active": {}}), &["active structure"]);
        check_practitioner(json!({"active": null}), &["active structure"]);
        check_practitioner(json!({"name": []}), &["name structure"]);
        check_practitioner(json!({"name": [null, 5]}), &["name[0] structure", "name[1] structure"]);
        check_practitioner(json!({"name": [{}, {"id": "a"}]}), &["name[0] invariant", "name[1] invariant"]);
        check_practitioner(
            json!({"qualification": [{"id": "a"}]}),
            &["qualification[0].code required", "qualification[0] invariant"],
        );
        check_resource(
            json!({"resourceType": "Endpoint", "status": "active", "payloadType": [{"text": "a"}]}),
            &["Endpoint.connectionType required", "Endpoint.address required"],
        );
    }

    #[test]
    fn primitive_siblings() {
        check_practitioner(json!({"_birthDate": {"id": "a"}}), &["birthDate invariant"]);
        check_practitioner(json!({"birthDate": "1970", "_birthDate": {}}), &["birthDate invariant"]);
        check_practitioner(json!({"birthDate": "1970", "_birthDate": []}), &["birthDate structure"]);
        check_practitioner(json!({"birthDate": "1970", "_birthDate": {"value": 1}}), &["birthDate.value structure"]);
        check_practitioner(json!({"_name": [{}]}), &["_name structure"]);
        check_practitioner(json!({"name": [{"given": [null]}]}), &["name[0].given[0] structure"]);
        check_practitioner(
            json!({"name": [{"given": ["A", "B"], "_given": [{"id": "a"}]}]}),
            &["name[0].given structure"],
        );
        check_practitioner(json!({"name": [{"_given": [null]}]}), &["name[0].given[0] structure"]);
        check_practitioner(json!({"name": [{"given": ["A"], "_given": {"id": "a"}}]}), &["name[0].given structure"]);
    }

    #[test]
    fn choices_and_extensions() {
        check_practitioner(
            json!({"extension": [{"url": "x", "valueString": "a", "valueCode": "b"}]}),
            &["extension[0].value.ofType(code) structure"],
        );
        check_practitioner(
            json!({"extension": [{"url": "x", "valueInteger": "1"}]}),
            &["extension[0].value.ofType(integer) structure"],
        );
        check_practitioner(json!({"extension": [{"valueString": "a"}]}), &["extension[0].url required"]);
        check_practitioner(json!({"extension": [{"url": "x"}]}), &["extension[0] invariant"]);
        check_practitioner(json!({"extension": [{"url": "x", "value": 1}]}), &["extension[0].value structure"]);
        check_practitioner(
            json!({"extension": [{"url": "x", "valueCode": "a", "extension": [{"url": "y", "valueCode": "b"}]}]}),
            &["extension[0] invariant"],
        );
    }

    #[test]
    fn contained_resources() {
        let location = json!({"resourceType": "Location", "id": "a"});
        check_practitioner(json!({"contained": [location]}), &[]);
        check_practitioner(json!({"contained": [{"resourceType": "Location"}]}), &["contained[0] required"]);
        check_practitioner(
            json!({"contained": [{"id": "a"}, 5]}),
            &["contained[0] required", "contained[1] structure"],
        );
        check_practitioner(
            json!({"contained": [{"resourceType": "Location", "id": "a", "nmae": 1}]}),
            &["contained[0].nmae structure"],
        );
        let nested = json!({"resourceType": "Location", "id": "b", "contained": [location, location]});
        check_practitioner(
            json!({"contained": [nested]}),
            &["contained[0].contained[0] invariant", "contained[0].contained[1] invariant"],
        );
    }

    #[test]
    fn references_have_a_shape() {
        check_practitioner(
            json!({"qualification": [{"code": {"text": "a"}, "issuer": {"reference": "nowhere"}}]}),
            &["qualification[0].issuer.reference value"],
        );
    }

    #[test]
    fn hostile_bodies_are_bounded() {
        let issues = check(&json!({"resourceType": "Practitioner", "name": vec![5; 5000]}));
        assert_eq!(issues.len(), MAX_ISSUES + 1);
        assert!(issues.last().is_some_and(|issue| issue.code == IssueCode::TooCostly));
        let mut deep = json!({"url": "x", "valueCode": "a"});
        for _ in 0..200 {
            deep = json!({"url": "x", "extension": [deep]});
        }
        let issues = check(&json!({"resourceType": "Practitioner", "extension": [deep]}));
        assert!(issues.iter().any(|issue| issue.diagnostics == "Nested too deeply"));
        let names = json!({"resourceType": "Practitioner", "a\u{0}".repeat(500): 1});
        check_resource(names, &["Practitioner structure"]);
    }
}
