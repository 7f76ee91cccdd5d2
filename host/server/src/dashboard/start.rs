//! Starting a run: a form made from what the workflow takes.

use std::time::Duration;

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use dacapo_client::{Begins, Client, ClientError, StartOptions, WorkflowInfo};
use minijinja::{Value, context};

use super::Dashboard;
use super::error::{Oops, is_visitors, status_of};
use super::fields::{Errors, Field, Fields};
use super::guard::{Posted, Visitor};
use super::page::page;
use super::query::Query;
use super::runs::{Problem, labels_of};

/// The place of the input in errors, and of its first field.
const ROOT: &str = "input";

/// A workflow by its name: a full one, or an end of one that is unique.
pub(crate) async fn workflow(client: &Client, name: &str) -> Result<WorkflowInfo, Oops> {
    Ok(client.workflow(name).await?)
}

async fn form(
    client: &Client,
    workflow: &WorkflowInfo,
    said: &Query,
    errors: &Errors,
) -> Result<Value, Oops> {
    let text = |name: &str| said.get(name).unwrap_or("").to_owned();
    let as_json = said.get("as") == Some("json");
    let fields = Fields::of(said);
    let param = workflow.workflow.param.as_ref();
    let typed = param
        .filter(|_| !as_json)
        .map(|param| Field::new(&param.ty, ROOT, &param.name, &fields, errors));
    // Queues hold everybody's runs; whoever is limited to some is shown none, and starts them where the deployment says.
    let queues = match client.check_sees_all() {
        Ok(()) => client.queues().await?,
        Err(_) => Vec::new(),
    };
    let queues: Vec<String> = queues.into_iter().map(|queue| queue.name).collect();
    Ok(context! {
        workflow => workflow.name,
        package => workflow.deployment.package,
        number => workflow.deployment.number,
        docs => workflow.docs,
        input_type => workflow.input.as_ref().map(|input| input.ty.clone()),
        problem_of_workflow => workflow.problem,
        takes_input => param.is_some(),
        typed,
        as_json,
        json => text("json"),
        key => text("key"),
        queue => text("queue"),
        concurrency_key => text("concurrency_key"),
        priority => text("priority"),
        labels => text("labels"),
        delay => text("delay"),
        deadline => text("deadline"),
        queues,
    })
}

/// The form.
pub(crate) async fn show(
    dashboard: Dashboard,
    Path(name): Path<String>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let client = dashboard.client();
    let workflow = workflow(client, &name).await?;
    let values = form(client, &workflow, &query, &Errors::default()).await?;
    let html = page(
        &visitor,
        "start.html",
        context! { problem => Option::<Problem>::None, ..values },
    )?;
    Ok(html.into_response())
}

/// Starts the run, or shows the form anew: as its button has changed it, or with what is wrong.
pub(crate) async fn act(
    dashboard: Dashboard,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Oops> {
    let client = dashboard.client();
    let workflow = workflow(client, &name).await?;
    if posted.fields.get("change").is_some() {
        let said = changed(&workflow, &posted.fields);
        let values = form(client, &workflow, &said, &Errors::default()).await?;
        let html = page(
            &posted.visitor,
            "start.html",
            context! { problem => Option::<Problem>::None, ..values },
        )?;
        return Ok(html.into_response());
    }
    match start(client, &workflow, &posted.fields).await {
        Ok(to) => Ok(Redirect::to(&to).into_response()),
        Err(error) if is_visitors(&error) => {
            let values = form(client, &workflow, &posted.fields, &Errors::of(&error)).await?;
            let html = page(
                &posted.visitor,
                "start.html",
                context! { problem => Problem::of(&error), ..values },
            )?;
            Ok((status_of(&error), html).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// The form after a change: items come and go, and the input is shown in its other form with what it says so far.
fn changed(workflow: &WorkflowInfo, said: &Query) -> Query {
    let Some(param) = &workflow.workflow.param else {
        return Fields::changed(said);
    };
    let others = || {
        let pairs = said.iter().filter(|(name, _)| {
            !name.starts_with(ROOT) && !matches!(*name, "json" | "as" | "change")
        });
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    match said.get("change") {
        Some("as-json") => {
            let json = Fields::of(said).to_json(&param.ty, ROOT);
            let json = pretty(&json);
            let more = [
                ("as".to_owned(), "json".to_owned()),
                ("json".to_owned(), json),
            ];
            Query::from_pairs(others().chain(more))
        }
        Some("as-form") => {
            let json = said.get("json").unwrap_or("");
            let fields = Fields::from_json(json, &param.ty, ROOT);
            Query::from_pairs(others().chain(fields.into_pairs()))
        }
        _ => Fields::changed(said),
    }
}

/// With line breaks, where that changes no number.
fn pretty(json: &str) -> String {
    let read: Result<serde_json::Value, _> = serde_json::from_str(json);
    let compact = read.as_ref().ok().map(serde_json::Value::to_string);
    match (read, compact) {
        // The order of members is not kept by this, so it must be what it was.
        (Ok(value), Some(compact)) if compact == json => {
            serde_json::to_string_pretty(&value).unwrap_or_else(|_| json.to_owned())
        }
        _ => json.replace(",\"", ",\n  \"").replacen('{', "{\n  ", 1),
    }
}

/// Where to look then.
async fn start(
    client: &Client,
    workflow: &WorkflowInfo,
    said: &Query,
) -> Result<String, ClientError> {
    let input = match (&workflow.workflow.param, said.get("as")) {
        (None, _) => "null".to_owned(),
        (Some(_), Some("json")) => said.get("json").unwrap_or("").to_owned(),
        (Some(param), _) => Fields::of(said).to_json(&param.ty, ROOT),
    };
    let started = client
        .start_by_name(&workflow.name, &input, options(said)?)
        .await?;
    let word = if started.created {
        "started"
    } else {
        "existing"
    };
    Ok(format!("/runs/{}?done={word}", started.id))
}

fn options(said: &Query) -> Result<StartOptions, ClientError> {
    let text = |name: &str| said.filled(name).map(str::to_owned);
    let seconds = |name: &'static str| {
        let Some(text) = said.filled(name) else {
            return Ok(None);
        };
        let number: Option<f64> = text.parse().ok();
        let span = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
        span.map(Some).ok_or_else(|| ClientError::BadArgument {
            what: name,
            message: format!("{text:?}: expected a number of seconds"),
        })
    };
    let priority = match said.filled("priority") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| ClientError::BadArgument {
            what: "priority",
            message: format!("{text:?}: expected a whole number from -100 to 100"),
        })?),
    };
    Ok(StartOptions {
        key: text("key"),
        labels: labels_of(said.get("labels").unwrap_or(""))?,
        deadline: seconds("deadline")?,
        queue: text("queue"),
        priority,
        concurrency_key: text("concurrency_key"),
        begins: seconds("delay")?.map_or(Begins::Now, Begins::After),
        singleton: None,
        debounce: None,
    })
}
