//! Server-sent events: a run until its end, its log, and the list of runs. A stream ends by itself, or when the server is to stop; who reads on
//! asks again, and an `EventSource` does so by itself. The number of streams is limited.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use dacapo_client::{ClientError, LogTail, Run, RunId, Status, StepStatus, Timestamp};
use futures_util::stream::{Stream, StreamExt, unfold};
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::extract::{LastEventId, Path, Query};
use super::lists::{List, Seen};
use super::runs::{Line, ListParams, LogParams, OfRun};
use super::watches::Watch;
use crate::{App, Problem};

/// How often a run or its log is looked at, besides when the run ends.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A look takes at most this part of the time of a stream: runs may be long.
const REST_FACTOR: u32 = 10;

/// How long an `EventSource` waits before it asks again.
const COME_BACK: Duration = Duration::from_secs(2);

/// The id of the last event of a stream that has come to its end.
const END: &str = "end";

/// A permit for one more stream.
pub(crate) fn permit(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    app.streams().clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            "too-many-streams",
            format!(
                "{} streams are open, and this server allows no more",
                app.limits().streams_max
            ),
        )
        .come_back(COME_BACK)
    })
}

/// Sends events as they come, and says that it lives where none do.
fn answer(
    app: &App,
    permit: OwnedSemaphorePermit,
    events: impl Stream<Item = Event> + Send + 'static,
) -> Response {
    let stopping = app.stopping().clone().cancelled_owned();
    let begin = futures_util::stream::iter([Event::default().retry(COME_BACK).comment("")]);
    let events = begin
        .chain(events)
        .take_until(Box::pin(stopping))
        .map(move |event| {
            // Held for as long as somebody may read.
            let _ = &permit;
            Ok::<_, Infallible>(event)
        });
    let alive = KeepAlive::new()
        .interval(app.limits().stream_heartbeat)
        .text("alive");
    let mut response = Sse::new(events).keep_alive(alive).into_response();
    // A proxy that gathers what it passes on would hold the events back.
    response.headers_mut().insert(
        "x-accel-buffering",
        axum::http::HeaderValue::from_static("no"),
    );
    response
}

/// An event with data.
fn event(name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().event(name);
    event.json_data(data).unwrap_or_else(|error| {
        tracing::warn!(%error, name, "an event cannot be written");
        Event::default().comment("an event cannot be written")
    })
}

/// The last event: nobody needs to ask again.
fn end(run: RunId, status: Option<Status>) -> Event {
    event(END, &json!({ "run": run, "status": status })).id(END)
}

/// The last event of a stream that cannot go on.
fn trouble(error: ClientError) -> Event {
    event("problem", &Problem::from(error).json())
}

/// Whoever has seen the end and asks again is told that there is nothing more, in the way that an `EventSource` heeds.
fn nothing_more(last: &LastEventId) -> Option<Response> {
    (last.0.as_deref() == Some(END)).then(|| StatusCode::NO_CONTENT.into_response())
}

/// What is sent, and what is still to be.
struct Feed<T> {
    waiting: VecDeque<Event>,
    has_ended: bool,
    next_look: Instant,
    of: T,
}

/// Something that is looked at again and again.
trait Look: Send + 'static {
    /// The events since the last look, and whether these are the last. `next` is when it is looked at again at the earliest.
    fn look(
        &mut self,
        next: &mut Instant,
    ) -> impl Future<Output = Result<(Vec<Event>, bool), ClientError>> + Send;
}

fn feed(of: impl Look) -> impl Stream<Item = Event> + Send + 'static {
    let feed = Feed {
        waiting: VecDeque::new(),
        has_ended: false,
        next_look: Instant::now(),
        of,
    };
    unfold(feed, |mut feed| async move {
        loop {
            if let Some(event) = feed.waiting.pop_front() {
                return Some((event, feed));
            }
            if feed.has_ended {
                return None;
            }
            tokio::time::sleep_until(feed.next_look).await;
            match feed.of.look(&mut feed.next_look).await {
                Ok((events, is_last)) => {
                    feed.waiting.extend(events);
                    feed.has_ended = is_last;
                }
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "a stream waits for the database");
                    feed.next_look = Instant::now() + COME_BACK;
                }
                Err(error) => {
                    feed.waiting.push_back(trouble(error));
                    feed.has_ended = true;
                }
            }
        }
    })
}

