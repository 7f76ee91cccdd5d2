//! A run as a file: all that is known of it, for another database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, present};
use crate::id::RunId;
use crate::journal::{Kind, Outcome, Recorded, RecordedState};
use crate::key::StepKey;
use crate::payload::Payload;
use crate::secret_fields::SecretFields;
use crate::status::Status;
use crate::time::Timestamp;

/// What such a file calls itself.
const FORMAT: &str = "dacapo-run";

/// The version of the form that this code writes, and the only one that it reads.
const VERSION: u32 = 1;

/// A run with its journal, as it stands in a file. In JSON; payloads stand inline, without white space around them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunExport {
    format: String,
    version: u32,
    /// Whether what is secret was left out.
    #[serde(default, skip_serializing_if = "is_false")]
    redacted: bool,
    /// When it was written.
    pub exported_at: Timestamp,
    /// The code that it runs on.
    pub deployment: ExportedDeployment,
    /// The run.
    pub run: ExportedRun,
    /// Its journal, by position.
    pub journal: Vec<ExportedStep>,
    /// The events that it was sent, in the order in which they were received.
    pub events: Vec<ExportedEvent>,
    /// What people did to it.
    pub interventions: Vec<ExportedIntervention>,
    /// The lines of its log, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<ExportedLine>>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The code of an exported run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedDeployment {
    /// Its package.
    pub package: String,
    /// Its number within the package, in the database that the run comes from.
    pub number: i32,
    /// SHA-256 of the component's bytes, in hex.
    pub digest: String,
}

/// An exported run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedRun {
    /// Its id.
    pub id: RunId,
    /// Full name of its workflow.
    pub workflow: String,
    /// What it was doing.
    pub status: Status,
    /// What it was started with.
    pub input: Payload,
    /// What it returned.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub output: Option<Payload>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When a worker first took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When it is ended if it has not ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When somebody asked to cancel it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Timestamp>,
    /// The run from whose journal it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ExportedOrigin>,
    /// How far it is, as its code said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ExportedProgress>,
}

/// How far an exported run is, as its code said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedProgress {
    /// What is done.
    pub done: i64,
    /// All that there is to do.
    pub total: i64,
    /// Something for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When that was said.
    pub at: Timestamp,
}

/// The run from whose journal another one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedOrigin {
    /// Its id.
    pub id: RunId,
    /// When it was started.
    pub created_at: Timestamp,
}

/// A row of an exported journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedStep {
    /// Its key.
    pub key: StepKey,
    /// Its place in the journal.
    pub position: i32,
    /// What it is.
    pub kind: Kind,
    /// `ok`, `failed`, `timed-out` or `cancelled`; none while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The value when the outcome is `ok`, the failure when it is `failed`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub payload: Option<Payload>,
    /// When it is over by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When it was first reached.
    pub started_at: Timestamp,
    /// When it came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Its attempts that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<ExportedAttempt>,
}

impl ExportedStep {
    fn recorded(&self) -> Result<Recorded, ExportError> {
        let damaged = |what: &str| ExportError::Damaged(format!("{}: {what}", self.key));
        let payload = || {
            self.payload
                .clone()
                .ok_or_else(|| damaged("a payload is missing"))
        };
        let outcome = match self.outcome.as_deref() {
            None => None,
            Some("ok") => Some(Outcome::Ok(payload()?)),
            Some("failed") => {
                let failure = Failure::from_json(payload()?.as_str());
                Some(Outcome::Failed(
                    failure.map_err(|error| damaged(&error.to_string()))?,
                ))
            }
            Some("timed-out") => Some(Outcome::TimedOut),
            Some(_) => Some(Outcome::Cancelled),
        };
        let state = match outcome {
            Some(outcome) => RecordedState::Done {
                outcome,
                finished_at: self.finished_at.unwrap_or(self.started_at),
            },
            None => RecordedState::Open {
                due: self.due,
                failed_attempts: u32::try_from(self.failed_attempts.len()).unwrap_or(u32::MAX),
                plan: self.payload.clone(),
            },
        };
        Ok(Recorded {
            key: self.key.clone(),
            kind: self.kind,
            position: u32::try_from(self.position).map_err(|_| damaged("a place below 0"))?,
            started_at: self.started_at,
            state,
        })
    }
}

