//! The shape of a parsed expression.

use super::node::Item;
use super::pattern::Pattern;

/// An expression, evaluated against a focus.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    /// `$this`, which is also what a relative path starts from.
    This,
    /// `$index`.
    Index,
    /// `{}`.
    Empty,
    Constant(Item<'static>),
    /// `%resource`.
    Resource,
    /// `%rootResource`.
    RootResource,
    /// `%context`.
    Context,
    /// Steps taken one after the other, from what the expression yields.
    Chain(Box<Expr>, Vec<Step>),
    Union(Vec<Expr>),
    Binary(Operator, Box<(Expr, Expr)>),
    Negate(Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Implies,
    Or,
    Xor,
    And,
    In,
    Contains,
    Equal,
    NotEqual,
    Equivalent,
    NotEquivalent,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Concatenate,
    Multiply,
    Divide,
    WholeDivide,
    Remainder,
}

/// What happens to a collection between two points of a path.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The type name a path begins with.
    Root(Box<str>),
    Member(Member),
    At(Expr),
    Where(Expr),
    Select(Expr),
    Repeat(Expr),
    All(Expr),
    OfType(Box<str>),
    Is(Box<str>),
    Extension(Expr),
    /// `iif`: criterion, result, other result.
    Choose(Box<(Expr, Expr, Expr)>),
    Substring(Expr, Option<Expr>),
    Matches(Pattern),
    Plain(Plain),
    Unary(Unary, Expr),
}

impl Step {
    /// True for a step that makes nothing of nothing.
    pub(super) fn keeps_empty(&self) -> bool {
        matches!(self, Self::Member(_) | Self::Where(_) | Self::Select(_) | Self::OfType(_))
    }
}

/// A property and the name of its sibling, which is the name with `_` before it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: Box<str>,
    pub(super) sibling: Box<str>,
}

impl Member {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), sibling: format!("_{name}").into() }
    }
}

/// Functions without an argument.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plain {
    Exists,
    Empty,
    Not,
    Count,
    First,
    Last,
    Tail,
    Single,
    AllTrue,
    AnyTrue,
    AllFalse,
    AnyFalse,
    Resolve,
    HasValue,
    GetValue,
    Children,
    Descendants,
    Distinct,
    IsDistinct,
    Length,
    Lower,
    Upper,
    Trim,
    ToText,
    ToInteger,
    ToDecimal,
}

/// Functions of one value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unary {
    StartsWith,
    EndsWith,
    Contains,
    IndexOf,
    Skip,
    Take,
    Combine,
    Union,
    Intersect,
    Exclude,
    SubsetOf,
    SupersetOf,
}
