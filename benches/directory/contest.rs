//! The contest: every contender is checked, then all do the same work in alternating rounds.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::check;
use crate::client::{Base, Client};
use crate::control;
use crate::database::Database;
use crate::dataset::DataSet;
use crate::drafts::{Drafts, TRANSACTION_ENTRIES, TRANSACTION_GROUPS, load_bundle};
use crate::load::{Load, drive};
use crate::operations::{Operation, Work, Write};
use crate::process::{cpu_seconds, memory};
use crate::report::{CONTROL, Round, Row, SERVER, WITH_TOKEN};

/// A server that holds the data set. The server under test is the first; only its process is known.
pub struct Contender {
    pub name: String,
    pub base: Base,
    pub pid: Option<u32>,
    /// Practitioners it acknowledged as created.
    created: u64,
    /// The operations whose answers were wrong, with what was wrong.
    wrong: Vec<(&'static str, String)>,
}

pub struct Contest<'a> {
    pub data: &'a DataSet,
    pub drafts: Drafts,
    pub operations: Vec<&'static Operation>,
    pub contenders: Vec<Contender>,
    pub connections: usize,
    pub time: Duration,
    pub rounds: usize,
    /// The server under test, for somebody with an access token.
    pub with_token: Base,
}

impl Contender {
    pub fn new(name: &str, base: Base, pid: Option<u32>) -> Self {
        Self { name: name.to_owned(), base, pid, created: 0, wrong: Vec::new() }
    }

    fn wrong_at(&self, operation: &Operation) -> Option<&str> {
        self.wrong.iter().find(|(name, _)| *name == operation.name).map(|(_, reason)| reason.as_str())
    }

    /// Makes sure that this server holds the data set and nothing else; an empty one is filled by transactions of PUTs.
    pub fn prepare(&self, data: &DataSet) -> Result<()> {
        let mut client = Client::new(&self.base)?;
        let expected = data.practitioners.len() as u64;
        let present = check::practitioners(&mut client).with_context(|| format!("{} does not answer", self.name))?;
        if present == 0 {
            eprintln!("loading {} ...", self.name);
            for part in data.resources.chunks(TRANSACTION_ENTRIES) {
                let bodies: Vec<&str> = part.iter().map(|resource| resource.body.as_ref()).collect();
                let reply = client.send(&load_bundle(&bodies).context("a resource without type and id")?)?;
                let answer = String::from_utf8_lossy(reply.body.get(..300).unwrap_or(&reply.body));
                ensure!(reply.status == 200, "{} refused the data: {} {answer}", self.name, reply.status);
            }
        }
        match check::practitioners(&mut client)? {
            loaded if loaded == expected => Ok(()),
            other => bail!("{} holds {other} practitioners, not {expected}: give it an empty database", self.name),
        }
    }
}

