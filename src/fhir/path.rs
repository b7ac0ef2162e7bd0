//! FHIRPath over JSON: parsed once, evaluated on any number of resources.
//!
//! Search parameters, profile invariants and FHIRPath Patch share this one evaluator. It covers the part of FHIRPath
//! 2.0 that they use, minus quantities, clock functions and what needs a terminology server; what it does not know it
//! refuses to parse. There are no type definitions behind it: see [`Path::evaluate`] for what that means for `is`.

mod ast;
mod compare;
mod eval;
mod functions;
mod lex;
mod node;
mod number;
mod parse;
mod pattern;
mod temporal;
mod types;

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;

use serde_json::Value;

pub use compare::same_json;
pub use node::{Item, Node};
pub use number::Decimal;
pub use types::{is_choice_suffix, type_in_reference};

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Path {
    source: Box<str>,
    expr: ast::Expr,
}

impl Path {
    /// Parses an expression. Refuses what this evaluator does not support, so that it is never silently empty.
    pub fn parse(source: &str) -> Result<Self, PathError> {
        Ok(Self { source: source.into(), expr: parse::parse(source)? })
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates on a resource, which is also `%resource`, `%rootResource` and `%context`. A path may begin with the
    /// resource's type (or `Resource`, `DomainResource`); beginning with another type it is empty.
    ///
    /// A choice element is found by its base name: `value` finds `valuePeriod`, and its nodes are of type `Period`. The
    /// type of any other element is not known; `is`, `as` and `ofType` take it to be what its JSON shape allows, so
    /// every string is a `uri` as well as a `code`. `resolve()` fetches nothing: of a reference to another resource it
    /// knows the type alone, from the reference's text or its `type`.
    pub fn try_evaluate<'a>(&self, resource: &'a Value) -> Result<Vec<Node<'a>>, EvalError> {
        self.evaluate_at(&Node::element(resource), resource, resource)
    }

    /// [`Self::try_evaluate`] for where an expression that fails on some resource has no result there.
    pub fn evaluate<'a>(&self, resource: &'a Value) -> Vec<Node<'a>> {
        self.try_evaluate(resource).unwrap_or_default()
    }

    /// Evaluates on one element. `resource` is the resource it is in and `root` the one that one may be contained in.
    pub fn evaluate_at<'a>(
        &self,
        focus: &Node<'a>,
        resource: &'a Value,
        root: &'a Value,
    ) -> Result<Vec<Node<'a>>, EvalError> {
        eval::Scope::new(focus, resource, root).run(&self.expr).map(node::Nodes::into_vec)
    }

    /// [`Self::try_evaluate`] that takes what it spends from an allowance shared with other evaluations.
    pub fn evaluate_within<'a>(
        &self,
        resource: &'a Value,
        allowance: &mut Allowance,
    ) -> Result<Vec<Node<'a>>, EvalError> {
        let scope = eval::Scope::new(&Node::element(resource), resource, resource).allow(allowance.0);
        let found = scope.run(&self.expr);
        allowance.0 = scope.left();
        found.map(node::Nodes::into_vec)
    }

    /// Evaluates a constraint: true only when the result is a single true, or a single element that is no boolean
    /// (FHIRPath 2.0 section 4.5). A constraint `A implies B` holds where A is not true, even if A is empty: it speaks of
    /// other elements then.
    pub fn holds<'a>(&self, focus: &Node<'a>, resource: &'a Value, root: &'a Value) -> Result<bool, EvalError> {
        let scope = eval::Scope::new(focus, resource, root);
        if let ast::Expr::Binary(ast::Operator::Implies, sides) = &self.expr
            && eval::truth(scope.run(&sides.0)?.as_slice())? != Some(true)
        {
            return Ok(true);
        }
        Ok(eval::truth(scope.run(&self.expr)?.as_slice())? == Some(true))
    }
}

/// The order of two dates or times, each a `date`, `dateTime`, `instant` or `time`; `None` when one is none of these, or when
/// their precision leaves the order open (FHIRPath 2.0 section 6.2).
pub fn compare_times(left: &str, right: &str) -> Option<Ordering> {
    temporal::Temporal::parse(left)?.compare(temporal::Temporal::parse(right)?)
}

/// How many more nodes some evaluations may yield together; at first, as many as a single one may.
#[derive(Clone, Copy, Debug)]
pub struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Self {
        Self(eval::BUDGET)
    }
}

/// Why an expression could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Byte offset in the expression.
    pub position: usize,
    /// What is wrong there, as the rest of a sentence.
    pub message: String,
}

impl PathError {
    fn new(position: usize, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "At character {} of the expression, {}.", self.position + 1, self.message)
    }
}

impl Error for PathError {}

/// Why an evaluation has no result, not even an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// Several items where FHIRPath asks for at most one (FHIRPath 2.0 section 4.5).
    NotSingle,
    /// The evaluation visited more nodes than any sane expression does.
    TooCostly,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSingle => "The expression yields several items where at most one is allowed.",
            Self::TooCostly => "The expression visits too many elements.",
        })
    }
}

impl Error for EvalError {}

#[cfg(test)]
mod tests;
