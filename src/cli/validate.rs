//! `plumbline validate`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::enforce::EnforceArg;
use super::import::bar;
use super::output::output;
use crate::config::Settings;
use crate::fhir::outcome::{Issue, Severity, operation_outcome};
use crate::ingest::Sources;
use crate::ingest::check::{Against, Checked, check};
use crate::validate::{Enforce, NotLoaded, ProfileId, Validator};

/// Rules that are named in the summary.
const RULES_SHOWN: usize = 10;

/// Check files against FHIR R4 and the Plan-Net profiles, without loading them.
///
/// Reads what `plumbline import` reads: NDJSON (one resource or Bundle for each line), single resources, Bundles, FHIR
/// packages (.tgz), each also compressed as .gz or .zst, and folders of all these; single files may be XML, too. Each
/// resource is held to the profiles that it claims in meta.profile, or else to the Plan-Net profile of its type. In a
/// Bundle, references are followed to its other entries.
///
/// Prints one line for each finding: severity, FHIRPath of the element, what is wrong, and the rule that says so.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumbline validate role.json
  plumbline validate --level warning ./export       all files below a folder, with warnings
  plumbline validate --json directory.ndjson.gz     one JSON object for each resource with findings, then the total
  plumbline validate --profile http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/plannet-Network org.json

Exit code: 0 no errors; 1 errors were found; 2 it could not run, or there was nothing to check.")]
pub struct ValidateArgs {
    /// Files and folders, in the order in which they are read; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub paths: Vec<PathBuf>,
    /// Profile that every resource must meet, besides those it claims; instead of the Plan-Net profile of its type
    #[arg(long, value_name = "URL")]
    pub profile: Vec<String>,
    /// What resources are held to [default: the setting validation.enforce]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub enforce: Option<EnforceArg>,
    /// The least that is printed
    #[arg(long, value_enum, default_value = "error")]
    pub level: Level,
    /// Print JSON: an object for each resource with findings, on a line of its own, then one with the total
    #[arg(long)]
    pub json: bool,
    /// Resources whose findings are printed; all are counted
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Error,
    Warning,
    Information,
}

impl Level {
    fn includes(self, severity: Severity) -> bool {
        match self {
            Self::Error => severity >= Severity::Error,
            Self::Warning => severity >= Severity::Warning,
            Self::Information => true,
        }
    }
}

/// What all verdicts come to.
#[derive(Debug, Default)]
struct Total {
    resources: u64,
    with_errors: u64,
    errors: u64,
    warnings: u64,
    /// Of types that are not known here, by name.
    not_checked: BTreeMap<String, u64>,
    /// How often each rule was broken, of those with errors.
    rules: BTreeMap<String, u64>,
}

impl Total {
    /// True if nothing was there: resources of unknown types are something.
    fn is_empty(&self) -> bool {
        self.resources == 0 && self.not_checked.is_empty()
    }

    fn add(&mut self, checked: &Checked) {
        let Some(issues) = &checked.issues else {
            let name = checked.name.as_deref().and_then(|name| name.split('/').next()).unwrap_or_default();
            *self.not_checked.entry(name.to_owned()).or_default() += 1;
            return;
        };
        self.resources += 1;
        let errors = issues.iter().filter(|issue| issue.is_error());
        let mut has_error = false;
        for issue in errors {
            has_error = true;
            self.errors += 1;
            *self.rules.entry(rule(issue)).or_default() += 1;
        }
        self.with_errors += u64::from(has_error);
        self.warnings += issues.iter().filter(|issue| issue.severity == Severity::Warning).count() as u64;
    }

    fn to_json(&self, not_printed: u64) -> Value {
        json!({"total": {
            "resources": self.resources, "with_errors": self.with_errors, "errors": self.errors,
            "warnings": self.warnings, "not_checked": self.not_checked, "errors_by_rule": self.rules,
            "not_printed": not_printed,
        }})
    }

