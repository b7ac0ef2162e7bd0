//! The elements of a resource, each with what its profile says about it.

use super::datatypes;
use super::rules::{Rules, Source, Type, capitalised, text};
use serde_json::Value;
use std::collections::HashMap;

pub const PLAN_NET: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/";

pub struct Schemas {
    by_url: HashMap<String, Definition>,
}

pub struct Definition {
    pub url: String,
    pub kind: String,
    /// The elements on which an extension may stand.
    pub contexts: Vec<String>,
    elements: Vec<Value>,
}

/// One element of a resource: one item of an array, or a single value.
pub struct Node {
    /// JSON pointer.
    pub pointer: String,
    /// FHIRPath, as an issue names it.
    pub at: String,
    pub rules: Rules,
    /// The type it has here (one of the choice).
    pub kind: String,
    pub value: Value,
}

/// A valid resource, with all its elements; the first one is the resource itself.
pub struct Subject<'a> {
    pub name: String,
    pub profile: String,
    pub resource: &'a Value,
    pub nodes: Vec<Node>,
}

impl Schemas {
    pub fn new(definitions: &[Value]) -> Self {
        let by_url = definitions.iter().map(Definition::new).map(|found| (found.url.clone(), found)).collect();
        Self { by_url }
    }

    pub fn get(&self, url: &str) -> Option<&Definition> {
        self.by_url.get(url)
    }

    /// The profile a resource has to meet: the one it claims, or else the one of its type.
    pub fn profile_of(&self, resource: &Value) -> &Definition {
        let claimed =
            resource["meta"]["profile"].as_array().into_iter().flatten().find_map(|url| self.get(url.as_str()?));
        let kind = resource["resourceType"].as_str().expect("a resource");
        let name = if kind == "Organization" && is_network(resource) { "Network" } else { kind };
        claimed.or_else(|| self.get(&format!("{PLAN_NET}plannet-{name}"))).expect("a Plan-Net profile")
    }

    fn root(&self, definition: &Definition, key: &str) -> Rules {
        let first = definition.elements.first().expect("a root element");
        let mut rules = Rules::new(self, definition, first, "", key);
        rules.types = vec![Type { code: definition.kind.clone(), profiles: Vec::new(), targets: Vec::new() }];
        rules
    }

    /// The children an element may have, slices left out.
    pub fn children(&self, parent: &Rules, kind: &str) -> Vec<Rules> {
        self.below(parent, kind).0
    }

    /// The slices of the children of an element.
    pub fn slices(&self, parent: &Rules, kind: &str) -> Vec<Rules> {
        self.below(parent, kind).1
    }

    fn below(&self, parent: &Rules, kind: &str) -> (Vec<Rules>, Vec<Rules>) {
        let (mut children, slices) = self.described(parent, kind);
        if kind != "Extension" && !datatypes::children(kind).is_empty() {
            for child in &mut children {
                child.shared = format!("{kind}.{}", child.name);
            }
        }
        (children, slices)
    }

    fn described(&self, parent: &Rules, kind: &str) -> (Vec<Rules>, Vec<Rules>) {
        if let Source::Snapshot { url, id } = &parent.source {
            let found = self.below_id(&self.by_url[url], id, &parent.key);
            if !found.0.is_empty() {
                return found;
            }
        }
        let extension = parent.types.iter().flat_map(|found| &found.profiles).find_map(|url| self.get(url));
        if let Some(extension) = extension {
            return self.below_id(extension, &extension.kind, &parent.key);
        }
        if let Source::Snapshot { url, id } = &parent.source {
            // A slice of which the snapshot says nothing more has the children of the unsliced element.
            let unsliced = id.rsplit_once(':').filter(|(_, last)| !last.contains('.')).map(|(unsliced, _)| unsliced);
            let found =
                unsliced.map(|unsliced| self.below_id(&self.by_url[url], unsliced, &parent.key)).unwrap_or_default();
            if !found.0.is_empty() {
                return found;
            }
        }
        (datatypes::children(kind).into_iter().map(|child| Rules::base(kind, &child)).collect(), Vec::new())
    }

    fn below_id(&self, definition: &Definition, id: &str, key: &str) -> (Vec<Rules>, Vec<Rules>) {
        let prefix = format!("{id}.");
        let mut children = Vec::new();
        let mut slices = Vec::new();
        for element in &definition.elements {
            let Some(rest) = text(element, "id").strip_prefix(&prefix) else {
                continue;
            };
            if rest.contains('.') {
                continue;
            }
            let name = rest.split(':').next().expect("a name");
            let rules = Rules::new(self, definition, element, name, &format!("{key}.{rest}"));
            if rest.contains(':') { slices.push(rules) } else { children.push(rules) }
        }
        (children, slices)
    }

