//! JSON Patch (RFC 6902) with JSON Pointer (RFC 6901).

use serde_json::Value;

use super::check_count;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::path::same_json;

/// How much all values that a patch sets or copies may come to, in bytes of JSON, roughly.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How deep the result may nest: no deeper than the parser would accept.
const MAX_DEPTH: usize = 127;

/// Applies a JSON Patch document, wholly or not at all. A patch that is no patch is malformed; one that does not fit the
/// resource, a failed `test` included, is invalid; one that would make it grow beyond all measure is too large.
pub fn apply(resource: &mut Value, patch: &Value) -> Result<(), FhirError> {
    let Some(items) = patch.as_array() else {
        return Err(FhirError::malformed("A JSON Patch document is an array of operations."));
    };
    check_count(items.len())?;
    let operations: Vec<_> =
        items.iter().enumerate().map(|(n, item)| Operation::read(n, item)).collect::<Result<_, _>>()?;
    let mut draft = Draft { value: resource.clone(), bytes: 0 };
    for operation in &operations {
        draft.run(operation).map_err(|problem| operation.refuse(problem))?;
    }
    if !draft.value.is_object() {
        return Err(FhirError::new(Kind::Invalid, "The patch leaves something that is no resource."));
    }
    *resource = draft.value;
    Ok(())
}

/// A parsed pointer.
type Pointer = Vec<String>;

struct Operation<'p> {
    index: usize,
    name: &'p str,
    path: &'p str,
    target: Pointer,
    action: Action<'p>,
}

