//! `dacapo event`

use std::process::ExitCode;

use dacapo_client::{Client, RunFilter, SentEvent, SentToMany};
use serde_json::json;

use super::going_back::runs_in_words;
use super::runs::Filter;
use crate::arguments::Global;
use crate::command::{json_argument, run_id};
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "dacapo event [OPTIONS] RUN NAME [JSON]\n       dacapo event [OPTIONS] --label NAME=VALUE NAME [JSON]"
)]
pub(crate) struct Args {
    /// The run's id, unless --label or another filter finds the runs; the event's name; the payload as JSON, null if it is not given: @FILE
    /// reads a file, - standard input
    #[arg(required = true, num_args = 1..=3, value_names = ["RUN", "NAME", "JSON"])]
    words: Vec<String>,
    /// An id for this delivery: the same id sent again is received once
    #[arg(long = "id", value_name = "DELIVERY")]
    delivery: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Send nothing, and count the runs that a filter finds and that have not ended
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let filter = args.filter.filter()?;
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    if filter != RunFilter::default() {
        let (name, payload) = match words[..] {
            [name] => (name, "null"),
            [name, payload] => (name, payload),
            _ => {
                return Err(Failed::usage(
                    "a run's id was given and a filter too: expected one of them, the event's name and its payload",
                ));
            }
        };
        let payload = json_argument(payload)?;
        let client = connect::client(global).await?;
        let delivery = args.delivery.as_deref();
        return to_many(&client, filter, name, &payload, delivery, args.dry_run, ui).await;
    }
    if args.dry_run {
        return Err(Failed::usage(
            "--dry-run counts the runs that a filter finds, and there is none",
        ));
    }
    let (run, name, payload) = match words[..] {
        [run, name] => (run, name, "null"),
        [run, name, payload] => (run, name, payload),
        _ => {
            return Err(Failed::usage(
                "expected a run's id, the event's name and its payload, or --label or another filter in the place of the id",
            ));
        }
    };
    let run = run_id(run)?;
    let payload = json_argument(payload)?;
    let client = connect::client(global).await?;
    let sent = client
        .send_event(run, name, &payload, args.delivery.as_deref())
        .await?;
    let duplicate = sent == SentEvent::Duplicate;
    ui.data(
        &json!({ "run": run, "event": name, "duplicate": duplicate }),
        |_| match sent {
            SentEvent::Sent => format!("sent {name} to run {run}"),
            SentEvent::Duplicate => {
                "nothing changed: an event with this id was received before".to_owned()
            }
        },
    );
    Ok(ExitCode::SUCCESS)
}

async fn to_many(
    client: &Client,
    filter: RunFilter,
    name: &str,
    payload: &str,
    delivery: Option<&str>,
    dry_run: bool,
    ui: Ui,
) -> Result<ExitCode> {
    if dry_run {
        let runs = client.count_receivers(filter).await?;
        ui.data(&json!({ "runs": runs }), |_| {
            format!("{} would be sent {name}", runs_in_words(runs))
        });
        return Ok(ExitCode::SUCCESS);
    }
    let progress = ui.spinner(&format!("sending {name}"));
    let tell = |done: &SentToMany| {
        let seen = done.sent + done.duplicates + done.refused;
        progress.set_message(format!("sending {name}: {}", runs_in_words(seen)));
    };
    let done = client
        .send_event_to_many_telling(filter, name, payload, delivery, tell)
        .await;
    progress.finish_and_clear();
    let done = done?;
    ui.data(&done, |done| {
        let before = match done.duplicates {
            0 => String::new(),
            runs => format!("; {runs} had received it before"),
        };
        format!(
            "sent {name} to {} as delivery {}{before}",
            runs_in_words(done.sent),
            done.delivery_id
        )
    });
    if let Some(refusal) = done.refusal {
        let mut failed = Failed::from(refusal);
        failed.message = format!(
            "{} did not take it, the first because: {}",
            runs_in_words(done.refused),
            failed.message
        );
        return Err(failed);
    }
    if let Some(error) = done.stopped {
        let mut failed = Failed::from(error);
        failed.message = format!("the rest was not reached: {}", failed.message);
        return Err(failed.hint(format!(
            "the same command with --id {} sends it to the rest, and to nobody twice",
            done.delivery_id
        )));
    }
    Ok(ExitCode::SUCCESS)
}