/// Follows a run until it ends
///
/// Events: `run` with the run (its `steps` are left empty) when it has changed, `step` with each step that is new or has changed, and at last
/// `end` with its status. Who asks again is sent everything anew.
#[utoipa::path(
    get,
    path = "/runs/{run}/stream",
    tag = "streams",
    operation_id = "streamRun",
    params(OfRun, LastEventIdHeader),
    responses(
        (status = 200, description = "Server-sent events: `run`, `step`, `end`, `problem`", body = String, content_type = "text/event-stream"),
        (status = 204, description = "There is nothing more: the header Last-Event-ID names the end"),
    ),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["run-not-found", "too-many-streams"]))),
)]
pub(crate) async fn run(
    app: App,
    Path(run): Path<RunId>,
    last: LastEventId,
) -> Result<Response, Problem> {
    if let Some(nothing) = nothing_more(&last) {
        return Ok(nothing);
    }
    let permit = permit(&app)?;
    let watch = Watch::of(app.watches(), app.client(), run);
    let since = Instant::now();
    // Who asks for a run that is not there is to hear so by the status.
    watch.look(app.client(), since).await?;
    let of = OneRun {
        app: app.clone(),
        run,
        watch,
        since,
        shown: HashMap::new(),
        head: String::new(),
    };
    Ok(answer(&app, permit, feed(of)))
}

/// The header that an `EventSource` sends when it comes back.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct LastEventIdHeader {
    /// The id of the last event that was seen
    #[param(rename = "Last-Event-ID")]
    last_event_id: Option<String>,
}

struct OneRun {
    app: App,
    run: RunId,
    watch: Arc<Watch>,
    /// A look from then on will do.
    since: Instant,
    /// How each step was when it was sent.
    shown: HashMap<String, (StepStatus, u32, Option<Timestamp>)>,
    /// The run without its steps as it was sent.
    head: String,
}

impl OneRun {
    /// What is new of the run.
    fn news(&mut self, run: &Run) -> Vec<Event> {
        let mut events = Vec::new();
        for step in &run.steps {
            let state = (step.status, step.attempts, step.due);
            if self.shown.get(step.key.as_str()) != Some(&state) {
                events.push(event("step", step));
                self.shown.insert(step.key.to_string(), state);
            }
        }
        let head = run.without_steps();
        let text = serde_json::to_string(&head).unwrap_or_default();
        if text != self.head {
            events.insert(0, event("run", &head));
            self.head = text;
        }
        if run.status.is_terminal() {
            events.push(end(run.id, Some(run.status)));
        }
        events
    }
}

impl Look for OneRun {
    async fn look(&mut self, next: &mut Instant) -> Result<(Vec<Event>, bool), ClientError> {
        let began = Instant::now();
        let watched = match self.watch.look(self.app.client(), self.since).await {
            Ok(watched) => watched,
            // It was deleted meanwhile.
            Err(ClientError::RunNotFound(run)) => return Ok((vec![end(run, None)], true)),
            Err(error) => return Err(error),
        };
        let rest = LOOK_EVERY.max(began.elapsed() * REST_FACTOR);
        let events = self.news(watched.run());
        let is_last = watched.run().status.is_terminal();
        // Whoever looks next goes on from it, and would copy what somebody else holds.
        drop(watched);
        *next = Instant::now();
        if !is_last && events.is_empty() {
            // Ends early when the run does.
            let _ = self.app.client().wait(self.run, Some(rest)).await;
            self.since = Instant::now();
        } else {
            *next += rest;
            self.since = *next - LOOK_EVERY / 2;
        }
        Ok((events, is_last))
    }
}

