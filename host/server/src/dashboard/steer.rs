//! What can be done to a run: each thing is asked for first, with what it takes, and says then what became of it.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use dacapo_client::{
    By, Cancelled, Client, ClientError, Killed, OnDeployment, Paused, RerunOptions, Run,
    SkipOptions, Skipped, Status, StepStatus,
};
use dacapo_model::{Type, Workflow};
use minijinja::{Value, context};
use serde::Serialize;

use super::Dashboard;
use super::error::{Oops, is_visitors, status_of};
use super::fields::{Errors, Field, Fields};
use super::guard::{Posted, Visitor};
use super::page::page;
use super::query::Query;
use super::run::{get, id_of, layout_of};
use super::runs::Problem;

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Pause,
    Resume,
    Cancel,
    Force,
    Event,
    Retry,
    Rerun,
    Skip,
    Note,
}

impl Deed {
    const ALL: [Self; 9] = [
        Self::Retry,
        Self::Resume,
        Self::Event,
        Self::Skip,
        Self::Pause,
        Self::Rerun,
        Self::Note,
        Self::Cancel,
        Self::Force,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Force => "force",
            Self::Event => "event",
            Self::Retry => "retry",
            Self::Rerun => "rerun",
            Self::Skip => "skip",
            Self::Note => "note",
        }
    }

    fn of(name: &str) -> Result<Self, Oops> {
        let found = Self::ALL.into_iter().find(|deed| deed.name() == name);
        found.ok_or_else(|| Oops::missing(format!("{name:?} is nothing that can be done to a run")))
    }

    fn label(self) -> &'static str {
        match self {
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Cancel => "Cancel",
            Self::Force => "End by force",
            Self::Event => "Send event",
            Self::Retry => "Retry",
            Self::Rerun => "Rerun",
            Self::Skip => "Skip",
            Self::Note => "Add note",
        }
    }

    /// What it means, for whoever is asked whether they mean it.
    fn meaning(self) -> &'static str {
        match self {
            Self::Pause => {
                "It stops at its next step or wait, and stays there until somebody resumes it."
            }
            Self::Resume => "It goes on from where it stopped.",
            Self::Cancel => {
                "Its code is told at its next step or wait, and may compensate. Its children are cancelled, too."
            }
            Self::Force => {
                "It ends at once, in the middle of whatever it does. Its code is not asked and cannot compensate."
            }
            Self::Event => {
                "The run takes it when it waits for an event of this name, whether it does so already or not."
            }
            Self::Retry => {
                "It goes on from the step that failed. What was recorded before that stays and is not done again."
            }
            Self::Rerun => "A new run is started with the same input.",
            Self::Skip => {
                "What it waits for gets a result from you, as if it had come, and the run goes on."
            }
            Self::Note => "It is kept with the run, with your name and the time.",
        }
    }

    fn is_dangerous(self) -> bool {
        matches!(self, Self::Cancel | Self::Force)
    }

    /// Whether a run that stands so lets it be done.
    fn fits(self, run: &Run) -> bool {
        use Status::{Blocked, Cancelling, Failed, Paused, Queued, Running, Suspended};
        let status = run.status;
        match self {
            Self::Pause => matches!(status, Queued | Running | Suspended),
            Self::Resume => matches!(status, Paused | Blocked),
            Self::Cancel => !status.is_terminal() && status != Cancelling,
            Self::Force | Self::Event => !status.is_terminal(),
            Self::Retry => status == Failed,
            Self::Rerun => status.is_terminal() || status == Blocked,
            Self::Skip => {
                let waits = |step: &dacapo_client::Step| {
                    matches!(step.status, StepStatus::Waiting | StepStatus::Retrying)
                };
                matches!(status, Suspended | Paused) && run.steps.iter().any(waits)
            }
            Self::Note => true,
        }
    }
}

/// A button of a run's page.
#[derive(Debug, Serialize)]
pub(crate) struct Button {
    name: &'static str,
    label: &'static str,
    is_dangerous: bool,
    is_first: bool,
}

impl Button {
    /// What can be done to a run as it stands.
    pub(crate) fn for_run(run: &Run) -> Vec<Self> {
        let deeds = Deed::ALL.into_iter().filter(|deed| deed.fits(run));
        deeds
            .enumerate()
            .map(|(index, deed)| Self {
                name: deed.name(),
                label: deed.label(),
                is_dangerous: deed.is_dangerous(),
                is_first: index == 0 && matches!(deed, Deed::Retry | Deed::Resume),
            })
            .collect()
    }
}

