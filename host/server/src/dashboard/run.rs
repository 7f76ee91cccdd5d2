//! One run: what became of it, as a time line, with what can be done to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use dacapo_client::{Client, ClientError, Failure, Run, RunId, Status, Step, StepOutcome, Watched};
use minijinja::{Value, context};
use serde::Serialize;

use super::Dashboard;
use super::error::Oops;
use super::guard::Visitor;
use super::json_view;
use super::page::{now, page};
use super::query::Query;
use super::runs::{Again, message_of, millis, waiting_text};
use super::steer::Button;
use super::timeline::{Lengths, TimeLine};

/// Steps of a child that are shown within its parent.
const CHILD_ROWS: usize = 50;

/// A look counts all entries of a journal: a page rests at least a second for so many.
const ENTRIES_PER_SECOND: usize = 5_000;

/// The longest rest for that, in seconds.
const REST_MAX: u32 = 30;

/// Lines of a backtrace.
const BACKTRACE_MAX: usize = 100;

/// What went wrong.
#[derive(Debug, Serialize)]
pub(crate) struct FailureView {
    code: String,
    message: String,
    retryable: bool,
    /// The step that it happened in, if it says so.
    step: Option<String>,
    backtrace: Vec<String>,
    /// Whatever else it says.
    details: Option<Value>,
}

impl FailureView {
    pub(crate) fn of(failure: &Failure) -> Self {
        let details = failure.details.as_ref().map(|details| details.as_str());
        let read: Option<serde_json::Value> =
            details.and_then(|text| serde_json::from_str(text).ok());
        let backtrace: Vec<String> = read
            .as_ref()
            .and_then(|details| details.get("backtrace")?.as_array())
            .map(|lines| {
                let lines = lines.iter().filter_map(|line| line.as_str());
                lines.take(BACKTRACE_MAX).map(str::to_owned).collect()
            })
            .unwrap_or_default();
        let step = read
            .as_ref()
            .and_then(|details| details.get("step")?.as_str())
            .map(str::to_owned);
        let says_more = backtrace.is_empty()
            || read
                .as_ref()
                .and_then(serde_json::Value::as_object)
                .is_some_and(|members| {
                    members
                        .keys()
                        .any(|name| name != "backtrace" && name != "step")
                });
        Self {
            code: failure.code.clone(),
            message: failure.message.clone(),
            retryable: failure.retryable,
            step,
            backtrace,
            details: details.filter(|_| says_more).map(json_view::html),
        }
    }
}

#[derive(Debug, Serialize)]
struct InterventionView {
    at: String,
    action: String,
    who: String,
    details: Option<Value>,
    /// What somebody noted, or the reason that they gave.
    text: Option<String>,
    /// The other run that it is about.
    other: Option<String>,
}

/// The run that an address names.
pub(crate) fn id_of(text: &str) -> Result<RunId, Oops> {
    text.parse()
        .map_err(|_| Oops::missing(format!("{text:?} is no id of a run")))
}

pub(crate) async fn get(client: &Client, text: &str) -> Result<Run, Oops> {
    Ok(client.get(id_of(text)?).await?)
}

