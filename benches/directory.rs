//! The benchmark of the whole server, from the socket to the disk.
//!
//! It generates a directory, imports it, starts the server on it, starts beside it a control (actix answering the same
//! bytes from memory), drives both with the same client in alternating rounds, and prints Markdown tables. Further
//! FHIR servers can do the same work in the same rounds (`--target NAME=URL`). Answers are checked against what the
//! generated data say, because a fast wrong answer is worthless: one wrong answer and the exit code is 1.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

#[path = "directory/check.rs"]
mod check;
#[path = "directory/client.rs"]
mod client;
#[path = "directory/contest.rs"]
mod contest;
#[path = "directory/control.rs"]
mod control;
#[path = "directory/database.rs"]
mod database;
#[path = "directory/dataset.rs"]
mod dataset;
#[path = "directory/drafts.rs"]
mod drafts;
#[path = "directory/export.rs"]
mod export;
#[path = "directory/load.rs"]
mod load;
#[path = "directory/operations.rs"]
mod operations;
#[path = "directory/process.rs"]
mod process;
#[path = "directory/questions.rs"]
mod questions;
#[path = "directory/random.rs"]
mod random;
#[path = "directory/report.rs"]
mod report;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use client::Base;
use contest::{Contender, Contest};
use database::Database;
use dataset::DataSet;
use drafts::Drafts;
use operations::OPERATIONS;
use process::{Server, memory};
use report::{CONTROL, Fact, Row, SERVER, Table, WITH_TOKEN, median, megabytes, thousands};

