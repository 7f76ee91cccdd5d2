//! What can be typed.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dacapo_client::Timestamp;
use dacapo_model::PayloadLimits;

use crate::bench;
use crate::command::{
    audit, completions, deploy, deployments, describe, dev, doctor, event, going_back, help, man,
    mcp, project, queue, refs, replay, request, retention, runs, schedule, serve, start, test,
    token, worker, workflows,
};

/// Durable workflows as WebAssembly components, with Postgres as the only service.
#[derive(Debug, Parser)]
#[command(
    name = "dacapo",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of all commands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The database: postgres://user:password@host/name. Without it, the one of a running `dacapo dev` is used
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) database_url: Option<String>,
    /// The same database past a pooler that shares sessions by transaction: for listening and migrations
    #[arg(
        long,
        global = true,
        env = "DACAPO_DIRECT_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) direct_url: Option<String>,
    /// A server to ask in the place of the database: http://host:port, as `dacapo serve` listens. What is to be shown for a token is taken from
    /// DACAPO_TOKEN. Commands that play journals, read components or look at the database itself need the database
    #[arg(long, global = true, env = "DACAPO_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The tenant that workflows and runs belong to
    #[arg(
        long,
        global = true,
        env = "DACAPO_NAMESPACE",
        default_value = "default"
    )]
    pub(crate) namespace: String,
    /// A payload (an input, an output, what a step records, an event), at most, in bytes
    #[arg(long, global = true, env = "DACAPO_MAX_PAYLOAD_BYTES", default_value_t = 1 << 20, value_name = "BYTES")]
    pub(crate) max_payload_bytes: usize,
    /// How to print what was asked for
    #[arg(long, short, global = true, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// How to print the program's own log on standard error; its level is set by DACAPO_LOG (error, warn, info, debug)
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// Options of all commands that do nothing at one that asks no database: they are taken there as elsewhere, and not spoken of.
#[derive(Debug, Args)]
pub(crate) struct NoDatabase {
    #[arg(long, hide = true)]
    database_url: Option<String>,
    #[arg(long, hide = true)]
    direct_url: Option<String>,
    #[arg(long, hide = true, default_value = "default")]
    namespace: String,
}

/// Options of all commands that do nothing at one that plays no run either.
#[derive(Debug, Args)]
pub(crate) struct NoRuns {
    #[command(flatten)]
    no_database: NoDatabase,
    #[arg(long, hide = true, default_value_t = 1 << 20)]
    max_payload_bytes: usize,
}

impl Global {
    /// The limits of payloads.
    pub(crate) fn payload_limits(&self) -> PayloadLimits {
        PayloadLimits {
            max_bytes: self.max_payload_bytes,
            ..PayloadLimits::default()
        }
    }
}

/// How to print what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON document
    Json,
}