impl Contest<'_> {
    /// Checks every operation on every contender, reads before writes, and keeps the server's answers for the control.
    pub fn check(&mut self, answers: &Path) -> Result<()> {
        for operation in &self.operations {
            for (place, contender) in self.contenders.iter_mut().enumerate() {
                eprintln!("checking {} on {} ...", operation.name, contender.name);
                let mut client = Client::new(&contender.base)?;
                match check::check(operation, self.data, &self.drafts, &mut client) {
                    Ok(reply) => {
                        contender.created += practitioners_created(operation) * check::WRITES as u64;
                        if place == 0 {
                            control::record(answers, operation.name, &reply)?;
                        }
                    }
                    Err(reason) => contender.wrong.push((operation.name, format!("{reason:#}"))),
                }
            }
        }
        Ok(())
    }

    /// Times all operations. The control is driven with the same requests, below a path that names the operation.
    pub fn run(&mut self, control_url: &str, control_pid: u32, database: &Database) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for operation in self.operations.clone() {
            let server_is_right = self.contenders.first().is_some_and(|server| server.wrong_at(operation).is_none());
            let mut all: Vec<(String, Base, Option<u32>)> = Vec::new();
            for contender in self.contenders.iter().filter(|it| it.wrong_at(operation).is_none()) {
                all.push((contender.name.clone(), contender.base.clone(), contender.pid));
            }
            if server_is_right {
                let base = Base::parse(&format!("{control_url}/{}", operation.name))?;
                all.insert(1, (CONTROL.to_owned(), base, Some(control_pid)));
            }
            if server_is_right && operation.name == "read" {
                let server = all.first().and_then(|(.., pid)| *pid);
                all.push((WITH_TOKEN.to_owned(), self.with_token.clone(), server));
            }
            let mut rounds: Vec<Vec<Round>> = all.iter().map(|_| Vec::new()).collect();
            for number in 0..self.rounds {
                for turn in 0..all.len() {
                    // Each round begins with another contender, so that none always follows the same one.
                    let place = (turn + number) % all.len();
                    let (name, base, pid) = &all[place];
                    eprintln!("{} on {name}, round {} of {} ...", operation.name, number + 1, self.rounds);
                    let round = self.round(operation, name, base, *pid, number)?;
                    rounds[place].push(round);
                }
            }
            for ((name, _, pid), rounds) in all.iter().zip(&rounds) {
                rows.push(self.row(operation, name, *pid, Round::median(rounds), database));
            }
            let untimed = self.contenders.iter().filter(|it| !all.iter().any(|(name, ..)| *name == it.name));
            rows.extend(untimed.map(|it| self.row(operation, &it.name, it.pid, None, database)));
        }
        Ok(rows)
    }

    fn round(
        &mut self,
        operation: &'static Operation,
        name: &str,
        base: &Base,
        pid: Option<u32>,
        number: usize,
    ) -> Result<Round> {
        let load = Load { base, connections: self.connections, time: self.time, seed: number as u64 + 1 };
        let before = pid.and_then(cpu_seconds);
        let tally = drive(&load, &|random| operation.call(self.data, &self.drafts, random))?;
        let spent = pid.and_then(cpu_seconds).zip(before).map(|(after, before)| after - before);
        if let Some(contender) = self.contenders.iter_mut().find(|it| it.name == name) {
            contender.created += practitioners_created(operation) * tally.latencies.len() as u64;
            if let Some(reason) = &tally.first_failure {
                contender.wrong.push((operation.name, format!("{} answers: {reason}", tally.failures)));
            }
        }
        Ok(Round::new(&tally, spent))
    }

    fn row(
        &self,
        operation: &'static Operation,
        name: &str,
        pid: Option<u32>,
        round: Option<Round>,
        database: &Database,
    ) -> Row {
        let contender = self.contenders.iter().find(|it| it.name == name);
        Row {
            operation,
            contender: name.to_owned(),
            round,
            memory: pid.and_then(memory),
            database_bytes: (name == SERVER).then(|| database.bytes().ok()).flatten(),
            wrong: contender.and_then(|it| it.wrong_at(operation)).map(str::to_owned),
        }
    }

    /// Whether every acknowledged write is there: the practitioners loaded and created, counted by the server. Says
    /// what is amiss. A contender that failed a write is passed over: what became of the failed ones is unknown.
    pub fn lost_writes(&self) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        let writes = |name: &str| self.operations.iter().any(|it| it.name == name && matches!(it.work, Work::Write(_)));
        for contender in self.contenders.iter().filter(|it| !it.wrong.iter().any(|(name, _)| writes(name))) {
            let expected = self.data.practitioners.len() as u64 + contender.created;
            let counted = check::practitioners(&mut Client::new(&contender.base)?)?;
            if counted != expected {
                lost.push(format!(
                    "{}: {expected} practitioners were acknowledged, {counted} are there",
                    contender.name
                ));
            }
        }
        Ok(lost)
    }
}

/// How many practitioners one request of this operation creates.
fn practitioners_created(operation: &Operation) -> u64 {
    match operation.work {
        Work::Write(Write::Create) => 1,
        Work::Write(Write::Transaction) => TRANSACTION_GROUPS as u64,
        Work::Write(Write::Update) | Work::Ask(_) => 0,
    }
}
