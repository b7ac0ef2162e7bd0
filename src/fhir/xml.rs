//! FHIR XML to JSON and back (R4 xml.html, json.html).
//!
//! JSON is the only form the rest of the server knows; this file is the whole of the XML door. What is a list, a
//! number or a boolean, and in which order elements stand, comes from fhirbolt's `Element<R4>`. Its XML reader and
//! writer are not used, because they change what they carry: both trim the text inside a narrative (`a <b>b</b> c`
//! comes out as `a<b>b</b>c`), the reader refuses `xml:lang` in one, drops unknown attributes, takes
//! `<identifier value="1"/>` for an identifier with a value and loses whatever follows an empty contained resource, the
//! writer panics on a `div` without a value and leaves line breaks in attributes for the next parser to turn into
//! spaces. Its JSON reader wants `resourceType` first, turns a scalar into a one-element list and cuts integers to 32
//! bits, and is not used either. So no byte from outside reaches fhirbolt as a document: it is asked about paths
//! ([`probe`]), and it sorts ([`to_xml`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{LazyLock, PoisonError, RwLock};

use fhirbolt::FhirReleases;
use fhirbolt::element::{Element, Primitive, Value as FhirValue, from_element, to_element};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::error::{FhirError, Kind as Refusal};

type R4Element = Element<{ FhirReleases::R4 }>;
type R4Value = FhirValue<{ FhirReleases::R4 }>;

const FHIR: &str = "http://hl7.org/fhir";
const XHTML: &str = "http://www.w3.org/1999/xhtml";
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Elements within each other, narratives included. R4 content stays below 20, and the reader recurses.
const MAX_DEPTH: usize = 64;
/// Elements in one document. About 7,000 directory resources; an element costs a few hundred bytes once read.
const MAX_ELEMENTS: usize = 500_000;
/// Attributes on one element, and namespaces in scope: each is searched from end to end.
const MAX_ATTRIBUTES: usize = 32;
/// JSON levels that [`to_xml`] follows: what `serde_json` reads at most.
const MAX_JSON_DEPTH: usize = 128;
/// Paths whose shape is remembered. A directory uses about a thousand; the bound is for those who invent long ones.
const MAX_SHAPES: usize = 16_384;

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

// ---- XML to JSON ----

/// What stands between two angle brackets, or between tags.
enum Token<'a> {
    Start(Tag<'a>),
    End(&'a str),
    Text(&'a str),
    Comment(&'a str),
    Instruction,
    Eof,
}

/// A start tag. Attribute values are as written.
struct Tag<'a> {
    /// With its prefix.
    name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
    /// Everything after the name as written, without the brackets.
    rest: &'a str,
    empty: bool,
}

/// Why reading stopped: the sentence without its end, and the element if the fault is in one.
struct Fault {
    message: String,
    expression: Option<String>,
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Self { message: message.to_owned(), expression: None }
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, expression: None }
    }
}

type Read<T> = Result<T, Fault>;

