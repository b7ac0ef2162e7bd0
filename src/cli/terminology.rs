//! `plumbline terminology`: what an operator loads beside what is built in, as files in the data folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::knowledge::{self, of_packages};
use crate::config::Settings;
use crate::fhir::terminology::nucc;

/// Where they are, below the data folder.
const FOLDER: &str = "terminology";
const NUCC_FILE: &str = "nucc.json";
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
    List,
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
    },
}

/// Loads or lists.
///
/// # Errors
/// When a file cannot be read or written.
pub fn run(settings: &Settings, args: &TerminologyArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Load { what: Load::Nucc { file } } => load_nucc(&settings.data, file),
        Command::List => list(settings),
    }
}

fn load_nucc(data: &Path, file: &Path) -> anyhow::Result<ExitCode> {
    let text = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
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
    let codes = system.get("concept").and_then(Value::as_array).map_or(0, Vec::len);
    let path = data.join(FOLDER).join(NUCC_FILE);
    replace(&path, &system.to_string()).with_context(|| format!("{} cannot be written", path.display()))?;
    let version =
        version.map_or_else(|| "its name tells no version".to_owned(), |version| format!("version {version}"));
    writeln!(io::stdout(), "{codes} codes of {}, {version}, are in {}.", nucc::URL, path.display())?;
    writeln!(io::stdout(), "A running server takes them at its next start.")?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file in one step: whoever reads it finds the old one or the new one, whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&draft, path));
    if replaced.is_err() {
        let _may_be_gone = fs::remove_file(&draft);
    }
    replaced?;
    File::open(folder)?.sync_all()
}

fn list(settings: &Settings) -> anyhow::Result<ExitCode> {
    let packages = of_packages(settings)?;
    let loaded = files(&settings.data)?;
    let terminology = knowledge::terminology(&settings.data, packages.clone())?.0;
    let has = |resources: &[Value], url: &str| {
        resources.iter().any(|resource| resource.get("url").is_some_and(|own| own == url))
    };
    let from = |url: &str| match loaded.iter().rev().find(|(_, resources)| has(resources, url)) {
        Some((path, _)) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        None if has(&packages, url) => "from a package".to_owned(),
        None => "built in".to_owned(),
    };
    let mut systems: Vec<_> = terminology.systems().collect();
    systems.sort_by(|a, b| a.url.cmp(&b.url));
    let mut out = io::stdout().lock();
    for system in &systems {
        let part = if system.complete { "" } else { " (a part)" };
        let version = system.version.as_deref().unwrap_or("-");
        writeln!(
            out,
            "{:>6} codes  {version:<10} {}{part}  {}",
            system.concepts().len(),
            system.url,
            from(&system.url)
        )?;
    }
    let mut sets: Vec<&str> = terminology.value_sets().collect();
    sets.sort_unstable();
    writeln!(out, "{} code systems, {} value sets", systems.len(), sets.len())?;
    for url in sets {
        if let Err(reason) = terminology.try_code_set(url) {
            writeln!(out, "not all codes known: {url}: {reason}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The CodeSystem and ValueSet resources in `DATA/terminology/*.json`, in the order of the file names; a Bundle stands for
/// what is in it.
///
/// # Errors
/// When a file cannot be read or is no JSON; the sentence names it.
pub fn load(data: &Path) -> anyhow::Result<Vec<Value>> {
    Ok(files(data)?.into_iter().flat_map(|(_, resources)| resources).collect())
}

/// The same, file by file.
fn files(data: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<Value>)>> {
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
    let read = |path: PathBuf| {
        let text = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let resource: Value =
            serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?;
        Ok((path, unpacked(resource)))
    };
    paths.into_iter().map(read).collect()
}

/// The resources of a Bundle, or the one resource.
fn unpacked(mut resource: Value) -> Vec<Value> {
    if resource.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
        return vec![resource];
    }
    let entries = resource.get_mut("entry").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    entries.into_iter().filter_map(|mut entry| Some(entry.get_mut("resource")?.take())).collect()
}
