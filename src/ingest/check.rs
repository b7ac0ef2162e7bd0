//! Validating files without loading them: the same files as an import reads, each resource or Bundle judged by itself.
//!
//! One thread reads and cuts, several validate, and the caller gets the verdicts in the order of the files.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{mem, thread};

use serde_json::Value;

use crate::fhir::definitions::definitions;
use crate::fhir::outcome::Issue;
use crate::fhir::resource::{parse_json, type_name};
use crate::fhir::xml;
use crate::validate::{Enforce, ProfileId, Validator};

use super::reader::{Reader, Unit};
use super::source::Sources;

/// Units and bytes that are validated at one go.
const CHUNK_UNITS: usize = 64;
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks between the reader and the one who takes the verdicts.
const CHUNKS_WAITING: usize = 32;

/// What resources are held to.
#[derive(Clone, Debug)]
pub struct Against {
    pub enforce: Enforce,
    /// Profiles besides those that `enforce` stands for.
    pub profiles: Vec<ProfileId>,
    /// Longer resources are refused without being held in memory.
    pub unit_bytes_max: usize,
}

/// A resource or Bundle, judged.
#[derive(Debug)]
pub struct Checked {
    /// The file, and behind a `!` the member of an archive.
    pub source: Arc<str>,
    /// Where it begins, from 1.
    pub line: u64,
    /// `Type/id`, as far as it has them; `None` when it could not be read.
    pub name: Option<String>,
    /// `None`: of a type that is not known here, in an archive that holds more than directories.
    pub issues: Option<Vec<Issue>>,
}

/// Validates all that is in the sources. `take` gets each verdict, with the bytes read from disk so far, and ends it all by
/// breaking.
pub fn check(
    validator: &Validator,
    sources: &Sources,
    against: &Against,
    mut take: impl FnMut(Checked, u64) -> ControlFlow<()>,
) {
    let taken = AtomicU64::new(0);
    let (work, waiting) = crossbeam_channel::bounded::<(usize, Vec<Unit>)>(CHUNKS_WAITING);
    let (done, verdicts) = crossbeam_channel::bounded::<(usize, Vec<Checked>)>(CHUNKS_WAITING);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let (waiting, done) = (waiting.clone(), done.clone());
            scope.spawn(move || {
                for (number, units) in waiting {
                    let checked = units.iter().map(|unit| judge(validator, against, unit)).collect();
                    if done.send((number, checked)).is_err() {
                        break;
                    }
                }
            });
        }
        // Who has gone is not waited for: the channels end when the last of the others lets go of them.
        drop((waiting, done));
        let taken = &taken;
        scope.spawn(move || {
            let _unwanted = cut(sources, against.unit_bytes_max, taken, |number, units| {
                if work.send((number, units)).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        });
        let (mut next, mut early) = (0, BTreeMap::new());
        for (number, checked) in verdicts {
            early.insert(number, checked);
            while let Some(checked) = early.remove(&next) {
                next += 1;
                for one in checked {
                    if take(one, taken.load(Ordering::Relaxed)).is_break() {
                        return;
                    }
                }
            }
        }
    });
}

/// Reads the sources in order and hands on numbered chunks of units.
fn cut(
    sources: &Sources,
    unit_bytes_max: usize,
    taken: &AtomicU64,
    send: impl Fn(usize, Vec<Unit>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let reader = Reader { unit_bytes_max, taken };
    let (mut units, mut bytes, mut number) = (Vec::new(), 0, 0);
    for source in &sources.files {
        reader.read(source, &mut |unit: Unit| {
            bytes += unit.bytes.as_ref().map_or(0, Vec::len);
            units.push(unit);
            if units.len() < CHUNK_UNITS && bytes < CHUNK_BYTES {
                return ControlFlow::Continue(());
            }
            bytes = 0;
            number += 1;
            send(number - 1, mem::take(&mut units))
        })?;
    }
    if units.is_empty() { ControlFlow::Continue(()) } else { send(number, units) }
}

fn judge(validator: &Validator, against: &Against, unit: &Unit) -> Checked {
    let checked =
        |name: Option<String>, issues| Checked { source: Arc::clone(&unit.source), line: unit.line, name, issues };
    let resource = match &unit.bytes {
        Ok(bytes) if bytes.trim_ascii_start().starts_with(b"<") => xml::from_xml(bytes),
        Ok(bytes) => parse_json(bytes),
        Err(fault) => Err(fault.clone().into()),
    };
    let resource = match resource {
        Ok(resource) => resource,
        Err(error) => return checked(None, Some(error.issues)),
    };
    let name = match type_name(&resource) {
        Ok(name) => name,
        Err(error) => return checked(None, Some(error.issues)),
    };
    let id = resource.get("id").and_then(Value::as_str);
    let shown = id.map_or_else(|| name.to_owned(), |id| format!("{name}/{id}"));
    if unit.source.contains('!') && definitions().resource(name).is_none() {
        return checked(Some(shown), None);
    }
    checked(Some(shown), Some(validator.validate(&resource, against.enforce, &against.profiles).issues))
}
