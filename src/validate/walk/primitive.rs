//! The formats of the R4 primitive types (datatypes.html#primitive), as checks on bytes.

use serde_json::Value;

use super::xhtml;
use crate::fhir::definitions::Primitive;

/// A string holds at most this many characters (R4 datatypes.html#string).
const MAX_CHARACTERS: usize = 1024 * 1024;

/// What is wrong with the value of a primitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another JSON type than the one named.
    JsonType(&'static str),
    Empty,
    TooLong,
    ControlCharacter,
    /// Not what the type allows, which is described.
    Format(&'static str),
    /// Markup that a narrative must not have.
    Xhtml(&'static str),
    /// A narrative without text or picture.
    Blank,
}

/// Checks a JSON value against a primitive type: its JSON type, then its format.
pub(super) fn check(primitive: Primitive, value: &Value) -> Result<(), Fault> {
    let in_range = |number: Option<i64>, least: i64| number.is_some_and(|n| (least..=i32::MAX.into()).contains(&n));
    let natural = |number: &serde_json::Number| number.as_u64().and_then(|n| i64::try_from(n).ok());
    match (primitive, value) {
        (Primitive::Boolean, Value::Bool(_)) | (Primitive::Decimal, Value::Number(_)) => Ok(()),
        (Primitive::Integer, Value::Number(number)) => {
            format(in_range(number.as_i64(), i32::MIN.into()), "a whole number of 32 bits")
        }
        (Primitive::UnsignedInt, Value::Number(number)) => {
            format(in_range(natural(number), 0), "a whole number from 0 to 2147483647")
        }
        (Primitive::PositiveInt, Value::Number(number)) => {
            format(in_range(natural(number), 1), "a whole number from 1 to 2147483647")
        }
        (Primitive::Boolean, _) => Err(Fault::JsonType("a boolean")),
        (Primitive::Decimal | Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt, _) => {
            Err(Fault::JsonType("a number"))
        }
        (_, Value::String(text)) if text.is_empty() => Err(Fault::Empty),
        (_, Value::String(text)) => text_format(primitive, text),
        _ => Err(Fault::JsonType("a string")),
    }
}

fn text_format(primitive: Primitive, text: &str) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    match primitive {
        Primitive::Date => format(is_date(bytes), "a date: YYYY, YYYY-MM or YYYY-MM-DD"),
        Primitive::DateTime => {
            format(is_date_time(bytes), "a dateTime: a date, or YYYY-MM-DDThh:mm:ss with Z or an offset")
        }
        Primitive::Instant => format(is_instant(bytes), "an instant: YYYY-MM-DDThh:mm:ss with Z or an offset"),
        Primitive::Time => format(is_time(bytes), "a time: hh:mm:ss"),
        Primitive::Id => format(is_id(bytes), "an id: 1 to 64 letters, digits, - and ."),
        Primitive::Oid => format(is_oid(bytes), "an oid: urn:oid: and numbers with dots"),
        Primitive::Uuid => format(is_uuid(bytes), "a uuid: urn:uuid: and a lower-case UUID"),
        Primitive::Code => format(is_code(bytes), "a code: no white space but single spaces inside"),
        Primitive::Base64Binary => format(is_base64(bytes), "base64"),
        Primitive::Uri | Primitive::Url | Primitive::Canonical => format(is_uri(bytes), "a URI: no white space"),
        Primitive::Xhtml => {
            plain_text(text)?;
            xhtml::check(text).map_err(Fault::Xhtml)?;
            if xhtml::is_blank(text) { Err(Fault::Blank) } else { Ok(()) }
        }
        _ => plain_text(text),
    }
}

fn format(holds: bool, expected: &'static str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Format(expected)) }
}

/// `string` and `markdown`: not too long, and no control characters but tab, line feed and carriage return.
fn plain_text(text: &str) -> Result<(), Fault> {
    if text.len() > MAX_CHARACTERS && text.chars().count() > MAX_CHARACTERS {
        return Err(Fault::TooLong);
    }
    // No early exit: the loop then works on many bytes at once.
    let control = |byte: u8| (byte < b' ') & (byte != b'\t') & (byte != b'\n') & (byte != b'\r');
    if text.bytes().fold(false, |found, byte| found | control(byte)) { Err(Fault::ControlCharacter) } else { Ok(()) }
}

pub(super) fn is_id(text: &[u8]) -> bool {
    (1..=64).contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

pub(super) fn is_uri(text: &[u8]) -> bool {
    text.iter().all(|byte| !is_space(*byte))
}

/// White space, or a control character that is worse.
fn is_space(byte: u8) -> bool {
    byte <= b' '
}

fn is_code(text: &[u8]) -> bool {
    text.split(|byte| is_space(*byte)).all(|word| !word.is_empty())
}

fn is_oid(text: &[u8]) -> bool {
    let Some(numbers) = text.strip_prefix(b"urn:oid:") else { return false };
    let mut numbers = numbers.split(|byte| *byte == b'.');
    let is_number = |number: &[u8]| match number {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let rooted = matches!(numbers.next(), Some([b'0'..=b'2']));
    rooted && numbers.clone().next().is_some() && numbers.all(is_number)
}

fn is_uuid(text: &[u8]) -> bool {
    let Some(uuid) = text.strip_prefix(b"urn:uuid:") else { return false };
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    uuid.split(|byte| *byte == b'-').map(<[u8]>::len).eq([8, 4, 4, 4, 12])
        && uuid.iter().all(|byte| *byte == b'-' || is_hex(byte))
}

/// Groups of four, the last of which may be padded; white space is let through.
fn is_base64(text: &[u8]) -> bool {
    let (mut symbols, mut padding, mut valid) = (0usize, 0usize, true);
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                symbols += 1;
                valid &= padding == 0;
            }
            b'=' => padding += 1,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => return false,
        }
    }
    valid && symbols > 0 && padding <= 2 && (symbols + padding).is_multiple_of(4)
}

