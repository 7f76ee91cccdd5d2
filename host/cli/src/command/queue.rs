//! `dacapo queue`

use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{LimitChange, Queue, QueueChange, Rate, Standstill};
use serde_json::json;

use crate::arguments::{Global, duration};
use crate::connect;
use crate::error::Result;
use crate::ui::{Ui, table};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a queue, or change the limits of one that is there; limits that are not named stay as they are
    Set(Set),
    /// List the queues, and whether anything is paused
    List,
    /// Show one queue
    Show(One),
    /// Let workers take no more runs of a queue, or of any; those that are played go back at their next step or wait
    Pause(Pause),
    /// Let a paused queue, or everything, go on
    Resume(Resume),
    /// Take a queue away that no active run is in
    Delete(One),
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The queue's name
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// The queue's name
    name: String,
    /// Runs on their way at the same time, at most; `none` takes the limit away. Runs that wait for an event, a time or a person take
    /// no room
    #[arg(long, value_name = "RUNS", value_parser = runs)]
    concurrency: Option<LimitChange<u32>>,
    /// The same for the runs of one concurrency key
    #[arg(long, value_name = "RUNS", value_parser = runs)]
    per_key: Option<LimitChange<u32>>,
    /// Runs that begin within any stretch of time of a length, at most, such as 100/1m; `none` takes the limit away
    #[arg(long, value_name = "RUNS/DURATION", value_parser = rate)]
    rate: Option<LimitChange<Rate>>,
    /// The same for the runs of one concurrency key
    #[arg(long, value_name = "RUNS/DURATION", value_parser = rate)]
    per_key_rate: Option<LimitChange<Rate>>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Pause {
    /// The queue's name
    #[arg(group = "what")]
    name: Option<String>,
    /// Everything, whatever queue and namespace it is in
    #[arg(long, group = "what")]
    all: bool,
    /// Why, for whoever finds everything paused
    #[arg(long, requires = "all", value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Resume {
    /// The queue's name
    #[arg(group = "what")]
    name: Option<String>,
    /// Everything; queues and workflows that were paused by themselves stay so
    #[arg(long, group = "what")]
    all: bool,
}

fn runs(text: &str) -> std::result::Result<LimitChange<u32>, String> {
    match text {
        "none" => Ok(LimitChange::Remove),
        text => text
            .parse()
            .map(LimitChange::Set)
            .map_err(|_| "expected a number of runs such as 10, or none".to_owned()),
    }
}

