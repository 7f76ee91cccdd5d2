//! `dacapo start`

use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{ClientError, Run, StartOptions, Status};

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
    /// Wait for the run to end, and print its output
    #[arg(long)]
    wait: bool,
    /// How long to wait, such as 30s; for ever if it is not given
    #[arg(long, requires = "wait", value_parser = arguments::duration)]
    timeout: Option<Duration>,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    if let Some(from) = &args.inputs {
        return many(from, &args, global, ui).await;
    }
    let input = json_argument(&args.input)?;
    let client = connect::client(global).await?;
    let options = StartOptions {
        key: args.key,
        labels: args.labels.into_iter().collect(),
        deadline: args.deadline,
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
    let options = StartOptions {
        key: None,
        labels: args.labels.iter().cloned().collect(),
        deadline: args.deadline,
    };
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
    let started = connect::client(global)
        .await?
        .start_many_by_name(&args.workflow, &starts)
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
