//! transaction (R4 http.html#transaction): all entries or none.
//!
//! The outcome does not depend on the order of the entries: conditions are decided as if the deletions were done, ids
//! given and links rewritten, conditional references resolved as if all was stored, so that they find what the same
//! transaction makes; then everything is written together, and reads come last.

mod conditions;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource;
use crate::fhir::types::ResourceType;
use crate::search::parse::Handling;
use crate::search::value::Target;
use crate::store::View;
use crate::store::conn::Conn;

use super::access;
use super::answer::Answer;
use super::batch::{ANSWER_BYTES_MAX, too_much, unless_known};
use super::bundle::{self, Call, Entry, Get, What, locate, within};
use super::condition::Matched;
use super::create::{self, new_id};
use super::expected::Expected;
use super::patch::{self, Document};
use super::read::{read_in, vread_in};
use super::rewrite::{Names, conditional_references, rewrite};
use super::update::{check_id, conditional_id, expected_where};
use super::write::{self, Put};
use super::{capability, delete, search};
use conditions::{decide_conditions, resolve_conditional_references};

/// An entry whose resource has a name: everything about it is decided but what is stored.
#[derive(Clone, Debug)]
enum Step {
    /// A resource to store, by POST or PUT.
    Store {
        target: Target,
        body: Arc<Value>,
        expected: Option<Expected>,
        is_create: bool,
    },
    /// A conditional create whose resource is there already.
    Found(Target),
    Patch {
        target: Target,
        document: Document,
        expected: Option<Expected>,
    },
    Delete(Vec<Put>),
    Get(Get),
}

/// Does all that the entries say, or nothing: 200 with a response for each, in their order.
///
/// # Errors
/// The first refusal, located in its entry.
pub async fn transaction(
    app: &Arc<App>,
    caller: &Caller,
    mut bundle: Value,
    base: &str,
    with_resources: bool,
) -> Result<Answer, FhirError> {
    let entries = bundle::entries(app, caller, &mut bundle)?.into_iter();
    let entries = entries.collect::<Result<Vec<Entry>, _>>().map_err(|unread| unread.error)?;
    check_access(app, caller, &entries)?;
    let (door, who, base_url) = (Arc::clone(app), caller.clone(), base.to_owned());
    // What only reads keeps no writer busy, and ends when a search would.
    let is_reading = entries.iter().all(|entry| matches!(entry.call, Call::Get(_)));
    // Without conditions and patches everything is known here, and the writer only has to write.
    let answers = if is_reading {
        let steps = Arc::new(decide_all(&entries)?);
        let read = async move |conn: &mut Conn| read_all(&door, &who, conn, &steps, &base_url).await;
        app.store.search(View::Snapshot, read).await?
    } else if entries.iter().all(|entry| is_unconditional(&entry.call)) {
        let steps = decide_all(&entries)?;
        let full_urls: Vec<Option<String>> = entries.into_iter().map(|entry| entry.full_url).collect();
        let steps = with_links(&full_urls, steps)?;
        let writes = prepare_all(app, caller, &steps)?;
        app.store
            .write(async move |conn: &mut Conn| finish(&door, &who, conn, &steps, &writes, &base_url).await)
            .await?
    } else {
        app.store.write(async move |conn: &mut Conn| run(&door, &who, conn, &entries, &base_url).await).await?
    };
    let responses = answers
        .iter()
        .map(|(answer, is_get)| bundle::response_entry(base, answer, *is_get || with_resources))
        .collect::<Vec<Vec<u8>>>();
    Ok(bundle::response_bundle("transaction-response", base, &responses))
}

fn is_unconditional(call: &Call) -> bool {
    match call {
        Call::Create { condition: None, body, .. } | Call::Update { body, .. } => {
            let mut references = Vec::new();
            conditional_references(body, &mut references);
            references.is_empty()
        }
        Call::Delete { .. } | Call::Get(_) => true,
        _ => false,
    }
}

/// The steps of entries that need no look at the database.
fn decide_all(entries: &[Entry]) -> Result<Vec<Step>, FhirError> {
    entries.iter().enumerate().map(|(n, entry)| decide(&entry.call, None).map_err(|error| within(error, n))).collect()
}

