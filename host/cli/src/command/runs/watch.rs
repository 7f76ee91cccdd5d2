//! `dacapo runs watch`

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{By, Client, ListFilter, Run, RunFilter, RunId, RunSummary, Status};
use serde_json::json;

use super::list::{blocked_by, short, waiting, waits_for};
use super::show::outcome;
use super::{Filter, live, top};
use crate::arguments::Global;
use crate::command::signal::Stop;
use crate::command::start::finished;
use crate::command::{run_id, who};
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::{Screen, Stream, Ui, status};

/// How often it looks, besides when the run ends.
pub(super) const WATCH_EVERY: Duration = Duration::from_millis(250);

/// How often a list is looked at.
pub(super) const LIST_EVERY: Duration = Duration::from_secs(1);

/// Of the time that passes, a look takes at most one part in so many: one that takes long is rare.
const LOOKS_IN: u32 = 10;

/// Runs of a list, the newest ones, at most.
pub(super) const RUNS_MAX: u32 = 200;

#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// The run's id; without it, the newest runs that are found by what is given below, and counts of them by status
    run: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Line by line on a terminal too, and not as a live view
    #[arg(long)]
    plain: bool,
    /// Who pauses, resumes or cancels it by a key, for the record; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// How a view was left.
#[derive(Debug)]
pub(super) enum Left {
    /// The run has ended.
    Ended(Box<Run>),
    /// Somebody wants to see no more. The status is the last one that was seen.
    Quit(Option<Status>),
    /// The process was asked to stop, by what this is the exit code for.
    Stopped(u8),
}

/// Time until the next look, after one that took so long.
pub(super) fn pause_after(took: Duration, every: Duration) -> Duration {
    every.max(took * LOOKS_IN)
}

pub(super) async fn watch(args: Watch, global: &Global, ui: Ui) -> Result<ExitCode> {
    let filter = args.filter.filter()?;
    let is_live = !args.plain && Screen::is_possible(ui);
    let Some(run) = args.run else {
        let client = connect::client(global).await?;
        return match is_live {
            true => many_live(&client, filter, who(args.by)).await,
            false => many(&client, filter, ui).await,
        };
    };
    if filter != RunFilter::default() {
        return Err(Failed::usage(
            "a run's id was given and a filter too: expected one of them",
        ));
    }
    let id = run_id(&run)?;
    let client = connect::client(global).await?;
    match is_live {
        true => one_live(&client, id, who(args.by), ui).await,
        false => one(&client, id, ui).await,
    }
}

/// A run, line by line.
async fn one(client: &Client, id: RunId, ui: Ui) -> Result<ExitCode> {
    let mut shown = Vec::new();
    let mut before = None;
    loop {
        let run = client.get(id).await?;
        if before != Some(run.status) {
            before = Some(run.status);
            ui.say(&state(&run));
        }
        for step in &run.steps {
            let state = (step.key.clone(), step.status);
            if !shown.contains(&state) {
                let word = status(step.status.as_str(), Stream::Err);
                ui.say(&format!("  {} {word} {}", step.key, outcome(step)));
                shown.push(state);
            }
        }
        if run.status.is_terminal() {
            return finished(&run, ui);
        }
        // Ends early when the run does; time running out is what happens while it is under way.
        let _ = client.wait(id, Some(WATCH_EVERY)).await;
    }
}

/// The status of a run, and what it waits for.
fn state(run: &Run) -> String {
    let why = match (&run.blocked, &run.waiting_for) {
        (Some(blocked), _) => format!(": {}", blocked_by(blocked.as_str())),
        (None, Some(waiting)) => format!(" ({})", waits_for(waiting)),
        (None, None) => String::new(),
    };
    format!("{}{why}", status(run.status.as_str(), Stream::Err))
}

/// A run, as a live view.
async fn one_live(client: &Client, id: RunId, who: String, ui: Ui) -> Result<ExitCode> {
    // Nobody should see a screen come and go because of an id that was mistyped.
    let run = client.get(id).await?;
    if run.status.is_terminal() {
        return one(client, id, ui).await;
    }
    let by = By {
        who: &who,
        reason: None,
    };
    let mut stop = Stop::new()?;
    let left = {
        let mut screen = Screen::open()?;
        live::watch(&mut screen, &mut stop, client, id, by, live::AtEnd::Leave).await
    };
    match left? {
        Left::Ended(run) => {
            ui.say(&format!("run {id} of {}", run.workflow));
            ui.say(&format!("{}, {} steps", state(&run), run.steps.len()));
            finished(&run, ui)
        }
        Left::Quit(status) => {
            let status = status.unwrap_or(run.status);
            ui.say(&format!("run {id} is {status}; it is not watched any more"));
            Ok(ExitCode::SUCCESS)
        }
        Left::Stopped(code) => Ok(ExitCode::from(code)),
    }
}

async fn many_live(client: &Client, filter: RunFilter, who: String) -> Result<ExitCode> {
    // What is wrong with the filter is said before the screen comes.
    client.count(filter.clone()).await?;
    let by = By {
        who: &who,
        reason: None,
    };
    let mut stop = Stop::new()?;
    let left = {
        let mut screen = Screen::open()?;
        top::watch(&mut screen, &mut stop, client, &filter, by).await
    };
    match left? {
        Left::Stopped(code) => Ok(ExitCode::from(code)),
        Left::Ended(_) | Left::Quit(_) => Ok(ExitCode::SUCCESS),
    }
}

/// The newest runs that a filter finds, a line for each that has another status than before, until the process is stopped.
async fn many(client: &Client, filter: RunFilter, ui: Ui) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    let mut before: HashMap<RunId, Status> = HashMap::new();
    loop {
        let began = tokio::time::Instant::now();
        let page = client.list(ListFilter {
            runs: filter.clone(),
            limit: RUNS_MAX,
            ..ListFilter::default()
        });
        let page = tokio::select! {
            page = page => page?,
            code = stop.asked_by() => return Ok(ExitCode::from(code)),
        };
        // The oldest first, as they came.
        for run in page.items.iter().rev() {
            if before.get(&run.id) != Some(&run.status) {
                ui.line(&line(run, ui));
            }
        }
        before = page.items.iter().map(|run| (run.id, run.status)).collect();
        tokio::select! {
            () = tokio::time::sleep(pause_after(began.elapsed(), LIST_EVERY)) => {}
            code = stop.asked_by() => return Ok(ExitCode::from(code)),
        }
    }
}

fn line(run: &RunSummary, ui: Ui) -> String {
    if ui.is_json() {
        return json!({ "run": run.id, "workflow": run.workflow, "status": run.status })
            .to_string();
    }
    let word = status(run.status.as_str(), Stream::Out);
    let line = format!(
        "{} {} {} {word} {}",
        short(run.created_at),
        run.id,
        run.workflow,
        waiting(run)
    );
    line.trim_end().to_owned()
}
