//! Evaluation: what each part of an expression makes of its focus.

use std::cell::Cell;
use std::cmp::Ordering;
use std::slice;

use serde_json::Value;

use super::EvalError;
use super::ast::{Expr, Operator, Step};
use super::compare::{Seen, equal, equivalent, order};
use super::functions;
use super::node::{Item, Node, Nodes};
use super::number::Decimal;
use super::types;

/// How many nodes one evaluation may yield on its way: the descendants of a very large resource, several times over.
pub(super) const BUDGET: usize = 1_000_000;
/// How many bytes of text cost as much as a node.
const BYTES_PER_NODE: usize = 32;

/// Where an evaluation takes place, and what it has spent.
pub(super) struct Scope<'a> {
    resource: &'a Value,
    root: &'a Value,
    context: Node<'a>,
    /// The type of the context, looked up once for the many branches of a union that begin with another one.
    context_type: Option<&'a str>,
    left: Cell<usize>,
}

/// What an expression is applied to: `$this`, of one item or as a whole collection, and `$index`.
#[derive(Clone, Copy)]
pub(super) struct Focus<'f, 'a> {
    this: &'f [Node<'a>],
    index: usize,
}

pub(super) type Found<'a> = Result<Nodes<'a>, EvalError>;

impl<'a> Scope<'a> {
    pub(super) fn new(focus: &Node<'a>, resource: &'a Value, root: &'a Value) -> Self {
        let context_type = resource_type(focus);
        Self { resource, root, context: focus.clone(), context_type, left: Cell::new(BUDGET) }
    }

    /// The same scope with another budget.
    pub(super) fn allow(self, nodes: usize) -> Self {
        self.left.set(nodes);
        self
    }

    /// What is left of the budget.
    pub(super) fn left(&self) -> usize {
        self.left.get()
    }

