//! `dacapo runs logs`

use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{ClientError, LogLevel, LogLine};

use crate::arguments::Global;
use crate::command::run_id;
use crate::connect;
use crate::error::Result;
use crate::ui::Ui;

/// How often `logs --follow` looks, besides when the run ends.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// The run's id
    run: String,
    /// Only lines of this level and more urgent ones: trace, debug, info, warn, error
    #[arg(long, default_value_t)]
    level: LogLevel,
    /// Go on with what the run logs from now on, until it ends; with --output json each line is a document of its own
    #[arg(long, short)]
    follow: bool,
}

pub(super) fn log_json(line: &LogLine) -> serde_json::Value {
    serde_json::json!({
        "at": line.at, "level": line.level, "step": line.step, "source": line.source,
        "message": line.message, "fields": line.fields,
    })
}

pub(super) fn log_text(lines: &[LogLine]) -> String {
    let lines = lines.iter().map(|line| {
        let step = line
            .step
            .as_ref()
            .map_or_else(String::new, |step| format!(" [{step}]"));
        let fields = line
            .fields
            .as_ref()
            .map_or_else(String::new, |fields| format!(" {}", fields.as_str()));
        format!(
            "{} {:<5}{step} {}{fields}",
            line.at, line.level, line.message
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) async fn logs(args: Logs, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let client = connect::client(global).await?;
    let mut tail = client.log_tail(run, args.level).await?;
    if !args.follow {
        let lines = tail.next_lines().await?;
        ui.data(&lines.iter().map(log_json).collect::<Vec<_>>(), |_| {
            log_text(&lines)
        });
        return Ok(ExitCode::SUCCESS);
    }
    let mut patience = Duration::ZERO;
    loop {
        // Asked before the lines are read: those of a run that has ended are all there.
        let ended = match client.wait(run, Some(patience)).await {
            Ok(_) => true,
            Err(ClientError::WaitTimedOut { .. }) => false,
            // It was deleted meanwhile.
            Err(ClientError::RunNotFound(_)) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error.into()),
        };
        patience = FOLLOW_EVERY;
        for line in tail.next_lines().await? {
            if ui.is_json() {
                ui.line(&log_json(&line).to_string());
            } else {
                ui.line(&log_text(&[line]));
            }
        }
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
    }
}
