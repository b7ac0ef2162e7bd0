//! The load: a closed loop on many connections for a bounded time, every latency kept.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use actix_web::rt::Runtime;
use actix_web::rt::time::timeout;
use anyhow::{Result, anyhow, bail};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::client::{Answer, Base, Connection};
use crate::operations::Call;
use crate::random::Random;

const THREADS: usize = 2;
/// How long answers may stay out after the last request was sent.
const GRACE: Duration = Duration::from_secs(30);
/// The most requests of one connection in one round.
const CALLS_MAX: usize = 1_000_000;

pub struct Load<'a> {
    pub base: &'a Base,
    pub connections: usize,
    pub time: Duration,
    pub seed: u64,
}

/// What one round, or one connection of it, saw.
#[derive(Default)]
pub struct Tally {
    /// Microseconds from the first byte sent to the last byte received, of plausible answers.
    pub latencies: Vec<u32>,
    pub failures: usize,
    pub first_failure: Option<String>,
    /// From the start of the round to the last answer.
    pub elapsed: Duration,
}

impl Tally {
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// The latency in milliseconds that this share of the answers did not exceed. Wants sorted latencies.
    pub fn percentile(&self, share: f64) -> f64 {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        self.latencies.get(rank.saturating_sub(1)).map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
    }

    fn fail(&mut self, reason: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(reason);
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.elapsed = self.elapsed.max(other.elapsed);
    }
}

/// Drives one round. Two threads share the connections; each connection draws from a random stream of its own, which
/// depends on nothing but the seed. The latencies come back sorted.
pub fn drive(load: &Load, next: &(impl Fn(&mut Random) -> Option<Call> + Sync)) -> Result<Tally> {
    let ready = Barrier::new(THREADS);
    let mut round = Tally::default();
    thread::scope(|scope| {
        let ready = &ready;
        let threads: Vec<_> = (0..THREADS).map(|part| scope.spawn(move || share(load, next, ready, part))).collect();
        for thread in threads {
            round.add(thread.join().map_err(|_| anyhow!("a thread of the load generator panicked"))??);
        }
        anyhow::Ok(())
    })?;
    round.latencies.sort_unstable();
    Ok(round)
}

/// One thread's connections. All threads pass the barrier, also those that could not connect.
fn share(load: &Load, next: &impl Fn(&mut Random) -> Option<Call>, ready: &Barrier, part: usize) -> Result<Tally> {
    let runtime = Runtime::new();
    let opened = runtime.as_ref().map(|runtime| {
        runtime.block_on(async {
            let mut opened = Vec::new();
            for number in (part..load.connections).step_by(THREADS) {
                let random = Random::new(load.seed.wrapping_mul(1_000).wrapping_add(number as u64));
                opened.push((Connection::open(load.base).await?, random));
            }
            io::Result::Ok(opened)
        })
    });
    ready.wait();
    let (Ok(runtime), Ok(opened)) = (&runtime, opened) else { bail!("the load generator has no runtime") };
    let start = Instant::now();
    let mut total = Tally::default();
    runtime.block_on(async {
        let loops = opened?.into_iter().map(|(connection, random)| bounded(load, next, connection, random, start));
        let mut running: FuturesUnordered<_> = loops.collect();
        while let Some(tally) = running.next().await {
            total.add(tally);
        }
        io::Result::Ok(())
    })?;
    Ok(total)
}

async fn bounded(
    load: &Load<'_>,
    next: &impl Fn(&mut Random) -> Option<Call>,
    connection: Connection,
    random: Random,
    start: Instant,
) -> Tally {
    let mut tally = Tally::default();
    if timeout(load.time + GRACE, closed_loop(load, next, connection, random, start, &mut tally)).await.is_err() {
        tally.fail(format!("no answer within {} s", GRACE.as_secs()));
    }
    tally
}

async fn closed_loop(
    load: &Load<'_>,
    next: &impl Fn(&mut Random) -> Option<Call>,
    mut connection: Connection,
    mut random: Random,
    start: Instant,
    tally: &mut Tally,
) {
    while start.elapsed() < load.time && tally.latencies.len() + tally.failures < CALLS_MAX {
        let Some(call) = next(&mut random) else { return tally.fail("the data have nothing to ask".to_owned()) };
        let sent = Instant::now();
        match connection.exchange(&call).await {
            Ok(answer) => {
                let micros = sent.elapsed().as_micros();
                match implausible(&call, &answer) {
                    None => tally.latencies.push(u32::try_from(micros).unwrap_or(u32::MAX)),
                    Some(reason) => tally.fail(format!("{} {}: {reason}", call.method, call.path)),
                }
            }
            Err(error) => {
                tally.fail(format!("{} {}: {error}", call.method, call.path));
                match Connection::open(load.base).await {
                    Ok(fresh) => connection = fresh,
                    Err(_) => return,
                }
            }
        }
        tally.elapsed = start.elapsed();
    }
}

/// What is wrong with an answer at first sight: its status, or that it does not open as a resource of its type.
pub fn implausible(call: &Call, answer: &Answer) -> Option<String> {
    if answer.status != call.status {
        let excerpt = String::from_utf8_lossy(answer.body.get(..200).unwrap_or(answer.body));
        return Some(format!("status {} where {} was due: {excerpt}", answer.status, call.status));
    }
    let opening = answer.body.get(..80).unwrap_or(answer.body);
    let holds = |word: &[u8]| word.is_empty() || opening.windows(word.len()).any(|window| window == word);
    (!holds(b"\"resourceType\"") || !holds(call.answer_type.as_bytes())).then(|| {
        format!(
            "the answer does not open as {}",
            if call.answer_type.is_empty() { "a resource" } else { call.answer_type }
        )
    })
}
