//! What went wrong, as a page.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dacapo_client::ClientError;
use minijinja::context;

use super::page;
use crate::Problem;

/// How long a page may take. A database that does not answer is said to be away after that.
const PATIENCE: Duration = Duration::from_secs(10);

/// A page could not be made, or what was asked for could not be done.
#[derive(Debug)]
pub(crate) enum Oops {
    /// The client says why.
    Client(Box<ClientError>),
    /// There is nothing at this address.
    Missing(String),
    /// What was sent is not taken, whatever it says.
    Refused(String),
    /// Whoever stands before all pages says why.
    Problem(Problem),
    /// The database did not answer in time.
    Late,
    /// A template is wrong: a bug.
    Template(minijinja::Error),
}

impl From<ClientError> for Oops {
    fn from(error: ClientError) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<minijinja::Error> for Oops {
    fn from(error: minijinja::Error) -> Self {
        Self::Template(error)
    }
}

impl Oops {
    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self::Missing(what.into())
    }

    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Client(error) => status_of(error),
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Refused(_) => StatusCode::FORBIDDEN,
            Self::Problem(problem) => problem.status(),
            Self::Late => StatusCode::SERVICE_UNAVAILABLE,
            Self::Template(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What HTTP calls this.
pub(crate) fn status_of(error: &ClientError) -> StatusCode {
    match error {
        ClientError::RunNotFound(_)
        | ClientError::UnknownWorkflow { .. }
        | ClientError::QueueNotFound(_)
        | ClientError::ScheduleNotFound(_)
        | ClientError::StepNotFound { .. }
        | ClientError::DeploymentRefused {
            code: "deployment-not-found",
            ..
        } => StatusCode::NOT_FOUND,
        ClientError::Unavailable(_) | ClientError::Schema { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ClientError::Store(_) | ClientError::Decode { .. } | ClientError::Encode { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        ClientError::BadInput { .. }
        | ClientError::BadPayload { .. }
        | ClientError::BadEvent { .. }
        | ClientError::TooLarge { .. }
        | ClientError::BadArgument { .. }
        | ClientError::AmbiguousWorkflow { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ClientError::OutOfScope { .. } | ClientError::Withheld(_) => StatusCode::FORBIDDEN,
        _ => StatusCode::CONFLICT,
    }
}

/// Whether the visitor can mend it with what the page asks for: then the page says it, and is not left.
pub(crate) fn is_visitors(error: &ClientError) -> bool {
    status_of(error).is_client_error()
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        let status = self.status();
        let (title, message, hint) = match &self {
            Self::Client(error) => {
                let title = match status {
                    StatusCode::NOT_FOUND => "Not found",
                    StatusCode::FORBIDDEN => "Not for you",
                    StatusCode::SERVICE_UNAVAILABLE => "The database is away",
                    StatusCode::INTERNAL_SERVER_ERROR => "Something is wrong here",
                    _ => "That cannot be done",
                };
                (title, chain(error.as_ref()), error.hint())
            }
            Self::Missing(what) => ("Not found", what.clone(), None),
            Self::Refused(why) => ("Refused", why.clone(), None),
            Self::Problem(problem) => {
                let (why, hint) = problem.words();
                ("Refused", why.to_owned(), hint.map(str::to_owned))
            }
            Self::Late => (
                "The database is away",
                "the database did not answer within ten seconds".to_owned(),
                Some(
                    "it may be down, or have too much to do; this page tries again by itself"
                        .to_owned(),
                ),
            ),
            Self::Template(error) => {
                tracing::error!(error = chain(error), "a page cannot be made");
                (
                    "Something is wrong here",
                    "this page cannot be made; the log of the process says why".to_owned(),
                    None,
                )
            }
        };
        let is_away = status == StatusCode::SERVICE_UNAVAILABLE;
        let shown = page::render(
            "error.html",
            context! { title, message, hint, is_away, code => status.as_u16(), token => "" },
        );
        let mut response = match shown {
            Ok(html) => (status, html).into_response(),
            Err(error) => {
                tracing::error!(error = chain(&error), "the page of an error cannot be made");
                (status, message).into_response()
            }
        };
        if is_away {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if let Self::Problem(problem) = &self
            && let Some(seconds) = problem.retry_after()
        {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// Gives up on an answer that takes too long.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Oops::Late.into_response(),
    }
}

/// What there is nothing for.
pub(crate) async fn nothing() -> Oops {
    Oops::missing("there is no such page")
}
