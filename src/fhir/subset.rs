//! Parts of resources: `_summary` and `_elements` (R4 search.html#summary, search.html#elements).

use serde_json::{Map, Value, json};

use super::definitions::{Content, Definitions, Kind, Node, Property, definitions};

/// A value of `_summary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// The elements that the definitions mark as summary.
    True,
    /// `text`, `id`, `meta` and the mandatory root elements.
    Text,
    /// All but `text`.
    Data,
    /// No resources, but their number.
    Count,
    /// All of the resource.
    False,
}

impl Summary {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "true" => Some(Self::True),
            "text" => Some(Self::Text),
            "data" => Some(Self::Data),
            "count" => Some(Self::Count),
            "false" => Some(Self::False),
            _ => None,
        }
    }
}

/// The code system of SUBSETTED.
const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

/// Whether a resource is tagged as only a part of itself.
pub fn is_subset(resource: &Value) -> bool {
    let tags = resource.pointer("/meta/tag").and_then(Value::as_array);
    tags.into_iter().flatten().any(|tag| tag["system"] == SYSTEM && tag["code"] == "SUBSETTED")
}

/// Cuts a resource down to a summary, and tags it as SUBSETTED.
///
/// A resource of unknown type stays whole, as do all for [`Summary::False`] and [`Summary::Count`], which is about the
/// Bundle.
pub fn summarize(resource: &mut Value, summary: Summary) {
    match summary {
        Summary::True => {
            let definitions = definitions();
            subset(resource, |object, node| retain_summary(object, node, definitions));
        }
        Summary::Text => subset(resource, |object, node| {
            object.retain(|key, _| stays(key, node, |property| &*property.name == "text"));
        }),
        Summary::Data => subset(resource, |object, _| {
            object.retain(|key, _| key != "text" && key != "_text");
        }),
        Summary::Count | Summary::False => {}
    }
}

/// Cuts a resource down to some root elements, the mandatory ones, `id` and `meta`, and tags it as SUBSETTED.
///
/// `value` names a `value[x]` in any of its types. Names that the type does not have are passed over.
pub fn elements(resource: &mut Value, names: &[String]) {
    subset(resource, |object, node| {
        let is_named =
            |property: &Property| names.iter().any(|name| *name == property.element.name || **name == *property.name);
        object.retain(|key, _| stays(key, node, is_named));
    });
}

/// Applies a cut to a resource of known type.
fn subset(resource: &mut Value, cut: impl FnOnce(&mut Map<String, Value>, &Node)) {
    let Some(object) = resource.as_object_mut() else { return };
    let name = object.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    if let Some(node) = definitions().resource(name) {
        cut(object, node);
        tag_as_subsetted(object);
    }
}

/// True for the root properties that every subset has, and for those that are wanted.
fn stays(key: &str, node: &Node, wanted: impl Fn(&Property) -> bool) -> bool {
    match property(key, node) {
        Some(property) => {
            matches!(property.element.name, "id" | "meta") || property.element.min > 0 || wanted(property)
        }
        None => key == "resourceType",
    }
}

/// The element of a JSON property, or of the `_name` that belongs to it: the two go and stay together.
fn property<'d>(key: &str, node: &'d Node) -> Option<&'d Property> {
    node.property(key.strip_prefix('_').unwrap_or(key))
}

/// Leaves the summary and mandatory elements, at all depths. Modifier extensions stay, since what they say may turn the
/// meaning of the rest around (R4 extensibility.html#modifierExtension).
///
/// An element of which nothing would be left, such as one that has only extensions, stays whole: it must not be empty.
fn retain_summary(object: &mut Map<String, Value>, node: &Node, definitions: &Definitions) {
    let is_kept = |key: &str| match property(key, node) {
        Some(Property { element, .. }) => element.is_summary || element.min > 0 || element.name == "modifierExtension",
        None => key == "resourceType" && node.kind == Kind::Resource,
    };
    if !object.keys().any(|key| is_kept(key)) {
        return;
    }
    object.retain(|key, _| is_kept(key));
    for (key, value) in object.iter_mut() {
        let Some(Property { content: Content::Object(id), element, .. }) = node.property(key) else { continue };
        if element.is_summary {
            let node = definitions.node(*id);
            match value {
                Value::Array(items) => {
                    let objects = items.iter_mut().filter_map(Value::as_object_mut);
                    objects.for_each(|object| retain_summary(object, node, definitions));
                }
                Value::Object(object) => retain_summary(object, node, definitions),
                _ => {}
            }
        }
    }
}

