//! `dacapo test`

mod scenario;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use dacapo_testkit::{
    BlockCode, Child, Component, Crashes, Error, Failure, LogLine, Outcome, Payload, Recorded,
    RecordedState, Run, RunOutcome, SandboxConfig, SuspendReason, Timestamp, Value,
};
use serde_json::json;

pub(crate) use scenario::example_input;

use crate::arguments::{self, Global, NoDatabase};
use crate::command::worker::default_cache_dir;
use crate::command::{json_argument, runs};
use crate::error::{Failed, Kind, Result, chain};
use crate::ui::{Ui, cut, patiently, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A component, or a core module that carries component type information; without it, or of a project's directory, the tests in its
    /// tests/*.toml are played over the component that `dacapo build` has made
    #[arg(default_value = ".", value_name = "FILE.wasm|PROJECT")]
    file: PathBuf,
    #[command(flatten)]
    _no_database: NoDatabase,
    /// The workflow, by its full name or an end of it; may be left out if the component has only one
    #[arg(long, short, value_name = "WORKFLOW")]
    workflow: Option<String>,
    /// The input as JSON; @FILE reads a file, - standard input
    #[arg(long, short, default_value = "null", value_name = "JSON")]
    input: String,
    /// An event that is sent before the run starts; the payload is null without =JSON. May be repeated
    #[arg(long = "event", value_name = "NAME[=JSON]")]
    events: Vec<String>,
    /// An event that is sent this long after the run's start, such as 90m. May be repeated
    #[arg(long = "event-at", num_args = 2, value_names = ["AFTER", "NAME[=JSON]"])]
    events_at: Vec<String>,
    /// The outcome of a step whose body is not to run; by the step's name, or its key such as charge#2. May be repeated
    #[arg(long = "step", value_name = "STEP=JSON")]
    steps: Vec<String>,
    /// The failure of a step whose body is not to run. May be repeated
    #[arg(long = "step-fails", value_name = "STEP=CODE[: MESSAGE]")]
    failures: Vec<String>,
    /// The output of each child of a workflow; by the workflow's name or an end of it. May be repeated
    #[arg(long = "child", value_name = "WORKFLOW=JSON")]
    children: Vec<String>,
    /// The output of each child of a workflow, which takes this long. May be repeated
    #[arg(long = "child-at", num_args = 2, value_names = ["AFTER", "WORKFLOW=JSON"])]
    children_at: Vec<String>,
    /// The failure of each child of a workflow. May be repeated
    #[arg(long = "child-fails", value_name = "WORKFLOW=CODE[: MESSAGE]")]
    failing_children: Vec<String>,
    /// A pause of the workflow's own that is resumed as soon as it is reached; by its name or its key. May be repeated
    #[arg(long = "resume", value_name = "PAUSE")]
    pauses: Vec<String>,
    /// Cancel the run this long after its start
    #[arg(long, value_parser = arguments::duration, value_name = "AFTER")]
    cancel_at: Option<Duration>,
    /// A label of the run; may be repeated
    #[arg(long = "label", short, value_parser = arguments::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,
    /// Run it again and again, with a crash before and after each row of its journal, and compare the outcomes
    #[arg(long)]
    crash_everywhere: bool,
    /// Rows that the run's journal may have; a run that wants more is blocked
    #[arg(long, default_value_t = Component::default_limits().steps_max, value_name = "ROWS")]
    steps_max: u32,
    /// Where compiled components are kept [default: a cache directory of the user]
    #[arg(long, env = "DACAPO_CACHE_DIR", value_name = "DIRECTORY")]
    cache_dir: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    if args.file.is_dir() {
        return run_project(&args, global, ui).await;
    }
    let component = load(&args, &args.file, global).await?;
    let workflow = match &args.workflow {
        Some(workflow) => workflow.clone(),
        None => only_workflow(&component)?,
    };
    let mut run = component.run_json(&workflow, &json_argument(&args.input)?)?;
    script(&mut run, &args)?;
    let ended = run.run_to_completion().await;
    let crashes = match &ended {
        Ok(_) if args.crash_everywhere => Some(run.crash_everywhere().await),
        _ => None,
    };
    // What happened is shown however it ended: it is what explains the end.
    if run.outcome().is_some() || matches!(ended, Err(Error::WaitsForEver { .. })) {
        let crashes = crashes.as_ref().and_then(|crashes| crashes.as_ref().ok());
        show(&run, ended.as_ref().err(), crashes, ui);
    }
    let outcome = ended?;
    if let Some(crashes) = crashes {
        let crashes = crashes?;
        ui.say(&crashes.to_string());
    }
    match outcome {
        RunOutcome::Completed(_) => Ok(ExitCode::SUCCESS),
        RunOutcome::Blocked(reason) if reason.code == BlockCode::JournalLimit => Err(
            Failed::request(format!("the run is blocked: {}", reason.message))
                .hint("if the workflow is to end at all, raise the limit here with --steps-max"),
        ),
        RunOutcome::Blocked(reason) if reason.code == BlockCode::UnknownWorkflow => Err(
            Failed::request(format!("the run is blocked: {}", reason.message))
                .hint("say here how the child ends with --child WORKFLOW=JSON or --child-fails WORKFLOW=CODE"),
        ),
        other => Err(Failed::request(format!("the run {other}"))),
    }
}

