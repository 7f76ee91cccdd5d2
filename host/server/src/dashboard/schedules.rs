//! What is started by the clock.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use dacapo_client::{Schedule, Trigger};
use minijinja::{Value, context};

use super::Dashboard;
use super::error::{Oops, is_visitors, status_of};
use super::guard::{Posted, Visitor};
use super::json_view;
use super::page::page;
use super::query::{Query, in_path};
use super::run::layout_of;
use super::runs::Problem;

fn of(schedule: &Schedule) -> Value {
    let last = schedule.last_run.as_ref().map(|run| {
        context! {
            id => run.id.to_string(),
            tick => run.tick.map(|at| at.to_string()),
            status => run.status.map(|status| status.as_str()),
        }
    });
    let trouble = schedule.trouble.as_ref().map(|trouble| {
        context! { code => trouble.code, message => trouble.message, since => trouble.since.to_string() }
    });
    let ticks: Vec<String> = schedule
        .next_ticks
        .iter()
        .map(ToString::to_string)
        .collect();
    context! {
        name => schedule.name,
        workflow => schedule.workflow,
        cron => schedule.cron,
        time_zone => schedule.time_zone,
        every => schedule.every_seconds.map(|seconds| super::page::took(seconds.saturating_mul(1_000))),
        overlap => schedule.overlap.to_string(),
        paused => schedule.paused,
        ticks,
        last,
        trouble,
        waiting_for => schedule.waiting_for.map(|id| id.to_string()),
        input => json_view::html(schedule.input.as_str()),
        labels => schedule.labels.iter().collect::<Vec<_>>(),
        queue => schedule.queue,
    }
}

/// All of them.
pub(crate) async fn list(
    dashboard: Dashboard,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let schedules = dashboard.client().schedules().await?;
    let said = match query.get("done") {
        Some("pause") => Some("The schedule is paused: its ticks pass without runs."),
        Some("resume") => Some("The schedule goes on with its next tick."),
        _ => None,
    };
    let html = page(
        &visitor,
        "schedules.html",
        context! { said, schedules => schedules.iter().map(of).collect::<Vec<_>>() },
    )?;
    Ok(html.into_response())
}

/// What can be done to a schedule: its label, and what it means.
fn deed(action: &str) -> Result<(&'static str, &'static str), Oops> {
    Ok(match action {
        "pause" => (
            "Pause",
            "Its ticks pass without runs. Runs that were started go on.",
        ),
        "resume" => (
            "Resume",
            "It goes on with the next tick. Those that passed meanwhile are not made up for.",
        ),
        "trigger" => (
            "Run now",
            "A run is started now, also while the schedule is paused. It is the run of no tick.",
        ),
        other => {
            return Err(Oops::missing(format!(
                "{other:?} is nothing that can be done to a schedule"
            )));
        }
    })
}

fn asked(name: &str, action: &str) -> Result<Value, Oops> {
    let (label, meaning) = deed(action)?;
    Ok(context! {
        subject => format!("schedule {name}"),
        back => "/schedules",
        address => format!("/schedules/{}/do/{action}", in_path(name, false)),
        deed => action,
        label,
        meaning,
        is_dangerous => false,
        is_simple => true,
    })
}

pub(crate) async fn ask(
    Path((name, action)): Path<(String, String)>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let html = page(
        &visitor,
        "confirm.html",
        context! { layout => layout_of(&query), problem => Option::<Problem>::None, ..asked(&name, &action)? },
    )?;
    Ok(html.into_response())
}

pub(crate) async fn act(
    dashboard: Dashboard,
    Path((name, action)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Oops> {
    let client = dashboard.client();
    let values = asked(&name, &action)?;
    let done = match action.as_str() {
        "pause" => client
            .pause_schedule(&name)
            .await
            .map(|_| "/schedules?done=pause".to_owned()),
        "resume" => client
            .resume_schedule(&name)
            .await
            .map(|_| "/schedules?done=resume".to_owned()),
        _ => client
            .trigger_schedule(&name, Trigger::UnlessActive)
            .await
            .map(|run| format!("/runs/{run}?done=started")),
    };
    match done {
        Ok(to) => Ok(Redirect::to(&to).into_response()),
        Err(error) if is_visitors(&error) => {
            let html = page(
                &posted.visitor,
                "confirm.html",
                context! { layout => "layout.html", problem => Problem::of(&error), ..values },
            )?;
            Ok((status_of(&error), html).into_response())
        }
        Err(error) => Err(error.into()),
    }
}
