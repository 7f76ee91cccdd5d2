//! `dacapo mcp`

use std::process::ExitCode;
use std::time::Duration;

use dacapo_client::{Payloads, Role, Scope, WorkflowPattern};
use dacapo_server::{McpConfig, mcp_over_stdio};
use tokio_util::sync::CancellationToken;

use crate::arguments::{Global, duration, label};
use crate::command::signal::Stop;
use crate::command::token::pattern;
use crate::command::who;
use crate::connect;
use crate::error::{Failed, Result};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the client may: read (look at runs) or operate (start and steer them, too)
    #[arg(long, value_name = "ROLE", default_value = "operate", value_parser = role)]
    role: Role,
    /// Only workflows like this: a full name, in which `*` stands for any text, such as shop:*; may be repeated [default: all]
    #[arg(long = "workflow", value_name = "PATTERN", value_parser = pattern)]
    workflows: Vec<WorkflowPattern>,
    /// Only runs with this label, which those that it starts get; may be repeated, then with all of them
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Show it no inputs, outputs, events, what steps record, messages of failures, or logs
    #[arg(long)]
    no_payloads: bool,
    /// How long the call of a workflow waits for the end of its run, before it is answered with the run's id
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    wait: Duration,
    /// Who steers runs by it, for the record; user@host if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

fn role(text: &str) -> std::result::Result<Role, String> {
    match text.parse() {
        Ok(role @ (Role::Read | Role::Operate)) => Ok(role),
        // There is no tool for more.
        _ => Err("expected read or operate".to_owned()),
    }
}

pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    if global.server.is_some()
        && (args.no_payloads || !args.workflows.is_empty() || !args.labels.is_empty())
    {
        return Err(Failed::usage(
            "--workflow, --label and --no-payloads are for a database: what is seen of a server is what its token may see",
        )
        .hint("make a token with them, `dacapo token create NAME --role operate --workflow PATTERN`, and give it as DACAPO_TOKEN"));
    }
    let client = connect::client(global).await?;
    let payloads = match args.no_payloads {
        true => Payloads::Hidden,
        false => Payloads::WithoutSecrets,
    };
    let client = client.showing(payloads).within(Scope {
        workflows: args.workflows,
        labels: args.labels.into_iter().collect(),
    });
    let config = McpConfig {
        who: who(args.by),
        role: args.role,
        wait: args.wait,
    };
    let stopping = CancellationToken::new();
    // Whoever has started this ends it by closing its standard input, or by a signal.
    let asked = async {
        stop.asked().await;
        stopping.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        spoken = mcp_over_stdio(client, config, stopping.clone()) => spoken.map_err(Failed::new)?,
        () = asked => {}
    }
    Ok(ExitCode::SUCCESS)
}
