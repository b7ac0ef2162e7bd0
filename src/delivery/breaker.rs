//! Breakers: a server that fails again and again is left alone for a while, so that it does not hold up the deliveries to
//! others, and is then asked by one call before it gets more.
//!
//! They are of one process. What counts as a failure is for the caller to say; it should be what the server as a whole does
//! (it cannot be reached, does not answer in time, is overloaded), not what one of the URLs on it says.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config;
use crate::fhir::types::Instant;

const SECOND: i64 = 1_000_000;
/// How long a server is left alone at first, and at most; each failed probe doubles it.
const COOL_MIN: i64 = 5 * SECOND;
const COOL_MAX: i64 = 300 * SECOND;
/// While a probe is under way, others ask again after this time.
const LOOK_AGAIN: i64 = SECOND;
/// What a probe may take beyond the timeout of a call, before it is taken for lost.
const PROBE_MARGIN: i64 = 10 * SECOND;
/// Servers that are remembered. Only those are that failed last, so others are never many.
const HOSTS_MAX: usize = 10_000;

/// Whether a server may be called now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Go,
    /// This call alone: what comes of it has to be told, by [`Breakers::succeeded`], [`Breakers::failed`] or
    /// [`Breakers::released`].
    Probe,
    /// Not before this moment; then ask again.
    WaitUntil(Instant),
}

/// What a breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It lets calls through.
    Closed,
    /// It lets none through.
    Open,
    /// It has let one through and waits for what comes of it.
    HalfOpen,
}