    pub(super) fn run(&self, expr: &Expr) -> Found<'a> {
        self.expr(expr, Focus { this: slice::from_ref(&self.context), index: 0 })
    }

    pub(super) fn spend(&self, nodes: usize) -> Result<(), EvalError> {
        let left = self.left.get().checked_sub(nodes);
        self.left.set(left.unwrap_or(0));
        left.map(drop).ok_or(EvalError::TooCostly)
    }

    /// Pays for reading or building some text.
    pub(super) fn spend_text(&self, bytes: usize) -> Result<(), EvalError> {
        self.spend(bytes / BYTES_PER_NODE)
    }

    pub(super) fn resource(&self) -> &'a Value {
        self.resource
    }

    pub(super) fn expr(&self, expr: &Expr, focus: Focus<'_, 'a>) -> Found<'a> {
        Ok(match expr {
            Expr::This => Nodes::from(focus.this),
            Expr::Index => Item::Number(Decimal::from(focus.index)).into(),
            Expr::Empty => Nodes::None,
            Expr::Constant(item) => item.clone().into(),
            Expr::Resource => Item::Element(self.resource).into(),
            Expr::RootResource => Item::Element(self.root).into(),
            Expr::Context => Nodes::One(self.context.clone()),
            Expr::Chain(base, steps) => return self.chain(base, steps, focus),
            Expr::Union(parts) => {
                let mut all = Nodes::None;
                for part in parts {
                    all.extend(self.expr(part, focus)?);
                }
                return self.distinct(all);
            }
            Expr::Binary(operator, sides) => return self.binary(*operator, &sides.0, &sides.1, focus),
            Expr::Negate(operand) => match single(self.expr(operand, focus)?.as_slice())? {
                Some(node) => node.as_number().and_then(Decimal::negated).map(Item::Number).into(),
                None => Nodes::None,
            },
        })
    }

    fn chain(&self, base: &Expr, steps: &[Step], focus: Focus<'_, 'a>) -> Found<'a> {
        let Some((first, rest)) = steps.split_first() else { return self.expr(base, focus) };
        let mut nodes = match base {
            Expr::This => self.step(first, focus.this, focus)?,
            _ => self.step(first, self.expr(base, focus)?.as_slice(), focus)?,
        };
        for step in rest {
            if matches!(nodes, Nodes::None) && step.keeps_empty() {
                continue;
            }
            self.spend(1 + nodes.as_slice().len())?;
            nodes = self.step(step, nodes.as_slice(), focus)?;
        }
        self.spend(1 + nodes.as_slice().len())?;
        Ok(nodes)
    }

    /// One step from `input`. Criteria and projections see each item as their focus; plain arguments see the focus of
    /// the whole path.
    fn step(&self, step: &Step, input: &[Node<'a>], focus: Focus<'_, 'a>) -> Found<'a> {
        let each = |n: usize, node| Focus { this: slice::from_ref(node), index: n };
        Ok(match step {
            Step::Root(name) => match (input, self.context_type) {
                ([node], Some(actual)) if is_same(node, &self.context) => {
                    types::is_resource(actual, name).then(|| Nodes::One(node.clone())).into()
                }
                _ => keep(input, |node| resource_type(node).is_some_and(|actual| types::is_resource(actual, name))),
            },
            Step::Member(member) => {
                let mut found = Nodes::None;
                input.iter().for_each(|node| functions::member(node, member, &mut found));
                found
            }
            Step::At(index) => match single(self.expr(index, focus)?.as_slice())?.and_then(functions::position) {
                Some(n) => input.get(n).cloned().map(Nodes::One).into(),
                None => Nodes::None,
            },
            Step::Where(criterion) => {
                let mut found = Nodes::None;
                for (n, node) in input.iter().enumerate() {
                    if truth(self.expr(criterion, each(n, node))?.as_slice())? == Some(true) {
                        found.push(node.clone());
                    }
                }
                found
            }
            Step::Select(projection) => {
                let mut found = Nodes::None;
                for (n, node) in input.iter().enumerate() {
                    found.extend(self.expr(projection, each(n, node))?);
                }
                found
            }
            Step::Repeat(projection) => return self.repeat(projection, input),
            Step::All(criterion) => {
                for (n, node) in input.iter().enumerate() {
                    if truth(self.expr(criterion, each(n, node))?.as_slice())? != Some(true) {
                        return Ok(false.into());
                    }
                }
                true.into()
            }
            Step::OfType(name) => keep(input, |node| types::is(node, name)),
            Step::Is(name) => single(input)?.map(|node| types::is(node, name)).into(),
            Step::Extension(url) => {
                let url = self.expr(url, focus)?;
                match single(url.as_slice())?.and_then(Node::as_str) {
                    Some(url) => functions::extensions(input, url),
                    None => Nodes::None,
                }
            }
            // Here the focus is the input as a whole, so that `empty()` in the criterion is about all of it.
            Step::Choose(parts) => {
                let whole = Focus { this: input, ..focus };
                match truth(self.expr(&parts.0, whole)?.as_slice())? {
                    Some(true) => return self.expr(&parts.1, whole),
                    _ => return self.expr(&parts.2, whole),
                }
            }
            Step::Substring(start, length) => {
                let start = self.expr(start, focus)?;
                let length = length.as_ref().map(|length| self.expr(length, focus)).transpose()?;
                functions::substring(self, input, start.as_slice(), length.as_ref().map(Nodes::as_slice))?
            }
            Step::Matches(pattern) => match single(input)?.and_then(Node::as_str) {
                Some(text) => {
                    self.spend_text(text.len().saturating_mul(pattern.size()))?;
                    pattern.matches(text).into()
                }
                None => Nodes::None,
            },
            Step::Plain(function) => return functions::plain(self, *function, input),
            Step::Unary(function, argument) => {
                let argument = self.expr(argument, focus)?;
                return functions::unary(self, *function, input, argument);
            }
        })
    }

    /// `repeat`: the projection of the input, of what that yields, and so on until nothing new comes.
    fn repeat(&self, projection: &Expr, input: &[Node<'a>]) -> Found<'a> {
        let mut seen = Seen::default();
        let mut frontier = input.to_vec();
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for (index, node) in frontier.iter().enumerate() {
                let found = self.expr(projection, Focus { this: slice::from_ref(node), index })?;
                self.spend(1 + found.as_slice().len())?;
                next.extend(found.into_vec().into_iter().filter(|node| seen.insert(node)));
            }
            frontier = next;
        }
        Ok(Nodes::Many(seen.into_vec()))
    }

    /// The items without those equal to an earlier one.
    pub(super) fn distinct(&self, nodes: Nodes<'a>) -> Found<'a> {
        let Nodes::Many(many) = nodes else { return Ok(nodes) };
        self.spend(many.len())?;
        Ok(Nodes::Many(many.iter().collect::<Seen>().into_vec()))
    }

    fn binary(&self, operator: Operator, left: &Expr, right: &Expr, focus: Focus<'_, 'a>) -> Found<'a> {
        use Operator::*;
        let flag = |expr| -> Result<Option<bool>, EvalError> { truth(self.expr(expr, focus)?.as_slice()) };
        // Three-valued logic (FHIRPath 2.0 section 6.5); the right side counts only while the left leaves it open.
        let logic = match operator {
            And => match flag(left)? {
                Some(false) => Some(false),
                Some(true) => flag(right)?,
                None => flag(right)?.filter(|right| !right),
            },
            Or => match flag(left)? {
                Some(true) => Some(true),
                Some(false) => flag(right)?,
                None => flag(right)?.filter(|right| *right),
            },
            Implies => match flag(left)? {
                Some(false) => Some(true),
                Some(true) => flag(right)?,
                None => flag(right)?.filter(|right| *right),
            },
            Xor => flag(left)?.zip(flag(right)?).map(|(left, right)| left != right),
            _ => return self.compare(operator, self.expr(left, focus)?, self.expr(right, focus)?),
        };
        Ok(logic.into())
    }

    fn compare(&self, operator: Operator, left: Nodes<'a>, right: Nodes<'a>) -> Found<'a> {
        use Operator::*;
        let (left, right) = (left.as_slice(), right.as_slice());
        let ordered = |accept: fn(Ordering) -> bool| -> Found<'a> {
            Ok(pair(left, right)?.and_then(|(left, right)| order(left, right)).map(accept).into())
        };
        match operator {
            Equal => Ok(all_equal(left, right).into()),
            NotEqual => Ok(all_equal(left, right).map(|equal| !equal).into()),
            Equivalent => self.all_equivalent(left, right).map(Nodes::from),
            NotEquivalent => self.all_equivalent(left, right).map(|equivalent| (!equivalent).into()),
            Less => ordered(Ordering::is_lt),
            LessOrEqual => ordered(Ordering::is_le),
            Greater => ordered(Ordering::is_gt),
            GreaterOrEqual => ordered(Ordering::is_ge),
            In => self.member_of(left, right),
            Contains => self.member_of(right, left),
            _ => functions::arithmetic(self, operator, single(left)?, single(right)?),
        }
    }

    fn member_of(&self, item: &[Node<'a>], items: &[Node<'a>]) -> Found<'a> {
        self.spend(items.len())?;
        Ok(single(item)?.map(|item| items.iter().any(|other| equal(item, other) == Some(true))).into())
    }

    /// `~` disregards the order of the items.
    fn all_equivalent(&self, left: &[Node<'a>], right: &[Node<'a>]) -> Result<bool, EvalError> {
        self.spend(left.len().saturating_mul(right.len()))?;
        let mut open: Vec<&Node> = right.iter().collect();
        let paired = left.len() == right.len()
            && left.iter().all(|node| {
                let found = open.iter().position(|other| equivalent(node, other));
                found.map(|n| open.swap_remove(n)).is_some()
            });
        Ok(paired)
    }
}

