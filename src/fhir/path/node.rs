//! What an evaluation yields: nodes that borrow from the resource, and the small collections they travel in.

use std::slice;
use std::sync::Arc;

use serde_json::Value;

use super::number::Decimal;

/// One value of an evaluation.
#[derive(Clone, Debug)]
pub enum Item<'a> {
    /// An element of the resource. `Value::Null` stands for a primitive that has extensions but no value.
    Element(&'a Value),
    /// What a reference points at, of which only the resource type is known.
    Target(&'a str),
    Boolean(bool),
    Number(Decimal),
    Text(Arc<str>),
    /// A date or time literal, without its `@`.
    Temporal(Arc<str>),
}

/// An item and what its place in the resource says about it.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    pub item: Item<'a>,
    /// The `_name` sibling of a primitive: an object with `id` and `extension` (R4 json.html#primitive).
    pub(super) sibling: Option<&'a Value>,
    /// The type in the name of a choice element: `Period` for `valuePeriod`.
    pub(super) choice: Option<&'a str>,
}

impl<'a> Node<'a> {
    pub fn new(item: Item<'a>) -> Self {
        Self { item, sibling: None, choice: None }
    }

    pub fn element(value: &'a Value) -> Self {
        Self::new(Item::Element(value))
    }

    /// An element where it is: with its `_name` sibling and, if it is a choice, the type at the end of its name. JSON null
    /// stands for a primitive that has extensions but no value.
    pub fn in_property(value: &'a Value, sibling: Option<&'a Value>, choice: Option<&'a str>) -> Self {
        Self { item: Item::Element(value), sibling, choice }
    }

    /// True when the element is of this type, as far as that can be told.
    pub fn is_of_type(&self, name: &str) -> bool {
        super::types::is(self, name)
    }

    /// The element in the resource; `None` for a computed value and for a primitive that has only extensions.
    pub fn json(&self) -> Option<&'a Value> {
        match self.item {
            Item::Element(value) if !value.is_null() => Some(value),
            _ => None,
        }
    }

    /// The type suffix of the property a choice element was found in, in the case it is written there: `Period` for
    /// `valuePeriod`, `DateTime` for `valueDateTime`.
    pub fn choice(&self) -> Option<&'a str> {
        self.choice
    }

    /// The `_name` sibling of a primitive.
    pub fn sibling(&self) -> Option<&'a Value> {
        self.sibling
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.item {
            Item::Element(Value::String(text)) => Some(text),
            Item::Text(text) | Item::Temporal(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.item {
            Item::Element(Value::Bool(flag)) => Some(*flag),
            Item::Boolean(flag) => Some(flag),
            _ => None,
        }
    }

    pub fn as_number(&self) -> Option<Decimal> {
        match &self.item {
            Item::Element(Value::Number(number)) => Decimal::parse(number.as_str()),
            Item::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// True for what has a value of its own rather than child elements.
    pub(super) fn is_primitive(&self) -> bool {
        match self.item {
            Item::Element(value) => value.is_string() || value.is_number() || value.is_boolean(),
            Item::Target(_) => false,
            Item::Boolean(_) | Item::Number(_) | Item::Text(_) | Item::Temporal(_) => true,
        }
    }
}

/// An ordered collection. Most hold none or one, and those are spared the allocation.
#[derive(Clone, Debug, Default)]
pub(super) enum Nodes<'a> {
    #[default]
    None,
    One(Node<'a>),
    Many(Vec<Node<'a>>),
}

impl<'a> Nodes<'a> {
    pub(super) fn push(&mut self, node: Node<'a>) {
        match self {
            Self::None => *self = Self::One(node),
            Self::Many(nodes) => nodes.push(node),
            Self::One(_) => {
                if let Self::One(first) = std::mem::take(self) {
                    *self = Self::Many(vec![first, node]);
                }
            }
        }
    }

    pub(super) fn extend(&mut self, more: Nodes<'a>) {
        match (&mut *self, more) {
            (_, Self::None) => {}
            (Self::None, more) => *self = more,
            (_, Self::One(node)) => self.push(node),
            (Self::Many(nodes), Self::Many(more)) => nodes.extend(more),
            (Self::One(_), Self::Many(more)) => more.into_iter().for_each(|node| self.push(node)),
        }
    }

    pub(super) fn as_slice(&self) -> &[Node<'a>] {
        match self {
            Self::None => &[],
            Self::One(node) => slice::from_ref(node),
            Self::Many(nodes) => nodes,
        }
    }

    pub(super) fn into_vec(self) -> Vec<Node<'a>> {
        match self {
            Self::None => Vec::new(),
            Self::One(node) => vec![node],
            Self::Many(nodes) => nodes,
        }
    }
}

impl<'a> From<Item<'a>> for Nodes<'a> {
    fn from(item: Item<'a>) -> Self {
        Self::One(Node::new(item))
    }
}

impl From<bool> for Nodes<'_> {
    fn from(flag: bool) -> Self {
        Item::Boolean(flag).into()
    }
}

impl<'a, T: Into<Nodes<'a>>> From<Option<T>> for Nodes<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl<'a> From<&[Node<'a>]> for Nodes<'a> {
    fn from(nodes: &[Node<'a>]) -> Self {
        match nodes {
            [] => Self::None,
            [node] => Self::One(node.clone()),
            many => Self::Many(many.to_vec()),
        }
    }
}

impl<'a> FromIterator<Node<'a>> for Nodes<'a> {
    fn from_iter<I: IntoIterator<Item = Node<'a>>>(nodes: I) -> Self {
        let mut all = Self::None;
        nodes.into_iter().for_each(|node| all.push(node));
        all
    }
}