fn rate(text: &str) -> std::result::Result<LimitChange<Rate>, String> {
    const EXPECTED: &str =
        "expected a number of runs and a duration such as 100/1m or 5/s, or none";
    if text == "none" {
        return Ok(LimitChange::Remove);
    }
    let (runs, per) = text.split_once('/').ok_or(EXPECTED)?;
    let runs = runs.trim().parse().map_err(|_| EXPECTED)?;
    let per = per.trim();
    let per = match per.starts_with(|first: char| first.is_ascii_digit()) {
        true => duration(per),
        // `5/s` is one second.
        false => duration(&format!("1{per}")),
    };
    let per = per.map_err(|_| EXPECTED)?;
    Ok(LimitChange::Set(Rate { runs, per }))
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    let client = connect::client(global).await?;
    match command {
        Command::Set(args) => {
            let change = QueueChange {
                concurrency: args.concurrency.unwrap_or_default(),
                concurrency_per_key: args.per_key.unwrap_or_default(),
                rate: args.rate.unwrap_or_default(),
                rate_per_key: args.per_key_rate.unwrap_or_default(),
            };
            show(&client.set_queue(&args.name, change).await?, ui);
        }
        Command::List => {
            let (queues, standstill) = (client.queues().await?, client.standstill().await?);
            list(&queues, standstill.as_ref(), ui);
        }
        Command::Show(args) => show(&client.queue(&args.name).await?, ui),
        Command::Pause(Pause {
            name: Some(name), ..
        }) => {
            if !client.pause_queue(&name).await? {
                ui.say(&format!("nothing changed: queue {name} was paused already"));
            }
            show(&client.queue(&name).await?, ui);
        }
        Command::Pause(args) => {
            if !client.begin_standstill(args.reason.as_deref()).await? {
                ui.say("nothing changed: everything was paused already");
            }
            all(client.standstill().await?.as_ref(), ui);
        }
        Command::Resume(Resume {
            name: Some(name), ..
        }) => {
            if !client.resume_queue(&name).await? {
                ui.say(&format!("nothing changed: queue {name} was not paused"));
            }
            if client.standstill().await?.is_some() {
                ui.say("everything is paused; `dacapo queue resume --all` lets it go on");
            }
            show(&client.queue(&name).await?, ui);
        }
        Command::Resume(_) => {
            if !client.end_standstill().await? {
                ui.say("nothing changed: not everything was paused");
            }
            all(None, ui);
        }
        Command::Delete(args) => {
            client.delete_queue(&args.name).await?;
            ui.data(&json!({ "queue": args.name, "deleted": true }), |_| {
                format!("queue {} is deleted", args.name)
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn all(standstill: Option<&Standstill>, ui: Ui) {
    ui.data(&json!({ "allPaused": standstill }), |_| match standstill {
        Some(standstill) => paused(standstill),
        None => "workers take runs".to_owned(),
    });
}

fn paused(standstill: &Standstill) -> String {
    let reason = standstill
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    format!("everything is paused since {}{reason}", standstill.since)
}

fn list(queues: &[Queue], standstill: Option<&Standstill>, ui: Ui) {
    ui.data(
        &json!({ "queues": queues, "allPaused": standstill }),
        |_| {
            let mut text = String::new();
            if let Some(standstill) = standstill {
                text = format!("{}\n", paused(standstill));
            }
            if queues.is_empty() {
                return text
                    + "no queues but the one without limits; make one with `dacapo queue set`";
            }
            let rows = queues.iter().map(|queue| {
                vec![
                    queue.name.clone(),
                    queue.queued.to_string(),
                    queue.running.to_string(),
                    queue.suspended.to_string(),
                    limits(queue),
                    if queue.paused { "paused" } else { "" }.to_owned(),
                ]
            });
            text + &table(
                &["queue", "queued", "running", "suspended", "limits", ""],
                rows,
            )
        },
    );
}

fn show(queue: &Queue, ui: Ui) {
    ui.data(queue, |queue| {
        let state = if queue.paused { "paused" } else { "open" };
        let lines = [
            ("queue", queue.name.clone()),
            ("state", state.to_owned()),
            ("limits", limits(queue)),
            ("queued", queue.queued.to_string()),
            ("running", queue.running.to_string()),
            ("suspended", queue.suspended.to_string()),
        ];
        let lines = lines.map(|(name, value)| format!("{name:<11}{value}"));
        lines.join("\n")
    });
}

/// The limits as they are typed.
fn limits(queue: &Queue) -> String {
    let of = |name: &str, limit: Option<String>| limit.map(|limit| format!("{name} {limit}"));
    let number = |limit: Option<u32>| limit.map(|limit| limit.to_string());
    let rate = |rate: Option<Rate>| rate.map(|rate| format!("{}/{}", rate.runs, spelled(rate.per)));
    let limits: Vec<String> = [
        of("concurrency", number(queue.concurrency)),
        of("per-key", number(queue.concurrency_per_key)),
        of("rate", rate(queue.rate)),
        of("per-key-rate", rate(queue.rate_per_key)),
    ]
    .into_iter()
    .flatten()
    .collect();
    match limits.is_empty() {
        true => "none".to_owned(),
        false => limits.join(", "),
    }
}

fn spelled(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration)
        .map_or_else(
            |_| format!("{}s", duration.as_secs()),
            |duration| format!("{duration:#}"),
        )
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_runs_and_a_duration() {
        let rate_of = |runs, seconds| {
            Ok(LimitChange::Set(Rate {
                runs,
                per: Duration::from_secs(seconds),
            }))
        };
        assert_eq!(rate("100/1m"), rate_of(100, 60));
        assert_eq!(rate("5/s"), rate_of(5, 1));
        assert_eq!(rate("3 / 1h 30m"), rate_of(3, 5_400));
        assert_eq!(rate("none"), Ok(LimitChange::Remove));
        for wrong in ["", "5", "/s", "x/1m", "-5/1m", "5/", "5/fortnight", "5/-1s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_shown_as_it_is_typed() {
        for text in ["100/1m", "5/1s", "3/1h30m"] {
            let Ok(LimitChange::Set(read)) = rate(text) else {
                panic!("{text}");
            };
            assert_eq!(format!("{}/{}", read.runs, spelled(read.per)), text);
        }
    }
}