enum Action<'p> {
    Add(&'p Value),
    Remove,
    Replace(&'p Value),
    Move(Pointer),
    Copy(Pointer),
    Test(&'p Value),
}

enum Problem {
    NoTarget,
    NoSource,
    NoMatch,
    TooLarge,
}

impl<'p> Operation<'p> {
    fn read(index: usize, item: &'p Value) -> Result<Self, FhirError> {
        let malformed = |what: &str| FhirError::malformed(format!("Operation {index} of the JSON Patch {what}."));
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        let pointer = |key: &str| {
            let text = text(key).ok_or_else(|| malformed(&format!("has no '{key}' that is a string")))?;
            let parsed =
                parse(text).ok_or_else(|| malformed(&format!("has the '{key}' '{text}', which is no JSON Pointer")))?;
            Ok::<_, FhirError>((text, parsed))
        };
        let value = || item.get("value").ok_or_else(|| malformed("has no 'value'"));
        let name = text("op").ok_or_else(|| malformed("has no 'op' that is a string"))?;
        let (path, target) = pointer("path")?;
        let action = match name {
            "add" => Action::Add(value()?),
            "remove" => Action::Remove,
            "replace" => Action::Replace(value()?),
            "copy" => Action::Copy(pointer("from")?.1),
            "test" => Action::Test(value()?),
            "move" => {
                let (_, from) = pointer("from")?;
                if target.len() > from.len() && target.starts_with(&from) {
                    return Err(malformed(&format!("moves a value into itself, to '{path}'")));
                }
                Action::Move(from)
            }
            _ => return Err(malformed(&format!("has the unknown 'op' '{name}'"))),
        };
        Ok(Self { index, name, path, target, action })
    }

    fn refuse(&self, problem: Problem) -> FhirError {
        let (kind, reason) = match problem {
            Problem::NoTarget => (Kind::Invalid, "there is nothing at the path"),
            Problem::NoSource => (Kind::Invalid, "there is nothing at 'from'"),
            Problem::NoMatch => (Kind::Invalid, "the value at the path is another one"),
            Problem::TooLarge => (Kind::TooLarge, "the result would be too large"),
        };
        let Self { index, name, path, .. } = self;
        FhirError::new(kind, format!("Operation {index} of the JSON Patch ('{name}' at '{path}') failed: {reason}."))
    }
}

/// The resource on its way, and how much was put into it.
struct Draft {
    value: Value,
    bytes: usize,
}

impl Draft {
    fn run(&mut self, operation: &Operation) -> Result<(), Problem> {
        let path = &operation.target;
        match &operation.action {
            Action::Add(value) => {
                self.admit(path, value)?;
                self.put(path, (*value).clone())
            }
            Action::Remove => self.take(path).map(drop).ok_or(Problem::NoTarget),
            Action::Replace(value) => {
                self.admit(path, value)?;
                *at_mut(&mut self.value, path).ok_or(Problem::NoTarget)? = (*value).clone();
                Ok(())
            }
            Action::Move(from) => {
                let value = self.take(from).ok_or(Problem::NoSource)?;
                // The resource grows no larger, but it may grow deeper.
                self.weigh(path, 0, measure(&value).1)?;
                self.put(path, value)
            }
            Action::Copy(from) => {
                // Weighed before it is cloned: a few copies of copies would fill the memory.
                let (bytes, depth) = at(&self.value, from).map(measure).ok_or(Problem::NoSource)?;
                self.weigh(path, bytes, depth)?;
                self.put(path, at(&self.value, from).cloned().ok_or(Problem::NoSource)?)
            }
            Action::Test(value) => match at(&self.value, path) {
                Some(found) if same_json(found, value) => Ok(()),
                Some(_) => Err(Problem::NoMatch),
                None => Err(Problem::NoTarget),
            },
        }
    }

    fn admit(&mut self, path: &[String], value: &Value) -> Result<(), Problem> {
        let (bytes, depth) = measure(value);
        self.weigh(path, bytes, depth)
    }

    fn weigh(&mut self, path: &[String], bytes: usize, depth: usize) -> Result<(), Problem> {
        self.bytes = self.bytes.saturating_add(bytes);
        let fits = self.bytes <= MAX_BYTES && path.len().saturating_add(depth) <= MAX_DEPTH;
        if fits { Ok(()) } else { Err(Problem::TooLarge) }
    }

    fn put(&mut self, path: &[String], value: Value) -> Result<(), Problem> {
        let Some((last, parents)) = path.split_last() else {
            self.value = value;
            return Ok(());
        };
        match at_mut(&mut self.value, parents) {
            Some(Value::Object(map)) => drop(map.insert(last.clone(), value)),
            Some(Value::Array(items)) => {
                let index = if last == "-" { Some(items.len()) } else { index(last) };
                let index = index.filter(|index| *index <= items.len()).ok_or(Problem::NoTarget)?;
                items.insert(index, value);
            }
            _ => return Err(Problem::NoTarget),
        }
        Ok(())
    }

    fn take(&mut self, path: &[String]) -> Option<Value> {
        let Some((last, parents)) = path.split_last() else { return Some(self.value.take()) };
        match at_mut(&mut self.value, parents)? {
            Value::Object(map) => map.shift_remove(last),
            Value::Array(items) => index(last).filter(|index| *index < items.len()).map(|index| items.remove(index)),
            _ => None,
        }
    }
}

/// The reference tokens of a pointer; `None` if it has a bad escape or does not begin with `/`.
fn parse(text: &str) -> Option<Pointer> {
    if text.is_empty() {
        return Some(Pointer::new());
    }
    text.strip_prefix('/')?.split('/').map(unescape).collect()
}

fn unescape(token: &str) -> Option<String> {
    // `~` stands only before 0 or 1, and `~01` is `~1`, so `~0` comes last.
    let good = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    good.then(|| token.replace("~1", "/").replace("~0", "~"))
}

/// An array index: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit());
    if plain { token.parse().ok() } else { None }
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, token| match value {
        Value::Object(map) => map.get(token),
        Value::Array(items) => items.get(index(token)?),
        _ => None,
    })
}

fn at_mut<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, token| match value {
        Value::Object(map) => map.get_mut(token),
        Value::Array(items) => items.get_mut(index(token)?),
        _ => None,
    })
}