/// Plays all tests of a project.
async fn run_project(args: &Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let project = super::project::project(&args.file)?;
    let file = project.component();
    if !file.exists() {
        return Err(
            Failed::usage(format!("there is no {} yet", file.display())).hint("type: dacapo build")
        );
    }
    let tests = scenario::find(&args.file.join("tests"))?;
    if tests.is_empty() {
        return Err(Failed::usage(format!(
            "there are no tests in {}",
            args.file.join("tests").display()
        ))
        .hint("a test is a file tests/NAME.toml; docs/testing.md has all that it may say"));
    }
    let component = load(args, &file, global).await?;
    let mut reports = Vec::new();
    for test in tests {
        let report = scenario::play(&component, &test).await?;
        if !ui.is_json() {
            ui.line(&report_line(&report));
        }
        reports.push(report);
    }
    let bad = reports.iter().filter(|report| report.problem.is_some());
    let bad = bad.count();
    if ui.is_json() {
        let reports: Vec<Value> = reports.iter().map(report_json).collect();
        ui.data(&json!({ "tests": reports }), |_| String::new());
    }
    match bad {
        0 => Ok(ExitCode::SUCCESS),
        _ => Err(Failed::request(format!(
            "{bad} of {} tests did not come out as expected",
            reports.len()
        ))),
    }
}

fn report_line(report: &scenario::Report) -> String {
    let file = report.file.display();
    match (&report.problem, report.crashes) {
        (Some(problem), _) => format!("{file}: {problem}"),
        (None, Some(crashes)) => {
            format!("{file}: as expected, also with each of {crashes} crashes")
        }
        (None, None) => format!("{file}: as expected"),
    }
}

fn report_json(report: &scenario::Report) -> Value {
    json!({ "file": report.file, "passed": report.problem.is_none(), "problem": report.problem, "crashes": report.crashes })
}

/// Compiling takes up to many seconds of a core.
async fn load(args: &Args, file: &Path, global: &Global) -> Result<Component> {
    let limits = SandboxConfig {
        cache_dir: args.cache_dir.clone().or_else(default_cache_dir),
        payload: global.payload_limits(),
        steps_max: args.steps_max,
        ..Component::default_limits()
    };
    let (what, file) = (format!("compiling {}", file.display()), file.to_owned());
    let loading = tokio::task::spawn_blocking(move || Component::load_with(file, limits));
    let loaded = patiently(&what, loading).await;
    Ok(loaded.map_err(Failed::new)??)
}

