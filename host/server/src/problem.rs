//! What is answered when something goes wrong: RFC 9457, with a code for programs that stays the same across versions.

use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dacapo_client::{ClientError, RunId};
use serde::Serialize;
use serde_json::Value;

/// How the type of a problem begins; its code follows.
const TYPE: &str = "urn:dacapo:problem:";

/// When to come back to a database that is away, or has too much to do.
const COME_BACK: Duration = Duration::from_secs(2);

/// All codes, each with its status and a title. A code that is not here cannot be told to anybody.
pub(crate) const CODES: &[(&str, StatusCode, &str)] = &[
    ("already-so", StatusCode::CONFLICT, "It is so already"),
    (
        "ambiguous-workflow",
        StatusCode::CONFLICT,
        "Several workflows go by this name",
    ),
    (
        "bad-argument",
        StatusCode::UNPROCESSABLE_ENTITY,
        "A name, key, label or the like cannot be one",
    ),
    (
        "bad-component",
        StatusCode::UNPROCESSABLE_ENTITY,
        "This is no component that can be deployed",
    ),
    (
        "bad-deployment",
        StatusCode::UNPROCESSABLE_ENTITY,
        "A deployment cannot be had so",
    ),
    (
        "bad-event",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The event is not as the workflow declares it",
    ),
    (
        "bad-host",
        StatusCode::FORBIDDEN,
        "This server has no such name",
    ),
    (
        "bad-input",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The input is not of the workflow's type",
    ),
    (
        "bad-manifest",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The manifest does not fit the component",
    ),
    (
        "bad-payload",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The payload cannot be kept",
    ),
    (
        "bad-request",
        StatusCode::BAD_REQUEST,
        "The request cannot be read",
    ),
    (
        "breaking",
        StatusCode::CONFLICT,
        "This would break who deals with the workflows",
    ),
    (
        "children-ending",
        StatusCode::CONFLICT,
        "Children of the run are still ending",
    ),
    (
        "component-missing",
        StatusCode::CONFLICT,
        "The component of the run is not deployed here",
    ),
    (
        "conflict",
        StatusCode::CONFLICT,
        "The run's status does not allow this",
    ),
    (
        "cross-site",
        StatusCode::FORBIDDEN,
        "A page of another site asks for this",
    ),
    (
        "database",
        StatusCode::INTERNAL_SERVER_ERROR,
        "The database refused a statement",
    ),
    (
        "deployment-conflict",
        StatusCode::CONFLICT,
        "The deployment does not allow this",
    ),
    (
        "deployment-not-found",
        StatusCode::NOT_FOUND,
        "There is no such deployment",
    ),
    (
        "deployment-retired",
        StatusCode::CONFLICT,
        "The deployment is retired",
    ),
    (
        "forbidden",
        StatusCode::FORBIDDEN,
        "This takes another role",
    ),
    (
        "key-conflict",
        StatusCode::CONFLICT,
        "The key belongs to a run with another input",
    ),
    (
        "method-not-allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "The path has no such method",
    ),
    (
        "no-randomness",
        StatusCode::INTERNAL_SERVER_ERROR,
        "The operating system gave no random numbers",
    ),
    (
        "not-found",
        StatusCode::NOT_FOUND,
        "There is nothing at this path",
    ),
    (
        "not-here",
        StatusCode::NOT_IMPLEMENTED,
        "This process cannot do this",
    ),
    (
        "not-importable",
        StatusCode::UNPROCESSABLE_ENTITY,
        "This is no run that can be imported",
    ),
    (
        "not-open",
        StatusCode::CONFLICT,
        "The run does not wait for this",
    ),
    (
        "nothing-failed",
        StatusCode::CONFLICT,
        "No step of the run has failed",
    ),
    (
        "out-of-scope",
        StatusCode::FORBIDDEN,
        "This access does not reach so far",
    ),
    (
        "queue-in-use",
        StatusCode::CONFLICT,
        "Active runs are in the queue",
    ),
    (
        "queue-not-found",
        StatusCode::NOT_FOUND,
        "There is no such queue",
    ),
    (
        "rate-limited",
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests",
    ),
    (
        "redeployed",
        StatusCode::SERVICE_UNAVAILABLE,
        "The workflow is being deployed again and again",
    ),
    (
        "run-exists",
        StatusCode::CONFLICT,
        "There is a run of this id",
    ),
    (
        "run-not-found",
        StatusCode::NOT_FOUND,
        "There is no such run",
    ),
    (
        "schedule-busy",
        StatusCode::CONFLICT,
        "A run of the schedule is active",
    ),
    (
        "schedule-conflict",
        StatusCode::CONFLICT,
        "The schedule does not allow this",
    ),
    (
        "schedule-exists",
        StatusCode::CONFLICT,
        "There is a schedule of this name",
    ),
    (
        "schedule-not-found",
        StatusCode::NOT_FOUND,
        "There is no such schedule",
    ),
    (
        "schema",
        StatusCode::SERVICE_UNAVAILABLE,
        "The database is not of this version",
    ),
    (
        "singleton-taken",
        StatusCode::CONFLICT,
        "The singleton's key belongs to an active run",
    ),
    (
        "step-not-found",
        StatusCode::NOT_FOUND,
        "The run has no such step",
    ),
    (
        "timed-out",
        StatusCode::GATEWAY_TIMEOUT,
        "The answer takes too long",
    ),
    (
        "token-exists",
        StatusCode::CONFLICT,
        "There is a token of this name",
    ),
    (
        "token-not-found",
        StatusCode::NOT_FOUND,
        "There is no such token",
    ),
    (
        "too-large",
        StatusCode::PAYLOAD_TOO_LARGE,
        "This is larger than it may be",
    ),
    (
        "too-many-streams",
        StatusCode::TOO_MANY_REQUESTS,
        "Too many streams are open",
    ),
    (
        "unauthenticated",
        StatusCode::UNAUTHORIZED,
        "This takes a token",
    ),
    (
        "unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "The database is away, or has too much to do",
    ),
    (
        "unknown-workflow",
        StatusCode::NOT_FOUND,
        "There is no such workflow",
    ),
    (
        "unsupported-media-type",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body is of another type than expected",
    ),
    (
        "withheld",
        StatusCode::FORBIDDEN,
        "This access shows no payloads",
    ),
];