/// About how many bytes of JSON a value is, and how many levels of objects and arrays.
fn measure(value: &Value) -> (usize, usize) {
    let add = |(bytes, depth): (usize, usize), value| {
        let (more, below) = measure(value);
        (bytes + more + 1, depth.max(below))
    };
    let (bytes, below) = match value {
        Value::Object(map) => {
            map.iter().fold((2, 0), |(bytes, depth), (key, value)| add((bytes + key.len() + 3, depth), value))
        }
        Value::Array(items) => items.iter().fold((2, 0), add),
        Value::String(text) => return (text.len() + 2, 0),
        Value::Number(number) => return (number.as_str().len(), 0),
        Value::Bool(_) | Value::Null => return (5, 0),
    };
    (bytes, below + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The result, or the status and what the message must contain.
    fn check(patch: Value, want: Result<Value, (u16, &str)>) {
        let before = json!({"resourceType": "Basic", "a": [1, {"b/c": 2}, "x"], "o": {"~": 1.50}});
        let mut resource = before.clone();
        match (apply(&mut resource, &patch), want) {
            (Ok(()), Ok(mut want)) => {
                want["resourceType"] = "Basic".into();
                assert_eq!(resource, want, "{patch}");
            }
            (Err(error), Err((status, text))) => {
                assert_eq!(error.kind.status(), status, "{patch}: {error}");
                assert!(error.to_string().contains(text), "{patch}: {error}");
                assert_eq!(resource, before, "{patch}");
            }
            (got, want) => panic!("{patch}: {got:?}, not {want:?}"),
        }
    }

    #[test]
    fn operations() {
        let o = json!({"~": 1.50});
        let a = json!([1, {"b/c": 2}, "x"]);
        let ok = |patch, want| check(patch, Ok(want));
        ok(json!([]), json!({"a": a, "o": o}));
        ok(json!([{"op": "add", "path": "/a/1", "value": null}]), json!({"a": [1, null, {"b/c": 2}, "x"], "o": o}));
        ok(json!([{"op": "add", "path": "/a/-", "value": 4}]), json!({"a": [1, {"b/c": 2}, "x", 4], "o": o}));
        ok(json!([{"op": "add", "path": "/o", "value": 1}]), json!({"a": a, "o": 1}));
        ok(json!([{"op": "remove", "path": "/a/1/b~1c"}]), json!({"a": [1, {}, "x"], "o": o}));
        ok(json!([{"op": "replace", "path": "/o/~0", "value": 2}]), json!({"a": a, "o": {"~": 2}}));
        ok(json!([{"op": "move", "from": "/a/0", "path": "/a/2"}]), json!({"a": [{"b/c": 2}, "x", 1], "o": o}));
        ok(json!([{"op": "move", "from": "/a", "path": "/a"}]), json!({"a": a, "o": o}));
        ok(json!([{"op": "copy", "from": "/o", "path": "/o/p"}]), json!({"a": a, "o": {"~": 1.50, "p": {"~": 1.50}}}));
        ok(json!([{"op": "test", "path": "/o", "value": {"~": 1.5}}]), json!({"a": a, "o": o}));
        ok(json!([{"op": "replace", "path": "", "value": {"resourceType": "Basic"}}]), json!({}));
    }

    #[test]
    fn failures_leave_the_resource_as_it_was() {
        let first = json!({"op": "remove", "path": "/a"});
        let second = |operation: Value| json!([first, operation]);
        let invalid = |operation, text| check(second(operation), Err((422, text)));
        invalid(
            json!({"op": "test", "path": "/o/~0", "value": 2}),
            "Operation 1 of the JSON Patch ('test' at '/o/~0')",
        );
        invalid(json!({"op": "test", "path": "/q", "value": 2}), "nothing at the path");
        invalid(json!({"op": "remove", "path": "/a"}), "nothing at the path");
        invalid(json!({"op": "replace", "path": "/q", "value": 1}), "nothing at the path");
        invalid(json!({"op": "add", "path": "/q/r", "value": 1}), "nothing at the path");
        invalid(json!({"op": "copy", "from": "/q", "path": "/r"}), "nothing at 'from'");
        invalid(json!({"op": "remove", "path": ""}), "no resource");
        for path in ["/a/4", "/a/01", "/a/x"] {
            check(json!([{"op": "add", "path": path, "value": 1}]), Err((422, path)));
        }
        check(json!([{"op": "remove", "path": "/a/-"}]), Err((422, "'/a/-'")));
        let malformed = |operation, text| check(second(operation), Err((400, text)));
        malformed(json!({"op": "add", "path": "a", "value": 1}), "'a', which is no JSON Pointer");
        malformed(json!({"op": "add", "path": "/~2", "value": 1}), "no JSON Pointer");
        malformed(json!({"op": "add", "path": "/q"}), "no 'value'");
        malformed(json!({"op": "move", "path": "/q"}), "no 'from'");
        malformed(json!({"op": "move", "from": "/o", "path": "/o/p"}), "into itself");
        malformed(json!({"op": "merge", "path": "/o"}), "unknown 'op' 'merge'");
        malformed(json!({"path": "/o"}), "no 'op'");
        malformed(json!(7), "Operation 1 of the JSON Patch has no 'op'");
        check(json!({}), Err((400, "array")));
    }

    #[test]
    fn growth_is_bounded() {
        check(Value::Array(vec![json!({"op": "test", "path": "", "value": 1}); 1001]), Err((413, "1001 operations")));
        let double: Vec<_> = (0..200).map(|n| json!({"op": "copy", "from": "", "path": format!("/c{n}")})).collect();
        check(double.into(), Err((413, "too large")));
        let deepen: Vec<_> = (1..200).map(|n| json!({"op": "copy", "from": "/o", "path": "/o".repeat(n)})).collect();
        check(deepen.into(), Err((413, "too large")));
    }
}
