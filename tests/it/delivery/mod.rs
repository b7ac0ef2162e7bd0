//! What subscribers may rely on: every change reaches them, under one number each, in order, whatever happens to the server,
//! to the receiver and to the way between them.

mod cuts;
mod fairness;
mod history;
mod inside;
mod late_commit;
mod nodes;
mod outage;
mod owed;
mod proof;
mod refusals;
mod subscribers;
mod told;
mod webhooks;
mod writers;

use std::time::{Duration, Instant};

/// Longer than anything takes that is waited for, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings under which what failed is tried again soon, and a server that fails often is not left alone.
const EAGER: &[(&str, &str)] = &[
    ("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8"),
    ("PLUMBLINE_DELIVERY__RETRY_STEPS_S", "[1]"),
    ("PLUMBLINE_DELIVERY__THEN_EVERY_S", "1"),
    ("PLUMBLINE_DELIVERY__TIMEOUT_S", "1"),
    ("PLUMBLINE_DELIVERY__BREAKER_FAILURES", "1000"),
];

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
