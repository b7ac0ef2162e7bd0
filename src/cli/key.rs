//! `plumbline key`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::output::output;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::keys;
use crate::delivery::trust;
use crate::fhir::error::FhirError;
use crate::interactions::audit::{self, Event, What};

/// Replace the keys that sign tokens, or those that sign webhooks.
///
/// Those of tokens are replaced by themselves every `auth.key_days` days, without anybody noticing. This is for the day on which
/// one has become known to somebody, or what sealed them is lost. Those of webhooks stay, since receivers have to be told.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make new keys for tokens at once; every token that was given out ends, on running servers within a minute
    ///
    /// If what sealed the keys is lost, webhooks get new ones as well.
    Replace,
    /// Make a new key for webhooks; the old one signs along for delivery.key_overlap_days
    ///
    /// Running servers sign with it within a minute or two. Receivers find it at /api/v1/webhook-keys.
    RotateWebhook {
        /// The old keys are gone at once: somebody knows one
        #[arg(long)]
        at_once: bool,
    },
}

pub async fn run(app: &Arc<App>, args: &KeyArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        KeyCommand::Replace => replace(app).await,
        KeyCommand::RotateWebhook { at_once } => rotate_webhook(app, *at_once).await,
    }
}

async fn replace(app: &Arc<App>) -> anyhow::Result<ExitCode> {
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
    let lost = trust::lost(app).await?;
    if lost.keys {
        let id = trust::rotate_key(app, &Caller::operator(), true).await?;
        writeln!(
            output(),
            "what sealed the webhook keys is lost: there is a new one, {id}; receivers have to be told"
        )?;
    }
    for lane in lost.lanes {
        writeln!(
            output(),
            "what sealed the secret of {lane} is lost, and nothing is sent there: plumbline lanes secret {lane} --rotate --at-once"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn rotate_webhook(app: &Arc<App>, is_at_once: bool) -> anyhow::Result<ExitCode> {
    match trust::rotate_key(app, &Caller::operator(), is_at_once).await {
        Ok(id) => {
            writeln!(output(), "{id} signs webhooks from now on; its public half is at /api/v1/webhook-keys")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => refused(error),
    }
}

/// What was asked for cannot be, which is no failure of the command.
fn refused(error: FhirError) -> anyhow::Result<ExitCode> {
    if error.kind.status() >= 500 {
        return Err(error.into());
    }
    eprintln!("plumbline: {error}");
    Ok(ExitCode::from(1))
}
