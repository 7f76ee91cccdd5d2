//! `dacapo audit`

use std::process::ExitCode;

use dacapo_client::{AuditEntry, AuditFilter, Timestamp};

use crate::arguments::{Global, moment};
use crate::connect;
use crate::error::Result;
use crate::ui::{Ui, table};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show who did what through the server, and who made and revoked tokens, the newest first
    List(List),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only of this one: the name of a token, whom a provider knows, user@host of a command
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only this: an operation of the API such as cancelRun, or token-create, token-revoke, sign-in
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what was done to this: the id of a run, the name of a workflow, a schedule, a queue, a token
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only with this outcome: done, refused, failed
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Only since then: a time, a date, or how long ago (2h, 3d)
    #[arg(long, value_parser = moment, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only before then: a time, a date, or how long ago (2h, 3d)
    #[arg(long, value_parser = moment, value_name = "TIME")]
    before: Option<Timestamp>,
    /// How many, 1 to 1000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on after this entry: the `next` of another list
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    let Command::List(args) = command;
    let filter = AuditFilter {
        who: args.who,
        action: args.action,
        target: args.target,
        outcome: args.outcome,
        since: args.since,
        before: args.before,
        limit: args.limit,
        after: args.after,
    };
    let page = connect::client(global).await?.audit(&filter).await?;
    ui.data(&page, |page| list(&page.items));
    if let (false, Some(next)) = (ui.is_json(), page.next) {
        ui.say(&format!("more: --after {next}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn list(entries: &[AuditEntry]) -> String {
    if entries.is_empty() {
        return "nothing".to_owned();
    }
    let rows = entries.iter().map(|entry| {
        let time = entry.at.to_string();
        let outcome = match entry.status {
            Some(status) if entry.outcome != "done" => format!("{} ({status})", entry.outcome),
            _ => entry.outcome.clone(),
        };
        vec![
            time.get(..19)
                .map_or_else(String::new, |text| text.replace('T', " ")),
            entry.who.clone().unwrap_or_else(|| "-".to_owned()),
            entry.via.clone(),
            entry.action.clone(),
            entry.target.clone().unwrap_or_default(),
            outcome,
            entry.address.clone().unwrap_or_default(),
        ]
    });
    table(
        &["at", "who", "by", "action", "target", "outcome", "from"],
        rows,
    )
}