/// Follows the log of a run until it ends
///
/// Events: `line` with a line, and at last `end` with the run's status. Each line has an id; who comes back with the header Last-Event-ID is
/// sent what came behind that line.
#[utoipa::path(
    get,
    path = "/runs/{run}/logs/stream",
    tag = "streams",
    operation_id = "streamLogs",
    params(OfRun, LogParams, LastEventIdHeader),
    responses(
        (status = 200, description = "Server-sent events: `line`, `end`, `problem`", body = String, content_type = "text/event-stream"),
        (status = 204, description = "There is nothing more: the header Last-Event-ID names the end"),
    ),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["run-not-found", "too-many-streams"]))),
)]
pub(crate) async fn logs(
    app: App,
    Path(run): Path<RunId>,
    Query(params): Query<LogParams>,
    last: LastEventId,
) -> Result<Response, Problem> {
    if let Some(nothing) = nothing_more(&last) {
        return Ok(nothing);
    }
    let level = params.level()?;
    let permit = permit(&app)?;
    let mut tail = app.client().log_tail(run, level).await?;
    if let Some(id) = last.0.and_then(|id| id.parse().ok()) {
        tail = tail.behind(id);
    }
    let of = OneLog {
        app: app.clone(),
        run,
        tail,
        patience: Duration::ZERO,
    };
    Ok(answer(&app, permit, feed(of)))
}

struct OneLog {
    app: App,
    run: RunId,
    tail: LogTail,
    patience: Duration,
}

impl Look for OneLog {
    async fn look(&mut self, _next: &mut Instant) -> Result<(Vec<Event>, bool), ClientError> {
        // Asked before the lines are read: those of a run that has ended are all there.
        let ended = match self.app.client().wait(self.run, Some(self.patience)).await {
            Ok(run) => Some(Some(run.status)),
            Err(ClientError::WaitTimedOut { .. }) => None,
            // It was deleted meanwhile.
            Err(ClientError::RunNotFound(_)) => Some(None),
            Err(error) => return Err(error),
        };
        self.patience = LOOK_EVERY;
        let lines = self.tail.next_lines_with_ids().await?;
        let mut events: Vec<Event> = lines
            .iter()
            .map(|line| event("line", &Line::from(line)).id(line.0.to_string()))
            .collect();
        events.extend(ended.map(|status| end(self.run, status)));
        Ok((events, ended.is_some()))
    }
}

/// Follows a page of the list of runs
///
/// Events: `page` with the page of the list, the newest one unless a cursor says otherwise, when it has changed, and `counts` with how many runs there are in each status when that has;
/// of each kind no more than 10,000 are counted (then `isAll` is false). The stream does not end.
#[utoipa::path(
    get,
    path = "/runs/stream",
    tag = "streams",
    operation_id = "streamRuns",
    params(ListParams),
    responses((status = 200, description = "Server-sent events: `page`, `counts`, `problem`", body = String, content_type = "text/event-stream")),
    extensions(
        ("x-role" = json!("read")),
        ("x-problems" = json!(["bad-argument", "unknown-workflow", "ambiguous-workflow", "too-many-streams"])),
    ),
)]
pub(crate) async fn list(app: App, Query(params): Query<ListParams>) -> Result<Response, Problem> {
    let filter = params.filter()?;
    let permit = permit(&app)?;
    let list = List::of(app.lists(), app.client(), filter);
    // Who asks for what cannot be is to hear so by the status.
    let first = list.look(app.client()).await?;
    let of = Listing {
        app: app.clone(),
        list,
        first: Some(first),
        page: Arc::default(),
        counts: Arc::default(),
    };
    Ok(answer(&app, permit, feed(of)))
}

struct Listing {
    app: App,
    list: Arc<List>,
    first: Option<Seen>,
    /// The page as it was sent.
    page: Arc<str>,
    /// The counts as they were sent.
    counts: Arc<str>,
}

impl Look for Listing {
    async fn look(&mut self, next: &mut Instant) -> Result<(Vec<Event>, bool), ClientError> {
        let seen = match self.first.take() {
            Some(first) => first,
            None => self.list.look(self.app.client()).await?,
        };
        *next = seen.next;
        let mut events = Vec::new();
        if seen.page != self.page {
            events.push(Event::default().event("page").data(&seen.page));
            self.page = seen.page;
        }
        if seen.counts != self.counts {
            events.push(Event::default().event("counts").data(&seen.counts));
            self.counts = seen.counts;
        }
        Ok((events, false))
    }
}
