//! Runs: finding, starting and steering one.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_model::{Failure, Payload, RunExport, RunId, Status, StepKey, Timestamp};
use dacapo_store::{Begins, LogLine, OnConflict, Request, Requested, RetryPlan};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Ignored, Members, Remote, StatusForm, WAIT_MAX, millis, needs_database, query_of, raw, read,
    with_query,
};
use crate::going_back::{OnDeployment, RerunOptions, SkipOptions, SkippedStep};
use crate::list::{ListFilter, Page, RunFilter};
use crate::logs::LogLevel;
use crate::requests::By;
use crate::run::{Deployment, Run, RunSummary};
use crate::{ClientError, StartOptions};

impl Remote {
    pub(crate) async fn list(&self, filter: &ListFilter) -> Result<Page<RunSummary>, ClientError> {
        let mut query = query_of(&filter.runs);
        query.push(("limit", filter.limit.to_string()));
        query.extend(filter.after.map(|place| ("cursor", place.to_string())));
        query.extend(filter.before.map(|place| ("backFrom", place.to_string())));
        self.get(with_query("/runs", &query)).await
    }

    pub(crate) async fn count(
        &self,
        filter: &RunFilter,
    ) -> Result<BTreeMap<Status, u64>, ClientError> {
        self.get(with_query("/runs/count", &query_of(filter))).await
    }

    pub(crate) async fn run(&self, run: RunId) -> Result<Run, ClientError> {
        Ok(whole(self.get(format!("/runs/{run}")).await?))
    }

    pub(crate) async fn progress(&self, run: RunId) -> Result<crate::Progress, ClientError> {
        self.get(format!("/runs/{run}/progress")).await
    }

    /// Waits until the run has ended, asking again and again.
    pub(crate) async fn wait(
        &self,
        run: RunId,
        patience: Option<Duration>,
    ) -> Result<Run, ClientError> {
        let began = Instant::now();
        loop {
            let left = patience.map(|patience| patience.saturating_sub(began.elapsed()));
            let time = left.unwrap_or(WAIT_MAX).min(WAIT_MAX);
            let path = format!("/runs/{run}/wait?timeoutMs={}", time.as_millis());
            let shown: Run = self.get(path).await?;
            if shown.status.is_terminal() {
                return Ok(whole(shown));
            }
            if let Some(patience) = patience
                && began.elapsed() >= patience
            {
                return Err(ClientError::WaitTimedOut {
                    run,
                    status: shown.status,
                    waited: patience,
                });
            }
        }
    }

