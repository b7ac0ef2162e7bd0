//! The values of one property: an array or one value, primitives with their siblings, objects, resources.

use serde_json::{Map, Value};

use super::contexts::Holder;
use super::path::Path;
use super::primitive::{self, Fault};
use super::wording::{self, excerpt, kind_of};
use super::{EMPTY_ELEMENT, Shapes, Walk, is_without_children};
use crate::fhir::definitions::{Content, Node, Primitive, Property};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::validate::Enforce;

/// Stands for the value of a primitive that has extensions only.
static NO_VALUE: Value = Value::Null;

impl<'a> Walk<'a> {
    /// How often an element is there, in the array of its values or of their siblings, as the shapes have it.
    pub(super) fn count(
        &mut self,
        object: &'a Map<String, Value>,
        property: &'a Property,
        on: &Shapes<'a>,
        path: &Path<'_>,
    ) {
        let element = &property.element;
        if on.iter().all(|shape| shape.min <= 1 && shape.max >= element.max) {
            return;
        }
        let length = |value: Option<&Value>| match value {
            Some(Value::Array(items)) => items.len(),
            Some(_) => 1,
            None => 0,
        };
        let siblings = match property.content {
            Content::Primitive(_) => length(object.get(&format!("_{}", property.name))),
            _ => 0,
        };
        let count = length(object.get(&*property.name)).max(siblings);
        for shape in on {
            if count > shape.max as usize && shape.max < element.max {
                self.breach(IssueCode::Structure, path, shape, wording::too_many(element.name, shape.max, count));
            } else if count < shape.min as usize && count > 0 && shape.min > element.min {
                self.breach(IssueCode::Required, path, shape, wording::too_few(element.name, shape.min, count));
            }
        }
    }

    /// The value of a property: an array if the element repeats, and else one value.
    #[expect(clippy::too_many_arguments, reason = "what a property is: its value, its place, and what is asked of it")]
    pub(super) fn values(
        &mut self,
        value: &'a Value,
        object: &'a Map<String, Value>,
        property: &'a Property,
        parent: &'a Node,
        on: &Shapes<'a>,
        holder: &Holder<'a>,
        path: &Path<'_>,
    ) {
        let element = &property.element;
        self.allowed_type(property, on, path);
        let is_extension = property.type_code == "Extension";
        let mut slicing = self.begin_slices(on);
        let Value::Array(items) = value else {
            if element.repeats() && !value.is_null() {
                let problem = format_args!("{} must be an array, not {}", element.name, kind_of(value));
                self.fault(IssueCode::Structure, path, problem);
            }
            let sibling = match property.content {
                Content::Primitive(_) if !on.is_empty() => object.get(&format!("_{}", property.name)),
                _ => None,
            };
            let mut on = on.clone();
            self.lay_slices(&mut slicing, value, property, &mut on, path);
            if is_extension {
                self.lay_extension(value, element.name, holder, &mut on, path);
            }
            self.value(value, sibling, property, parent, &on, path);
            return self.end_slices(&slicing, element.name, path);
        };
        if !element.repeats() {
            self.fault(IssueCode::Structure, path, format_args!("{} must not be an array", element.name));
        }
        self.array_size(items, property, path);
        let is_primitive = matches!(property.content, Content::Primitive(_));
        let siblings = if is_primitive { object.get(&format!("_{}", property.name)) } else { None };
        for (index, item) in items.iter().enumerate() {
            if self.errors_cut {
                break;
            }
            let path = path.index(index);
            let sibling = siblings.and_then(|siblings| siblings.get(index));
            if item.is_null() && is_primitive {
                if sibling.is_none_or(Value::is_null) {
                    let problem = format_args!("null needs an object at the same place of _{}", property.name);
                    self.fault(IssueCode::Structure, &path, problem);
                }
                continue;
            }
            let mut on = on.clone();
            self.lay_slices(&mut slicing, item, property, &mut on, &path);
            if is_extension {
                self.lay_extension(item, element.name, holder, &mut on, &path);
            }
            self.value(item, sibling, property, parent, &on, &path);
        }
        self.end_slices(&slicing, element.name, path);
    }

