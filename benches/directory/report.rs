//! The figures of all rounds as two Markdown tables.

use std::fmt;

use crate::load::Tally;
use crate::operations::{Goal, Operation};
use crate::process::Memory;

/// What one contender did in one round.
pub struct Round {
    pub rate: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub cpu_seconds: Option<f64>,
}

/// One contender at one operation: medians over the rounds, and the state after them.
pub struct Row {
    pub operation: &'static Operation,
    pub contender: String,
    /// None when wrong answers kept the contender from being timed.
    pub round: Option<Round>,
    pub memory: Option<Memory>,
    pub database_bytes: Option<u64>,
    pub wrong: Option<String>,
}

/// A figure that is taken once.
pub struct Fact {
    pub name: String,
    pub value: String,
    pub goal: String,
    pub met: bool,
}

/// The names that the tables use for the server under test and for the control.
pub const SERVER: &str = "plumbline";
pub const CONTROL: &str = "control";
/// The same server, asked by somebody with an access token.
pub const WITH_TOKEN: &str = "plumbline, with a token";

impl Round {
    pub fn new(tally: &Tally, cpu_seconds: Option<f64>) -> Self {
        let (p50_ms, p99_ms) = (tally.percentile(0.5), tally.percentile(0.99));
        Self { rate: tally.per_second(), p50_ms, p99_ms, cpu_seconds }
    }

    /// Each figure's own median; none without rounds.
    pub fn median(rounds: &[Self]) -> Option<Self> {
        Some(Self {
            rate: median(rounds.iter().map(|it| it.rate))?,
            p50_ms: median(rounds.iter().map(|it| it.p50_ms))?,
            p99_ms: median(rounds.iter().map(|it| it.p99_ms))?,
            cpu_seconds: median(rounds.iter().filter_map(|it| it.cpu_seconds)),
        })
    }
}

/// The middle figure, the upper one of an even number.
pub fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// The operations' table. The goal is the server's under test; the control and other servers are there to compare.
pub struct Table<'a> {
    pub rows: &'a [Row],
    pub postgres: bool,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            out,
            "| operation | server | requests/s | p50 ms | p99 ms | of control | goal | CPU s | RSS MB | database MB |"
        )?;
        writeln!(out, "|---|---|--:|--:|--:|--:|---|--:|--:|--:|")?;
        for row in self.rows {
            let shape = if row.contender == SERVER { row.operation.shape } else { "" };
            write!(out, "| {shape} | {} ", row.contender)?;
            match &row.round {
                Some(round) => {
                    write!(out, "| {} | {:.2} | {:.2} ", thousands(round.rate), round.p50_ms, round.p99_ms)?;
                    write!(out, "| {} ", shown(self.ratio(row), |ratio| format!("{ratio:.3}")))?;
                }
                None => write!(out, "| - | - | - | - ")?,
            }
            let cpu = row.round.as_ref().and_then(|round| round.cpu_seconds);
            write!(out, "| {} | {} ", self.verdict(row), shown(cpu, |seconds| format!("{seconds:.2}")))?;
            let resident = row.memory.map(|memory| memory.resident);
            writeln!(out, "| {} | {} |", shown(resident, megabytes), shown(row.database_bytes, megabytes))?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn ratio(&self, row: &Row) -> Option<f64> {
        let same = |it: &&Row| it.contender == CONTROL && it.operation.name == row.operation.name;
        let control = self.rows.iter().find(same)?.round.as_ref()?.rate;
        (row.contender != CONTROL && control > 0.0).then_some(row.round.as_ref()?.rate / control)
    }

    fn verdict(&self, row: &Row) -> String {
        if row.wrong.is_some() {
            return "WRONG".to_owned();
        }
        if row.contender != SERVER {
            return String::new();
        }
        let goal = if self.postgres { row.operation.goal.on_postgres() } else { row.operation.goal };
        let (text, reached) = match goal {
            Goal::OfControl(share) => (format!("{share}"), self.ratio(row).map(|ratio| ratio >= share)),
            Goal::Resources(rate) => {
                let done = row.round.as_ref().map(|round| round.rate * row.operation.resources_per_call() as f64);
                (format!("{} resources/s", thousands(rate)), done.map(|done| done >= rate))
            }
        };
        match reached {
            Some(reached) => format!("{text} {}", met(reached)),
            None => text,
        }
    }
}

/// The table of figures that are taken once.
pub fn facts(facts: &[Fact]) -> String {
    let rows = facts.iter().map(|it| format!("| {} | {} | {} {} |\n", it.name, it.value, it.goal, met(it.met)));
    format!("| figure | value | goal |\n|---|--:|---|\n{}", rows.collect::<String>())
}

fn met(reached: bool) -> &'static str {
    if reached { "met" } else { "**missed**" }
}

fn shown<T>(figure: Option<T>, show: impl Fn(T) -> String) -> String {
    figure.map_or_else(|| "-".to_owned(), show)
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// A whole number with commas, or one decimal below a hundred.
pub fn thousands(figure: f64) -> String {
    if figure < 100.0 {
        return format!("{figure:.1}");
    }
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