/// Measures the server against a control that answers from memory, and checks its answers.
#[derive(Parser)]
#[command(name = "directory")]
struct Options {
    /// Size of the generated directory; there are about three resources to a practitioner
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    practitioners: u32,
    /// Connections that are kept busy at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    connections: u16,
    /// Length of a round
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Rounds of each operation, of which the medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Keep the directory in this empty PostgreSQL database instead of SQLite
    #[arg(long, value_name = "postgres://...", value_parser = postgres_url)]
    database_url: Option<String>,
    /// Another FHIR server on this machine, empty or holding the same data, to do the same work; may be repeated
    #[arg(long = "target", value_name = "NAME=URL", value_parser = target)]
    targets: Vec<(String, String)>,
    /// Only these operations, by name
    #[arg(long, value_delimiter = ',', value_parser = operation)]
    only: Vec<&'static str>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// The goals beside those of the operations; writes, and so the import, have half of theirs on PostgreSQL.
const IMPORT_RESOURCES_PER_SECOND: f64 = 15_000.0;
const DATABASE_TO_NDJSON: f64 = 4.0;
const PEAK_MEMORY_BYTES: u64 = 150_000_000;
const START_SECONDS: f64 = 0.3;
const READS_WITH_TOKEN: f64 = 0.85;
const STARTS: usize = 3;
/// Picks one of the generated directories; figures of different seeds do not compare.
const SEED: u64 = 1;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    let outcome = match &arguments[..] {
        [_, argument, directory] if argument == control::ARGUMENT => {
            control::serve(Path::new(directory)).map(|()| true)
        }
        _ if !arguments.iter().any(|it| it == "--bench") || arguments.iter().any(|it| it == "--test") => {
            eprintln!("directory: nothing is measured outside `cargo bench --bench directory`");
            Ok(true)
        }
        _ => measure(&Options::parse()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("directory: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The whole run. False when an answer was wrong or a write was lost.
fn measure(options: &Options) -> Result<bool> {
    let machine = machine();
    // Beside the build, not in /tmp: there a disk may be memory, and a commit would cost nothing.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let file = place.path().join("directory.ndjson");
    eprintln!("generating {} practitioners ...", options.practitioners);
    let data = DataSet::write(generate(options.practitioners), &file)?;
    let database = Database { directory: place.path().join("data"), postgres: options.database_url.clone() };

    eprintln!("importing {} resources ...", data.resources.len());
    let path = file.to_str().context("the path of the data is not UTF-8")?;
    let took = process::run(database.plumbline(&["import", path]), &place.path().join("import.log"))?;
    let imported_bytes = database.bytes()?;
    let (server, started) = start(&database, place.path())?;

    let server_base = Base::parse(&format!("{}/fhir", server.url))?;
    let with_token = server_base.clone().with_token(database.token()?);
    let mut contenders = vec![Contender::new(SERVER, server_base.clone(), Some(server.pid()))];
    for (name, url) in &options.targets {
        contenders.push(Contender::new(name, Base::parse(url)?, None));
    }
    for contender in &contenders {
        contender.prepare(&data)?;
    }
    let asked = |name: &str| options.only.is_empty() || options.only.contains(&name);
    // While the directory holds what was generated, and nothing else.
    let exports = match asked(export::NAME) {
        true => export::measure(&server_base, data.resources.len(), options.rounds.into())?,
        false => Vec::new(),
    };
    let mut contest = Contest {
        data: &data,
        drafts: Drafts::new(&data),
        operations: OPERATIONS.iter().filter(|it| asked(it.name)).collect(),
        contenders,
        connections: options.connections.into(),
        time: Duration::from_secs(options.seconds.into()),
        rounds: options.rounds.into(),
        with_token,
    };
    let answers = place.path().join("answers");
    fs::create_dir(&answers)?;
    contest.check(&answers)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(control::ARGUMENT).arg(&answers);
    let control = Server::start(command, &place.path().join("control.log"))?;
    let rows = contest.run(&control.url, control.pid(), &database)?;
    let lost = contest.lost_writes()?;

    println!("{machine}; {} practitioners, {} resources,", options.practitioners, data.resources.len());
    println!("{} MB of NDJSON; {};", megabytes(data.ndjson_bytes), database.name());
    println!("{} connections, {} rounds of {} s.\n", options.connections, options.rounds, options.seconds);
    println!("{}", Table { rows: &rows, postgres: database.postgres.is_some() });
    let import_rate = data.resources.len() as f64 / took.as_secs_f64();
    let size = (imported_bytes, data.ndjson_bytes);
    let mut facts = facts(import_rate, size, started, server.pid(), database.postgres.is_some());
    facts.extend(token_check(&rows));
    facts.extend(exports);
    println!("{}", report::facts(&facts));
    Ok(all_is_well(&rows, &lost))
}

fn generate(practitioners: u32) -> impl Iterator<Item = serde_json::Value> {
    plumbline::demo::Directory::new(practitioners as usize, SEED).resources()
}

/// Starts the server several times; the last one stays. Returns it with the median of the times.
fn start(database: &Database, logs: &Path) -> Result<(Server, f64)> {
    let mut times = Vec::new();
    for _ in 1..STARTS {
        times.push(start_once(database, logs)?.started_in.as_secs_f64());
    }
    let server = start_once(database, logs)?;
    times.push(server.started_in.as_secs_f64());
    Ok((server, median(times.into_iter()).context("no start was timed")?))
}

fn start_once(database: &Database, logs: &Path) -> Result<Server> {
    Server::start(database.plumbline(&["serve", "--listen", "127.0.0.1:0"]), &logs.join("serve.log"))
}

fn facts(import_rate: f64, (database, ndjson): (u64, u64), started: f64, pid: u32, postgres: bool) -> Vec<Fact> {
    let import_goal = if postgres { IMPORT_RESOURCES_PER_SECOND / 2.0 } else { IMPORT_RESOURCES_PER_SECOND };
    let growth = database as f64 / ndjson.max(1) as f64;
    let mut facts = vec![
        Fact {
            name: "import".to_owned(),
            value: format!("{} resources/s", thousands(import_rate)),
            goal: format!("{} resources/s", thousands(import_goal)),
            met: import_rate >= import_goal,
        },
        Fact {
            name: "database after the import".to_owned(),
            value: format!("{} MB, {growth:.2} times the NDJSON", megabytes(database)),
            goal: format!("{DATABASE_TO_NDJSON} times"),
            met: growth <= DATABASE_TO_NDJSON,
        },
        Fact {
            name: format!("start with the data present, median of {STARTS}"),
            value: format!("{started:.3} s"),
            goal: format!("{START_SECONDS} s"),
            met: started <= START_SECONDS,
        },
    ];
    if let Some(memory) = memory(pid) {
        facts.push(Fact {
            name: "memory at its highest, and at the end".to_owned(),
            value: format!("{} MB, {} MB", megabytes(memory.peak), megabytes(memory.resident)),
            goal: format!("{} MB", megabytes(PEAK_MEMORY_BYTES)),
            met: memory.peak <= PEAK_MEMORY_BYTES,
        });
    }
    facts
}

/// What is left of the reads when each brings a token to be checked.
fn token_check(rows: &[Row]) -> Option<Fact> {
    let rate = |contender: &str| {
        let row = rows.iter().find(|row| row.operation.name == "read" && row.contender == contender)?;
        row.round.as_ref().map(|round| round.rate)
    };
    let left = rate(WITH_TOKEN)? / rate(SERVER)?;
    Some(Fact {
        name: "reads by id with a token, as a share of those without".to_owned(),
        value: format!("{left:.2}"),
        goal: format!("{READS_WITH_TOKEN}"),
        met: left >= READS_WITH_TOKEN,
    })
}

/// Names what was wrong; true when nothing was.
fn all_is_well(rows: &[Row], lost: &[String]) -> bool {
    for row in rows {
        if let Some(reason) = &row.wrong {
            println!("WRONG: {} on {}: {reason}", row.operation.name, row.contender);
        }
    }
    for reason in lost {
        println!("LOST: {reason}");
    }
    lost.is_empty() && rows.iter().all(|row| row.wrong.is_none())
}

/// Cores, and the load average before anything began; a busy machine is seen by it.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| "-".to_owned(), |cores| cores.to_string());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split_whitespace().take(3).collect();
    format!("{cores} cores, load average {}", if load.is_empty() { "-".to_owned() } else { load.join(" ") })
}

fn postgres_url(text: &str) -> Result<String, String> {
    let known = text.starts_with("postgres://") || text.starts_with("postgresql://");
    known.then(|| text.to_owned()).ok_or_else(|| "give a postgres:// URL, or nothing for SQLite".to_owned())
}

fn target(text: &str) -> Result<(String, String)> {
    let (name, url) = text.split_once('=').context("give NAME=URL")?;
    ensure!(name != SERVER && name != CONTROL && !name.is_empty(), "{name:?} cannot be the name of another server");
    Base::parse(url)?;
    Ok((name.to_owned(), url.to_owned()))
}

fn operation(text: &str) -> Result<&'static str, String> {
    let names = || OPERATIONS.iter().map(|it| it.name).chain([export::NAME]);
    let known = names().find(|name| *name == text);
    known.ok_or_else(|| format!("the operations are {}", names().collect::<Vec<_>>().join(", ")))
}
