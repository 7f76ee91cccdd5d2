//! A client of a server instead of a database: the same calls, asked over the HTTP API. Who carries the requests is handed in ([`Transport`]),
//! since this crate knows no HTTP.
//!
//! Not every call is there: those that look at components or show types need the database itself.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dacapo_model::{Failure, Payload, Rollout, RunExport, RunId, Status, StepKey, Timestamp};
use dacapo_store::{
    Begins, LimitChange, LogLine, OnConflict, QueueChange, Rate, RetentionRule, RetryPlan,
    SteerOutcome, Steered,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::broadcast::SentToMany;
use crate::deployments::{Breaking, Deploy, DeployOutcome};
use crate::going_back::{
    Change, Changed, InBulk, OnDeployment, RerunOptions, SkipOptions, SkippedStep,
};
use crate::list::{ListFilter, Page, RunFilter};
use crate::logs::LogLevel;
use crate::queues::RateForm;
use crate::requests::By;
use crate::run::{Deployment, Run, RunSummary};
use crate::schedules::{Existing, NewSchedule, Trigger, When};
use crate::{ClientError, StartOptions};

/// How long one request waits for the end of a run. The server allows a minute.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What a request of a [`Transport`] comes to.
pub type Carried<'a> = Pin<Box<dyn Future<Output = Result<RemoteAnswer, String>> + Send + 'a>>;

/// Carries requests to a server, and answers back.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request. The error is one sentence for people: why there is no answer.
    fn carry(&self, request: RemoteRequest) -> Carried<'_>;
}

/// A request for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRequest {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// The path below `/api/v1`, with what stands behind the question mark.
    pub path: String,
    /// Who asks, for the record.
    pub by: Option<String>,
    /// The type of the body, if there is one.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What a server said is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteProblem {
    /// The status of the answer.
    pub status: u16,
    /// A word for programs; `other` if this version does not know it.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Asks a server.
#[derive(Debug)]
pub(crate) struct Remote(Box<dyn Transport>);

/// An answer of no interest.
#[derive(Deserialize)]
struct Ignored {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusForm {
    status: Status,
}

impl Remote {
    pub(crate) fn new(transport: Box<dyn Transport>) -> Self {
        Self(transport)
    }

    async fn ask<T: DeserializeOwned>(&self, request: RemoteRequest) -> Result<T, ClientError> {
        let (_, answer) = self.ask_with_status(request).await?;
        Ok(answer)
    }

