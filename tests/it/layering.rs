//! Who may use whom: `src/ARCHITECTURE.md` says it, this holds the code to it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module and what it may use of its own crate, besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("fhir", &[]),
    ("search", &["fhir"]),
    ("subscriptions", &["fhir", "search"]),
    ("validate", &["fhir"]),
    ("store", &["fhir", "search"]),
    ("config", &["validate"]),
    ("files", &[]),
    ("net", &["config"]),
    ("packages", &["fhir", "files"]),
    ("limits", &["config"]),
    ("auth", &["fhir", "config", "search", "net", "store"]),
    ("app", &["fhir", "config", "search", "validate", "net", "store", "limits", "auth"]),
    ("interactions", &["fhir", "config", "search", "subscriptions", "validate", "store", "auth", "app"]),
    ("delivery", &["fhir", "config", "net", "store", "search", "subscriptions", "auth", "app", "interactions"]),
    ("smart", &["fhir", "config", "store", "auth", "app", "interactions"]),
    ("http", &["fhir", "config", "search", "store", "auth", "app", "interactions", "smart"]),
    ("demo", &[]),
    ("ingest", &["fhir", "config", "search", "validate", "store", "auth", "app", "interactions"]),
    ("export", &["fhir", "files", "search", "store", "app"]),
    (
        "cli",
        &[
            "fhir",
            "config",
            "search",
            "validate",
            "files",
            "packages",
            "store",
            "auth",
            "app",
            "interactions",
            "delivery",
            "smart",
            "http",
            "demo",
            "ingest",
            "export",
        ],
    ),
];

/// Crates that belong to one module.
const CRATES: &[(&str, &[&str])] = &[
    ("actix_web", &["http", "cli"]),
    ("actix_tls", &["http"]),
    ("governor", &["limits"]),
    ("jsonwebtoken", &["auth", "smart"]),
    ("argon2", &["auth"]),
    ("maud", &["http"]),
    ("rpassword", &["cli"]),
    ("diesel", &["store"]),
    ("diesel_async", &["store"]),
    ("tokio_postgres", &["store"]),
    ("fhirbolt", &["fhir"]),
    ("reqwest", &["net"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("indicatif", &["cli"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the sources").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

/// The names right after each `marker` in a line of code.
fn names_after<'l>(line: &'l str, marker: &str) -> impl Iterator<Item = &'l str> {
    line.match_indices(marker).map(move |(at, _)| {
        let rest = &line[at + marker.len()..];
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

#[test]
fn modules_use_only_what_stands_above_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let modules: BTreeSet<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in &files {
        let path = file.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
        let module = path.split(['/', '.']).next().unwrap_or_default().to_owned();
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{path}: the module {module} is not in the table"));
            continue;
        };
        seen.insert(module.clone());
        let text = fs::read_to_string(file).expect("a source in UTF-8");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in names_after(line, "crate::")
                .filter(|used| modules.contains(used) && *used != module && !allowed.contains(used))
            {
                wrong.push(format!("{path}:{}: {module} uses {used}", number + 1));
            }
            for (name, homes) in CRATES {
                if line.contains(&format!("{name}::")) && !homes.iter().any(|home| path.starts_with(home)) {
                    wrong.push(format!("{path}:{}: {name} belongs to {}", number + 1, homes.join(", ")));
                }
            }
        }
    }
    let missing: Vec<_> = modules.iter().filter(|module| !seen.contains(**module)).collect();
    assert!(missing.is_empty(), "in the table, but not in the sources: {missing:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
