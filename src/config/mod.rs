//! Settings: built-in default, then `plumbline.yaml`, then the environment (`PLUMBLINE_…`), then the command line.

mod auth;
mod delivery;
mod export;
mod limits;
mod network;
mod server;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Yaml};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::validate::Enforce;
pub use auth::{Auth, Issuer, Secret};
pub use delivery::Delivery;
pub use export::Export;
pub use limits::Limits;
pub use network::Network;
pub use server::{ClientCertificates, Server};

/// Every setting with its default, unit and reason; compiled in, and the documentation of the settings.
pub const DEFAULTS: &str = include_str!("default.yaml");

/// Read from the working directory when no file is named.
const DEFAULT_FILE: &str = "plumbline.yaml";

/// `net.allow_private` by a name that scripts rely on, which is not made as the others are.
const ALLOW_PRIVATE: &str = "PLUMBLINE_NET_ALLOW_PRIVATE";

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
    pub net: Net,
    pub auth: Auth,
    pub delivery: Delivery,
    pub import: Import,
    pub export: Export,
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

/// What outbound calls may reach.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Net {
    pub allow_private: Vec<String>,
}

impl Net {
    /// `allow_private` as ranges; a single address is a range of one.
    ///
    /// # Errors
    /// A sentence that names the setting and what is no range in it.
    pub fn ranges(&self) -> Result<Vec<IpNet>, String> {
        let range = |text: &String| {
            let range = text.parse().or_else(|_no_range| text.parse::<IpAddr>().map(IpNet::from));
            range.map_err(|_no_address| {
                format!(
                    "net.allow_private has '{text}', which is neither an IP address nor a range such as 10.1.0.0/16"
                )
            })
        };
        self.allow_private.iter().map(range).collect()
    }
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
        let environment = Env::prefixed("PLUMBLINE_").ignore(&["net_allow_private"]).split("__");
        figment = figment.merge(environment.map(|name| name.as_str().to_lowercase().into()));
        if let Some(ranges) = Env::var(ALLOW_PRIVATE) {
            figment = figment.merge(("net.allow_private", listed(&ranges)));
        }
        let settings: Self = figment.extract().map_err(|error| format!("settings: {error}"))?;
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
        faults.extend(self.net.ranges().err());
        faults.extend(self.server.fault());
        faults.extend(self.limits.faults());
        faults.extend(self.auth.faults());
        faults.extend(self.delivery.faults());
        faults.extend(self.export.faults());
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

/// The items of a list with commas; blank ones are none.
fn listed(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(allow_private: &str) -> Net {
        Net { allow_private: listed(allow_private).into_iter().map(str::to_owned).collect() }
    }

    #[test]
    fn what_may_be_called_is_listed_as_ranges_or_addresses() {
        let ranges =
            |text: &str| net(text).ranges().map(|ranges| ranges.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(ranges(" , ").expect("none"), Vec::<String>::new());
        assert_eq!(
            ranges("127.0.0.0/8, 10.1.2.3,fd00::/8,::1").expect("ranges"),
            ["127.0.0.0/8", "10.1.2.3/32", "fd00::/8", "::1/128"]
        );
        for wrong in ["10.0.0.0/33", "10.1", "localhost", "10.0.0.1-10.0.0.9", "*"] {
            let refused = ranges(&format!("10.1.0.0/16,{wrong}")).expect_err("refused");
            assert!(refused.contains("net.allow_private") && refused.contains(&format!("'{wrong}'")), "{refused}");
        }
    }

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
