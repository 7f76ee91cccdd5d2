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

fn main() -> ExitCode {
    let mut command = help::command();
    let matches = command.get_matches_mut();
    let mut arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.format(&mut command).exit(),
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
