//! Tokens to JSON, held to what R4 knows.

use std::borrow::Cow;

use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::characters::{clip, is_blank, is_xml_char, unescape};
use super::scan::{Fault, Read, Scanner, Tag, Token};
use super::shape::{Kind, Shape, is_extension, is_resource_name, shape};
use super::{FHIR, MAX_ATTRIBUTES, MAX_DEPTH, XHTML};
use crate::fhir::error::FhirError;

pub(super) const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Elements in one document. About 7,000 directory resources; an element costs a few hundred bytes once read.
const MAX_ELEMENTS: usize = 500_000;

/// Builds JSON from tokens.
pub(super) struct Reader<'a> {
    pub(super) scanner: Scanner<'a>,
    /// Prefix and namespace, innermost last; the empty prefix is the default namespace.
    pub(super) namespaces: Vec<(&'a str, Cow<'a, str>)>,
    /// Element names from the root. A resource within stands here by its type, which begins in upper case.
    path: Vec<&'a str>,
    elements: usize,
}

/// The attributes of a FHIR element, unescaped.
#[derive(Default)]
struct Attributes {
    id: Option<String>,
    url: Option<String>,
    value: Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let scanner = Scanner { text, rest: text };
        Self { scanner, namespaces: Vec::new(), path: Vec::new(), elements: 0 }
    }

    pub(super) fn locate(&self, fault: Fault) -> FhirError {
        let read = self.scanner.text.len() - self.scanner.rest.len();
        let line = 1 + self.scanner.text.bytes().take(read).filter(|byte| *byte == b'\n').count();
        let error = FhirError::malformed(format!("The XML cannot be read: {} (line {line}).", fault.message));
        match fault.expression {
            Some(expression) => error.at(&expression),
            None => error,
        }
    }

    /// A fault in the element that is being read.
    fn fault(&self, message: impl Into<String>) -> Fault {
        let from = self.path.iter().rposition(|name| is_resource_name(name)).unwrap_or(0);
        let expression = self.path.iter().skip(from).copied().collect::<Vec<_>>().join(".");
        Fault { message: message.into(), expression: Some(expression).filter(|e| !e.is_empty()) }
    }

    pub(super) fn resource_document(&mut self) -> Read<Value> {
        if let Some(char) = self.scanner.text.chars().find(|c| !is_xml_char(*c)) {
            return Err(format!("the character U+{:04X} is not allowed", char as u32).into());
        }
        self.scanner.declaration()?;
        let root = loop {
            match self.scanner.next()? {
                Token::Start(tag) => break tag,
                Token::Text(text) if is_blank(text) => {}
                Token::Comment(_) | Token::Instruction => {}
                Token::Eof => return Err("there is no element in it".into()),
                Token::Text(_) | Token::End(_) => return Err("it does not begin with an element".into()),
            }
        };
        let resource = self.resource(&root, true)?;
        loop {
            match self.scanner.next()? {
                Token::Eof => return Ok(Value::Object(resource)),
                Token::Text(text) if is_blank(text) => {}
                Token::Comment(_) | Token::Instruction => {}
                Token::Text(_) | Token::Start(_) | Token::End(_) => {
                    return Err("something follows the end of the resource".into());
                }
            }
        }
    }

    /// Counts the element and brings its namespaces into scope. The answer goes to [`Self::leave`].
    pub(super) fn enter(&mut self, tag: &Tag<'a>, depth: usize) -> Read<usize> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(format!("it has more than {MAX_ELEMENTS} elements").into());
        }
        if depth > MAX_DEPTH {
            return Err(format!("its elements are more than {MAX_DEPTH} levels deep").into());
        }
        let before = self.namespaces.len();
        for (key, value) in &tag.attributes {
            let prefix = match key.strip_prefix("xmlns") {
                Some("") => "",
                Some(rest) if rest.starts_with(':') => rest.trim_start_matches(':'),
                _ => continue,
            };
            let namespace = unescape(value)?;
            if (namespace.is_empty() && !prefix.is_empty()) || prefix == "xml" || prefix == "xmlns" {
                return Err(format!("the namespace prefix '{}' cannot be declared so", clip(prefix)).into());
            }
            self.namespaces.push((prefix, namespace));
        }
        if self.namespaces.len() > MAX_ATTRIBUTES {
            return Err("too many namespaces are declared".into());
        }
        Ok(before)
    }

    fn leave(&mut self, before: usize) {
        self.namespaces.truncate(before);
    }

    fn namespace(&self, prefix: &str) -> Option<&str> {
        self.namespaces.iter().rev().find(|(known, _)| *known == prefix).map(|(_, namespace)| namespace.as_ref())
    }

    /// Namespace and local name of a tag.
    fn resolve<'n>(&self, name: &'n str) -> Read<(&str, &'n str)> {
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        match self.namespace(prefix) {
            Some(namespace) => Ok((namespace, local)),
            None if prefix.is_empty() => Ok(("", local)),
            None => Err(format!("the namespace prefix '{}' is not declared", clip(prefix)).into()),
        }
    }

    /// The local name of a tag that must be FHIR's.
    fn fhir_name<'n>(&self, name: &'n str) -> Read<&'n str> {
        let (namespace, local) = self.resolve(name)?;
        if namespace != FHIR {
            return Err(self.fault(format!("'{}' is not in the namespace {FHIR}", clip(local))));
        }
        Ok(local)
    }

    /// `tag` is the resource's own element, as in `<Practitioner>`.
    fn resource(&mut self, tag: &Tag<'a>, is_root: bool) -> Read<Map<String, Value>> {
        let before = self.enter(tag, self.path.len() + 1)?;
        let name = self.fhir_name(tag.name)?;
        // Every resource has this element, and no data type does.
        if !is_resource_name(name) || shape(&[name, "implicitRules"]).is_none() {
            return Err(self.fault(format!("'{}' is not a resource type of FHIR R4", clip(name))));
        }
        self.path.push(name);
        let attributes = self.attributes(tag, is_root)?;
        if attributes.id.is_some() || attributes.url.is_some() || attributes.value.is_some() {
            return Err(self.fault("a resource has no attributes: its id is an element"));
        }
        let mut object = Map::new();
        object.insert("resourceType".to_owned(), name.into());
        self.children(tag, &mut object, false)?;
        self.path.pop();
        self.leave(before);
        Ok(object)
    }

    fn attributes(&self, tag: &Tag<'a>, is_root: bool) -> Read<Attributes> {
        let mut found = Attributes::default();
        for (key, value) in &tag.attributes {
            let slot = match *key {
                "id" => &mut found.id,
                "url" => &mut found.url,
                "value" => &mut found.value,
                "xmlns" => continue,
                _ if key.starts_with("xmlns:") => continue,
                _ if is_root && self.is_schema_location(key) => continue,
                _ => return Err(self.fault(format!("there is no attribute '{}' in FHIR XML", clip(key)))),
            };
            let value = unescape(value)?;
            if is_blank(&value) {
                return Err(self.fault(format!("the attribute '{key}' is empty")));
            }
            *slot = Some(value.into_owned());
        }
        Ok(found)
    }

    /// Tools put `xsi:schemaLocation` on the root for editors. It says nothing about the resource.
    fn is_schema_location(&self, key: &str) -> bool {
        key.split_once(':')
            .is_some_and(|(prefix, local)| local == "schemaLocation" && self.namespace(prefix) == Some(SCHEMA_INSTANCE))
    }

    /// Reads up to the end tag of `tag` into `object`.
    fn children(&mut self, tag: &Tag<'a>, object: &mut Map<String, Value>, only_extensions: bool) -> Read<()> {
        if tag.empty {
            return Ok(());
        }
        while let Some(child) = self.next_child(tag)? {
            self.child(&child, object, only_extensions)?;
        }
        Ok(())
    }

    /// The next start tag within `parent`, or nothing when `parent` has ended.
    fn next_child(&mut self, parent: &Tag<'a>) -> Read<Option<Tag<'a>>> {
        loop {
            match self.scanner.next()? {
                Token::Start(tag) => return Ok(Some(tag)),
                Token::End(name) if name == parent.name => return Ok(None),
                Token::End(name) => {
                    return Err(self.fault(format!("'{}' is closed by '{}'", clip(parent.name), clip(name))));
                }
                Token::Text(text) if is_blank(text) => {}
                Token::Text(_) => {
                    return Err(self.fault("text stands outside a narrative: values are in the attribute 'value'"));
                }
                Token::Comment(_) | Token::Instruction => {}
                Token::Eof => return Err(self.fault(format!("'{}' is not closed", clip(parent.name)))),
            }
        }
    }

    fn child(&mut self, tag: &Tag<'a>, object: &mut Map<String, Value>, only_extensions: bool) -> Read<()> {
        let before = self.enter(tag, self.path.len() + 1)?;
        if self.path.last() == Some(&"text") && self.resolve(tag.name)?.1 == "div" {
            let narrative = self.narrative(tag)?;
            self.path.push("div");
            self.insert(object, "div", false, Some(narrative.into()), None)?;
            self.path.pop();
            self.leave(before);
            return Ok(());
        }
        let (_, name) = tag.name.split_once(':').unwrap_or(("", tag.name));
        self.fhir_name(tag.name)?;
        let in_resource = self.path.last().is_some_and(|parent| is_resource_name(parent));
        let in_extension = self.path.last().is_some_and(|parent| is_extension(parent));
        self.path.push(name);
        if only_extensions && name != "extension" {
            return Err(self.fault("an element with a simple value has no elements in it but extensions"));
        }
        if name == "id" && !in_resource || name == "url" && in_extension {
            return Err(self.fault(format!("'{name}' is an attribute here, not an element")));
        }
        if name == "resourceType" && in_resource {
            return Err(self.fault("the resource type is the name of the resource's element"));
        }
        // A dot would pass for a step of the path, and fhirbolt takes `_x` for `x`.
        let known = match name {
            "extension" if only_extensions => Some(Shape { list: true, kind: Kind::Complex }),
            _ if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => shape(self.typed_path()),
            _ => None,
        };
        let Some(Shape { list, kind }) = known else {
            return Err(self.fault(format!("there is no element '{}' here in FHIR R4", clip(name))));
        };
        let attributes = self.attributes(tag, false)?;
        if attributes.value.is_some() && matches!(kind, Kind::Complex | Kind::Resource) {
            return Err(self.fault("the attribute 'value' stands on an element without a simple value"));
        }
        if attributes.url.is_some() != is_extension(name) {
            return Err(self.fault("the attribute 'url' belongs on extensions, and on nothing else"));
        }
        let (value, sibling) = match kind {
            Kind::Resource => (Some(self.held_resource(tag, &attributes)?), None),
            Kind::Complex => {
                let mut inner = Map::new();
                inner.extend(attributes.id.map(|id| ("id".to_owned(), id.into())));
                inner.extend(attributes.url.map(|url| ("url".to_owned(), url.into())));
                self.children(tag, &mut inner, false)?;
                let content = inner.keys().filter(|key| *key != "id").count();
                // An extension may be no more than its url here; whether it should is for validation.
                ((content > 0).then_some(Value::Object(inner)), None)
            }
            Kind::Boolean | Kind::Integer | Kind::Decimal | Kind::Text => {
                let value = attributes.value.map(|value| self.primitive(kind, value)).transpose()?;
                let mut inner = Map::new();
                inner.extend(attributes.id.map(|id| ("id".to_owned(), id.into())));
                self.children(tag, &mut inner, true)?;
                let content = value.is_some() || inner.contains_key("extension");
                (value, (content && !inner.is_empty()).then_some(Value::Object(inner)))
            }
        };
        if value.is_none() && sibling.is_none() {
            return Err(self.fault(format!("the element '{}' is empty", clip(name))));
        }
        self.insert(object, name, list, value, sibling)?;
        self.path.pop();
        self.leave(before);
        Ok(())
    }

    /// The resource within `contained`, `Bundle.entry.resource` and the like.
    fn held_resource(&mut self, tag: &Tag<'a>, attributes: &Attributes) -> Read<Value> {
        if attributes.id.is_some() {
            return Err(self.fault("an element that holds a resource has no attributes"));
        }
        let held = if tag.empty { None } else { self.next_child(tag)? };
        let Some(held) = held else {
            return Err(self.fault("there is no resource in it"));
        };
        let resource = self.resource(&held, false)?;
        match self.next_child(tag)? {
            None => Ok(Value::Object(resource)),
            Some(_) => Err(self.fault("there is more than one resource in it")),
        }
    }

    fn primitive(&self, kind: Kind, value: String) -> Read<Value> {
        match kind {
            Kind::Boolean => match value.as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(self.fault("the value is not a boolean: it is neither 'true' nor 'false'")),
            },
            Kind::Integer => {
                // FHIR's integers may have a plus, JSON's may not.
                let digits = value.strip_prefix('+').filter(|rest| !rest.starts_with('-')).unwrap_or(&value);
                let number: Option<Number> = digits.parse().ok();
                let number = number.filter(|_| digits.parse::<i32>().is_ok());
                number.map(Value::Number).ok_or_else(|| self.fault("the value is not an integer of 32 bits"))
            }
            // FHIR's decimals are JSON's numbers, and the digits are kept as they are: 1.10 is not 1.1.
            Kind::Decimal => match value.parse() {
                Ok(number) => Ok(Value::Number(number)),
                Err(_) => Err(self.fault("the value is not a decimal")),
            },
            Kind::Text | Kind::Complex | Kind::Resource => Ok(Value::String(value)),
        }
    }

    /// Puts one occurrence of an element where JSON has it: `x`, and `_x` for the id and the extensions of a simple
    /// value. The lists of the two stay in step, with null where one has nothing (R4 json.html#primitive).
    fn insert(
        &self,
        object: &mut Map<String, Value>,
        name: &str,
        list: bool,
        value: Option<Value>,
        sibling: Option<Value>,
    ) -> Read<()> {
        let sibling_name = format!("_{name}");
        if !list {
            if object.contains_key(name) || object.contains_key(&sibling_name) {
                return Err(self.fault(format!("the element '{}' does not repeat", clip(name))));
            }
            object.extend(value.map(|value| (name.to_owned(), value)));
            object.extend(sibling.map(|sibling| (sibling_name, sibling)));
            return Ok(());
        }
        let len = |key: &str| object.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        let index = len(name).max(len(&sibling_name));
        for (key, item) in [(name.to_owned(), value), (sibling_name, sibling)] {
            let items = match object.entry(key) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(_) if item.is_none() => continue,
                Entry::Vacant(entry) => entry.insert(Value::Array(Vec::new())),
            };
            if let Value::Array(items) = items {
                items.resize(index, Value::Null);
                items.push(item.unwrap_or(Value::Null));
            }
        }
        Ok(())
    }

    /// The part of the path that decides what an element is: from the innermost extension or resource.
    fn typed_path(&self) -> &[&'a str] {
        let inner = self.path.len().saturating_sub(1);
        let from = self.path.iter().take(inner).rposition(|name| is_extension(name) || is_resource_name(name));
        self.path.get(from.unwrap_or(0)..).unwrap_or_default()
    }

    /// A narrative as JSON holds it: the XHTML as written, without prefixes and with its namespace on the outside.
    pub(super) fn narrative(&mut self, root: &Tag<'a>) -> Read<String> {
        let mut out = String::new();
        let mut open = Vec::new();
        self.narrative_tag(root, &mut out, true)?;
        if !root.empty {
            // The caller entered the root, and leaves it.
            open.push((root.name, self.namespaces.len()));
        }
        while let Some((name, before)) = open.last().copied() {
            match self.scanner.next()? {
                Token::Start(tag) => {
                    let before = self.enter(&tag, self.path.len() + open.len() + 1)?;
                    self.narrative_tag(&tag, &mut out, false)?;
                    if tag.empty {
                        self.leave(before);
                    } else {
                        open.push((tag.name, before));
                    }
                }
                Token::End(end) if end == name => {
                    let (_, local) = name.split_once(':').unwrap_or(("", name));
                    out.extend(["</", local, ">"]);
                    open.pop();
                    self.leave(before);
                }
                Token::End(end) => {
                    return Err(self.fault(format!("'{}' is closed by '{}' in the narrative", clip(name), clip(end))));
                }
                Token::Text(text) => {
                    unescape(text)?;
                    out.push_str(text);
                }
                Token::Comment(comment) => out.extend(["<!--", comment, "-->"]),
                Token::Instruction => return Err(self.fault("a narrative has no processing instructions")),
                Token::Eof => return Err(self.fault("the narrative is not closed")),
            }
        }
        // XML's line end is a line feed, however the file was saved.
        Ok(if out.contains('\r') { out.replace("\r\n", "\n").replace('\r', "\n") } else { out })
    }

    fn narrative_tag(&self, tag: &Tag<'a>, out: &mut String, is_root: bool) -> Read<()> {
        let (namespace, local) = self.resolve(tag.name)?;
        if namespace != XHTML {
            return Err(self.fault(format!("'{}' in the narrative is not in the namespace {XHTML}", clip(local))));
        }
        for (key, value) in &tag.attributes {
            unescape(value)?;
            // The prefix would lose its declaration when the narrative is on its own.
            if key.split_once(':').is_some_and(|(prefix, _)| prefix != "xml" && prefix != "xmlns") {
                return Err(self.fault(format!("there is no attribute '{}' in a narrative", clip(key))));
            }
        }
        out.extend(["<", local]);
        if is_root && !tag.attributes.iter().any(|(key, _)| *key == "xmlns") {
            out.extend([" xmlns=\"", XHTML, "\""]);
        }
        out.extend([tag.rest, ">"]);
        Ok(())
    }
}
