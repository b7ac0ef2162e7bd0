//! What base R4 asks beyond structure: bindings, reference targets and invariants, as one [`Shape`] for each node.

use std::collections::HashMap;
use std::sync::Arc;

use super::definition::ConstraintDefinition;
use super::native;
use super::shape::{Binding, Invariant, ProfileRef, Shape, Test, TypeRule};
use crate::fhir::definitions::{Constraint, Definitions, Element, Node, NodeId, Strength};
use crate::fhir::path::Path;

/// Where the definitions of types are.
pub(super) const STRUCTURES: &str = "http://hl7.org/fhir/StructureDefinition/";

/// Invariants that the walk itself holds, since they are about structure.
const HELD_BY_THE_WALK: &[&str] = &["ele-1", "ext-1", "dom-2", "ref-1", "txt-1", "txt-2"];

/// The base definitions as shapes.
#[derive(Debug)]
pub(super) struct Base {
    /// By index of the node.
    shapes: Vec<Shape>,
    /// Every invariant by key and expression, each parsed once however many types inherit it.
    stated: HashMap<(&'static str, &'static str), Arc<Invariant>>,
    /// What cannot be evaluated, as sentences; a test sees to it that there is nothing.
    pub problems: Vec<String>,
}

impl Base {
    pub fn new(definitions: &'static Definitions) -> Self {
        let mut base = Self { shapes: Vec::new(), stated: HashMap::new(), problems: Vec::new() };
        let mut bindings = HashMap::new();
        let shapes = definitions.nodes().iter().map(|node| base.shape(definitions, node, &mut bindings)).collect();
        base.shapes = shapes;
        base
    }

    pub fn of(&self, node: NodeId) -> Option<&Shape> {
        self.shapes.get(node.index())
    }

    /// True for an invariant of the base definitions, which holds without a profile that repeats it.
    ///
    /// The wording of those that every snapshot repeats differs between tools, so they are known by where they come from; a
    /// constraint that just has the same key comes from the profile itself.
    pub fn states(&self, constraint: &ConstraintDefinition, expression: &str, is_snapshot: bool) -> bool {
        let key = constraint.key;
        let is_inherited = match constraint.source {
            Some(source) => source.starts_with(STRUCTURES),
            None => is_snapshot,
        };
        self.stated.contains_key(&(key, expression))
            || is_inherited && (HELD_BY_THE_WALK.contains(&key) || key.starts_with("dom-"))
    }

    fn shape(
        &mut self,
        definitions: &'static Definitions,
        node: &'static Node,
        bindings: &mut HashMap<&'static str, Arc<Binding>>,
    ) -> Shape {
        let rule = |path: &str| format!("{STRUCTURES}{}#{path}", path.split('.').next().unwrap_or(path)).into();
        let shape_of = |path: &str, min, max| Shape { is_base: true, ..Shape::new(rule(path), min, max) };
        let mut shape = shape_of(node.path, 0, u32::MAX);
        shape.invariants = self.invariants(&node.constraints, node.path);
        let mut base = node.base;
        while let Some(inherited) = base.map(|id| definitions.node(id)) {
            shape.invariants.extend(self.invariants(&inherited.constraints, inherited.path));
            base = inherited.base;
        }
        for element in node.elements() {
            let path = format!("{}.{}", node.path, element.name);
            let mut child = shape_of(&path, element.min, element.max);
            child.binding = binding(element, bindings);
            let properties = || node.properties().iter().filter(|property| property.element == *element);
            if properties().any(|property| !property.targets.is_empty()) {
                let targets = |urls: &[&str]| urls.iter().copied().map(target).collect();
                child.types = Some(
                    properties()
                        .map(|property| TypeRule {
                            code: property.type_code.into(),
                            profiles: Vec::new(),
                            targets: targets(&property.targets),
                        })
                        .collect(),
                );
            }
            let constraints = properties().next().map_or(&[][..], |property| &property.constraints);
            child.invariants = self.invariants(constraints, &path);
            if child.binding.is_some() || child.types.is_some() || !child.invariants.is_empty() {
                shape.children.push((element.ordinal, child));
            }
        }
        shape
    }

    fn invariants(&mut self, constraints: &[Constraint], path: &str) -> Vec<Arc<Invariant>> {
        let asked = constraints.iter().filter(|constraint| !HELD_BY_THE_WALK.contains(&constraint.key));
        asked.map(|constraint| self.invariant(constraint, path)).collect()
    }

    fn invariant(&mut self, constraint: &Constraint, path: &str) -> Arc<Invariant> {
        let name = (constraint.key, constraint.expression);
        if let Some(known) = self.stated.get(&name) {
            return Arc::clone(known);
        }
        let test = match (native::of(constraint.expression), Path::parse(constraint.expression)) {
            (Some(native), _) => Test::Native(native),
            (None, Ok(path)) => Test::Path(path),
            (None, Err(error)) => {
                self.problems.push(format!("{} at {path}: {error}", constraint.key));
                Test::Unknown(constraint.expression.into())
            }
        };
        let source = format!("{STRUCTURES}{}", path.split('.').next().unwrap_or(path));
        let invariant = Arc::new(Invariant {
            key: constraint.key.into(),
            is_error: constraint.severity == "error",
            human: constraint.human.into(),
            source: source.into(),
            test,
        });
        self.stated.insert(name, Arc::clone(&invariant));
        invariant
    }
}

/// The binding of an element, if it asks for anything; each value set is bound once.
fn binding(element: &Element, bindings: &mut HashMap<&'static str, Arc<Binding>>) -> Option<Arc<Binding>> {
    let found = element.binding?;
    if let Some(max) = found.max {
        return Some(Arc::clone(bindings.entry(max).or_insert_with(|| Arc::new(Binding::max(max)))));
    }
    if matches!(found.strength, Strength::Preferred | Strength::Example) {
        return None;
    }
    let make = || Arc::new(Binding::new(found.strength, found.value_set));
    // A set that is required here and extensible there is two bindings.
    match bindings.get(found.value_set) {
        Some(binding) if binding.strength == found.strength => Some(Arc::clone(binding)),
        Some(_) => Some(make()),
        None => Some(Arc::clone(bindings.entry(found.value_set).or_insert_with(make))),
    }
}

fn target(url: &str) -> ProfileRef {
    ProfileRef { url: url.into(), profile: None, type_name: url.strip_prefix(STRUCTURES).map(Box::from) }
}