    async fn ask_with_status<T: DeserializeOwned>(
        &self,
        request: RemoteRequest,
    ) -> Result<(u16, T), ClientError> {
        let answer = self
            .0
            .carry(request)
            .await
            .map_err(ClientError::Unreachable)?;
        if !(200..300).contains(&answer.status) {
            return Err(problem(&answer));
        }
        let value = serde_json::from_slice(&answer.body).map_err(|error| {
            ClientError::Remote(RemoteProblem {
                status: answer.status,
                code: "bad-answer",
                detail: format!("the server's answer cannot be read: {error}"),
                hint: Some("use a command of the server's version".to_owned()),
            })
        })?;
        Ok((answer.status, value))
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, ClientError> {
        self.ask(request("GET", path, None)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: String,
        by: Option<&str>,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Encode {
            what: "a request".to_owned(),
            error,
        })?;
        self.ask(RemoteRequest {
            content_type: Some("application/json".to_owned()),
            body,
            ..request(method, path, by)
        })
        .await
    }

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

    pub(crate) async fn lines(
        &self,
        run: RunId,
        level: LogLevel,
    ) -> Result<Vec<LogLine>, ClientError> {
        #[derive(Deserialize)]
        struct Line {
            at: Timestamp,
            level: String,
            step: Option<String>,
            source: String,
            message: String,
            fields: Option<Payload>,
        }
        let lines: Vec<Line> = self.get(format!("/runs/{run}/logs?level={level}")).await?;
        let line = |line: Line| LogLine {
            at: line.at,
            level: line.level,
            step: line.step,
            source: line.source,
            message: line.message,
            fields: line.fields,
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

    /// What became of a run that was asked to do something.
    pub(crate) async fn steer(
        &self,
        run: RunId,
        what: &str,
        by: By<'_>,
        force: bool,
    ) -> Result<Status, ClientError> {
        let mut body = Map::new();
        if let Some(reason) = by.reason {
            body.insert("reason".to_owned(), json!(reason));
        }
        if force {
            body.insert("force".to_owned(), json!(true));
        }
        let path = format!("/runs/{run}/{what}");
        let done: StatusForm = self.send("POST", path, Some(by.who), &body).await?;
        Ok(done.status)
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

    /// How many runs would be changed.
    pub(crate) async fn count_changes(
        &self,
        filter: &RunFilter,
        change: &Change,
    ) -> Result<u64, ClientError> {
        let (path, mut body) = bulk_form(filter, change)?;
        body.insert("dryRun", raw(&true)?);
        let counted: CountedForm = self.send("POST", path, None, &body).await?;
        Ok(counted.runs)
    }

    pub(crate) async fn change_many(
        &self,
        filter: &RunFilter,
        change: &Change,
        who: &str,
    ) -> Result<InBulk, ClientError> {
        #[derive(Deserialize)]
        struct Refused {
            run: RunId,
            code: String,
            message: String,
        }
        #[derive(Deserialize)]
        struct Done {
            changed: Vec<Changed>,
            refused: Vec<Refused>,
            stopped: Option<ProblemForm>,
        }
        let (path, body) = bulk_form(filter, change)?;
        let done: Done = self.send("POST", path, Some(who), &body).await?;
        let refused = done.refused.into_iter().map(|refused| {
            let problem = RemoteProblem {
                status: 409,
                code: known(&refused.code),
                detail: refused.message,
                hint: None,
            };
            (refused.run, ClientError::Remote(problem))
        });
        Ok(InBulk {
            changed: done.changed,
            refused: refused.collect(),
            stopped: done.stopped.map(ProblemForm::error),
        })
    }

    pub(crate) async fn count_receivers(&self, filter: &RunFilter) -> Result<u64, ClientError> {
        let body: Members = BTreeMap::from([
            ("filter", raw(&filter_form(filter))?),
            ("name", raw(&"counted")?),
            ("dryRun", raw(&true)?),
        ]);
        let path = "/bulk/events".to_owned();
        let counted: CountedForm = self.send("POST", path, None, &body).await?;
        Ok(counted.runs)
    }

    pub(crate) async fn event_to_many(
        &self,
        filter: &RunFilter,
        name: &str,
        payload: &str,
        id: Option<&str>,
    ) -> Result<SentToMany, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Done {
            delivery_id: String,
            sent: u64,
            duplicates: u64,
            refused: u64,
            refusal: Option<ProblemForm>,
            stopped: Option<ProblemForm>,
        }
        let mut body: Members = BTreeMap::from([
            ("filter", raw(&filter_form(filter))?),
            ("name", raw(&name)?),
            ("payload", read(payload, "the payload")?),
        ]);
        if let Some(id) = id {
            body.insert("id", raw(&id)?);
        }
        let path = "/bulk/events".to_owned();
        let done: Done = self.send("POST", path, None, &body).await?;
        Ok(SentToMany {
            delivery_id: done.delivery_id,
            sent: done.sent,
            duplicates: done.duplicates,
            refused: done.refused,
            refusal: done.refusal.map(ProblemForm::error),
            stopped: done.stopped.map(ProblemForm::error),
        })
    }

    /// `pause` or `resume`. The workflow's full name.
    pub(crate) async fn steer_workflow(
        &self,
        name: &str,
        what: &str,
    ) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Paused {
            workflow: String,
        }
        let path = format!("/workflows/{}/{what}", part(name));
        let paused: Paused = self.ask(request("POST", path, None)).await?;
        Ok(paused.workflow)
    }

    pub(crate) async fn paused_workflows(&self) -> Result<Vec<crate::PausedWorkflow>, ClientError> {
        self.get("/paused-workflows".to_owned()).await
    }

    pub(crate) async fn schedules<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        self.get("/schedules".to_owned()).await
    }

    pub(crate) async fn schedule<T: DeserializeOwned>(&self, name: &str) -> Result<T, ClientError> {
        self.get(format!("/schedules/{}", part(name))).await
    }

    /// `pause` or `resume`.
    pub(crate) async fn steer_schedule<T: DeserializeOwned>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<T, ClientError> {
        let path = format!("/schedules/{}/{what}", part(name));
        self.ask(request("POST", path, None)).await
    }

    pub(crate) async fn trigger(&self, name: &str, trigger: Trigger) -> Result<RunId, ClientError> {
        #[derive(Deserialize)]
        struct Triggered {
            run: RunId,
        }
        let body = json!({ "force": trigger == Trigger::Anyway });
        let path = format!("/schedules/{}/trigger", part(name));
        let triggered: Triggered = self.send("POST", path, None, &body).await?;
        Ok(triggered.run)
    }

    pub(crate) async fn backfill<T: DeserializeOwned>(
        &self,
        name: &str,
        from: Timestamp,
        until: Timestamp,
        dry_run: bool,
    ) -> Result<T, ClientError> {
        let body = json!({ "from": from, "until": until, "dryRun": dry_run });
        let path = format!("/schedules/{}/backfill", part(name));
        self.send("POST", path, None, &body).await
    }

    pub(crate) async fn delete_schedule(&self, name: &str) -> Result<(), ClientError> {
        let path = format!("/schedules/{}", part(name));
        let _: Ignored = self.ask(request("DELETE", path, None)).await?;
        Ok(())
    }

    pub(crate) async fn create_schedule<T: DeserializeOwned>(
        &self,
        new: &NewSchedule,
    ) -> Result<T, ClientError> {
        let mut body: Members = BTreeMap::from([
            ("name", raw(&new.name)?),
            ("workflow", raw(&new.workflow)?),
            ("input", read(&new.input, "the input")?),
            ("labels", raw(&new.labels)?),
            ("queue", raw(&new.queue)?),
            ("priority", raw(&new.priority)?),
            ("concurrencyKey", raw(&new.concurrency_key)?),
            ("jitterMs", raw(&millis(new.jitter))?),
            ("overlap", raw(&new.overlap)?),
            ("catchUp", raw(&new.catch_up)?),
            ("paused", raw(&new.paused)?),
        ]);
        match &new.when {
            When::Cron {
                expression,
                time_zone,
            } => {
                body.insert("cron", raw(expression)?);
                body.insert("timeZone", raw(time_zone)?);
            }
            When::Every(every) => {
                body.insert("everySeconds", raw(&every.as_secs())?);
            }
        }
        let (method, path) = match new.existing {
            Existing::Refuse => ("POST", "/schedules".to_owned()),
            Existing::Replace => ("PUT", format!("/schedules/{}", part(&new.name))),
        };
        self.send(method, path, None, &body).await
    }

    pub(crate) async fn queues(&self) -> Result<Vec<crate::Queue>, ClientError> {
        #[derive(Deserialize)]
        struct Queues {
            queues: Vec<crate::Queue>,
        }
        let all: Queues = self.get("/queues".to_owned()).await?;
        Ok(all.queues)
    }

    pub(crate) async fn queue(&self, name: &str) -> Result<crate::Queue, ClientError> {
        self.get(format!("/queues/{}", part(name))).await
    }

    pub(crate) async fn set_queue(
        &self,
        name: &str,
        change: QueueChange,
    ) -> Result<crate::Queue, ClientError> {
        fn put<T>(
            body: &mut Map<String, Value>,
            name: &str,
            change: LimitChange<T>,
            form: impl Fn(T) -> Value,
        ) {
            match change {
                LimitChange::Keep => {}
                LimitChange::Remove => {
                    body.insert(name.to_owned(), Value::Null);
                }
                LimitChange::Set(limit) => {
                    body.insert(name.to_owned(), form(limit));
                }
            }
        }
        let rate = |rate: Rate| json!(RateForm::from(rate));
        let mut body = Map::new();
        put(&mut body, "concurrency", change.concurrency, |runs| {
            json!(runs)
        });
        put(
            &mut body,
            "concurrencyPerKey",
            change.concurrency_per_key,
            |runs| json!(runs),
        );
        put(&mut body, "rate", change.rate, rate);
        put(&mut body, "ratePerKey", change.rate_per_key, rate);
        self.send("PATCH", format!("/queues/{}", part(name)), None, &body)
            .await
    }

    /// `pause` or `resume`.
    pub(crate) async fn steer_queue(&self, name: &str, what: &str) -> Result<(), ClientError> {
        let path = format!("/queues/{}/{what}", part(name));
        let _: Ignored = self.ask(request("POST", path, None)).await?;
        Ok(())
    }

    pub(crate) async fn delete_queue(&self, name: &str) -> Result<(), ClientError> {
        let path = format!("/queues/{}", part(name));
        let _: Ignored = self.ask(request("DELETE", path, None)).await?;
        Ok(())
    }

    pub(crate) async fn standstill(&self) -> Result<Option<crate::Standstill>, ClientError> {
        self.all_paused(request("GET", "/standstill".to_owned(), None))
            .await
    }

    pub(crate) async fn begin_standstill(&self, reason: Option<&str>) -> Result<(), ClientError> {
        let body = json!({ "reason": reason });
        let _: Ignored = self
            .send("PUT", "/standstill".to_owned(), None, &body)
            .await?;
        Ok(())
    }

    pub(crate) async fn end_standstill(&self) -> Result<(), ClientError> {
        self.all_paused(request("DELETE", "/standstill".to_owned(), None))
            .await?;
        Ok(())
    }

    async fn all_paused(
        &self,
        request: RemoteRequest,
    ) -> Result<Option<crate::Standstill>, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct All {
            all_paused: Option<crate::Standstill>,
        }
        let all: All = self.ask(request).await?;
        Ok(all.all_paused)
    }

