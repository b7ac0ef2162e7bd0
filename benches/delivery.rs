//! The benchmark of deliveries: from the commit of a change to its arrival at the subscribers.
//!
//! It starts the server, makes subscribers at a receiver in this process, changes resources at a steady rate and notes when
//! each change arrives; then lets a backlog pile up and drains it. Beside it runs a control, which posts the same bytes to the
//! same receiver without a directory behind it. Numbers that arrive with gaps make the exit code 1.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

#[path = "directory/process.rs"]
#[allow(dead_code, reason = "shared with the benchmark of the directory")]
mod process;
#[path = "delivery/receiver.rs"]
mod receiver;
#[path = "delivery/world.rs"]
mod world;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;

use receiver::Receiver;
use world::World;

/// Measures how changes reach their subscribers.
#[derive(Parser)]
#[command(name = "delivery")]
struct Options {
    /// Subscribers
    #[arg(long, default_value_t = 100)]
    subscribers: u64,
    /// Changes per second, while latency is measured
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Seconds of that
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Deliveries of one event each that are drained
    #[arg(long, default_value_t = 30_000)]
    deliveries: u64,
    /// Events of the backlog
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// Keep the directory in this empty PostgreSQL database instead of SQLite; one scenario at a time (--only)
    #[arg(long, value_name = "postgres://...")]
    database_url: Option<String>,
    /// Only this scenario: latency, deliveries or backlog
    #[arg(long)]
    only: Option<String>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    if !arguments.iter().any(|it| it == "--bench") || arguments.iter().any(|it| it == "--test") {
        eprintln!("delivery: nothing is measured outside `cargo bench --bench delivery`");
        return ExitCode::SUCCESS;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match runtime.block_on(measure(&Options::parse())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("delivery: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn measure(options: &Options) -> Result<bool> {
    let is_wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let mut gaps = 0;
    println!("| scenario | figure | measured | goal |\n|---|---|---|---|");
    if is_wanted("latency") {
        for (together, name) in [(1, "one"), (15, "15"), (options.subscribers, "all")] {
            gaps += latency(options, together.min(options.subscribers), name).await?;
        }
    }
    if is_wanted("deliveries") {
        gaps += drain(options, "deliveries", 1, options.deliveries).await?;
    }
    if is_wanted("backlog") {
        gaps += drain(options, "backlog", 20, options.backlog).await?;
    }
    println!("| all | events out of order, missing or repeated | {gaps} | 0 |");
    Ok(gaps == 0)
}

/// Changes at a steady rate, each of which concerns `together` subscribers.
async fn latency(options: &Options, together: u64, name: &str) -> Result<u64> {
    let (world, receiver) = (Arc::new(World::start(options.database_url.as_deref())?), Receiver::start().await?);
    world.subscribe(&receiver.url, options.subscribers, together, 20).await?;
    receiver.arrivals.notes.store(true, Ordering::Relaxed);
    let groups = (options.subscribers / together).max(1);
    let changes = options.rate * options.seconds;
    let begin = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    for change in 0..changes {
        tokio::time::sleep_until((begin + Duration::from_secs_f64(change as f64 / options.rate as f64)).into()).await;
        let world = Arc::clone(&world);
        under_way.spawn(async move {
            let asked = Instant::now();
            world.change(change, change % groups).await.map(|answered| (change, asked, answered))
        });
    }
    let mut made = HashMap::new();
    while let Some(done) = under_way.join_next().await {
        let (change, asked, answered) = done??;
        made.insert(change, (asked, answered));
    }
    let expected = changes * together;
    let last = wait(&receiver, expected).await?;
    let arrived = std::mem::take(&mut *receiver.arrivals.at.lock().expect("nobody panics here"));
    let from = |pick: fn(&(Instant, Instant)) -> Instant| {
        let ms =
            arrived.iter().map(|(change, at)| at.saturating_duration_since(pick(&made[change])).as_secs_f64() * 1e3);
        let mut ms: Vec<f64> = ms.collect();
        ms.sort_by(f64::total_cmp);
        (ms[ms.len() / 2], ms[(ms.len() * 99 / 100).min(ms.len() - 1)])
    };
    let ((p50, p99), (whole50, whole99)) = (from(|it| it.1), from(|it| it.0));
    let scenario = format!("{} changes/s, each for {name} of {}", options.rate, options.subscribers);
    println!("| {scenario} | answer to arrival, p50 and p99 | {p50:.1} ms, {p99:.1} ms | 5 ms, 50 ms |");
    println!("| {scenario} | request to arrival, p50 and p99 | {whole50:.1} ms, {whole99:.1} ms | |");
    let rate = expected as f64 / (last - begin).as_secs_f64();
    let posts = receiver.arrivals.posts.load(Ordering::Relaxed) - options.subscribers;
    println!(
        "| {scenario} | events per second, and events in a call | {rate:.0}, {:.1} | |",
        expected as f64 / posts as f64
    );
    Ok(receiver.arrivals.gaps.load(Ordering::Relaxed))
}

/// Lets events pile up while all lanes are paused, and delivers them.
async fn drain(options: &Options, name: &str, max_count: u64, events: u64) -> Result<u64> {
    let (world, receiver) = (World::start(options.database_url.as_deref())?, Receiver::start().await?);
    world.subscribe(&receiver.url, options.subscribers, options.subscribers, max_count).await?;
    world.order("pause").await?;
    let changes = (events / options.subscribers).max(1);
    let expected = changes * options.subscribers;
    let begin = Instant::now();
    world.change_many(0, changes, 0).await?;
    let written = begin.elapsed();
    world.wait_for_events(expected).await?;
    let numbered = begin.elapsed();
    let posts_before = receiver.arrivals.posts.load(Ordering::Relaxed);
    let begin = Instant::now();
    world.order("resume").await?;
    let last = wait(&receiver, expected).await?;
    let seconds = (last - begin).as_secs_f64();
    let posts = receiver.arrivals.posts.load(Ordering::Relaxed) - posts_before;
    let scenario = format!("{name}: {expected} events, up to {max_count} in a call");
    println!(
        "| {scenario} | fan-out: changes per second, events per second | {:.0}, {:.0} | |",
        changes as f64 / numbered.as_secs_f64(),
        expected as f64 / numbered.as_secs_f64()
    );
    println!("| {scenario} | changes written per second meanwhile | {:.0} | |", changes as f64 / written.as_secs_f64());
    let rate = posts as f64 / seconds;
    println!("| {scenario} | calls per second | {rate:.0} | 3,000 |");
    println!("| {scenario} | events per second | {:.0} | |", expected as f64 / seconds);
    if let Some(memory) = process::memory(world.server.pid()) {
        println!("| {scenario} | memory at the highest | {:.0} MB | 300 MB |", memory.peak as f64 / 1e6);
    }
    drop(world);
    let control = control(options.subscribers.min(64), posts.min(30_000)).await?;
    println!("| {scenario} | the same calls by a bare client | {control:.0}/s: {:.2} of it | |", rate / control);
    Ok(receiver.arrivals.gaps.load(Ordering::Relaxed))
}

/// Waits until so many events have arrived; when that was.
async fn wait(receiver: &Receiver, events: u64) -> Result<Instant> {
    let begin = Instant::now();
    loop {
        let found = receiver.arrivals.events.load(Ordering::Relaxed);
        if found >= events {
            return Ok(Instant::now());
        }
        ensure!(begin.elapsed() < Duration::from_secs(900), "{found} of {events} events arrived");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Calls per second of a client that does nothing else.
async fn control(connections: u64, calls: u64) -> Result<f64> {
    let receiver = Receiver::start().await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let body = "x".repeat(1_500);
    let begin = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for n in 0..connections {
        let (client, url, body) = (client.clone(), format!("{}/{n}", receiver.url), body.clone());
        let own = calls / connections;
        workers.spawn(async move {
            for _ in 0..own {
                client.post(&url).body(body.clone()).send().await?.bytes().await?;
            }
            Ok::<_, reqwest::Error>(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok((calls / connections * connections) as f64 / begin.elapsed().as_secs_f64())
}
