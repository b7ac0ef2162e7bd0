//! The command line: what it takes, and what its exit code means.
//!
//! 0: fine. 1: findings or a refusal. 2: could not run. Errors go to standard error in one readable sentence.

mod client;
mod enforce;
pub mod export;
pub mod import;
mod key;
mod knowledge;
mod lanes;
mod output;
mod package;
mod serve;
mod terminology;
mod token;
mod user;
mod validate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::output::output;
use crate::app::{App, store_limits};
use crate::config::{LogFormat, Settings};
use crate::store::Store;
use crate::store::conn::{Database, without_password};

/// The FHIR-native provider directory that stays true.
///
/// Serves Practitioner, PractitionerRole, Organization, Location and the rest of a provider directory over FHIR R4,
/// shaped by Da Vinci PDex Plan-Net 1.2.0, from an embedded SQLite file or from PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "plumbline", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// Folder of the embedded database and of all else that is kept [default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Database to use instead of plumbline.db in the data folder: sqlite:FILE or postgres://USER@HOST/DATABASE
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Settings file [default: plumbline.yaml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the directory over HTTP
    Serve(serve::ServeArgs),
    /// Load files: NDJSON, resources, Bundles, folders of them, FHIR packages
    Import(import::ImportArgs),
    /// Check files against FHIR R4 and the Plan-Net profiles, without loading them
    Validate(validate::ValidateArgs),
    /// Write the whole directory to NDJSON files
    Export(export::ExportArgs),
    // What they do is said at their arguments, where there is room for more than a line.
    Package(package::PackageArgs),
    Terminology(terminology::TerminologyArgs),
    Client(client::ClientArgs),
    User(user::UserArgs),
    Token(token::TokenArgs),
    Key(key::KeyArgs),
    Lanes(lanes::LanesArgs),
    /// Print every setting with its default and its meaning
    Settings,
}

/// Runs the command line. Whoever reads its output may stop reading.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap prints each where it belongs.
            let _unprintable = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match execute(cli) {
        Ok(code) => code,
        // `| head -1` is no failure. What the command had to do was done before it was told.
        Err(error) if output::is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plumbline: {}", sentence(&error));
            ExitCode::from(2)
        }
    }
}

/// An error and its causes in one line.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    if matches!(cli.command, Command::Settings) {
        write!(output(), "{}", crate::config::DEFAULTS)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut settings = Settings::load(cli.common.config.as_deref()).map_err(anyhow::Error::msg)?;
    if let Some(data) = cli.common.data {
        settings.data = data;
    }
    if cli.common.database_url.is_some() {
        settings.database_url = cli.common.database_url;
    }
    start_log(&settings)?;
    match cli.command {
        Command::Serve(args) => serve::run(settings, &args),
        Command::Import(args) => {
            settings.validation.enforce = args.enforce.map_or(settings.validation.enforce, Into::into);
            on_directory(settings, async |app| import::run(app, &args).await)
        }
        Command::Export(_) if !has_database(&settings) => {
            bail!("there is no database {}; --data names the folder it is in", settings.database_url())
        }
        Command::Export(args) => on_directory(settings, async |app| export::run(app, &args).await),
        Command::Validate(args) => validate::run(&settings, &knowledge::knowledge(&settings)?, &args),
        Command::Package(args) => package::run(&settings, &args),
        Command::Terminology(args) => terminology::run(&settings, &args),
        Command::Client(args) => on_directory(settings, async |app| client::run(app, &args).await),
        Command::User(args) => on_directory(settings, async |app| user::run(app, &args).await),
        Command::Key(args) => on_directory(settings, async |app| key::run(app, &args).await),
        Command::Lanes(args) => on_directory(settings, async |app| lanes::run(app, &args).await),
        Command::Token(args) => on_directory(settings, async |app| token::run(app, &args).await),
        Command::Settings => Ok(ExitCode::SUCCESS),
    }
}

fn start_log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log.filter).context("the setting log.filter")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Runs a command that works on the directory itself, with or without a server beside it.
fn on_directory(
    settings: Settings,
    command: impl AsyncFnOnce(&Arc<App>) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let bases = bases(&settings);
        let app = open(settings, bases).await?;
        command(&app).await
    })
}

/// False when the embedded database has not been made yet.
fn has_database(settings: &Settings) -> bool {
    match Database::parse(&settings.database_url()) {
        Ok(Database::Sqlite { file }) => file.exists(),
        _ => true,
    }
}

/// The directory behind a command: opened, its tables up to date.
async fn open(settings: Settings, bases: Vec<String>) -> anyhow::Result<Arc<App>> {
    let validator = Arc::new(knowledge::knowledge(&settings)?);
    let url = settings.database_url();
    let limits = store_limits(&settings);
    let store = Store::open(&url, limits)
        .await
        .with_context(|| format!("the database {} cannot be opened", without_password(&url)))?;
    Ok(App::new(store, settings, validator, bases).await?)
}

/// The base URLs under which references are the directory's own, when no server tells them.
fn bases(settings: &Settings) -> Vec<String> {
    match &settings.server.base_url {
        Some(url) => vec![url.trim_end_matches('/').to_owned()],
        None => {
            let (host, port) = settings.server.listen.rsplit_once(':').unwrap_or((&settings.server.listen, "8080"));
            own_bases(settings.server.scheme(), host, port)
        }
    }
}

/// The names that this machine has for itself, the given one first.
fn own_bases(scheme: &str, host: &str, port: &str) -> Vec<String> {
    let mut bases: Vec<String> =
        [host, "127.0.0.1", "localhost", "[::1]"].iter().map(|host| format!("{scheme}://{host}:{port}/fhir")).collect();
    bases.sort_by_key(|base| !base.starts_with(&format!("{scheme}://{host}:")));
    bases.dedup();
    bases
}
