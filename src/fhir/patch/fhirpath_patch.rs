//! FHIRPath Patch: a Parameters resource of operations on elements that FHIRPath selects (R4 fhirpatch.html).

use serde_json::{Map, Value};

use super::check_count;
use super::place::{self, Content, Place, Segment};
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::path::{Allowance, Node, Path, is_choice_suffix};

/// Says of a dotted path of JSON names from a type, such as `Practitioner.name.given`, whether it is a list; `None` when
/// there is no such element. Choice elements go by their full names: `Patient.deceasedBoolean` is an element and
/// `Patient.deceased` is none.
pub type IsList<'d> = dyn Fn(&str) -> Option<bool> + 'd;

/// Applies the operations in order, each to the result of the one before, wholly or not at all.
///
/// A Parameters resource that is no patch, or a path that is no FHIRPath, is malformed. An operation that does not fit
/// the resource is invalid; so is one that changes the type, the id, `meta.versionId` or `meta.lastUpdated`.
pub fn apply(resource: &mut Value, parameters: &Value, is_list: &IsList) -> Result<(), FhirError> {
    let operations = read(parameters)?;
    let mut draft = Draft { value: resource.clone(), is_list, allowance: Allowance::default() };
    for (n, operation) in operations.iter().enumerate() {
        draft.run(operation).map_err(|problem| operation.refuse(n, problem))?;
        if identity(&draft.value) != identity(resource) {
            return Err(operation.refuse(n, invalid("it would change the type, the id or the version of the resource")));
        }
    }
    *resource = draft.value;
    Ok(())
}

/// What the server alone decides on.
fn identity(resource: &Value) -> [Option<&Value>; 4] {
    ["/resourceType", "/id", "/meta/versionId", "/meta/lastUpdated"].map(|pointer| resource.pointer(pointer))
}

struct Operation<'p> {
    path: Path,
    action: Action<'p>,
}

enum Action<'p> {
    Add { name: &'p str, value: Source<'p> },
    Insert { index: usize, value: Source<'p> },
    Delete,
    Replace { value: Source<'p> },
    Move { source: usize, destination: usize },
}

/// Where the value of an operation comes from.
#[derive(Clone, Copy)]
enum Source<'p> {
    /// `value[x]`, with the type its name ends in.
    Typed {
        suffix: &'p str,
        value: Option<&'p Value>,
        sibling: Option<&'p Value>,
    },
    /// Parts that are the children of an element whose type has no name.
    Parts(&'p [Value]),
    Resource(&'p Value),
}

struct Problem {
    kind: Kind,
    reason: String,
}

fn invalid(reason: impl Into<String>) -> Problem {
    Problem { kind: Kind::Invalid, reason: reason.into() }
}

fn malformed(reason: impl Into<String>) -> Problem {
    Problem { kind: Kind::Malformed, reason: reason.into() }
}

impl Action<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Insert { .. } => "insert",
            Self::Delete => "delete",
            Self::Replace { .. } => "replace",
            Self::Move { .. } => "move",
        }
    }
}

impl Operation<'_> {
    fn refuse(&self, n: usize, problem: Problem) -> FhirError {
        let (action, path, reason) = (self.action.name(), self.path.source(), problem.reason);
        let message = format!("Operation {n} of the FHIRPath Patch ('{action}' at '{path}') failed: {reason}.");
        FhirError::new(problem.kind, message)
    }
}

/// All operations of the Parameters resource, so that a malformed one is refused before any is applied.
fn read(parameters: &Value) -> Result<Vec<Operation<'_>>, FhirError> {
    if parameters.get("resourceType").and_then(Value::as_str) != Some("Parameters") {
        return Err(FhirError::malformed("A FHIRPath Patch is a Parameters resource."));
    }
    if parameters.get("parameter").is_some_and(|list| !list.is_array()) {
        return Err(FhirError::malformed("Parameters.parameter is a list.").at("Parameters.parameter"));
    }
    let all = items(parameters, "parameter");
    check_count(all.len())?;
    let read = |(n, parameter)| {
        read_operation(parameter).map_err(|problem| {
            FhirError::new(problem.kind, format!("Operation {n} of the FHIRPath Patch {}.", problem.reason))
        })
    };
    all.iter().enumerate().map(read).collect()
}