/// Pulls tokens from a text. Knows XML's grammar as far as FHIR needs it, and no FHIR.
struct Scanner<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// The next `len` bytes, consumed. `len` always comes from a search in `rest`, so it is a character boundary.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// What stands before `end`; both are consumed.
    fn take_until(&mut self, end: &str, what: &str) -> Read<&'a str> {
        let (taken, rest) = self.rest.split_once(end).ok_or_else(|| format!("{what} is not closed"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn eat(&mut self, expected: &str) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) -> bool {
        let trimmed = self.rest.trim_start_matches(is_space);
        let skipped = trimmed.len() < self.rest.len();
        self.rest = trimmed;
        skipped
    }

    /// The XML declaration, if there is one: version 1.0, UTF-8.
    fn declaration(&mut self) -> Read<()> {
        if !self.rest.strip_prefix("<?xml").is_some_and(|rest| rest.starts_with(is_space)) {
            return Ok(());
        }
        self.eat("<?xml");
        let inside = self.take_until("?>", "the XML declaration")?;
        let mut declared = Scanner { text: inside, rest: inside };
        while declared.skip_space() && !declared.rest.is_empty() {
            let (name, value) = declared.attribute()?;
            match name {
                "version" if value != "1.0" => return Err("only XML 1.0 is read".into()),
                "encoding" if !value.eq_ignore_ascii_case("utf-8") => {
                    return Err("only the encoding UTF-8 is read".into());
                }
                "version" | "encoding" | "standalone" => {}
                _ => return Err("the XML declaration is malformed".into()),
            }
        }
        if declared.rest.is_empty() { Ok(()) } else { Err("the XML declaration is malformed".into()) }
    }

    fn next(&mut self) -> Read<Token<'a>> {
        if self.rest.is_empty() {
            return Ok(Token::Eof);
        }
        if !self.rest.starts_with('<') {
            let len = self.rest.find('<').unwrap_or(self.rest.len());
            return Ok(Token::Text(self.take(len)));
        }
        if self.eat("<!--") {
            let comment = self.take_until("-->", "a comment")?;
            if comment.contains("--") || comment.ends_with('-') {
                return Err("a comment contains '--'".into());
            }
            return Ok(Token::Comment(comment));
        }
        if self.rest.starts_with("<![CDATA[") {
            return Err("CDATA sections are not allowed in FHIR XML".into());
        }
        if self.rest.starts_with("<!") {
            return Err("document types and entity declarations are not allowed".into());
        }
        if self.eat("<?") {
            let instruction = self.take_until("?>", "a processing instruction")?;
            let target = instruction.split(is_space).next().unwrap_or_default();
            if target.eq_ignore_ascii_case("xml") {
                return Err("the XML declaration must come first".into());
            }
            return Ok(Token::Instruction);
        }
        if self.eat("</") {
            let name = self.name()?;
            self.skip_space();
            return if self.eat(">") { Ok(Token::End(name)) } else { Err("an end tag is malformed".into()) };
        }
        self.eat("<");
        self.start_tag().map(Token::Start)
    }

    fn start_tag(&mut self) -> Read<Tag<'a>> {
        let name = self.name()?;
        let after_name = self.rest;
        let mut attributes: Vec<(&str, &str)> = Vec::new();
        loop {
            let spaced = self.skip_space();
            let before_end = after_name.len() - self.rest.len();
            let empty = self.eat("/");
            if self.eat(">") {
                // The slash stays in `rest`: a narrative is written back as it was.
                let rest = after_name.get(..before_end + usize::from(empty)).unwrap_or_default();
                return Ok(Tag { name, attributes, rest, empty });
            }
            if empty || !spaced {
                return Err(format!("the tag of '{}' is malformed", clip(name)).into());
            }
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(format!("'{}' has more than {MAX_ATTRIBUTES} attributes", clip(name)).into());
            }
            let (key, value) = self.attribute()?;
            if attributes.iter().any(|(other, _)| *other == key) {
                return Err(format!("'{}' has the attribute '{}' twice", clip(name), clip(key)).into());
            }
            attributes.push((key, value));
        }
    }

    fn attribute(&mut self) -> Read<(&'a str, &'a str)> {
        let name = self.name()?;
        self.skip_space();
        if !self.eat("=") {
            return Err(format!("the attribute '{}' has no value", clip(name)).into());
        }
        self.skip_space();
        let value = if self.eat("\"") {
            self.take_until("\"", "an attribute value")?
        } else if self.eat("'") {
            self.take_until("'", "an attribute value")?
        } else {
            return Err(format!("the value of the attribute '{}' is not in quotes", clip(name)).into());
        };
        if value.contains('<') {
            return Err(format!("the value of the attribute '{}' contains '<'", clip(name)).into());
        }
        Ok((name, value))
    }

    /// A name with at most one prefix. ASCII only: neither FHIR nor XHTML has others.
    fn name(&mut self) -> Read<&'a str> {
        let len =
            self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-:".contains(c))).unwrap_or(self.rest.len());
        let name = self.take(len);
        let well_formed = name.split(':').all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'));
        if well_formed && name.matches(':').count() <= 1 { Ok(name) } else { Err("a name is malformed".into()) }
    }
}

