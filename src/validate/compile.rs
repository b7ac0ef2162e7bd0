//! From the elements of a StructureDefinition to a [`Shape`].
//!
//! A profile starts as the shape of its base and has each of its elements applied to it: a differential says what is added,
//! a snapshot says everything, and what it repeats of the base definition is left out again, since that is walked anyway.

use std::collections::HashMap;
use std::sync::Arc;

use super::base::Base;
use super::definition::{DefinitionError, ElementDefinition, TypeDefinition};
use super::native;
use super::shape::{
    Binding, Discriminator, DiscriminatorKind, Invariant, ProfileId, ProfileRef, Rules, Shape, Slice, Slicing, Test,
    TypeRule,
};
use crate::fhir::definitions::{Definitions, Element, Node, Property, Strength};
use crate::fhir::path::Path;

/// What compiling needs to know of everything else.
pub(super) struct Compiler<'c> {
    pub definitions: &'static Definitions,
    pub base: &'c Base,
    /// The shapes of the profiles that are compiled already.
    pub profile: &'c dyn Fn(&str) -> Option<(ProfileId, &'c Shape)>,
    /// Value sets that are bound somewhere, so that each is expanded once.
    pub bindings: &'c mut HashMap<(Strength, Box<str>), Arc<Binding>>,
    /// The canonical URL of the profile at hand.
    pub url: &'c str,
    pub is_snapshot: bool,
    /// What of it cannot be evaluated, as sentences.
    pub problems: Vec<String>,
}

/// One part of an element's id: `extension:code`, `value[x]`.
#[derive(Clone, Copy)]
struct Part<'a> {
    name: &'a str,
    slice: Option<&'a str>,
}

/// The parts of an element's id after the type.
fn parts(id: &str) -> Vec<Part<'_>> {
    id.split('.')
        .skip(1)
        .map(|part| match part.split_once(':') {
            Some((name, slice)) => Part { name, slice: Some(slice) },
            None => Part { name: part, slice: None },
        })
        .collect()
}

