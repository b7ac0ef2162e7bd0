//! Extensions against their own definitions, whether or not a profile mentions them (R4 extensibility.html).

use serde_json::{Map, Value};

use super::contexts::Holder;
use super::path::Path;
use super::wording::{excerpt, short};
use super::{Shapes, Walk};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::validate::Enforce;

impl<'a> Walk<'a> {
    /// Lays the shape of an extension's definition on it, and checks that it is where it may be.
    pub(super) fn lay_extension(
        &mut self,
        item: &'a Value,
        element: &str,
        holder: &Holder<'a>,
        on: &mut Shapes<'a>,
        path: &Path<'_>,
    ) {
        if self.enforce == Enforce::Off {
            return;
        }
        let Some(url) = item.get("url").and_then(Value::as_str) else { return };
        // The parts of an extension have names, which only it can explain.
        if let Holder::Object { node, object } = holder
            && node.path == "Extension"
            && !url.contains(':')
        {
            return self.part(url, object, path);
        }
        let is_modifier = element == "modifierExtension";
        let found = self.validator.profiles.find(url).filter(|(_, profile)| profile.is_extension());
        let Some((id, profile)) = found else {
            let name = excerpt(url);
            return match is_modifier {
                true => {
                    let sentence = format!(
                        "The modifier extension '{name}' is not known here, so what it does to the meaning is not either"
                    );
                    self.report(|| Issue::error(IssueCode::Extension, sentence), path);
                }
                false => self.unchecked(path, format_args!("The extension '{name}' is not known here")),
            };
        };
        if !self.is_in_context(&profile.contexts, holder, path) {
            let places: Vec<&str> = profile.contexts.iter().map(|context| &*context.expression).collect();
            let sentence = format!("{} is an extension of {}, not of this element", short(url), places.join(", "));
            self.report(|| Issue::error(IssueCode::Extension, sentence).rule(&*profile.url), path);
        }
        if is_modifier != profile.is_modifier {
            let place = if profile.is_modifier { "modifierExtension" } else { "extension" };
            let sentence = format!("{} belongs in {place}", short(url));
            self.report(|| Issue::error(IssueCode::Extension, sentence).rule(&*profile.url), path);
        }
        self.lay_profile(id, on);
    }

    /// A part of a complex extension, which must be one of those that its definition names.
    fn part(&mut self, url: &str, whole: &Map<String, Value>, path: &Path<'_>) {
        let whole = whole.get("url").and_then(Value::as_str).and_then(|url| self.validator.profiles.find(url));
        let Some((_, profile)) = whole.filter(|(_, profile)| profile.is_extension()) else { return };
        let parts = profile.parts();
        // Of one without parts, the shape says that it must have none.
        if !parts.is_empty() && !parts.contains(&url) {
            let (name, parts) = (short(&profile.url), parts.join(", "));
            let sentence = format!("{name} has no part '{}', only {parts}", excerpt(url));
            self.report(|| Issue::error(IssueCode::Extension, sentence).rule(&*profile.url), path);
        }
    }

    /// A value or extensions, not both (ext-1). The url is required as any element is.
    pub(super) fn value_or_extensions(&mut self, object: &Map<String, Value>, path: &Path<'_>) {
        let has_value = object.keys().any(|key| key.trim_start_matches('_').starts_with("value"));
        if has_value == object.keys().any(|key| key == "extension") {
            let sentence = "An extension must have either a value or extensions, not both";
            self.report(|| Issue::error(IssueCode::Invariant, sentence).rule("ext-1"), path);
        }
    }
}