    pub(crate) async fn retention(&self) -> Result<Vec<RetentionRule>, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Rule {
            workflow: Option<String>,
            status: Option<Status>,
            keep_seconds: Option<u64>,
        }
        let rules: Vec<Rule> = self.get("/retention".to_owned()).await?;
        let rule = |rule: Rule| RetentionRule {
            workflow: rule.workflow,
            status: rule.status,
            keep: rule.keep_seconds.map(Duration::from_secs),
        };
        Ok(rules.into_iter().map(rule).collect())
    }

    pub(crate) async fn set_retention(&self, rule: &RetentionRule) -> Result<(), ClientError> {
        let body = json!({
            "workflow": rule.workflow,
            "status": rule.status,
            "keepSeconds": rule.keep.map(|keep| keep.as_secs()),
        });
        let _: Value = self
            .send("PUT", "/retention".to_owned(), None, &body)
            .await?;
        Ok(())
    }

    /// Whether something was set.
    pub(crate) async fn reset_retention(
        &self,
        workflow: Option<String>,
        status: Option<Status>,
    ) -> Result<bool, ClientError> {
        let before: Value = self.get("/retention".to_owned()).await?;
        let mut query = Vec::new();
        query.extend(workflow.map(|workflow| ("workflow", workflow)));
        query.extend(status.map(|status| ("status", status.to_string())));
        let path = with_query("/retention", &query);
        let after: Value = self.ask(request("DELETE", path, None)).await?;
        Ok(before != after)
    }