/// What an error of ours that has no code of its own is called.
const UNKNOWN: (&str, StatusCode, &str) = (
    "internal",
    StatusCode::INTERNAL_SERVER_ERROR,
    "Something went wrong here",
);

/// The status and the title of a code.
pub(crate) fn known(code: &str) -> Option<(&'static str, StatusCode, &'static str)> {
    CODES.iter().copied().find(|(known, ..)| *known == code)
}

/// What went wrong.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

/// What is said about it.
#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    hint: Option<String>,
    come_back: Option<Duration>,
    /// The run that is in the way, or that it is about.
    run: Option<RunId>,
    /// Which of many starts it is, from 0.
    index: Option<usize>,
    /// What would break whom.
    changes: Option<Value>,
}

/// A problem as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a Value>,
}

impl Problem {
    /// A problem with one of the codes of this crate.
    pub(crate) fn new(code: &str, detail: impl Into<String>) -> Self {
        let (code, status, title) = known(code).unwrap_or(UNKNOWN);
        Self(Box::new(Parts {
            status,
            code,
            title,
            detail: detail.into(),
            hint: None,
            come_back: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(COME_BACK),
            run: None,
            index: None,
            changes: None,
        }))
    }

    /// A problem by its code, or by another one if nobody knows that: for whoever is handed in.
    pub fn told(code: &str, other: &str, detail: impl Into<String>, hint: Option<String>) -> Self {
        let code = if known(code).is_some() { code } else { other };
        let mut problem = Self::new(code, detail);
        problem.0.hint = hint;
        problem
    }

    /// The request cannot be read.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new("bad-request", detail)
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// When to try again.
    pub(crate) fn come_back(mut self, after: Duration) -> Self {
        self.0.come_back = Some(after);
        self
    }

    /// The same as a header says it: whole seconds.
    pub(crate) fn retry_after(&self) -> Option<HeaderValue> {
        let seconds = self.0.come_back?.as_millis().div_ceil(1_000).max(1);
        HeaderValue::from_str(&seconds.to_string()).ok()
    }

    /// The word for programs.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What HTTP calls it.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What is wrong, and what to do about it, for people.
    pub(crate) fn words(&self) -> (&str, Option<&str>) {
        (&self.0.detail, self.0.hint.as_deref())
    }

