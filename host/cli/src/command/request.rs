//! `dacapo pause`, `dacapo resume`, `dacapo cancel`

use std::process::ExitCode;

use dacapo_client::{Cancelled, Killed, Paused, RunId};
use serde_json::json;

use crate::arguments::Global;
use crate::command::run_id;
use crate::connect;
use crate::error::Result;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's id
    run: String,
}

pub(crate) async fn pause(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let paused = connect::client(global).await?.pause(run).await?;
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
    connect::client(global).await?.resume(run).await?;
    ui.data(&json!({ "run": run, "status": "queued" }), |_| {
        format!("run {run} goes on")
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
}

pub(crate) async fn cancel(args: CancelArgs, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    if args.force {
        return kill(run, global, ui).await;
    }
    let cancelled = connect::client(global).await?.cancel(run).await?;
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

async fn kill(run: RunId, global: &Global, ui: Ui) -> Result<ExitCode> {
    let killed = connect::client(global).await?.kill(run).await?;
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
