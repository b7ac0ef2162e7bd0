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
/// Chunks that are read before the verdicts of the first of them are taken.
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
    let read = |send: &dyn Fn(usize, Vec<Unit>) -> ControlFlow<()>| cut(sources, against.unit_bytes_max, &taken, send);
    let judge = |unit: &Unit| judge(validator, against, unit);
    in_order(read, judge, |checked| take(checked, taken.load(Ordering::Relaxed)));
}

/// Judges on several threads what `read` sends in numbered chunks, and takes it in its order.
fn in_order<U: Send, V: Send>(
    read: impl FnOnce(&dyn Fn(usize, Vec<U>) -> ControlFlow<()>) -> ControlFlow<()> + Send,
    judge: impl Fn(&U) -> V + Sync,
    mut take: impl FnMut(V) -> ControlFlow<()>,
) {
    let (work, waiting) = crossbeam_channel::bounded::<(usize, Vec<U>)>(CHUNKS_WAITING);
    let (done, verdicts) = crossbeam_channel::bounded::<(usize, Vec<V>)>(CHUNKS_WAITING);
    // One permit for each chunk that is read, given back when its verdicts are taken: one slow chunk would otherwise let
    // the verdicts of all that come after it pile up.
    let (permit, permits) = crossbeam_channel::bounded::<()>(CHUNKS_WAITING);
    let judge = &judge;
    thread::scope(|scope| {
        // Dropped with this closure, so that a reader who waits for a permit hears that nobody takes any more.
        let permits = permits;
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let (waiting, done) = (waiting.clone(), done.clone());
            scope.spawn(move || {
                for (number, units) in waiting {
                    let checked = units.iter().map(judge).collect();
                    if done.send((number, checked)).is_err() {
                        break;
                    }
                }
            });
        }
        // Who has gone is not waited for: the channels end when the last of the others lets go of them.
        drop((waiting, done));
        scope.spawn(move || {
            let _unwanted = read(&|number, units| {
                let is_wanted = permit.send(()).is_ok() && work.send((number, units)).is_ok();
                if is_wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        });
        let (mut next, mut early) = (0, BTreeMap::new());
        for (number, checked) in verdicts {
            early.insert(number, checked);
            while let Some(checked) = early.remove(&next) {
                next += 1;
                for one in checked {
                    if take(one).is_break() {
                        return;
                    }
                }
                let _given_back = permits.recv();
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
        Err(mut error) => {
            // The readers are those of the server, which call what they read a body; here it is a file, or a line of one.
            for issue in &mut error.issues {
                issue.diagnostics = issue.diagnostics.replacen("The body is", "This is", 1);
            }
            return checked(None, Some(error.issues));
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_slow_first_chunk_holds_the_reader_up() {
        let read = AtomicUsize::new(0);
        let ahead = AtomicUsize::new(0);
        let chunks = |send: &dyn Fn(usize, Vec<usize>) -> ControlFlow<()>| {
            (0..CHUNKS_WAITING * 20).try_for_each(|number| {
                read.fetch_add(1, Ordering::SeqCst);
                send(number, vec![number])
            })
        };
        let judge = |number: &usize| {
            if *number == 0 {
                // Until the reader has read what it may, and then some more turns in which it must not go on.
                let until = Instant::now() + Duration::from_secs(5);
                while read.load(Ordering::SeqCst) < CHUNKS_WAITING && Instant::now() < until {
                    thread::yield_now();
                }
                (0..10_000).for_each(|_| thread::yield_now());
                ahead.store(read.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            *number
        };
        let mut taken = Vec::new();
        in_order(chunks, judge, |number| {
            taken.push(number);
            ControlFlow::Continue(())
        });
        assert!(ahead.load(Ordering::SeqCst) <= CHUNKS_WAITING + 1, "{ahead:?}");
        assert!(taken.iter().copied().eq(0..CHUNKS_WAITING * 20), "in order: {taken:?}");
    }

    #[test]
    fn who_has_enough_ends_it() {
        let chunks = |send: &dyn Fn(usize, Vec<usize>) -> ControlFlow<()>| {
            (0..).try_for_each(|number| send(number, vec![number]))
        };
        let mut taken = 0;
        in_order(
            chunks,
            |number| *number,
            |_| {
                taken += 1;
                if taken < 100 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        );
        assert_eq!(taken, 100);
    }
}
