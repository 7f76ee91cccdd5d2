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
use super::wit::declarations;

/// The newest runs, among which the last ones of most workflows are.
const NEWEST: u32 = 300;

/// Workflows whose last run is looked up by itself.
const LOOKED_UP: usize = 10;

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

/// The types that a workflow names, as WIT declares them.
pub(crate) fn types_of(workflow: &dacapo_model::Workflow) -> String {
    let input = workflow.param.as_ref().map(|param| &param.ty);
    let events = workflow.events.iter().filter_map(|event| event.ty.as_ref());
    declarations(
        input
            .into_iter()
            .chain(workflow.result.as_ref())
            .chain(events),
    )
}

/// All of them.
pub(crate) async fn list(dashboard: Dashboard, visitor: Visitor) -> Result<Response, Oops> {
    let client = dashboard.client();
    let (workflows, paused) = tokio::try_join!(client.workflows(), client.paused_workflows())?;
    let newest = client
        .list(ListFilter {
            limit: NEWEST,
            ..ListFilter::default()
        })
        .await?;
    // Where these are all runs that there are, a workflow without one among them has none.
    let mut left = match newest.next {
        Some(_) => LOOKED_UP,
        None => 0,
    };
    let mut shown = Vec::new();
    for workflow in &workflows {
        let known = newest
            .items
            .iter()
            .find(|run| run.workflow == workflow.name);
        let last = match known {
            Some(run) => Some(run.clone()),
            None if left > 0 => {
                left -= 1;
                client.last_run(&workflow.name).await?
            }
            None => None,
        };
        shown.push(context! {
            last => last.as_ref().map(Row::of),
            is_unknown => last.is_none() && newest.next.is_some() && left == 0,
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
        context! { rows, types => types_of(&workflow.workflow), workflow => of(&workflow) },
    )?;
    Ok(html.into_response())
}
