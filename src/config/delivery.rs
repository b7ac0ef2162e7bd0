//! Settings of delivery.

use serde::{Deserialize, Serialize};

/// How notifications are sent to other servers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    pub retry_steps_s: Vec<u64>,
    pub then_every_s: u64,
    pub retry_jitter: f64,
    pub give_up_h: u32,
    pub timeout_s: u32,
    pub concurrency_max: u32,
    pub per_host_max: u32,
    pub breaker_failures: u32,
    pub allow_http: bool,
    pub key_overlap_days: u32,
    pub attempts_days: u32,
    pub history_days: u32,
}

/// Seconds between two attempts: a week.
const WAIT_MAX: u64 = 604_800;
const STEPS_MAX: usize = 100;

impl Delivery {
    /// What is wrong with these settings.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.retry_steps_s.len() > STEPS_MAX {
            let steps = self.retry_steps_s.len();
            faults.push(format!("delivery.retry_steps_s has {steps} steps, but must have at most {STEPS_MAX}"));
        }
        if let Some(step) = self.retry_steps_s.iter().find(|step| !(1..=WAIT_MAX).contains(*step)) {
            faults.push(format!("delivery.retry_steps_s has {step}, but a step must be 1 to {WAIT_MAX}"));
        }
        if self.then_every_s > WAIT_MAX {
            let every = self.then_every_s;
            faults.push(format!("delivery.then_every_s is {every}, but must be 0 (none) to {WAIT_MAX}"));
        }
        if !(0.0..=1.0).contains(&self.retry_jitter) {
            faults.push(format!("delivery.retry_jitter is {}, but must be 0 to 1", self.retry_jitter));
        }
        let bounds = [
            ("give_up_h", self.give_up_h, 0, 8_760),
            ("timeout_s", self.timeout_s, 1, 60),
            ("concurrency_max", self.concurrency_max, 1, 10_000),
            ("per_host_max", self.per_host_max, 1, self.concurrency_max.max(1)),
            ("breaker_failures", self.breaker_failures, 1, 1_000),
            ("key_overlap_days", self.key_overlap_days, 1, 365),
            ("attempts_days", self.attempts_days, 1, 3_650),
            ("history_days", self.history_days, 1, 3_650),
        ];
        let outside = bounds.into_iter().filter(|(_, value, least, most)| !(*least..=*most).contains(value));
        faults
            .extend(outside.map(|(name, value, least, most)| {
                format!("delivery.{name} is {value}, but must be {least} to {most}")
            }));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::Delivery;
    use crate::config::Settings;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let sound = Settings::defaults().expect("defaults").delivery;
        assert_eq!(sound.faults(), Vec::<String>::new());
        type Change = (&'static str, fn(&mut Delivery));
        let changes: [Change; 14] = [
            ("retry_steps_s", |it| it.retry_steps_s = vec![1, 0]),
            ("retry_steps_s", |it| it.retry_steps_s = vec![604_801]),
            ("retry_steps_s", |it| it.retry_steps_s = vec![1; 101]),
            ("then_every_s", |it| it.then_every_s = 604_801),
            ("retry_jitter", |it| it.retry_jitter = f64::NAN),
            ("retry_jitter", |it| it.retry_jitter = -0.1),
            ("timeout_s", |it| it.timeout_s = 0),
            ("timeout_s", |it| it.timeout_s = 61),
            ("concurrency_max", |it| it.concurrency_max = 0),
            ("per_host_max", |it| it.per_host_max = 257),
            ("breaker_failures", |it| it.breaker_failures = 0),
            ("key_overlap_days", |it| it.key_overlap_days = 0),
            ("attempts_days", |it| it.attempts_days = 0),
            ("history_days", |it| it.history_days = 3_651),
        ];
        for (name, change) in changes {
            let mut wrong = sound.clone();
            change(&mut wrong);
            let faults = wrong.faults();
            assert!(faults.iter().any(|fault| fault.contains(&format!("delivery.{name} "))), "{name}: {faults:?}");
        }
        let three_tries = Delivery { retry_steps_s: vec![1, 1], then_every_s: 0, retry_jitter: 0.0, ..sound.clone() };
        assert_eq!(three_tries.faults(), Vec::<String>::new());
        let one_try = Delivery { retry_steps_s: vec![], then_every_s: 0, give_up_h: 0, ..sound };
        assert_eq!(one_try.faults(), Vec::<String>::new());
    }
}