/// Builds JSON from tokens.
struct Reader<'a> {
    scanner: Scanner<'a>,
    /// Prefix and namespace, innermost last; the empty prefix is the default namespace.
    namespaces: Vec<(&'a str, Cow<'a, str>)>,
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
    fn new(text: &'a str) -> Self {
        let scanner = Scanner { text, rest: text };
        Self { scanner, namespaces: Vec::new(), path: Vec::new(), elements: 0 }
    }

    fn locate(&self, fault: Fault) -> FhirError {
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

    fn resource_document(&mut self) -> Read<Value> {
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
    fn enter(&mut self, tag: &Tag<'a>, depth: usize) -> Read<usize> {
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
    fn narrative(&mut self, root: &Tag<'a>) -> Read<String> {
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

/// What an element is in R4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    list: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    Integer,
    Decimal,
    Text,
    Complex,
    /// An element that holds a resource.
    Resource,
}

/// The shape of the element at a path, whose first name is a resource type or `extension`; nothing if R4 has none such.
fn shape(path: &[&str]) -> Option<Shape> {
    static KNOWN: LazyLock<RwLock<HashMap<String, Shape>>> = LazyLock::new(RwLock::default);

    let key = path.join(".");
    // A poisoned lock only means that a thread died between two inserts; what the map holds is still true.
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
    if known.is_some() {
        return known;
    }
    let found = probe(path)?;
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() < MAX_SHAPES {
        known.insert(key, found);
    }
    Some(found)
}

/// Asks fhirbolt about a path. Its tables are private, but its strict conversion of an `Element` refuses unknown
/// elements, makes a list of what is one, and types a value by its path; so a resource with just that element tells.
fn probe(path: &[&str]) -> Option<Shape> {
    let text = |text: &str| R4Value::Primitive(Primitive::String(text.to_owned()));
    let value_fits = |value| probe_with(path, R4Element::from([("value", text(value))]));
    // An extension, since an id does not do: fhirbolt reads the id of a boolean as a boolean.
    let extension = R4Element::from([("url", text("x"))]);
    let extended = R4Element::from([("extension", R4Value::Element(extension))]);
    if let Some((list, has_sibling, _)) = probe_with(path, extended) {
        if !has_sibling {
            return Some(Shape { list, kind: Kind::Complex });
        }
        // "1" is no boolean, "1.5" is no integer, and only strings stay strings.
        let kind = match value_fits("1") {
            None => Kind::Boolean,
            Some((_, _, Value::String(_))) => Kind::Text,
            Some(_) if value_fits("1.5").is_some() => Kind::Decimal,
            Some(_) => Kind::Integer,
        };
        return Some(Shape { list, kind });
    }
    let (list, _, _) = probe_with(path, R4Element::from([("resourceType", text("Basic"))]))?;
    Some(Shape { list, kind: Kind::Resource })
}

/// Converts a resource that has only `leaf` at `path`: whether it is a list, whether it came out as `_x`, and the item.
fn probe_with(path: &[&str], leaf: R4Element) -> Option<(bool, bool, Value)> {
    let (root, names) = path.split_first()?;
    let root = if is_extension(root) { vec!["Basic", "extension"] } else { vec![*root] };
    let (resource_type, outer) = root.split_first()?;
    let names = || outer.iter().chain(names).copied();
    let (last, inner) = (names().next_back()?, names().count().checked_sub(1)?);

    let nested = names().rev().fold(leaf, |element, name| R4Element::from([(name, R4Value::Element(element))]));
    let mut resource = R4Element::with_capacity(2);
    resource.insert("resourceType".to_owned(), R4Value::Primitive(Primitive::String((*resource_type).to_owned())));
    resource.extend(nested);

    let resource: R4Element = from_element(resource, None).ok()?;
    let mut json = fhirbolt::json::to_json_value(resource, None).ok()?;
    let mut step = |key: &str| -> Option<(bool, Value)> {
        match json.get_mut(key).map(Value::take)? {
            Value::Array(items) => items.into_iter().next().map(|item| (true, item)),
            item => Some((false, item)),
        }
        .inspect(|(_, item)| json.clone_from(item))
    };
    for name in names().take(inner) {
        step(name)?;
    }
    if let Some((list, item)) = step(&format!("_{last}")) {
        return Some((list, true, item));
    }
    step(last).map(|(list, item)| (list, false, item))
}

// ---- JSON to XML ----

fn unwritable(why: &str) -> FhirError {
    FhirError::new(Refusal::NotAcceptable, format!("The resource cannot be shown as XML: {why}."))
}

/// One JSON object as fhirbolt's element: `x` and `_x` joined, attributes as primitives, everything else as elements.
/// All values are text, for that is what they are in XML. Nothing is made a list that was none.
fn object_to_element(object: &Map<String, Value>, within: &str, depth: usize) -> Result<R4Element, FhirError> {
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

fn write_resource(out: &mut String, resource: &R4Element, is_root: bool) {
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

// ---- characters ----

/// Attribute text without its escapes, its white space normalised as XML asks (XML 1.0, 3.3.3). Also the check that
/// there is no entity but the five.
fn unescape(text: &str) -> Read<Cow<'_, str>> {
    if !text.contains(['&', '\t', '\n', '\r']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('&');
    let plain = |out: &mut String, part: &str| {
        out.push_str(&part.replace("\r\n", " ").replace(['\t', '\n', '\r'], " "));
    };
    plain(&mut out, parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';').ok_or("an '&' is not escaped")?;
        let char = match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => character_reference(entity)?,
        };
        out.push(char);
        plain(&mut out, rest);
    }
    Ok(Cow::Owned(out))
}

fn character_reference(entity: &str) -> Read<char> {
    let Some(number) = entity.strip_prefix('#') else {
        return Err(format!("the entity '&{};' is not allowed: only those of XML itself are", clip(entity)).into());
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
    // Without the digit check a sign would pass.
    let code = digits.chars().all(|c| c.is_digit(radix)).then(|| u32::from_str_radix(digits, radix).ok()).flatten();
    let char = code.and_then(char::from_u32).filter(|c| is_xml_char(*c));
    char.ok_or_else(|| format!("'&{};' is not a character of XML", clip(entity)).into())
}

fn escape(out: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // As they are, a reader would make spaces of them.
            '\t' | '\n' | '\r' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "&#{};", char as u32);
            }
            char if is_xml_char(char) => out.push(char),
            _ => out.push('\u{fffd}'),
        }
    }
}

