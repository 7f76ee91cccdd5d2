//! `dacapo pause`, `dacapo resume`, `dacapo cancel`

use std::process::ExitCode;

use dacapo_client::{By, Cancelled, Killed, Paused, RunId};
use serde_json::json;

use crate::arguments::Global;
use crate::command::runs::list::blocked_by;
use crate::command::{run_id, who};
use crate::connect;
use crate::error::Result;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's id
    run: String,
    #[command(flatten)]
    by: ByArgs,
}

/// Who asks, and why.
#[derive(Debug, clap::Args)]
struct ByArgs {
    /// Who does this, for the record; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) async fn pause(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let who = who(args.by.by);
    let by = By {
        who: &who,
        reason: args.by.reason.as_deref(),
    };
    let paused = connect::client(global).await?.pause_by(run, by).await?;
    let now = paused == Paused::Now;
    ui.data(
        &json!({ "run": run, "status": if now { "paused" } else { "running" } }),
        |_| match paused {
            Paused::Now => format!("run {run} is paused"),
            Paused::Requested => {
                format!("run {run} is running and will pause at its next step or wait")
            }
        },
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn resume(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let who = who(args.by.by);
    let by = By {
        who: &who,
        reason: args.by.reason.as_deref(),
    };
    let client = connect::client(global).await?;
    // Whoever may let a run go on need not be one who may see it.
    let before = client.get(run).await.ok();
    client.resume_by(run, by).await?;
    let blocked = before.and_then(|run| run.blocked);
    let mut data = json!({ "run": run, "status": "queued" });
    if let Some(blocked) = &blocked {
        data["wasBlocked"] = serde_json::from_str(blocked.as_str()).unwrap_or_default();
    }
    ui.data(&data, |_| match &blocked {
        Some(blocked) => format!(
            "run {run} goes on; it was blocked, and will be again unless this is mended: {}",
            blocked_by(blocked.as_str())
        ),
        None => format!("run {run} goes on"),
    });
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {
    /// The run's id
    run: String,
    /// End it at once, in the middle of whatever it does; its code is not asked and cannot compensate
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    by: ByArgs,
}

pub(crate) async fn cancel(args: CancelArgs, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let who = who(args.by.by);
    let by = By {
        who: &who,
        reason: args.by.reason.as_deref(),
    };
    if args.force {
        return kill(run, by, global, ui).await;
    }
    let cancelled = connect::client(global).await?.cancel_by(run, by).await?;
    let now = cancelled == Cancelled::Now;
    ui.data(
        &json!({ "run": run, "status": if now { "cancelled" } else { "cancelling" } }),
        |_| match cancelled {
            Cancelled::Now => format!("run {run} is cancelled"),
            Cancelled::Requested => {
                format!("run {run} is being cancelled; its code may compensate first")
            }
        },
    );
    Ok(ExitCode::SUCCESS)
}

async fn kill(run: RunId, by: By<'_>, global: &Global, ui: Ui) -> Result<ExitCode> {
    let killed = connect::client(global).await?.kill_by(run, by).await?;
    let now = killed == Killed::Now;
    ui.data(
        &json!({ "run": run, "status": if now { "cancelled" } else { "cancelling" } }),
        |_| match killed {
            Killed::Now => format!("run {run} is cancelled"),
            Killed::Requested => format!("run {run} is being ended by its worker"),
        },
    );
    Ok(ExitCode::SUCCESS)
}
