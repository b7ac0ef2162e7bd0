//! What can only be said once all profiles are compiled: what a URL in one of them names, and what an item of a slice looks
//! like when that is for another profile to say (the url of an extension).

use std::collections::HashMap;
use std::sync::Arc;

use super::{Profile, Profiles};
use crate::fhir::definitions::{Definitions, ElementSet, Node, Strength};
use crate::fhir::path::Path;
use crate::validate::base::STRUCTURES;
use crate::validate::shape::{
    Discriminator, DiscriminatorKind, Membership, ProfileId, ProfileRef, Shape, Slice, Slicing, TypeRule,
};

impl Profiles {
    /// Completes every shape.
    pub(super) fn link(&mut self, definitions: &'static Definitions) {
        let names: HashMap<Box<str>, (ProfileId, Box<str>)> = self
            .by_url
            .iter()
            .filter_map(|(url, id)| Some((url.clone(), (*id, self.get(*id)?.type_name.clone()))))
            .collect();
        for profile in &mut self.list {
            name(&mut profile.shape, &names);
        }
        // The tests of slices look into the shapes of other profiles, in which names are known by now.
        let linked: Vec<Shape> = self.list.iter().map(|profile| profile.shape.clone()).collect();
        let linker = Linker { definitions, linked: &linked };
        for profile in &mut self.list {
            let Profile { shape, node, problems, .. } = profile;
            linker.complete(shape, &[definitions.node(*node)], problems);
        }
    }
}

/// Finds out what the URLs in a shape name.
fn name(shape: &mut Shape, names: &HashMap<Box<str>, (ProfileId, Box<str>)>) {
    let resolve = |it: &mut ProfileRef| {
        let url = it.url.split('|').next().unwrap_or_default();
        match names.get(url) {
            Some((id, type_name)) => {
                it.profile = Some(*id);
                it.type_name = Some(type_name.clone());
            }
            None => it.type_name = url.strip_prefix(STRUCTURES).map(Box::from),
        }
    };
    for TypeRule { profiles, targets, .. } in shape.types.iter_mut().flatten() {
        profiles.iter_mut().chain(targets).for_each(resolve);
    }
    shape.children.iter_mut().for_each(|(_, child)| name(child, names));
    shape.slicing.iter_mut().flat_map(|slicing| &mut slicing.slices).for_each(|slice| name(&mut slice.shape, names));
}

struct Linker<'l> {
    definitions: &'static Definitions,
    linked: &'l [Shape],
}

