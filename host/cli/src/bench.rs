//! `dacapo bench`

use std::process::ExitCode;

use crate::arguments::Global;
use crate::error::{Failed, Result};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _global: &Global, _ui: Ui) -> Result<ExitCode> {
    Err(Failed::request("not here yet"))
}