    /// The run that is in the way, or that it is about.
    pub(crate) fn run(&self) -> Option<RunId> {
        self.0.run
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::to_value(self.form()).unwrap_or_default()
    }

    fn form(&self) -> Form<'_> {
        let parts = &self.0;
        Form {
            r#type: format!("{TYPE}{}", parts.code),
            title: parts.title,
            status: parts.status.as_u16(),
            code: parts.code,
            detail: &parts.detail,
            hint: parts.hint.as_deref(),
            run: parts.run,
            index: parts.index,
            changes: parts.changes.as_ref(),
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let (index, cause) = match &error {
            ClientError::InMany { index, error } => (Some(*index), error.as_ref()),
            error => (None, error),
        };
        let (run, changes) = match cause {
            ClientError::RunNotFound(run)
            | ClientError::NothingFailed(run)
            | ClientError::ChildrenEnding(run)
            | ClientError::RunExists(run)
            | ClientError::KeyConflict { run, .. }
            | ClientError::SingletonTaken { run, .. }
            | ClientError::Conflict { run, .. }
            | ClientError::StepNotFound { run, .. }
            | ClientError::NotOpen { run, .. }
            | ClientError::BadEvent { run, .. }
            | ClientError::ScheduleBusy { run, .. }
            | ClientError::ComponentMissing { run, .. } => (Some(*run), None),
            ClientError::Remote(problem) => (problem.run, None),
            ClientError::Breaking { changes, .. } => (None, serde_json::to_value(changes).ok()),
            _ => (None, None),
        };
        let code = match cause {
            // What no check has found and no column can hold, such as a NUL character in a name.
            ClientError::Store(error) if is_about_data(error) => "bad-argument",
            // Of a server that another one or a process asks.
            ClientError::Unreachable(_) => "unavailable",
            ClientError::NeedsDatabase(_) => "not-here",
            // Of another version.
            ClientError::Remote(problem) if known(problem.code).is_none() => match problem.status {
                400..500 => "bad-request",
                _ => "unavailable",
            },
            _ => error.code(),
        };
        let mut problem = Self::new(code, chain(&error));
        problem.0.hint = error.hint();
        problem.0.run = run;
        problem.0.index = index;
        problem.0.changes = changes;
        if problem.0.status.is_server_error() {
            tracing::warn!(
                code = problem.0.code,
                detail = problem.0.detail,
                "cannot answer"
            );
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.form()).unwrap_or_default();
        let mut response = (self.0.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// Whether a value is what the database minds: class 22, "data exception".
fn is_about_data(error: &dacapo_store::StoreError) -> bool {
    error.code().is_some_and(|code| code.starts_with("22"))
}

/// The message of an error with those of its causes. A cause that its error repeats is left out.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_their_order_and_each_is_there_once() {
        assert!(CODES.windows(2).all(|two| two[0].0 < two[1].0));
    }

    #[test]
    fn clients_of_a_server_know_all_its_codes() {
        for (code, ..) in CODES {
            assert!(dacapo_client::REMOTE_CODES.contains(code), "{code}");
        }
    }

    #[test]
    fn what_another_server_says_is_passed_on_in_codes_that_are_known_here() {
        let passed_on = |status, code| {
            let problem = dacapo_client::RemoteProblem {
                status,
                code,
                detail: "what it said".to_owned(),
                hint: Some("wait".to_owned()),
                run: None,
                retry_after: None,
            };
            Problem::from(ClientError::Remote(problem)).json()
        };
        let known = passed_on(409, "run-exists");
        assert_eq!(
            (&known["code"], &known["status"]),
            (&"run-exists".into(), &409.into())
        );
        // Of a newer version.
        let refused = passed_on(422, "other");
        assert_eq!(
            (&refused["code"], &refused["status"]),
            (&"bad-request".into(), &400.into())
        );
        let broken = passed_on(502, "other");
        assert_eq!(
            (&broken["code"], &broken["status"]),
            (&"unavailable".into(), &503.into())
        );
        assert!(broken["detail"].as_str().unwrap().contains("what it said"));
    }

    #[test]
    fn a_problem_says_what_to_do_and_when_to_come_back() {
        let problem = Problem::new("unavailable", "no connection").hint("wait");
        let json = problem.json();
        assert_eq!(json["type"], "urn:dacapo:problem:unavailable");
        assert_eq!(json["status"], 503);
        assert_eq!(json["hint"], "wait");
        let response = problem.into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
    }
}
