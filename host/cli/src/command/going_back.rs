//! `dacapo rerun`, `dacapo retry`, `dacapo skip`

use std::process::ExitCode;

use dacapo_client::{
    Change, Client, ClientError, InBulk, OnDeployment, RerunOptions, RetryPlan, RunFilter, RunId,
    SkipOptions, Skipped,
};
use serde_json::json;

use super::runs::Filter;
use crate::arguments::Global;
use crate::command::{json_argument, run_id, who};
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::Ui;

/// For all runs that are found, and for the record.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    #[command(flatten)]
    filter: Filter,
    /// Change nothing: say what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Who does this, for the record; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RerunArgs {
    /// The run's id; without it, all runs that have ended or are blocked and are found by what is given below
    run: Option<String>,
    /// Begin with this step: what came before it is copied and does not happen again. Its key, as `runs show` prints it
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// On the deployment that the run was on, and not on the active one
    #[arg(long)]
    same_deployment: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    /// The run's id; without it, all failed runs that are found by what is given below
    run: Option<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SkipArgs {
    /// The run's id; without it, all runs that wait and are found by what is given below
    run: Option<String>,
    /// The key of the step or wait, as `runs show` prints it; not needed if it is the only one that the run waits for
    #[arg(conflicts_with = "step")]
    key: Option<String>,
    /// The same, for all runs that are found
    #[arg(long, value_name = "KEY")]
    step: Option<String>,
    /// The step's result or the event's payload as JSON, null if it is not given; @FILE reads a file, - standard input. For a wait for any of
    /// several events: ["EVENT", PAYLOAD]
    #[arg(long, value_name = "JSON")]
    value: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// One run, or those that a filter finds.
enum Target {
    One(RunId),
    Found(RunFilter),
}

impl Which {
    fn target(&self, run: Option<&str>) -> Result<Target> {
        let filter = self.filter.clone().filter()?;
        match run {
            Some(_) if filter != RunFilter::default() => Err(Failed::usage(
                "a run's id was given and a filter too: expected one of them",
            )),
            Some(run) => Ok(Target::One(run_id(run)?)),
            None if filter == RunFilter::default() => Err(Failed::usage(
                "no run was named: expected a run's id, or --status, --workflow, --label or another filter for all that it finds",
            )),
            None => Ok(Target::Found(filter)),
        }
    }
}

pub(crate) async fn rerun(args: RerunArgs, global: &Global, ui: Ui) -> Result<ExitCode> {
    let target = args.which.target(args.run.as_deref())?;
    let options = RerunOptions {
        from: args.from,
        deployment: if args.same_deployment {
            OnDeployment::Own
        } else {
            OnDeployment::Active
        },
    };
    let client = connect::client(global).await?;
    let run = match target {
        Target::Found(filter) => {
            return in_bulk(&client, filter, &Change::Rerun(options), args.which, ui).await;
        }
        Target::One(run) => run,
    };
    one_for_real(&args.which)?;
    let new = client.rerun(run, &options, &who(args.which.by)).await?;
    ui.data(&json!({ "run": run, "newRun": new }), |_| new.to_string());
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn retry(args: RetryArgs, global: &Global, ui: Ui) -> Result<ExitCode> {
    let target = args.which.target(args.run.as_deref())?;
    let client = connect::client(global).await?;
    let run = match target {
        Target::Found(filter) => {
            return in_bulk(&client, filter, &Change::Retry, args.which, ui).await;
        }
        Target::One(run) => run,
    };
    let (plan, status, goes_on) = if args.which.dry_run {
        let plan = client.plan_retry(run).await?;
        (plan, "failed", "would go on")
    } else {
        let plan = client.retry(run, &who(args.which.by)).await?;
        (plan, "queued", "goes on")
    };
    ui.data(
        &json!({ "run": run, "status": status, "opened": plan.opened, "removed": plan.removed }),
        |_| format!("run {run} {goes_on} {}", went_back(&plan)),
    );
    Ok(ExitCode::SUCCESS)
}

fn went_back(plan: &RetryPlan) -> String {
    let opened: Vec<&str> = plan.opened.iter().map(|key| key.as_str()).collect();
    let from = match opened.as_slice() {
        [] => "where it was".to_owned(),
        opened => format!("from {}", opened.join(", ")),
    };
    if plan.removed.is_empty() {
        return from;
    }
    let removed: Vec<&str> = plan.removed.iter().map(|key| key.as_str()).collect();
    format!("{from}, without {}", removed.join(", "))
}

pub(crate) async fn skip(args: SkipArgs, global: &Global, ui: Ui) -> Result<ExitCode> {
    let target = args.which.target(args.run.as_deref())?;
    let options = SkipOptions {
        step: args.key.or(args.step),
        value: args.value.as_deref().map(json_argument).transpose()?,
    };
    let client = connect::client(global).await?;
    let run = match target {
        Target::Found(filter) => {
            return in_bulk(&client, filter, &Change::Skip(options), args.which, ui).await;
        }
        Target::One(run) => run,
    };
    one_for_real(&args.which)?;
    let done = client.skip(run, &options, &who(args.which.by)).await?;
    let step = done.step;
    let status = match done.skipped {
        Skipped::GoesOn => "queued",
        Skipped::StaysPaused => "paused",
    };
    ui.data(
        &json!({ "run": run, "status": status, "step": step }),
        |_| match done.skipped {
            Skipped::GoesOn => format!("run {run} goes on without {step}"),
            Skipped::StaysPaused => {
                format!(
                    "run {run} goes on without {step} once it is resumed: somebody has paused it"
                )
            }
        },
    );
    Ok(ExitCode::SUCCESS)
}

fn one_for_real(which: &Which) -> Result<()> {
    if which.dry_run {
        return Err(Failed::usage(
            "--dry-run counts the runs that a filter finds: a run's id was given instead",
        ));
    }
    Ok(())
}

async fn in_bulk(
    client: &Client,
    filter: RunFilter,
    change: &Change,
    which: Which,
    ui: Ui,
) -> Result<ExitCode> {
    let done = match change {
        Change::Rerun(_) => "started again",
        Change::Retry => "retried",
        Change::Skip(_) => "sent on",
    };
    if which.dry_run {
        let counting = client.count_changes(filter, change);
        let runs = ui.working("looking at the runs", counting).await?;
        ui.data(&json!({ "runs": runs }), |_| {
            format!("{} would be {done}", runs_in_words(runs))
        });
        return Ok(ExitCode::SUCCESS);
    }
    let doing = match change {
        Change::Rerun(_) => "starting again",
        Change::Retry => "retrying",
        Change::Skip(_) => "sending on",
    };
    let progress = ui.spinner(doing);
    let tell = |done: &InBulk| {
        let (changed, refused) = (done.changed.len() as u64, done.refused.len());
        let refused = match refused {
            0 => String::new(),
            refused => format!(", {refused} left as they are"),
        };
        progress.set_message(format!("{doing}: {}{refused}", runs_in_words(changed)));
    };
    let who = who(which.by);
    let bulk = client.change_many_telling(filter, change, &who, tell).await;
    progress.finish_and_clear();
    let bulk = bulk?;
    let InBulk {
        changed,
        refused,
        stopped,
    } = bulk;
    let refusals: Vec<_> = refused
        .iter()
        .map(|(run, error)| json!({ "run": run, "code": error.code(), "message": error.to_string() }))
        .collect();
    ui.data(&json!({ "changed": changed, "refused": refusals }), |_| {
        let mut lines: Vec<String> = changed
            .iter()
            .filter_map(|changed| Some(format!("{} as {}", changed.run, changed.new_run?)))
            .collect();
        let runs = changed.len() as u64;
        let were = if runs == 1 { "was" } else { "were" };
        lines.push(format!("{} {were} {done}", runs_in_words(runs)));
        lines.join("\n")
    });
    if !ui.is_json() {
        for (_, error) in &refused {
            ui.say(&error.to_string());
        }
    }
    if let Some(error) = stopped {
        return Err(interrupted(error, changed.len()));
    }
    if !refused.is_empty() {
        return Err(Failed::request(format!(
            "{} of {} runs were left as they are",
            refused.len(),
            refused.len() + changed.len()
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// `1 run`, `2 runs`.
pub(crate) fn runs_in_words(runs: u64) -> String {
    if runs == 1 {
        "1 run".to_owned()
    } else {
        format!("{runs} runs")
    }
}

/// What kept a change of many runs from being finished.
fn interrupted(error: ClientError, changed: usize) -> Failed {
    let mut failed = Failed::from(error);
    failed.message = format!(
        "stopped after {}: {}",
        runs_in_words(changed as u64),
        failed.message
    );
    failed
}
