//! `dacapo retention`

use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{RetentionRule, Status};
use serde_json::json;

use crate::arguments::{Global, duration};
use crate::connect;
use crate::error::{Failed, Result};
use crate::manifest::spelled;
use crate::ui::{Ui, table};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show how long runs are kept once they have ended
    Show,
    /// Set how long runs are kept once they have ended
    Set(Set),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// How long, such as 12h or 90d; `forever`; or `default`, which takes back what was set
    #[arg(value_parser = keep, value_name = "DURATION")]
    keep: Keep,
    /// Only runs of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// Only runs that ended with this status: completed, failed, cancelled
    #[arg(long)]
    status: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Keep {
    For(Duration),
    Forever,
    Default,
}

fn keep(text: &str) -> std::result::Result<Keep, String> {
    match text {
        "forever" => Ok(Keep::Forever),
        "default" => Ok(Keep::Default),
        text => duration(text)
            .map(Keep::For)
            .map_err(|_| "expected a duration such as 12h or 90d, forever, or default".to_owned()),
    }
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    let client = connect::client(global).await?;
    if let Command::Set(set) = command {
        let status: Option<Status> = set
            .status
            .map(|status| status.parse())
            .transpose()
            .map_err(|error: dacapo_model::StatusError| Failed::usage(error.to_string()))?;
        let keep = match set.keep {
            Keep::For(duration) => Some(duration),
            Keep::Forever => None,
            Keep::Default => {
                if !client.reset_retention(set.workflow, status).await? {
                    ui.say("nothing changed: nothing was set for these runs");
                }
                return show(&client.retention().await?, ui);
            }
        };
        let rule = RetentionRule {
            workflow: set.workflow,
            status,
            keep,
        };
        client.set_retention(rule).await?;
    }
    show(&client.retention().await?, ui)
}

fn show(rules: &[RetentionRule], ui: Ui) -> Result<ExitCode> {
    let json: Vec<_> = rules
        .iter()
        .map(|rule| {
            json!({
                "workflow": rule.workflow,
                "status": rule.status,
                "keepSeconds": rule.keep.map(|keep| keep.as_secs()),
            })
        })
        .collect();
    ui.data(&json, |_| {
        let rows = rules.iter().map(|rule| {
            vec![
                rule.workflow.clone().unwrap_or_else(|| "all".to_owned()),
                rule.status
                    .map_or_else(|| "all".to_owned(), |status| status.to_string()),
                rule.keep
                    .map_or_else(|| "forever".to_owned(), |keep| spelled(keep.as_secs())),
            ]
        });
        table(&["workflow", "status", "kept for"], rows)
    });
    Ok(ExitCode::SUCCESS)
}
