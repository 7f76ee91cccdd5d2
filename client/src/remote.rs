//! A client of a server instead of a database: the same calls, asked over the HTTP API. Who carries the requests is handed in ([`Transport`]),
//! since this crate knows no HTTP.
//!
//! Not every call is there: those that look at components or show types need the database itself.

mod bulk;
mod deployments;
mod problem;
mod queues;
mod runs;
mod schedules;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dacapo_model::Status;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::problem::problem;
use crate::ClientError;
use crate::list::RunFilter;

pub use self::problem::REMOTE_CODES;
pub(crate) use self::runs::output_of;

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
}

/// Members of a body; JSON that came from elsewhere stays as it was written.
type Members = BTreeMap<&'static str, Box<RawValue>>;

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

/// What only a database answers.
pub(crate) fn needs_database(what: &str) -> ClientError {
    ClientError::NeedsDatabase(what.to_owned())
}

#[cfg(test)]
mod tests {
    use dacapo_model::Status;

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
}
