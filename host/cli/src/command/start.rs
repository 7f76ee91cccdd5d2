//! `dacapo start`

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{
    Begins, Client, ClientError, Debounce, OnConflict, Run, RunId, Singleton, StartOptions, Status,
    Timestamp, parse_priority,
};
use dacapo_model::{TRACE_PARENT, is_trace_parent};

use crate::arguments::Global;
use crate::command::sample::{quoted, sample};
use crate::command::{json_argument, runs};
use crate::error::{Failed, Result};
use crate::ui::Ui;
use crate::{arguments, connect};

/// How long nothing is said of a run that is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The workflow: its full name, ns:pkg/interface.function, or the function's name alone where that is unique
    workflow: String,
    /// The input as JSON; @FILE reads a file, - standard input [default: null]
    #[arg(long, short, value_name = "JSON")]
    input: Option<String>,
    /// Start a run for each line of a file, all of them or none; a line is an input as JSON. - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "key", "wait"])]
    inputs: Option<String>,
    /// At most one run of the workflow has this key while it is kept: starting again with it gives the same run
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A label to find the run by; may be repeated
    #[arg(long = "label", short, value_parser = arguments::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,
    /// The trace that the run is a part of, and the span that starts it, as the header of this name says it
    #[arg(long, env = "TRACEPARENT", value_parser = trace_parent, value_name = "00-TRACE-SPAN-FLAGS")]
    traceparent: Option<String>,
    /// The run fails when it has not ended by itself this long after its start, such as 90s or 2h; its code is not asked
    #[arg(long, value_parser = arguments::duration)]
    deadline: Option<Duration>,
    #[command(flatten)]
    placing: Placing,
    /// At most one active run of the workflow has this key
    #[arg(long, value_name = "KEY", conflicts_with = "inputs")]
    singleton: Option<String>,
    /// While there is one, the start is refused (reject), waits for its end (queue), or takes its place (replace: the other is cancelled)
    #[arg(long, requires = "singleton", value_parser = on_conflict, default_value = "reject", value_name = "WHAT")]
    on_conflict: OnConflict,
    /// Starts with this key that come soon after each other are one run, with the newest input
    #[arg(
        long,
        requires = "quiet",
        conflicts_with_all = ["inputs", "key", "singleton", "delay", "at"],
        value_name = "KEY"
    )]
    debounce: Option<String>,
    /// With --debounce: begin when no start has come for this long, such as 5s
    #[arg(long = "for", requires = "debounce", value_parser = arguments::duration, value_name = "DURATION")]
    quiet: Option<Duration>,
    /// With --debounce: begin this long after the first start at the latest [default: ten times as long as --for]
    #[arg(long, requires = "debounce", value_parser = arguments::duration, value_name = "DURATION")]
    at_most: Option<Duration>,
    /// Wait for the run to end, and print its output
    #[arg(long)]
    wait: bool,
    /// How long to wait, such as 30s; for ever if it is not given
    #[arg(long, requires = "wait", value_parser = arguments::duration)]
    timeout: Option<Duration>,
}

fn on_conflict(text: &str) -> std::result::Result<OnConflict, String> {
    let known = OnConflict::ALL
        .into_iter()
        .find(|known| known.as_str() == text);
    known.ok_or_else(|| "expected reject, queue or replace".to_owned())
}

/// In which queue, and when.
#[derive(Debug, Clone, clap::Args)]
struct Placing {
    /// The queue, made before with `dacapo queue set`; `default` is the one without limits [default: as the manifest says, or that one]
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// -100 to 100, or lowest (-100), low (-10), normal (0), high (10), highest (100); runs with a higher one go first, and a step of it is
    /// worth a minute of waiting [default: as the manifest says, or normal]
    #[arg(
        long,
        allow_negative_numbers = true,
        value_parser = parse_priority,
        value_name = "PRIORITY"
    )]
    priority: Option<i16>,
    /// What the queue's limits per key go by, such as a customer's number
    #[arg(long, value_name = "KEY")]
    concurrency_key: Option<String>,
    /// Begin this much later, such as 10m or 2d
    #[arg(
        long,
        allow_hyphen_values = true,
        value_parser = arguments::duration,
        conflicts_with = "at",
        value_name = "DURATION"
    )]
    delay: Option<Duration>,
    /// Begin at this time, such as 2026-11-23T08:00:00Z; at once if that is over
    #[arg(long, value_parser = arguments::time, value_name = "TIME")]
    at: Option<Timestamp>,
}