fn read_operation(parameter: &Value) -> Result<Operation<'_>, Problem> {
    if name_of(parameter) != Some("operation") {
        return Err(malformed("is a parameter that is not named 'operation'"));
    }
    let part = |name: &str| items(parameter, "part").iter().find(|part| name_of(part) == Some(name));
    let text = |name: &str, keys: [&str; 2]| {
        let found = part(name).and_then(|part| keys.iter().find_map(|key| part.get(key)?.as_str()));
        found.ok_or_else(|| malformed(format!("has no part '{name}' with a {}", keys[0])))
    };
    let integer = |name: &str| {
        let found =
            part(name).and_then(|part| part.get("valueInteger")?.as_u64()).and_then(|n| usize::try_from(n).ok());
        found.ok_or_else(|| malformed(format!("has no part '{name}' with a valueInteger from 0")))
    };
    let value = || match part("value") {
        Some(part) => Source::read(part),
        None => Err(malformed("has no part 'value'")),
    };
    let action = match text("type", ["valueCode", "valueString"])? {
        "add" => Action::Add { name: text("name", ["valueString", "valueCode"])?, value: value()? },
        "insert" => Action::Insert { index: integer("index")?, value: value()? },
        "delete" => Action::Delete,
        "replace" => Action::Replace { value: value()? },
        "move" => Action::Move { source: integer("source")?, destination: integer("destination")? },
        other => return Err(malformed(format!("has the unknown type '{other}'"))),
    };
    let path = text("path", ["valueString", "valueExpression"])?;
    match Path::parse(path) {
        Ok(path) => Ok(Operation { path, action }),
        Err(error) => Err(malformed(format!("has the path '{path}', which cannot be used: {error}"))),
    }
}

fn items<'p>(value: &'p Value, key: &str) -> &'p [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn name_of(parameter: &Value) -> Option<&str> {
    parameter.get("name")?.as_str()
}

impl<'p> Source<'p> {
    fn read(part: &'p Value) -> Result<Self, Problem> {
        let map = part.as_object().ok_or_else(|| malformed("has a part that is no object"))?;
        let suffix = |key: &'p String| {
            let suffix = key.strip_prefix('_').unwrap_or(key).strip_prefix("value")?;
            is_choice_suffix(suffix).then_some(suffix)
        };
        if let Some(suffix) = map.keys().find_map(suffix) {
            let name = format!("value{suffix}");
            return Ok(Self::Typed { suffix, value: map.get(&name), sibling: map.get(&format!("_{name}")) });
        }
        match (map.get("resource"), map.get("part").and_then(Value::as_array)) {
            (Some(resource), _) => Ok(Self::Resource(resource)),
            (None, Some(parts)) => Ok(Self::Parts(parts)),
            (None, None) => Err(malformed("has a value that is neither a value[x] nor made of parts")),
        }
    }

    fn suffix(self) -> Option<&'p str> {
        match self {
            Self::Typed { suffix, .. } => Some(suffix),
            Self::Parts(_) | Self::Resource(_) => None,
        }
    }
}

/// The resource on its way.
struct Draft<'d> {
    value: Value,
    is_list: &'d IsList<'d>,
    allowance: Allowance,
}

