//! `dacapo runs`

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{
    ListFilter, LogLine, Run, RunFilter, RunSummary, Status, Step, StepOutcome, Timestamp,
};

use crate::arguments::{self, Global};
use crate::command::run_id;
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::{Ui, cut, table};

/// How often `watch` looks, besides when the run ends.
const WATCH_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List runs, the newest first
    List(List),
    /// Count runs by their status
    Count(Filter),
    /// Show one run with its steps
    Show(Show),
    /// Follow a run until it ends
    Watch(One),
    /// Show the log of a run
    Logs(One),
}

/// Which runs.
#[derive(Debug, clap::Args)]
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
    fn filter(self) -> Result<RunFilter> {
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
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// How many, 1 to 1000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on after this place: the `next` of another list
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The run's id
    run: String,
    /// Show the lines of its log too
    #[arg(long)]
    logs: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The run's id
    run: String,
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    match command {
        Command::List(args) => list(args, global, ui).await,
        Command::Count(args) => count(args, global, ui).await,
        Command::Show(args) => show(args, global, ui).await,
        Command::Watch(args) => watch(args, global, ui).await,
        Command::Logs(args) => {
            let run = run_id(&args.run)?;
            let lines = connect::client(global).await?.logs(run).await?;
            ui.data(&lines.iter().map(log_json).collect::<Vec<_>>(), |_| {
                log_text(&lines)
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(args: List, global: &Global, ui: Ui) -> Result<ExitCode> {
    let after = args
        .after
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|error: dacapo_client::CursorError| Failed::usage(error.to_string()))?;
    let filter = ListFilter {
        runs: args.filter.filter()?,
        limit: args.limit,
        after,
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
                run.progress.done.to_string(),
                short(run.created_at),
                waiting(run),
            ]
        });
        table(&["run", "workflow", "status", "steps", "created", ""], rows)
    });
    if let (false, Some(next)) = (ui.is_json(), &page.next) {
        ui.say(&format!("more: --after {next}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn count(args: Filter, global: &Global, ui: Ui) -> Result<ExitCode> {
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

/// What a run waits for, or why it ended as it did.
fn waiting(run: &RunSummary) -> String {
    if let Some(failure) = &run.failure {
        return cut(&format!("{}: {}", failure.code, failure.message), 60);
    }
    if let Some(blocked) = &run.blocked {
        return cut(&reason(blocked.as_str()), 60);
    }
    run.waiting_for.as_ref().map_or_else(String::new, waits_for)
}

fn waits_for(waiting: &dacapo_client::WaitingFor) -> String {
    let until = waiting
        .wake_at
        .map_or_else(String::new, |at| format!(" until {}", short(at)));
    match waiting.reason.as_str() {
        "event" => format!("waits for {}{until}", waiting.events.join(" or ")),
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
fn reason(blocked: &str) -> String {
    let reason: serde_json::Value = serde_json::from_str(blocked).unwrap_or_default();
    let word = |name: &str| reason[name].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", word("code"), word("message"))
}

fn short(time: Timestamp) -> String {
    // Seconds are enough for people.
    time.to_string()
        .get(..19)
        .map_or_else(String::new, |text| text.replace('T', " "))
}

async fn show(args: Show, global: &Global, ui: Ui) -> Result<ExitCode> {
    let id = run_id(&args.run)?;
    let client = connect::client(global).await?;
    let run = client.get(id).await?;
    let logs = if args.logs {
        client.logs(id).await?
    } else {
        Vec::new()
    };
    if ui.is_json() {
        let mut json = serde_json::to_value(&run).map_err(Failed::new)?;
        if args.logs {
            json["logs"] = logs.iter().map(log_json).collect();
        }
        ui.data(&json, |_| String::new());
    } else {
        ui.line(&run_text(&run));
        if args.logs {
            ui.line(&format!("\n{}", log_text(&logs)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_text(run: &Run) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<11}{value}");
    };
    line("run", &run.id.to_string());
    line(
        "workflow",
        &format!(
            "{} (deployment {} of {})",
            run.workflow, run.deployment.number, run.deployment.package
        ),
    );
    line("status", run.status.as_str());
    if let Some(waiting) = &run.waiting_for {
        line("waiting", &waits_for(waiting));
    }
    line("created", &short(run.created_at));
    if let Some(at) = run.started_at {
        line("started", &short(at));
    }
    if let Some(at) = run.finished_at {
        line("finished", &short(at));
    }
    if let Some(at) = run.deadline {
        line("deadline", &short(at));
    }
    if let Some(queue) = &run.queue {
        let key = run
            .concurrency_key
            .as_ref()
            .map_or_else(String::new, |key| format!(" (key {key})"));
        line("queue", &format!("{queue}{key}"));
    }
    if run.priority != 0 {
        line("priority", &run.priority.to_string());
    }
    if !run.labels.is_empty() {
        line(
            "labels",
            &run.labels
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    line("input", &cut(run.input.as_str(), 200));
    if let Some(output) = &run.output {
        line("output", &cut(output.as_str(), 200));
    }
    if let Some(failure) = &run.failure {
        line("failure", &format!("{}: {}", failure.code, failure.message));
        for frame in backtrace(
            failure
                .details
                .as_ref()
                .map_or("null", |details| details.as_str()),
        ) {
            line("", &format!("  at {frame}"));
        }
    }
    if let Some(blocked) = &run.blocked {
        line("blocked", &reason(blocked.as_str()));
    }
    if !run.steps.is_empty() {
        let rows = run.steps.iter().map(|step| {
            vec![
                step.key.to_string(),
                step.kind.as_str().to_owned(),
                step.status.to_string(),
                step.attempts.to_string(),
                outcome(step),
                duration(step),
            ]
        });
        text.push('\n');
        text.push_str(&table(
            &["step", "kind", "status", "attempts", "outcome", "took"],
            rows,
        ));
    }
    for step in &run.steps {
        for attempt in &step.failed_attempts {
            let failure = &attempt.failure;
            let _ = write!(
                text,
                "\n{} attempt {} on {}: {}: {}",
                step.key, attempt.number, attempt.worker, failure.code, failure.message
            );
            for frame in backtrace(
                failure
                    .details
                    .as_ref()
                    .map_or("null", |details| details.as_str()),
            ) {
                let _ = write!(text, "\n  at {frame}");
            }
        }
    }
    text.trim_end().to_owned()
}

fn backtrace(details: &str) -> Vec<String> {
    let details: serde_json::Value = serde_json::from_str(details).unwrap_or_default();
    let frames = details["backtrace"].as_array().cloned().unwrap_or_default();
    frames
        .iter()
        .filter_map(|frame| frame.as_str().map(str::to_owned))
        .collect()
}

fn outcome(step: &Step) -> String {
    match &step.outcome {
        Some(StepOutcome::Ok(payload)) => cut(payload.as_str(), 60),
        Some(StepOutcome::Failed(failure)) => {
            cut(&format!("{}: {}", failure.code, failure.message), 60)
        }
        Some(StepOutcome::TimedOut | StepOutcome::Cancelled) => String::new(),
        None => step
            .due
            .map_or_else(String::new, |due| format!("until {}", short(due))),
    }
}

fn duration(step: &Step) -> String {
    let Some(finished) = step.finished_at else {
        return String::new();
    };
    let micros = finished
        .as_micros()
        .saturating_sub(step.started_at.as_micros());
    if micros < 10_000 {
        format!("{:.1} ms", micros as f64 / 1e3)
    } else if micros < 10_000_000 {
        format!("{} ms", micros / 1_000)
    } else {
        format!("{} s", micros / 1_000_000)
    }
}

fn log_json(line: &LogLine) -> serde_json::Value {
    serde_json::json!({
        "at": line.at, "level": line.level, "step": line.step, "source": line.source,
        "message": line.message, "fields": line.fields,
    })
}

fn log_text(lines: &[LogLine]) -> String {
    let lines = lines.iter().map(|line| {
        let step = line
            .step
            .as_ref()
            .map_or_else(String::new, |step| format!(" [{step}]"));
        let fields = line
            .fields
            .as_ref()
            .map_or_else(String::new, |fields| format!(" {}", fields.as_str()));
        format!(
            "{} {:<5}{step} {}{fields}",
            line.at, line.level, line.message
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn watch(args: One, global: &Global, ui: Ui) -> Result<ExitCode> {
    let id = run_id(&args.run)?;
    let client = connect::client(global).await?;
    let mut shown = Vec::new();
    let mut status = None;
    loop {
        let run = client.get(id).await?;
        if status != Some(run.status) {
            status = Some(run.status);
            let why = run
                .waiting_for
                .as_ref()
                .map_or_else(String::new, |waiting| format!(" ({})", waits_for(waiting)));
            ui.say(&format!("{}{why}", run.status));
        }
        for step in &run.steps {
            let state = (step.key.clone(), step.status);
            if !shown.contains(&state) {
                ui.say(&format!("  {} {} {}", step.key, step.status, outcome(step)));
                shown.push(state);
            }
        }
        if run.status.is_terminal() {
            return super::start::finished(&run, ui);
        }
        // Ends early when the run does; time running out is what happens while it is under way.
        let _ = client.wait(id, Some(WATCH_EVERY)).await;
    }
}