/// What the run's workflow says of itself, as its own deployment has it.
async fn workflow_of(client: &Client, run: &Run) -> Option<Workflow> {
    let deployment = &run.deployment;
    let details = client
        .deployment(&deployment.package, Some(deployment.number))
        .await
        .ok()?;
    let mut workflows = details.workflows.into_iter();
    let found = workflows.find(|workflow| workflow.name == run.workflow)?;
    Some(found.workflow)
}

/// The event that is asked about: the one named, else the one that the run waits for, else the first that is declared.
fn event_of(run: &Run, workflow: Option<&Workflow>, fields: &Query) -> String {
    if let Some(name) = fields.filled("event") {
        return name.to_owned();
    }
    let waiting = run
        .waiting_for
        .as_ref()
        .and_then(|waiting| waiting.events.first());
    let declared = workflow.and_then(|workflow| workflow.events.first());
    waiting
        .or(declared.map(|event| &event.name))
        .cloned()
        .unwrap_or_default()
}

/// The type of an event's payload, if its workflow declares one.
fn payload_type<'a>(workflow: Option<&'a Workflow>, event: &str) -> Option<&'a Type> {
    let events = &workflow?.events;
    events.iter().find(|known| known.name == event)?.ty.as_ref()
}

/// What the form of a deed holds.
async fn form(
    client: &Client,
    run: &Run,
    deed: Deed,
    fields: &Query,
    errors: &Errors,
) -> Result<Value, Oops> {
    let text = |name: &str| fields.get(name).unwrap_or("").to_owned();
    let mut typed: Option<Field> = None;
    let mut events: Vec<String> = Vec::new();
    let mut event = String::new();
    let mut is_declared = false;
    let mut plan = Value::from(());
    let mut waits: Vec<String> = Vec::new();
    let mut refused: Option<Problem> = None;
    match deed {
        Deed::Event => {
            let workflow = workflow_of(client, run).await;
            event = event_of(run, workflow.as_ref(), fields);
            if let Some(workflow) = &workflow {
                events = workflow.event_names();
                is_declared = !events.is_empty();
            }
            if let Some(ty) = payload_type(workflow.as_ref(), &event) {
                let values = Fields::of(fields);
                typed = Some(Field::new(ty, "payload", "payload", &values, errors));
            }
            if !is_declared && let Some(waiting) = &run.waiting_for {
                events = waiting.events.clone();
            }
        }
        Deed::Retry => match client.plan_retry(run.id).await {
            Ok(found) => {
                let keys = |keys: &[dacapo_model::StepKey]| -> Vec<String> {
                    keys.iter().map(ToString::to_string).collect()
                };
                let removed = found.removed.len();
                plan = context! {
                    opened => keys(&found.opened),
                    removed => keys(&found.removed[..removed.min(20)]),
                    removed_count => removed,
                };
            }
            Err(error) if is_visitors(&error) => refused = Some(Problem::of(&error)),
            Err(error) => return Err(error.into()),
        },
        Deed::Skip => {
            let open = run.steps.iter().filter(|step| {
                matches!(step.status, StepStatus::Waiting | StepStatus::Retrying)
                    && step.kind != dacapo_client::Kind::Fork
            });
            waits = open.map(|step| step.key.to_string()).collect();
        }
        _ => {}
    }
    let step = match fields.filled("step") {
        Some(step) => step.to_owned(),
        None => waits.first().cloned().unwrap_or_default(),
    };
    Ok(context! {
        id => run.id.to_string(),
        workflow => run.workflow,
        status => run.status.as_str(),
        deed => deed.name(),
        label => deed.label(),
        meaning => deed.meaning(),
        is_dangerous => deed.is_dangerous(),
        reason => text("reason"),
        note => text("note"),
        from => text("from"),
        deployment => text("deployment"),
        value => text("value"),
        json => text("json"),
        as_json => fields.get("as") == Some("json"),
        event,
        events,
        is_declared,
        typed,
        plan,
        waits,
        step,
        refused,
    })
}

/// Asks whether it is meant, and for what it takes.
pub(crate) async fn ask(
    dashboard: Dashboard,
    Path((id, action)): Path<(String, String)>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let deed = Deed::of(&action)?;
    let client = dashboard.client();
    let run = get(client, &id).await?;
    let values = form(client, &run, deed, &query, &Errors::default()).await?;
    let html = page(
        &visitor,
        template(deed),
        context! { layout => layout_of(&query), problem => Option::<Problem>::None, ..values },
    )?;
    Ok(html.into_response())
}

