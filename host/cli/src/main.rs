//! `dacapo`: the one binary. Commands are in [`command`], one file each; everything that is printed goes through [`ui`].

#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod command;
mod connect;
mod error;
mod help;
mod manifest;
mod server;
mod telemetry;
mod ui;

use std::process::ExitCode;

use clap::FromArgMatches;

use crate::arguments::Arguments;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Says what is wrong with the arguments, as they ask for it themselves; or shows the help that they ask for.
fn not_understood(error: &clap::Error) -> ExitCode {
    let wants_json = arguments::asks_for_json(std::env::args_os());
    match error::Failed::of_arguments(error) {
        Some(failed) if wants_json => ui::Ui::new(arguments::Output::Json).fail(&failed),
        _ => error.exit(),
    }
}

fn main() -> ExitCode {
    let mut command = help::command();
    let parsed = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let mut arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return not_understood(&error.format(&mut command)),
    };
    arguments.global.server.take_if(|url| url.is_empty());
    let ui = ui::Ui::new(arguments.global.output);
    if let Err(error) = connect::read_url_files(&mut arguments.global) {
        return ui.fail(&error);
    }
    let log = arguments.command.default_log();
    if let Err(error) = ui::start_tracing(arguments.global.log_format, log) {
        return ui.fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return ui.fail(&error::Failed::new(error)),
    };
    let result = runtime.block_on(command::run(arguments, &ui));
    // Whatever still runs has been told to end; nothing of it is worth waiting for.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => ui.fail(&error),
    }
}