impl State {
    /// As operators read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A server that failed last, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `host:port`.
    pub host: String,
    pub state: State,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it is in this state; if that is closed, since the first of the failures.
    pub since: Instant,
    /// When it is asked again, if it is left alone.
    pub next_probe: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        until: Instant,
    },
    /// After `lost_at` the probe is taken for lost.
    HalfOpen {
        lost_at: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct Breaker {
    phase: Phase,
    failures: u32,
    since: Instant,
    /// Microseconds that it was left alone for, the last time.
    cool: i64,
}

impl Breaker {
    fn new(now: Instant) -> Self {
        Self { phase: Phase::Closed, failures: 0, since: now, cool: 0 }
    }

    fn may_send(&mut self, now: Instant, probe_us: i64) -> Verdict {
        match self.phase {
            Phase::Closed => return Verdict::Go,
            Phase::Open { until } if now < until => return Verdict::WaitUntil(until),
            Phase::HalfOpen { lost_at } if now < lost_at => {
                return Verdict::WaitUntil(later(now, LOOK_AGAIN).min(lost_at));
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => {}
        }
        (self.phase, self.since) = (Phase::HalfOpen { lost_at: later(now, probe_us) }, now);
        Verdict::Probe
    }

    fn failed(&mut self, now: Instant, failures_max: u32) {
        self.failures = self.failures.saturating_add(1);
        match self.phase {
            Phase::Closed if self.failures >= failures_max => self.open(now),
            Phase::HalfOpen { .. } => self.open(now),
            // A call that began before it opened says nothing new.
            Phase::Closed | Phase::Open { .. } => {}
        }
    }

    fn open(&mut self, now: Instant) {
        self.cool = self.cool.saturating_mul(2).clamp(COOL_MIN, COOL_MAX);
        (self.phase, self.since) = (Phase::Open { until: later(now, self.cool) }, now);
    }

    fn released(&mut self, now: Instant) {
        if matches!(self.phase, Phase::HalfOpen { .. }) {
            (self.phase, self.since) = (Phase::Open { until: now }, now);
        }
    }

    fn report(&self, host: &str) -> Report {
        let (state, next_probe) = match self.phase {
            Phase::Closed => (State::Closed, None),
            Phase::Open { until } => (State::Open, Some(until)),
            Phase::HalfOpen { .. } => (State::HalfOpen, None),
        };
        Report { host: host.to_owned(), state, failures: self.failures, since: self.since, next_probe }
    }
}

fn later(now: Instant, by: i64) -> Instant {
    Instant(now.0.saturating_add(by))
}

/// The breakers of this process, one for each server that failed last. A server is named by [`net::host_of`](crate::net::host_of).
#[derive(Debug)]
pub struct Breakers {
    failures_max: u32,
    probe_us: i64,
    hosts: Mutex<HashMap<String, Breaker>>,
}

impl Breakers {
    pub fn new(settings: &config::Delivery) -> Self {
        // A subscriber may ask for up to a minute.
        let timeout = i64::from(settings.timeout_s.max(60)) * SECOND;
        Self {
            failures_max: settings.breaker_failures,
            probe_us: timeout + PROBE_MARGIN,
            hosts: Mutex::new(HashMap::new()),
        }
    }

    /// Whether a server may be called now. A probe that nothing is heard of for longer than a call can take is taken for lost,
    /// and the next one who asks is the probe.
    pub fn may_send(&self, host: &str, now: Instant) -> Verdict {
        self.locked().get_mut(host).map_or(Verdict::Go, |breaker| breaker.may_send(now, self.probe_us))
    }

    /// A call succeeded, be it the probe or another: the server is all right.
    pub fn succeeded(&self, host: &str) {
        self.locked().remove(host);
    }

    /// A call failed.
    pub fn failed(&self, host: &str, now: Instant) {
        let mut hosts = self.locked();
        if !hosts.contains_key(host) && hosts.len() >= HOSTS_MAX {
            make_room(&mut hosts);
        }
        hosts.entry(host.to_owned()).or_insert_with(|| Breaker::new(now)).failed(now, self.failures_max);
    }

    /// The probe was given up before it said anything about the server: the next one who asks is the probe. Without effect when
    /// there is none.
    pub fn released(&self, host: &str, now: Instant) {
        if let Some(breaker) = self.locked().get_mut(host) {
            breaker.released(now);
        }
    }

    /// The servers that failed last, in order of their names.
    pub fn list(&self) -> Vec<Report> {
        let mut reports: Vec<Report> = self.locked().iter().map(|(host, breaker)| breaker.report(host)).collect();
        reports.sort_unstable_by(|a, b| a.host.cmp(&b.host));
        reports
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Breaker>> {
        // Nothing that is done under the lock can leave a breaker half changed.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets one server: of those that calls go to anyway the one whose failures began first, else of all the one that has been
/// in its state for longest.
fn make_room(hosts: &mut HashMap<String, Breaker>) {
    let rank = |breaker: &Breaker| (!matches!(breaker.phase, Phase::Closed), breaker.since);
    let oldest = hosts.iter().min_by_key(|(_, breaker)| rank(breaker)).map(|(host, _)| host.clone());
    if let Some(host) = oldest {
        hosts.remove(&host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    const A: &str = "a.example:443";

    fn breakers() -> Breakers {
        Breakers::new(&Settings::defaults().expect("defaults").delivery)
    }

    fn at(seconds: i64) -> Instant {
        Instant(seconds * SECOND)
    }

    fn fail(breakers: &Breakers, times: usize, now: Instant) {
        (0..times).for_each(|_| breakers.failed(A, now));
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_between_does_not() {
        let breakers = breakers();
        fail(&breakers, 4, at(0));
        breakers.succeeded(A);
        fail(&breakers, 4, at(0));
        assert_eq!(breakers.may_send(A, at(0)), Verdict::Go);
        fail(&breakers, 1, at(0));
        assert_eq!(breakers.may_send(A, at(0)), Verdict::WaitUntil(at(5)));
        assert_eq!(breakers.may_send(A, Instant(at(5).0 - 1)), Verdict::WaitUntil(at(5)));
        assert_eq!(breakers.may_send("b.example:443", at(0)), Verdict::Go);
    }

    #[test]
    fn one_probe_decides_for_all() {
        let breakers = breakers();
        fail(&breakers, 5, at(0));
        assert_eq!(breakers.may_send(A, at(5)), Verdict::Probe);
        assert_eq!(breakers.may_send(A, at(5)), Verdict::WaitUntil(at(6)));
        breakers.succeeded(A);
        assert_eq!([breakers.may_send(A, at(6)), breakers.may_send(A, at(6))], [Verdict::Go; 2]);
        assert_eq!(breakers.list(), []);
    }

    #[test]
    fn each_failed_probe_doubles_the_wait() {
        let breakers = breakers();
        fail(&breakers, 5, at(0));
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let Verdict::WaitUntil(until) = breakers.may_send(A, now) else { unreachable!("it is open") };
            waits.push((until.0 - now.0) / SECOND);
            now = until;
            assert_eq!(breakers.may_send(A, now), Verdict::Probe);
            breakers.failed(A, now);
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        // Health is health: the next time begins anew.
        breakers.succeeded(A);
        fail(&breakers, 5, now);
        assert_eq!(breakers.may_send(A, now), Verdict::WaitUntil(later(now, COOL_MIN)));
    }

    #[test]
    fn calls_that_began_before_it_opened_do_not_prolong_it() {
        let breakers = breakers();
        fail(&breakers, 5, at(0));
        fail(&breakers, 20, at(4));
        assert_eq!(breakers.may_send(A, at(5)), Verdict::Probe);
    }

    #[test]
    fn a_probe_that_is_given_up_or_lost_makes_room_for_another() {
        let breakers = breakers();
        fail(&breakers, 5, at(0));
        assert_eq!(breakers.may_send(A, at(5)), Verdict::Probe);
        breakers.released(A, at(6));
        assert_eq!(breakers.may_send(A, at(6)), Verdict::Probe);
        // A call may take a minute, and then some.
        assert_eq!(breakers.may_send(A, at(75)), Verdict::WaitUntil(at(76)));
        assert_eq!(breakers.may_send(A, at(76)), Verdict::Probe);
        // Without a probe there is nothing to give up.
        breakers.failed(A, at(76));
        breakers.released(A, at(77));
        assert_eq!(breakers.may_send(A, at(77)), Verdict::WaitUntil(at(86)));
        breakers.released("b.example:443", at(77));
    }

    #[test]
    fn operators_see_those_that_fail() {
        let breakers = breakers();
        fail(&breakers, 5, at(1));
        breakers.failed("b.example:443", at(2));
        let report = |host: &str, state, failures, since, next_probe| Report {
            host: host.to_owned(),
            state,
            failures,
            since: at(since),
            next_probe,
        };
        let b = report("b.example:443", State::Closed, 1, 2, None);
        assert_eq!(breakers.list(), [report(A, State::Open, 5, 1, Some(at(6))), b.clone()]);
        breakers.may_send(A, at(7));
        assert_eq!(breakers.list(), [report(A, State::HalfOpen, 5, 7, None), b]);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let breakers = breakers();
        fail(&breakers, 5, at(0));
        for n in 0..HOSTS_MAX + 10 {
            breakers.failed(&format!("{n}.example:443"), at(1 + i64::try_from(n).expect("it fits")));
        }
        let list = breakers.list();
        assert_eq!(list.len(), HOSTS_MAX);
        // Those go first that nothing is lost with.
        assert!(list.iter().any(|report| report.host == A));
        assert!(list.iter().all(|report| report.host != "0.example:443"));
    }
}
