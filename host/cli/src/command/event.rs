//! `dacapo event`

use std::process::ExitCode;

use dacapo_client::SentEvent;
use serde_json::json;

use crate::arguments::Global;
use crate::command::{json_argument, run_id};
use crate::connect;
use crate::error::Result;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's id
    run: String,
    /// The event's name
    name: String,
    /// The payload as JSON; @FILE reads a file, - standard input
    #[arg(default_value = "null", value_name = "JSON")]
    payload: String,
    /// An id for this delivery: the same id sent again is received once
    #[arg(long = "id", value_name = "DELIVERY")]
    delivery: Option<String>,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let run = run_id(&args.run)?;
    let payload = json_argument(&args.payload)?;
    let client = connect::client(global).await?;
    let sent = client
        .send_event(run, &args.name, &payload, args.delivery.as_deref())
        .await?;
    let duplicate = sent == SentEvent::Duplicate;
    ui.data(
        &json!({ "run": run, "event": args.name, "duplicate": duplicate }),
        |_| match sent {
            SentEvent::Sent => format!("sent {} to run {run}", args.name),
            SentEvent::Duplicate => {
                "nothing changed: an event with this id was received before".to_owned()
            }
        },
    );
    Ok(ExitCode::SUCCESS)
}