    pub(crate) async fn deployments<T: DeserializeOwned>(
        &self,
        package: Option<&str>,
    ) -> Result<T, ClientError> {
        let query: Vec<_> = package
            .map(|package| ("package", package.to_owned()))
            .into_iter()
            .collect();
        self.get(with_query("/deployments", &query)).await
    }

    pub(crate) async fn diff<T: DeserializeOwned>(
        &self,
        package: &str,
        from: i32,
        to: i32,
    ) -> Result<T, ClientError> {
        let package = part(package);
        self.get(format!("/deployments/{package}/diff?from={from}&to={to}"))
            .await
    }

    pub(crate) async fn activate<T: DeserializeOwned>(
        &self,
        package: &str,
        number: i32,
        rollout: Option<&Rollout>,
        breaking: Breaking,
        who: &str,
    ) -> Result<T, ClientError> {
        let mut body = json!({ "allowBreaking": breaking == Breaking::Allow });
        if let Some(rollout) = rollout {
            body["labels"] = json!(rollout.labels);
            if rollout.percent > 0 {
                body["percent"] = json!(rollout.percent);
            }
        }
        let path = format!("/deployments/{}/{number}/activate", part(package));
        self.send("POST", path, Some(who), &body).await
    }

    pub(crate) async fn retire(
        &self,
        package: &str,
        number: i32,
        undo: bool,
        who: &str,
    ) -> Result<SteerOutcome, ClientError> {
        let body = json!({ "undo": undo });
        let path = format!("/deployments/{}/{number}/retire", part(package));
        self.send("POST", path, Some(who), &body).await
    }

