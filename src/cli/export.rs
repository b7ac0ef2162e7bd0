//! `plumbline export`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, json};

use super::output::output;
use crate::app::App;
use crate::bulk::folder;
use crate::bulk::lines::Compression;
use crate::fhir::types::ResourceType;

/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Write the directory to files, one NDJSON file for each type.
///
/// Each file has its name only when it is complete. Files of an earlier export in the same folder are replaced. All is as it
/// was when the export began, whatever is written meanwhile. `plumbline import DIR` reads it all back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumbline export --out ./export
  plumbline export --out ./export --type Practitioner,PractitionerRole --compress zstd

Exit code: 0 done; 2 it could not run.")]
pub struct ExportArgs {
    /// Folder for the files; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only these types [default: all but AuditEvent, which is the record of this server]
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Compress the files
    #[arg(long, value_enum, default_value_t = Compress::None)]
    pub compress: Compress,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    None,
    Gzip,
    Zstd,
}

/// Exports, showing progress on standard error if that is a terminal, and the summary on standard output.
///
/// # Errors
/// When a type is not known, the database cannot be read or a file cannot be written.
pub async fn run(app: &Arc<App>, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let types = types(&args.types)?;
    let compression = match args.compress {
        Compress::None => Compression::None,
        Compress::Gzip => Compression::Gzip,
        Compress::Zstd => Compression::Zstd,
    };
    fs::create_dir_all(&args.out).with_context(|| format!("{} cannot be made", args.out.display()))?;
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {human_pos}/{human_len}  {per_sec}  ETA {eta}")?;
    let bar = ProgressBar::new(folder::count(app, &types).await?).with_style(style);
    let written = Arc::new(AtomicU64::new(0));
    let mut work = std::pin::pin!(folder::export(app, &args.out, types, compression, Arc::clone(&written)));
    let mut ticks = tokio::time::interval(SHOW_EVERY);
    let mut counts = loop {
        tokio::select! {
            counts = &mut work => break counts?,
            _ = ticks.tick() => bar.set_position(written.load(Ordering::Relaxed)),
        }
    };
    counts.retain(|(_, count)| *count > 0);
    bar.finish_and_clear();
    let total: u64 = counts.iter().map(|(_, written)| written).sum();
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let types: Map<_, _> = counts.iter().map(|(name, written)| (name.to_string(), json!(written))).collect();
        writeln!(output(), "{}", json!({"types": types, "total": total, "seconds": seconds}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for (name, written) in &counts {
        writeln!(text, "{:<26}{written:>11}", name.as_str())?;
    }
    let rate = total as f64 / seconds.max(1e-3);
    writeln!(output(), "{text}{:<26}{total:>11}\n{total} resources in {seconds:.1} s: {rate:.0} resources/s", "Total")?;
    Ok(ExitCode::SUCCESS)
}

fn types(named: &[String]) -> anyhow::Result<Vec<ResourceType>> {
    if named.is_empty() {
        let all = ResourceType::ALL.iter().copied();
        return Ok(all.filter(|it| *it != ResourceType::AuditEvent).collect());
    }
    let known = || ResourceType::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", ");
    let parse = |name: &String| {
        ResourceType::parse(name).ok_or_else(|| anyhow!("'{name}' is no type of this directory; it stores {}", known()))
    };
    let mut types = named.iter().map(parse).collect::<anyhow::Result<Vec<_>>>()?;
    types.sort();
    types.dedup();
    Ok(types)
}
