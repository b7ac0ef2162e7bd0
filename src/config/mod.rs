//! Settings: built-in default, then `plumbline.yaml`, then the environment (`PLUMBLINE_…`), then the command line.

mod limits;
mod network;
mod server;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Yaml};
use serde::{Deserialize, Serialize};

use crate::validate::Enforce;
pub use limits::Limits;
pub use network::Network;
pub use server::{ClientCertificates, Server};

/// Every setting with its default, unit and reason; compiled in, and the documentation of the settings.
pub const DEFAULTS: &str = include_str!("default.yaml");

/// Read from the working directory when no file is named.
const DEFAULT_FILE: &str = "plumbline.yaml";

/// All settings, resolved and checked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub data: PathBuf,
    pub database_url: Option<String>,
    pub server: Server,
    pub limits: Limits,
    pub search: Search,
    pub store: StoreSettings,
    pub validation: Validation,
    pub import: Import,
    pub log: Log,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    pub count_default: usize,
    pub count_max: usize,
    pub includes_max: usize,
    pub limit_ms: u64,
    pub inline_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    pub references: References,
    pub transaction_entries_max: usize,
    pub conditional_delete_max: usize,
    pub readers: usize,
    pub writers: usize,
    pub queue_max: usize,
}

/// Referential integrity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum References {
    /// A reference may point to what is not here yet: data can be loaded in any order.
    Off,
    /// Every reference to this server resolves; what is referred to cannot be deleted.
    Enforce,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    pub enforce: Enforce,
    pub packages: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    pub transaction_resources: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// Reads the settings. `file` must exist when it is named; without a name `plumbline.yaml` is read if it is there.
    ///
    /// # Errors
    /// A sentence that names the setting, what is wrong with it and where it was written.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        let mut figment = Figment::from(Yaml::string(DEFAULTS));
        match file {
            Some(file) if !file.is_file() => {
                return Err(format!("the settings file {} does not exist", file.display()));
            }
            Some(file) => figment = figment.merge(Yaml::file_exact(file)),
            None if Path::new(DEFAULT_FILE).is_file() => figment = figment.merge(Yaml::file_exact(DEFAULT_FILE)),
            None => {}
        }
        // A dot is `__` in the environment: PLUMBLINE_SERVER__LISTEN.
        let settings: Self = figment
            .merge(Env::prefixed("PLUMBLINE_").split("__").map(|name| name.as_str().to_lowercase().into()))
            .extract()
            .map_err(|error| format!("settings: {error}"))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        let mut faults = Vec::new();
        let mut at_least = |name: &str, value: usize, least: usize| {
            if value < least {
                faults.push(format!("{name} is {value}, but must be at least {least}"));
            }
        };
        at_least("search.count_default", self.search.count_default, 1);
        at_least("search.count_max", self.search.count_max, self.search.count_default.max(1));
        at_least("store.readers", self.store.readers, 1);
        at_least("store.writers", self.store.writers, 1);
        at_least("store.queue_max", self.store.queue_max, 1);
        at_least("server.body_bytes_max", self.server.body_bytes_max, 1024);
        at_least("import.transaction_resources", self.import.transaction_resources, 1);
        faults.extend(self.server.fault());
        faults.extend(self.limits.faults());
        if faults.is_empty() { Ok(()) } else { Err(format!("settings: {}", faults.join("; "))) }
    }

    /// The settings where nobody set anything.
    #[cfg(test)]
    pub(crate) fn defaults() -> Result<Self, String> {
        Figment::from(Yaml::string(DEFAULTS)).extract().map_err(|error| error.to_string())
    }

    /// The database's URL: as set, or a SQLite file in the data folder.
    pub fn database_url(&self) -> String {
        self.database_url.clone().unwrap_or_else(|| format!("sqlite:{}", self.data.join("plumbline.db").display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_sound() {
        Settings::defaults().expect("defaults").check().expect("sound");
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let figment = Figment::from(Yaml::string(DEFAULTS)).merge(Yaml::string("server: {lisen: x}"));
        let error = figment.extract::<Settings>().expect_err("refused").to_string();
        assert!(error.contains("lisen"), "{error}");
    }
}
