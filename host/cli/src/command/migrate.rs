//! `dacapo migrate`

use std::process::ExitCode;

use dacapo_store::MigrateOutcome;

use crate::arguments::Global;
use crate::connect;
use crate::error::Result;
use crate::ui::Ui;

pub(crate) async fn run(global: &Global, ui: Ui) -> Result<ExitCode> {
    let store = connect::answering_store(global).await?;
    let outcome = dacapo_store::migrate(&store).await?;
    let (from, to) = match outcome {
        MigrateOutcome::Migrated { from, to } => (from, to),
        MigrateOutcome::UpToDate(version) => (version, version),
    };
    ui.data(
        &serde_json::json!({ "from": from, "to": to }),
        |_| match outcome {
            MigrateOutcome::Migrated { from: 0, to } => {
                format!("made the schema `dacapo`, version {to}")
            }
            MigrateOutcome::Migrated { from, to } => {
                format!("brought the schema from version {from} to {to}")
            }
            MigrateOutcome::UpToDate(version) => {
                format!("nothing to do: the schema is at version {version}")
            }
        },
    );
    Ok(ExitCode::SUCCESS)
}