/// `=`: empty when a side is, else item by item in order.
fn all_equal(left: &[Node], right: &[Node]) -> Option<bool> {
    if left.is_empty() || right.is_empty() {
        return None;
    }
    if left.len() != right.len() {
        return Some(false);
    }
    let mut all = Some(true);
    for (left, right) in left.iter().zip(right) {
        match equal(left, right) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => all = None,
        }
    }
    all
}

/// The only item, if there is one.
pub(super) fn single<'n, 'a>(nodes: &'n [Node<'a>]) -> Result<Option<&'n Node<'a>>, EvalError> {
    match nodes {
        [] => Ok(None),
        [node] => Ok(Some(node)),
        _ => Err(EvalError::NotSingle),
    }
}

type Pair<'n, 'a> = (&'n Node<'a>, &'n Node<'a>);

fn pair<'n, 'a>(left: &'n [Node<'a>], right: &'n [Node<'a>]) -> Result<Option<Pair<'n, 'a>>, EvalError> {
    Ok(single(left)?.zip(single(right)?))
}

/// A collection as a boolean: a single item that is no boolean counts as true.
pub(super) fn truth(nodes: &[Node]) -> Result<Option<bool>, EvalError> {
    Ok(single(nodes)?.map(|node| node.as_bool().unwrap_or(true)))
}

pub(super) fn keep<'a>(input: &[Node<'a>], fits: impl Fn(&Node<'a>) -> bool) -> Nodes<'a> {
    input.iter().filter(|node| fits(node)).cloned().collect()
}

fn resource_type<'a>(node: &Node<'a>) -> Option<&'a str> {
    let map = node.json()?.as_object()?;
    // It comes first in any resource that keeps to custom, which spares the hash.
    match map.iter().next() {
        Some((key, name)) if key == "resourceType" => name.as_str(),
        _ => map.get("resourceType")?.as_str(),
    }
}

/// True for one and the same element.
fn is_same(left: &Node, right: &Node) -> bool {
    matches!((left.json(), right.json()), (Some(left), Some(right)) if std::ptr::eq(left, right))
}
