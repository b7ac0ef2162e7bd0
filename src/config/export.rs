//! Settings of bulk exports.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    pub folder: Option<PathBuf>,
    pub running_max: usize,
    pub client_max: u32,
    pub all_max: u32,
    pub keep_s: u32,
    pub lease_s: u32,
}

impl Export {
    /// What is wrong with these settings.
    pub(super) fn faults(&self) -> Vec<String> {
        let bounds = [
            ("client_max", self.client_max, 1, 10_000),
            ("all_max", self.all_max, 1, 100_000),
            ("keep_s", self.keep_s, 1, 31_536_000),
            ("lease_s", self.lease_s, 1, 3_600),
        ];
        let outside = bounds.into_iter().filter(|(_, value, least, most)| !(*least..=*most).contains(value));
        let mut faults: Vec<String> = outside
            .map(|(name, value, least, most)| format!("export.{name} is {value}, but must be {least} to {most}"))
            .collect();
        if self.running_max > 64 {
            faults.push(format!("export.running_max is {}, but must be 0 to 64", self.running_max));
        }
        faults
    }
}
