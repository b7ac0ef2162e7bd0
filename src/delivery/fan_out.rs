//! From the log to the lanes: each change is given to those who asked for it, under the next number of each.
//!
//! A round reads what the mark has not passed yet, finds out who is to be told, and stores numbers and mark in one
//! transaction. A Subscription is a resource in the same log: where a round meets one, it ends, and what follows is
//! matched with the Subscriptions as they are from there on. So whichever node fans out, and however often it dies, the
//! same numbers come about: all that is decided depends on the log alone and on what subscribers may see.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::fhir::types::ResourceType;
use crate::interactions::access::Sight;
use crate::interactions::subscription;
use crate::search::value::{IndexEntries, Target};
use crate::store::change::Kind;
use crate::store::changes::{self, Content, Mark, Pending};
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes::{self, Subscribed};
use crate::store::presence;
use crate::subscriptions::registry::{Event, Interaction, State};

use super::machine::Machine;

/// Changes that are listed at once, without their contents.
const LISTED_MAX: i64 = 50_000;
/// Changes that one transaction passes.
const CHANGES_MAX: usize = 10_000;
/// Contents that are in memory at once.
const CONTENTS_MAX: usize = 100;
/// Numbers that one transaction gives, so that those who write need not wait long for it.
const NUMBERS_MAX: usize = 4_000;

/// What a round came to.
pub(super) enum Round {
    /// There was nothing to do.
    Idle,
    /// Changes were fanned out; these lanes have something new, or are about to.
    Done(Vec<i64>),
    /// Another node was faster; look again. These lanes were changed by it.
    Overtaken(Vec<i64>),
}

/// What is new in the log, as far as it has been listed.
#[derive(Default)]
pub(super) struct News {
    /// The mark behind which the list begins.
    mark: Mark,
    list: VecDeque<Pending>,
    /// Where the horizon may be moved at the end of the list.
    horizon: i64,
}

/// What is stored at the end of a round.
#[derive(Default)]
struct Plan {
    seqs: Vec<i64>,
    events: BTreeMap<i64, Vec<i64>>,
    numbers: usize,
    subscribed: Option<Pending>,
}

/// Fans out some of what is new.
///
/// # Errors
/// [`StoreError`] of the statements; nothing was fanned out then.
pub(super) async fn round(machine: &Machine, news: &mut News) -> Result<Round, StoreError> {
    let app = &machine.app;
    let mark = app.store.read(async |conn: &mut Conn| changes::mark(conn).await).await?;
    if news.list.is_empty() || news.mark.position != mark.position {
        // What was found out at the end of a list holds; in its middle, what was known at its beginning.
        let known = if news.list.is_empty() { news.horizon } else { news.mark.horizon };
        *news = look(machine, mark, known).await?;
    }
    let mut changed = Vec::new();
    if machine.roster.borrow().position() != mark.position {
        changed = machine.catch_up(mark.position).await?;
    }
    if news.list.is_empty() {
        return Ok(if changed.is_empty() { Round::Idle } else { Round::Done(changed) });
    }
    let plan = plan(machine, &news.list).await?;
    let passed = plan.seqs.len();
    // Only at the end of a list that has all there was is nothing left below the new horizon.
    let horizon = if passed == news.list.len() { news.horizon } else { news.mark.horizon };
    let mut told: Vec<i64> = plan.events.keys().copied().collect();
    told.extend(changed);
    let meets = plan.subscribed.is_some();
    let Some(position) = store(machine, news.mark, plan, horizon).await? else {
        *news = News { horizon: news.mark.horizon, ..News::default() };
        return Ok(Round::Overtaken(told));
    };
    news.list.drain(..passed);
    news.mark = Mark { position, horizon };
    if meets {
        told.extend(machine.catch_up(position).await?);
    } else {
        machine.passed(position);
    }
    Ok(Round::Done(told))
}

/// Lists what is new behind a mark. This node may know of a later horizon than was stored.
async fn look(machine: &Machine, mut mark: Mark, known: i64) -> Result<News, StoreError> {
    mark.horizon = mark.horizon.max(known);
    let read = async |conn: &mut Conn| changes::pending(conn, mark, LISTED_MAX).await;
    let (list, horizon) = machine.app.store.read(read).await?;
    Ok(News { mark, list: list.into(), horizon })
}