fn only_workflow(component: &Component) -> Result<String> {
    let workflows: Vec<&str> = component.workflows().collect();
    match workflows.as_slice() {
        [only] => Ok((*only).to_owned()),
        several => Err(Failed::usage(
            "the component has several workflows; name one with --workflow",
        )
        .hint(format!("it has {}", several.join(", ")))),
    }
}

/// Says to the run what was typed.
fn script(run: &mut Run, args: &Args) -> Result<()> {
    for (name, value) in &args.labels {
        run.label(name, value);
    }
    for event in &args.events {
        let (name, payload) = event_argument(event)?;
        run.send_event(&name, payload);
    }
    for pair in args.events_at.chunks_exact(2) {
        let after = arguments::duration(&pair[0])
            .map_err(|error| Failed::usage(format!("--event-at: {:?}: {error}", pair[0])))?;
        let (name, payload) = event_argument(&pair[1])?;
        run.send_event_at(after, &name, payload);
    }
    for step in &args.steps {
        let (name, value) = step
            .split_once('=')
            .ok_or_else(|| Failed::usage(format!("--step {step}: expected STEP=JSON")))?;
        run.script_step(name, Ok(json_value(&format!("--step {name}"), value)?));
    }
    for step in &args.failures {
        let (name, failure) = failure_argument("--step-fails", "STEP", step)?;
        run.script_step(name, Err(failure));
    }
    for child in &args.children {
        let (workflow, output) = output_argument("--child", child)?;
        run.script_child(workflow, Child::ends(Ok(output)));
    }
    for pair in args.children_at.chunks_exact(2) {
        let after = arguments::duration(&pair[0])
            .map_err(|error| Failed::usage(format!("--child-at: {:?}: {error}", pair[0])))?;
        let (workflow, output) = output_argument("--child-at", &pair[1])?;
        run.script_child(workflow, Child::ends(Ok(output)).after(after));
    }
    for child in &args.failing_children {
        let (workflow, failure) = failure_argument("--child-fails", "WORKFLOW", child)?;
        run.script_child(workflow, Child::ends(Err(failure)));
    }
    for pause in &args.pauses {
        run.resume_pause(pause);
    }
    if let Some(after) = args.cancel_at {
        run.cancel_at(after);
    }
    Ok(())
}

/// `NAME=CODE` or `NAME=CODE: MESSAGE`.
fn failure_argument<'a>(option: &str, what: &str, text: &'a str) -> Result<(&'a str, Failure)> {
    let (name, failure) = text
        .split_once('=')
        .filter(|(_, failure)| !failure.is_empty())
        .ok_or_else(|| {
            Failed::usage(format!(
                "{option} {text}: expected {what}=CODE or {what}=CODE: MESSAGE"
            ))
        })?;
    Ok((name, failure_text(failure)))
}

/// `CODE` or `CODE: MESSAGE`.
fn failure_text(failure: &str) -> Failure {
    let (code, message) = failure.split_once(':').unwrap_or((failure, failure));
    Failure::new(code.trim(), message.trim())
}

/// `WORKFLOW=JSON`.
fn output_argument<'a>(option: &str, text: &'a str) -> Result<(&'a str, Value)> {
    let (workflow, output) = text
        .split_once('=')
        .ok_or_else(|| Failed::usage(format!("{option} {text}: expected WORKFLOW=JSON")))?;
    Ok((
        workflow,
        json_value(&format!("{option} {workflow}"), output)?,
    ))
}

fn event_argument(text: &str) -> Result<(String, Value)> {
    match text.split_once('=') {
        Some((name, payload)) => {
            let value = json_value(&format!("event {name}"), payload)?;
            Ok((name.to_owned(), value))
        }
        None => Ok((text.to_owned(), Value::Null)),
    }
}

fn json_value(what: &str, text: &str) -> Result<Value> {
    let text = json_argument(text)?;
    serde_json::from_str(&text).map_err(|error| {
        Failed::usage(format!("{what}: not JSON: {error}"))
            .hint("text is JSON with its quotes: NAME='\"text\"'")
    })
}