impl Placing {
    fn options(self, labels: Vec<(String, String)>, deadline: Option<Duration>) -> StartOptions {
        StartOptions {
            labels: labels.into_iter().collect(),
            deadline,
            queue: self.queue,
            priority: self.priority,
            concurrency_key: self.concurrency_key,
            begins: match (self.delay, self.at) {
                (Some(delay), _) => Begins::After(delay),
                (None, Some(at)) => Begins::At(at),
                (None, None) => Begins::Now,
            },
            ..StartOptions::default()
        }
    }
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    if let Some(from) = &args.inputs {
        return many(from, &args, global, ui).await;
    }
    let input = json_argument(args.input.as_deref().unwrap_or("null"))?;
    let client = connect::client(global).await?;
    let labels = labels_of(&args);
    let options = StartOptions {
        key: args.key,
        singleton: args.singleton.map(|key| Singleton {
            key,
            on_conflict: args.on_conflict,
        }),
        debounce: args.debounce.zip(args.quiet).map(|(key, quiet)| Debounce {
            key,
            quiet,
            at_most: args.at_most,
        }),
        ..args.placing.options(labels, args.deadline)
    };
    let started = client
        .start_by_name(&args.workflow, &input, options)
        .await
        .map_err(|error| not_given(args.input.is_none(), error))?;
    if !started.created {
        ui.say("a run with this key was there already");
    }
    if args.wait {
        ui.say(&format!("run {}", started.id));
        let run = wait(&client, started.id, args.timeout, global, ui).await?;
        return finished(&run, ui);
    }
    if ui.is_json() {
        ui.data(&client.get(started.id).await?, |_| String::new());
    } else {
        ui.line(&started.id.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// The labels, with the trace.
fn labels_of(args: &Args) -> Vec<(String, String)> {
    let mut labels = args.labels.clone();
    if let Some(place) = &args.traceparent
        && labels.iter().all(|(name, _)| name != TRACE_PARENT)
    {
        labels.push((TRACE_PARENT.to_owned(), place.clone()));
    }
    labels
}

fn trace_parent(text: &str) -> std::result::Result<String, String> {
    match is_trace_parent(text) {
        true => Ok(text.to_owned()),
        false => Err("expected 00-<32 hexadecimal digits>-<16>-<2>".to_owned()),
    }
}

/// Waits for the end of a run; what takes long is said, once for each thing that it waits for.
async fn wait(
    client: &Client,
    id: RunId,
    timeout: Option<Duration>,
    global: &Global,
    ui: Ui,
) -> Result<Run> {
    let mut end = pin!(client.wait(id, timeout));
    let mut told = String::new();
    loop {
        let ended = tokio::time::timeout(PATIENCE, &mut end).await;
        let is_blocked = matches!(
            &ended,
            Ok(Err(ClientError::WaitTimedOut {
                status: Status::Blocked,
                ..
            }))
        );
        if !is_blocked && let Ok(run) = ended {
            return Ok(run?);
        }
        // Whether the database can be reached is for the one that waits to say.
        if let Ok(run) = client.get(id).await
            && !run.status.is_terminal()
        {
            let state = state(&run) + &sends(client, &run, global).await;
            if state != told {
                ui.say(&state);
                told = state;
            }
        }
        if let Ok(run) = ended {
            return Ok(run?);
        }
    }
}

/// How the events are sent that a run waits for.
async fn sends(client: &Client, run: &Run, global: &Global) -> String {
    let events = match &run.waiting_for {
        Some(waits) if waits.reason == "event" && run.status == Status::Suspended => &waits.events,
        _ => return String::new(),
    };
    let server = global.server.as_deref();
    let server = server.map_or_else(String::new, |url| format!(" --server {}", quoted(url)));
    // Who may start it need not be one who may see its types.
    let workflow = client.workflow(&run.workflow).await.ok();
    let sends = events
        .iter()
        .filter(|name| !name.contains('/'))
        .map(|name| {
            let declared = workflow.as_ref().map(|info| &info.workflow.events);
            let declared =
                declared.and_then(|events| events.iter().find(|event| event.name == *name));
            let payload = match declared {
                Some(event) => event.ty.as_ref().map(|ty| sample(ty).to_string()),
                None => Some("{…}".to_owned()),
            };
            let payload =
                payload.map_or_else(String::new, |payload| format!(" {}", quoted(&payload)));
            format!(
                "\n  dacapo event{server} {} {}{payload}",
                run.id,
                quoted(name)
            )
        });
    let sends: String = sends.collect();
    match sends.is_empty() {
        true => sends,
        false => format!("; in another terminal:{sends}"),
    }
}

/// What a run is about that has not ended, for somebody who waits for it.
fn state(run: &Run) -> String {
    let waits = run.waiting_for.as_ref();
    let why = waits.map_or_else(String::new, |waits| {
        format!(" ({})", runs::list::waits_for(waits))
    });
    match run.status {
        Status::Queued if waits.is_none() => {
            "queued: no worker has taken it yet; `dacapo doctor` says whether one is there".to_owned()
        }
        Status::Running if run.steps.is_empty() => {
            "running, with no step so far: a worker that has not had this component before compiles it first, which takes a while for a large one"
                .to_owned()
        }
        Status::Blocked => match &run.blocked {
            Some(blocked) => format!("blocked: {}", runs::list::blocked_by(blocked.as_str())),
            None => format!(
                "blocked: `dacapo runs show {}` shows why; it goes on once that is mended",
                run.id
            ),
        },
        status => format!("{status}{why}"),
    }
}

/// What is wrong with an input that nobody gave is that.
pub(crate) fn not_given(nobody: bool, error: ClientError) -> Failed {
    let mut failed = Failed::from(error);
    if nobody && failed.code == "bad-input" {
        failed.message = "no input was given: expected one, as JSON, with --input".to_owned();
    }
    failed
}

/// Starts a run for each line.
async fn many(from: &str, args: &Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let (name, text) = match from {
        "-" => ("standard input", std::io::read_to_string(std::io::stdin())),
        file => (file, std::fs::read_to_string(file)),
    };
    let text = text.map_err(|error| Failed::usage(format!("cannot read {name}: {error}")))?;
    let placing = args.placing.clone();
    let options = placing.options(labels_of(args), args.deadline);
    let mut lines = Vec::new();
    let mut starts = Vec::new();
    for (line, input) in (1..).zip(text.lines()) {
        if !input.trim().is_empty() {
            lines.push(line);
            starts.push((input.to_owned(), options.clone()));
        }
    }
    if starts.is_empty() {
        return Err(Failed::usage(format!(
            "{name} holds no input: expected one as JSON on each line"
        )));
    }
    let client = connect::client(global).await?;
    let starting = client.start_many_by_name(&args.workflow, &starts);
    let what = format!("starting {} runs", starts.len());
    let started = ui
        .working(&what, starting)
        .await
        .map_err(|error| in_line(error, name, &lines))?;
    let ids: Vec<_> = started.iter().map(|run| run.id).collect();
    ui.data(&ids, |ids| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with one of many starts, by its line.
fn in_line(error: ClientError, name: &str, lines: &[usize]) -> Failed {
    let ClientError::InMany { index, error } = error else {
        return error.into();
    };
    let mut failed = Failed::from(*error);
    let line = lines.get(index).copied().unwrap_or_default();
    failed.message = format!(
        "line {line} of {name}: {}; nothing was started",
        failed.message
    );
    failed
}

/// What there is to see of a run that has failed.
fn shown(run: &Run) -> &'static str {
    let details = run
        .failure
        .as_ref()
        .and_then(|failure| failure.details.as_ref());
    let trace = runs::trace(details.map(|details| details.as_str()));
    match (run.steps.is_empty(), trace.is_empty()) {
        (false, false) => "its steps, and where in the code that was",
        (false, true) => "its steps",
        (true, false) => "where in the code that was",
        (true, true) => "all that is known of it",
    }
}

/// Prints the output of a run that has ended, or says why there is none.
pub(crate) fn finished(run: &Run, ui: Ui) -> Result<ExitCode> {
    ui.data(run, |run| {
        run.output
            .as_ref()
            .map_or_else(String::new, |output| output.as_str().to_owned())
    });
    match (run.status, &run.failure) {
        (Status::Completed, _) => Ok(ExitCode::SUCCESS),
        (Status::Cancelled, _) => Err(Failed::request(format!("run {} was cancelled", run.id))),
        (_, Some(failure)) => Err(Failed::request(format!(
            "run {} failed: {}: {}",
            run.id, failure.code, failure.message
        ))
        .hint(format!(
            "`dacapo runs show {}` shows {}",
            run.id,
            shown(run)
        ))),
        (status, None) => Err(Failed::request(format!("run {} is {status}", run.id))),
    }
}
