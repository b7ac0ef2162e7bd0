//! Random filters: leaves in alternatives, chains and `_has`, one in the other.

use std::collections::HashMap;

use plumbline::fhir::types::ResourceType;
use plumbline::search::include::references;
use plumbline::search::matching::holds;
use plumbline::search::param::SearchParam;
use plumbline::search::query::{Filter, ReferenceMatch, Test};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::leaves::leaves;
use super::world::World;

/// A reference and the type at its other end.
type Hop = (&'static SearchParam, ResourceType);

pub struct Nested {
    rng: TestRng,
    /// By type: those that some resources meet.
    leaves: HashMap<ResourceType, Vec<Filter>>,
    chains: HashMap<ResourceType, Vec<Hop>>,
    pointing: HashMap<ResourceType, Vec<Hop>>,
    /// `:below` and `:above`, and what is not.
    hierarchies: HashMap<ResourceType, Vec<Filter>>,
}

pub fn directory_types() -> impl Iterator<Item = ResourceType> {
    ResourceType::ALL.iter().copied().filter(|resource_type| resource_type.is_directory())
}

impl Nested {
    pub fn new(world: &World) -> Self {
        let mut nested = Self {
            rng: TestRng::deterministic_rng(RngAlgorithm::default()),
            leaves: HashMap::new(),
            chains: HashMap::new(),
            pointing: HashMap::new(),
            hierarchies: HashMap::new(),
        };
        for base in directory_types() {
            let met = |filter: &Filter| world.of_type(base).any(|one| holds(filter, &one.subject()) == Some(true));
            let leaves = leaves(world, base).into_iter().map(|leaf| leaf.filter).filter(met);
            nested.leaves.insert(base, leaves.collect());
            for param in references(base) {
                let entries = world.of_type(base).flat_map(|stored| &stored.entries.references);
                for entry in entries.filter(|entry| entry.param == param.id) {
                    let target = entry.target.resource_type;
                    let chains = nested.chains.entry(base).or_default();
                    if !chains.iter().any(|(of, to)| of.id == param.id && *to == target) {
                        chains.push((param, target));
                        nested.pointing.entry(target).or_default().push((param, base));
                    }
                    if target == base {
                        let target = || entry.target.clone();
                        for wanted in [ReferenceMatch::Below(target()), ReferenceMatch::Above(target())] {
                            let test = Test::Reference(vec![wanted]);
                            let filters = [Filter::Value { param, test: test.clone() }, Filter::Not { param, test }];
                            nested.hierarchies.entry(base).or_default().extend(filters);
                        }
                    }
                }
            }
        }
        nested
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.next_u32() as usize % bound
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())).cloned() }
    }

    /// A filter on this type, of so many levels at most.
    pub fn filter(&mut self, base: ResourceType, depth: usize) -> Filter {
        let kind = if depth == 0 { 0 } else { self.below(10) };
        let hops = match kind {
            4 | 5 => self.chains.get(&base).cloned().unwrap_or_default(),
            6 | 7 => self.pointing.get(&base).cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        match (kind, self.pick(&hops)) {
            (4 | 5, Some((param, target))) => {
                Filter::Chain { param, target, inner: Box::new(self.filter(target, depth - 1)) }
            }
            (6 | 7, Some((param, source))) => Filter::Has { param, inner: Box::new(self.filter(source, depth - 1)) },
            (8 | 9, _) => Filter::Any(self.alternatives(base, depth - 1)),
            _ => {
                let leaves = self.leaves[&base].clone();
                self.pick(&leaves).expect("a leaf")
            }
        }
    }

    /// None to three alternatives of none to two filters; seldom none.
    pub fn alternatives(&mut self, base: ResourceType, depth: usize) -> Vec<Vec<Filter>> {
        let several = [1, 1, 2, 2, 2, 3, 3, 0][self.below(8)];
        let mut alternatives = Vec::new();
        for _ in 0..several {
            let filters = [1, 1, 1, 1, 1, 2, 2, 2, 2, 0][self.below(10)];
            alternatives.push((0..filters).map(|_| self.filter(base, depth)).collect());
        }
        alternatives
    }

    /// A `:below` or `:above`, where the type has a hierarchy.
    pub fn hierarchy(&mut self, base: ResourceType) -> Option<Filter> {
        let all = self.hierarchies.get(&base).cloned().unwrap_or_default();
        self.pick(&all)
    }
}
