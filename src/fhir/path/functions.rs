//! Navigation to members, and the functions whose arguments are plain values.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::EvalError;
use super::ast::{Member, Operator, Plain, Unary};
use super::compare::Seen;
use super::eval::{Found, Scope, keep, single, truth};
use super::node::{Item, Node, Nodes};
use super::number::Decimal;
use super::types;

/// Stands for the value of a primitive that has extensions only.
static NO_VALUE: Value = Value::Null;

/// Appends a node's members of one name, arrays flattened, or the choice element with that base name.
pub(super) fn member<'a>(node: &Node<'a>, member: &Member, found: &mut Nodes<'a>) {
    let Some(map) = members(node) else { return };
    let (value, sibling) = property(map, &member.name, &member.sibling);
    if value.is_some() || sibling.is_some() {
        return push_property(value, sibling, None, found);
    }
    // A choice element is the base name and a type, of which there is at most one.
    for key in map.keys() {
        let name = key.strip_prefix('_').unwrap_or(key);
        if let Some(suffix) = name.strip_prefix(&*member.name).filter(|suffix| types::is_choice_suffix(suffix)) {
            let (value, sibling) = property(map, name, &format!("_{name}"));
            return push_property(value, sibling, Some(suffix), found);
        }
    }
}

/// A property and its sibling. Objects are small as a rule, and then one look along the keys is faster than two hashes.
fn property<'a>(map: &'a Map<String, Value>, name: &str, sibling: &str) -> (Option<&'a Value>, Option<&'a Value>) {
    const SMALL: usize = 24;
    if map.len() > SMALL {
        return (map.get(name), map.get(sibling));
    }
    let mut found = (None, None);
    for (key, value) in map {
        if key == name {
            found.0 = Some(value);
        } else if key == sibling {
            found.1 = Some(value);
        }
    }
    found
}

/// What can have members: an object, or the sibling of a primitive.
fn members<'a>(node: &Node<'a>) -> Option<&'a Map<String, Value>> {
    match node.item {
        Item::Element(Value::Object(map)) => Some(map),
        Item::Element(_) => node.sibling?.as_object(),
        _ => None,
    }
}

/// Appends the items of one property together with their siblings.
fn push_property<'a>(
    value: Option<&'a Value>,
    sibling: Option<&'a Value>,
    choice: Option<&'a str>,
    found: &mut Nodes<'a>,
) {
    let mut push = |item: &'a Value, sibling: Option<&'a Value>| {
        let sibling = sibling.filter(|sibling| sibling.is_object());
        // JSON null stands for a missing value in an array; an array in an array is no FHIR.
        if !item.is_array() && (!item.is_null() || sibling.is_some()) {
            found.push(Node { item: Item::Element(item), sibling, choice });
        }
    };
    match (value, sibling) {
        (Some(Value::Array(items)), None | Some(Value::Object(_))) => items.iter().for_each(|item| push(item, None)),
        (None | Some(Value::Array(_)), Some(Value::Array(siblings))) => {
            let items = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for n in 0..items.len().max(siblings.len()) {
                push(items.get(n).unwrap_or(&NO_VALUE), siblings.get(n));
            }
        }
        _ => push(value.unwrap_or(&NO_VALUE), sibling),
    }
}

/// The extensions with a URL, of elements and of primitives.
pub(super) fn extensions<'a>(input: &[Node<'a>], url: &str) -> Nodes<'a> {
    let all = input.iter().filter_map(members).filter_map(|map| map.get("extension")?.as_array()).flatten();
    all.filter(|extension| extension.get("url").and_then(Value::as_str) == Some(url)).map(Node::element).collect()
}

fn children<'a>(node: &Node<'a>, found: &mut Nodes<'a>) {
    let Some(map) = members(node) else { return };
    for key in map.keys().filter(|key| *key != "resourceType") {
        let name = match key.strip_prefix('_') {
            Some(name) if map.contains_key(name) => continue,
            Some(name) => name,
            None => key,
        };
        let (value, sibling) = property(map, name, &format!("_{name}"));
        push_property(value, sibling, None, found);
    }
}