    /// A page of a log: the lines behind the one with an id, each with its own.
    pub(crate) async fn lines(
        &self,
        run: RunId,
        level: LogLevel,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<(Uuid, LogLine)>, ClientError> {
        #[derive(Deserialize)]
        struct Line {
            id: Uuid,
            at: Timestamp,
            level: String,
            step: Option<String>,
            source: String,
            message: String,
            fields: Option<Payload>,
        }
        let mut query = vec![("level", level.to_string()), ("limit", limit.to_string())];
        query.extend(after.map(|id| ("after", id.to_string())));
        let path = with_query(&format!("/runs/{run}/logs"), &query);
        let lines: Vec<Line> = self.get(path).await?;
        let line = |line: Line| {
            let id = line.id;
            let line = LogLine {
                at: line.at,
                level: line.level,
                step: line.step,
                source: line.source,
                message: line.message,
                fields: line.fields,
            };
            (id, line)
        };
        Ok(lines.into_iter().map(line).collect())
    }

    pub(crate) async fn start(
        &self,
        workflow: &str,
        input: &str,
        options: &StartOptions,
    ) -> Result<StartedForm, ClientError> {
        let mut body = start_form(input, options)?;
        body.insert("workflow", raw(&workflow)?);
        self.send("POST", "/runs".to_owned(), None, &body).await
    }

    pub(crate) async fn start_many(
        &self,
        workflow: &str,
        starts: &[(&str, &StartOptions)],
    ) -> Result<Vec<StartedForm>, ClientError> {
        let starts: Vec<_> = starts
            .iter()
            .map(|(input, options)| start_form(input, options))
            .collect::<Result<_, _>>()?;
        let body = Batch { workflow, starts };
        self.send("POST", "/runs/batch".to_owned(), None, &body)
            .await
    }

    /// Whether the event had been received before.
    pub(crate) async fn event(
        &self,
        run: RunId,
        name: &str,
        payload: &str,
        id: Option<&str>,
    ) -> Result<bool, ClientError> {
        #[derive(Deserialize)]
        struct Sent {
            duplicate: bool,
        }
        let mut body: Members = BTreeMap::from([("name", raw(&name)?)]);
        body.insert("payload", read(payload, "the payload")?);
        if let Some(id) = id {
            body.insert("id", raw(&id)?);
        }
        let sent: Sent = self
            .send("POST", format!("/runs/{run}/events"), None, &body)
            .await?;
        Ok(sent.duplicate)
    }

    /// Asks a run to do something; whether it has done so already.
    pub(crate) async fn request(
        &self,
        run: RunId,
        request: Request,
        by: Option<By<'_>>,
    ) -> Result<Requested, ClientError> {
        let (what, force, now) = match request {
            Request::Pause => ("pause", false, Status::Paused),
            Request::Resume => ("resume", false, Status::Queued),
            Request::Cancel => ("cancel", false, Status::Cancelled),
            Request::ForceCancel => ("cancel", true, Status::Cancelled),
        };
        let mut body = Map::new();
        if let Some(reason) = by.and_then(|by| by.reason) {
            body.insert("reason".to_owned(), json!(reason));
        }
        if force {
            body.insert("force".to_owned(), json!(true));
        }
        let path = format!("/runs/{run}/{what}");
        let who = by.map(|by| by.who);
        let done: StatusForm = self.send("POST", path, who, &body).await?;
        Ok(match done.status == now {
            true => Requested::Now,
            false => Requested::Told,
        })
    }

    pub(crate) async fn rerun(
        &self,
        run: RunId,
        options: &RerunOptions,
        who: &str,
    ) -> Result<RunId, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Again {
            new_run: RunId,
        }
        if matches!(options.deployment, OnDeployment::Of(_)) {
            return Err(needs_database("to start a run again on another deployment"));
        }
        let body = json!({
            "from": options.from,
            "sameDeployment": options.deployment == OnDeployment::Own,
        });
        let path = format!("/runs/{run}/rerun");
        let again: Again = self.send("POST", path, Some(who), &body).await?;
        Ok(again.new_run)
    }

    pub(crate) async fn retry(
        &self,
        run: RunId,
        dry_run: bool,
        who: Option<&str>,
    ) -> Result<RetryPlan, ClientError> {
        #[derive(Deserialize)]
        struct Plan {
            opened: Vec<StepKey>,
            removed: Vec<StepKey>,
        }
        let body = json!({ "dryRun": dry_run });
        let path = format!("/runs/{run}/retry");
        let plan: Plan = self.send("POST", path, who, &body).await?;
        Ok(RetryPlan {
            opened: plan.opened,
            removed: plan.removed,
        })
    }

    pub(crate) async fn skip(
        &self,
        run: RunId,
        options: &SkipOptions,
        who: &str,
    ) -> Result<SkippedStep, ClientError> {
        #[derive(Deserialize)]
        struct Skipped {
            step: StepKey,
            status: Status,
        }
        let mut body = Members::new();
        if let Some(step) = &options.step {
            body.insert("step", raw(step)?);
        }
        if let Some(value) = &options.value {
            body.insert("value", read(value, "the value")?);
        }
        let path = format!("/runs/{run}/skip");
        let done: Skipped = self.send("POST", path, Some(who), &body).await?;
        Ok(SkippedStep {
            step: done.step,
            skipped: match done.status {
                Status::Paused => dacapo_store::Skipped::StaysPaused,
                _ => dacapo_store::Skipped::GoesOn,
            },
        })
    }