/// XML 1.0, production 2.
fn is_xml_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// XML's white space, which is not Unicode's.
fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r')
}

fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

fn is_extension(name: &str) -> bool {
    matches!(name, "extension" | "modifierExtension")
}

fn is_resource_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

/// A name from outside, short enough for a message.
fn clip(name: &str) -> &str {
    let end = name.char_indices().nth(60).map_or(name.len(), |(at, _)| at);
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(inside: &str) -> Result<Value, FhirError> {
        from_xml(format!("<Practitioner xmlns=\"{FHIR}\">{inside}</Practitioner>").as_bytes())
    }

    #[track_caller]
    fn refused(xml: &str, because: &str) {
        let error = from_xml(xml.as_bytes()).unwrap_err();
        assert_eq!(error.kind, Refusal::Malformed);
        assert!(error.to_string().contains(because), "{error}");
    }

    #[track_caller]
    fn refused_inside(inside: &str, because: &str) {
        refused(&format!("<Practitioner xmlns=\"{FHIR}\">{inside}</Practitioner>"), because);
    }

    #[track_caller]
    fn round_trip(resource: Value) -> String {
        let xml = to_xml(&resource).unwrap();
        assert_eq!(from_xml(xml.as_bytes()).unwrap(), resource, "{xml}");
        xml
    }

    #[test]
    fn types_come_from_the_path() {
        let xml = round_trip(json!({
            "name": [{"given": ["Jo"], "family": "Smith"}],
            "resourceType": "Practitioner",
            "active": true,
            "telecom": [{"system": "phone", "value": "1", "rank": 2}],
        }));
        // In the order of the specification, whatever the order of the JSON.
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <Practitioner xmlns=\"http://hl7.org/fhir\"><active value=\"true\"/>\
             <name><family value=\"Smith\"/><given value=\"Jo\"/></name>\
             <telecom><system value=\"phone\"/><value value=\"1\"/><rank value=\"2\"/></telecom></Practitioner>"
        );
    }

    #[test]
    fn decimals_keep_their_digits() {
        let text = r#"{"resourceType":"Location","position":{"longitude":-72.690,"latitude":1.10}}"#;
        let location: Value = serde_json::from_str(text).unwrap();
        let xml = round_trip(location);
        assert!(xml.contains("<latitude value=\"1.10\"/>"), "{xml}");
        assert_eq!(from_xml(xml.as_bytes()).unwrap().to_string(), text);
    }

    #[test]
    fn ids_and_extensions_of_simple_values() {
        let extension = json!([{"url": "http://example.org/e", "valueBoolean": false}]);
        let xml = round_trip(json!({
            "resourceType": "Practitioner",
            "id": "a",
            "_id": {"extension": extension},
            "active": true,
            "_active": {"id": "b1"},
            "name": [{
                "id": "n1",
                "given": ["A", null, "C"],
                "_given": [null, {"extension": extension}, {"id": "g3", "extension": extension}],
            }],
            "_birthDate": {"extension": extension},
        }));
        assert!(xml.contains("<active id=\"b1\" value=\"true\"/>"), "{xml}");
        assert!(
            xml.contains("<given><extension url=\"http://example.org/e\"><valueBoolean value=\"false\"/>"),
            "{xml}"
        );
    }

    #[test]
    fn narratives_are_left_alone() {
        let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\">\n a <b>b</b> c&#160;&lt;d&gt; \
                   <br/><img src='x' alt=\"y\" /><!-- z --><div>\n  </div></div>";
        round_trip(json!({"resourceType": "Practitioner", "text": {"status": "generated", "div": div}}));

        let prefixed = format!(
            "<f:Practitioner xmlns:f=\"{FHIR}\" xmlns:h=\"{XHTML}\"><f:text><f:status value=\"generated\"/>\
             <h:div><h:p class=\"q\">a\r\nb</h:p></h:div></f:text></f:Practitioner>"
        );
        assert_eq!(
            from_xml(prefixed.as_bytes()).unwrap()["text"]["div"],
            "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p class=\"q\">a\nb</p></div>"
        );
    }

    #[test]
    fn narratives_cannot_break_out() {
        for (div, carried) in [
            ("<div>no namespace</div>", "<div xmlns=\"http://www.w3.org/1999/xhtml\">no namespace</div>"),
            ("<div>a&nbsp;b</div>", "<div xmlns=\"http://www.w3.org/1999/xhtml\">a&#160;b</div>"),
            ("<div></div></text><id value=\"x\"/><text>", "&lt;div&gt;&lt;/div&gt;&lt;/text&gt;"),
            ("<div><p></div>", "&lt;div&gt;&lt;p&gt;&lt;/div&gt;"),
            ("<!DOCTYPE a><div/>", "&lt;!DOCTYPE a&gt;"),
            ("<div>&e;</div>", "&lt;div&gt;&amp;e;&lt;/div&gt;"),
            ("", "<div xmlns=\"http://www.w3.org/1999/xhtml\"></div>"),
        ] {
            let xml = to_xml(&json!({"resourceType": "Basic", "text": {"div": div}})).unwrap();
            assert!(xml.contains(carried), "{xml}");
            from_xml(xml.as_bytes()).unwrap();
        }
        to_xml(&json!({"resourceType": "Basic", "text": {"_div": {"id": "x"}, "status": "empty"}})).unwrap();
    }

    #[test]
    fn resources_in_resources() {
        // The type is not first, and the orders differ, on each level.
        let practitioner = json!({"id": "p", "active": true, "resourceType": "Practitioner"});
        let organization = json!({"name": "o", "contained": [practitioner, {"resourceType": "Basic"}],
            "resourceType": "Organization", "id": "o"});
        round_trip(json!({
            "type": "searchset",
            "total": 1,
            "link": [{"relation": "self", "url": "http://localhost/?a=1&b=<"}],
            "resourceType": "Bundle",
            "entry": [
                {"resource": organization, "fullUrl": "urn:x", "search": {"mode": "match", "score": 0.50}},
                {"request": {"method": "DELETE", "url": "A/1"}, "response": {"status": "400", "outcome": {
                    "issue": [{"severity": "error", "code": "invalid"}], "resourceType": "OperationOutcome"}}},
            ],
        }));
        round_trip(json!({
            "resourceType": "Parameters",
            "parameter": [
                {"name": "a", "valueDecimal": 1.0},
                {"name": "b", "resource": {"resourceType": "Bundle", "type": "batch"}},
                {"name": "c", "part": [{"name": "d", "part": [{"name": "e", "valueUnsignedInt": 0}]}]},
            ],
        }));
    }

    #[test]
    fn our_own_answers() {
        round_trip(json!({
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": "value", "diagnostics": "a\nb\t\"c\" & 'd'", "expression": ["x"]}],
        }));
        round_trip(json!({
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-01-01",
            "kind": "instance",
            "url": "http://localhost/fhir/metadata",
            "fhirVersion": "4.0.1",
            "format": ["json", "xml"],
            "rest": [{
                "mode": "server",
                "security": {"cors": true},
                "resource": [{
                    "type": "Practitioner",
                    "interaction": [{"code": "read"}],
                    "versioning": "versioned",
                    "readHistory": true,
                    "searchParam": [{"name": "name", "type": "string"}],
                    "operation": [{"name": "validate", "definition": "http://localhost/v"}],
                }],
                "searchParam": [{"name": "_id", "type": "token"}],
                "operation": [{"name": "export", "definition": "http://localhost/e"}],
            }],
        }));
    }

    #[test]
    fn a_resource_type_that_is_an_element() {
        round_trip(json!({
            "resourceType": "ExampleScenario",
            "status": "draft",
            "instance": [{"resourceId": "a", "resourceType": "Patient", "name": "n"}],
        }));
    }

    #[test]
    fn nothing_to_expand_and_nothing_to_fetch() {
        let body = format!("<Practitioner xmlns=\"{FHIR}\"/>");
        for prolog in [
            "<!DOCTYPE Practitioner>",
            "<!DOCTYPE lolz [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>",
            "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">",
            "<?xml version=\"1.0\"?>\n<!doctype x>",
        ] {
            refused(&format!("{prolog}{body}"), "document types");
        }
        refused_inside("<id value=\"&xxe;\"/>", "entity '&xxe;'");
        refused_inside("<text><div xmlns=\"http://www.w3.org/1999/xhtml\">&nbsp;</div></text>", "entity '&nbsp;'");
        refused_inside("<id><![CDATA[x]]></id>", "CDATA");
        let deep = "<extension url=\"u\">".repeat(100_000);
        refused_inside(&deep, "64 levels");
        let deep = format!("<text><div xmlns=\"{XHTML}\">{}", "<p>".repeat(100_000));
        refused_inside(&deep, "64 levels");
        let wide = (0..40).fold(String::new(), |wide, n| wide + &format!(" xmlns:a{n}=\"u\""));
        refused_inside(&format!("<name{wide}/>"), "attributes");
    }

    #[test]
    fn characters_and_encodings() {
        assert!(from_xml(b"<Practitioner xmlns=\"http://hl7.org/fhir\"><id value=\"\xff\"/></Practitioner>").is_err());
        assert!(from_xml("<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice()).is_err());
        refused("<?xml version=\"1.1\"?><a/>", "XML 1.0");
        refused("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>", "UTF-8");
        refused_inside("<id value=\"&#0;\"/>", "not a character");
        refused_inside("<id value=\"&#xD800;\"/>", "not a character");
        refused_inside("<id value=\"&#+65;\"/>", "not a character");
        refused_inside("<id value=\"\u{1}\"/>", "U+0001");

        let with_all = format!(
            "\u{feff}<?xml version='1.0' encoding='utf-8' standalone=\"yes\"?>\n<?xml-stylesheet href='a'?><!-- c -->\
             <Practitioner xmlns=\"{FHIR}\" xmlns:xsi=\"{SCHEMA_INSTANCE}\" xsi:schemaLocation=\"a b\">\n\
             <birthDate value=\"a&#x41;&lt;&#10;é\n\" ></birthDate><!-- d --></Practitioner>\n"
        );
        assert_eq!(from_xml(with_all.as_bytes()).unwrap()["birthDate"], "aA<\né ");
        let xml = to_xml(&json!({"resourceType": "Basic", "id": "a\u{0}\nb"})).unwrap();
        assert!(xml.contains("<id value=\"a\u{fffd}&#10;b\"/>"), "{xml}");
    }

    #[test]
    fn what_is_not_xml() {
        for (xml, because) in [
            ("", "no element"),
            ("{}", "does not begin"),
            ("<", "name is malformed"),
            ("<a", "malformed"),
            ("<a b>", "no value"),
            ("<a b=c/>", "not in quotes"),
            ("<a b='1'c='2'/>", "malformed"),
            ("<a b='1' b='2'/>", "twice"),
            ("<a b='<'/>", "'<'"),
            ("<a / >", "malformed"),
            ("<!-- ", "not closed"),
            ("<!-- -- --><a/>", "'--'"),
            ("<?xml version='1.0'", "not closed"),
            (" <?xml version='1.0'?><a/>", "first"),
            ("<x:a/>", "not declared"),
            ("</a>", "does not begin"),
        ] {
            refused(xml, because);
        }
        refused_inside("<active value=\"true\">", "closed by");
        refused_inside("<name></given>", "closed by");
        refused(&format!("<Practitioner xmlns=\"{FHIR}\"><name>"), "not closed");
        refused(&format!("<Practitioner xmlns=\"{FHIR}\"/><Practitioner/>"), "follows");
    }

    #[test]
    fn what_is_not_fhir() {
        refused("<Practitioner><active value=\"true\"/></Practitioner>", "namespace http://hl7.org/fhir");
        refused("<Practitioner xmlns=\"http://example.org\"/>", "namespace http://hl7.org/fhir");
        refused(&format!("<Nonsense xmlns=\"{FHIR}\"/>"), "not a resource type");
        refused(&format!("<HumanName xmlns=\"{FHIR}\"/>"), "not a resource type");
        refused(&format!("<Practitioner xmlns=\"{FHIR}\" id=\"x\"/>"), "no attributes");
        for (inside, because) in [
            ("<nonsense value=\"1\"/>", "no element 'nonsense'"),
            ("<name><Practitioner/></name>", "no element 'Practitioner'"),
            ("<_id value=\"1\"/>", "no element"),
            ("<name><given value=\"a\"/></name><name.given value=\"1\"/>", "no element"),
            ("<active/>", "empty"),
            ("<active value=\"\"/>", "empty"),
            ("<name id=\"1\"/>", "empty"),
            ("<active value=\"yes\"/>", "not a boolean"),
            ("<active value=\"true\" url=\"u\"/>", "'url'"),
            ("<active value=\"true\" lang=\"u\"/>", "'lang'"),
            ("<active><value value=\"true\"/></active>", "but extensions"),
            ("<active value=\"true\"/><active value=\"true\"/>", "does not repeat"),
            ("<identifier value=\"1\"/>", "simple value"),
            ("<identifier><id value=\"1\"/></identifier>", "an attribute here"),
            ("<extension><valueCode value=\"a\"/></extension>", "'url'"),
            ("<extension url=\"u\"><url value=\"a\"/></extension>", "an attribute here"),
            ("<telecom><rank value=\"1.5\"/></telecom>", "not an integer"),
            ("<telecom><rank value=\"99999999999\"/></telecom>", "not an integer"),
            ("<extension url=\"u\"><valueDecimal value=\"1,5\"/></extension>", "not a decimal"),
            ("<active value=\"true\">x</active>", "text stands outside"),
            ("<contained/>", "no resource"),
            ("<contained><Basic/><Basic/></contained>", "more than one"),
            ("<contained id=\"a\"><Basic/></contained>", "no attributes"),
            ("<contained><Address/></contained>", "not a resource type"),
            ("<resourceType value=\"x\"/>", "name of the resource"),
            ("<text><div>x</div></text>", "namespace http://www.w3.org/1999/xhtml"),
            ("<text><div xmlns=\"http://www.w3.org/1999/xhtml\"><p>x</div></text>", "closed by"),
        ] {
            refused_inside(inside, because);
        }
    }

    #[test]
    fn a_fault_has_a_line_and_a_place() {
        let error =
            read("\n<contained><Location><name value=\"x\"/>\n<mode value=\" \"/></Location></contained>").unwrap_err();
        assert_eq!(
            error.to_string(),
            "The XML cannot be read: the attribute 'value' is empty (line 3). (Location.mode)"
        );
    }

    #[test]
    fn an_empty_contained_resource_ends_there() {
        let resource = read("<contained><Basic/></contained><active value=\"true\"/>").unwrap();
        assert_eq!(resource["contained"], json!([{"resourceType": "Basic"}]));
        assert_eq!(resource["active"], true);
    }

    #[test]
    fn what_cannot_be_written() {
        for resource in [json!([]), json!({"id": "x"}), json!({"resourceType": "Basic", "a b><c": 1})] {
            assert_eq!(to_xml(&resource).unwrap_err().kind, Refusal::NotAcceptable);
        }
        assert!(to_xml(&json!({"resourceType": "Basic", "identifier": [["x"]]})).is_err());
        let mut deep = json!({"url": "u"});
        for _ in 0..200 {
            deep = json!({"url": "u", "extension": [deep]});
        }
        assert!(to_xml(&json!({"resourceType": "Basic", "extension": [deep]})).is_err());
        // What R4 does not know is shown, last; what is empty is not.
        let xml = to_xml(&json!({"resourceType": "Basic", "mine": "x", "id": "y", "name": [], "code": null})).unwrap();
        assert!(xml.ends_with("<id value=\"y\"/><mine value=\"x\"/></Basic>"), "{xml}");
    }

    #[test]
    fn the_deepest_document_fits_a_small_stack() {
        let body = format!(
            "<Basic xmlns=\"{FHIR}\">{}<valueCode value=\"x\"/>{}</Basic>",
            "<extension url=\"u\">".repeat(MAX_DEPTH - 2),
            "</extension>".repeat(MAX_DEPTH - 2)
        );
        let reader = std::thread::Builder::new().stack_size(1 << 20);
        let read = reader.spawn(move || to_xml(&from_xml(body.as_bytes()).unwrap()).unwrap()).unwrap().join();
        assert!(read.is_ok());
    }
}
