//! One walk over a resource, beside the tree of its base definition and the shapes of its profiles, that reports
//! everything on the way.
//!
//! Structure comes first (R4 json.html, element.html): known elements, JSON types, cardinality, formats. What else is asked
//! of an element is in the shapes that lie on it: those of the base definition and of any number of profiles, slices and
//! extensions. This file walks objects; `values` the values of a property, and the other files say what a shape asks.

mod codes;
mod contexts;
mod extensions;
mod items;
mod nearest;
mod path;
mod primitive;
mod reference;
mod references;
mod slices;
mod values;
mod wording;
mod xhtml;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::base::STRUCTURES;
use super::shape::{ProfileId, Shape};
use super::{Enforce, Target, Validator};
use crate::fhir::definitions::{Content, ElementSet, Kind, Node, Property};
use crate::fhir::outcome::{Issue, IssueCode};
use contexts::Holder;
use nearest::suggestion;
use path::{Path, is_identifier};
pub(super) use wording::excerpt;
use wording::kind_of;

/// The most errors that are listed, and the most of the rest: a hostile body of many small faults must not be answered with a far bigger one.
pub(super) const MAX_ISSUES: usize = 1000;

/// The most steps below the root: each is one level of JSON, of which serde_json reads no more than this.
const MAX_DEPTH: usize = 128;

/// How often one verdict may look whether an element would meet a profile. Each is a walk of its own, but over one element
/// with one profile there is only one.
const MAX_TRIALS: usize = 100_000;

/// How deep such walks nest: a resource that refers to one that refers to another …
const MAX_TRIAL_DEPTH: usize = 8;

/// Reasons that are told for not meeting a profile.
const REASONS: usize = 5;

const EMPTY_ELEMENT: &str = "An element must have a value or children";

/// The shapes that lie on one element.
type Shapes<'a> = SmallVec<[&'a Shape; 6]>;

/// Adds a shape that is not there yet.
fn lay<'a>(shapes: &mut Shapes<'a>, shape: &'a Shape) {
    if !shapes.iter().any(|other| std::ptr::eq(*other, shape)) {
        shapes.push(shape);
    }
}

/// What one walk through a resource carries along.
pub(super) struct Walk<'a> {
    validator: &'a Validator,
    enforce: Enforce,
    /// Warnings and information are wanted, too.
    in_full: bool,
    pub issues: Vec<Issue>,
    /// References to other resources of this server whose profile matters.
    pub targets: Vec<Target>,
    /// Profiles and extensions whose definitions cannot be evaluated in full.
    pub partial: Vec<ProfileId>,
    /// The resource at hand, and the one it is contained in (or itself).
    resource: &'a Value,
    root: &'a Value,
    /// The type of `resource` and how deep it lies, which is where the paths of its elements begin.
    resource_type: &'a str,
    resource_depth: usize,
    /// What `root` contains, by id.
    contained: HashMap<&'a str, &'a Value>,
    /// The entries of the Bundle around it, by what refers to them.
    entries: HashMap<Cow<'a, str>, &'a Value>,
    in_contained: bool,
    /// Errors among the issues.
    errors: usize,
    /// There are more errors, or more of the rest, than are listed.
    errors_cut: bool,
    notes_cut: bool,
    trials: usize,
    trial_depth: usize,
    /// What is being compared with a profile further up, or has been: a resource that refers to itself is met once.
    compared: HashMap<(*const Value, ProfileId), Result<(), Arc<str>>>,
    /// Why the last of them does not meet its profile.
    why_not: Arc<str>,
}

impl<'a> Walk<'a> {
    pub fn new(validator: &'a Validator, enforce: Enforce, in_full: bool, resource: &'a Value) -> Self {
        Self {
            validator,
            enforce,
            in_full,
            issues: Vec::new(),
            targets: Vec::new(),
            partial: Vec::new(),
            resource,
            root: resource,
            resource_type: "Resource",
            resource_depth: 0,
            contained: HashMap::new(),
            entries: HashMap::new(),
            in_contained: false,
            errors: 0,
            errors_cut: false,
            notes_cut: false,
            trials: 0,
            trial_depth: 0,
            compared: HashMap::new(),
            why_not: "".into(),
        }
    }

