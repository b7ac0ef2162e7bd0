//! `plumbline package`: FHIR packages of profiles and terminology, kept in the data folder.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::output;
use super::{knowledge, sentence, terminology};
use crate::config::Settings;
use crate::fhir::terminology::{Terminology, Unexpandable};
use crate::packages::{self, Candidate, Counts, Package};
use crate::validate::Validator;

/// The package of R4 itself: what a directory needs of it is built in.
const CORE: &str = "hl7.fhir.r4.core";

/// Add FHIR packages of profiles and terminology, list and remove them
///
/// The profiles, code systems and value sets of Plan-Net are built in. Others come as FHIR packages: files that registries
/// hand out under a name and a version. A package is added to the data folder and used from the server's next start, once
/// the setting validation.packages names it. What it has in common with what is built in, by URL, takes the place of that.
/// Servers that share a database each read their own data folder.
#[derive(Debug, Args)]
pub struct PackageArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check packages and put them into the data folder
    ///
    /// Every profile is compiled, together with the packages that are in use. What cannot be compiled or evaluated is
    /// listed: it will not be checked, but the package is added.
    #[command(after_help = "Example:
  npm pack hl7.fhir.us.davinci-pdex-plan-net@1.2.0
  plumbline package add hl7.fhir.us.davinci-pdex-plan-net-1.2.0.tgz

Exit code: 0 added; 1 added, but some definitions cannot be used at all; 2 it could not run, nothing was added.")]
    Add {
        /// Packages, as a registry hands them out
        #[arg(required = true, value_name = "FILE.tgz")]
        files: Vec<PathBuf>,
    },
    /// List the packages in the data folder
    #[command(after_help = "Exit code: 0 all could be read; 1 one is damaged; 2 it could not run.")]
    List {
        /// Name the value sets whose codes are not all known, each with the reason
        #[arg(long)]
        value_sets: bool,
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a package from the data folder
    #[command(after_help = "Exit code: 0 removed; 2 it is not installed, or it could not run.")]
    Remove {
        /// As plumbline package list names it
        #[arg(value_name = "NAME#VERSION")]
        package: String,
    },
}

/// Adds, lists or removes.
///
/// # Errors
/// When a file is no package, or the data folder cannot be read or written.
pub fn run(settings: &Settings, args: &PackageArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Add { files } => add(settings, files),
        Command::List { value_sets, json } => list(settings, *value_sets, *json),
        Command::Remove { package } => remove(settings, package),
    }
}

fn add(settings: &Settings, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    // Whatever can fail comes before the first package gets its name: either all are added or none.
    let check = |file: &PathBuf| Candidate::check(&settings.data, file);
    let mut added = files.iter().map(check).collect::<Result<Vec<_>, _>>()?;
    let packages = || added.iter().map(|candidate| &candidate.package);
    let names: HashSet<&str> = packages().map(|package| package.name.as_str()).collect();
    let mut resources = others_in_use(settings, &names);
    // Another version of what is added is not used together with it.
    let is_other = |name: &&str| !names.contains(name.split_once('#').map_or(*name, |(name, _)| name));
    let others = settings.validation.packages.iter().map(String::as_str).filter(is_other).map(str::to_owned);
    let together: Vec<String> = others.chain(packages().map(Package::id)).collect();
    let contents: Vec<Contents> = packages().map(Contents::of).collect();
    resources.extend(added.iter_mut().flat_map(|candidate| std::mem::take(&mut candidate.package.resources)));
    let (validator, unreadable) = knowledge::assemble(&settings.data, resources)?;
    let unreadable: Vec<(&str, &str)> = unreadable.iter().map(|it| (it.url.as_str(), it.reason.as_str())).collect();

    let before = packages::installed(&settings.data)?;
    let added = packages::install(added)?;
    let known: HashSet<&str> =
        before.iter().map(|one| &*one.name).chain(added.iter().map(|package| &*package.name)).collect();
    let mut out = output();
    let mut refused = 0;
    for (package, contents) in added.iter().zip(&contents) {
        refused += contents.report(package, &validator, &unreadable, &known, &mut out)?;
    }
    let missing: Vec<String> = added.iter().map(Package::id).filter(|id| !is_in_use(settings, id)).collect();
    if missing.is_empty() {
        writeln!(out, "The settings name it already: a running server takes it at its next start.")?;
    } else {
        writeln!(out, "To use it, put this into the settings; a running server takes it at its next start:")?;
        writeln!(out, "  validation: {{packages: [{}]}}", quoted(&together))?;
    }
    Ok(if refused > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The items of a list in YAML. Each is quoted: a name may be a path, with a comma or a bracket in it.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| json!(name).to_string()).collect::<Vec<_>>().join(", ")
}