/// What an entry comes to, given what its condition found.
fn decide(call: &Call, matched: Option<Matched>) -> Result<Step, FhirError> {
    let matched = || matched.clone().unwrap_or(Matched::None);
    Ok(match call {
        Call::Create { resource_type, body, condition } => {
            let resource_type = *resource_type;
            match (condition, matched()) {
                (Some(condition), Matched::Many) => return Err(condition.ambiguous()),
                (Some(_), Matched::One(id)) => Step::Found(Target { resource_type, id }),
                _ => Step::Store {
                    target: Target { resource_type, id: new_id() },
                    body: body.clone(),
                    expected: None,
                    is_create: true,
                },
            }
        }
        Call::Update { resource_type, id, body, expected } => {
            check_id(body, id)?;
            let target = Target { resource_type: *resource_type, id: id.clone() };
            Step::Store { target, body: body.clone(), expected: *expected, is_create: false }
        }
        Call::UpdateWhere { resource_type, condition, body, expected } => {
            let expected = expected_where(&matched(), *expected);
            let id = conditional_id(condition, matched(), resource::id(body)?, &new_id())?;
            let target = Target { resource_type: *resource_type, id };
            Step::Store { target, body: body.clone(), expected, is_create: false }
        }
        Call::Patch { resource_type, id, document, expected } => {
            let target = Target { resource_type: *resource_type, id: id.clone() };
            Step::Patch { target, document: document.clone(), expected: *expected }
        }
        Call::PatchWhere { resource_type, condition, document, expected } => {
            let target = Target { resource_type: *resource_type, id: patch::matching(condition, matched())? };
            Step::Patch { target, document: document.clone(), expected: *expected }
        }
        Call::Delete { resource_type, id, expected } => {
            Step::Delete(vec![delete::deletion(Target { resource_type: *resource_type, id: id.clone() }, *expected)])
        }
        // Decided by `run`, which knows what it selects.
        Call::DeleteWhere { .. } => Step::Delete(Vec::new()),
        Call::Get(get) => Step::Get(get.clone()),
    })
}

/// Checks that no resource is written twice, and rewrites the links between entries.
fn with_links(full_urls: &[Option<String>], mut steps: Vec<Step>) -> Result<Vec<Step>, FhirError> {
    let mut written = HashSet::new();
    let mut names = Names::new();
    for (n, (full_url, step)) in full_urls.iter().zip(&steps).enumerate() {
        let targets: Vec<&Target> = match step {
            Step::Store { target, .. } | Step::Patch { target, .. } => vec![target],
            Step::Delete(puts) => puts.iter().map(|put| &put.target).collect(),
            Step::Found(_) | Step::Get(_) => Vec::new(),
        };
        for target in targets {
            if !written.insert(target.clone()) {
                let sentence =
                    format!("{}/{} is written by two entries of this transaction.", target.resource_type, target.id);
                return Err(within(FhirError::malformed(sentence).code(IssueCode::Duplicate), n));
            }
        }
        if let (Some(full_url), Step::Store { target, .. } | Step::Found(target)) = (full_url, step) {
            let name = format!("{}/{}", target.resource_type, target.id);
            // Entries refer to one another also by relative URLs under a common base.
            if let Some(relative) = relative_part(full_url) {
                names.insert(relative.to_owned(), name.clone());
            }
            if names.insert(full_url.clone(), name).is_some() {
                let sentence = format!("The fullUrl {} is used by two entries.", resource::excerpt(full_url));
                return Err(within(FhirError::malformed(sentence).code(IssueCode::Duplicate), n));
            }
        }
    }
    for step in &mut steps {
        match step {
            Step::Store { body, .. } => rewrite(Arc::make_mut(body), &names),
            Step::Patch { document: Document::FhirPath(parameters), .. } => rewrite(parameters, &names),
            _ => {}
        }
    }
    Ok(steps)
}

/// `Type/id` at the end of an absolute URL.
fn relative_part(full_url: &str) -> Option<&str> {
    let (rest, id) = full_url.rsplit_once('/')?;
    let (base, name) = rest.rsplit_once('/')?;
    let at = base.len() + 1;
    (base.contains("://") && crate::fhir::types::is_type_name(name) && crate::fhir::types::is_id(id))
        .then(|| full_url.get(at..))
        .flatten()
}

/// The most issues that a refused transaction is answered with.
const ISSUES_MAX: usize = 1000;

/// All writes of a transaction, and the entries they come from.
#[derive(Default)]
struct Writes {
    puts: Vec<Put>,
    entries: Vec<usize>,
}

impl Writes {
    fn add(&mut self, entry: usize, put: Put) {
        self.puts.push(put);
        self.entries.push(entry);
    }

