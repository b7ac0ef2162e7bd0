//! `plumbline lanes`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::output;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::delivery::operate::{self, LISTED_MAX, LaneView, Order, Redrive};
use crate::delivery::trust::{self, Wanted};
use crate::fhir::error::FhirError;

const EXAMPLES: &str = "Examples:
  plumbline lanes list
  plumbline lanes dead Subscription/7
  plumbline lanes redrive Subscription/7 --dead
  plumbline lanes redrive 3 --from 1200
  plumbline lanes secret Subscription/7";

/// See how changes reach their subscribers, and what can be done when they do not.
///
/// Each subscriber has a lane: what it is owed, in order. A lane is named by its number or by its Subscription. Works beside a
/// running server on the same --data.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = EXAMPLES)]
pub struct LanesArgs {
    #[command(subcommand)]
    command: LanesCommand,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum LanesCommand {
    /// List the lanes, with what they owe and since when
    List,
    /// Show one lane
    Show {
        lane: String,
    },
    /// List the newest calls of a lane: status, time, beginning of the answer
    Attempts {
        lane: String,
        /// How many
        #[arg(long, default_value_t = 20)]
        count: i64,
    },
    /// List the events of a lane that were given up
    Dead {
        lane: String,
    },
    /// List the events of a lane that were refused and are tried again by themselves
    Held {
        lane: String,
    },
    /// Hold a lane back; its events are counted
    Pause {
        lane: String,
    },
    /// Let a lane go on at once
    Resume {
        lane: String,
    },
    /// Greet a subscriber anew that was given up or is off; what it is owed follows
    Restart {
        lane: String,
    },
    /// Send events again
    Redrive(RedriveArgs),
    Secret(SecretArgs),
}

#[derive(Debug, Args)]
struct RedriveArgs {
    lane: String,
    /// Those that were given up
    #[arg(long, conflicts_with_all = ["numbers", "from"], required_unless_present_any = ["numbers", "from"])]
    dead: bool,
    /// These, whether they were delivered or given up
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', conflicts_with = "from")]
    numbers: Vec<i64>,
    /// All from this number on, in order
    #[arg(long, value_name = "NUMBER")]
    from: Option<i64>,
    /// Only those about this resource
    #[arg(long, value_name = "TYPE/ID", conflicts_with = "from")]
    resource: Option<String>,
}

/// Make the secret by which a receiver knows what it is sent (HMAC); it is printed once
///
/// What is sent is also signed with the server's own keys, whose public halves are at /api/v1/webhook-keys. A running server
/// uses the new secret within half a minute.
#[derive(Debug, Args)]
struct SecretArgs {
    lane: String,
    /// Make another one; the old one signs along for delivery.key_overlap_days
    #[arg(long)]
    rotate: bool,
    /// With --rotate: the old one is gone at once, since somebody knows it or what sealed it is lost
    #[arg(long, requires = "rotate")]
    at_once: bool,
    /// Use no secret any more
    #[arg(long, conflicts_with_all = ["rotate", "value"])]
    remove: bool,
    /// Use this one: whsec_ and 24 to 64 bytes in base64
    #[arg(long, value_name = "SECRET")]
    value: Option<String>,
}

pub async fn run(app: &Arc<App>, args: &LanesArgs) -> anyhow::Result<ExitCode> {
    match tell(app, args).await {
        Ok(told) => write!(output(), "{told}")?,
        // What was asked for cannot be, which is no failure of the command.
        Err(error) if error.downcast_ref::<FhirError>().is_some_and(|refusal| refusal.kind.status() < 500) => {
            eprintln!("plumbline: {error}");
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(error),
    }
    Ok(ExitCode::SUCCESS)
}

async fn tell(app: &Arc<App>, args: &LanesArgs) -> anyhow::Result<String> {
    let told = match &args.command {
        LanesCommand::List => list(app, args.json).await?,
        LanesCommand::Show { lane } => shown(&operate::show(app, lane).await?, args.json),
        LanesCommand::Attempts { lane, count } => attempts(app, lane, *count, args.json).await?,
        LanesCommand::Dead { lane } => held(app, lane, true, args.json).await?,
        LanesCommand::Held { lane } => held(app, lane, false, args.json).await?,
        LanesCommand::Pause { lane } => order(app, lane, Order::Pause, args.json).await?,
        LanesCommand::Resume { lane } => order(app, lane, Order::Resume, args.json).await?,
        LanesCommand::Restart { lane } => order(app, lane, Order::Restart, args.json).await?,
        LanesCommand::Secret(wanted) => secret(app, wanted, args.json).await?,
        LanesCommand::Redrive(wanted) => {
            let redrive = Redrive {
                dead: wanted.dead,
                numbers: wanted.numbers.clone(),
                from: wanted.from,
                resource: wanted.resource.clone(),
            };
            let events = operate::order(app, &Caller::operator(), &wanted.lane, Order::Redrive(redrive)).await?;
            if args.json {
                format!("{}\n", json!({"events": events}))
            } else {
                format!("{events} events are sent again\n")
            }
        }
    };
    Ok(told)
}

async fn secret(app: &Arc<App>, args: &SecretArgs, is_json: bool) -> anyhow::Result<String> {
    let operator = Caller::operator();
    if args.remove {
        let lane = trust::take_secret(app, &operator, &args.lane).await?;
        return Ok(if is_json {
            format!("{}\n", json!({"lane": lane, "secrets": []}))
        } else {
            format!("{lane} has no secret any more\n")
        });
    }
    let wanted = Wanted { rotate: args.rotate, at_once: args.at_once, value: args.value.clone() };
    let (lane, secret) = trust::give_secret(app, &operator, &args.lane, wanted).await?;
    Ok(if is_json { format!("{}\n", json!({"lane": lane, "secret": secret})) } else { format!("{secret}\n") })
}

async fn list(app: &Arc<App>, is_json: bool) -> anyhow::Result<String> {
    let mut lanes = Vec::new();
    loop {
        let after = lanes.last().map_or(0, |lane: &LaneView| lane.lane);
        let some = operate::list(app, after, LISTED_MAX).await?;
        if some.is_empty() {
            break;
        }
        lanes.extend(some);
    }
    if is_json {
        return Ok(format!("{}\n", json!({"lanes": lanes})));
    }
    if lanes.is_empty() {
        return Ok("There are no lanes: nobody has subscribed to changes.\n".into());
    }
    let mut text = format!(
        "{:>6}  {:<50} {:<9}{:>10}{:>9}{:>8}{:>7}{:>7}\n",
        "lane", "name", "state", "events", "owed", "lag s", "held", "dead"
    );
    for lane in &lanes {
        let state = if lane.paused { "paused" } else { lane.state };
        writeln!(
            text,
            "{:>6}  {:<50} {:<9}{:>10}{:>9}{:>8}{:>7}{:>7}",
            lane.lane, lane.name, state, lane.events, lane.owed, lane.lag_s, lane.held, lane.dead
        )?;
    }
    Ok(text)
}

fn shown(lane: &LaneView, is_json: bool) -> String {
    if is_json {
        return format!("{}\n", json!(lane));
    }
    let json = json!(lane);
    let rows = json.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    rows.fold(String::new(), |text, (name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{text}{name:<14} {value}\n")
    })
}

async fn attempts(app: &Arc<App>, lane: &str, count: i64, is_json: bool) -> anyhow::Result<String> {
    let attempts = operate::attempts(app, lane, i64::MAX, count).await?;
    if is_json {
        return Ok(format!("{}\n", json!({"attempts": attempts})));
    }
    let mut text = String::new();
    for it in &attempts {
        let status = it.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let events = match (it.first, it.last) {
            (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
            (Some(first), _) => first.to_string(),
            _ => String::new(),
        };
        let answer: String = it.answer.as_deref().unwrap_or_default().chars().take(60).collect();
        writeln!(text, "{}  {:<9} {:<15} {:>4} {:>6} ms  {answer}", it.at, it.kind, events, status, it.ms)?;
    }
    Ok(text)
}

async fn held(app: &Arc<App>, lane: &str, is_dead: bool, is_json: bool) -> anyhow::Result<String> {
    let held = operate::held(app, lane, is_dead, 0, LISTED_MAX).await?;
    if is_json {
        return Ok(format!("{}\n", json!({"held": held})));
    }
    let mut text = String::new();
    for it in &held {
        let error = it.error.as_deref().unwrap_or_default();
        writeln!(text, "{:>9}  {:<60} {:>4} tries since {}  {error}", it.number, it.resource, it.tries, it.since)?;
    }
    Ok(text)
}

async fn order(app: &Arc<App>, lane: &str, order: Order, is_json: bool) -> anyhow::Result<String> {
    operate::order(app, &Caller::operator(), lane, order).await?;
    Ok(shown(&operate::show(app, lane).await?, is_json))
}