fn template(deed: Deed) -> &'static str {
    match deed {
        Deed::Event => "event.html",
        _ => "confirm.html",
    }
}

/// Does it.
pub(crate) async fn act(
    dashboard: Dashboard,
    Path((id, action)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Oops> {
    let deed = Deed::of(&action)?;
    let client = dashboard.client();
    let fields = &posted.fields;
    // A change of the form is no deed: another event, one more part of a list.
    if fields.get("change").is_some() {
        let run = get(client, &id).await?;
        let changed = Fields::changed(fields);
        let values = form(client, &run, deed, &changed, &Errors::default()).await?;
        let html = page(
            &posted.visitor,
            template(deed),
            context! { layout => layout_of(fields), problem => Option::<Problem>::None, ..values },
        )?;
        return Ok(html.into_response());
    }
    match done(client, &id, deed, fields, posted.visitor.who()).await {
        Ok((run, word)) => Ok(Redirect::to(&format!("/runs/{run}?done={word}")).into_response()),
        Err(Oops::Client(error)) if is_visitors(&error) => {
            let Ok(run) = get(client, &id).await else {
                return Err(Oops::Client(error));
            };
            // A form in a dialog is sent as any other: its answer takes the place of the page.
            let errors = Errors::of(&error);
            let values = form(client, &run, deed, fields, &errors).await?;
            let html = page(
                &posted.visitor,
                template(deed),
                context! { layout => "layout.html", problem => Problem::of(&error), ..values },
            )?;
            let status: StatusCode = status_of(&error);
            Ok((status, html).into_response())
        }
        Err(error) => Err(error),
    }
}

/// The run to look at then, and the word for what became of it.
async fn done(
    client: &Client,
    id: &str,
    deed: Deed,
    fields: &Query,
    who: &str,
) -> Result<(String, &'static str), Oops> {
    let run = id_of(id)?;
    let by = By {
        who,
        reason: fields.filled("reason"),
    };
    let word = match deed {
        Deed::Pause => match client.pause_by(run, by).await? {
            Paused::Now => "paused",
            Paused::Requested => "pause-told",
        },
        Deed::Resume => {
            client.resume_by(run, by).await?;
            "resumed"
        }
        Deed::Cancel => match client.cancel_by(run, by).await? {
            Cancelled::Now => "cancelled",
            Cancelled::Requested => "cancel-told",
        },
        Deed::Force => match client.kill_by(run, by).await? {
            Killed::Now => "ended",
            Killed::Requested => "end-told",
        },
        Deed::Event => {
            let name = fields.filled("event").unwrap_or("");
            let payload = event_payload(client, id, name, fields).await?;
            let key = fields.filled("delivery");
            client.send_event(run, name, &payload, key).await?;
            "sent"
        }
        Deed::Retry => {
            client.retry(run, who).await?;
            "retried"
        }
        Deed::Rerun => {
            let options = RerunOptions {
                from: fields.filled("from").map(str::to_owned),
                deployment: match fields.get("deployment") {
                    Some("own") => OnDeployment::Own,
                    _ => OnDeployment::Active,
                },
            };
            let new = client.rerun(run, &options, who).await?;
            return Ok((new.to_string(), "rerun"));
        }
        Deed::Skip => {
            let options = SkipOptions {
                step: fields.filled("step").map(str::to_owned),
                value: fields.filled("value").map(str::to_owned),
            };
            match client.skip(run, &options, who).await?.skipped {
                Skipped::GoesOn => "skipped",
                Skipped::StaysPaused => "skipped-paused",
            }
        }
        Deed::Note => {
            client
                .note(run, fields.get("note").unwrap_or(""), who)
                .await?;
            "noted"
        }
    };
    Ok((run.to_string(), word))
}

/// What the form says of an event's payload: its fields where it has a type, else JSON.
async fn event_payload(
    client: &Client,
    id: &str,
    event: &str,
    fields: &Query,
) -> Result<String, Oops> {
    if let Some(json) = fields.filled("json") {
        return Ok(json.to_owned());
    }
    let run = get(client, id).await?;
    let workflow = workflow_of(client, &run).await;
    Ok(match payload_type(workflow.as_ref(), event) {
        Some(ty) => Fields::of(fields).to_json(ty, "payload"),
        None => "null".to_owned(),
    })
}

/// What the client says of a payload that is not of its type.
pub(crate) fn lines_of(error: &ClientError) -> String {
    match error {
        ClientError::BadInput { error, .. } => error.to_string(),
        ClientError::BadEvent { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}