/// A failed attempt in an exported journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedAttempt {
    /// Which one it was, from 1.
    pub number: i32,
    /// When its body began.
    pub started_at: Timestamp,
    /// When it had failed.
    pub finished_at: Timestamp,
    /// What went wrong.
    pub failure: Failure,
    /// The worker that made it, as `host:pid`.
    pub worker: String,
}

/// An event of an exported run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedEvent {
    /// Its place in the run's inbox.
    pub seq: i32,
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Payload,
    /// The id of its delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// When it was received.
    pub received_at: Timestamp,
    /// The key of the wait that took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<StepKey>,
}

/// What somebody did to an exported run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedIntervention {
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: String,
    /// Who.
    pub who: String,
    /// What exactly.
    pub details: Payload,
}

/// A line of an exported run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedLine {
    /// Its id, by which lines are in order.
    pub id: uuid::Uuid,
    /// When it was written.
    pub at: Timestamp,
    /// `trace`, `debug`, `info`, `warn`, `error`.
    pub level: String,
    /// The step whose attempt was open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepKey>,
    /// `log`, `stdout`, `stderr`.
    pub source: String,
    /// The text.
    pub message: String,
    /// Names and values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Payload>,
}

/// Why a text is no exported run that this code can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It is something else.
    #[error("not an exported run: expected a file that `dacapo runs export` wrote: {0}")]
    NotOne(String),
    /// It is of a version that this code does not know.
    #[error(
        "the exported run is in version {0} of its form, and this dacapo knows version {VERSION}: use the dacapo that wrote it, or a newer one"
    )]
    Version(u32),
    /// What is secret in it was left out.
    #[error(
        "the exported run is without what is secret in it: export it again with `dacapo runs export --with-secrets`"
    )]
    Redacted,
    /// Something in it is not as it should be.
    #[error("the exported run is damaged: {0}")]
    Damaged(String),
}