    pub(crate) async fn collect<T: DeserializeOwned>(
        &self,
        dry_run: bool,
    ) -> Result<T, ClientError> {
        let body = json!({ "dryRun": dry_run });
        let path = "/collect-deployments".to_owned();
        self.send("POST", path, None, &body).await
    }

    pub(crate) async fn deploy(&self, deploy: &Deploy<'_>) -> Result<DeployOutcome, ClientError> {
        #[derive(Deserialize)]
        struct Deployed {
            number: i32,
            created: bool,
            outcome: Steered,
            before: Option<i32>,
            rollout: Option<Rollout>,
            beside: Option<i32>,
            ended: Option<i32>,
            changes: Vec<dacapo_model::Change>,
        }
        let mut fields = vec![("manifest", raw(deploy.manifest)?.get().to_owned())];
        if let Some(rollout) = &deploy.rollout {
            if rollout.percent > 0 {
                fields.push(("percent", rollout.percent.to_string()));
            }
            let labels = rollout.labels.iter();
            fields.extend(labels.map(|(name, value)| ("label", format!("{name}={value}"))));
        }
        if deploy.breaking == Breaking::Allow {
            fields.push(("allowBreaking", "true".to_owned()));
        }
        // A boundary must not be in what it parts, and nobody can guess this one.
        let boundary = RunId::new().0.simple().to_string();
        let mut body = Vec::with_capacity(deploy.component.len() + (4 << 10));
        for (name, value) in fields {
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(head.as_bytes());
        }
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"component\"; filename=\"component.wasm\"\r\nContent-Type: application/wasm\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(deploy.component);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let deployed: Deployed = self
            .ask(RemoteRequest {
                content_type: Some(format!("multipart/form-data; boundary={boundary}")),
                body,
                ..request("POST", "/deployments".to_owned(), deploy.who)
            })
            .await?;
        Ok(DeployOutcome {
            number: deployed.number,
            created: deployed.created,
            replaces: deployed.before,
            outcome: deployed.outcome,
            is_partial: deployed.rollout.is_some() && deployed.outcome != Steered::Same,
            beside: deployed.beside,
            ended: deployed.ended,
            changes: deployed.changes,
        })
    }
}

#[derive(Deserialize)]
struct CountedForm {
    runs: u64,
}

/// A problem as the server says it.
#[derive(Deserialize)]
struct ProblemForm {
    status: u16,
    code: String,
    detail: String,
    hint: Option<String>,
}