    /// Walks the whole resource. `profiles` are those it is held to; [`Walk::issues`] has the result.
    pub fn run(&mut self, profiles: &[ProfileId]) {
        let name = self.resource.get("resourceType").and_then(Value::as_str).unwrap_or("Resource");
        let name = if is_identifier(name) { name } else { "Resource" };
        let shapes = self.shapes_of(profiles);
        self.top(self.resource, &shapes, &Path::root(name));
        let more = |what| format!("There are more {what} than are listed here");
        if self.errors_cut {
            self.issues.push(Issue::error(IssueCode::TooCostly, more("errors")).at(name));
        } else if self.notes_cut {
            self.issues.push(Issue::information(IssueCode::TooCostly, more("warnings")).at(name));
        }
    }

    fn shapes_of(&mut self, profiles: &[ProfileId]) -> Shapes<'a> {
        let mut shapes = Shapes::new();
        profiles.iter().for_each(|id| self.lay_profile(*id, &mut shapes));
        shapes
    }

    /// Adds the shape of a profile, and remembers it if not all of it can be evaluated.
    fn lay_profile(&mut self, id: ProfileId, on: &mut Shapes<'a>) {
        let Some(profile) = self.validator.profiles.get(id) else { return };
        if !profile.problems.is_empty() && !self.partial.contains(&id) {
            self.partial.push(id);
        }
        lay(on, &profile.shape);
    }

    fn report(&mut self, issue: impl FnOnce() -> Issue, path: &Path<'_>) {
        if self.errors >= MAX_ISSUES {
            self.errors_cut = true;
            return;
        }
        let issue = issue();
        if !issue.is_error() && self.issues.len() - self.errors >= MAX_ISSUES {
            self.notes_cut = true;
            return;
        }
        let issue = issue.at(path.to_string());
        // Two shapes may ask for the same thing.
        let is_same = |other: &Issue| {
            other.expression == issue.expression
                && other.code == issue.code
                && match issue.code {
                    IssueCode::Invariant => other.rule == issue.rule,
                    _ => other.diagnostics == issue.diagnostics,
                }
        };
        if !self.issues.iter().rev().take(32).any(is_same) {
            self.errors += usize::from(issue.is_error());
            self.issues.push(issue);
        }
    }

    /// What is wrong with the structure, whatever the profile.
    fn fault(&mut self, code: IssueCode, path: &Path<'_>, sentence: impl Display) {
        self.report(|| Issue::error(code, sentence.to_string()), path);
    }

    /// What breaks the rule of a shape.
    fn breach(&mut self, code: IssueCode, path: &Path<'_>, shape: &Shape, sentence: impl Display) {
        self.report(|| Issue::error(code, sentence.to_string()).rule(&*shape.rule), path);
    }

    /// A resource that stands by itself: the whole, or the entry of a Bundle.
    fn top(&mut self, value: &'a Value, shapes: &Shapes<'a>, path: &Path<'_>) {
        let contained = std::mem::replace(&mut self.contained, references::contained(value));
        let outer = (self.root, self.in_contained);
        (self.root, self.in_contained) = (value, false);
        self.at_hand(value, shapes, path);
        (self.root, self.in_contained) = outer;
        self.contained = contained;
    }

    /// A resource inside another one.
    fn inner(&mut self, value: &'a Value, shapes: &Shapes<'a>, path: &Path<'_>) {
        let outer = std::mem::replace(&mut self.in_contained, true);
        self.at_hand(value, shapes, path);
        self.in_contained = outer;
    }

    fn at_hand(&mut self, value: &'a Value, shapes: &Shapes<'a>, path: &Path<'_>) {
        let outer = (self.resource, self.resource_type, self.resource_depth);
        (self.resource, self.resource_depth) = (value, path.depth());
        self.resource(value, shapes, path);
        (self.resource, self.resource_type, self.resource_depth) = outer;
    }

    fn resource(&mut self, value: &'a Value, shapes: &Shapes<'a>, path: &Path<'_>) {
        let Value::Object(object) = value else {
            let problem = format_args!("Must be a resource, not {}", kind_of(value));
            return self.fault(IssueCode::Structure, path, problem);
        };
        match object.get("resourceType") {
            Some(Value::String(name)) => match self.validator.definitions.resource(name) {
                Some(node) => {
                    self.resource_type = name;
                    if name != "Bundle" {
                        return self.whole(value, object, node, shapes, path);
                    }
                    let outer = std::mem::replace(&mut self.entries, references::entries(object));
                    self.whole(value, object, node, shapes, path);
                    self.entries = outer;
                }
                None => {
                    let problem = format_args!("Resource type '{}' is not known here", excerpt(name));
                    self.fault(IssueCode::NotSupported, path, problem);
                }
            },
            Some(_) => self.fault(IssueCode::Structure, path, "The resourceType must be a string"),
            None => self.fault(IssueCode::Required, path, "A resource must have a resourceType"),
        }
    }

    /// A contained resource, which has an id and contains no others (R4 references.html#contained).
    fn contained(&mut self, value: &'a Value, shapes: &Shapes<'a>, path: &Path<'_>) {
        if self.in_contained {
            let issue = || Issue::error(IssueCode::Invariant, "A contained resource must not contain others");
            return self.report(|| issue().rule("dom-2"), path);
        }
        if value.is_object() && value.get("id").is_none() {
            self.fault(IssueCode::Required, path, "A contained resource must have an id");
        }
        let id = value.get("id").and_then(Value::as_str);
        if id.and_then(|id| self.contained.get(id)).is_some_and(|other| !std::ptr::eq(*other, value)) {
            let sentence = "Another contained resource has the same id";
            self.fault(IssueCode::Duplicate, &path.name("id"), sentence);
        }
        let mut shapes = shapes.clone();
        if self.enforce != Enforce::Off {
            let claimed = self.validator.claimed(value, |index, issue| self.claim(index, issue, path));
            claimed.into_iter().for_each(|profile| self.lay_profile(profile, &mut shapes));
        }
        self.inner(value, &shapes, path);
    }

    /// What is wrong with a claim of a profile.
    fn claim(&mut self, index: usize, issue: Issue, path: &Path<'_>) {
        if self.in_full || issue.is_error() {
            self.report(|| issue, &path.name("meta").name("profile").index(index));
        }
    }

    /// An object with the invariants of all shapes on it.
    fn whole(
        &mut self,
        value: &'a Value,
        object: &'a Map<String, Value>,
        node: &'a Node,
        shapes: &Shapes<'a>,
        path: &Path<'_>,
    ) {
        if self.enforce != Enforce::Off {
            self.invariants(value, None, None, shapes, path);
        }
        self.object(value, object, node, shapes, path);
    }

    /// The object of a resource, datatype or backbone element; the invariants of `shapes` have been looked at.
    fn object(
        &mut self,
        value: &'a Value,
        object: &'a Map<String, Value>,
        node: &'a Node,
        shapes: &Shapes<'a>,
        path: &Path<'_>,
    ) {
        if path.depth() > MAX_DEPTH {
            return self.fault(IssueCode::Structure, path, "Nested too deeply");
        }
        let mut on = shapes.clone();
        if self.enforce != Enforce::Off
            && let Some(base) = self.validator.base.of(node.id)
        {
            self.invariants(value, None, None, &Shapes::from_slice(&[base]), path);
            lay(&mut on, base);
        }
        self.properties(object, node, &on, Holder::Object { node, object }, path);
        if node.kind != Kind::Resource && is_without_children(object) {
            self.report(|| Issue::error(IssueCode::Invariant, EMPTY_ELEMENT).rule("ele-1"), path);
        }
        match node.path {
            "Extension" => self.value_or_extensions(object, path),
            "Reference" => self.reference_format(object, path),
            _ => {}
        }
    }

    /// Each property there is, and each required one that is not.
    fn properties(
        &mut self,
        object: &'a Map<String, Value>,
        node: &'a Node,
        shapes: &Shapes<'a>,
        holder: Holder<'a>,
        path: &Path<'_>,
    ) {
        let mut seen = ElementSet::EMPTY;
        let mut twice = ElementSet::EMPTY;
        for (key, value) in object {
            let (name, sibling) = key.strip_prefix('_').map_or((&**key, false), |name| (name, true));
            let property = match node.property(name) {
                Some(property) if !sibling || matches!(property.content, Content::Primitive(_)) => property,
                _ if key == "resourceType" && node.kind == Kind::Resource => continue,
                _ => {
                    self.unknown(key, node, path);
                    continue;
                }
            };
            let element = &property.element;
            let path = path.element(property);
            let is_new = seen.insert(element);
            if !is_new && element.is_choice && !twice.contains(element) && is_other_choice(object, node, property) {
                twice.insert(element);
                let problem = format_args!("{}[x] is given in more than one type", element.name);
                self.fault(IssueCode::Structure, &path, problem);
            }
            let on: Shapes<'a> = shapes.iter().filter_map(|shape| shape.child(element.ordinal)).collect();
            // A primitive and its sibling are one element, which is counted once.
            if is_new {
                self.count(object, property, &on, &path);
            }
            if sibling {
                self.sibling(value, object, property, node, &on, &path);
            } else {
                self.values(value, object, property, node, &on, &holder, &path);
            }
        }
        if !seen.includes(node.required) {
            for element in node.elements().iter().filter(|it| it.min > 0 && !seen.contains(it)) {
                let path = path.name(element.name);
                let rule = || format!("{STRUCTURES}{}#{}.{}", node.type_name(), node.path, element.name);
                let sentence = || wording::too_few(element.name, element.min, 0);
                self.report(|| Issue::error(IssueCode::Required, sentence()).rule(rule()), &path);
            }
        }
        for shape in shapes.iter().filter(|shape| !seen.includes(shape.required)) {
            self.missing(shape, seen, node, path);
        }
    }

    /// What a shape requires of an object and is not there.
    fn missing(&mut self, shape: &'a Shape, seen: ElementSet, node: &Node, path: &Path<'_>) {
        for (ordinal, child) in &shape.children {
            let element = node.elements().iter().find(|it| it.ordinal == *ordinal);
            let Some(element) = element.filter(|it| !seen.contains(it)) else { continue };
            let path = path.name(element.name);
            if child.min > element.min {
                self.breach(IssueCode::Required, &path, child, wording::too_few(element.name, child.min, 0));
            }
            for slice in child.slicing.iter().flat_map(|slicing| &slicing.slices).filter(|slice| slice.shape.min > 0) {
                let name = format!("{}:{}", element.name, slice.name);
                self.breach(IssueCode::Required, &path, &slice.shape, wording::too_few(&name, slice.shape.min, 0));
            }
        }
    }

    fn unknown(&mut self, key: &str, node: &Node, path: &Path<'_>) {
        let key_path = path.name(key);
        let path = if is_identifier(key) { &key_path } else { path };
        let sentence = || format!("{} has no property '{}'{}", node.path, excerpt(key), suggestion(key, node));
        self.report(|| Issue::error(IssueCode::Structure, sentence()), path);
    }

    /// Whether an element would meet a profile, without a word about it. Asked again about the same, it answers the same;
    /// asked while it is still looking, or for the sake of too many others, it says yes: what refers to itself comes to an
    /// end, and each resource has a verdict of its own.
    fn would_meet(
        &mut self,
        value: &'a Value,
        profile: ProfileId,
        walk: impl FnOnce(&mut Self, &Shapes<'a>, &Path<'_>),
    ) -> bool {
        let key = (std::ptr::from_ref(value), profile);
        if let Some(known) = self.compared.get(&key) {
            if let Err(why_not) = known {
                self.why_not = Arc::clone(why_not);
            }
            return known.is_ok();
        }
        if self.trial_depth >= MAX_TRIAL_DEPTH {
            return true;
        }
        self.trials += 1;
        if self.trials > MAX_TRIALS {
            self.errors_cut = true;
            return true;
        }
        self.compared.insert(key, Ok(()));
        let shapes = self.shapes_of(&[profile]);
        let issues = std::mem::take(&mut self.issues);
        let outer = (self.in_full, self.errors, self.errors_cut, self.targets.len());
        (self.in_full, self.errors) = (false, 0);
        self.trial_depth += 1;
        walk(self, &shapes, &Path::root(self.validator.profiles.get(profile).map_or("", |it| &it.type_name)));
        self.trial_depth -= 1;
        let found = std::mem::replace(&mut self.issues, issues);
        (self.in_full, self.errors, self.errors_cut) = (outer.0, outer.1, outer.2);
        self.targets.truncate(outer.3);
        let told =
            |issue: &Issue| format!("{} ({})", issue.diagnostics, issue.expression.as_deref().unwrap_or_default());
        let reasons: Vec<String> = found.iter().filter(|issue| issue.is_error()).take(REASONS).map(told).collect();
        let meets = reasons.is_empty();
        if !meets {
            self.why_not = reasons.join("; ").into();
        }
        self.compared.insert(key, if meets { Ok(()) } else { Err(Arc::clone(&self.why_not)) });
        meets
    }
}

/// True for `{}` and for an id alone, which is not a child that counts (ele-1).
fn is_without_children(object: &Map<String, Value>) -> bool {
    object.keys().all(|key| key == "id")
}

/// True if the object gives the choice in another type than this one. Only looked for when the choice is there before.
fn is_other_choice(object: &Map<String, Value>, node: &Node, property: &Property) -> bool {
    object.keys().any(|key| {
        let other = node.property(key.strip_prefix('_').unwrap_or(key));
        other.is_some_and(|other| other.element == property.element && other.name != property.name)
    })
}
