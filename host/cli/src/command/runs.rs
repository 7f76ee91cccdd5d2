//! `dacapo runs`

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{
    ClientError, Cursor, CursorError, Intervention, ListFilter, LogLevel, LogLine, Payloads, Run,
    RunExport, RunFilter, RunProgress, RunSummary, Status, Step, StepOutcome, Timestamp,
};

use crate::arguments::{self, Global};
use crate::command::{repair, run_id};
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::{Ui, cut, table};

/// How often `logs --follow` looks, besides when the run ends.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

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
    /// Show the log of a run, or follow it until the run ends
    Logs(Logs),
    /// Leave a note on a run, for those who look at it
    Note(Note),
    /// Write a run with its journal into a file, for another database
    Export(Export),
    /// Play failed and blocked runs over mended code, without any effect, say what would become of them, and let them go on with --apply
    Repair(repair::Args),
    /// Write a run that was exported into this database: as it ended, or paused if it had not ended
    Import(Import),
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

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The run's id
    #[arg(required_unless_present = "last")]
    run: Option<String>,
    /// In place of an id: the run of this workflow that was started last
    #[arg(long, value_name = "WORKFLOW", conflicts_with = "run")]
    last: Option<String>,
    /// Show the lines of its log too
    #[arg(long)]
    logs: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The run's id
    run: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// The run's id
    run: String,
    /// Only lines of this level and more urgent ones: trace, debug, info, warn, error
    #[arg(long, default_value_t)]
    level: LogLevel,
    /// Go on with what the run logs from now on, until it ends; with --output json each line is a document of its own
    #[arg(long, short)]
    follow: bool,
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

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The run's id
    run: String,
    /// Write to this file; standard output if it is not given
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// With the lines of its log
    #[arg(long)]
    log: bool,
    /// With what its manifest calls secret; without, the file cannot be imported or replayed if there is any
    #[arg(long)]
    with_secrets: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// What `runs export` has written; - reads standard input
    file: PathBuf,
    /// Who does this, for the record; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    match command {
        Command::List(args) => list(args, global, ui).await,
        Command::Count(args) => count(args, global, ui).await,
        Command::Show(args) => show(args, global, ui).await,
        Command::Watch(args) => watch(args, global, ui).await,
        Command::Export(args) => export(args, global, ui).await,
        Command::Repair(args) => repair::run(args, global, ui).await,
        Command::Import(args) => import(args, global, ui).await,
        Command::Logs(args) => logs(args, global, ui).await,
        Command::Note(args) => note(args, global, ui).await,
    }
}