    /// Adds the patches. No resource is written twice, so what is stored now is what they change.
    async fn add_patches(
        &mut self,
        app: &App,
        caller: &Caller,
        conn: &mut Conn,
        steps: &[Step],
    ) -> Result<(), FhirError> {
        for (n, step) in steps.iter().enumerate() {
            if let Step::Patch { target, document, expected } = step {
                let patched =
                    patch::patch_in(app, caller, conn, target.resource_type, &target.id, document, *expected).await;
                self.add(n, patched.map_err(|error| within(error, n))?);
            }
        }
        Ok(())
    }
}

/// The writes of all steps but the patches, for which one has to know what is stored.
///
/// # Errors
/// The first refusal; for resources that are not valid, one with the issues of them all.
fn prepare_all(app: &App, caller: &Caller, steps: &[Step]) -> Result<Writes, FhirError> {
    let mut writes = Writes::default();
    let mut invalid = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Store { target, body, expected, is_create } => {
                let access = if *is_create { Access::CREATE } else { Access::UPDATE };
                let prepared = write::prepare(app, caller, access, target.resource_type, Arc::clone(body));
                match prepared.map_err(|error| within(error, n)) {
                    Ok(resource) => {
                        let (target, expected, is_create) = (target.clone(), *expected, *is_create);
                        writes.add(n, Put { target, resource: Some(resource), expected, is_create });
                    }
                    Err(error) if error.kind == Kind::Invalid => invalid.extend(error.issues),
                    Err(error) => return Err(error),
                }
                if invalid.len() > ISSUES_MAX {
                    invalid.truncate(ISSUES_MAX);
                    let sentence = "There are more issues than are listed here";
                    invalid.push(Issue::error(IssueCode::TooCostly, sentence).at("Bundle"));
                    break;
                }
            }
            Step::Delete(deletions) => deletions.iter().for_each(|put| writes.add(n, put.clone())),
            Step::Found(_) | Step::Patch { .. } | Step::Get(_) => {}
        }
    }
    if invalid.is_empty() { Ok(writes) } else { Err(FhirError::with_issues(Kind::Invalid, invalid)) }
}

async fn run(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    entries: &[Entry],
    base: &str,
) -> Result<Vec<(Answer, bool)>, FhirError> {
    let mut deletions = Vec::with_capacity(entries.len());
    for (n, entry) in entries.iter().enumerate() {
        let puts = match &entry.call {
            Call::DeleteWhere { resource_type, condition, expected } => {
                delete::deletions(app, conn, *resource_type, condition, *expected).await.map(Some)
            }
            Call::Delete { resource_type, id, expected } => {
                Ok(Some(vec![delete::deletion(Target { resource_type: *resource_type, id: id.clone() }, *expected)]))
            }
            _ => Ok(None),
        };
        deletions.push(puts.map_err(|error| within(error, n))?);
    }
    let matches = decide_conditions(app, caller, conn, entries, &deletions).await?;
    let mut steps = Vec::with_capacity(entries.len());
    let mut made: HashMap<(ResourceType, &str), Target> = HashMap::new();
    for (n, ((entry, deletion), matched)) in entries.iter().zip(deletions).zip(matches).enumerate() {
        let mut step = match deletion {
            Some(puts) => Step::Delete(puts),
            None => decide(&entry.call, matched).map_err(|error| within(error, n))?,
        };
        // What two entries create under one condition is one resource.
        if let (Call::Create { condition: Some(condition), .. }, Step::Store { target, .. }) = (&entry.call, &step) {
            let twin = made.entry((target.resource_type, &condition.text)).or_insert_with(|| target.clone());
            if twin != target {
                step = Step::Found(twin.clone());
            }
        }
        steps.push(step);
    }
    let full_urls: Vec<Option<String>> = entries.iter().map(|entry| entry.full_url.clone()).collect();
    let mut steps = with_links(&full_urls, steps)?;
    resolve_conditional_references(app, caller, conn, &mut steps).await?;
    let mut writes = prepare_all(app, caller, &steps)?;
    writes.add_patches(app, caller, conn, &steps).await?;
    finish(app, caller, conn, &steps, &writes, base).await
}

/// Refuses what the caller may not do at all, before a condition tells anything.
fn check_access(app: &App, caller: &Caller, entries: &[Entry]) -> Result<(), FhirError> {
    for (n, entry) in entries.iter().enumerate() {
        let (access, resource_type) = match &entry.call {
            Call::Create { resource_type, .. } => (Access::CREATE, *resource_type),
            Call::Update { resource_type, .. }
            | Call::UpdateWhere { resource_type, .. }
            | Call::Patch { resource_type, .. }
            | Call::PatchWhere { resource_type, .. } => (Access::UPDATE, *resource_type),
            Call::Delete { resource_type, .. } | Call::DeleteWhere { resource_type, .. } => {
                (Access::DELETE, *resource_type)
            }
            Call::Get(_) => continue,
        };
        access::require(app, caller, access, resource_type).map_err(|error| within(error, n))?;
    }
    Ok(())
}