impl RunExport {
    /// A run as it is known now, without a log.
    #[must_use]
    pub fn new(exported_at: Timestamp, deployment: ExportedDeployment, run: ExportedRun) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            redacted: false,
            exported_at,
            deployment,
            run,
            journal: Vec::new(),
            events: Vec::new(),
            interventions: Vec::new(),
            log: None,
        }
    }

    /// Whether what is secret was left out: it is for people to look at, and code cannot go on with it.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.redacted
    }

    /// The same without what is secret.
    #[must_use]
    pub fn without(mut self, secrets: &SecretFields) -> Self {
        if secrets.is_empty() {
            return self;
        }
        self.redacted = true;
        let run = &mut self.run;
        run.input = secrets.input(std::mem::replace(&mut run.input, Payload::null()));
        run.output = run.output.take().map(|output| secrets.output(output));
        run.failure = run.failure.take().map(|failure| secrets.failure(failure));
        for step in &mut self.journal {
            if step.outcome.as_deref() == Some("ok")
                && let Some(payload) = step.payload.take()
            {
                step.payload = Some(secrets.recorded(&step.key, step.kind, payload));
            }
        }
        for event in &mut self.events {
            let payload = std::mem::replace(&mut event.payload, Payload::null());
            event.payload = secrets.event(&event.name, payload);
        }
        if secrets.concern_the_journal() {
            // What a step was before somebody skipped it is among them.
            for one in &mut self.interventions {
                if one.action == "skip" {
                    one.details = Payload::from_trusted("{}".to_owned());
                }
            }
        }
        self
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn from_json(text: &str) -> Result<Self, ExportError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head =
            serde_json::from_str(text).map_err(|error| ExportError::NotOne(error.to_string()))?;
        if head.format != FORMAT {
            let format = head.format.chars().take(40).collect::<String>();
            return Err(ExportError::NotOne(format!(
                "its format is {format:?} and not {FORMAT:?}"
            )));
        }
        if head.version != VERSION {
            return Err(ExportError::Version(head.version));
        }
        let export: Self =
            serde_json::from_str(text).map_err(|error| ExportError::Damaged(error.to_string()))?;
        export.check()?;
        Ok(export)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// A payload is not JSON: the database is damaged.
    pub fn to_json(&self) -> Result<String, ExportError> {
        serde_json::to_string_pretty(self).map_err(|error| ExportError::Damaged(error.to_string()))
    }

    /// Its journal as a worker would read it.
    ///
    /// # Errors
    /// [`ExportError::Damaged`] when a failure in it is none.
    pub fn recorded(&self) -> Result<Vec<Recorded>, ExportError> {
        self.journal.iter().map(ExportedStep::recorded).collect()
    }

    /// What its types do not say.
    fn check(&self) -> Result<(), ExportError> {
        let damaged = |message: String| Err(ExportError::Damaged(message));
        let run = &self.run;
        if run.status.is_terminal() != run.finished_at.is_some() {
            return damaged(format!(
                "run.finishedAt: expected one exactly if the run has ended, and it is {}",
                run.status
            ));
        }
        if (run.status == Status::Completed) != run.output.is_some() {
            return damaged("run.output: expected one exactly if the run is completed".to_owned());
        }
        match (run.status, &run.failure) {
            (Status::Failed, Some(_)) | (Status::Cancelled, _) => {}
            (Status::Failed, None) => {
                return damaged("run.failure: expected one, since the run has failed".to_owned());
            }
            (_, None) => {}
            (status, Some(_)) => {
                return damaged(format!(
                    "run.failure: expected none, since the run is {status}"
                ));
            }
        }
        if run.status == Status::Cancelled && run.cancel_requested_at.is_none() {
            return damaged("run.cancelRequestedAt: expected one".to_owned());
        }
        for (index, step) in self.journal.iter().enumerate() {
            let has_payload = match step.outcome.as_deref() {
                Some("ok" | "failed") => true,
                Some("timed-out" | "cancelled") => false,
                // What is open may say what it waits for.
                None => step.payload.is_some(),
                Some(other) => {
                    return damaged(format!(
                        "journal[{index}].outcome: expected ok, failed, timed-out or cancelled, got {other:?}"
                    ));
                }
            };
            if has_payload != step.payload.is_some()
                || step.outcome.is_some() != step.finished_at.is_some()
            {
                return damaged(format!(
                    "journal[{index}] ({}): outcome, payload and finishedAt do not fit each other",
                    step.key
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export() -> RunExport {
        let at = Timestamp::from_micros(1_795_420_800_123_456);
        let deployment = ExportedDeployment {
            package: "shop:orders".to_owned(),
            number: 3,
            digest: "ab".repeat(32),
        };
        let run = ExportedRun {
            id: RunId::new(),
            workflow: "shop:orders/api.fulfil".to_owned(),
            status: Status::Completed,
            input: Payload::from_trusted("[1.50, \"\\u0000\"]".to_owned()),
            output: Some(Payload::null()),
            failure: None,
            labels: BTreeMap::new(),
            created_at: at,
            started_at: Some(at),
            finished_at: Some(at),
            deadline: None,
            cancel_requested_at: None,
            origin: None,
            progress: None,
        };
        let mut export = RunExport::new(at, deployment, run);
        export.journal.push(ExportedStep {
            key: StepKey::new("", "charge", 1),
            position: 1,
            kind: Kind::Step,
            outcome: Some("ok".to_owned()),
            payload: Some(Payload::null()),
            due: None,
            started_at: at,
            finished_at: Some(at),
            failed_attempts: Vec::new(),
        });
        export
    }

    #[test]
    fn an_exported_run_survives_its_text_form() {
        let export = export();
        let text = export.to_json().unwrap();
        assert_eq!(RunExport::from_json(&text).unwrap(), export);
        assert!(text.contains("[1.50, \"\\u0000\"]"), "{text}");
    }

    #[test]
    fn what_is_no_exported_run_says_why() {
        let text = export().to_json().unwrap();
        for (text, expected) in [
            ("[]".to_owned(), "not an exported run"),
            (
                "{\"format\": \"other\", \"version\": 1}".to_owned(),
                "its format is \"other\"",
            ),
            (
                text.replace("\"version\": 1", "\"version\": 2"),
                "version 2",
            ),
            (
                text.replace("\"kind\": \"step\"", "\"kind\": \"nap\""),
                "nap",
            ),
            (
                text.replace("\"exportedAt\"", "\"exportedOn\""),
                "exportedOn",
            ),
            (
                text.replace("\"outcome\": \"ok\"", "\"outcome\": \"fine\""),
                "journal[0].outcome: expected ok",
            ),
            (
                text.replace("\"status\": \"completed\"", "\"status\": \"failed\""),
                "run.output",
            ),
            (
                text.replace("\"status\": \"completed\"", "\"status\": \"paused\""),
                "run.finishedAt",
            ),
        ] {
            let error = RunExport::from_json(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
