//! An id for a resource that has none: the same content gives the same id, so that importing it twice makes one resource.

use openssl::sha::Sha256;
use serde_json::Value;
use uuid::Builder;

/// A UUID (version 8, RFC 9562 section 5.8) of the SHA-256 of the content. The order of properties, the id and what a
/// server stamps (`meta.versionId`, `meta.lastUpdated`) do not matter; order in lists and digits of decimals do.
pub(super) fn of_content(body: &Value) -> String {
    let mut hash = Sha256::new();
    feed(&mut hash, body, Level::Resource);
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = hash.finish();
    Builder::from_custom_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]).into_uuid().to_string()
}

/// Where a value stands, as far as some of its properties are not content there.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Resource,
    Meta,
    Below,
}

impl Level {
    fn omits(self, name: &str) -> bool {
        match self {
            Self::Resource => name == "id",
            Self::Meta => matches!(name, "versionId" | "lastUpdated"),
            Self::Below => false,
        }
    }
}

fn feed(hash: &mut Sha256, value: &Value, level: Level) {
    match value {
        Value::Object(object) => {
            let mut properties: Vec<_> = object.iter().filter(|(name, _)| !level.omits(name)).collect();
            properties.sort_by_key(|(name, _)| *name);
            hash.update(b"{");
            for (name, value) in properties {
                text(hash, name);
                feed(hash, value, if level == Level::Resource && name == "meta" { Level::Meta } else { Level::Below });
            }
            hash.update(b"}");
        }
        Value::Array(items) => {
            hash.update(b"[");
            items.iter().for_each(|item| feed(hash, item, Level::Below));
            hash.update(b"]");
        }
        Value::String(content) => text(hash, content),
        Value::Number(number) => {
            hash.update(b"#");
            text(hash, &number.to_string());
        }
        Value::Bool(is_true) => hash.update(if *is_true { b"t" } else { b"f" }),
        Value::Null => hash.update(b"n"),
    }
}

/// With its length, so that two texts in a row are not mistaken for others.
fn text(hash: &mut Sha256, text: &str) {
    hash.update(format!("\"{}:", text.len()).as_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_content_has_the_same_id() {
        let id = of_content(&json!({"resourceType": "Basic", "code": {"text": "x"}, "meta": {"source": "s"}}));
        let same = json!({"code": {"text": "x"}, "meta": {"versionId": "4", "source": "s"}, "id": "other", "resourceType": "Basic"});
        assert_eq!(of_content(&same), id);
        assert!(crate::fhir::types::is_id(&id) && id.as_bytes()[14] == b'8', "{id}");
        let other = json!({"resourceType": "Basic", "code": {"text": "x", "id": "y"}, "meta": {"source": "s"}});
        assert_ne!(of_content(&other), id);
    }

    #[test]
    fn texts_in_a_row_do_not_run_together() {
        assert_ne!(of_content(&json!({"a": ["b", "c"]})), of_content(&json!({"a": ["bc", ""]})));
        assert_ne!(of_content(&json!({"a": 1.0})), of_content(&json!({"a": 1})));
    }
}
