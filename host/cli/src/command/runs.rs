//! `dacapo runs`

pub(crate) mod list;
mod live;
mod logs;
mod show;
mod top;
mod transfer;
mod view;
mod watch;

use std::process::ExitCode;

use dacapo_client::{RunFilter, Status, Timestamp};

use crate::arguments::{self, Global};
use crate::command::{repair, run_id};
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::Ui;

pub(crate) use show::{backtrace, trace};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List runs, the newest first
    List(list::List),
    /// Count runs by their status
    Count(Filter),
    /// Show one run with its steps
    Show(show::Show),
    /// Follow a run until it ends, or, without one, all runs that are found; on a terminal as a live view with keys
    Watch(watch::Watch),
    /// Show the log of a run, or follow it until the run ends
    Logs(logs::Logs),
    /// Leave a note on a run, for those who look at it
    Note(Note),
    /// Write a run with its journal into a file, for another database
    Export(transfer::Export),
    /// Play failed and blocked runs over mended code, without any effect, say what would become of them, and let them go on with --apply
    Repair(repair::Args),
    /// Write a run that was exported into this database: as it ended, or paused if it had not ended
    Import(transfer::Import),
}

/// Which runs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Filter {
    /// Only runs with this status: queued, running, suspended, paused, cancelling, completed, failed, cancelled, blocked
    #[arg(long)]
    status: Option<String>,
    /// Only runs of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// Only runs of the deployment with this number
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    deployment: Option<i32>,
    /// Only runs with this label; may be repeated
    #[arg(long = "label", short, value_parser = arguments::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,
    /// Only runs whose failure has these words, each as the beginning of a word of its code or message
    #[arg(long, value_name = "WORDS")]
    failure: Option<String>,
    /// Only runs created since then: a time, a date, or how long ago (2h, 3d)
    #[arg(long, value_parser = arguments::moment, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only runs created before then: a time, a date, or how long ago (2h, 3d)
    #[arg(long, value_parser = arguments::moment, value_name = "TIME")]
    before: Option<Timestamp>,
}

impl Filter {
    pub(crate) fn filter(self) -> Result<RunFilter> {
        let status: Option<Status> = self
            .status
            .map(|status| status.parse())
            .transpose()
            .map_err(|error: dacapo_model::StatusError| Failed::usage(error.to_string()))?;
        Ok(RunFilter {
            status,
            workflow: self.workflow,
            deployment: self.deployment,
            labels: self.labels.into_iter().collect(),
            failure: self.failure,
            created_since: self.since,
            created_before: self.before,
        })
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Note {
    /// The run's id
    run: String,
    /// The note
    text: String,
    /// Who leaves it; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    match command {
        Command::List(args) => list::list(args, global, ui).await,
        Command::Count(args) => list::count(args, global, ui).await,
        Command::Show(args) => show::show(args, global, ui).await,
        Command::Watch(args) => watch::watch(args, global, ui).await,
        Command::Export(args) => transfer::export(args, global, ui).await,
        Command::Repair(args) => repair::run(args, global, ui).await,
        Command::Import(args) => transfer::import(args, global, ui).await,
        Command::Logs(args) => logs::logs(args, global, ui).await,
        Command::Note(args) => note(args, global, ui).await,
    }
}

async fn note(args: Note, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let who = super::who(args.by);
    connect::client(global)
        .await?
        .note(run, &args.text, &who)
        .await?;
    ui.data(
        &serde_json::json!({ "run": run, "note": args.text, "who": who }),
        |_| format!("noted on run {run}"),
    );
    Ok(ExitCode::SUCCESS)
}
