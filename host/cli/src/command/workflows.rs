//! `dacapo workflows`

use std::process::ExitCode;

use crate::arguments::Global;
use crate::command::deploy::signature;
use crate::connect;
use crate::error::Result;
use crate::ui::{Ui, table};

pub(crate) async fn run(global: &Global, ui: Ui) -> Result<ExitCode> {
    let workflows = connect::client(global).await?.workflows().await?;
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
                types.to_owned(),
                info.deployment.number.to_string(),
            ]
        });
        table(&["workflow", "types", "deployment"], rows)
    });
    Ok(ExitCode::SUCCESS)
}
