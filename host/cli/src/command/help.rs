//! `dacapo help`

use std::process::ExitCode;

use crate::error::Result;
use crate::help::{self, TOPICS};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A command, such as `runs list`, or a topic: environment, exit-codes, output, values
    #[arg(value_name = "COMMAND|TOPIC")]
    of: Vec<String>,
}

pub(crate) fn run(args: &Args, ui: Ui) -> Result<ExitCode> {
    if let [name] = args.of.as_slice()
        && let Some(topic) = TOPICS.iter().find(|topic| topic.name == name)
    {
        ui.line(topic.text.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let mut command = help::command();
    // So that each knows the commands that it is one of.
    command.build();
    let mut of = help::find(&command, &args.of)?.clone();
    ui.styled(&of.render_long_help());
    Ok(ExitCode::SUCCESS)
}