/// Every element below, in document order, without recursion.
fn descendants<'a>(scope: &Scope<'a>, input: &[Node<'a>]) -> Found<'a> {
    let mut found = Vec::new();
    let mut pending: Vec<Node<'a>> = Vec::new();
    let push_children = |node: &Node<'a>, pending: &mut Vec<Node<'a>>| {
        let mut below = Nodes::None;
        children(node, &mut below);
        pending.extend(below.into_vec().into_iter().rev());
    };
    input.iter().rev().for_each(|node| push_children(node, &mut pending));
    while let Some(node) = pending.pop() {
        scope.spend(1)?;
        push_children(&node, &mut pending);
        found.push(node);
    }
    Ok(Nodes::Many(found))
}

/// The contained resource a reference names, or else a node that knows just the type of its target.
fn resolve<'a>(scope: &Scope<'a>, node: &Node<'a>) -> Option<Node<'a>> {
    let json = node.json()?;
    let reference = json.as_str().or_else(|| json.get("reference")?.as_str());
    if let Some(id) = reference.and_then(|reference| reference.strip_prefix('#')) {
        let contained = scope.resource().get("contained")?.as_array()?;
        return contained.iter().find(|it| it.get("id").and_then(Value::as_str) == Some(id)).map(Node::element);
    }
    let named = reference.and_then(types::type_in_reference);
    let name = named.or_else(|| json.get("type")?.as_str())?;
    Some(Node::new(Item::Target(name)))
}

/// A function without an argument.
pub(super) fn plain<'a>(scope: &Scope<'a>, function: Plain, input: &[Node<'a>]) -> Found<'a> {
    let flags = |all: bool, wanted: bool| {
        let mut hits = input.iter().map(|node| node.as_bool() == Some(wanted));
        Ok((if all { hits.all(|hit| hit) } else { hits.any(|hit| hit) }).into())
    };
    let text = |apply: fn(&str) -> String| {
        let Some(text) = single(input)?.and_then(Node::as_str) else { return Ok(Nodes::None) };
        scope.spend_text(text.len())?;
        Ok(Item::Text(apply(text).into()).into())
    };
    match function {
        Plain::Exists => Ok((!input.is_empty()).into()),
        Plain::Empty => Ok(input.is_empty().into()),
        Plain::Not => Ok(truth(input)?.map(|flag| !flag).into()),
        Plain::Count => Ok(Item::Number(Decimal::from(input.len())).into()),
        Plain::First => Ok(input.first().cloned().map(Nodes::One).into()),
        Plain::Last => Ok(input.last().cloned().map(Nodes::One).into()),
        Plain::Tail => Ok(input.get(1..).unwrap_or_default().into()),
        Plain::Single => Ok(single(input)?.cloned().map(Nodes::One).into()),
        Plain::AllTrue => flags(true, true),
        Plain::AnyTrue => flags(false, true),
        Plain::AllFalse => flags(true, false),
        Plain::AnyFalse => flags(false, false),
        Plain::Resolve => Ok(input.iter().filter_map(|node| resolve(scope, node)).collect()),
        Plain::HasValue => Ok(matches!(input, [node] if node.is_primitive()).into()),
        Plain::GetValue => match input {
            [node] if node.is_primitive() => Ok(node.item.clone().into()),
            _ => Ok(Nodes::None),
        },
        Plain::Children => {
            let mut found = Nodes::None;
            input.iter().for_each(|node| children(node, &mut found));
            scope.spend(found.as_slice().len())?;
            Ok(found)
        }
        Plain::Descendants => descendants(scope, input),
        Plain::Distinct => scope.distinct(input.into()),
        Plain::IsDistinct => Ok((scope.distinct(input.into())?.as_slice().len() == input.len()).into()),
        Plain::Length => {
            let length = single(input)?.and_then(Node::as_str).map(|text| text.chars().count());
            Ok(length.map(|length| Item::Number(Decimal::from(length))).into())
        }
        Plain::Lower => text(str::to_lowercase),
        Plain::Upper => text(str::to_uppercase),
        Plain::Trim => text(|text| text.trim().to_owned()),
        Plain::ToText => {
            let text = single(input)?.and_then(to_text);
            scope.spend_text(text.as_ref().map_or(0, |text| text.len()))?;
            Ok(text.map(Item::Text).into())
        }
        Plain::ToInteger => {
            let whole = |number: &Decimal| number.as_integer().is_some();
            Ok(single(input)?.and_then(to_number).filter(whole).map(Item::Number).into())
        }
        Plain::ToDecimal => Ok(single(input)?.and_then(to_number).map(Item::Number).into()),
    }
}

fn to_text(node: &Node) -> Option<Arc<str>> {
    match &node.item {
        Item::Text(text) | Item::Temporal(text) => Some(text.clone()),
        Item::Element(Value::String(text)) => Some(text.as_str().into()),
        Item::Element(Value::Number(number)) => Some(number.as_str().into()),
        Item::Number(number) => Some(number.to_string().into()),
        _ => node.as_bool().map(|flag| if flag { "true" } else { "false" }.into()),
    }
}

fn to_number(node: &Node) -> Option<Decimal> {
    let flag = || node.as_bool().map(|flag| Decimal::from(usize::from(flag)));
    node.as_number().or_else(|| node.as_str().and_then(Decimal::parse)).or_else(flag)
}

/// A function of one value.
pub(super) fn unary<'a>(scope: &Scope<'a>, function: Unary, input: &[Node<'a>], argument: Nodes<'a>) -> Found<'a> {
    let others = argument.as_slice();
    let text = |apply: &dyn Fn(&str, &str) -> Nodes<'a>| -> Found<'a> {
        let (text, other) = (single(input)?, single(others)?);
        let both = text.and_then(Node::as_str).zip(other.and_then(Node::as_str));
        let Some((text, other)) = both else { return Ok(Nodes::None) };
        scope.spend_text(text.len())?;
        Ok(apply(text, other))
    };
    let count = || -> Result<usize, EvalError> {
        Ok(single(others)?
            .and_then(Node::as_number)
            .and_then(Decimal::as_integer)
            .map_or(0, |n| usize::try_from(n.max(0)).unwrap_or(usize::MAX)))
    };
    let combined = || {
        let mut all = Nodes::from(input);
        all.extend(argument.clone());
        all
    };
    let set = |nodes: &[Node<'a>]| -> Result<Seen<'a>, EvalError> {
        scope.spend(nodes.len())?;
        Ok(nodes.iter().collect())
    };
    match function {
        Unary::StartsWith => text(&|text, other| text.starts_with(other).into()),
        Unary::EndsWith => text(&|text, other| text.ends_with(other).into()),
        Unary::Contains => text(&|text, other| text.contains(other).into()),
        Unary::IndexOf => text(&|text, other| {
            let before = text.find(other).and_then(|at| text.get(..at));
            let index = before.map_or(Decimal::from(1).negated(), |before| Some(Decimal::from(before.chars().count())));
            index.map(Item::Number).into()
        }),
        Unary::Skip => Ok(input.get(count()?..).unwrap_or_default().into()),
        Unary::Take => Ok(input.get(..count()?).unwrap_or(input).into()),
        Unary::Combine => Ok(combined()),
        Unary::Union => scope.distinct(combined()),
        Unary::Intersect => {
            let other = set(others)?;
            scope.distinct(keep(input, |node| other.has(node)))
        }
        Unary::Exclude => {
            let other = set(others)?;
            Ok(keep(input, |node| !other.has(node)))
        }
        Unary::SubsetOf => {
            let other = set(others)?;
            Ok(input.iter().all(|node| other.has(node)).into())
        }
        Unary::SupersetOf => {
            let own = set(input)?;
            Ok(others.iter().all(|node| own.has(node)).into())
        }
    }
}

/// A node as an index into a collection or a text.
pub(super) fn position(node: &Node) -> Option<usize> {
    usize::try_from(node.as_number()?.as_integer()?).ok()
}

/// `substring(start, length)`, in characters; empty when the start lies outside.
pub(super) fn substring<'a>(
    scope: &Scope<'a>,
    input: &[Node<'a>],
    start: &[Node<'a>],
    length: Option<&[Node<'a>]>,
) -> Found<'a> {
    let text = single(input)?.and_then(Node::as_str);
    let start = single(start)?.and_then(position);
    let length = match length {
        Some(length) => single(length)?.map_or(usize::MAX, |length| position(length).unwrap_or(0)),
        None => usize::MAX,
    };
    let Some((text, start)) = text.zip(start) else { return Ok(Nodes::None) };
    scope.spend_text(text.len())?;
    let Some((from, _)) = text.char_indices().nth(start) else { return Ok(Nodes::None) };
    let part: String = text.get(from..).unwrap_or_default().chars().take(length).collect();
    Ok(Item::Text(part.into()).into())
}

/// An arithmetic operator or a concatenation; empty with an empty operand, on overflow and for a division by zero.
pub(super) fn arithmetic<'a>(
    scope: &Scope<'a>,
    operator: Operator,
    left: Option<&Node<'a>>,
    right: Option<&Node<'a>>,
) -> Found<'a> {
    let texts = (left.and_then(Node::as_str), right.and_then(Node::as_str));
    let text = match (operator, texts) {
        (Operator::Concatenate, (left, right)) => Some((left.unwrap_or_default(), right.unwrap_or_default())),
        (Operator::Add, (Some(left), Some(right))) => Some((left, right)),
        _ => None,
    };
    if let Some((left, right)) = text {
        scope.spend_text(left.len() + right.len())?;
        return Ok(Item::Text([left, right].concat().into()).into());
    }
    let (Some(left), Some(right)) = (left.and_then(Node::as_number), right.and_then(Node::as_number)) else {
        return Ok(Nodes::None);
    };
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => right.negated().and_then(|right| left.checked_add(right)),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        Operator::WholeDivide => left.whole_div(right),
        Operator::Remainder => left.remainder(right),
        _ => None,
    };
    Ok(result.map(Item::Number).into())
}