    pub(crate) async fn note(&self, run: RunId, text: &str, who: &str) -> Result<(), ClientError> {
        let body = json!({ "text": text });
        let path = format!("/runs/{run}/notes");
        let _: Ignored = self.send("POST", path, Some(who), &body).await?;
        Ok(())
    }

    pub(crate) async fn export(
        &self,
        run: RunId,
        with_log: bool,
    ) -> Result<RunExport, ClientError> {
        let path = format!("/runs/{run}/export?log={with_log}");
        let text: Box<RawValue> = self.get(path).await?;
        Ok(RunExport::from_json(text.get())?)
    }

    pub(crate) async fn import(&self, export: &RunExport, who: &str) -> Result<(), ClientError> {
        let path = "/runs/import".to_owned();
        let _: Ignored = self.send("POST", path, Some(who), export).await?;
        Ok(())
    }
}

/// A run that was started, as the server says it.
#[derive(Debug, Deserialize)]
pub(crate) struct StartedForm {
    pub(crate) run: RunId,
    pub(crate) created: bool,
    pub(crate) workflow: String,
    pub(crate) deployment: Deployment,
}

#[derive(Serialize)]
struct Batch<'a> {
    workflow: &'a str,
    starts: Vec<Members>,
}

fn start_form(input: &str, options: &StartOptions) -> Result<Members, ClientError> {
    let mut body: Members = BTreeMap::from([("input", read(input, "the input")?)]);
    let mut put = |name, value: Option<Value>| -> Result<(), ClientError> {
        if let Some(value) = value {
            body.insert(name, raw(&value)?);
        }
        Ok(())
    };
    put("key", options.key.as_ref().map(|key| json!(key)))?;
    put("labels", Some(json!(options.labels)))?;
    let deadline = options.deadline.map(|deadline| json!(millis(deadline)));
    put("deadlineMs", deadline)?;
    put("queue", options.queue.as_ref().map(|queue| json!(queue)))?;
    put("priority", options.priority.map(|priority| json!(priority)))?;
    let key = options.concurrency_key.as_ref();
    put("concurrencyKey", key.map(|key| json!(key)))?;
    match options.begins {
        Begins::Now => {}
        Begins::After(delay) => put("delayMs", Some(json!(millis(delay))))?,
        Begins::At(at) => put("beginAt", Some(json!(at)))?,
    }
    let singleton = options.singleton.as_ref().map(|singleton| {
        let on_conflict = match singleton.on_conflict {
            OnConflict::Reject => "reject",
            OnConflict::Queue => "queue",
            OnConflict::Replace => "replace",
        };
        json!({ "key": singleton.key, "onConflict": on_conflict })
    });
    put("singleton", singleton)?;
    let debounce = options.debounce.as_ref().map(|debounce| {
        json!({
            "key": debounce.key,
            "quietMs": millis(debounce.quiet),
            "atMostMs": debounce.at_most.map(millis),
        })
    });
    put("debounce", debounce)?;
    Ok(body)
}

/// A run that completed with `null` has an output.
fn whole(mut run: Run) -> Run {
    if run.status == Status::Completed && run.output.is_none() {
        run.output = Some(Payload::null());
    }
    run
}

/// What became of a run, in the words of a client that waits for its output.
pub(crate) fn output_of(run: Run) -> Result<Payload, ClientError> {
    let failure = |failure: Option<Failure>| failure.map(Box::new);
    match (run.status, run.output, run.failure) {
        (Status::Completed, Some(output), _) => Ok(output),
        (Status::Failed, _, Some(failure)) => Err(ClientError::Failed {
            run: run.id,
            failure: Box::new(failure),
        }),
        (_, _, other) => Err(ClientError::RunCancelled {
            run: run.id,
            failure: failure(other),
        }),
    }
}
