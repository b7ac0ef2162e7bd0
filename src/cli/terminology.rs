//! `plumbline terminology`: what an operator loads beside what is built in, as files in the data folder.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::knowledge::{self, of_packages};
use super::output::output;
use crate::config::Settings;
use crate::fhir::terminology::nucc;
use crate::files;

/// Where they are, below the data folder.
const FOLDER: &str = "terminology";
const NUCC_FILE: &str = "nucc.json";
/// Bytes of all files in that folder, and of the taxonomy's CSV file: several times what the largest ones have.
const FILES_BYTES_MAX: u64 = 256 << 20;
const NUCC_BYTES_MAX: u64 = 16 << 20;
/// Faults of a file that are told one by one.
const FAULTS_TOLD: usize = 20;

/// Load code systems, such as the NUCC's provider taxonomy, or list what is there
///
/// The code systems and value sets of FHIR R4 and of Plan-Net are built in. What is licensed is not: you load it from the
/// publisher's file. It is kept in the folder `terminology` of the data folder, and a running server takes it at its next
/// start. Any CodeSystem, ValueSet or Bundle of them that is put there as a .json file is read as well. Servers that share a
/// database each read their own data folder.
#[derive(Debug, Args)]
pub struct TerminologyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load a code system from its publisher's file
    Load {
        #[command(subcommand)]
        what: Load,
    },
    /// List the code systems that are there, and the value sets whose codes are not all known
    #[command(after_help = "Exit code: 0 listed; 2 it could not run.")]
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Load {
    /// The provider taxonomy, from the CSV file that the NUCC publishes
    ///
    /// Get the file from nucc.org, Code Sets, Provider Taxonomy, CSV. The version is taken from its name:
    /// nucc_taxonomy_251.csv is 25.1. What was loaded before is replaced.
    #[command(after_help = "Example:
  plumbline terminology load nucc nucc_taxonomy_251.csv --data ./data

Exit code: 0 loaded; 1 the file is not what it should be, nothing was changed; 2 it could not run.")]
    Nucc {
        /// The CSV file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Load it even if it has less than half of the codes of the one that was loaded before
        #[arg(long)]
        force: bool,
    },
}

/// Loads or lists.
///
/// # Errors
/// When a file cannot be read or written.
pub fn run(settings: &Settings, args: &TerminologyArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Load { what: Load::Nucc { file, force } } => load_nucc(&settings.data, file, *force),
        Command::List { json } => list(settings, *json),
    }
}

fn load_nucc(data: &Path, file: &Path, force: bool) -> anyhow::Result<ExitCode> {
    let text =
        files::read_within(file, NUCC_BYTES_MAX).with_context(|| format!("{} cannot be read", file.display()))?;
    let version = file.file_name().and_then(|name| nucc::version_of(&name.to_string_lossy()));
    let system = match nucc::code_system(&text, version.as_deref()) {
        Ok(system) => system,
        Err(faults) => {
            let told: Vec<String> =
                faults.iter().take(FAULTS_TOLD).map(|fault| format!("{}, {fault}", file.display())).collect();
            eprintln!("{}", told.join("\n"));
            let more = faults.len().saturating_sub(FAULTS_TOLD);
            let rest = if more > 0 { format!("{more} more faults. ") } else { String::new() };
            eprintln!(
                "plumbline: {rest}Nothing was loaded: this is not the provider taxonomy as the NUCC publishes it."
            );
            return Ok(ExitCode::from(1));
        }
    };
    let codes = concepts(&system);
    let path = data.join(FOLDER).join(NUCC_FILE);
    let before = loaded_codes(&path);
    if codes * 2 < before && !force {
        eprintln!(
            "plumbline: {} has {codes} codes, and {before} are loaded: part of it seems to be missing. Nothing was loaded; --force loads it all the same.",
            file.display()
        );
        return Ok(ExitCode::from(1));
    }
    files::replace(&path, system.to_string().as_bytes())
        .with_context(|| format!("{} cannot be written", path.display()))?;
    let version =
        version.map_or_else(|| "its name tells no version".to_owned(), |version| format!("version {version}"));
    let mut out = output();
    writeln!(out, "Codes of {} loaded: {codes} ({version}), into {}.", nucc::URL, path.display())?;
    writeln!(out, "A running server takes them at its next start.")?;
    Ok(ExitCode::SUCCESS)
}

