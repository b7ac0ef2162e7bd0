//! The judge: whether answers are the right ones, page by page, against what the data set says.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::client::{Answer, Client, Reply, header};
use crate::dataset::{DataSet, items};
use crate::drafts::{Drafts, TRANSACTION_ENTRIES, anonymous, npi};
use crate::load::implausible;
use crate::operations::{Call, Operation, Work, Write};
use crate::questions::{COUNT, Question};
use crate::random::Random;

/// How many questions of each operation are checked in full.
const QUESTIONS: usize = 20;
pub const WRITES: usize = 3;
/// Further pages of a broad answer are not followed.
const PAGES_MAX: usize = 50;

/// Asks a sample of questions and judges each answer. Returns, of the correct first pages, the one of median length:
/// the control repeats it, so that it carries as many bytes as the server typically does.
pub fn check(operation: &Operation, data: &DataSet, drafts: &Drafts, client: &mut Client) -> Result<Reply> {
    let mut random = Random::new(operation.name.bytes().map(u64::from).sum());
    let mut replies = Vec::new();
    match &operation.work {
        Work::Ask(draw) => {
            for _ in 0..QUESTIONS {
                let question = draw(data, &mut random).context("the data have nothing to ask")?;
                replies.push(check_answer(&question, data, client).with_context(|| question.path(data))?);
            }
        }
        Work::Write(write) => {
            for _ in 0..WRITES {
                let call = operation.call(data, drafts, &mut random).context("the data have nothing to write")?;
                let reply = send(client, &call)?;
                match write {
                    Write::Create => check_created(&call, &reply, client)?,
                    Write::Update => check_updated(&call, client)?,
                    Write::Transaction => check_transaction(&call, &reply, client)?,
                }
                replies.push(reply);
            }
        }
    }
    replies.sort_by_key(|reply| reply.body.len());
    let middle = replies.len() / 2;
    Ok(replies.swap_remove(middle))
}

/// The number of practitioners the server says it has.
pub fn practitioners(client: &mut Client) -> Result<u64> {
    client.get("/Practitioner?_summary=count")?["total"].as_u64().context("the count has no total")
}

fn send(client: &mut Client, call: &Call) -> Result<Reply> {
    let reply = client.send(call)?;
    let answer = Answer { status: reply.status, head: &reply.head, body: &reply.body };
    match implausible(call, &answer) {
        None => Ok(reply),
        Some(reason) => bail!("{} {}: {reason}", call.method, call.path),
    }
}

fn check_answer(question: &Question, data: &DataSet, client: &mut Client) -> Result<Reply> {
    let reply = send(client, &Call::ask(question, data))?;
    let answer: Value = serde_json::from_slice(&reply.body).context("no JSON")?;
    match question {
        Question::Read(at) => {
            let loaded = data.resources.get(*at).context("no such resource")?;
            let id = loaded.reference.split_once('/').map_or("", |(_, id)| id);
            ensure!(answer["id"] == id, "the answer is of another resource: {}", answer["id"]);
            same_content(&serde_json::from_str(&loaded.body)?, &answer)?;
        }
        Question::SpecialtyCount(_) => {
            let expected = question.expected(data).must.len();
            ensure!(answer["total"].as_u64() == Some(expected as u64), "total {} is not {expected}", answer["total"]);
            ensure!(items(&answer["entry"]).next().is_none(), "a count came with entries");
        }
        _ => check_search(question, data, client, answer)?,
    }
    Ok(reply)
}

/// Follows the pages. All matches must be found once and nothing else, each page with what it includes.
fn check_search(question: &Question, data: &DataSet, client: &mut Client, first: Value) -> Result<()> {
    let expected = question.expected(data);
    let mut found = BTreeSet::new();
    let mut page = first;
    for number in 0..PAGES_MAX {
        let (matches, included) = page_of(&page, question.kind())?;
        if number == 0 {
            let [least, most] = [&expected.must, &expected.may].map(|ids| ids.len().min(COUNT));
            let on_page = matches.len();
            ensure!((least..=most).contains(&on_page), "{on_page} matches on the first page, expected {least}");
            if let Some(total) = page["total"].as_u64() {
                let range = expected.must.len() as u64..=expected.may.len() as u64;
                ensure!(range.contains(&total), "total {total} is not {}", expected.must.len());
            }
        }
        if let Some(stranger) = matches.iter().find(|id| !expected.may.contains(*id)) {
            bail!("{stranger} is no match");
        }
        let due = question.included(data, &matches);
        ensure!(included == due, "{} resources are included, expected {}", included.len(), due.len());
        for id in matches {
            ensure!(!found.contains(&id), "{id} is a match on two pages");
            found.insert(id);
        }
        let link = items(&page["link"]).find(|link| link["relation"] == "next").and_then(|link| link["url"].as_str());
        let Some(next) = link else {
            let missing = expected.must.iter().find(|id| !found.contains(*id));
            return missing.map_or(Ok(()), |id| {
                bail!("{id} is missing: {} of {} matches came", found.len(), expected.must.len())
            });
        };
        let next = client.base.below(next).with_context(|| format!("the next page is elsewhere: {next}"))?;
        page = client.get(&next)?;
    }
    Ok(())
}

