//! `dacapo completions`

use std::process::ExitCode;

use clap_complete::Shell;

use crate::error::Result;
use crate::help;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, ui: Ui) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "dacapo", &mut script);
    ui.bytes(&script);
    Ok(ExitCode::SUCCESS)
}