impl Compiler<'_> {
    /// Applies the elements to the shape of the type or profile that they constrain.
    pub fn apply(
        &mut self,
        shape: &mut Shape,
        node: &'static Node,
        elements: &[ElementDefinition],
    ) -> Result<(), DefinitionError> {
        for element in elements {
            let parts = parts(element.id);
            self.descend(shape, &[node], &parts, element, None)?;
        }
        Ok(())
    }

    /// Goes down to the element at `parts`, making shapes on the way. `nodes` is what the item of `shape` can be, `own` the
    /// properties whose base definition need not be repeated in it.
    fn descend(
        &mut self,
        shape: &mut Shape,
        nodes: &[&'static Node],
        parts: &[Part<'_>],
        element: &ElementDefinition,
        own: Option<&[&'static Property]>,
    ) -> Result<(), DefinitionError> {
        let Some((part, rest)) = parts.split_first() else {
            self.set(shape, element, own);
            return Ok(());
        };
        if part.slice.is_some_and(|slice| slice.contains('/')) {
            self.problem(format!("{}: slices of slices are not told apart", element.id));
            return Ok(());
        }
        self.inline(shape);
        let (found, shorthand) = self.find(nodes, part.name, element)?;
        let base = found.first().map(|property| property.element).ok_or_else(|| unknown(element, part.name))?;
        let at = shape.children.iter().position(|(ordinal, _)| *ordinal == base.ordinal).unwrap_or_else(|| {
            let rule = self.rule(element.id);
            shape.children.push((base.ordinal, Shape::new(rule, base.min, base.max)));
            shape.children.len() - 1
        });
        let Some((_, child)) = shape.children.get_mut(at) else { return Err(unknown(element, part.name)) };
        let slice = part.slice.or(shorthand.then_some(part.name));
        let Some(slice) = slice else {
            let below = child.nodes(self.definitions, &found);
            return self.descend(child, &below, rest, element, Some(&found));
        };
        let slicing = child.slicing.get_or_insert_with(|| implied_slicing(&base));
        let at = slicing.slices.iter().position(|it| &*it.name == slice).unwrap_or_else(|| {
            let mut shape = Shape::new(self.rule(element.id), 0, child.max);
            // The name of a type slice says which type it is of, even if nothing else does.
            let typed = base.is_choice.then(|| found.iter().find(|property| &*property.name == slice)).flatten();
            shape.types = typed.map(|property| vec![type_rule(&plain_type(property))]);
            slicing.slices.push(Slice { name: slice.into(), shape, tests: Vec::new() });
            slicing.slices.len() - 1
        });
        let Some(slice) = slicing.slices.get_mut(at) else { return Err(unknown(element, part.name)) };
        let below = slice.shape.nodes(self.definitions, &found);
        // What a slice says tells it apart, even where it repeats the base definition.
        self.descend(&mut slice.shape, &below, rest, element, None)
    }

    /// The properties behind a name in an id: an element, all types of a choice, or one type of it in short.
    fn find(
        &self,
        nodes: &[&'static Node],
        name: &str,
        element: &ElementDefinition,
    ) -> Result<(Vec<&'static Property>, bool), DefinitionError> {
        let plain = name.trim_end_matches("[x]");
        let of = |node: &'static Node| node.properties().iter().filter(|property| property.element.name == plain);
        let mut found: Vec<&'static Property> = nodes.iter().flat_map(|node| of(node)).collect();
        let shorthand = found.is_empty();
        if shorthand {
            let choice = |node: &&'static Node| {
                let property = node.property(name).filter(|property| property.element.is_choice)?;
                Some(of_choice(node, property))
            };
            found = nodes.iter().filter_map(choice).flatten().collect();
        }
        let ordinal = found.first().map(|property| property.element.ordinal);
        if found.iter().any(|property| Some(property.element.ordinal) != ordinal) {
            let problem = format!("'{name}' is at different places in the types that the element may have");
            return Err(DefinitionError::Element { element: element.id.to_owned(), problem });
        }
        Ok((found, shorthand))
    }

    /// Takes the shape of the one profile that an element must meet into its own, so that the profile at hand can go into
    /// its elements.
    fn inline(&self, shape: &mut Shape) {
        let Some([TypeRule { profiles, .. }]) = shape.types.as_deref() else { return };
        let [ProfileRef { url, .. }] = profiles.as_slice() else { return };
        let Some((id, profile)) = (self.profile)(url) else { return };
        if shape.inlined.contains(&id) {
            return;
        }
        shape.inlined.push(id);
        merge(shape, profile);
    }

    /// Writes what an ElementDefinition says into the shape of its element.
    fn set(&mut self, shape: &mut Shape, element: &ElementDefinition, properties: Option<&[&'static Property]>) {
        shape.rule = self.rule(element.id);
        shape.min = element.min.unwrap_or(shape.min);
        shape.max = element.max.unwrap_or(shape.max);
        if let Some(types) = &element.types
            && !properties.is_some_and(|properties| is_base(types, properties))
        {
            shape.types = Some(types.iter().map(type_rule).collect());
        }
        if let Some(value) = element.fixed {
            shape.fixed = Some(Arc::new(value.clone()));
        }
        if let Some(value) = element.pattern {
            shape.pattern = Some(Arc::new(value.clone()));
        }
        if let Some((strength, value_set)) = element.binding
            && !properties.is_some_and(|properties| is_base_binding(strength, value_set, properties))
        {
            let max = element.max_value_set.filter(|_| strength != Strength::Required);
            let is_asking = matches!(strength, Strength::Required | Strength::Extensible);
            let binding = max.map(|max| Arc::new(Binding::max(max)));
            shape.binding = binding.or_else(|| is_asking.then(|| self.binding(strength, value_set)));
        }
        for unread in &element.unread {
            self.problem(format!("{}: {unread}", element.id));
        }
        if let Some(slicing) = &element.slicing {
            let slices = shape.slicing.take().map(|slicing| slicing.slices).unwrap_or_default();
            let (discriminators, ordered, rules) = (slicing.discriminators.clone(), slicing.ordered, slicing.rules);
            shape.slicing = Some(Slicing { discriminators, ordered, rules, slices });
        }
        for constraint in &element.constraints {
            let Some(expression) = constraint.expression else { continue };
            let is_here = shape.invariants.iter().any(|known| *known.key == *constraint.key);
            if is_here || self.base.states(constraint, expression, self.is_snapshot) {
                continue;
            }
            let test = match (native::of(expression), Path::parse(expression)) {
                (Some(native), _) => Test::Native(native),
                (None, Ok(path)) => Test::Path(path),
                (None, Err(error)) => {
                    self.problem(format!("{} at {}: {error}", constraint.key, element.id));
                    Test::Unknown(expression.into())
                }
            };
            shape.invariants.push(Arc::new(Invariant {
                key: constraint.key.into(),
                is_error: constraint.severity == "error",
                human: constraint.human.into(),
                source: constraint.source.unwrap_or(self.url).into(),
                test,
            }));
        }
    }

    /// Each value set is bound once, so that it is expanded once.
    fn binding(&mut self, strength: Strength, value_set: &str) -> Arc<Binding> {
        let key = (strength, Box::from(value_set));
        Arc::clone(self.bindings.entry(key).or_insert_with(|| Arc::new(Binding::new(strength, value_set))))
    }

    fn problem(&mut self, sentence: String) {
        if !self.problems.contains(&sentence) {
            self.problems.push(sentence);
        }
    }

    fn rule(&self, element: &str) -> Arc<str> {
        format!("{}#{element}", self.url).into()
    }
}

/// Adds what another shape asks of the same element.
fn merge(shape: &mut Shape, other: &Shape) {
    shape.fixed = shape.fixed.take().or_else(|| other.fixed.clone());
    shape.pattern = shape.pattern.take().or_else(|| other.pattern.clone());
    shape.binding = shape.binding.take().or_else(|| other.binding.clone());
    let is_new = |invariant: &&Arc<Invariant>| shape.invariants.iter().all(|known| known.key != invariant.key);
    let new: Vec<_> = other.invariants.iter().filter(is_new).cloned().collect();
    shape.invariants.extend(new);
    shape.inlined.extend(&other.inlined);
    for (ordinal, child) in &other.children {
        match shape.children.iter_mut().find(|(own, _)| own == ordinal) {
            Some((_, own)) => {
                (own.min, own.max) = (own.min.max(child.min), own.max.min(child.max));
                own.types = own.types.take().or_else(|| child.types.clone());
                merge(own, child);
            }
            None => shape.children.push((*ordinal, child.clone())),
        }
    }
    let Some(slicing) = &other.slicing else { return };
    let own = shape.slicing.get_or_insert_with(|| Slicing { slices: Vec::new(), ..slicing.clone() });
    for slice in &slicing.slices {
        match own.slices.iter_mut().find(|it| it.name == slice.name) {
            Some(own) => merge(&mut own.shape, &slice.shape),
            None => own.slices.push(slice.clone()),
        }
    }
}

fn unknown(element: &ElementDefinition, name: &str) -> DefinitionError {
    DefinitionError::Element { element: element.id.to_owned(), problem: format!("there is no element '{name}' there") }
}

/// The properties of a choice that one of them belongs to.
fn of_choice(node: &'static Node, one: &'static Property) -> impl Iterator<Item = &'static Property> {
    node.properties().iter().filter(|property| property.element == one.element)
}

/// What tells slices apart where a differential leaves it to the base: extensions by url, choices by type.
fn implied_slicing(element: &Element) -> Slicing {
    let (kind, path) = match element.is_choice {
        true => (DiscriminatorKind::Type, "$this"),
        false => (DiscriminatorKind::Value, "url"),
    };
    let discriminators = vec![Discriminator { kind, path: path.into() }];
    Slicing { discriminators, ordered: false, rules: Rules::Open, slices: Vec::new() }
}

fn plain_type(property: &'static Property) -> TypeDefinition<'static> {
    TypeDefinition { code: property.type_code, profiles: Vec::new(), targets: Vec::new() }
}

fn type_rule(definition: &TypeDefinition) -> TypeRule {
    let unlinked = |url: &&str| ProfileRef { url: (*url).into(), profile: None, type_name: None };
    TypeRule {
        code: definition.code.into(),
        profiles: definition.profiles.iter().map(unlinked).collect(),
        targets: definition.targets.iter().map(unlinked).collect(),
    }
}

/// True when the types are those of the base definition and no narrower.
fn is_base(types: &[TypeDefinition], properties: &[&'static Property]) -> bool {
    // Resource.id is a string by the letter and an id by meaning; both are read as an id.
    let same = |definition: &TypeDefinition, property: &Property| {
        let code = property.type_code;
        definition.profiles.is_empty()
            && (definition.code == code || (definition.code == "id" && code == "string"))
            && (definition.targets.is_empty() || definition.targets == property.targets)
    };
    types.len() == properties.len()
        && properties.iter().all(|property| types.iter().any(|definition| same(definition, property)))
}

fn is_base_binding(strength: Strength, value_set: &str, properties: &[&'static Property]) -> bool {
    let unversioned = |url: &str| url.split('|').next().map(str::to_owned);
    properties.iter().any(|property| {
        property
            .element
            .binding
            .is_some_and(|it| it.strength == strength && unversioned(it.value_set) == unversioned(value_set))
    })
}
