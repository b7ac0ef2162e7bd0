//! What `Reference.reference` may look like (R4 references.html#literal, http.html#trules).

use super::primitive::{is_id, is_uri};

/// True for `#id`, `#`, `Type/id`, `Type/id/_history/version`, a URL of any scheme, and `Type?search`, which a
/// transaction resolves.
pub(super) fn is_valid(text: &str) -> bool {
    let is_id = |id: &str| is_id(id.as_bytes());
    if !is_uri(text.as_bytes()) {
        return false;
    }
    if let Some(id) = text.strip_prefix('#') {
        return id.is_empty() || is_id(id);
    }
    if let Some((name, search)) = text.split_once('?')
        && is_type(name)
    {
        return !search.is_empty();
    }
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(id), None, ..) if is_type(name) => is_id(id),
        (Some(name), Some(id), Some("_history"), Some(version), None) if is_type(name) => is_id(id) && is_id(version),
        _ => text.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.trim_matches('/').is_empty()),
    }
}

fn is_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_are_valid() {
        let check = |texts: &str, expected| {
            texts.lines().map(str::trim_start).for_each(|text| assert_eq!(is_valid(text), expected, "{text}"));
        };
        check(
            "Location/1
            Location/1/_history/2
            #
            #a
            urn:uuid:c757873d-ec9a-4326-a141-556f43239520
            http://example.org/fhir/Location/1
            Practitioner?identifier=http://x|1",
            true,
        );
        check(
            "Location
            Location/
            Location/é
            Location/a b
            Location/1/2
            Location/1/_history/
            /Location/1
            location/1
            Practitioner?
            #a b
            http:
            http://
            :a",
            false,
        );
    }
}
