//! How messages speak of what is in a resource.

use serde_json::Value;

/// What a JSON value is.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The start of a text from the resource, fit for a message.
pub(in crate::validate) fn excerpt(text: &str) -> String {
    // Long enough for the canonical URLs of Plan-Net.
    const LENGTH: usize = 120;
    let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut start: String = characters.by_ref().take(LENGTH).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    start
}

/// An element that is there less often than it must be.
pub(super) fn too_few(name: &str, min: u32, count: usize) -> String {
    match (min, count) {
        (1, 0) => format!("{name} is required"),
        _ => format!("{name} must be there at least {min} times, not {count}"),
    }
}

/// An element that is there more often than it may be.
pub(super) fn too_many(name: &str, max: u32, count: usize) -> String {
    match max {
        0 => format!("{name} is not allowed"),
        1 => format!("{name} must be there at most once, not {count} times"),
        _ => format!("{name} must be there at most {max} times, not {count}"),
    }
}

/// The last part of a canonical URL: what people call it.
pub(super) fn short(url: &str) -> &str {
    let unversioned = url.split('|').next().unwrap_or(url);
    unversioned.rsplit('/').next().unwrap_or(unversioned)
}
