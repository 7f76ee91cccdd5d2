//! The commands: each an arguments struct and a function.

pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod deploy;
pub(crate) mod deployments;
pub(crate) mod describe;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod going_back;
pub(crate) mod help;
pub(crate) mod man;
pub(crate) mod mcp;
pub(crate) mod migrate;
pub(crate) mod project;
pub(crate) mod proof;
pub(crate) mod queue;
pub(crate) mod refs;
pub(crate) mod repair;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod test;
pub(crate) mod token;
pub(crate) mod worker;
pub(crate) mod workflows;

use std::path::Path;
use std::process::ExitCode;

use dacapo_client::RunId;

use crate::arguments::{Arguments, Command};
use crate::error::{Failed, Result};
use crate::ui::Ui;

/// Does what was typed.
pub(crate) async fn run(arguments: Arguments, ui: &Ui) -> Result<ExitCode> {
    let global = &arguments.global;
    let ui = *ui;
    if global.server.is_some()
        && let Some(name) = needs_database(&arguments.command)
    {
        return Err(Failed::usage(format!(
            "`dacapo {name}` needs the database itself, and a server was given"
        ))
        .hint("give --database-url or DATABASE_URL, and neither --server nor DACAPO_SERVER"));
    }
    match arguments.command {
        Command::New(args) => project::new(args, ui),
        Command::Build(args) => project::build(args, ui).await,
        Command::Dev(args) => dev::run(*args, global, ui).await,
        Command::Serve(args) => serve::run(args, global, ui).await,
        Command::Mcp(args) => mcp::run(args, global).await,
        Command::Worker(args) => worker::run(args, global, ui).await,
        Command::Deploy(args) => deploy::run(args, global, ui).await,
        Command::Deployments(command) => deployments::run(command, global, ui).await,
        Command::Describe(args) => describe::run(args, ui),
        Command::Refs(args) => refs::run(args, global, ui).await,
        Command::Workflows(args) => workflows::run(args, global, ui).await,
        Command::Replay(args) => replay::run(args, global, ui).await,
        Command::Test(args) => test::run(args, global, ui).await,
        Command::Start(args) => start::run(args, global, ui).await,
        Command::Runs(command) => runs::run(command, global, ui).await,
        Command::Event(args) => event::run(args, global, ui).await,
        Command::Pause(args) => request::pause(args, global, ui).await,
        Command::Resume(args) => request::resume(args, global, ui).await,
        Command::Cancel(args) => request::cancel(args, global, ui).await,
        Command::Rerun(args) => going_back::rerun(args, global, ui).await,
        Command::Retry(args) => going_back::retry(args, global, ui).await,
        Command::Skip(args) => going_back::skip(args, global, ui).await,
        Command::Schedule(command) => schedule::run(command, global, ui).await,
        Command::Queue(command) => queue::run(command, global, ui).await,
        Command::Retention(command) => retention::run(command, global, ui).await,
        Command::Token(command) => token::run(command, global, ui).await,
        Command::Audit(command) => audit::run(command, global, ui).await,
        Command::Migrate => migrate::run(global, ui).await,
        Command::Doctor(args) => doctor::run(args, global, ui).await,
        Command::Bench(args) => crate::bench::run(args, global, ui).await,
        Command::Completions(args) => completions::run(&args, ui),
        Command::Man(args) => man::run(&args, ui),
        Command::Help(args) => help::run(&args, ui),
    }
}

/// The name of a command that no server can be asked for. None: one can.
fn needs_database(command: &Command) -> Option<&'static str> {
    match command {
        Command::Worker(_) => Some("worker"),
        Command::Serve(_) => Some("serve"),
        Command::Dev(_) => Some("dev"),
        Command::Migrate => Some("migrate"),
        Command::Doctor(_) => Some("doctor"),
        Command::Bench(_) => Some("bench"),
        Command::Runs(runs::Command::Repair(_)) => Some("runs repair"),
        Command::Deploy(args) if args.looks_at_runs() => {
            Some("deploy --check, --upgrade and --require-all")
        }
        _ => None,
    }
}

/// The id of a run, as typed.
pub(crate) fn run_id(text: &str) -> Result<RunId> {
    text.parse()
        .map_err(|error| Failed::usage(format!("{error}")).hint("`dacapo runs list` shows ids"))
}

/// Who does this: as typed, or the user and the machine.
pub(crate) fn who(typed: Option<String>) -> String {
    typed.unwrap_or_else(|| {
        let id = nix::unistd::geteuid();
        let user = nix::unistd::User::from_uid(id).ok().flatten();
        let user = user.map_or_else(|| id.to_string(), |user| user.name);
        format!("{user}@{}", dacapo_worker::host_name())
    })
}

/// JSON as typed: itself, `@file`, or `-` for standard input.
pub(crate) fn json_argument(text: &str) -> Result<String> {
    let read = |result: std::io::Result<String>, from: &str| {
        result.map_err(|error| Failed::usage(format!("cannot read {from}: {error}")))
    };
    match text.strip_prefix('@') {
        Some(file) => read(std::fs::read_to_string(Path::new(file)), file),
        None if text == "-" => read(std::io::read_to_string(std::io::stdin()), "standard input"),
        None => Ok(text.to_owned()),
    }
}