fn is_date(text: &[u8]) -> bool {
    matches!(leading_date(text), Some((_, [])))
}

fn is_date_time(text: &[u8]) -> bool {
    match leading_date(text) {
        Some((_, [])) => true,
        Some((3, [b'T', time @ ..])) => leading_time(time).is_some_and(is_zone),
        _ => false,
    }
}

fn is_instant(text: &[u8]) -> bool {
    matches!(leading_date(text), Some((3, [b'T', time @ ..])) if leading_time(time).is_some_and(is_zone))
}

fn is_time(text: &[u8]) -> bool {
    matches!(leading_time(text), Some([]))
}

/// How many of year, month and day the text starts with, and what follows them.
fn leading_date(text: &[u8]) -> Option<(usize, &[u8])> {
    let (year, rest) = number(text, 4).filter(|(year, _)| *year > 0)?;
    let [b'-', text @ ..] = rest else { return Some((1, rest)) };
    let (month, rest) = number(text, 2).filter(|(month, _)| (1..=12).contains(month))?;
    let [b'-', text @ ..] = rest else { return Some((2, rest)) };
    let (_, rest) = number(text, 2).filter(|(day, _)| (1..=days_in(year, month)).contains(day))?;
    Some((3, rest))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// What follows `hh:mm:ss` and any fraction. A second of 60 is a leap second.
fn leading_time(text: &[u8]) -> Option<&[u8]> {
    let (_, rest) = number(text, 2).filter(|(hour, _)| *hour < 24)?;
    let (_, rest) = number(rest.strip_prefix(b":")?, 2).filter(|(minute, _)| *minute < 60)?;
    let (_, rest) = number(rest.strip_prefix(b":")?, 2).filter(|(second, _)| *second <= 60)?;
    let [b'.', fraction @ ..] = rest else { return Some(rest) };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 { None } else { fraction.get(digits..) }
}

/// `Z`, or an offset of up to 14 hours.
fn is_zone(text: &[u8]) -> bool {
    let [b'+' | b'-', text @ ..] = text else { return text == b"Z" };
    let minutes = |rest: &[u8]| Some(number(rest.strip_prefix(b":")?, 2).filter(|(_, rest)| rest.is_empty())?.0);
    match number(text, 2).map(|(hours, rest)| (hours, minutes(rest))) {
        Some((hours, Some(minutes))) => (hours < 14 && minutes < 60) || (hours, minutes) == (14, 0),
        _ => false,
    }
}

/// The number of exactly so many digits at the start, and what follows it.
fn number(text: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let (head, rest) = text.split_at_checked(digits)?;
    let value = head.iter().try_fold(0, |value, byte| match byte {
        b'0'..=b'9' => Some(value * 10 + u32::from(byte - b'0')),
        _ => None,
    })?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the JSON values, one per line or word, are all valid, or all not, for a type.
    #[track_caller]
    fn check_all(code: &str, valid: bool, values: &[&str]) {
        for text in values {
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(*text));
            let result = Primitive::from_code(code).map(|primitive| check(primitive, &value));
            assert_eq!(result.map(|it| it.is_ok()), Some(valid), "{code} {text:?}: {result:?}");
        }
    }

    #[test]
    fn dates_and_times() {
        let dates = ["\"2024\"", "2024-02", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"];
        check_all("date", true, &dates);
        check_all("dateTime", true, &dates);
        check_all("instant", false, &dates);
        let no_dates = ["2023-02-29", "1900-02-29", "2024-04-31", "2024-00", "2024-13", "2024-1", "2024-01-00", "0000"];
        check_all("date", false, &no_dates);
        check_all("dateTime", false, &no_dates);
        check_all(
            "date",
            false,
            &["2024-", "24", "2024-01-01-", "2024-01-01T00:00:00Z", "20240101x", "+2024", "2024 "],
        );

        let instants = [
            "2024-02-29T23:59:60Z",
            "2024-01-01T00:00:00+14:00",
            "2024-01-01T00:00:00.1-13:59",
            "2025-09-16T13:55:11.1234567+00:00",
        ];
        check_all("instant", true, &instants);
        check_all("dateTime", true, &instants);
        let no_instants = [
            "2024-01-01T00:00:00",
            "2024-01-01T00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+14:01",
            "2024-01-01T00:00:00+1:00",
            "2024-01-01T00:00:00z",
            "2024-01-01T00:00:00ZZ",
            "2024-01-01T00:00:00+05:00x",
            "2024-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T",
        ];
        check_all("instant", false, &no_instants);
        check_all("dateTime", false, &no_instants);
        check_all("time", true, &["00:00:00", "23:59:60", "08:30:00.250"]);
        check_all("time", false, &["8:30:00", "08:30", "08:30:00Z", "24:00:00", "08:30:00."]);
    }

    #[test]
    fn numbers_and_booleans() {
        check_all("boolean", true, &["true", "false"]);
        check_all("boolean", false, &["\"true\"", "1", "null"]);
        check_all("integer", true, &["0", "-1", "2147483647", "-2147483648"]);
        check_all("integer", false, &["2147483648", "1.0", "1e3", "\"1\"", "99999999999999999999999"]);
        check_all("unsignedInt", true, &["0", "2147483647"]);
        check_all("unsignedInt", false, &["-1", "2147483648", "0.5"]);
        check_all("positiveInt", true, &["1", "2147483647"]);
        check_all("positiveInt", false, &["0", "-1", "true"]);
        check_all("decimal", true, &["0", "-1.50", "1e-7", "3.14159265358979323846264338327950288"]);
        check_all("decimal", false, &["\"1.5\"", "true"]);
    }

    #[test]
    fn identifiers_and_codes() {
        let long = "a".repeat(64);
        check_all("id", true, &["a", "A-1.b", &long]);
        check_all("id", false, &["\"\"", "a_b", "a b", "é", &format!("{long}a")]);
        check_all("oid", true, &["urn:oid:1.2.3", "urn:oid:2.16.840.1.113883"]);
        check_all("oid", false, &["1.2.3", "urn:oid:3.1", "urn:oid:1", "urn:oid:1.02", "urn:oid:1..2", "urn:oid:1.2."]);
        check_all("uuid", true, &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"]);
        check_all(
            "uuid",
            false,
            &["c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520"],
        );
        check_all(
            "uuid",
            false,
            &["urn:uuid:c757873d-ec9a-4326-a141-556f4323952", "urn:uuid:c757873dec9a4326a141556f43239520"],
        );
        for code in ["uri", "url", "canonical"] {
            check_all(code, true, &["http://example.org/a?b#c", "urn:oid:1.2", "status", "http://x|1.0"]);
            check_all(code, false, &["\"\"", "a b", " a", "a\n", "5"]);
        }
        check_all("code", true, &["active", "two words", "\"=\""]);
        check_all("code", false, &["\"\"", " a", "a ", "a  b", "a \t b"]);
    }

    #[test]
    fn texts() {
        check_all("string", true, &["a", " ", "tab\t, line\r\n, é and 漢"]);
        check_all("string", false, &["\"\"", "bell \u{7}", "nul \0", "5", "{}", "[]"]);
        check_all("markdown", true, &["# title\n\n* item"]);
        check_all("markdown", false, &["escape \u{1b}"]);
        let (limit, over) = ("x".repeat(MAX_CHARACTERS), "x".repeat(MAX_CHARACTERS + 1));
        check_all("string", true, &[&limit]);
        check_all("string", false, &[&over]);
        check_all("base64Binary", true, &["\"YWJj\"", "YWI=", "YQ==", "YWJj\nYWI="]);
        check_all("base64Binary", false, &["YWJ", "Y===", "YQ==YWJj", "YW!j", " ", "===="]);
        check_all("xhtml", true, &["<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a</p></div>"]);
        check_all(
            "xhtml",
            false,
            &["<p>a</p>", "a", "<div>a</div>", "<div xmlns=\"http://www.w3.org/1999/xhtml\">\u{1}</div>"],
        );
    }
}
