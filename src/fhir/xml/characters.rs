//! Characters: which there are, and how those that mean something to XML are written.

use std::borrow::Cow;
use std::fmt::Write;

use super::scan::Read;

/// Attribute text without its escapes, its white space normalised as XML asks (XML 1.0, 3.3.3). Also the check that
/// there is no entity but the five.
pub(super) fn unescape(text: &str) -> Read<Cow<'_, str>> {
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

pub(super) fn escape(out: &mut String, text: &str) {
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
pub(super) fn is_xml_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// XML's white space, which is not Unicode's.
pub(super) fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r')
}

pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// A name from outside, short enough for a message.
pub(super) fn clip(name: &str) -> &str {
    let end = name.char_indices().nth(60).map_or(name.len(), |(at, _)| at);
    name.get(..end).unwrap_or_default()
}
