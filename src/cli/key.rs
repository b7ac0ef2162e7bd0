//! `plumbline key`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::output::output;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::keys;
use crate::interactions::audit::{self, Event, What};

/// Replace the keys that sign tokens.
///
/// They are replaced by themselves every `auth.key_days` days, without anybody noticing. This is for the day on which one has
/// become known to somebody, or what sealed them is lost.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make new keys at once; every token that was given out ends, on running servers within a minute
    Replace,
}

pub async fn run(app: &Arc<App>, args: &KeyArgs) -> anyhow::Result<ExitCode> {
    let KeyCommand::Replace = args.command;
    keys::replace(&app.store, app.seal()?, app.settings.auth.key_days, app.now()).await?;
    let event = Event {
        what: What::Administration,
        is_success: true,
        description: "replaced the signing keys".into(),
        client: None,
        account: None,
    };
    audit::record(app, &Caller::operator(), event).await?;
    writeln!(output(), "the signing keys are replaced; running servers take the new ones within a minute")?;
    Ok(ExitCode::SUCCESS)
}
