//! What a server says is wrong, as an error of ours.

use dacapo_model::RunId;
use serde::Deserialize;

use super::{RemoteAnswer, RemoteProblem};
use crate::ClientError;

/// A problem as the server says it.
#[derive(Deserialize)]
pub(super) struct ProblemForm {
    status: u16,
    code: String,
    detail: String,
    hint: Option<String>,
    run: Option<RunId>,
}

impl ProblemForm {
    pub(super) fn error(self) -> ClientError {
        ClientError::Remote(RemoteProblem {
            status: self.status,
            code: known(&self.code),
            detail: self.detail,
            hint: self.hint,
            run: self.run,
            retry_after: None,
        })
    }
}

/// What the server says is wrong. What callers look for has the form that it has without a server.
pub(super) fn problem(answer: &RemoteAnswer) -> ClientError {
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
            run: None,
            retry_after: answer.retry_after,
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
        run: form.run,
        retry_after: answer.retry_after,
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

pub(super) fn known(code: &str) -> &'static str {
    REMOTE_CODES
        .iter()
        .copied()
        .find(|known| *known == code)
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_the_server_is_an_error_with_its_code() {
        let answer = |body: &str| RemoteAnswer {
            status: 409,
            retry_after: None,
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
        let run = RunId::new();
        let taken = format!(r#"{{"code": "key-conflict", "detail": "taken", "run": "{run}"}}"#);
        let ClientError::Remote(taken) = problem(&answer(&taken)) else {
            panic!("it is the server's");
        };
        assert_eq!(taken.run, Some(run));
    }
}