/// The ids of a page's matches, and the references of what it includes.
fn page_of(page: &Value, kind: &str) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    ensure!(page["type"] == "searchset", "the answer is no searchset");
    let (mut matches, mut included) = (BTreeSet::new(), BTreeSet::new());
    for entry in items(&page["entry"]) {
        let resource = &entry["resource"];
        let id = resource["id"].as_str().context("an entry has no resource with an id")?;
        let fresh = match entry["search"]["mode"].as_str() {
            Some("outcome") => true,
            Some("include") => {
                included.insert(format!("{}/{id}", resource["resourceType"].as_str().unwrap_or_default()))
            }
            _ => {
                ensure!(resource["resourceType"] == kind, "{} is no {kind}", resource["resourceType"]);
                matches.insert(id.to_owned())
            }
        };
        ensure!(fresh, "{id} stands twice on a page");
    }
    Ok((matches, included))
}

fn same_content(sent: &Value, stored: &Value) -> Result<()> {
    let [sent, stored] = [sent, stored].map(|resource| anonymous(resource.clone()));
    if sent == stored {
        return Ok(());
    }
    let members = sent.as_object().into_iter().flatten().filter(|(name, value)| stored.get(name) != Some(value));
    let lost: Vec<_> = members.map(|(name, _)| name.as_str()).collect();
    bail!("the stored resource is not the one sent; differing members: {}", lost.join(", "))
}

fn check_created(call: &Call, reply: &Reply, client: &mut Client) -> Result<()> {
    let location = header(&reply.head, "location").context("201 without a Location")?;
    let reference = reference_in(location).with_context(|| format!("a Location that cannot be read: {location}"))?;
    let sent: Value = serde_json::from_slice(&call.body)?;
    same_content(&sent, &client.get(&format!("/{reference}"))?)?;
    let question = Question::Npi(npi(&sent).context("the draft has no NPI")?.to_owned());
    let found = client.get(&question.path(&DataSet::default()))?;
    let (matches, _) = page_of(&found, question.kind())?;
    ensure!(matches.len() == 1 && matches.iter().all(|id| reference.ends_with(id)), "the new NPI does not find it");
    Ok(())
}

fn check_updated(call: &Call, client: &mut Client) -> Result<()> {
    same_content(&serde_json::from_slice(&call.body)?, &client.get(&call.path)?)
}

/// All entries are created, and the last role points to the practitioner that was created before it.
fn check_transaction(call: &Call, reply: &Reply, client: &mut Client) -> Result<()> {
    let sent: Value = serde_json::from_slice(&call.body)?;
    let answer: Value = serde_json::from_slice(&reply.body)?;
    let responses: Vec<_> = items(&answer["entry"]).map(|entry| &entry["response"]).collect();
    ensure!(responses.len() == TRANSACTION_ENTRIES, "{} responses", responses.len());
    let refused = responses.iter().find(|it| !it["status"].as_str().is_some_and(|status| status.starts_with("201")));
    ensure!(refused.is_none(), "an entry was not created: {refused:?}");
    let location = responses.last().and_then(|it| it["location"].as_str()).context("a response without a location")?;
    let role = client.get(&format!("/{}", reference_in(location).context("a location that cannot be read")?))?;
    let practitioner = role["practitioner"]["reference"].as_str().context("the role lost its practitioner")?;
    ensure!(practitioner.starts_with("Practitioner/"), "{practitioner} was not resolved");
    let drafted = items(&sent["entry"]).nth(TRANSACTION_ENTRIES - 2).context("the draft is short")?;
    same_content(&drafted["resource"], &client.get(&format!("/{practitioner}"))?)
}

/// `Type/id` out of `[base/]Type/id[/_history/version]`.
fn reference_in(location: &str) -> Option<String> {
    let versionless = location.split("/_history/").next()?;
    let mut parts = versionless.rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    Some(format!("{kind}/{id}"))
}
