//! How often one client may ask, and how much of it at once.

use serde::{Deserialize, Serialize};

/// Requests per second in the long run, 0 for no limit, and how many may come at once.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub address_per_s: f64,
    pub address_burst: u32,
    pub auth_per_s: f64,
    pub auth_burst: u32,
    pub refusals_per_s: f64,
    pub refusals_burst: u32,
    pub client_per_s: f64,
    pub client_burst: u32,
    pub polls_per_s: f64,
    pub polls_burst: u32,
    /// WebSockets that are open: all, and those of one address.
    pub sockets_max: u32,
    pub sockets_per_address: u32,
    /// Requests that wait for changes.
    pub feeds_max: u32,
    pub feeds_per_client: u32,
}

/// One in 3,333 seconds: with a burst of a million, nanoseconds still fit 64 bits.
const PER_S_MIN: f64 = 0.0003;
const PER_S_MAX: f64 = 1_000_000.0;
const BURST_MAX: u32 = 1_000_000;
const SOCKETS_MAX: u32 = 100_000;
const FEEDS_MAX: u32 = 100_000;

impl Limits {
    /// What is wrong with them.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, value) in [("feeds_max", self.feeds_max), ("feeds_per_client", self.feeds_per_client)] {
            if !(1..=FEEDS_MAX).contains(&value) {
                faults.push(format!("limits.{name} is {value}, but must be from 1 to {FEEDS_MAX}"));
            }
        }
        for (name, per_s, burst) in [
            ("address", self.address_per_s, self.address_burst),
            ("auth", self.auth_per_s, self.auth_burst),
            ("refusals", self.refusals_per_s, self.refusals_burst),
            ("client", self.client_per_s, self.client_burst),
            ("polls", self.polls_per_s, self.polls_burst),
        ] {
            if per_s != 0.0 && !(PER_S_MIN..=PER_S_MAX).contains(&per_s) {
                faults.push(format!(
                    "limits.{name}_per_s is {per_s}, but must be 0 (no limit) or from {PER_S_MIN} to {PER_S_MAX}"
                ));
            }
            if !(1..=BURST_MAX).contains(&burst) {
                faults.push(format!("limits.{name}_burst is {burst}, but must be from 1 to {BURST_MAX}"));
            }
        }
        for (name, count) in [("max", self.sockets_max), ("per_address", self.sockets_per_address)] {
            if count > SOCKETS_MAX {
                faults.push(format!("limits.sockets_{name} is {count}, but must be at most {SOCKETS_MAX}"));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    #[test]
    fn rates_and_bursts_are_within_bounds() {
        let limits = Settings::defaults().expect("defaults").limits;
        assert_eq!(limits.faults(), Vec::<String>::new());
        for (per_s, is_right) in
            [(0.0, true), (0.0003, true), (1e6, true), (-1.0, false), (1e-9, false), (1e9, false), (f64::NAN, false)]
        {
            let limits = super::Limits { auth_per_s: per_s, ..limits.clone() };
            assert_eq!(limits.faults().is_empty(), is_right, "{per_s}");
        }
        for (burst, is_right) in [(0, false), (1, true), (1_000_000, true), (1_000_001, false)] {
            let limits = super::Limits { client_burst: burst, ..limits.clone() };
            assert_eq!(limits.faults().is_empty(), is_right, "{burst}");
        }
    }
}