async fn list(args: List, global: &Global, ui: Ui) -> Result<ExitCode> {
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

/// Steps that are over, or as much of all as the run's code has said.
fn progress(progress: &RunProgress) -> String {
    match progress.total {
        Some(total) => format!("{}/{total}", progress.done),
        None => progress.done.to_string(),
    }
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
    let named = args.run.as_deref().map(run_id).transpose()?;
    let client = connect::client(global).await?;
    let id = match (named, args.last) {
        (Some(id), _) => id,
        (None, workflow) => {
            let workflow = workflow.unwrap_or_default();
            let last = client.last_run(&workflow).await?;
            last.map(|run| run.id)
                .ok_or_else(|| Failed::request(format!("there is no run of {workflow}")))?
        }
    };
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
    if let Some(parent) = run.parent {
        line("parent", &parent.to_string());
    }
    line("created", &short(run.created_at));
    if let (Some(total), Some(at)) = (run.progress.total, run.progress.said_at) {
        let note = run.progress.note.as_ref();
        let note = note.map_or_else(String::new, |note| format!(": {}", cut(note, 200)));
        let done = run.progress.done;
        line(
            "progress",
            &format!("{done} of {total}{note} (said {})", short(at)),
        );
    }
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
        for at in trace(failure.details.as_ref().map(|details| details.as_str())) {
            line("", &at);
        }
    }
    if let Some(blocked) = &run.blocked {
        line("blocked", &reason(blocked.as_str()));
        let blocked: serde_json::Value = serde_json::from_str(blocked.as_str()).unwrap_or_default();
        for frame in frames(&blocked["details"]) {
            line("", &format!("  at {frame}"));
        }
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
    for intervention in &run.interventions {
        let _ = write!(
            text,
            "\n{} {} by {}{}",
            short(intervention.at),
            intervention.action,
            intervention.who,
            details(intervention)
        );
    }
    for step in &run.steps {
        for attempt in &step.failed_attempts {
            let failure = &attempt.failure;
            let _ = write!(
                text,
                "\n{} attempt {} on {}: {}: {}",
                step.key, attempt.number, attempt.worker, failure.code, failure.message
            );
            for at in trace(failure.details.as_ref().map(|details| details.as_str())) {
                let _ = write!(text, "\n{at}");
            }
        }
    }
    text.trim_end().to_owned()
}

/// What exactly somebody did to a run.
fn details(intervention: &Intervention) -> String {
    let details: serde_json::Value =
        serde_json::from_str(intervention.details.as_str()).unwrap_or_default();
    let mut text = String::new();
    if let Some(note) = details["text"].as_str().or(details["reason"].as_str()) {
        let _ = write!(text, ": {note}");
    }
    for (before, name) in [
        (" as", "run"),
        (" from", "from"),
        (" from", "opened"),
        (" of", "step"),
        (" with its parent", "parent"),
    ] {
        // An older retry opened one step.
        let values: Vec<&str> = match &details[name] {
            serde_json::Value::Array(values) => values
                .iter()
                .filter_map(serde_json::Value::as_str)
                .collect(),
            value => value.as_str().into_iter().collect(),
        };
        if !values.is_empty() {
            let value = cut(&values.join(", "), 100);
            let before = match (intervention.action.as_str(), name) {
                ("rerun-of", "run") => "",
                _ => before,
            };
            let _ = write!(text, "{before} {value}");
        }
    }
    let removed: Vec<&str> = details["removed"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect();
    if !removed.is_empty() {
        let _ = write!(text, ", without {}", cut(&removed.join(", "), 100));
    }
    text
}

/// Lines of a trace that are shown.
const TRACE_LINES_MAX: usize = 40;

/// The functions that were running, innermost first, as the details of a failure or of a block have them.
pub(crate) fn backtrace(details: Option<&str>) -> Vec<String> {
    let details: serde_json::Value = details
        .and_then(|details| serde_json::from_str(details).ok())
        .unwrap_or_default();
    frames(&details)
}

/// Where the code was, a line each: the functions that were running, or what its language says of that.
pub(crate) fn trace(details: Option<&str>) -> Vec<String> {
    let details: serde_json::Value = details
        .and_then(|details| serde_json::from_str(details).ok())
        .unwrap_or_default();
    let frames = frames(&details);
    if !frames.is_empty() {
        return frames.iter().map(|frame| format!("  at {frame}")).collect();
    }
    let said = details["trace"].as_str().unwrap_or_default().trim_end();
    let mut lines: Vec<String> = said.lines().map(|line| format!("  {line}")).collect();
    if lines.len() > TRACE_LINES_MAX {
        let rest = lines.split_off(TRACE_LINES_MAX).len();
        lines.push(format!("  ({rest} lines more with --output json)"));
    }
    lines
}

fn frames(details: &serde_json::Value) -> Vec<String> {
    let frames = details["backtrace"].as_array().into_iter().flatten();
    frames
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

async fn logs(args: Logs, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let client = connect::client(global).await?;
    let mut tail = client.log_tail(run, args.level).await?;
    if !args.follow {
        let lines = tail.next_lines().await?;
        ui.data(&lines.iter().map(log_json).collect::<Vec<_>>(), |_| {
            log_text(&lines)
        });
        return Ok(ExitCode::SUCCESS);
    }
    let mut patience = Duration::ZERO;
    loop {
        // Asked before the lines are read: those of a run that has ended are all there.
        let ended = match client.wait(run, Some(patience)).await {
            Ok(_) => true,
            Err(ClientError::WaitTimedOut { .. }) => false,
            // It was deleted meanwhile.
            Err(ClientError::RunNotFound(_)) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error.into()),
        };
        patience = FOLLOW_EVERY;
        for line in tail.next_lines().await? {
            if ui.is_json() {
                ui.line(&log_json(&line).to_string());
            } else {
                ui.line(&log_text(&[line]));
            }
        }
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
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

async fn export(args: Export, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let payloads = match args.with_secrets {
        true => Payloads::Whole,
        false => Payloads::WithoutSecrets,
    };
    let client = connect::client(global).await?.showing(payloads);
    let export = client.export(run, args.log).await?;
    if export.is_redacted() {
        ui.say("what is secret is left out, so it can be neither imported nor replayed: --with-secrets keeps it");
    }
    let text = export.to_json().map_err(Failed::new)?;
    let Some(file) = args.file else {
        ui.line(&text);
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::write(&file, text + "\n")
        .map_err(|error| Failed::usage(format!("cannot write {}: {error}", file.display())))?;
    ui.data(&serde_json::json!({ "run": run, "file": file }), |_| {
        format!("wrote run {run} to {}", file.display())
    });
    Ok(ExitCode::SUCCESS)
}

async fn import(args: Import, global: &Global, ui: Ui) -> Result<ExitCode> {
    let read = if args.file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(&args.file)
    };
    let text = read
        .map_err(|error| Failed::usage(format!("cannot read {}: {error}", args.file.display())))?;
    let export = RunExport::from_json(&text).map_err(ClientError::from)?;
    let client = connect::client(global).await?;
    client.import(&export, &super::who(args.by)).await?;
    let run = client.get(export.run.id).await?;
    ui.data(
        &serde_json::json!({ "run": run.id, "status": run.status }),
        |_| match run.status {
            Status::Paused => format!("run {} is here, and paused", run.id),
            status => format!("run {} is here: {status}", run.id),
        },
    );
    Ok(ExitCode::SUCCESS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_shown_in_the_words_of_its_language() {
        let python = r#"{"trace": "Traceback:\n  in pay\nKeyError: 'card'\n"}"#;
        assert_eq!(
            trace(Some(python)),
            ["  Traceback:", "    in pay", "  KeyError: 'card'"]
        );
        assert_eq!(
            trace(Some(r#"{"backtrace": ["pay at src/lib.rs:3"]}"#)),
            ["  at pay at src/lib.rs:3"]
        );
        assert!(trace(None).is_empty());
    }

    #[test]
    fn of_a_long_trace_the_beginning_is_shown() {
        let long = serde_json::json!({ "trace": "deeper\n".repeat(100) }).to_string();
        let lines = trace(Some(&long));
        assert_eq!(lines.len(), TRACE_LINES_MAX + 1);
        assert!(lines[TRACE_LINES_MAX].contains("60 lines more"));
    }
}