/// The resources of the packages that the settings name, but for those of these names. What cannot be read is told and left
/// out: the one that is added may be the remedy.
fn others_in_use(settings: &Settings, names: &HashSet<&str>) -> Vec<Value> {
    let mut resources = Vec::new();
    for name in &settings.validation.packages {
        match packages::find(&settings.data, name).and_then(|path| packages::read(&path)) {
            Ok(package) if names.contains(package.name.as_str()) => {}
            Ok(package) => resources.extend(package.resources),
            Err(error) => eprintln!("The setting validation.packages: {}.", sentence(&error.into())),
        }
    }
    resources
}

/// True for an installed package that the settings name.
fn is_in_use(settings: &Settings, id: &str) -> bool {
    let names = |name: &str| match packages::installed(&settings.data) {
        Ok(all) => packages::find(&settings.data, name)
            .is_ok_and(|path| all.iter().any(|one| one.path == path && one.to_string() == id)),
        Err(_) => false,
    };
    settings.validation.packages.iter().any(|name| names(name))
}

/// What was in a package, by name, when its resources are elsewhere.
struct Contents {
    counts: Counts,
    urls: HashSet<String>,
    value_sets: Vec<String>,
}

impl Contents {
    fn of(package: &Package) -> Self {
        let is_set = |it: &&Value| it.get("resourceType").and_then(Value::as_str) == Some("ValueSet");
        let sets = package.resources.iter().filter(is_set).filter_map(|it| it.get("url")?.as_str());
        Self {
            counts: package.counts(),
            urls: package.urls().map(str::to_owned).collect(),
            value_sets: sets.map(str::to_owned).collect(),
        }
    }

    /// Tells what is in a package and what of it cannot be used; returns how many definitions those are.
    fn report(
        &self,
        package: &Package,
        validator: &Validator,
        unreadable: &[(&str, &str)],
        installed: &HashSet<&str>,
        out: &mut impl io::Write,
    ) -> io::Result<usize> {
        writeln!(out, "{}: {}", package.id(), words(&self.counts))?;
        let structures = validator.profiles().refused.iter().map(|(url, error)| (&**url, error.to_string()));
        let codes = unreadable.iter().map(|(url, reason)| (*url, (*reason).to_owned()));
        let mut refused: Vec<(&str, String)> =
            structures.chain(codes).filter(|(url, _)| self.urls.contains(*url)).collect();
        refused.sort();
        for (url, reason) in &refused {
            writeln!(out, "  cannot be used: {url}: {reason}")?;
        }
        for profile in validator.profiles().iter().filter(|profile| self.urls.contains(&*profile.url)) {
            for problem in &profile.problems {
                writeln!(out, "  will not be checked: {}: {problem}", profile.url)?;
            }
        }
        let partial = self.not_in_full(validator.terminology()).count();
        if partial > 0 {
            let of = self.value_sets.len();
            writeln!(out, "  {partial} of {of} value sets: not all codes are known, so codes of them are not refused")?;
            writeln!(out, "    (plumbline package list --value-sets names them)")?;
        }
        if !package.foreign.is_empty() {
            let types: Vec<String> = package.foreign.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(out, "  passed over, profiles of types that this server does not know: {}", types.join(", "))?;
        }
        let is_here = |name: &str| name == CORE || installed.contains(name);
        let absent = package.dependencies.iter().filter(|(name, _)| !is_here(name));
        let absent: Vec<String> = absent.map(|(name, version)| format!("{name}#{version}")).collect();
        if !absent.is_empty() {
            writeln!(out, "  not installed, and not needed by profiles with a snapshot: {}", absent.join(", "))?;
        }
        Ok(refused.len())
    }