/// How to print the program's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begin a project: its types in WIT, a workflow, a manifest and a test, in the language of your choice
    New(project::NewArgs),
    /// Build the component of a project by its language's own tools
    Build(project::BuildArgs),
    /// Work on this machine: a private Postgres, a worker, and the named .wasm files deployed anew when they change
    Dev(Box<dev::Args>),
    /// Take runs from the queue and play them
    Worker(worker::Args),
    /// Answer the HTTP API, without a worker
    Serve(serve::Args),
    /// Speak MCP over standard input and output, for the program that starts this: workflows as tools, and tools for runs
    Mcp(mcp::Args),
    /// Put .wasm files into service
    Deploy(deploy::Args),
    /// Look at deployments and steer them: activate one, roll it out by and by, retire it
    #[command(subcommand)]
    Deployments(deployments::Command),
    /// Print what a .wasm file says of itself: the descriptor that `dacapo.deploy` of the database takes with its bytes
    Describe(describe::Args),
    /// Write types and references for the services that start workflows: in Rust, TypeScript or Python, or as JSON Schema
    Refs(refs::Args),
    /// Show the workflows that can be started, with their types; pause one in an incident
    Workflows(workflows::Args),
    /// Run a workflow of a .wasm file here, in memory, on a clock that skips what it waits for: no database is needed
    Test(test::Args),
    /// Play exported runs over a component, without any effect, and show what it does with them: no database is needed
    Replay(replay::Args),
    /// Start a run
    Start(start::Args),
    /// Look at runs
    #[command(subcommand)]
    Runs(runs::Command),
    /// Send an event to a run
    Event(event::Args),
    /// Pause a run at its next step or wait
    Pause(request::Args),
    /// Let a paused or blocked run go on
    Resume(request::Args),
    /// End a run; its code may compensate first
    Cancel(request::CancelArgs),
    /// Start runs again that have ended: as new runs with the same input, from the beginning or from a step
    Rerun(going_back::RerunArgs),
    /// Let failed runs go on from their failed step, once whatever made them fail is mended
    Retry(going_back::RetryArgs),
    /// Finish what runs wait for in its place: a wait, a sleep, a pause, or a step that waits for its next attempt
    Skip(going_back::SkipArgs),
    /// Start workflows by the clock
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Lines of runs with limits of their own, and what workers take
    #[command(subcommand)]
    Queue(queue::Command),
    /// How long runs are kept once they have ended
    #[command(subcommand)]
    Retention(retention::Command),
    /// Tokens for the server: who may use it, and for what
    #[command(subcommand)]
    Token(token::Command),
    /// Who did what through the server
    #[command(subcommand)]
    Audit(audit::Command),
    /// Bring the database to this version's schema
    Migrate,
    /// Look for what is wrong: runs that are stuck, workers that are gone, settings that lose data
    Doctor(doctor::Args),
    /// Measure this machine and database, as ratios to plain single-row commits
    Bench(bench::Args),
    /// Print what makes a shell complete commands and options
    Completions(completions::Args),
    /// Print the manual page of a command, or write those of all commands
    Man(man::Args),
    /// Show the help of a command, or of a topic
    Help(help::Args),
}

impl Command {
    /// The level of the program's own log unless DACAPO_LOG says otherwise.
    pub(crate) fn default_log(&self) -> &'static str {
        match self {
            Self::Dev(_) | Self::Serve(_) | Self::Worker(_) => "info",
            _ => "warn",
        }
    }
}

/// Reads a duration such as `700ms`, `1m 30s`, `2 days 12 hours` or `1w`; a day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as 700ms, 1m 30s, 2h, 30d or 1w";
    let span: jiff::Span = text.parse().map_err(|_| EXPECTED.to_owned())?;
    let duration = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| EXPECTED.to_owned())?;
    Duration::try_from(duration).map_err(|_| "expected a duration of zero or more".to_owned())
}

/// Reads a time: RFC 3339, a date (its beginning in UTC), or how long ago, such as `2h` or `3d`.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    const EXPECTED: &str = "expected a time such as 2026-11-23T08:00:00Z, a date such as 2026-11-23, or how long ago, such as 2h or 3d";
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        let start = date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map_err(|_| EXPECTED.to_owned())?;
        return Ok(Timestamp::from_micros(start.timestamp().as_microsecond()));
    }
    let ago = duration(text).map_err(|_| EXPECTED.to_owned())?;
    let now = jiff::Timestamp::now().as_microsecond();
    let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_micros(now.saturating_sub(micros)))
}

/// Reads a time that may be still to come: RFC 3339.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "expected a time such as 2026-11-23T08:00:00Z".to_owned())
}

/// Reads `name=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_however_people_write_them() {
        let hour = 3_600;
        for (text, seconds) in [
            ("90s", 90),
            ("1m 30s", 90),
            ("2h", 2 * hour),
            ("1d 12h", 36 * hour),
            ("1d12h", 36 * hour),
            ("2 days 12 hours", 60 * hour),
            ("2 days, 12 hours", 60 * hour),
            ("1 week", 168 * hour),
            ("1w", 168 * hour),
            ("PT1H30M", hour + hour / 2),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("700ms"), Ok(Duration::from_millis(700)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", " ", "5", "s", "1x", "soon", "1d 12", "NaN", "1 month", "1y", "1e9w", "-",
        ] {
            let error = duration(text).unwrap_err();
            assert!(
                error.starts_with("expected a duration such as"),
                "{text}: {error}"
            );
        }
        for text in ["-5s", "5s ago"] {
            assert_eq!(
                duration(text).unwrap_err(),
                "expected a duration of zero or more"
            );
        }
    }
}
