//! `dacapo describe`

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::arguments::NoRuns;
use crate::command::deploy::{self, ManifestArgs};
use crate::error::{Failed, Result};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A component, or a core module that carries component type information
    #[arg(value_name = "FILE.wasm")]
    wasm: PathBuf,
    #[command(flatten)]
    manifest: ManifestArgs,
    #[command(flatten)]
    _no_runs: NoRuns,
    /// Write the component there: of a core module, what is deployed are other bytes than the file's
    #[arg(long, value_name = "OUT.wasm")]
    component: Option<PathBuf>,
}

pub(crate) fn run(args: Args, ui: Ui) -> Result<ExitCode> {
    let one = deploy::read(&args.wasm, &args.manifest)?;
    if let Some(file) = &args.component {
        std::fs::write(file, &one.described.component).map_err(|error| {
            Failed::request(format!("cannot write {}: {error}", file.display()))
        })?;
    }
    let text =
        |error: serde_json::Error| Failed::request(format!("cannot print the descriptor: {error}"));
    let mut descriptor = serde_json::to_value(&one.described.descriptor).map_err(text)?;
    descriptor["digest"] = json!(one.described.digest);
    if !one.manifest.is_empty() {
        descriptor["manifest"] = serde_json::to_value(&one.manifest).map_err(text)?;
    }
    // It is a document for the database, whoever reads it.
    ui.data(&descriptor, Value::to_string);
    Ok(ExitCode::SUCCESS)
}
