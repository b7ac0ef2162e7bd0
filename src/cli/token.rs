//! `plumbline token`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use super::output::output;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::keys::TOKEN_DAYS_MAX;
use crate::auth::random;
use crate::auth::scope::Scopes;
use crate::auth::token::Claims;
use crate::interactions::audit::{self, Event, What};
use crate::smart::token::grantable;

/// Print one access token of the built-in authorization server.
///
/// For scripts and trials on the server's own machine; works beside a running server on the same --data.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What it allows, as in 'system/*.cruds'
    #[arg(long, value_name = "SCOPES")]
    scope: String,
    /// How long it lives: a number and s, m, h or d
    #[arg(long, default_value = "1h", value_name = "TIME")]
    ttl: String,
}

pub async fn run(app: &Arc<App>, args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let scopes = scopes(app, &args.scope)?;
    if scopes.is_empty() {
        bail!("--scope is empty: a token without a scope lets nobody in");
    }
    let ttl_s = seconds(&args.ttl)?;
    let now = app.now();
    let now_s = now.0.div_euclid(1_000_000);
    let claims = Claims {
        iss: app.urn.clone(),
        aud: app.urn.clone(),
        sub: "command line".into(),
        iat: now_s,
        exp: now_s + ttl_s,
        jti: random()?,
        scope: scopes.to_string(),
        ..Claims::default()
    };
    let token = app.tokens().await?.issue(&claims, now).await?;
    let event = Event {
        what: What::Token("command line"),
        is_success: true,
        description: format!("a token for {ttl_s} seconds with the scope '{scopes}'"),
        client: None,
        account: None,
    };
    audit::record(app, &Caller::operator(), event).await?;
    writeln!(output(), "{token}")?;
    Ok(ExitCode::SUCCESS)
}

/// Scopes that somebody can be held to.
pub(super) fn scopes(app: &App, text: &str) -> anyhow::Result<Scopes> {
    let scopes = Scopes::parse_strictly(text).map_err(anyhow::Error::msg).context("--scope")?;
    if grantable(app, &scopes) != scopes {
        bail!(
            "--scope {text}: a constraint names no search parameter of its type, or has a value that it does not take"
        );
    }
    Ok(scopes)
}

fn seconds(text: &str) -> anyhow::Result<i64> {
    let wrong = || format!("--ttl {text}: it is a number and s, m, h or d, as in 90s or 1h");
    let unit = text.chars().last().with_context(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => bail!(wrong()),
    };
    let number: i64 = text.strip_suffix(unit).unwrap_or_default().parse().with_context(wrong)?;
    let seconds = number.checked_mul(factor).with_context(wrong)?;
    if !(1..=TOKEN_DAYS_MAX * 86_400).contains(&seconds) {
        bail!("--ttl {text}: a token lives for a second at least and {TOKEN_DAYS_MAX} days at most");
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, expected) in [("90s", 90), ("5m", 300), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(seconds(text).expect(text), expected);
        }
        for wrong in ["", "h", "1", "1w", "-1h", "0s", "1.5h", "31d", "1hh", "9223372036854775807d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
