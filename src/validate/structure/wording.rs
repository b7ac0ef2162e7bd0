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
pub(super) fn excerpt(text: &str) -> String {
    const LENGTH: usize = 60;
    let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut start: String = characters.by_ref().take(LENGTH).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    start
}
