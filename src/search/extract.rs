//! Resource -> index entries: the pure function that both the old and the new version of a resource pass through, so
//! that the store writes only their difference.

use serde_json::Value;

use crate::fhir::path::Path;
use crate::fhir::types::{ResourceType, is_id};

use super::date::DateRange;
use super::fold;
use super::geo::Position;
use super::param::{ParamId, ParamKind, SearchParam, registry};
use super::value::{
    CompositeEntry, DateEntry, IndexEntries, PositionEntry, QuantityEntry, ReferenceEntry, StringEntry, Target,
    TokenEntry, UriEntry, system_hash,
};

/// The most characters of a uri or a code that are indexed.
const INDEXED_BYTES_MAX: usize = 500;

/// Stands for the original of a string that is only a part of a value: it is found by its beginning, but it is neither an
/// exact value nor one to sort by.
pub const PART: &str = "\u{1}";

/// A resource whose references are to be read: those under one of `bases` are this server's own.
#[derive(Clone, Copy, Debug)]
pub struct Extractor<'a> {
    /// Base URLs of this server without a trailing slash, e.g. `http://127.0.0.1:8080/fhir`.
    pub bases: &'a [String],
}

impl Extractor<'_> {
    /// Everything `resource` offers to search. Elements of an unexpected shape offer nothing: saying that they are
    /// wrong is validation's task.
    pub fn entries(self, resource_type: ResourceType, resource: &Value) -> IndexEntries {
        let mut entries = IndexEntries::default();
        for param in registry().of_type(resource_type) {
            // These two are columns of the resource itself.
            if matches!(param.code.as_str(), "_id" | "_lastUpdated") {
                continue;
            }
            for element in elements(&param.path, resource) {
                self.add(&mut entries, param, element);
            }
        }
        entries.normalize();
        entries
    }

    fn add(self, entries: &mut IndexEntries, param: &SearchParam, element: &Value) {
        match param.kind {
            ParamKind::Token => tokens(entries, param, element),
            ParamKind::String => strings(entries, param, element),
            ParamKind::Date => {
                entries.dates.extend(date(element).map(|d| DateEntry { param: param.id, lo: d.lo, hi: d.hi }))
            }
            ParamKind::Reference => self.reference(entries, param, element),
            ParamKind::Uri => entries.uris.extend(uri(element).map(|value| UriEntry { param: param.id, value })),
            ParamKind::Number | ParamKind::Quantity => entries.quantities.extend(quantity(param.id, element)),
            ParamKind::Special => entries.positions.extend(position(element).map(|position| PositionEntry {
                param: param.id,
                cell: position.cell(),
                vector: position.vector(),
            })),
            ParamKind::Composite => composites(entries, param, element),
        }
    }

    fn reference(self, entries: &mut IndexEntries, param: &SearchParam, element: &Value) {
        let element = value_of_extension(element);
        if let Some(identifier) = element.get("identifier") {
            entries.tokens.extend(token_of_identifier(param.identifier_id, identifier));
        }
        let text = element.as_str().or_else(|| element.get("reference").and_then(Value::as_str));
        match text.map(|text| self.resolve(text)) {
            Some(Some(target)) => entries.references.push(ReferenceEntry { param: param.id, target }),
            Some(None) => {
                let text = text.unwrap_or_default();
                if !text.starts_with('#') {
                    entries.uris.push(UriEntry { param: param.id, value: clip(text).to_owned() });
                }
            }
            None => {}
        }
    }

    /// The resource of this server that a reference names: relative, or absolute under one of the own bases, with or
    /// without a version. `None` for everything else.
    pub fn resolve(self, reference: &str) -> Option<Target> {
        target(local_part(self.bases, reference)?)
    }
}

/// The part of `reference` after an own base, or the whole of a relative one.
pub fn local_part<'r>(bases: &[String], reference: &'r str) -> Option<&'r str> {
    if !reference.contains(':') {
        return Some(reference);
    }
    // `http` and `https` name the same object (R4 http.html#general).
    let bare = |url: &'r str| url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let path = bare(reference)?;
    bases.iter().find_map(|base| {
        let base = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
        path.strip_prefix(base)?.strip_prefix('/')
    })
}

