//! What holds for one element of a profile, base definition and all, as the snapshot of its StructureDefinition would say it.
//!
//! Validation does not need this; who wants to see what is compiled, and the test that compares it with the published
//! snapshots, does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Validator;
use super::shape::{DiscriminatorKind, Shape, TypeRule};
use crate::fhir::definitions::{Node, Property, Strength};

/// The facts about an element, under the names of ElementDefinition.
#[derive(Debug, PartialEq)]
pub struct Facts {
    pub min: u32,
    /// [`u32::MAX`] for `*`.
    pub max: u32,
    pub types: Vec<TypeFacts>,
    pub fixed: Option<Value>,
    pub pattern: Option<Value>,
    pub binding: Option<(Strength, String)>,
    /// The keys of the invariants, without those that every element, extension or resource has.
    pub invariants: BTreeSet<String>,
    /// Kind and path of the discriminators, if the element is sliced.
    pub slicing: Option<Vec<(DiscriminatorKind, String)>>,
}

/// One type that an element may have; order is of no matter in its lists.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeFacts {
    pub code: String,
    pub profiles: BTreeSet<String>,
    pub targets: BTreeSet<String>,
}

/// An element on the way down: what it can be, and the shapes on it, those of the base definition aside.
struct Place<'a> {
    nodes: Vec<&'static Node>,
    properties: Vec<&'static Property>,
    shapes: Vec<&'a Shape>,
    /// The shape of the slice, when it is one.
    slice: Option<&'a Shape>,
}

impl Validator {
    /// The facts about the element with this id in the profile; `None`: there is no such profile, element or slice.
    pub fn facts(&self, url: &str, id: &str) -> Option<Facts> {
        let (_, profile) = self.profiles.find(url)?;
        let node = self.definitions.node(profile.node);
        let mut place = Place { nodes: vec![node], properties: Vec::new(), shapes: vec![&profile.shape], slice: None };
        for part in id.split('.').skip(1) {
            place = self.step(&place, part)?;
        }
        Some(self.facts_at(&place))
    }

    /// The ids of the elements of which the profile says something.
    pub fn stated(&self, url: &str) -> Vec<String> {
        let mut ids = Vec::new();
        if let Some((_, profile)) = self.profiles.find(url) {
            let node = self.definitions.node(profile.node);
            self.collect(&profile.shape, &[node], profile.type_name.to_string(), &mut ids);
        }
        ids
    }

