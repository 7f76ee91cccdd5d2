//! `dacapo runs export` and `dacapo runs import`

use std::path::PathBuf;
use std::process::ExitCode;

use dacapo_client::{ClientError, Payloads, RunExport, Status};

use crate::arguments::Global;
use crate::command::{run_id, who};
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The run's id
    run: String,
    /// Write to this file; standard output if it is not given
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// With the lines of its log
    #[arg(long)]
    log: bool,
    /// With what its manifest calls secret; without, the file cannot be imported or replayed if there is any
    #[arg(long)]
    with_secrets: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// What `runs export` has written; - reads standard input
    file: PathBuf,
    /// Who does this, for the record; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub(super) async fn export(args: Export, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let payloads = match args.with_secrets {
        true => Payloads::Whole,
        false => Payloads::WithoutSecrets,
    };
    let client = connect::client(global).await?.showing(payloads);
    let exporting = client.export(run, args.log);
    let export = ui.working("exporting the run", exporting).await?;
    if export.is_redacted() {
        ui.say("what is secret is left out, so it can be neither imported nor replayed: --with-secrets keeps it");
    }
    let text = export.to_json().map_err(Failed::new)?;
    let Some(file) = args.file else {
        ui.line(&text);
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::write(&file, text + "\n")
        .map_err(|error| Failed::usage(format!("cannot write {}: {error}", file.display())))?;
    ui.data(&serde_json::json!({ "run": run, "file": file }), |_| {
        format!("wrote run {run} to {}", file.display())
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn import(args: Import, global: &Global, ui: Ui) -> Result<ExitCode> {
    let read = if args.file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(&args.file)
    };
    let text = read
        .map_err(|error| Failed::usage(format!("cannot read {}: {error}", args.file.display())))?;
    let export = RunExport::from_json(&text).map_err(ClientError::from)?;
    let client = connect::client(global).await?;
    let who = who(args.by);
    let importing = client.import(&export, &who);
    ui.working("importing the run", importing).await?;
    let run = client.get(export.run.id).await?;
    ui.data(
        &serde_json::json!({ "run": run.id, "status": run.status }),
        |_| match run.status {
            Status::Paused => format!("run {} is here, and paused", run.id),
            status => format!("run {} is here: {status}", run.id),
        },
    );
    Ok(ExitCode::SUCCESS)
}
