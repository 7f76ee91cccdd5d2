//! `dacapo start`

use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{
    Begins, ClientError, Debounce, OnConflict, Run, Singleton, StartOptions, Status, Timestamp,
    parse_priority,
};

use crate::arguments::Global;
use crate::command::json_argument;
use crate::error::{Failed, Result};
use crate::ui::Ui;
use crate::{arguments, connect};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The workflow: its full name, ns:pkg/interface.function, or the function's name alone where that is unique
    workflow: String,
    /// The input as JSON; @FILE reads a file, - standard input
    #[arg(long, short, default_value = "null", value_name = "JSON")]
    input: String,
    /// Start a run for each line of a file, all of them or none; a line is an input as JSON. - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "key", "wait"])]
    inputs: Option<String>,
    /// At most one run of the workflow has this key while it is kept: starting again with it gives the same run
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A label to find the run by; may be repeated
    #[arg(long = "label", short, value_parser = arguments::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,
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
    let input = json_argument(&args.input)?;
    let client = connect::client(global).await?;
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
        ..args.placing.options(args.labels, args.deadline)
    };
    let started = client
        .start_by_name(&args.workflow, &input, options)
        .await?;
    if !started.created {
        ui.say("a run with this key was there already");
    }
    if args.wait {
        ui.say(&format!("run {}", started.id));
        let run = client.wait(started.id, args.timeout).await?;
        return finished(&run, ui);
    }
    if ui.is_json() {
        ui.data(&client.get(started.id).await?, |_| String::new());
    } else {
        ui.line(&started.id.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a run for each line.
async fn many(from: &str, args: &Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let (name, text) = match from {
        "-" => ("standard input", std::io::read_to_string(std::io::stdin())),
        file => (file, std::fs::read_to_string(file)),
    };
    let text = text.map_err(|error| Failed::usage(format!("cannot read {name}: {error}")))?;
    let placing = args.placing.clone();
    let options = placing.options(args.labels.clone(), args.deadline);
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
        .hint(format!("`dacapo runs show {}` shows its steps", run.id))),
        (status, None) => Err(Failed::request(format!("run {} is {status}", run.id))),
    }
}