impl Linker<'_> {
    /// Notes which children are required, and how the items of slices are told apart.
    fn complete(&self, shape: &mut Shape, nodes: &[&'static Node], problems: &mut Vec<String>) {
        shape.required = ElementSet::EMPTY;
        for (ordinal, child) in &mut shape.children {
            let is_it = |node: &&'static Node| node.elements().iter().find(|it| it.ordinal == *ordinal);
            let base_min = nodes.iter().find_map(is_it).map_or(0, |element| element.min);
            let slices = child.slicing.iter().flat_map(|slicing| &slicing.slices);
            if child.min > base_min || slices.into_iter().any(|slice| slice.shape.min > 0) {
                shape.required = shape.required.with(ElementSet::of_ordinal(*ordinal));
            }
            let below = self.below(nodes, *ordinal, child);
            self.complete(child, &below, problems);
        }
        let Some(Slicing { discriminators, slices, .. }) = &mut shape.slicing else { return };
        for slice in slices {
            self.complete(&mut slice.shape, nodes, problems);
            slice.tests = discriminators.iter().map(|it| self.membership(it, slice, nodes)).collect();
            if slice.tests.is_empty() || slice.tests.iter().any(|test| matches!(test, Membership::Unknown)) {
                problems.push(format!(
                    "{}: which items are in the slice {} cannot be told by {}",
                    slice.shape.rule,
                    slice.name,
                    discriminators.iter().map(|it| &*it.path).collect::<Vec<_>>().join(", ")
                ));
            }
        }
    }

    /// What the items of a child element can be.
    fn below(&self, nodes: &[&'static Node], ordinal: u8, child: &Shape) -> Vec<&'static Node> {
        let properties = nodes.iter().flat_map(|node| node.properties()).filter(|it| it.element.ordinal == ordinal);
        child.nodes(self.definitions, &properties.collect::<Vec<_>>())
    }

    fn membership(&self, discriminator: &Discriminator, slice: &Slice, nodes: &[&'static Node]) -> Membership {
        let Ok(path) = Path::parse(&discriminator.path) else { return Membership::Unknown };
        let path = Arc::new(path);
        let (steps, resolves) = match discriminator.path.strip_suffix("resolve()") {
            Some(before) => (before.trim_end_matches('.'), true),
            None => (&*discriminator.path, false),
        };
        let found = self.shapes_at(slice, steps, nodes);
        let types = || found.iter().find_map(|shape| shape.types.as_ref());
        match discriminator.kind {
            DiscriminatorKind::Value | DiscriminatorKind::Pattern => {
                if let Some(value) = found.iter().find_map(|shape| shape.fixed.as_ref()) {
                    return match (steps, value.as_str()) {
                        ("url", Some(url)) => Membership::Url(url.into()),
                        _ => Membership::Value { path, value: Arc::clone(value), exact: true },
                    };
                }
                if let Some(value) = found.iter().find_map(|shape| shape.pattern.as_ref()) {
                    return Membership::Value { path, value: Arc::clone(value), exact: false };
                }
                let binding = found.iter().filter_map(|shape| shape.binding.as_ref());
                let binding = binding.into_iter().find(|it| it.strength == Strength::Required);
                // An extension has the URL of its definition, loaded or not.
                let profiles = slice.shape.types.iter().flatten().flat_map(|rule| &rule.profiles);
                let url = profiles.map(|it| &it.url).next().filter(|_| steps == "url");
                match (binding, url) {
                    (Some(binding), _) => Membership::Code { path, binding: Arc::clone(binding) },
                    (None, Some(url)) => Membership::Url(url.clone()),
                    (None, None) => Membership::Unknown,
                }
            }
            DiscriminatorKind::Exists => match found.first() {
                Some(shape) if shape.max == 0 => Membership::Exists { path, expected: false },
                Some(shape) if shape.min > 0 => Membership::Exists { path, expected: true },
                _ => Membership::Unknown,
            },
            DiscriminatorKind::Type => match types() {
                Some(types) if resolves => {
                    let codes = types.iter().flat_map(|rule| &rule.targets).filter_map(|it| it.type_name.clone());
                    Membership::Type { path, codes: codes.collect() }
                }
                Some(types) => {
                    let codes: Vec<Box<str>> = types.iter().map(|rule| rule.code.clone()).collect();
                    if steps == "$this" { Membership::OwnType(codes) } else { Membership::Type { path, codes } }
                }
                None => Membership::Unknown,
            },
            DiscriminatorKind::Profile => match types() {
                Some(types) => {
                    let of = |rule: &TypeRule| if resolves { rule.targets.clone() } else { rule.profiles.clone() };
                    Membership::Profile { path, profiles: types.iter().flat_map(of).collect() }
                }
                None => Membership::Unknown,
            },
        }
    }

    /// The shapes that a slice has for the element at a path of plain names and `extension('url')`.
    fn shapes_at<'s>(&'s self, slice: &'s Slice, path: &str, nodes: &[&'static Node]) -> Vec<&'s Shape> {
        let mut shapes = self.with_profiles(vec![&slice.shape]);
        let mut nodes = nodes.to_vec();
        for step in steps(path).filter(|step| !matches!(*step, "" | "$this")) {
            let extension = step.strip_prefix("extension('").and_then(|rest| rest.strip_suffix("')"));
            let name = if extension.is_some() { "extension" } else { step };
            let element = nodes.iter().flat_map(|node| node.elements()).find(|element| element.name == name);
            let Some(ordinal) = element.map(|element| element.ordinal) else { return Vec::new() };
            let children: Vec<&Shape> = shapes.iter().filter_map(|shape| shape.child(ordinal)).collect();
            nodes = match children.first() {
                Some(child) => self.below(&nodes, ordinal, child),
                None => return Vec::new(),
            };
            shapes = match extension {
                None => children,
                Some(url) => children
                    .iter()
                    .filter_map(|child| child.slicing.as_ref())
                    .flat_map(|slicing| &slicing.slices)
                    .filter(|slice| self.is_extension(slice, url))
                    .map(|slice| &slice.shape)
                    .collect(),
            };
            shapes = self.with_profiles(shapes);
        }
        shapes
    }

    fn is_extension(&self, slice: &Slice, url: &str) -> bool {
        let Some(extension) = self.definitions.type_named("Extension") else { return false };
        let found = self.shapes_at(slice, "url", &[extension]);
        found.iter().any(|shape| shape.fixed.as_ref().and_then(|fixed| fixed.as_str()) == Some(url))
    }

    /// Shapes, and those of the profiles that their types must meet.
    fn with_profiles<'s>(&'s self, shapes: Vec<&'s Shape>) -> Vec<&'s Shape> {
        let rules = shapes.iter().flat_map(|shape| shape.types.iter().flatten());
        let ids = rules.flat_map(|rule| &rule.profiles).filter_map(|it| it.profile);
        let profiles: Vec<&Shape> = ids.filter_map(|id| self.linked.get(id.0)).collect();
        shapes.into_iter().chain(profiles).collect()
    }
}

/// The steps of a dotted path; a dot between quotes is part of its step.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    path.split(move |c: char| {
        quoted ^= c == '\'';
        c == '.' && !quoted
    })
}
