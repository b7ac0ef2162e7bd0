//! `plumbline import`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::enforce::EnforceArg;
use super::output::output;
use crate::app::App;
use crate::ingest::{Counts, Options, Progress, Sources, Summary, import};

/// The list of what was refused, in the data folder.
const REJECTS: &str = "import-rejects.ndjson";

/// Load files into the directory.
///
/// Reads FHIR R4 JSON: NDJSON (one resource or Bundle for each line), single resources, Bundles of any type, FHIR
/// packages (.tgz), each also compressed as .gz or .zst, and folders of all these. Resources keep their ids; one without
/// an id gets one that follows from its content. Resources of types that the directory does not store are skipped.
///
/// What is refused is listed in the rejects file with its line and the reasons, and does not keep the rest out. Importing
/// the same content again changes nothing. After an interruption the same command goes on where it ended.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumbline import directory.ndjson.gz
  plumbline import ./export                  all files below a folder
  plumbline import plan-net-package.tgz      the examples of a FHIR package
  zcat *.gz | plumbline import -             NDJSON from standard input; cannot be resumed

Exit code: 0 all is in the directory; 1 something was refused, or you stopped it; 2 it could not run.")]
pub struct ImportArgs {
    /// Files and folders, in the order in which they are read; - is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where refused resources are listed, one JSON object for each line [default: import-rejects.ndjson in the data folder]
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Resources that are committed together [default: the setting import.transaction_resources]
    #[arg(long, value_name = "NUMBER")]
    pub batch: Option<usize>,
    /// What resources are held to [default: the setting validation.enforce]. Data from abroad, or a raw national release,
    /// is held to base R4
    #[arg(long, value_enum, value_name = "WHAT")]
    pub enforce: Option<EnforceArg>,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
    /// Start at the beginning even if an earlier import of these files was interrupted
    #[arg(long)]
    pub no_resume: bool,
}

/// Imports, showing progress on standard error if that is a terminal, and the summary on standard output.
///
/// # Errors
/// When the import could not run: a path that is not there, a database that fails.
pub async fn run(app: &Arc<App>, args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let sources = Sources::find(&args.paths)?;
    let rejects = args.rejects.clone().unwrap_or_else(|| app.settings.data.join(REJECTS));
    let transaction_resources = args.batch.unwrap_or(app.settings.import.transaction_resources);
    ensure!(transaction_resources > 0, "--batch must be at least 1");
    let stop = Arc::new(AtomicBool::new(false));
    let bar = bar(sources.bytes())?;
    let listening = tokio::spawn(stop_on_ctrl_c(Arc::clone(&stop), bar.clone()));
    let options = Options { rejects, transaction_resources, resume: !args.no_resume, stop };
    let imported = import(app, &sources, &options, |at: Progress| {
        bar.set_position(at.bytes);
        bar.set_message(format!(
            "{} resources, {:.0}/s",
            at.resources,
            at.resources as f64 / bar.elapsed().as_secs_f64().max(1e-3)
        ));
    })
    .await;
    listening.abort();
    bar.finish_and_clear();
    let summary = imported?;
    let total = summary.total();
    let text = if args.json { as_json(&summary, &options)? } else { as_text(&summary) };
    // Whoever does not read the summary hears below what was refused.
    let told = writeln!(output(), "{text}");
    if total.rejected > 0 {
        eprintln!(
            "{} refused; see {} for each one's line and the reasons.",
            number_of(total.rejected),
            options.rejects.display()
        );
    }
    if summary.is_interrupted {
        eprintln!("Stopped. What was committed stays; the same command goes on from there.");
    }
    told?;
    Ok(if total.rejected > 0 || summary.is_interrupted { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn number_of(resources: u64) -> String {
    if resources == 1 { "1 resource was".into() } else { format!("{resources} resources were") }
}

/// A progress bar over bytes read; hidden unless standard error is a terminal.
pub(super) fn bar(bytes: Option<u64>) -> anyhow::Result<ProgressBar> {
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {percent:>3} %  {bytes}/{total_bytes}  {msg}  ETA {eta}"),
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}"),
    };
    Ok(bar.with_style(ProgressStyle::with_template(template).context("the progress bar")?))
}

/// The first Ctrl-C ends the import after the transaction at hand, a second one at once: nothing is lost but that.
async fn stop_on_ctrl_c(stop: Arc<AtomicBool>, bar: ProgressBar) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        bar.suspend(|| eprintln!("Stopping after the transaction at hand; Ctrl-C again stops at once."));
    }
}

fn as_json(summary: &Summary, options: &Options) -> anyhow::Result<String> {
    let total = summary.total();
    let mut json = serde_json::to_value(summary)?;
    if let Some(object) = json.as_object_mut() {
        object.insert("total".into(), serde_json::to_value(total)?);
        object.insert("resources_per_s".into(), json!(summary.rate()));
        object.insert("rejects".into(), if total.rejected > 0 { json!(options.rejects) } else { json!(null) });
    }
    Ok(json.to_string())
}

/// A table with a line for each type; columns in which all is zero are left out.
fn as_text(summary: &Summary) -> String {
    type Column = (&'static str, fn(&Counts) -> u64);
    let columns: [Column; 6] = [
        ("created", |counts| counts.created),
        ("updated", |counts| counts.updated),
        ("unchanged", |counts| counts.unchanged),
        ("deleted", |counts| counts.deleted),
        ("rejected", |counts| counts.rejected),
        ("skipped", |counts| counts.skipped),
    ];
    let total = summary.total();
    let shown: Vec<&Column> = columns.iter().filter(|(_, of)| of(&total) > 0).collect();
    let mut text = format!("{:<26}", "");
    for (name, _) in &shown {
        let _infallible = write!(text, "{name:>11}");
    }
    let all = [("Total".to_owned(), total)];
    for (name, counts) in summary.types.iter().map(|(name, counts)| (name.clone(), *counts)).chain(all) {
        let _infallible = write!(text, "\n{name:<26}");
        for (_, of) in &shown {
            let _infallible = write!(text, "{:>11}", of(&counts));
        }
    }
    let _infallible =
        write!(text, "\n{} resources in {:.1} s: {:.0} resources/s", total.total(), summary.seconds, summary.rate());
    if summary.units_done_before > 0 {
        let _infallible = write!(
            text,
            "\n(went on behind the {} lines and files that an earlier import had done)",
            summary.units_done_before
        );
    }
    text
}