    fn array_size(&mut self, items: &[Value], property: &Property, path: &Path<'_>) {
        let element = &property.element;
        if items.is_empty() {
            self.fault(IssueCode::Structure, path, "An array must not be empty: leave the property out");
        } else if items.len() < element.min as usize {
            self.fault(IssueCode::Required, path, wording::too_few(element.name, element.min, items.len()));
        } else if element.repeats() && items.len() > element.max as usize {
            self.fault(IssueCode::Structure, path, wording::too_many(element.name, element.max, items.len()));
        }
    }

    /// One value that is not an item's null.
    fn value(
        &mut self,
        value: &'a Value,
        sibling: Option<&'a Value>,
        property: &'a Property,
        parent: &'a Node,
        on: &Shapes<'a>,
        path: &Path<'_>,
    ) {
        match (property.content, value) {
            (_, Value::Null) => self.fault(IssueCode::Structure, path, "null is not allowed: leave the property out"),
            (Content::Primitive(primitive), _) => {
                if self.primitive(primitive, value, path) && self.enforce != Enforce::Off {
                    self.item(value, sibling, property, on, path);
                }
            }
            (Content::Object(id), Value::Object(object)) => {
                let mut on = on.clone();
                if self.enforce != Enforce::Off {
                    self.lay_profiles(value, property, &mut on, path);
                    self.item(value, None, property, &on, path);
                }
                self.object(value, object, self.validator.definitions.node(id), &on, path);
            }
            (Content::Object(_), _) => {
                self.fault(IssueCode::Structure, path, format_args!("Must be an object, not {}", kind_of(value)));
            }
            (Content::Resource, _) => {
                let mut on = on.clone();
                if self.enforce != Enforce::Off {
                    self.lay_profiles(value, property, &mut on, path);
                }
                match property.element.name {
                    "contained" => self.contained(value, &on, path),
                    _ => self.entry(value, &on, parent, path),
                }
            }
        }
    }

    /// A resource in a Bundle, which is held to the profiles of its own kind, or in Parameters, which is not.
    fn entry(&mut self, value: &'a Value, on: &Shapes<'a>, parent: &'a Node, path: &Path<'_>) {
        let mut on = on.clone();
        if parent.path == "Bundle.entry" && self.enforce != Enforce::Off && value.is_object() {
            let held = self.validator.held(value, self.enforce, |index, issue| self.claim(index, issue, path));
            held.into_iter().for_each(|profile| self.lay_profile(profile, &mut on));
        }
        self.top(value, &on, path);
    }

    /// The profiles that a value of this type must meet: all that the shapes name, of each shape at least one.
    fn lay_profiles(&mut self, value: &'a Value, property: &'a Property, on: &mut Shapes<'a>, path: &Path<'_>) {
        let shapes = on.clone();
        for shape in shapes {
            let Some(rule) = shape.type_rule(property.type_code).filter(|rule| !rule.profiles.is_empty()) else {
                continue;
            };
            let known: Vec<_> = rule.profiles.iter().filter_map(|it| it.profile).collect();
            match (known.as_slice(), rule.profiles.as_slice()) {
                ([profile], [_]) if shape.inlined.contains(profile) => {}
                ([profile], [_]) => self.lay_profile(*profile, on),
                (known, all) if known.len() == all.len() => {
                    let met = known.iter().any(|profile| {
                        self.would_meet(value, *profile, |walk, shapes, path| {
                            let Some(object) = value.as_object() else { return };
                            if let Content::Object(id) = property.content {
                                walk.whole(value, object, walk.validator.definitions.node(id), shapes, path);
                            }
                        })
                    });
                    if !met {
                        let urls: Vec<&str> = all.iter().map(|it| &*it.url).collect();
                        let sentence = format_args!("Meets none of {}", urls.join(", "));
                        self.breach(IssueCode::Structure, path, shape, sentence);
                    }
                }
                (_, all) => {
                    let missing: Vec<&str> = all.iter().filter(|it| it.profile.is_none()).map(|it| &*it.url).collect();
                    self.unchecked(path, format_args!("Not checked against {}: not loaded", missing.join(", ")));
                }
            }
        }
    }

