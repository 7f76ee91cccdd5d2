//! `dacapo help`

use std::process::ExitCode;

use crate::error::{Failed, Result};
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
    let mut of = &mut command;
    for (place, word) in args.of.iter().enumerate() {
        of = of.find_subcommand_mut(word).ok_or_else(|| {
            let topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
            Failed::usage(format!(
                "there is no command {}",
                args.of[..=place].join(" ")
            ))
            .hint(format!(
                "`dacapo help` shows all commands; the topics are {}",
                topics.join(", ")
            ))
        })?;
    }
    ui.styled(&of.render_long_help());
    Ok(ExitCode::SUCCESS)
}