impl Draft<'_> {
    fn run(&mut self, operation: &Operation) -> Result<(), Problem> {
        let nodes = operation.path.evaluate_within(&self.value, &mut self.allowance);
        let nodes = nodes.map_err(|error| invalid(format!("its path has no value: {error}")))?;
        let Some(node) = nodes.first() else {
            return match operation.action {
                Action::Delete => Ok(()),
                _ => Err(invalid("its path selects nothing")),
            };
        };
        let is_root = node.json().is_some_and(|value| std::ptr::eq(value, &self.value));
        let first = if is_root { None } else { Place::find(&self.value, node) };
        if !is_root && first.is_none() {
            return Err(invalid("its path selects no element of the resource"));
        }
        let choice = node.choice().map(str::to_owned);
        let one = || match nodes.len() {
            1 => Ok(()),
            many => Err(invalid(format!("its path selects {many} elements"))),
        };
        match (&operation.action, first) {
            (Action::Add { name, value }, parent) => {
                one()?;
                self.add(parent, name, *value)
            }
            (_, None) => Err(invalid("its path selects the resource itself")),
            (Action::Delete, Some(target)) => {
                one()?;
                place::remove(&mut self.value, target);
                Ok(())
            }
            (Action::Replace { value }, Some(target)) => {
                one()?;
                self.replace(target, choice.as_deref(), *value)
            }
            (Action::Insert { index, value }, Some(target)) => {
                let length = self.list(&target, &nodes)?;
                if *index > length {
                    return Err(invalid(format!("index {index} is beyond the list of {length}")));
                }
                let content = self.content(*value, &Place::type_path(&self.value, &target.way()))?;
                place::insert(self.object(&target.object)?, &target.name, *index, content);
                Ok(())
            }
            (Action::Move { source, destination }, Some(target)) => {
                let length = self.list(&target, &nodes)?;
                if *source.max(destination) >= length {
                    return Err(invalid(format!("the list has {length} elements only")));
                }
                place::relocate(self.object(&target.object)?, &target.name, *source, *destination);
                Ok(())
            }
        }
    }

    fn object(&mut self, way: &[Segment]) -> Result<&mut Map<String, Value>, Problem> {
        place::object_mut(&mut self.value, way).ok_or_else(|| invalid("its path selects no element of an object"))
    }

    /// The length of the list whose items the path selected, all of them and nothing else.
    fn list(&self, first: &Place, selected: &[Node]) -> Result<usize, Problem> {
        let object = place::at(&self.value, &first.object);
        let items = object.map_or(&[][..], |object| items(object, &first.name));
        let is = |(item, node): (&Value, &Node)| node.json().map_or(item.is_null(), |value| std::ptr::eq(value, item));
        if items.len() == selected.len() && items.iter().zip(selected).all(is) {
            return Ok(items.len());
        }
        Err(invalid("its path does not select one whole list"))
    }

    fn add(&mut self, parent: Option<Place>, name: &str, value: Source) -> Result<(), Problem> {
        let way = match parent {
            None => Vec::new(),
            Some(parent) => {
                let way = parent.way();
                // The children of a primitive, which are `id` and `extension`, are in its sibling.
                if place::at(&self.value, &way).is_some_and(Value::is_object) {
                    way
                } else {
                    self.open_sibling(parent)?
                }
            }
        };
        let type_path = Place::type_path(&self.value, &way);
        let content = |draft: &Self, key: &str| draft.content(value, &format!("{type_path}.{key}"));
        let map = place::at(&self.value, &way).and_then(Value::as_object);
        let map = map.ok_or_else(|| invalid("its path selects no element of an object"))?;
        let key = self.key(map, &type_path, name, value.suffix())?;
        let repeats = (self.is_list)(&format!("{type_path}.{key}"));
        let repeats = repeats.unwrap_or_else(|| map.get(&key).is_some_and(Value::is_array));
        let content = content(self, &key)?;
        match place::append(self.object(&way)?, &key, content, repeats) {
            true => Ok(()),
            false => Err(invalid(format!("there is a '{key}' already, and it does not repeat"))),
        }
    }

    /// The way to the sibling object of a primitive, which is made if need be.
    fn open_sibling(&mut self, primitive: Place) -> Result<Vec<Segment>, Problem> {
        let map = self.object(&primitive.object)?;
        let sibling = format!("_{}", primitive.name);
        let present = map.get(&sibling).and_then(|found| match primitive.index {
            Some(index) => found.get(index),
            None => Some(found),
        });
        if !present.is_some_and(Value::is_object) {
            let value = map.get(&primitive.name).and_then(|found| match primitive.index {
                Some(index) => found.get(index),
                None => Some(found),
            });
            let content = Content { value: value.cloned(), sibling: Some(Value::Object(Map::new())) };
            place::set(map, &primitive.name, primitive.index, content);
        }
        Ok(Place { name: sibling, ..primitive }.way())
    }

    fn replace(&mut self, target: Place, choice: Option<&str>, value: Source) -> Result<(), Problem> {
        let content = self.content(value, &Place::type_path(&self.value, &target.way()))?;
        let map = self.object(&target.object)?;
        // A choice element changes its name with its type.
        let renamed = choice
            .zip(value.suffix())
            .filter(|(old, new)| old != new)
            .and_then(|(old, new)| target.name.strip_suffix(old).map(|base| format!("{base}{new}")));
        if let Some(renamed) = renamed {
            place::set(map, &target.name, target.index, Content::default());
            place::set(map, &renamed, target.index, content);
        } else {
            place::set(map, &target.name, target.index, content);
        }
        Ok(())
    }

    /// The JSON name of an element to be added: its own, or for a choice element with the type at the end.
    fn key(
        &self,
        map: &Map<String, Value>,
        type_path: &str,
        name: &str,
        suffix: Option<&str>,
    ) -> Result<String, Problem> {
        let base = name.strip_suffix("[x]").unwrap_or(name);
        if !base.starts_with(|c: char| c.is_ascii_lowercase()) || !base.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(malformed(format!("'{name}' is no name of an element")));
        }
        let is_element = |key: &str| (self.is_list)(&format!("{type_path}.{key}")).is_some();
        let Some(full) = suffix.map(|suffix| format!("{base}{suffix}")) else { return Ok(base.to_owned()) };
        let is_choice = base.len() < name.len() || !is_element(base) && is_element(&full);
        if !is_choice {
            return Ok(base.to_owned());
        }
        let present = map.keys().find(|key| {
            let key = key.strip_prefix('_').unwrap_or(key);
            key != full && key.strip_prefix(base).is_some_and(is_choice_suffix)
        });
        match present {
            Some(present) => Err(invalid(format!("there is a '{present}' already, and '{base}' does not repeat"))),
            None => Ok(full),
        }
    }

    /// The JSON of a value, for the element of that type path.
    fn content(&self, source: Source, type_path: &str) -> Result<Content, Problem> {
        let parts = match source {
            Source::Typed { value, sibling, .. } => {
                return Ok(Content { value: value.cloned(), sibling: sibling.cloned() });
            }
            Source::Resource(resource) => return Ok(Content { value: Some(resource.clone()), sibling: None }),
            Source::Parts(parts) => parts,
        };
        let mut map = Map::new();
        for part in parts {
            let name = name_of(part).ok_or_else(|| malformed("it has a part without a name"))?;
            let source = Source::read(part)?;
            let key = self.key(&map, type_path, name, source.suffix())?;
            let path = format!("{type_path}.{key}");
            let again = || parts.iter().filter(|part| name_of(part) == Some(name)).nth(1).is_some();
            let repeats = (self.is_list)(&path).unwrap_or_else(again);
            if !place::append(&mut map, &key, self.content(source, &path)?, repeats) {
                return Err(invalid(format!("it has several parts '{name}', which does not repeat")));
            }
        }
        match map.is_empty() {
            true => Err(malformed("its value is empty")),
            false => Ok(Content { value: Some(Value::Object(map)), sibling: None }),
        }
    }
}

#[cfg(test)]
mod tests;