/// Decides who is told of what, up to the first Subscription or the bound.
async fn plan(machine: &Machine, news: &VecDeque<Pending>) -> Result<Plan, StoreError> {
    let mut plan = Plan::default();
    while plan.seqs.len() < news.len().min(CHANGES_MAX) && plan.subscribed.is_none() && plan.numbers < NUMBERS_MAX {
        // As many as can be passed, or looked at, together.
        let mut wanted = Vec::new();
        let mut count = 0;
        for change in news.iter().skip(plan.seqs.len()) {
            count += 1;
            if change.resource_type == ResourceType::Subscription {
                break;
            }
            let needs = machine.roster.borrow().registry.needs(change.resource_type, interaction(change.kind));
            if needs.any {
                wanted.push(change.seq);
                if wanted.len() == CONTENTS_MAX {
                    break;
                }
            }
        }
        let some: Vec<&Pending> = news.iter().skip(plan.seqs.len()).take(count).collect();
        let contents = match wanted.is_empty() {
            true => Vec::new(),
            false => {
                let read = async |conn: &mut Conn| changes::contents(conn, wanted).await;
                machine.app.store.read(read).await?
            }
        };
        let mut contents = contents.into_iter().peekable();
        for change in some {
            if let Some(content) = contents.next_if(|content| content.seq == change.seq) {
                match give(machine, &mut plan, change, &content).await {
                    // It cannot be read by anybody, and must not keep all others waiting.
                    Err(StoreError::Corrupt(error)) => {
                        tracing::error!(seq = change.seq, %error, "a change cannot be read, so nobody is told of it");
                    }
                    given => given?,
                }
            }
            plan.seqs.push(change.seq);
            if change.resource_type == ResourceType::Subscription {
                plan.subscribed = Some(Pending::clone(change));
            }
            if plan.numbers >= NUMBERS_MAX {
                break;
            }
        }
        // What is being written meanwhile is not kept waiting by the matching.
        tokio::task::yield_now().await;
    }
    Ok(plan)
}

/// Gives a change to those who asked for it and may see it.
async fn give(machine: &Machine, plan: &mut Plan, change: &Pending, content: &Content) -> Result<(), StoreError> {
    let app = &machine.app;
    let parse = |text: &Option<String>| -> Result<Option<(Value, IndexEntries)>, StoreError> {
        let Some(text) = text else { return Ok(None) };
        let body: Value = serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let entries = app.extractor().entries(change.resource_type, &body);
        Ok(Some((body, entries)))
    };
    let interaction = interaction(change.kind);
    let needs = machine.roster.borrow().registry.needs(change.resource_type, interaction);
    let after = parse(&content.after)?;
    // A deletion is seen by those who saw what was deleted.
    let before = if needs.before || after.is_none() { parse(&content.before)? } else { None };
    let told = {
        let event = Event {
            resource_type: change.resource_type,
            id: &content.id,
            at: content.at,
            interaction,
            after: after.as_ref().map(|(body, entries)| State { body, entries }),
            before: before.as_ref().map(|(body, entries)| State { body, entries }),
        };
        machine.roster.borrow().registry.matching(&event)
    };
    let Some((_, entries)) = after.as_ref().or(before.as_ref()) else { return Ok(()) };
    let target = Target { resource_type: change.resource_type, id: content.id.clone() };
    for lane in told {
        let Some(subscriber) = machine.roster.borrow().get(lane) else { continue };
        let sight = subscriber.viewer.sight(app, change.resource_type).await?;
        if let Sight::Nothing = *sight {
            // Whoever may be told nothing any more is told so, rather than being left to wait.
            let why = format!("The subscriber may not read {} any more.", change.resource_type);
            machine.ending.borrow_mut().insert(lane, why);
            continue;
        }
        let is_seen = matches!(*sight, Sight::Everything) || sight.reaches_entries(&target, content.at, entries);
        if is_seen {
            plan.events.entry(lane).or_default().push(change.seq);
            plan.numbers += 1;
        }
    }
    Ok(())
}

fn interaction(kind: Kind) -> Interaction {
    match kind {
        Kind::Create | Kind::UpdateAsCreate => Interaction::Create,
        Kind::Update => Interaction::Update,
        Kind::Delete => Interaction::Delete,
    }
}

/// Stores a round, unless another node moved the mark since: the new position then.
async fn store(machine: &Machine, mark: Mark, plan: Plan, horizon: i64) -> Result<Option<i64>, StoreError> {
    let Plan { seqs, events, subscribed, .. } = plan;
    let (seqs, events) = (Arc::new(seqs), Arc::new(events.into_iter().collect::<Vec<_>>()));
    let subscribed = match subscribed {
        Some(change) => machine.app.store.read(async |conn: &mut Conn| lane_of(conn, &change).await).await?,
        None => None,
    };
    let node = machine.node;
    let is_news = !events.is_empty() || subscribed.is_some();
    let unit = async move |conn: &mut Conn| {
        let found = changes::mark_locked(conn).await?;
        if found.position != mark.position {
            return Ok(None);
        }
        let position = changes::advance(conn, found, &seqs, horizon).await?;
        lanes::number(conn, &events, subscribed.as_ref().map(|it| it.name.as_str())).await?;
        if let Some(subscribed) = &subscribed {
            lanes::subscribe(conn, &Subscribed { changed: position, ..subscribed.clone() }).await?;
        }
        if is_news {
            presence::tell(conn, node).await?;
        }
        Ok::<_, StoreError>(Some(position))
    };
    machine.app.store.write(unit).await
}

/// What a version of a Subscription makes of its lane.
async fn lane_of(conn: &mut Conn, change: &Pending) -> Result<Option<Subscribed>, StoreError> {
    let Some(content) = changes::contents(conn, vec![change.seq]).await?.pop() else { return Ok(None) };
    let (state, error) = subscription::state(content.after.as_deref());
    let name = format!("{}{}", subscription::NAME, content.id);
    Ok(Some(Subscribed { name, state, version: change.version, changed: 0, body: content.after, error }))
}