    fn collect(&self, shape: &Shape, nodes: &[&'static Node], id: String, ids: &mut Vec<String>) {
        for (ordinal, child) in &shape.children {
            let properties: Vec<_> = properties(nodes, |property| property.element.ordinal == *ordinal);
            let Some(element) = properties.first().map(|property| property.element) else { continue };
            let name = format!("{id}.{}{}", element.name, if element.is_choice { "[x]" } else { "" });
            let below = child.nodes(self.definitions, &properties);
            self.collect(child, &below, name.clone(), ids);
            for slice in child.slicing.iter().flat_map(|slicing| &slicing.slices) {
                let below = slice.shape.nodes(self.definitions, &properties);
                self.collect(&slice.shape, &below, format!("{name}:{}", slice.name), ids);
            }
        }
        ids.push(id);
    }

    fn step<'a>(&'a self, place: &Place<'a>, part: &str) -> Option<Place<'a>> {
        let (name, slice) = part.split_once(':').map_or((part, None), |(name, slice)| (name, Some(slice)));
        let plain = name.trim_end_matches("[x]");
        let properties = properties(&place.nodes, |property| property.element.name == plain);
        let ordinal = properties.first()?.element.ordinal;
        let above = self.with_profiles(&place.shapes);
        let mut shapes: Vec<&Shape> = above.iter().filter_map(|shape| shape.child(ordinal)).collect();
        let mut own = None;
        if let Some(slice) = slice {
            let slicings = shapes.iter().filter_map(|shape| shape.slicing.as_ref());
            let found: Vec<&Shape> = slicings
                .flat_map(|slicing| &slicing.slices)
                .filter(|it| &*it.name == slice)
                .map(|it| &it.shape)
                .collect();
            own = Some(*found.first()?);
            shapes.splice(0..0, found);
        }
        let nodes = match shapes.iter().find(|shape| shape.types.is_some()) {
            Some(shape) => shape.nodes(self.definitions, &properties),
            None => Shape::new("".into(), 0, 0).nodes(self.definitions, &properties),
        };
        Some(Place { nodes, properties, shapes, slice: own })
    }

    /// Shapes, and those of the one profile that their types name.
    fn with_profiles<'a>(&'a self, shapes: &[&'a Shape]) -> Vec<&'a Shape> {
        let rules = shapes.iter().flat_map(|shape| shape.types.iter().flatten());
        let ids = rules.filter_map(|rule| rule.profiles.first()?.profile);
        let profiles = ids.filter_map(|id| self.profiles.get(id)).map(|profile| &profile.shape);
        shapes.iter().copied().chain(profiles).collect()
    }

    fn facts_at(&self, place: &Place<'_>) -> Facts {
        let element = place.properties.first().map(|property| property.element);
        let shapes = &place.shapes;
        let (mut min, mut max) = element.map_or((0, u32::MAX), |element| (element.min, element.max));
        for shape in shapes {
            (min, max) = (min.max(shape.min), max.min(shape.max));
        }
        if let Some(slice) = place.slice {
            (min, max) = (slice.min, slice.max);
        }
        let type_facts = |rule: &TypeRule| TypeFacts {
            code: rule.code.to_string(),
            profiles: rule.profiles.iter().map(|it| it.url.to_string()).collect(),
            targets: rule.targets.iter().map(|it| it.url.to_string()).collect(),
        };
        let base_type = |property: &&'static Property| TypeFacts {
            code: property.type_code.to_owned(),
            profiles: BTreeSet::new(),
            targets: property.targets.iter().map(|url| (*url).to_owned()).collect(),
        };
        let mut types: Vec<TypeFacts> = match shapes.iter().find_map(|shape| shape.types.as_ref()) {
            Some(types) => types.iter().map(type_facts).collect(),
            None => place.properties.iter().map(base_type).collect(),
        };
        types.sort();
        let bound = shapes.iter().find_map(|shape| shape.binding.as_ref());
        let bound = bound.map(|binding| (binding.strength, binding.value_set.to_string()));
        let base_bound = || element?.binding.map(|binding| (binding.strength, binding.value_set.to_owned()));
        let of_base = place.properties.iter().flat_map(|property| &property.constraints).map(|it| it.key.to_owned());
        let root = place.nodes.iter().filter(|_| place.properties.is_empty());
        let of_root = root.flat_map(|node| &node.constraints).map(|it| it.key.to_owned());
        let all = self.with_profiles(shapes);
        let of_shapes = all.iter().flat_map(|shape| &shape.invariants).map(|it| it.key.to_string());
        let common = |key: &String| matches!(key.as_str(), "ele-1" | "ext-1") || key.starts_with("dom-");
        let slicing = shapes.iter().find_map(|shape| shape.slicing.as_ref()).filter(|_| place.slice.is_none());
        Facts {
            min,
            max,
            types,
            fixed: shapes.iter().find_map(|shape| shape.fixed.as_deref().cloned()),
            pattern: shapes.iter().find_map(|shape| shape.pattern.as_deref().cloned()),
            binding: bound.or_else(base_bound),
            invariants: of_base.chain(of_root).chain(of_shapes).filter(|key| !common(key)).collect(),
            slicing: slicing.map(|it| it.discriminators.iter().map(|by| (by.kind, by.path.to_string())).collect()),
        }
    }
}

fn properties(nodes: &[&'static Node], fits: impl Fn(&Property) -> bool) -> Vec<&'static Property> {
    nodes.iter().flat_map(|node| node.properties()).filter(|property| fits(property)).collect()
}