/// Prints what happened.
fn show(run: &Run, error: Option<&Error>, crashes: Option<&Crashes>, ui: Ui) {
    if ui.is_json() {
        ui.data(&as_json(run, error, crashes), |_| String::new());
        return;
    }
    let mut parts = Vec::new();
    if !run.rows().is_empty() {
        parts.push(journal_text(run));
    }
    let logs = run.logs();
    if !logs.is_empty() {
        parts.push(log_text(run, &logs));
    }
    match run.outcome() {
        Some(RunOutcome::Completed(output)) => parts.push(output.to_string()),
        Some(RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure)) => {
            parts.extend(backtrace_text(failure.details.as_ref()));
        }
        Some(RunOutcome::Blocked(reason)) => parts.extend(backtrace_text(reason.details.as_ref())),
        None => {}
    }
    if !parts.is_empty() {
        ui.line(&parts.join("\n\n"));
    }
    for name in run.untaken_events() {
        ui.say(&format!("no wait has taken the event {name}"));
    }
}

/// Where the code was when it ended.
fn backtrace_text(details: Option<&Payload>) -> Option<String> {
    let lines = runs::trace(details.map(Payload::as_str));
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn as_json(run: &Run, error: Option<&Error>, crashes: Option<&Crashes>) -> Value {
    let (output, failure, blocked) = match run.outcome() {
        Some(RunOutcome::Completed(output)) => (Some(output), None, None),
        Some(RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure)) => {
            (None, Some(failure), None)
        }
        Some(RunOutcome::Blocked(reason)) => {
            let details: Option<Value> = reason
                .details
                .as_ref()
                .and_then(|details| serde_json::from_str(details.as_str()).ok());
            let reason = json!({
                "code": reason.code.as_str(), "message": reason.message, "details": details,
            });
            (None, None, Some(reason))
        }
        None => (None, None, None),
    };
    let waiting = match error {
        Some(Error::WaitsForEver { waiting, .. }) => Some(json!({
            "reason": waiting.reason.as_str(), "events": waiting.events, "open": waiting.open,
        })),
        _ => None,
    };
    json!({
        "workflow": run.workflow(),
        "status": run.outcome().map_or("suspended", |outcome| outcome.status().as_str()),
        "output": output,
        "failure": failure,
        "blocked": blocked,
        "waitingFor": waiting,
        "elapsedMs": u64::try_from(run.elapsed().as_millis()).unwrap_or(u64::MAX),
        "steps": run.rows().iter().map(step_json).collect::<Vec<_>>(),
        "logs": run.logs().iter().map(log_json).collect::<Vec<_>>(),
        "untakenEvents": run.untaken_events(),
        "crashes": crashes.map(|crashes| crashes.count),
    })
}

/// A row in the form that a step has in `dacapo runs show`.
fn step_json(row: &Recorded) -> Value {
    let (status, outcome, finished_at) = standing(row);
    let outcome = outcome.map(|outcome| match outcome {
        Outcome::Ok(payload) => json!({ "ok": payload }),
        Outcome::Failed(failure) => json!({ "failed": failure }),
        Outcome::TimedOut => json!({ "timedOut": true }),
        Outcome::Cancelled => json!({ "cancelled": true }),
    });
    json!({
        "key": row.key, "name": row.key.name(), "kind": row.kind, "status": status, "outcome": outcome,
        "startedAt": row.started_at, "finishedAt": finished_at,
    })
}

fn standing(row: &Recorded) -> (&'static str, Option<&Outcome>, Option<Timestamp>) {
    match &row.state {
        RecordedState::Open { .. } => ("waiting", None, None),
        RecordedState::Done {
            outcome,
            finished_at,
        } => {
            let status = match outcome {
                Outcome::Ok(_) => "completed",
                other => other.code(),
            };
            (status, Some(outcome), Some(*finished_at))
        }
    }
}