    /// The JSON type and format of a primitive; true when both are right.
    fn primitive(&mut self, primitive: Primitive, value: &Value, path: &Path<'_>) -> bool {
        let Err(fault) = primitive::check(primitive, value) else { return true };
        match fault {
            Fault::JsonType(expected) => {
                self.fault(IssueCode::Structure, path, format_args!("Must be {expected}, not {}", kind_of(value)));
            }
            Fault::Empty => self.fault(IssueCode::Value, path, "A string must not be empty: leave the property out"),
            Fault::TooLong => {
                self.fault(IssueCode::TooLong, path, "A string must not be longer than 1048576 characters")
            }
            Fault::ControlCharacter => {
                self.fault(IssueCode::Value, path, "Control characters other than tab, CR and LF are not allowed");
            }
            Fault::Xhtml(fault) => {
                let sentence = || format!("Not a safe narrative: {fault}");
                self.report(|| Issue::error(IssueCode::Invariant, sentence()).rule("txt-1"), path);
            }
            Fault::Blank => {
                let sentence = "A narrative must have something to read";
                self.report(|| Issue::error(IssueCode::Invariant, sentence).rule("txt-2"), path);
            }
            Fault::Format(expected) => {
                let text = value.as_str().map_or_else(|| excerpt(&value.to_string()), excerpt);
                self.fault(IssueCode::Value, path, format_args!("'{text}' is not {expected}"));
            }
        }
        false
    }

    /// `_name`: the id and extensions of a primitive, in step with its values if it repeats (R4 json.html#primitive).
    pub(super) fn sibling(
        &mut self,
        sibling: &'a Value,
        object: &'a Map<String, Value>,
        property: &'a Property,
        parent: &'a Node,
        on: &Shapes<'a>,
        path: &Path<'_>,
    ) {
        let element = &property.element;
        let value = object.get(&*property.name);
        let Value::Array(items) = sibling else {
            if element.repeats() {
                self.fault(IssueCode::Structure, path, format_args!("_{} must be an array", element.name));
            }
            return self.primitive_children(sibling, value.is_some(), property, parent, on, path);
        };
        if !element.repeats() {
            return self.fault(IssueCode::Structure, path, format_args!("_{} must not be an array", element.name));
        }
        self.array_size(items, property, path);
        let values = value.and_then(Value::as_array);
        if values.is_some_and(|values| values.len() != items.len()) {
            let problem = format_args!("{0} and _{0} must have the same number of items", element.name);
            self.fault(IssueCode::Structure, path, problem);
        }
        for (index, item) in items.iter().enumerate() {
            let has_value = values.and_then(|values| values.get(index)).is_some_and(|value| !value.is_null());
            if !(item.is_null() && has_value) {
                self.primitive_children(item, has_value, property, parent, on, &path.index(index));
            }
        }
    }

    /// The id and extensions of one primitive: there must be an extension if there is no value.
    fn primitive_children(
        &mut self,
        sibling: &'a Value,
        has_value: bool,
        property: &'a Property,
        parent: &'a Node,
        on: &Shapes<'a>,
        path: &Path<'_>,
    ) {
        let Value::Object(object) = sibling else {
            let problem = format_args!("The id and extensions of a value are an object, not {}", kind_of(sibling));
            return self.fault(IssueCode::Structure, path, problem);
        };
        if !has_value && self.enforce != Enforce::Off {
            self.allowed_type(property, on, path);
            self.item(&NO_VALUE, Some(sibling), property, on, path);
        }
        if let Some(node) = self.validator.definitions.type_named("Element") {
            let holder = Holder::Primitive { property, parent };
            self.properties(object, node, on, holder, path);
        }
        if object.is_empty() || !has_value && is_without_children(object) {
            self.report(|| Issue::error(IssueCode::Invariant, EMPTY_ELEMENT).rule("ele-1"), path);
        }
    }
}
