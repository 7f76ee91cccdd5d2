//! What can be started.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use dacapo_client::{ListFilter, RunFilter, WorkflowInfo};
use minijinja::{Value, context};

use super::Dashboard;
use super::error::Oops;
use super::guard::Visitor;
use super::page::page;
use super::runs::Row;

/// Workflows whose last runs are looked up for the list.
const LOOKED_AT: usize = 50;

/// Runs that the page of a workflow shows.
const RUNS: u32 = 10;

fn of(workflow: &WorkflowInfo) -> Value {
    let events: Vec<_> = workflow
        .events
        .iter()
        .map(|event| {
            context! {
                name => event.name,
                ty => event.payload.as_ref().map(|payload| payload.ty.clone()),
                docs => event.docs,
            }
        })
        .collect();
    context! {
        name => workflow.name,
        package => workflow.deployment.package,
        number => workflow.deployment.number,
        deployed_at => workflow.deployed_at.to_string(),
        input => workflow.input.as_ref().map(|input| input.ty.clone()),
        output => workflow.output.as_ref().map(|output| output.ty.clone()),
        events,
        docs => workflow.docs,
        problem => workflow.problem,
        queue => workflow.queue,
        priority => workflow.priority,
    }
}

/// All of them.
pub(crate) async fn list(
    dashboard: Dashboard,
    visitor: Visitor,
) -> Result<Response, Oops> {
    let client = dashboard.client();
    let (workflows, paused) = tokio::try_join!(client.workflows(), client.paused_workflows())?;
    let mut shown = Vec::new();
    for (index, workflow) in workflows.iter().enumerate() {
        let last = match index < LOOKED_AT {
            true => client.last_run(&workflow.name).await?,
            false => None,
        };
        shown.push(context! {
            last => last.as_ref().map(Row::of),
            is_paused => paused.iter().any(|paused| paused.workflow == workflow.name),
            ..of(workflow)
        });
    }
    let html = page(&visitor, "workflows.html", context! { workflows => shown })?;
    Ok(html.into_response())
}

/// One of them.
pub(crate) async fn show(
    dashboard: Dashboard,
    Path(name): Path<String>,
    visitor: Visitor,
) -> Result<Response, Oops> {
    let client = dashboard.client();
    let workflow = super::start::workflow(client, &name).await?;
    let filter = ListFilter {
        runs: RunFilter {
            workflow: Some(workflow.name.clone()),
            ..RunFilter::default()
        },
        limit: RUNS,
        ..ListFilter::default()
    };
    let runs = client.list(filter).await?;
    let rows: Vec<Row> = runs.items.iter().map(Row::of).collect();
    let html = page(
        &visitor,
        "workflow.html",
        context! { rows, workflow => of(&workflow) },
    )?;
    Ok(html.into_response())
}
