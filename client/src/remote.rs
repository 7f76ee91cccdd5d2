//! A client of a server instead of a database: the same calls, asked over the HTTP API. Who carries the requests is handed in ([`Transport`]),
//! since this crate knows no HTTP.
//!
//! Not every call is there: those that a server has no answer for say that they need the database itself. A server that has too much to do
//! says when to come back, and is asked again then.

mod bulk;
mod deployments;
mod looks;
mod problem;
mod queues;
mod runs;
mod schedules;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dacapo_model::{RunId, Status};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use self::problem::{no_answer_of_ours, problem};
use crate::ClientError;
use crate::list::RunFilter;

pub use self::problem::REMOTE_CODES;
pub(crate) use self::runs::output_of;

/// How long one request waits for the end of a run. The server allows a minute.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a server may have too much to do before asking it is given up.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// And rests for as long at least, whatever the server says.
const BUSY_MIN: Duration = Duration::from_secs(1);

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
    /// When to come back, if the header `Retry-After` says so in seconds.
    pub retry_after: Option<Duration>,
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
    /// The run that it is about, or that is in the way.
    pub run: Option<RunId>,
    /// How long the server wants to be left alone, if it says so.
    pub retry_after: Option<Duration>,
}

/// Asks a server.
#[derive(Debug)]
pub(crate) struct Remote {
    transport: Arc<dyn Transport>,
    /// Whoever holds the client must not see all that the server answers, and nobody here tells what.
    is_silenced: bool,
}

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
        Self {
            transport: transport.into(),
            is_silenced: false,
        }
    }

    /// The same, which answers nothing.
    pub(crate) fn silenced(&self) -> Self {
        Self {
            transport: Arc::clone(&self.transport),
            is_silenced: true,
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: RemoteRequest) -> Result<T, ClientError> {
        let (_, answer) = self.ask_with_status(request).await?;
        Ok(answer)
    }

    async fn ask_with_status<T: DeserializeOwned>(
        &self,
        request: RemoteRequest,
    ) -> Result<(u16, T), ClientError> {
        if self.is_silenced {
            return Err(needs_database(
                "to limit what a client sees, since of a server its token does",
            ));
        }
        let answer = self.carried(request).await?;
        if !(200..300).contains(&answer.status) {
            return Err(problem(&answer));
        }
        let value = serde_json::from_slice(&answer.body).map_err(|error| {
            if serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_err() {
                return no_answer_of_ours(&answer);
            }
            ClientError::Remote(RemoteProblem {
                status: answer.status,
                code: "bad-answer",
                detail: format!("the server's answer cannot be read: {error}"),
                hint: Some("use a command of the server's version".to_owned()),
                run: None,
                retry_after: None,
            })
        })?;
        Ok((answer.status, value))
    }

    /// Carries a request, again and again for a while if the server says when to come back and the request may be carried twice.
    async fn carried(&self, request: RemoteRequest) -> Result<RemoteAnswer, ClientError> {
        let began = Instant::now();
        loop {
            let carried = self.transport.carry(request.clone()).await;
            let answer = carried.map_err(ClientError::Unreachable)?;
            let may_come_back = match answer.status {
                // It was refused before anything was done.
                429 => true,
                // What was under way may have been done.
                503 => request.method == "GET",
                _ => false,
            };
            match answer.retry_after {
                Some(rest) if may_come_back && rest <= BUSY_MAX.saturating_sub(began.elapsed()) => {
                    tracing::debug!(status = answer.status, ?rest, "the server is busy");
                    tokio::time::sleep(rest.max(BUSY_MIN)).await;
                }
                _ => return Ok(answer),
            }
        }
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
    use std::sync::Mutex;

    use dacapo_model::Scope;

    use super::*;
    use crate::{Client, Payloads};

    /// A server that gives these answers, one after the other, and notes when it was asked.
    #[derive(Debug)]
    struct Scripted {
        answers: Mutex<Vec<(u16, Option<u64>, &'static str)>>,
        asked: Arc<Mutex<Vec<Instant>>>,
    }

    impl Transport for Scripted {
        fn carry(&self, _request: RemoteRequest) -> Carried<'_> {
            self.asked.lock().unwrap().push(Instant::now());
            let (status, seconds, body) = self.answers.lock().unwrap().remove(0);
            Box::pin(std::future::ready(Ok(RemoteAnswer {
                status,
                retry_after: seconds.map(Duration::from_secs),
                body: body.as_bytes().to_vec(),
            })))
        }
    }

    const BUSY: &str = r#"{"code": "unavailable", "detail": "busy", "hint": null}"#;

    /// A client of such a server, and when that was asked.
    fn scripted(
        answers: &[(u16, Option<u64>, &'static str)],
    ) -> (Client, Arc<Mutex<Vec<Instant>>>) {
        let asked = Arc::default();
        let server = Scripted {
            answers: Mutex::new(answers.to_vec()),
            asked: Arc::clone(&asked),
        };
        (Client::over(Box::new(server)).unwrap(), asked)
    }

    fn rests(asked: &Mutex<Vec<Instant>>) -> Vec<Duration> {
        let asked = asked.lock().unwrap();
        asked.windows(2).map(|two| two[1] - two[0]).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_busy_is_asked_again_when_it_says() {
        let (client, asked) = scripted(&[
            (429, Some(7), BUSY),
            (503, Some(11), BUSY),
            (200, None, "[]"),
        ]);
        assert_eq!(client.paused_workflows().await.unwrap(), []);
        let rests = rests(&asked);
        assert_eq!(rests.len(), 2);
        assert!(rests[0] >= Duration::from_secs(7), "{rests:?}");
        assert!(rests[1] >= Duration::from_secs(11), "{rests:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_done_is_not_asked_for_again_and_neither_is_one_that_stays_busy() {
        let (client, asked) = scripted(&[(503, Some(2), BUSY)]);
        let error = client.cancel(RunId::new()).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
        assert_eq!(rests(&asked), []);

        let (client, asked) = scripted(&[(429, Some(40), BUSY), (429, Some(40), BUSY)]);
        let error = client.cancel(RunId::new()).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(40)));
        assert_eq!(rests(&asked).len(), 1);

        // Neither at once nor ever again is a time to come back at.
        let (client, asked) = scripted(&[(429, Some(0), BUSY), (200, None, "[]")]);
        assert_eq!(client.paused_workflows().await.unwrap(), []);
        assert!(rests(&asked)[0] >= BUSY_MIN);
        let (client, asked) = scripted(&[(429, Some(u64::MAX), BUSY)]);
        let error = client.paused_workflows().await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(rests(&asked), []);

        // Nobody said when.
        let (client, asked) = scripted(&[(503, None, BUSY)]);
        let error = client.paused_workflows().await.unwrap_err();
        assert!(error.is_transient() && error.retry_after().is_none());
        assert_eq!(rests(&asked), []);
        let (client, _) = scripted(&[(409, Some(1), BUSY)]);
        assert!(!client.paused_workflows().await.unwrap_err().is_transient());
    }

    #[tokio::test]
    async fn a_client_of_a_server_that_is_to_see_less_sees_nothing() {
        let (client, asked) = scripted(&[(200, None, "[]")]);
        let narrow = Scope {
            workflows: vec!["payments:*".parse().unwrap()],
            ..Scope::default()
        };
        for limited in [
            client.clone().within(narrow),
            client.clone().showing(Payloads::Hidden),
        ] {
            let error = limited.paused_workflows().await.unwrap_err();
            assert_eq!(error.code(), "needs-database", "{error}");
        }
        assert!(asked.lock().unwrap().is_empty());
        let whole = client.within(Scope::default());
        assert_eq!(whole.paused_workflows().await.unwrap(), []);
    }

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
