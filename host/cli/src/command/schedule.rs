//! `dacapo schedule`

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{
    CatchUp, Existing, NewSchedule, Overlap, PassedOverReason, Schedule, Timestamp, Trigger, When,
};
use serde_json::json;

use crate::arguments::{self, Global};
use crate::command::json_argument;
use crate::command::start::not_given;
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::{Ui, cut, table};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Start a workflow again and again, by the clock
    Create(Create),
    /// List schedules
    List,
    /// Show one schedule, with the ticks that come
    Show(One),
    /// Let the ticks of a schedule pass without runs
    Pause(One),
    /// Let a paused schedule go on with the next tick that comes
    Resume(One),
    /// Start a run of a schedule now, beside its ticks
    Trigger(TriggerArgs),
    /// Start the runs of ticks of the past; those that have a run get no second one
    Backfill(Backfill),
    /// Take a schedule away; its runs stay
    Delete(One),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("when").required(true))]
pub(crate) struct Create {
    /// The schedule's name
    name: String,
    /// The workflow: its full name, ns:pkg/interface.function, or the function's name alone where that is unique
    workflow: String,
    /// When: minute, hour, day of month, month and day of week, such as "30 2 * * MON-FRI"; six fields have the second in front
    #[arg(long, group = "when", value_name = "EXPRESSION")]
    cron: Option<String>,
    /// When: at the multiples of this since 1970, such as 15m (on the quarter of an hour)
    #[arg(long, group = "when", value_parser = arguments::duration, value_name = "DURATION")]
    every: Option<Duration>,
    /// The time zone of the cron expression
    #[arg(
        long,
        default_value = "UTC",
        conflicts_with = "every",
        value_name = "ZONE"
    )]
    time_zone: String,
    /// The input of each run as JSON; @FILE reads a file, - standard input [default: null]
    #[arg(long, short, value_name = "JSON")]
    input: Option<String>,
    /// A label of each run; may be repeated
    #[arg(long = "label", short, value_parser = arguments::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,
    /// The queue that each run waits in, made before with `dacapo queue set`; `default` is the one without limits [default: as the manifest
    /// says, or that one]
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// -100 to 100; runs with a higher one go first, and a step of it is worth a minute of waiting [default: as the manifest says, or 0]
    #[arg(long, allow_negative_numbers = true, value_name = "PRIORITY")]
    priority: Option<i16>,
    /// What the queue's limits per key go by, such as a customer's number
    #[arg(long, value_name = "KEY")]
    concurrency_key: Option<String>,
    /// Delay each tick by a share of this that is its own, but never beyond the next tick
    #[arg(long, default_value = "0s", value_parser = arguments::duration, value_name = "DURATION")]
    jitter: Duration,
    /// When a tick comes while the run of an earlier one is active: skip it, queue it until that run has ended, cancel-previous (cancel
    /// that run, and start when it has ended), or allow both
    #[arg(long, default_value = "skip", value_name = "POLICY")]
    overlap: String,
    /// Of ticks that were missed while no worker was there, start none, one (the newest), or all (at most 1000)
    #[arg(long, default_value = "one", value_name = "POLICY")]
    catch_up: String,
    /// Make it paused
    #[arg(long)]
    paused: bool,
    /// Give the schedule of this name, if there is one, another definition
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The schedule's name
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TriggerArgs {
    /// The schedule's name
    name: String,
    /// Also while its last run is active and its runs must not overlap
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Backfill {
    /// The schedule's name
    name: String,
    /// The first time whose tick counts, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: String,
    /// The time before which ticks count; not in the future
    #[arg(long, value_name = "TIME")]
    until: String,
    /// Only show the ticks
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    match command {
        Command::Create(args) => create(args, global, ui).await?,
        Command::List => list(global, ui).await?,
        Command::Show(args) => {
            let schedule = connect::client(global).await?.schedule(&args.name).await?;
            ui.data(&schedule, schedule_text);
        }
        Command::Pause(args) => {
            let client = connect::client(global).await?;
            let schedule = client.pause_schedule(&args.name).await?;
            ui.data(&schedule, |_| format!("schedule {} is paused", args.name));
        }
        Command::Resume(args) => {
            let client = connect::client(global).await?;
            let schedule = client.resume_schedule(&args.name).await?;
            ui.data(&schedule, |schedule| {
                format!("schedule {} goes on{}", args.name, next(schedule))
            });
        }
        Command::Trigger(args) => trigger(args, global, ui).await?,
        Command::Backfill(args) => backfill(args, global, ui).await?,
        Command::Delete(args) => {
            let client = connect::client(global).await?;
            client.delete_schedule(&args.name).await?;
            ui.data(&json!({ "schedule": args.name, "deleted": true }), |_| {
                format!("schedule {} is deleted; its runs stay", args.name)
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: Create, global: &Global, ui: Ui) -> Result<()> {
    let usage = |error: &dyn std::error::Error| Failed::usage(error.to_string());
    let overlap: Overlap = args.overlap.parse().map_err(|error| usage(&error))?;
    let catch_up: CatchUp = args.catch_up.parse().map_err(|error| usage(&error))?;
    let when = match (args.cron, args.every) {
        (Some(expression), _) => When::Cron {
            expression,
            time_zone: args.time_zone,
        },
        (None, every) => When::Every(every.unwrap_or_default()),
    };
    let nobody_gave_input = args.input.is_none();
    let new = NewSchedule {
        input: json_argument(args.input.as_deref().unwrap_or("null"))?,
        labels: args.labels.into_iter().collect(),
        queue: args.queue,
        priority: args.priority,
        concurrency_key: args.concurrency_key,
        jitter: args.jitter,
        overlap,
        catch_up,
        paused: args.paused,
        existing: if args.replace {
            Existing::Replace
        } else {
            Existing::Refuse
        },
        ..NewSchedule::new(args.name, args.workflow, when)
    };
    let client = connect::client(global).await?;
    let created = client.create_schedule(new).await;
    let schedule = created.map_err(|error| not_given(nobody_gave_input, error))?;
    ui.data(&schedule, |schedule| {
        format!(
            "schedule {} starts {}{}",
            schedule.name,
            schedule.workflow,
            next(schedule)
        )
    });
    Ok(())
}

/// When the next tick comes, behind other words.
fn next(schedule: &Schedule) -> String {
    match schedule.next_ticks.first() {
        Some(tick) => format!(", next at {}", short(*tick)),
        None if schedule.paused => "; it is paused".to_owned(),
        None => "; there are no more ticks".to_owned(),
    }
}

async fn list(global: &Global, ui: Ui) -> Result<()> {
    let schedules = connect::client(global).await?.schedules().await?;
    ui.data(&schedules, |schedules| {
        if schedules.is_empty() {
            return "no schedules; make one with `dacapo schedule create`".to_owned();
        }
        let rows = schedules.iter().map(|schedule| {
            let last = schedule.last_run.as_ref().map_or_else(String::new, |run| {
                run.status
                    .map_or_else(|| "gone".to_owned(), |status| status.to_string())
            });
            vec![
                schedule.name.clone(),
                schedule.workflow.clone(),
                when(schedule),
                schedule
                    .next_ticks
                    .first()
                    .map_or_else(String::new, |tick| short(*tick)),
                last,
                cut(&state(schedule), 60),
            ]
        });
        table(
            &["schedule", "workflow", "when", "next", "last run", ""],
            rows,
        )
    });
    Ok(())
}

fn when(schedule: &Schedule) -> String {
    match (&schedule.cron, &schedule.time_zone, schedule.every_seconds) {
        (Some(cron), Some(zone), _) => format!("{cron} ({zone})"),
        (_, _, Some(seconds)) => {
            format!(
                "every {}",
                humane(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
            )
        }
        _ => String::new(),
    }
}

fn humane(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(
        |_| format!("{} s", duration.as_secs()),
        |d| format!("{d:#}"),
    )
}

/// What is special about it now.
fn state(schedule: &Schedule) -> String {
    if schedule.paused {
        return "paused".to_owned();
    }
    if let Some(trouble) = &schedule.trouble {
        return format!("{}: {}", trouble.code, trouble.message);
    }
    schedule
        .waiting_for
        .map_or_else(String::new, |run| format!("waits for run {run}"))
}

fn schedule_text(schedule: &Schedule) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line("schedule", &schedule.name);
    line("workflow", &schedule.workflow);
    line("when", &when(schedule));
    if schedule.jitter_ms > 0 {
        line("jitter", &humane(Duration::from_millis(schedule.jitter_ms)));
    }
    line("overlap", schedule.overlap.as_str());
    line("catch-up", schedule.catch_up.as_str());
    line("input", &cut(schedule.input.as_str(), 200));
    if !schedule.labels.is_empty() {
        let labels: Vec<String> = schedule
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        line("labels", &labels.join(" "));
    }
    if let Some(queue) = &schedule.queue {
        let key = schedule.concurrency_key.as_ref();
        line(
            "queue",
            &key.map_or_else(|| queue.clone(), |key| format!("{queue}, key {key}")),
        );
    }
    if let Some(priority) = schedule.priority {
        line("priority", &priority.to_string());
    }
    let state = state(schedule);
    if !state.is_empty() {
        line("state", &state);
    }
    if let Some(trouble) = &schedule.trouble {
        line("since", &short(trouble.since));
    }
    if let Some(run) = &schedule.last_run {
        let tick = run.tick.map_or_else(
            || "triggered".to_owned(),
            |tick| format!("tick {}", short(tick)),
        );
        let status = run
            .status
            .map_or_else(|| "gone".to_owned(), |status| status.to_string());
        line("last run", &format!("{} ({tick}): {status}", run.id));
    }
    if let Some(passed) = &schedule.passed_over {
        let until = passed.until.map_or_else(
            || "the last one".to_owned(),
            |until| format!("before {}", short(until)),
        );
        let why = match passed.reason {
            PassedOverReason::Missed => "missed",
            PassedOverReason::Overlap => "overlap",
        };
        line(
            "passed over",
            &format!("from {} to {until} ({why})", short(passed.from)),
        );
    }
    for (place, tick) in schedule.next_ticks.iter().enumerate() {
        line(if place == 0 { "next" } else { "" }, &short(*tick));
    }
    line(
        "runs",
        &format!(
            "`dacapo runs list --label dacapo.schedule={}`",
            schedule.name
        ),
    );
    text.trim_end().to_owned()
}

async fn trigger(args: TriggerArgs, global: &Global, ui: Ui) -> Result<()> {
    let trigger = if args.force {
        Trigger::Anyway
    } else {
        Trigger::UnlessActive
    };
    let client = connect::client(global).await?;
    let run = client.trigger_schedule(&args.name, trigger).await?;
    ui.data(&json!({ "schedule": args.name, "run": run }), |_| {
        run.to_string()
    });
    Ok(())
}

async fn backfill(args: Backfill, global: &Global, ui: Ui) -> Result<()> {
    let time = |text: &str| -> Result<Timestamp> {
        text.parse()
            .map_err(|error| Failed::usage(format!("{error}")))
    };
    let (from, until) = (time(&args.from)?, time(&args.until)?);
    let client = connect::client(global).await?;
    if args.dry_run {
        let ticks = client.ticks_between(&args.name, from, until).await?;
        ui.data(&json!({ "ticks": ticks }), |_| {
            let mut lines: Vec<String> = ticks.iter().map(|tick| short(*tick)).collect();
            lines.push(format!("{} ticks; nothing was started", ticks.len()));
            lines.join("\n")
        });
        return Ok(());
    }
    let filling = client.backfill_schedule(&args.name, from, until);
    let done = ui.working("starting runs", filling).await?;
    ui.data(&done, |done| {
        format!(
            "started {} of {} ticks; {} had a run already",
            done.started,
            done.ticks.len(),
            done.existing
        )
    });
    Ok(())
}

/// In UTC, to the second.
fn short(time: Timestamp) -> String {
    time.to_string()
        .get(..19)
        .map_or_else(String::new, |text| format!("{text}Z"))
}