impl ProblemForm {
    fn error(self) -> ClientError {
        ClientError::Remote(RemoteProblem {
            status: self.status,
            code: known(&self.code),
            detail: self.detail,
            hint: self.hint,
        })
    }
}

fn filter_form(filter: &RunFilter) -> Value {
    json!({
        "status": filter.status,
        "workflow": filter.workflow,
        "deployment": filter.deployment,
        "labels": filter.labels,
        "failure": filter.failure,
        "since": filter.created_since,
        "before": filter.created_before,
    })
}

/// Where a change of many runs is asked for, and how.
fn bulk_form(filter: &RunFilter, change: &Change) -> Result<(String, Members), ClientError> {
    let mut body: Members = BTreeMap::from([("filter", raw(&filter_form(filter))?)]);
    let what = match change {
        Change::Rerun(options) => {
            if matches!(options.deployment, OnDeployment::Of(_)) {
                return Err(needs_database("to start runs again on another deployment"));
            }
            let own = options.deployment == OnDeployment::Own;
            body.insert("from", raw(&options.from)?);
            body.insert("sameDeployment", raw(&own)?);
            "rerun"
        }
        Change::Retry => "retry",
        Change::Skip(options) => {
            body.insert("step", raw(&options.step)?);
            if let Some(value) = &options.value {
                body.insert("value", read(value, "the value")?);
            }
            "skip"
        }
    };
    Ok((format!("/bulk/{what}"), body))
}

/// A run that was started, as the server says it.
#[derive(Debug, Deserialize)]
pub(crate) struct StartedForm {
    pub(crate) run: RunId,
    pub(crate) created: bool,
    pub(crate) workflow: String,
    pub(crate) deployment: Deployment,
}

/// Members of a body; JSON that came from elsewhere stays as it was written.
type Members = BTreeMap<&'static str, Box<RawValue>>;

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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, ClientError> {
    serde_json::value::to_raw_value(value).map_err(|error| ClientError::Encode {
        what: "a request".to_owned(),
        error,
    })
}

/// JSON that somebody typed.
fn read(text: &str, what: &str) -> Result<Box<RawValue>, ClientError> {
    serde_json::from_str(text).map_err(|error| ClientError::BadArgument {
        what: "JSON",
        message: format!("{what}: {error}"),
    })
}

/// A run that completed with `null` has an output.
fn whole(mut run: Run) -> Run {
    if run.status == Status::Completed && run.output.is_none() {
        run.output = Some(Payload::null());
    }
    run
}

fn request(method: &'static str, path: String, by: Option<&str>) -> RemoteRequest {
    RemoteRequest {
        method,
        path,
        by: by.map(str::to_owned),
        content_type: None,
        body: Vec::new(),
    }
}

fn query_of(filter: &RunFilter) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    let mut put = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
    put("status", filter.status.map(|status| status.to_string()));
    put("workflow", filter.workflow.clone());
    put(
        "deployment",
        filter.deployment.map(|number| number.to_string()),
    );
    for (name, value) in &filter.labels {
        put("label", Some(format!("{name}={value}")));
    }
    put("failure", filter.failure.clone());
    put("since", filter.created_since.map(|at| at.to_string()));
    put("before", filter.created_before.map(|at| at.to_string()));
    query
}

fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", part(value)))
        .collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

/// A text as a part of a path or a query.
fn part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                part.push(char::from(byte));
            }
            _ => part.push_str(&format!("%{byte:02X}")),
        }
    }
    part
}

