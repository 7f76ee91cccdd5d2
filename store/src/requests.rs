//! What is asked of a run from outside.

use dacapo_model::{Failure, Payload, RunId, Status};
use sqlx::{PgConnection, Postgres};

use crate::StoreError;

/// An event for a run.
#[derive(Debug, Clone)]
pub struct SendEvent<'a> {
    /// The run.
    pub run: RunId,
    /// The event's name: what a `wait-for` of the run asks for.
    pub name: &'a str,
    /// Its payload.
    pub payload: &'a Payload,
    /// Two events of one run with the same delivery id are one event.
    pub delivery_id: Option<&'a str>,
}

/// Why a request had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such run.
    NotFound,
    /// The run's status does not allow it.
    Status(Status),
}

/// Why an event was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSent {
    /// The run is not there, or has ended.
    Refused(Refusal),
    /// It is none of the events that the run's workflow declares: why.
    Undeclared(String),
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentEvent {
    /// It is in the run's inbox.
    Sent,
    /// An event with this delivery id was received before; nothing was changed.
    Duplicate,
}

/// What became of a request to pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// The run is paused.
    Now,
    /// A worker holds the run and will pause it at its next boundary.
    Requested,
}

/// The run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed;

/// What became of a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The run had not begun and is cancelled.
    Now,
    /// The run learns of it at its next durable call, and may compensate.
    Requested,
}

/// What became of a request to end a run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// The run is cancelled.
    Now,
    /// A worker plays the run, and has been told to drop it.
    Requested,
}

pub(crate) fn refusal(answer: &str) -> Result<Refusal, StoreError> {
    match answer {
        "not-found" => Ok(Refusal::NotFound),
        status => status
            .parse()
            .map(Refusal::Status)
            .map_err(|_| StoreError::Unreadable(format!("answer {status:?}"))),
    }
}

/// Sends an event to a run, also inside a transaction of the caller's.
pub async fn send_event<'e>(
    executor: impl sqlx::Executor<'e, Database = Postgres>,
    event: SendEvent<'_>,
) -> Result<Result<SentEvent, NotSent>, StoreError> {
    let answer = sqlx::query_scalar!(
        r#"select dacapo.send_event($1, $2, $3, $4) as "answer!""#,
        event.run.0,
        event.name,
        event.payload.as_str(),
        event.delivery_id
    )
    .fetch_one(executor)
    .await?;
    sent(&answer)
}

fn sent(answer: &str) -> Result<Result<SentEvent, NotSent>, StoreError> {
    Ok(match answer {
        "sent" => Ok(SentEvent::Sent),
        "duplicate" => Ok(SentEvent::Duplicate),
        other => Err(match other.strip_prefix("bad-event: ") {
            Some(problem) => NotSent::Undeclared(problem.to_owned()),
            None => NotSent::Refused(refusal(other)?),
        }),
    })
}

/// Sends an event to several runs in one statement, and tells for each what became of it. It may be repeated: under its delivery id it is
/// sent once. See `sql/event/send_many.sql`.
pub async fn send_event_to_many<'e>(
    executor: impl sqlx::Executor<'e, Database = Postgres>,
    runs: &[RunId],
    name: &str,
    payload: &Payload,
    delivery_id: &str,
) -> Result<Vec<(RunId, Result<SentEvent, NotSent>)>, StoreError> {
    let ids: Vec<uuid::Uuid> = runs.iter().map(|run| run.0).collect();
    let rows = sqlx::query_file!(
        "sql/event/send_many.sql",
        &ids,
        name,
        payload.as_str(),
        delivery_id
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|row| Ok((RunId(row.run), sent(&row.answer)?)))
        .collect()
}

/// Asks a run to pause at its next boundary.
pub async fn pause(
    connection: &mut PgConnection,
    run: RunId,
) -> Result<Result<Paused, Refusal>, StoreError> {
    let answer = sqlx::query_scalar!(r#"select dacapo.pause($1) as "answer!""#, run.0)
        .fetch_one(connection)
        .await?;
    match answer.as_str() {
        "paused-now" => Ok(Ok(Paused::Now)),
        "pausing" => Ok(Ok(Paused::Requested)),
        other => refusal(other).map(Err),
    }
}

/// Lets a paused or blocked run go on.
pub async fn resume(
    connection: &mut PgConnection,
    run: RunId,
) -> Result<Result<Resumed, Refusal>, StoreError> {
    let answer = sqlx::query_scalar!(r#"select dacapo.resume($1) as "answer!""#, run.0)
        .fetch_one(connection)
        .await?;
    match answer.as_str() {
        "resumed" => Ok(Ok(Resumed)),
        other => refusal(other).map(Err),
    }
}

/// Asks a run to end.
pub async fn cancel(
    connection: &mut PgConnection,
    run: RunId,
) -> Result<Result<Cancelled, Refusal>, StoreError> {
    let answer = sqlx::query_scalar!(r#"select dacapo.cancel($1) as "answer!""#, run.0)
        .fetch_one(connection)
        .await?;
    match answer.as_str() {
        "cancelled-now" => Ok(Ok(Cancelled::Now)),
        "cancelling-now" => Ok(Ok(Cancelled::Requested)),
        other => refusal(other).map(Err),
    }
}

/// Ends a run as cancelled without asking its code, in the middle of whatever it does.
pub async fn kill(
    connection: &mut PgConnection,
    run: RunId,
    failure: &Failure,
) -> Result<Result<Killed, Refusal>, StoreError> {
    let answer = sqlx::query_scalar!(
        r#"select dacapo.end_run($1, 'kill', $2) as "answer!""#,
        run.0,
        failure.to_json()
    )
    .fetch_one(connection)
    .await?;
    match answer.as_str() {
        "ended" => Ok(Ok(Killed::Now)),
        "ending" => Ok(Ok(Killed::Requested)),
        other => refusal(other).map(Err),
    }
}

/// Something that is asked of a run and kept with who did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// [`pause`]
    Pause,
    /// [`resume`]
    Resume,
    /// [`cancel`]
    Cancel,
    /// [`kill`]
    ForceCancel,
}

impl Request {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::ForceCancel => "force-cancel",
        }
    }
}

/// What became of a [`Request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// It is done.
    Now,
    /// A worker holds the run and has been told.
    Told,
}

/// Asks something of a run, and keeps who did and why: `sql/intervention/request.sql`.
pub async fn request(
    connection: &mut PgConnection,
    run: RunId,
    request: Request,
    who: &str,
    reason: Option<&str>,
    failure: &Failure,
) -> Result<Result<Requested, Refusal>, StoreError> {
    let answer = sqlx::query_file_scalar!(
        "sql/intervention/request.sql",
        run.0,
        request.as_str(),
        who,
        reason,
        failure.to_json()
    )
    .fetch_one(connection)
    .await?;
    match answer.as_str() {
        "paused-now" | "resumed" | "cancelled-now" | "ended" => Ok(Ok(Requested::Now)),
        "pausing" | "cancelling-now" | "ending" => Ok(Ok(Requested::Told)),
        other => refusal(other).map(Err),
    }
}