/// `Type/id[/_history/version]` -> the resource it names, if its type is stored here.
pub fn target(relative: &str) -> Option<Target> {
    let mut parts = relative.split('/');
    let resource_type = ResourceType::parse(parts.next()?)?;
    let id = parts.next().filter(|id| is_id(id))?;
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) | (Some("_history"), Some(_), None) => Some(Target { resource_type, id: id.to_owned() }),
        _ => None,
    }
}

fn elements<'a>(path: &Path, resource: &'a Value) -> impl Iterator<Item = &'a Value> {
    path.evaluate(resource).into_iter().filter_map(|node| node.json())
}

/// Some Plan-Net expressions end at the Extension instead of its value; what is searched is the value.
fn value_of_extension(element: &Value) -> &Value {
    let is_extension = element.get("url").is_some_and(Value::is_string);
    let value = || element.as_object()?.iter().find(|(name, _)| name.starts_with("value")).map(|(_, value)| value);
    if is_extension { value().unwrap_or(element) } else { element }
}

/// The part of a uri or a code that is indexed: what both sides of a comparison pass through.
pub(super) fn clip(text: &str) -> &str {
    let mut end = text.len().min(INDEXED_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn text<'a>(element: &'a Value, name: &str) -> Option<&'a str> {
    element.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn tokens(entries: &mut IndexEntries, param: &SearchParam, element: &Value) {
    let element = value_of_extension(element);
    let mut add = |system: Option<&str>, code: &str| {
        let system = system_hash(system.unwrap_or_default());
        entries.tokens.push(TokenEntry { param: param.id, code: fold_code(code), system });
    };
    match element {
        Value::String(code) => add(None, code),
        Value::Bool(flag) => add(None, if *flag { "true" } else { "false" }),
        Value::Object(object) => {
            if object.contains_key("coding") || object.contains_key("text") {
                // CodeableConcept: every coding counts, and `text` is for :text only.
                if let Some(display) = text(element, "text") {
                    push_string(&mut entries.strings, param.text_id, display);
                }
                for coding in element.get("coding").and_then(Value::as_array).into_iter().flatten() {
                    tokens(entries, param, coding);
                }
            } else if is_contact(param) {
                let value = text(element, "value").map(|value| fold::phone(clip(value)));
                entries.tokens.extend(value.map(|code| TokenEntry { param: param.id, code, system: 0 }));
            } else if object.contains_key("code") || object.contains_key("display") {
                if let Some(code) = text(element, "code") {
                    add(text(element, "system"), code);
                }
                if let Some(display) = text(element, "display") {
                    push_string(&mut entries.strings, param.text_id, display);
                }
            } else if object.contains_key("value") || object.contains_key("type") {
                identifier(entries, param, element);
            } else if let Some(system) = text(element, "system") {
                add(Some(system), "");
            }
        }
        _ => {}
    }
}

fn identifier(entries: &mut IndexEntries, param: &SearchParam, element: &Value) {
    match (text(element, "value"), text(element, "system")) {
        (None, Some(system)) => {
            entries.tokens.push(TokenEntry { param: param.id, code: String::new(), system: system_hash(system) });
        }
        _ => entries.tokens.extend(token_of_identifier(param.id, element)),
    }
    let Some(identifier_type) = element.get("type") else { return };
    if let Some(display) = text(identifier_type, "text") {
        push_string(&mut entries.strings, param.text_id, display);
    }
    let Some(value) = text(element, "value") else { return };
    for coding in identifier_type.get("coding").and_then(Value::as_array).into_iter().flatten() {
        if let Some(code) = text(coding, "code") {
            let system = of_type_system(text(coding, "system").unwrap_or_default(), code);
            entries.tokens.push(TokenEntry { param: param.of_type_id, code: fold_code(value), system });
        }
    }
}

/// True for the parameters over ContactPoint, whose system is no system in the sense of a token: only values are compared.
pub(super) fn is_contact(param: &SearchParam) -> bool {
    matches!(param.code.as_str(), "phone" | "telecom" | "email")
}

/// What stands in the system column of an `:of-type` entry: the type's system and code as one.
pub fn of_type_system(system: &str, code: &str) -> i64 {
    system_hash(&format!("{system}|{code}"))
}

fn token_of_identifier(param: ParamId, identifier: &Value) -> Option<TokenEntry> {
    let value = text(identifier, "value")?;
    Some(TokenEntry {
        param,
        code: fold_code(value),
        system: system_hash(text(identifier, "system").unwrap_or_default()),
    })
}

/// Lower case: what both sides of a token comparison pass through.
pub fn fold_code(code: &str) -> String {
    clip(code).to_lowercase()
}

fn strings(entries: &mut IndexEntries, param: &SearchParam, element: &Value) {
    let mut add = |text: &str, is_part: bool| {
        if param.is_phonetic() {
            let sound = fold::sound(text);
            entries.strings.push(StringEntry { param: param.id, folded: sound, exact: String::new() });
        } else if is_part {
            entries.strings.push(StringEntry { param: param.id, folded: fold::fold(text), exact: PART.to_owned() });
        } else {
            push_string(&mut entries.strings, param.id, text);
        }
    };
    match element {
        Value::String(text) => {
            add(text, false);
            // A family name is found by each of its parts too (R4 search.html#string).
            if param.code == "family" {
                name_parts(text, &mut add);
            }
        }
        // HumanName and Address: every string part but use, type and period.
        Value::Object(object) => {
            for (name, value) in object {
                match (name.as_str(), value) {
                    ("use" | "type" | "period" | "extension" | "id", _) => {}
                    ("family", Value::String(family)) => {
                        add(family, false);
                        name_parts(family, &mut add);
                    }
                    (_, Value::String(part)) => add(part, false),
                    (_, Value::Array(parts)) => {
                        parts.iter().filter_map(Value::as_str).for_each(|part| add(part, false))
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// Each end of a family name that begins with another of its words.
fn name_parts(family: &str, add: &mut impl FnMut(&str, bool)) {
    for (at, separator) in family.match_indices([' ', '-', '\u{2010}', '\u{2013}']) {
        let part = family.get(at + separator.len()..).unwrap_or_default();
        if part.starts_with(char::is_alphanumeric) {
            add(part, true);
        }
    }
}

fn push_string(strings: &mut Vec<StringEntry>, param: ParamId, text: &str) {
    let folded = fold::fold(text);
    if folded.is_empty() {
        return;
    }
    let exact = fold::exact(text);
    let exact = if exact == folded { String::new() } else { exact };
    strings.push(StringEntry { param, folded, exact });
}

fn date(element: &Value) -> Option<DateRange> {
    let element = value_of_extension(element);
    match element {
        Value::String(text) => DateRange::parse(text),
        Value::Object(period) => {
            let end = |name| period.get(name).and_then(Value::as_str);
            let (start, finish) = (end("start"), end("end"));
            if start.is_none() && finish.is_none() {
                return None;
            }
            Some(DateRange::period(start.and_then(DateRange::parse), finish.and_then(DateRange::parse)))
        }
        _ => None,
    }
}

fn uri(element: &Value) -> Option<String> {
    element.as_str().filter(|text| !text.is_empty()).map(|text| clip(text).to_owned())
}

/// A number, a Quantity, or a Money whose currency is its unit (R4 search.html#quantity).
fn quantity(param: ParamId, element: &Value) -> Option<QuantityEntry> {
    let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
    if let Some(value) = number(element) {
        return Some(QuantityEntry { param, value, system: 0, code: String::new() });
    }
    let value = number(element.get("value")?)?;
    let (system, code) = match text(element, "currency") {
        Some(currency) => ("urn:iso:std:iso:4217", currency),
        None => (
            text(element, "system").unwrap_or_default(),
            text(element, "code").or_else(|| text(element, "unit")).unwrap_or_default(),
        ),
    };
    Some(QuantityEntry { param, value, system: system_hash(system), code: clip(code).to_owned() })
}

/// The position of a Location, if its two numbers are on the globe.
pub fn position(element: &Value) -> Option<Position> {
    Position::new(element.get("latitude")?.as_f64()?, element.get("longitude")?.as_f64()?)
}

fn composites(entries: &mut IndexEntries, param: &SearchParam, element: &Value) {
    let Some((token_path, date_path)) = &param.components else { return };
    let ranges: Vec<DateRange> = elements(date_path, element).filter_map(date).collect();
    for concept in elements(token_path, element) {
        let mut found = IndexEntries::default();
        tokens(&mut found, param, concept);
        for token in found.tokens {
            entries.composites.extend(ranges.iter().map(|range| CompositeEntry {
                param: param.id,
                code: token.code.clone(),
                system: token.system,
                lo: range.lo,
                hi: range.hi,
            }));
        }
    }
}
