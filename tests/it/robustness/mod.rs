//! What a hostile client, a full disk, a lost database or a kill -9 can do to the server: nothing that lasts.

mod bodies;
mod concurrency;
mod durability;
mod limits;
mod listening;
mod outage;
mod patches;
mod raw;
mod slow_queries;
mod urls;
mod wire;

use std::time::{Duration, Instant};

use crate::harness::{Answer, Server};

/// Longer than any refusal may take, on a machine that is busy with other tests, in a build that is not optimised.
const QUICK: Duration = Duration::from_secs(15);
/// Characters that a sentence for a client may have: nobody reads more, and nothing of the client's is echoed at length.
const SENTENCE_MAX: usize = 2_000;

/// Waits until `condition` is true; panics with `what` when that takes longer than `bound`.
fn until(bound: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + bound;
    while !condition() {
        assert!(Instant::now() < deadline, "not in {bound:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Checks that an answer is a refusal as it should be; see [`fault`].
fn check_refusal(answer: &Answer, statuses: &[u16], what: &str) {
    if let Some(fault) = fault(answer, statuses, what) {
        panic!("{fault}");
    }
}

/// What is wrong with a refusal that should have one of the statuses and be an OperationOutcome with an error, a code and
/// a sentence.
fn fault(answer: &Answer, statuses: &[u16], what: &str) -> Option<String> {
    let short: String = answer.text.chars().take(300).collect();
    let what: String = what.chars().take(100).collect();
    let fault = |why: &str| Some(format!("{what}: {why}: {} {short}", answer.status));
    if !statuses.contains(&answer.status) {
        return fault(&format!("not {statuses:?}"));
    }
    if answer.body["resourceType"] != "OperationOutcome" {
        return fault("no OperationOutcome");
    }
    let (severity, code, sentence, _) = answer.issue();
    if !matches!(severity.as_str(), "error" | "fatal") || code.is_empty() || code == "exception" {
        return fault("no error, or no code");
    }
    if !sentence.contains(' ') || sentence.len() > SENTENCE_MAX || sentence.contains("panick") {
        return fault("no sentence");
    }
    None
}

/// Fails with all that went wrong, if anything did.
fn check_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What the process keeps in memory at most so far, in bytes.
fn peak_memory(server: &Server) -> u64 {
    let pid = server.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a Linux /proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    let kilobytes: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    kilobytes * 1024
}

/// Resources of all types and all their versions: what is there, half-written or not.
fn versions_stored(server: &Server) -> usize {
    let history = server.get("_history?_count=1000");
    assert_eq!(history.status, 200, "{history}");
    history.body["entry"].as_array().map_or(0, Vec::len)
}
