//! Code systems whose codes are too many to list, but follow a grammar.

/// Bytes of a code that is looked at. No media type or language tag in use comes near it, and the parts of a longer one,
/// compared with each other, would cost the square of its length.
const CODE_BYTES_MAX: usize = 255;

/// A code system by the shape of its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// Media types, `urn:ietf:bcp:13`.
    MediaType,
    /// Language tags, `urn:ietf:bcp:47`.
    LanguageTag,
}

impl Grammar {
    /// The grammar of a code system, if it has one.
    pub fn of(system: &str) -> Option<Self> {
        match system {
            "urn:ietf:bcp:13" => Some(Self::MediaType),
            "urn:ietf:bcp:47" => Some(Self::LanguageTag),
            _ => None,
        }
    }

    pub fn system(self) -> &'static str {
        match self {
            Self::MediaType => "urn:ietf:bcp:13",
            Self::LanguageTag => "urn:ietf:bcp:47",
        }
    }

    /// True for a code of the right shape, and of a length that such codes have.
    pub fn has(self, code: &str) -> bool {
        if code.len() > CODE_BYTES_MAX {
            return false;
        }
        match self {
            Self::MediaType => is_media_type(code),
            Self::LanguageTag => is_language_tag(code),
        }
    }
}

/// `type/subtype`, then parameters (RFC 6838 4.2 and RFC 2045 5.1).
fn is_media_type(code: &str) -> bool {
    let mut parts = split_outside_quotes(code).into_iter();
    let is_named = parts
        .next()
        .and_then(|name| name.trim_end().split_once('/'))
        .is_some_and(|(kind, subtype)| is_restricted_name(kind) && (is_restricted_name(subtype)));
    is_named
        && parts.all(|parameter| {
            parameter.trim().split_once('=').is_some_and(|(name, value)| is_token(name) && is_parameter_value(value))
        })
}

/// Splits at each semicolon that is not within a quoted string.
fn split_outside_quotes(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// RFC 6838: a letter or digit, then up to 126 of those and of `!#$&-^_.+`.
fn is_restricted_name(name: &str) -> bool {
    name.len() <= 127
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
}

fn is_parameter_value(value: &str) -> bool {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    quoted.map_or_else(|| is_token(value), |text| !text.chars().any(char::is_control))
}

/// Tags of RFC 5646 2.2.8 that do not follow its grammar.
const IRREGULAR: [&str; 17] = [
    "en-gb-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-be-fr",
    "sgn-be-nl",
    "sgn-ch-de",
];

/// Well-formed in the sense of RFC 5646 2.2.9; whether each part is registered is not looked at.
fn is_language_tag(tag: &str) -> bool {
    let tag = tag.to_ascii_lowercase();
    if IRREGULAR.contains(&tag.as_str()) {
        return true;
    }
    let parts: Vec<&str> = tag.split('-').collect();
    if parts.iter().any(|part| part.is_empty() || part.len() > 8 || !part.bytes().all(|b| b.is_ascii_alphanumeric())) {
        return false;
    }
    let is_alpha = |part: &str| part.bytes().all(|b| b.is_ascii_alphabetic());
    let mut rest = parts.iter().copied().peekable();
    let Some(language) = rest.next() else { return false };
    if language == "x" {
        return rest.peek().is_some();
    }
    if !is_alpha(language) || language.len() < 2 {
        return false;
    }
    if language.len() <= 3 {
        for _extension in 0..3 {
            if rest.next_if(|part| part.len() == 3 && is_alpha(part)).is_none() {
                break;
            }
        }
    }
    let _script = rest.next_if(|part| part.len() == 4 && is_alpha(part));
    let _region = rest.next_if(|part| {
        part.len() == 2 && is_alpha(part) || part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit())
    });
    let mut variants = Vec::new();
    while let Some(variant) =
        rest.next_if(|part| part.len() >= 5 || part.len() == 4 && part.starts_with(|c: char| c.is_ascii_digit()))
    {
        if variants.contains(&variant) {
            return false;
        }
        variants.push(variant);
    }
    let mut singletons = Vec::new();
    while let Some(singleton) = rest.next_if(|part| part.len() == 1) {
        if singleton == "x" {
            return rest.peek().is_some();
        }
        if singletons.contains(&singleton) || rest.next_if(|part| part.len() >= 2).is_none() {
            return false;
        }
        singletons.push(singleton);
        while rest.next_if(|part| part.len() >= 2).is_some() {}
    }
    rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_have_a_type_and_a_subtype() {
        for (code, is_one) in [
            ("application/hl7-v3+xml", true),
            ("text/plain; charset=utf-8", true),
            ("text/plain;charset=\"a;b\"", true),
            ("application/fhir+json;fhirVersion=4.0", true),
            ("json", false),
            ("text/", false),
            ("/plain", false),
            ("text/plain;charset", false),
            ("text/plain;", false),
            ("text/pl ain", false),
            ("a/b/c", false),
            ("", false),
        ] {
            assert_eq!(Grammar::MediaType.has(code), is_one, "{code}");
        }
    }

    #[test]
    fn codes_that_are_too_long_are_none() {
        let tag = |variants: usize| {
            let variants: Vec<String> = (0..variants).map(|number| format!("v{number:05}")).collect();
            format!("en-{}", variants.join("-"))
        };
        assert!(Grammar::LanguageTag.has(&tag(30)));
        assert!(!Grammar::LanguageTag.has(&tag(40)));
        assert!(Grammar::MediaType.has(&format!("text/plain;a=\"{}\"", "x".repeat(200))));
        assert!(!Grammar::MediaType.has(&format!("text/plain;a=\"{}\"", "x".repeat(300))));
    }

    #[test]
    fn language_tags_are_well_formed() {
        for (code, is_one) in [
            ("en", true),
            ("en-US", true),
            ("zh-Hant-TW", true),
            ("zh-cmn-Hans-CN", true),
            ("sl-rozaj-biske-1994", true),
            ("de-CH-1901", true),
            ("es-419", true),
            ("en-a-myext-b-another", true),
            ("x-whatever", true),
            ("en-x-us", true),
            ("i-klingon", true),
            ("sgn-BE-FR", true),
            ("e", false),
            ("en_US", false),
            ("en-", false),
            ("en-US-US", false),
            ("de-DE-1901-1901", false),
            ("en-a-bbb-a-ccc", false),
            ("en-a", false),
            ("x", false),
            ("abcdefghi", false),
            ("", false),
        ] {
            assert_eq!(Grammar::LanguageTag.has(code), is_one, "{code}");
        }
    }
}
