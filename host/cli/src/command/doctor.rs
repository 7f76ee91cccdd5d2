//! `dacapo doctor`

use std::process::ExitCode;

use dacapo_store::{Finding, SchemaState};
use serde_json::json;

use crate::arguments::Global;
use crate::connect;
use crate::error::Result;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let store = connect::answering_store(global).await?;
    let findings = match dacapo_store::schema_state(&store).await? {
        SchemaState::Ready(_) => dacapo_store::examine(&store).await?,
        SchemaState::Empty => vec![schema("the database is empty")],
        SchemaState::Behind(version) => vec![schema(&format!(
            "the schema is at version {version}, which is older than this binary"
        ))],
    };
    let json: Vec<_> = findings
        .iter()
        .map(|finding| json!({ "code": finding.code, "what": finding.what, "advice": finding.advice }))
        .collect();
    ui.data(&json, |_| {
        if findings.is_empty() {
            return "nothing is wrong".to_owned();
        }
        let lines = findings
            .iter()
            .map(|finding| format!("{}: {}\n  {}", finding.code, finding.what, finding.advice));
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn schema(what: &str) -> Finding {
    Finding {
        code: "schema".to_owned(),
        what: what.to_owned(),
        advice: "run `dacapo migrate`".to_owned(),
    }
}
