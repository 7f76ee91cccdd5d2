//! `dacapo runs list` and `dacapo runs count`

use std::process::ExitCode;

use dacapo_client::{Cursor, CursorError, ListFilter, RunProgress, RunSummary, Timestamp};
use dacapo_model::Obstacle;

use super::Filter;
use crate::arguments::Global;
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::{Ui, cut, table};

/// The option that moves runs, which messages and advice name.
const UPGRADE: &str = "--upgrade";

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// How many, 1 to 1000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on after this place: the `next` of another list
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Go back to what is in front of this place: the `previous` of another list
    #[arg(long, value_name = "CURSOR", conflicts_with = "after")]
    back_from: Option<String>,
}

pub(super) async fn list(args: List, global: &Global, ui: Ui) -> Result<ExitCode> {
    let filter = ListFilter {
        runs: args.filter.filter()?,
        limit: args.limit,
        after: cursor(args.after)?,
        before: cursor(args.back_from)?,
    };
    let page = connect::client(global).await?.list(filter).await?;
    ui.data(&page, |page| {
        if page.items.is_empty() {
            return "no runs".to_owned();
        }
        let rows = page.items.iter().map(|run| {
            vec![
                run.id.to_string(),
                run.workflow.clone(),
                run.status.to_string(),
                progress(&run.progress),
                short(run.created_at),
                waiting(run),
            ]
        });
        table(&["run", "workflow", "status", "done", "created", ""], rows)
    });
    if !ui.is_json() {
        if let Some(previous) = &page.previous {
            ui.say(&format!("newer: --back-from {previous}"));
        }
        if let Some(next) = &page.next {
            ui.say(&format!("more: --after {next}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cursor(text: Option<String>) -> Result<Option<Cursor>> {
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error: CursorError| Failed::usage(error.to_string()))
}

pub(super) async fn count(args: Filter, global: &Global, ui: Ui) -> Result<ExitCode> {
    let counts = connect::client(global).await?.count(args.filter()?).await?;
    ui.data(&counts, |counts| {
        let all: u64 = counts.values().sum();
        let rows = counts
            .iter()
            .filter(|(_, runs)| **runs > 0)
            .map(|(status, runs)| vec![status.to_string(), runs.to_string()])
            .chain([vec!["all".to_owned(), all.to_string()]]);
        table(&["status", "runs"], rows)
    });
    Ok(ExitCode::SUCCESS)
}

/// Steps that are over, or as much of all as the run's code has said.
pub(super) fn progress(progress: &RunProgress) -> String {
    match progress.total {
        Some(total) => format!("{}/{total}", progress.done),
        None => progress.done.to_string(),
    }
}

/// What a run waits for, or why it ended as it did.
pub(super) fn waiting(run: &RunSummary) -> String {
    if let Some(failure) = &run.failure {
        return cut(&format!("{}: {}", failure.code, failure.message), 60);
    }
    if let Some(blocked) = &run.blocked {
        return cut(&reason(blocked.as_str()), 60);
    }
    run.waiting_for.as_ref().map_or_else(String::new, waits_for)
}

pub(crate) fn waits_for(waiting: &dacapo_client::WaitingFor) -> String {
    let until = waiting
        .wake_at
        .map_or_else(String::new, |at| format!(" until {}", short(at)));
    match waiting.reason.as_str() {
        "event" => format!("waits for {}{until}", waiting.events.join(" or ")),
        "child" => format!(
            "waits for {}{until}",
            waiting.events.join(" or ").replace('/', " ")
        ),
        "time" => format!("sleeps{until}"),
        "retry" => format!("tries a step again{}", until.replace(" until ", " at ")),
        "pause" | "boundary" => "waits for `dacapo resume`".to_owned(),
        "queue" => "waits for its turn".to_owned(),
        "delay" => format!("begins{}", until.replace(" until ", " at ")),
        "singleton" => "waits for the end of the run before it".to_owned(),
        "workflow" => "waits for `dacapo workflows resume`".to_owned(),
        other => other.to_owned(),
    }
}

/// Code and message of what blocks a run.
pub(crate) fn reason(blocked: &str) -> String {
    let (code, message) = block(blocked);
    format!("{code}: {message}")
}

fn block(blocked: &str) -> (String, String) {
    let reason: serde_json::Value = serde_json::from_str(blocked).unwrap_or_default();
    let word = |name: &str| reason[name].as_str().unwrap_or_default().to_owned();
    (word("code"), word("message"))
}

/// What lets a blocked run go on, where the message of its block does not say so itself.
pub(crate) fn mend(blocked: &str) -> Option<&'static str> {
    let (code, message) = block(blocked);
    let known = Obstacle::of(&code)?;
    let is_said = known.says_so || known.advice.contains(UPGRADE) && message.contains(UPGRADE);
    (!is_said).then_some(known.advice)
}

/// The same with what blocks it in front.
pub(crate) fn blocked_by(blocked: &str) -> String {
    let reason = reason(blocked);
    match mend(blocked) {
        Some(mend) => format!("{reason}; {mend}"),
        None => reason,
    }
}

pub(super) fn short(time: Timestamp) -> String {
    // Seconds are enough for people.
    time.to_string()
        .get(..19)
        .map_or_else(String::new, |text| text.replace('T', " "))
}