/// What of it a visitor would see change.
fn seen(run: &Run) -> String {
    let mut hasher = DefaultHasher::new();
    run.status.as_str().hash(&mut hasher);
    run.progress.done.hash(&mut hasher);
    run.progress.note.hash(&mut hasher);
    run.interventions.len().hash(&mut hasher);
    run.steps.len().hash(&mut hasher);
    if let Some(waiting) = &run.waiting_for {
        waiting.reason.hash(&mut hasher);
    }
    for step in &run.steps {
        (
            step.status.as_str(),
            step.attempts,
            step.failed_attempts.len(),
        )
            .hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// What all templates of a run are told.
fn values(run: &Run, line: &TimeLine, query: &Query) -> Value {
    let is_over = run.status.is_terminal();
    let time = now();
    let end = run.finished_at.unwrap_or(time);
    let interventions: Vec<InterventionView> = run
        .interventions
        .iter()
        .map(|one| {
            let details: Option<serde_json::Value> =
                serde_json::from_str(one.details.as_str()).ok();
            let text = |name: &str| {
                let value = details.as_ref()?.get(name)?.as_str()?;
                Some(value.to_owned())
            };
            let is_plain = matches!(
                one.action.as_str(),
                "note" | "pause" | "resume" | "cancel" | "force-cancel"
            );
            InterventionView {
                at: one.at.to_string(),
                action: one.action.clone(),
                who: one.who.clone(),
                text: text("text").or_else(|| text("reason")),
                other: text("run").filter(|id| id.parse::<RunId>().is_ok()),
                details: (!is_plain).then(|| json_view::html(one.details.as_str())),
            }
        })
        .collect();
    let waiting = run.waiting_for.as_ref().map(|waiting| {
        context! {
            text => waiting_text(&waiting.reason, &waiting.events),
            events => waiting.events,
            wake_at => waiting.wake_at.map(|at| at.to_string()),
        }
    });
    let blocked = run.blocked.as_ref().map(|blocked| {
        context! {
            message => message_of(blocked.as_str()),
            details => json_view::html(blocked.as_str()),
        }
    });
    let done = run
        .steps
        .iter()
        .filter(|step| step.outcome.is_some())
        .count();
    context! {
        id => run.id.to_string(),
        workflow => run.workflow,
        package => run.deployment.package,
        number => run.deployment.number,
        status => run.status.as_str(),
        is_over,
        labels => run.labels.iter().collect::<Vec<_>>(),
        created_at => run.created_at.to_string(),
        started_at => run.started_at.map(|at| at.to_string()),
        finished_at => run.finished_at.map(|at| at.to_string()),
        deadline => run.deadline.map(|at| at.to_string()),
        took => millis(run.started_at.unwrap_or(run.created_at), end),
        parent => run.parent.map(|id| id.to_string()),
        queue => run.queue,
        priority => run.priority,
        concurrency_key => run.concurrency_key,
        said_total => run.progress.total,
        said_done => run.progress.done,
        said_note => run.progress.note,
        steps_done => done,
        waiting,
        blocked,
        failure => run.failure.as_ref().map(FailureView::of),
        input => json_view::html(run.input.as_str()),
        output => run.output.as_ref().map(|output| json_view::html(output.as_str())),
        interventions,
        buttons => Button::for_run(run),
        line,
        page => line.page,
        scale => line.scale,
        asked_page => query.get("page").unwrap_or(""),
    }
}

fn line_of(run: &Run, query: &Query) -> TimeLine {
    let asked = query.get("page").and_then(|text| text.parse().ok());
    TimeLine::of(run, now(), asked, Lengths::of(query.get("scale")))
}

/// What was just done, in words, if the address says so.
fn said(query: &Query) -> Option<&'static str> {
    Some(match query.get("done")? {
        "started" => "The run was started.",
        "existing" => "There was a run with this key already: this one.",
        "paused" => "The run was paused.",
        "pause-told" => "The run will pause at its next step or wait.",
        "resumed" => "The run goes on.",
        "cancelled" => "The run was cancelled.",
        "cancel-told" => "The run was told to end. Its code may compensate first.",
        "ended" => "The run was ended by force.",
        "end-told" => "The run's worker was told to end it.",
        "sent" => "The event was sent.",
        "retried" => "The run goes on from where it failed.",
        "rerun" => "This run was started as the other one was.",
        "skipped" => "That was finished in its place, and the run goes on.",
        "skipped-paused" => "That was finished in its place. The run is paused still.",
        "noted" => "The note is kept with the run.",
        _ => return None,
    })
}

/// The page.
pub(crate) async fn show(
    dashboard: Dashboard,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let run = get(dashboard.client(), &id).await?;
    let line = line_of(&run, &query);
    let html = page(
        &visitor,
        "run.html",
        context! {
            said => said(&query),
            seen => seen(&run),
            quiet => 0,
            every => 2,
            ..values(&run, &line, &query)
        },
    )?;
    Ok(html.into_response())
}

/// What has changed of the page, if anything has, and when to ask again: not at all once the run is over and that has been shown. Of the
/// journal only what may have changed since the last look is read.
pub(crate) async fn live(
    dashboard: Dashboard,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let client = dashboard.client();
    let id = id_of(&id)?;
    let look = |before: Option<Arc<Watched>>| async move {
        match before {
            Some(before) => client.watch_again(Arc::unwrap_or_clone(before)).await,
            None => client.watch(id).await,
        }
    };
    let kept = &dashboard.moments.runs;
    let watched = kept.get_after(&id.to_string(), look).await?;
    let run = watched.run();
    let seen = seen(run);
    let again = Again::after(&query, &seen);
    let rest = u32::try_from(run.steps.len() / ENTRIES_PER_SECOND).unwrap_or(REST_MAX);
    let poll = context! {
        id => run.id.to_string(),
        is_over => run.status.is_terminal(),
        asked_page => query.get("page").unwrap_or(""),
        scale => Lengths::of(query.get("scale")).as_str(),
        seen,
        quiet => again.quiet,
        every => again.every.max(rest.min(REST_MAX)),
        is_changed => again.is_changed,
        said => Option::<&str>::None,
    };
    let values = match again.is_changed {
        true => context! { ..poll, ..values(run, &line_of(run, &query), &query) },
        // Nothing of it would be shown.
        false => poll,
    };
    let html = page(&visitor, "run_live.html", values)?;
    Ok(html.into_response())
}

/// A child as its parent's time line shows it.
pub(crate) async fn brief(
    dashboard: Dashboard,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let run = get(dashboard.client(), &id).await?;
    let mut line = TimeLine::of(&run, now(), Some(1), Lengths::True);
    line.rows.truncate(CHILD_ROWS);
    let shown = line.rows.len();
    let html = page(
        &visitor,
        "timeline.html",
        context! {
            is_child => true,
            shown,
            ..values(&run, &line, &query)
        },
    )?;
    Ok(html.into_response())
}

#[derive(Debug, Serialize)]
struct AttemptView {
    number: u32,
    started_at: String,
    took: i64,
    worker: String,
    failure: FailureView,
}

/// One step: a part of the page, or a page of its own where there is no script.
pub(crate) async fn step(
    dashboard: Dashboard,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let run = get(dashboard.client(), &id).await?;
    let key = query.get("key").unwrap_or("");
    let missing = || ClientError::StepNotFound {
        run: run.id,
        step: key.to_owned(),
        there: Vec::new(),
    };
    let (row, at_page) = TimeLine::row_of(&run, now(), key).ok_or_else(missing)?;
    let step = run.steps.iter().find(|step| step.key.as_str() == key);
    let html = page(
        &visitor,
        "step.html",
        context! {
            layout => layout_of(&query),
            is_part => query.get("part").is_some(),
            id => run.id.to_string(),
            status => run.status.as_str(),
            is_over => run.status.is_terminal(),
            can_rerun => run.status.is_terminal() || run.status == Status::Blocked,
            is_recorded => step.is_some(),
            at_page,
            row,
            ..step.map_or_else(|| context! {
                attempts => Vec::<AttemptView>::new(),
                output => Option::<Value>::None,
                failure => Option::<FailureView>::None,
                started_at => Option::<String>::None,
                finished_at => Option::<String>::None,
                can_skip => false,
            }, |step| step_values(&run, step))
        },
    )?;
    Ok(html.into_response())
}

fn step_values(run: &Run, step: &Step) -> Value {
    let attempts: Vec<AttemptView> = step
        .failed_attempts
        .iter()
        .map(|attempt| AttemptView {
            number: attempt.number,
            started_at: attempt.started_at.to_string(),
            took: millis(attempt.started_at, attempt.finished_at),
            worker: attempt.worker.clone(),
            failure: FailureView::of(&attempt.failure),
        })
        .collect();
    // The last attempt's failure is the step's.
    let failure = match &step.outcome {
        Some(StepOutcome::Failed(failure))
            if !step
                .failed_attempts
                .last()
                .is_some_and(|last| last.failure == *failure) =>
        {
            Some(FailureView::of(failure))
        }
        _ => None,
    };
    let output = match &step.outcome {
        Some(StepOutcome::Ok(payload)) => Some(json_view::html(payload.as_str())),
        _ => None,
    };
    context! {
        attempts,
        output,
        failure,
        started_at => step.started_at.to_string(),
        finished_at => step.finished_at.map(|at| at.to_string()),
        can_skip => step.outcome.is_none() && !run.status.is_terminal(),
    }
}

/// Parts of a page come without what surrounds it.
pub(crate) fn layout_of(query: &Query) -> &'static str {
    match query.get("part") {
        Some(_) => "bare.html",
        None => "layout.html",
    }
}

/// A payload as it is, byte for byte: `of=input`, `output`, `failure`, or `step` with its `key`.
pub(crate) async fn json(
    dashboard: Dashboard,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Oops> {
    let run = get(dashboard.client(), &id).await?;
    let of_step = || {
        let key = query.get("key")?;
        let step = run.steps.iter().find(|step| step.key.as_str() == key)?;
        match step.outcome.as_ref()? {
            StepOutcome::Ok(payload) => Some(payload.as_str().to_owned()),
            StepOutcome::Failed(failure) => Some(failure.to_json()),
            StepOutcome::TimedOut | StepOutcome::Cancelled => None,
        }
    };
    let text = match query.get("of") {
        Some("input") => Some(run.input.as_str().to_owned()),
        Some("output") => run.output.as_ref().map(|output| output.as_str().to_owned()),
        Some("failure") => run.failure.as_ref().map(Failure::to_json),
        _ => of_step(),
    };
    let text = text.ok_or_else(|| Oops::missing("the run has nothing like that"))?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_DISPOSITION, "attachment; filename=\"payload.json\""),
    ];
    Ok((headers, text).into_response())
}