fn journal_text(run: &Run) -> String {
    let start = run.started_at();
    let rows = run.rows();
    let rows = rows.iter().map(|row| {
        let (status, outcome, finished_at) = standing(row);
        let outcome = match outcome {
            Some(Outcome::Ok(payload)) => payload.as_str().to_owned(),
            Some(Outcome::Failed(failure)) => failure.to_string(),
            Some(Outcome::TimedOut | Outcome::Cancelled) | None => String::new(),
        };
        vec![
            row.key.to_string(),
            row.kind.to_string(),
            status.to_owned(),
            cut(&outcome, 60),
            since(start, row.started_at),
            finished_at.map_or_else(String::new, |at| since(start, at)),
        ]
    });
    table(
        &["step", "kind", "status", "outcome", "began", "ended"],
        rows,
    )
}

/// The time after the run's start, for people.
fn since(start: Timestamp, at: Timestamp) -> String {
    let micros = at.as_micros().saturating_sub(start.as_micros());
    format!("+{:#}", jiff::SignedDuration::from_micros(micros))
}

fn log_json(line: &LogLine) -> Value {
    json!({
        "at": line.at, "level": line.level.as_str(), "step": line.step, "source": line.source.as_str(),
        "message": line.message, "fields": fields(line),
    })
}

fn fields(line: &LogLine) -> serde_json::Map<String, Value> {
    line.fields
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect()
}

fn log_text(run: &Run, lines: &[LogLine]) -> String {
    let start = run.started_at();
    let lines = lines.iter().map(|line| {
        let step = line
            .step
            .as_ref()
            .map_or_else(String::new, |step| format!(" [{step}]"));
        let fields = if line.fields.is_empty() {
            String::new()
        } else {
            format!(" {}", Value::Object(fields(line)))
        };
        let level = line.level.as_str();
        format!(
            "{} {level:<5}{step} {}{fields}",
            since(start, line.at),
            line.message
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let (kind, code) = match &error {
            Error::Read { .. } => (Kind::Usage, "usage"),
            Error::Describe { .. } | Error::Prepare { .. } => (Kind::Usage, "bad-component"),
            Error::UnknownWorkflow { .. } => (Kind::Usage, "unknown-workflow"),
            Error::AmbiguousWorkflow { .. } => (Kind::Usage, "ambiguous-workflow"),
            Error::BadInput { .. } => (Kind::Usage, "bad-input"),
            Error::BadName { .. } | Error::ScriptedTwice(_) => (Kind::Usage, "bad-argument"),
            Error::BadPayload { .. } => (Kind::Usage, "bad-payload"),
            Error::Unused { .. } => (Kind::Usage, "unused-script"),
            Error::WaitsForEver { .. } => (Kind::Request, "waits-for-ever"),
            Error::NotRepeatable { .. } => (Kind::Request, "not-repeatable"),
            Error::Crash { .. } => (Kind::Request, "crash"),
            _ => (Kind::Request, "failed"),
        };
        let mut failed = Self {
            kind,
            code: code.to_owned(),
            message: chain(&error),
            hint: None,
        };
        // What a test in Rust would call is here an option.
        match error {
            Error::BadInput {
                workflow,
                expected,
                error,
            } => {
                failed.message = error.to_string();
                failed.hint = Some(format!("{workflow} takes {expected}"));
            }
            Error::WaitsForEver { waiting, .. } => {
                failed.message = format!("the run waits for ever: {waiting}");
                failed.hint = match waiting.reason {
                    SuspendReason::Child => {
                        Some("say how the child ends with --child WORKFLOW=JSON".to_owned())
                    }
                    SuspendReason::Event => Some(
                        "send one with --event NAME=JSON, or --event-at AFTER NAME=JSON".to_owned(),
                    ),
                    SuspendReason::Pause => Some("resume it with --resume PAUSE".to_owned()),
                    _ => None,
                };
            }
            Error::NotRepeatable { first, second } => {
                failed.message = format!(
                    "played twice without a crash the run has two outcomes: it {first}, and it {second}"
                );
                failed.hint = Some(
                    "give steps that return something else each time an outcome with --step STEP=JSON"
                        .to_owned(),
                );
            }
            _ => {}
        }
        failed
    }
}