fn concepts(system: &Value) -> usize {
    system.get("concept").and_then(Value::as_array).map_or(0, Vec::len)
}

/// How many codes were loaded before; 0 where nothing was, or nothing that can be read.
fn loaded_codes(path: &Path) -> usize {
    let text = files::read_within(path, FILES_BYTES_MAX).unwrap_or_default();
    serde_json::from_slice(&text).as_ref().map_or(0, concepts)
}

fn list(settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let packages = of_packages(settings)?;
    let own = load(&settings.data)?;
    let url = |resource: &Value| resource.get("url").and_then(Value::as_str).map(str::to_owned);
    let of_package: HashSet<String> = packages.iter().filter_map(url).collect();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let of_file: HashMap<String, String> = own
        .iter()
        .flat_map(|(path, resources)| resources.iter().filter_map(move |resource| Some((url(resource)?, name(path)))))
        .collect();
    let from = |url: &str| match of_file.get(url) {
        Some(file) => file.as_str(),
        None if of_package.contains(url) => "from a package",
        None => "built in",
    };
    let terminology = knowledge::terminology(own, packages)?.0;
    let mut systems: Vec<_> = terminology.systems().collect();
    systems.sort_by(|a, b| a.url.cmp(&b.url));
    let mut sets: Vec<&str> = terminology.value_sets().collect();
    sets.sort_unstable();
    let partial = sets.iter().filter_map(|url| Some((*url, terminology.try_code_set(url).err()?)));
    let mut out = output();
    if as_json {
        let system = |system: &&crate::fhir::terminology::System| {
            json!({"url": system.url, "version": system.version, "codes": system.concepts().len(),
                "complete": system.complete, "from": from(&system.url)})
        };
        let partial = partial.map(|(url, reason)| json!({"url": url, "reason": reason.to_string()}));
        let listed = json!({"codeSystems": systems.iter().map(system).collect::<Vec<_>>(),
            "valueSets": sets.len(), "valueSetsNotInFull": partial.collect::<Vec<_>>()});
        writeln!(out, "{listed}")?;
        return Ok(ExitCode::SUCCESS);
    }
    for system in &systems {
        let part = if system.complete { "" } else { " (a part)" };
        let (codes, version) = (system.concepts().len(), system.version.as_deref().unwrap_or("-"));
        writeln!(out, "{codes:>6} codes  {version:<10} {}{part}  {}", system.url, from(&system.url))?;
    }
    writeln!(out, "{} code systems, {} value sets", systems.len(), sets.len())?;
    for (url, reason) in partial {
        writeln!(out, "not all codes known: {url}: {reason}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is in `DATA/terminology/*.json`, file by file in the order of the names; a Bundle stands for what is in it.
///
/// # Errors
/// When a file cannot be read, is no JSON, or all are longer together than they may be; the sentence names it.
pub fn load(data: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<Value>)>> {
    let folder = data.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("{} cannot be read", folder.display()))?,
    };
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut left = FILES_BYTES_MAX;
    let mut loaded = Vec::with_capacity(paths.len());
    for path in paths {
        let length = fs::metadata(&path).with_context(|| format!("{} cannot be read", path.display()))?.len();
        ensure!(
            length <= left,
            "{} is too long: the files in {} may have {FILES_BYTES_MAX} bytes together",
            path.display(),
            folder.display()
        );
        let text = files::read_within(&path, left).with_context(|| format!("{} cannot be read", path.display()))?;
        left = left.saturating_sub(text.len() as u64);
        let resource: Value = serde_json::from_slice(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))
            .with_context(|| format!("{} is no JSON", path.display()))?;
        loaded.push((path, unpacked(resource)));
    }
    Ok(loaded)
}

/// The resources of a Bundle, or the one resource.
fn unpacked(mut resource: Value) -> Vec<Value> {
    if resource.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
        return vec![resource];
    }
    let entries = resource.get_mut("entry").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    entries.into_iter().filter_map(|mut entry| Some(entry.get_mut("resource")?.take())).collect()
}