/// Adds the tag that keeps a subset from being taken for the whole (R4 search.html#summary), unless it is there.
fn tag_as_subsetted(object: &mut Map<String, Value>) {
    if !object.contains_key("meta") {
        // The customary place: after resourceType and id.
        let place = object.keys().take_while(|key| matches!(key.as_str(), "resourceType" | "id")).count();
        object.shift_insert(place, "meta".into(), json!({}));
    }
    let Some(Value::Object(meta)) = object.get_mut("meta") else { return };
    let Value::Array(tags) = meta.entry("tag").or_insert_with(|| json!([])) else { return };
    if !tags.iter().any(|tag| tag["system"] == SYSTEM && tag["code"] == "SUBSETTED") {
        tags.push(json!({"system": SYSTEM, "code": "SUBSETTED", "display": "subsetted"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts the fields of a resource and checks the JSON that is left, with meta as [`tag_as_subsetted`] makes it left
    /// out.
    #[track_caller]
    fn check(cut: impl Fn(&mut Value), mut resource: Value, expected: Value) {
        cut(&mut resource);
        let tags = json!([{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED",
            "display": "subsetted"}]);
        let meta = resource.as_object_mut().and_then(|object| object.shift_remove("meta"));
        assert_eq!(meta, Some(json!({"tag": tags})));
        assert_eq!(resource.to_string(), expected.to_string());
    }

    fn location() -> Value {
        json!({
            "resourceType": "Location", "id": "a", "language": "en", "text": {"status": "empty", "div": "<div/>"},
            "contained": [{"resourceType": "Organization", "id": "b"}],
            "extension": [{"url": "x", "valueCode": "y"}], "modifierExtension": [{"url": "x", "valueCode": "y"}],
            "identifier": [{"id": "i", "extension": [{"url": "x", "valueCode": "y"}], "value": "1"}],
            "name": "n", "_name": {"id": "n"}, "alias": ["o"], "telecom": [{"value": "1"}],
            "position": {"longitude": 1.50, "latitude": 2}, "managingOrganization": {"reference": "#b"},
        })
    }

    #[test]
    fn summaries() {
        let cut = |summary| move |resource: &mut Value| summarize(resource, summary);
        check(
            cut(Summary::True),
            location(),
            json!({
                "resourceType": "Location", "id": "a", "modifierExtension": [{"url": "x", "valueCode": "y"}],
                "identifier": [{"value": "1"}], "name": "n", "_name": {"id": "n"},
                "managingOrganization": {"reference": "#b"},
            }),
        );
        check(
            cut(Summary::Text),
            location(),
            json!({
                "resourceType": "Location", "id": "a", "text": {"status": "empty", "div": "<div/>"},
            }),
        );
        let mut data = location();
        data.as_object_mut().and_then(|object| object.shift_remove("text"));
        check(cut(Summary::Data), location(), data);
        for summary in [Summary::Count, Summary::False] {
            let mut whole = location();
            summarize(&mut whole, summary);
            assert_eq!(whole, location());
        }
    }

    #[test]
    fn mandatory_elements_and_those_with_nothing_else_stay() {
        let telecom = json!([{"extension": [{"url": "x", "valueCode": "y"}]}]);
        let endpoint = json!({"resourceType": "Endpoint", "status": "active", "connectionType": {"code": "a"},
            "name": "n", "contact": telecom, "payloadType": [{"text": "t"}], "_address": {"extension": telecom}});
        check(
            |it| summarize(it, Summary::Text),
            endpoint.clone(),
            json!({"resourceType": "Endpoint", "status": "active",
            "connectionType": {"code": "a"}, "payloadType": [{"text": "t"}], "_address": {"extension": telecom}}),
        );
        let practitioner = json!({"resourceType": "Practitioner", "telecom": telecom});
        check(|it| summarize(it, Summary::True), practitioner.clone(), practitioner);
    }

    #[test]
    fn root_elements() {
        let cut = |names: &'static str| {
            let names: Vec<_> = names.split(',').map(String::from).collect();
            move |resource: &mut Value| elements(resource, &names)
        };
        check(
            cut("name,nothing"),
            location(),
            json!({
                "resourceType": "Location", "id": "a", "name": "n", "_name": {"id": "n"},
            }),
        );
        let parameters = json!({"resourceType": "Provenance", "occurredDateTime": "2024", "recorded": "2024", "policy": ["x"],
            "target": [{"display": "a"}], "agent": [{"who": {"display": "a"}}]});
        let mut expected = parameters.clone();
        expected.as_object_mut().and_then(|object| object.shift_remove("policy"));
        check(cut("occurred"), parameters.clone(), expected.clone());
        check(cut("occurredDateTime"), parameters, expected);
    }

    #[test]
    fn the_tag_is_added_once_and_meta_comes_after_id() {
        let mut resource = json!({"resourceType": "Location", "id": "a", "name": "n"});
        summarize(&mut resource, Summary::True);
        let keys: Vec<_> = resource.as_object().into_iter().flat_map(Map::keys).collect();
        assert_eq!(keys, ["resourceType", "id", "meta", "name"]);
        let once = resource.clone();
        summarize(&mut resource, Summary::True);
        assert_eq!(resource, once);
        let mut profiled = json!({"resourceType": "Location", "meta": {"profile": ["x"], "tag": [{"code": "t"}]}});
        elements(&mut profiled, &[]);
        assert_eq!(profiled["meta"]["profile"][0], "x");
        assert_eq!(profiled["meta"]["tag"][1]["code"], "SUBSETTED");
    }

    #[test]
    fn unknown_types_and_values_are_left_alone() {
        for value in [json!({"resourceType": "Patient", "name": []}), json!({}), json!([1])] {
            let mut cut = value.clone();
            summarize(&mut cut, Summary::True);
            assert_eq!(cut, value);
        }
        let parse = |text, expected| assert_eq!(Summary::parse(text), expected);
        parse("true", Some(Summary::True));
        parse("count", Some(Summary::Count));
        parse("True", None);
        parse("", None);
    }
}