    fn to_text(&self, level: Level) -> String {
        let mut text = format!(
            "{} checked, {} with errors: {}, {}",
            counted(self.resources, "resource"),
            self.with_errors,
            counted(self.errors, "error"),
            counted(self.warnings, "warning"),
        );
        if self.warnings > 0 && level == Level::Error {
            text.push_str(" (--level warning shows them)");
        }
        if !self.not_checked.is_empty() {
            let names: Vec<String> = self.not_checked.iter().map(|(name, count)| format!("{count} {name}")).collect();
            text.push_str(&format!("\nNot checked, since their types are not known here: {}", names.join(", ")));
        }
        let mut rules: Vec<(&String, &u64)> = self.rules.iter().collect();
        rules.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        if rules.len() > 1 {
            text.push_str("\nMost frequent errors:");
            rules.iter().take(RULES_SHOWN).for_each(|(rule, count)| text.push_str(&format!("\n{count:>8}  {rule}")));
        }
        text
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A rule as people call it: the key of an invariant, or profile and element.
fn rule(issue: &Issue) -> String {
    let Some(rule) = &issue.rule else { return format!("({})", issue.code.as_str()) };
    let short = |url: &str| url.rsplit('/').next().unwrap_or(url).to_owned();
    match rule.split_once('#') {
        Some((url, element)) => format!("{} {element}", short(url)),
        None => short(rule),
    }
}

/// Validates, showing progress on standard error if that is a terminal, and the findings on standard output.
///
/// # Errors
/// When it could not run: a path that is not there, a profile that is not loaded.
pub fn run(settings: &Settings, validator: &Validator, args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let sources = Sources::find(&args.paths)?;
    let profiles = args.profile.iter().map(|url| profile(validator, url)).collect::<anyhow::Result<Vec<_>>>()?;
    let enforce = match (args.enforce, profiles.is_empty()) {
        (Some(enforce), _) => enforce.into(),
        // Who names a profile asks about that one.
        (None, false) => Enforce::Base,
        (None, true) => settings.validation.enforce,
    };
    let profiles = profiles.into_iter().flatten().collect();
    let against = Against { enforce, profiles, unit_bytes_max: settings.server.body_bytes_max };
    let bar = bar(sources.bytes())?;
    let mut out = BufWriter::new(output());
    let (mut total, mut found, mut result) = (Total::default(), 0_u64, Ok(()));
    check(validator, &sources, &against, |checked, bytes| {
        total.add(&checked);
        if total.resources.is_multiple_of(1000) {
            bar.set_position(bytes);
            bar.set_message(format!("{} resources, {} with errors", total.resources, total.with_errors));
        }
        let shown: Vec<Issue> = match checked.issues {
            Some(ref issues) => issues.iter().filter(|issue| args.level.includes(issue.severity)).cloned().collect(),
            None => Vec::new(),
        };
        if shown.is_empty() {
            return ControlFlow::Continue(());
        }
        found += 1;
        if found > args.max {
            return ControlFlow::Continue(());
        }
        result = bar
            .suspend(|| if args.json { line(&mut out, &checked, &shown) } else { table(&mut out, &checked, &shown) });
        // Whoever reads the findings has had enough.
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    bar.finish_and_clear();
    let not_printed = found.saturating_sub(args.max);
    if total.is_empty() && result.is_ok() {
        bail!("nothing was checked: there is no resource in {}", listed(&args.paths));
    }
    let code = if total.with_errors > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS };
    result = result.and_then(|()| match args.json {
        true => writeln!(out, "{}", total.to_json(not_printed)),
        false => {
            if not_printed > 0 {
                writeln!(out, "The findings of {} are not printed (--max).\n", counted(not_printed, "more resource"))?;
            }
            writeln!(out, "{}", total.to_text(args.level))
        }
    });
    match result.and_then(|()| out.flush()) {
        // What was found counts, whether or not anybody reads all of it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code),
        result => result.map(|()| code).context("the findings cannot be printed"),
    }
}

fn profile(validator: &Validator, url: &str) -> anyhow::Result<Option<ProfileId>> {
    match validator.profile_named(url) {
        Ok(found) => Ok(found),
        Err(NotLoaded::Version(loaded)) => bail!("the profile {url} is not loaded; it is there as {loaded}"),
        Err(NotLoaded::Profile) => {
            let mut known: Vec<&str> =
                validator.profiles().iter().filter(|profile| !profile.is_extension()).map(|it| &*it.url).collect();
            known.sort_unstable();
            bail!("the profile {url} is not loaded; known are\n  {}", known.join("\n  "))
        }
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// `{"source", "line", "resource"?, "valid", "issues"}`; the issues as those of an OperationOutcome.
fn line(out: &mut impl Write, checked: &Checked, issues: &[Issue]) -> io::Result<()> {
    let mut json = Map::new();
    json.insert("source".into(), json!(*checked.source));
    json.insert("line".into(), checked.line.into());
    if let Some(name) = &checked.name {
        json.insert("resource".into(), name.as_str().into());
    }
    json.insert("valid".into(), (!issues.iter().any(Issue::is_error)).into());
    let listed = operation_outcome(issues).get_mut("issue").map(Value::take);
    json.insert("issues".into(), listed.unwrap_or_default());
    writeln!(out, "{}", Value::Object(json))
}

fn table(out: &mut impl Write, checked: &Checked, issues: &[Issue]) -> io::Result<()> {
    let name = checked.name.as_deref().unwrap_or("(unreadable)");
    writeln!(out, "{}:{}  {name}", checked.source, checked.line)?;
    for issue in issues {
        let finding = format!("{}  [{}]", issue.diagnostics, rule(issue));
        match &issue.expression {
            Some(place) => writeln!(out, "  {:<11}  {place}\n               {finding}", issue.severity.as_str())?,
            None => writeln!(out, "  {:<11}  {finding}", issue.severity.as_str())?,
        }
    }
    writeln!(out)
}
