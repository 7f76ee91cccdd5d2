//! `dacapo runs show`

use std::fmt::Write;
use std::process::ExitCode;

use dacapo_client::{Intervention, Run, Step, StepOutcome};

use super::list::{mend, reason, short, waits_for};
use super::logs::{log_json, log_text};
use crate::arguments::Global;
use crate::command::run_id;
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::{Stream, Tone, Ui, cut, status, table, tint};

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

pub(super) async fn show(args: Show, global: &Global, ui: Ui) -> Result<ExitCode> {
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
    line("status", &status(run.status.as_str(), Stream::Out));
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
        let why = format!("{}: {}", failure.code, failure.message);
        line("failure", &tint(&why, Tone::Bad, Stream::Out));
        for at in trace(failure.details.as_ref().map(|details| details.as_str())) {
            line("", &at);
        }
    }
    if let Some(blocked) = &run.blocked {
        line(
            "blocked",
            &tint(&reason(blocked.as_str()), Tone::Bad, Stream::Out),
        );
        if let Some(mend) = mend(blocked.as_str()) {
            line("", mend);
        }
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

pub(super) fn outcome(step: &Step) -> String {
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

pub(super) fn duration(step: &Step) -> String {
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
