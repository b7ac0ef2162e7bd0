//! How fast resources are validated, on one core, as a share of how fast they are parsed.
//!
//! ```text
//! cargo bench --bench validation
//! ```
//!
//! Criterion measures each step by itself (resources/s). The ratios at the end come from rounds in which parsing and
//! validating take turns on the same bytes, so that a noisy machine disturbs both alike.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints, and ends when it cannot go on")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use plumbline::demo::Directory;
use plumbline::fhir::resource::parse_json;
use plumbline::fhir::terminology::Terminology;
use plumbline::validate::{Enforce, Validator};
use serde_json::Value;

/// Practitioners in the directory that is validated; each has one or two roles.
const PRACTITIONERS: usize = 1_000;
/// Rounds of the comparison.
const ROUNDS: usize = 21;

/// Resources as JSON text.
struct Corpus {
    name: &'static str,
    texts: Vec<Vec<u8>>,
}

impl Corpus {
    fn of(name: &'static str, resources: &[Value]) -> Self {
        Self { name, texts: resources.iter().map(|resource| resource.to_string().into_bytes()).collect() }
    }

    fn seconds(&self, step: impl Fn(&[u8])) -> f64 {
        let start = Instant::now();
        self.texts.iter().for_each(|text| step(text));
        start.elapsed().as_secs_f64()
    }
}

fn parsed(text: &[u8]) {
    black_box(serde_json::from_slice::<Value>(text).expect("JSON"));
}

fn main() {
    let validator = Validator::new(Arc::new(Terminology::with(Vec::new()).expect("terminology")), &[]);
    let all: Vec<Value> = Directory::new(PRACTITIONERS, 1).resources().collect();
    let roles: Vec<Value> = all.iter().filter(|it| it["resourceType"] == "PractitionerRole").cloned().collect();
    let corpora = [Corpus::of("PractitionerRole", &roles), Corpus::of("whole directory", &all)];
    let in_full = |text: &[u8]| {
        let verdict = validator.validate(&parse_json(text).expect("JSON"), Enforce::PlanNet, &[]);
        assert!(verdict.is_valid());
        black_box(verdict);
    };
    let for_a_write = |text: &[u8]| {
        black_box(validator.errors(&parse_json(text).expect("JSON"), Enforce::PlanNet));
    };

    let mut criterion = Criterion::default().warm_up_time(Duration::from_secs(1)).configure_from_args();
    for corpus in &corpora {
        let mut group = criterion.benchmark_group(corpus.name);
        group.throughput(Throughput::Elements(corpus.texts.len() as u64)).sample_size(20);
        group.bench_function("serde_json::Value", |bench| bench.iter(|| corpus.seconds(parsed)));
        group.bench_function("parse and validate", |bench| bench.iter(|| corpus.seconds(in_full)));
        group.bench_function("parse and validate, errors only", |bench| bench.iter(|| corpus.seconds(for_a_write)));
        group.finish();
    }
    criterion.final_summary();

    println!("\n{:<18}{:>12}{:>14}{:>14}{:>8}", "", "mean bytes", "parsed/s", "validated/s", "ratio");
    for corpus in &corpora {
        let mut rounds: Vec<(f64, f64)> =
            (0..ROUNDS).map(|_| (corpus.seconds(parsed), corpus.seconds(in_full))).collect();
        rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let (parse, validate) = rounds.get(ROUNDS / 2).copied().unwrap_or_default();
        let count = corpus.texts.len() as f64;
        let bytes = corpus.texts.iter().map(Vec::len).sum::<usize>() as f64 / count;
        let (name, ratio) = (corpus.name, parse / validate);
        println!("{name:<18}{bytes:>12.0}{:>14.0}{:>14.0}{ratio:>8.2}", count / parse, count / validate);
    }
}