/// What the server says is wrong. What callers look for has the form that it has without a server.
fn problem(answer: &RemoteAnswer) -> ClientError {
    #[derive(Deserialize)]
    struct Form {
        code: String,
        detail: String,
        hint: Option<String>,
        run: Option<RunId>,
        index: Option<usize>,
    }
    let Ok(form) = serde_json::from_slice::<Form>(&answer.body) else {
        let text = String::from_utf8_lossy(&answer.body);
        return ClientError::Remote(RemoteProblem {
            status: answer.status,
            code: "bad-answer",
            detail: format!(
                "the server answered {}: {}",
                answer.status,
                text.chars().take(200).collect::<String>()
            ),
            hint: Some("is it a server of dacapo?".to_owned()),
        });
    };
    if let ("run-not-found", Some(run)) = (form.code.as_str(), form.run) {
        return ClientError::RunNotFound(run);
    }
    let error = ClientError::Remote(RemoteProblem {
        status: answer.status,
        code: known(&form.code),
        detail: match form.index {
            // It says so itself.
            Some(index) => form
                .detail
                .strip_prefix(&format!("start {}: ", index + 1))
                .unwrap_or(&form.detail)
                .to_owned(),
            None => form.detail,
        },
        hint: form.hint,
    });
    match form.index {
        Some(index) => error.in_many(index),
        None => error,
    }
}

/// Codes that servers answer; any other one is `other` for this version.
pub const REMOTE_CODES: &[&str] = &[
    "already-so",
    "ambiguous-workflow",
    "bad-argument",
    "bad-component",
    "bad-deployment",
    "bad-event",
    "bad-host",
    "bad-input",
    "bad-manifest",
    "bad-payload",
    "bad-request",
    "breaking",
    "children-ending",
    "component-missing",
    "conflict",
    "cross-site",
    "database",
    "deployment-conflict",
    "deployment-not-found",
    "deployment-retired",
    "forbidden",
    "internal",
    "key-conflict",
    "method-not-allowed",
    "not-found",
    "not-here",
    "not-importable",
    "no-randomness",
    "not-open",
    "nothing-failed",
    "out-of-scope",
    "queue-in-use",
    "queue-not-found",
    "rate-limited",
    "redeployed",
    "run-exists",
    "run-not-found",
    "schedule-busy",
    "schedule-conflict",
    "schedule-exists",
    "schedule-not-found",
    "schema",
    "singleton-taken",
    "step-not-found",
    "timed-out",
    "token-exists",
    "token-not-found",
    "too-large",
    "too-many-streams",
    "unauthenticated",
    "unavailable",
    "unknown-workflow",
    "unsupported-media-type",
    "withheld",
];

fn known(code: &str) -> &'static str {
    REMOTE_CODES
        .iter()
        .copied()
        .find(|known| *known == code)
        .unwrap_or("other")
}

/// What only a database answers.
pub(crate) fn needs_database(what: &str) -> ClientError {
    ClientError::NeedsDatabase(what.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_part_of_a_path_whatever_is_in_it() {
        assert_eq!(part("a:b/c.d e=é"), "a%3Ab%2Fc.d%20e%3D%C3%A9");
        let filter = RunFilter {
            status: Some(Status::Failed),
            labels: BTreeMap::from([("a".to_owned(), "b=c&d".to_owned())]),
            ..RunFilter::default()
        };
        assert_eq!(
            with_query("/runs", &query_of(&filter)),
            "/runs?status=failed&label=a%3Db%3Dc%26d"
        );
    }

    #[test]
    fn a_problem_of_the_server_is_an_error_with_its_code() {
        let answer = |body: &str| RemoteAnswer {
            status: 409,
            body: body.as_bytes().to_vec(),
        };
        let error = problem(&answer(
            r#"{"code": "key-conflict", "detail": "taken", "hint": "h"}"#,
        ));
        assert_eq!(
            (error.code(), error.to_string()),
            ("key-conflict", "taken".to_owned())
        );
        assert_eq!(error.hint().as_deref(), Some("h"));
        let many = r#"{"code": "bad-input", "detail": "start 2: no", "index": 1}"#;
        assert_eq!(problem(&answer(many)).to_string(), "start 2: no");
        assert_eq!(problem(&answer("<html>")).code(), "bad-answer");
    }
}