    fn walk(&self, parent: &Rules, kind: &str, value: &Value, (pointer, at): (&str, &str), nodes: &mut Vec<Node>) {
        let (children, slices) = self.below(parent, kind);
        for (name, value) in value.as_object().into_iter().flatten() {
            let Some((child, kind)) = children.iter().find_map(|child| child.takes(name).map(|kind| (child, kind)))
            else {
                continue;
            };
            let here = match child.name.strip_suffix("[x]") {
                Some(stem) => format!("{at}.{stem}.ofType({kind})"),
                None => format!("{at}.{name}"),
            };
            let items: Vec<(String, String, &Value)> = match value.as_array() {
                Some(items) if child.repeats => items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| (format!("{pointer}/{name}/{index}"), format!("{here}[{index}]"), item))
                    .collect(),
                _ => vec![(format!("{pointer}/{name}"), here, value)],
            };
            for (pointer, at, item) in items {
                let slice = slices.iter().find(|slice| slice.name == child.name && self.matches(slice, name, item));
                let mut rules = slice.unwrap_or(child).clone();
                if slice.is_some() {
                    rules.add(child);
                } else if let Some(extension) = self.get(text(item, "url")).filter(|_| kind == "Extension") {
                    // An extension of the package is held to its definition wherever it stands.
                    let own = self.root(extension, "");
                    rules.constraints.extend(own.constraints);
                    rules.key = format!("{}:{}", rules.key, extension.url.rsplit('/').next().unwrap_or_default());
                    rules.types =
                        vec![Type { code: kind.clone(), profiles: vec![extension.url.clone()], targets: Vec::new() }];
                }
                nodes.push(Node {
                    pointer: pointer.clone(),
                    at: at.clone(),
                    rules: rules.clone(),
                    kind: kind.clone(),
                    value: item.clone(),
                });
                self.walk(&rules, &kind, item, (&pointer, &at), nodes);
            }
        }
    }

    /// Whether an item belongs to a slice: by its url, by its pattern, or by the type of the choice.
    pub fn matches(&self, slice: &Rules, name: &str, item: &Value) -> bool {
        if slice.name == "extension" {
            return self.url_of(slice).is_some_and(|url| item["url"] == url.as_str());
        }
        if let Some(stem) = slice.name.strip_suffix("[x]") {
            return slice.types.iter().any(|found| format!("{stem}{}", capitalised(&found.code)) == name);
        }
        let pattern = slice.fixed.as_ref().and_then(Value::as_object);
        pattern.is_some_and(|pattern| pattern.iter().all(|(name, value)| item[name] == *value))
    }

    /// The url that the extensions of a slice have.
    pub fn url_of(&self, slice: &Rules) -> Option<String> {
        if let Some(profile) = slice.types.iter().flat_map(|found| &found.profiles).next() {
            return Some(profile.clone());
        }
        let url = self.children(slice, "Extension").into_iter().find(|child| child.name == "url")?;
        url.fixed?.as_str().map(str::to_owned)
    }
}

impl Definition {
    fn new(raw: &Value) -> Self {
        let elements = raw["snapshot"]["element"].as_array().cloned().unwrap_or_default();
        let contexts = raw["context"].as_array().into_iter().flatten();
        Self {
            url: text(raw, "url").to_owned(),
            kind: text(raw, "type").to_owned(),
            contexts: contexts.map(|found| text(found, "expression").to_owned()).collect(),
            elements,
        }
    }
}

impl<'a> Subject<'a> {
    pub fn new(schemas: &Schemas, name: &str, resource: &'a Value) -> Self {
        let profile = schemas.profile_of(resource);
        let rules = schemas.root(profile, &profile.kind);
        let mut nodes = vec![Node {
            pointer: String::new(),
            at: profile.kind.clone(),
            rules: rules.clone(),
            kind: profile.kind.clone(),
            value: resource.clone(),
        }];
        schemas.walk(&rules, &profile.kind, resource, ("", &profile.kind), &mut nodes);
        for node in &mut nodes {
            node.settle();
        }
        Self { name: name.to_owned(), profile: profile.url.clone(), resource, nodes }
    }

    pub fn root(&self) -> &Node {
        &self.nodes[0]
    }

    /// The resource with one element changed.
    pub fn with(&self, pointer: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut copy = self.resource.clone();
        change(copy.pointer_mut(pointer).expect("an element of the resource"));
        copy
    }
}

impl Node {
    /// The snapshots call the types of some elements by their FHIRPath name.
    fn settle(&mut self) {
        if self.kind.starts_with("http://hl7.org/fhirpath/") {
            let whole = self.pointer == "/id";
            self.kind = if whole {
                "id"
            } else if self.rules.name == "url" {
                "uri"
            } else {
                "string"
            }
            .to_owned();
        }
    }

    pub fn is_root(&self) -> bool {
        self.pointer.is_empty()
    }
}

fn is_network(resource: &Value) -> bool {
    let codings = resource["type"].as_array().into_iter().flatten().flat_map(|kind| kind["coding"].as_array());
    codings.flatten().any(|coding| coding["code"] == "ntwk")
}