    /// The value sets of which not all codes are known, and why.
    fn not_in_full(&self, terminology: &Terminology) -> impl Iterator<Item = (&str, Unexpandable)> {
        self.value_sets.iter().filter_map(|url| Some((url.as_str(), terminology.try_code_set(url).err()?)))
    }
}

fn words(counts: &Counts) -> String {
    let Counts { profiles, extensions, value_sets, code_systems } = counts;
    let all =
        [(profiles, "profile"), (extensions, "extension"), (value_sets, "value set"), (code_systems, "code system")];
    let words = all.map(|(count, name)| format!("{count} {name}{}", if *count == 1 { "" } else { "s" }));
    words.join(", ")
}

fn list(settings: &Settings, value_sets: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut damaged = 0;
    let mut listed = Vec::new();
    let mut out = output();
    let all = packages::installed(&settings.data)?;
    if all.is_empty() && !as_json {
        writeln!(out, "No packages are installed.")?;
    }
    // What the settings name is read once, not once for each package.
    let (beside, own) = match value_sets {
        true => (others_in_use(settings, &HashSet::new()), terminology::load(&settings.data)?),
        false => (Vec::new(), Vec::new()),
    };
    for one in all {
        let id = one.to_string();
        let in_use = is_in_use(settings, &id);
        let package = match packages::read(&one.path) {
            Ok(package) => package,
            Err(error) => {
                damaged += 1;
                let sentence = sentence(&error.into());
                eprintln!("{sentence}");
                listed.push(json!({
                    "package": id, "name": one.name, "version": one.version, "inUse": in_use, "file": one.path,
                    "damaged": sentence,
                }));
                continue;
            }
        };
        let contents = Contents::of(&package);
        let partial = match value_sets {
            true => partial_sets(&contents, &beside, &own, package.resources)?,
            false => Vec::new(),
        };
        if as_json {
            let mut entry = json!({
                "package": id, "name": one.name, "version": one.version, "inUse": in_use, "file": one.path,
                "fhirVersions": package.fhir_versions, "dependencies": package.dependencies,
                "resources": contents.counts,
            });
            if let Some(entry) = entry.as_object_mut().filter(|_| value_sets) {
                let partial = partial.iter().map(|(url, reason)| json!({"url": url, "reason": reason}));
                entry.insert("valueSetsNotInFull".into(), partial.collect());
            }
            listed.push(entry);
            continue;
        }
        let used = if in_use { "in use" } else { "not in the settings" };
        writeln!(out, "{id}  {used}: {}", words(&contents.counts))?;
        for (url, reason) in partial {
            writeln!(out, "  not all codes known: {url}: {reason}")?;
        }
    }
    if as_json {
        writeln!(out, "{}", json!(listed))?;
    }
    Ok(if damaged > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The value sets of a package of which not all codes are known beside what is in use, and the files of the operator's own.
fn partial_sets(
    contents: &Contents,
    in_use: &[Value],
    own: &[(PathBuf, Vec<Value>)],
    resources: Vec<Value>,
) -> anyhow::Result<Vec<(String, String)>> {
    let all = in_use.iter().cloned().chain(resources).collect();
    let (terminology, _unreadable) = knowledge::terminology(own.to_vec(), all)?;
    Ok(contents.not_in_full(&terminology).map(|(url, reason)| (url.to_owned(), reason.to_string())).collect())
}

fn remove(settings: &Settings, id: &str) -> anyhow::Result<ExitCode> {
    let was_in_use = is_in_use(settings, id);
    if !packages::remove(&settings.data, id).context("the package cannot be removed")? {
        let names: Vec<String> = packages::installed(&settings.data)?.iter().map(ToString::to_string).collect();
        let installed = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        bail!("{id} is not installed; installed: {installed}");
    }
    writeln!(output(), "{id} is removed.")?;
    if was_in_use {
        eprintln!("The setting validation.packages still names it: without it the server does not start.");
    }
    Ok(ExitCode::SUCCESS)
}