/// Stores what the steps say and answers them in order. The second part is true for a reading entry.
async fn finish(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    steps: &[Step],
    writes: &Writes,
    base: &str,
) -> Result<Vec<(Answer, bool)>, FhirError> {
    let mut answers: Vec<Option<(Answer, bool)>> = vec![None; steps.len()];
    let written = write::put_all(app, caller, conn, &writes.puts).await.map_err(|error| located(error, writes))?;
    for (n, written) in writes.entries.iter().zip(written) {
        let is_patch = matches!(steps.get(*n), Some(Step::Patch { .. }));
        let answer = if is_patch { patch::answer(app, caller, written) } else { Answer::written(written) };
        set(&mut answers, *n, answer, false);
    }
    for (n, step) in steps.iter().enumerate() {
        match step {
            // One answer, however many resources a condition selected.
            Step::Delete(_) => set(&mut answers, n, Answer::empty(204), false),
            Step::Found(target) => {
                let found = create::found(app, caller, conn, target.resource_type, &target.id).await;
                set(&mut answers, n, found.map_err(|error| within(error, n))?, false);
            }
            _ => {}
        }
    }
    read_each(app, caller, conn, steps, base, &mut answers).await?;
    answers.into_iter().map(|answer| answer.ok_or_else(write::nothing_written)).collect()
}

/// The answers of a transaction that only reads.
async fn read_all(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    steps: &[Step],
    base: &str,
) -> Result<Vec<(Answer, bool)>, FhirError> {
    let mut answers: Vec<Option<(Answer, bool)>> = vec![None; steps.len()];
    read_each(app, caller, conn, steps, base, &mut answers).await?;
    answers.into_iter().map(|answer| answer.ok_or_else(write::nothing_written)).collect()
}

/// Answers the reading entries, as far as that fits into one answer.
async fn read_each(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    steps: &[Step],
    base: &str,
    answers: &mut [Option<(Answer, bool)>],
) -> Result<(), FhirError> {
    let mut room = ANSWER_BYTES_MAX;
    for (n, step) in steps.iter().enumerate() {
        if let Step::Get(get) = step {
            let answer = get_in(app, caller, conn, get, base).await.map_err(|error| within(error, n))?;
            let bytes = answer.body.as_ref().map_or(0, Vec::len);
            room = room.checked_sub(bytes).ok_or_else(|| within(too_much(), n))?;
            set(answers, n, unless_known(answer, get.if_none_match), !get.is_head);
        }
    }
    Ok(())
}

fn set(answers: &mut [Option<(Answer, bool)>], n: usize, answer: Answer, is_get: bool) {
    if let Some(place) = answers.get_mut(n) {
        *place = Some((answer, is_get));
    }
}

/// A refusal of writes, each issue located in the entry whose resource its sentence begins with.
fn located(mut error: FhirError, writes: &Writes) -> FhirError {
    let entries: HashMap<String, usize> = writes
        .puts
        .iter()
        .zip(&writes.entries)
        .map(|(put, entry)| (format!("{}/{}", put.target.resource_type, put.target.id), *entry))
        .collect();
    for issue in &mut error.issues {
        if let Some(n) = issue.diagnostics.split(' ').next().and_then(|name| entries.get(name)) {
            locate(issue, *n);
        }
    }
    error
}

async fn get_in(app: &App, caller: &Caller, conn: &mut Conn, get: &Get, base: &str) -> Result<Answer, FhirError> {
    match &get.what {
        What::Read(resource_type, id) => {
            Ok(Answer::stored(*resource_type, id, read_in(app, caller, conn, *resource_type, id).await?))
        }
        What::Version(resource_type, id, version) => {
            let sight = access::require(app, caller, Access::READ, *resource_type)?;
            let found = vread_in(app, conn, &sight, *resource_type, id, version).await?;
            Ok(Answer::stored(*resource_type, id, found))
        }
        What::Search(types, path, pairs) => {
            let request = search::Request {
                types: types.clone(),
                path: path.clone(),
                pairs: pairs.clone(),
                handling: Handling::Default,
                base: base.to_owned(),
            };
            search::search_in(app, caller, conn, &request).await
        }
        What::Capability => Ok(Answer::new(200, capability::statement(base))),
        What::History(..) => {
            Err(FhirError::new(Kind::NotAllowed, "A history is not read inside a transaction; use a batch."))
        }
    }
}
