//! Where an extension may be used (R4 defining-extensions.html#context).

use serde_json::{Map, Value};

use super::Walk;
use super::path::Path;
use crate::fhir::definitions::{Kind, Node, Property};
use crate::validate::definition::Context;

/// What holds extensions: an object, or a primitive by its `_name`.
#[derive(Clone, Copy)]
pub(super) enum Holder<'a> {
    Object { node: &'a Node, object: &'a Map<String, Value> },
    Primitive { property: &'a Property, parent: &'a Node },
}

impl<'a> Walk<'a> {
    /// True when one of the contexts is where the extension is; `path` is that of its holder's `extension`.
    pub(super) fn is_in_context(&self, contexts: &[Context], holder: &Holder<'a>, path: &Path<'_>) -> bool {
        contexts.is_empty() || contexts.iter().any(|context| self.is_context(context, holder, path))
    }

    fn is_context(&self, context: &Context, holder: &Holder<'a>, path: &Path<'_>) -> bool {
        let expression = &*context.expression;
        match &*context.kind {
            "extension" => match holder {
                Holder::Object { node, object } => {
                    node.path == "Extension" && object.get("url").and_then(Value::as_str) == Some(expression)
                }
                Holder::Primitive { .. } => false,
            },
            "fhirpath" => {
                // Of a primitive, and by a path that cannot be read, it cannot be told; the latter is named at start.
                let Holder::Object { object, .. } = holder else { return true };
                let Some(path) = &context.path else { return true };
                let found = path.evaluate(self.resource);
                found.iter().any(|node| {
                    node.json().and_then(Value::as_object).is_some_and(|found| std::ptr::eq(found, *object))
                })
            }
            _ => expression == "Element" || expression == "*" || self.is_element(expression, holder, path),
        }
    }

    /// The holder by its type, by one that its type specializes, or by the path of its element.
    fn is_element(&self, expression: &str, holder: &Holder<'a>, path: &Path<'_>) -> bool {
        // An element may be named with the definition it is in before it.
        let expression = expression.rsplit('#').next().unwrap_or(expression);
        let by_type = match holder {
            Holder::Object { node, .. } => {
                let mut base = Some(*node);
                let mut found = false;
                while let Some(node) = base {
                    found |= node.path == expression;
                    base = node.base.map(|id| self.validator.definitions.node(id));
                }
                found || (node.kind == Kind::Resource && expression == "Resource")
            }
            Holder::Primitive { property, parent } => {
                let own = expression.strip_prefix(parent.path).and_then(|rest| rest.strip_prefix('.'));
                expression == property.type_code
                    || own.map(|name| name.trim_end_matches("[x]")) == Some(property.element.name)
            }
        };
        by_type || path.is_element(self.resource_type, self.resource_depth, expression)
    }
}
