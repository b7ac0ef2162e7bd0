//! Where in a resource the walk is: a chain of steps on the stack, written out only for an issue.

use std::fmt;

use crate::fhir::definitions::Property;

/// A FHIRPath in the simple subset (R4 fhirpath.html#simple), such as `Practitioner.extension[0].value.ofType(code)`.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Choice { name: &'a str, type_code: &'a str },
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) fn root(resource_type: &'a str) -> Self {
        Self { parent: None, step: Step::Name(resource_type), depth: 0 }
    }

    pub(super) fn name(&'a self, name: &'a str) -> Self {
        self.then(Step::Name(name))
    }

    /// The element of a property: a choice in one of its types, or else just its name.
    pub(super) fn element(&'a self, property: &'a Property) -> Self {
        let (name, type_code) = (property.element.name, property.type_code);
        self.then(if property.element.is_choice { Step::Choice { name, type_code } } else { Step::Name(name) })
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// How many steps there are below the root.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// True when this is the path of an `extension` of the element that a dotted name means, for a resource that lies at
    /// `depth`.
    pub(super) fn is_element(&self, resource_type: &str, depth: usize, dotted: &str) -> bool {
        let mut names = dotted.split('.').rev().map(|name| name.trim_end_matches("[x]"));
        let mut at = self.parent;
        let mut extension = matches!(self.step, Step::Name(_));
        while let Some(path) = at.filter(|path| path.depth > depth) {
            at = path.parent;
            match path.step {
                Step::Index(_) => {}
                // The `extension` itself, which is at the end.
                Step::Name(_) | Step::Choice { .. } if !std::mem::replace(&mut extension, true) => {}
                Step::Name(name) | Step::Choice { name, .. } => {
                    if names.next() != Some(name) {
                        return false;
                    }
                }
            }
        }
        names.next() == Some(resource_type) && names.next().is_none()
    }

    fn then(&'a self, step: Step<'a>) -> Self {
        Self { parent: Some(self), step, depth: self.depth + 1 }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.parent {
            Some(parent) => {
                parent.fmt(f)?;
                "."
            }
            None => "",
        };
        match self.step {
            Step::Name(name) => write!(f, "{separator}{name}"),
            Step::Choice { name, type_code } => write!(f, "{separator}{name}.ofType({type_code})"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// True for a name that can be a step of a FHIRPath as it is, and is of sensible length.
pub(super) fn is_identifier(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
