//! `dacapo workflows`

use std::process::ExitCode;

use dacapo_client::WorkflowInfo;
use serde_json::json;

use crate::arguments::Global;
use crate::command::deploy::{events, signature};
use crate::connect;
use crate::error::Result;
use crate::manifest::{retention_text, retry_text};
use crate::ui::{Ui, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Let no run of a workflow be played; those that are go back into their queue at their next step or wait
    Pause(One),
    /// Let the runs of a paused workflow go on
    Resume(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The workflow: its full name, ns:pkg/interface.function, or the function's name alone where that is unique
    workflow: String,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let client = connect::client(global).await?;
    match args.command {
        None => {}
        Some(Command::Pause(one)) => {
            let name = client.pause_workflow(&one.workflow).await?;
            ui.data(&json!({ "workflow": name, "paused": true }), |_| {
                format!("workflow {name} is paused")
            });
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Resume(one)) => {
            let name = client.resume_workflow(&one.workflow).await?;
            ui.data(&json!({ "workflow": name, "paused": false }), |_| {
                format!("workflow {name} goes on")
            });
            return Ok(ExitCode::SUCCESS);
        }
    }
    let paused = client.paused_workflows().await?;
    let workflows = client.workflows().await?;
    ui.data(&workflows, |workflows| {
        if workflows.is_empty() {
            return "no workflow is deployed; deploy one with `dacapo deploy FILE.wasm`".to_owned();
        }
        let rows = workflows.iter().map(|info| {
            let signature = signature(&info.workflow);
            let types = signature
                .strip_prefix(info.name.as_str())
                .unwrap_or_default();
            vec![
                info.name.clone(),
                format!("{types}{}", events(&info.workflow)),
                info.deployment.number.to_string(),
                info.retry.map_or_else(String::new, retry_text),
                runs_text(info),
                match paused.iter().find(|paused| paused.workflow == info.name) {
                    Some(paused) => format!("paused since {}", paused.since),
                    None => info.problem.clone().unwrap_or_default(),
                },
            ]
        });
        table(
            &["workflow", "types", "deployment", "retry", "runs", ""],
            rows,
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// What the manifest says of the runs of a workflow: `queue slow, priority 10, kept 30d`.
fn runs_text(info: &WorkflowInfo) -> String {
    let queue = info.queue.as_ref().map(|queue| format!("queue {queue}"));
    let priority = info.priority.map(|priority| format!("priority {priority}"));
    let kept = info
        .retention
        .map(|kept| format!("kept {}", retention_text(kept)));
    let all: Vec<String> = [queue, priority, kept].into_iter().flatten().collect();
    all.join(", ")
}
