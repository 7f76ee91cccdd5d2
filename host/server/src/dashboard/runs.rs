//! The list of runs.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dacapo_client::{
    ClientError, Counted, Cursor, ListFilter, RunFilter, RunSummary, Status, Timestamp,
};
use minijinja::context;
use serde::Serialize;

use super::Dashboard;
use super::error::{Oops, chain, is_visitors, status_of};
use super::guard::Visitor;
use super::page::{cut, now, page};
use super::query::Query;

/// Runs of a page.
const LIMIT: u32 = 50;

/// Rows of each kind that are looked at to count runs. What is beyond is said to be more.
pub(crate) const COUNT_ROWS: u32 = 2_000;

/// How often a page that changes asks again, in seconds, and how seldom one that does not.
const QUICK: u32 = 2;
const SLOW: u32 = 30;

/// What a run looks like in a list.
#[derive(Debug, Serialize, Hash)]
pub(crate) struct Row {
    id: String,
    workflow: String,
    package: String,
    number: i32,
    status: &'static str,
    labels: Vec<(String, String)>,
    created_at: String,
    /// When a worker took it.
    started_at: Option<String>,
    /// How long it took, once it is over.
    took: Option<i64>,
    /// What is to be said of it beside its status.
    note: String,
    /// That in a word.
    note_kind: &'static str,
}

impl Row {
    pub(crate) fn of(run: &RunSummary) -> Self {
        let (note_kind, note) = note_of(run);
        Self {
            id: run.id.to_string(),
            workflow: run.workflow.clone(),
            package: run.deployment.package.clone(),
            number: run.deployment.number,
            status: run.status.as_str(),
            labels: run.labels.clone().into_iter().collect(),
            created_at: run.created_at.to_string(),
            started_at: run.started_at.map(|at| at.to_string()),
            took: run
                .finished_at
                .map(|end| millis(run.started_at.unwrap_or(run.created_at), end)),
            note: cut(&note, 200),
            note_kind,
        }
    }
}

pub(crate) fn millis(from: Timestamp, until: Timestamp) -> i64 {
    (until.as_micros() - from.as_micros()) / 1_000
}

/// What a list says of a run beside its status.
fn note_of(run: &RunSummary) -> (&'static str, String) {
    if let Some(failure) = &run.failure {
        return ("failure", failure.to_string());
    }
    if let Some(blocked) = &run.blocked {
        return ("failure", message_of(blocked.as_str()));
    }
    if let Some(waiting) = &run.waiting_for {
        return ("waiting", waiting_text(&waiting.reason, &waiting.events));
    }
    match (&run.progress.note, run.progress.total, run.status) {
        (Some(note), Some(total), _) => (
            "progress",
            format!("{note} ({} of {total})", run.progress.done),
        ),
        (None, Some(total), _) => ("progress", format!("{} of {total}", run.progress.done)),
        (_, None, Status::Running) if run.progress.done > 0 => {
            ("progress", format!("{} steps done", run.progress.done))
        }
        _ => ("", String::new()),
    }
}

/// What a blocked run says of itself in a sentence.
pub(crate) fn message_of(json: &str) -> String {
    let read: Option<serde_json::Value> = serde_json::from_str(json).ok();
    let message = read
        .as_ref()
        .and_then(|value| value.get("message")?.as_str());
    message.unwrap_or(json).to_owned()
}

/// What a run waits for, in words.
pub(crate) fn waiting_text(reason: &str, events: &[String]) -> String {
    match reason {
        "event" => match events {
            [] => "waits for an event".to_owned(),
            [one] => format!("waits for the event {one}"),
            many => format!("waits for one of {}", many.join(", ")),
        },
        "time" => "sleeps".to_owned(),
        "retry" => "waits for its next attempt".to_owned(),
        "pause" => "waits to be resumed, as its code asks".to_owned(),
        "boundary" => "was paused".to_owned(),
        "blocked" => "is blocked".to_owned(),
        "queue" => "waits for its turn in its queue".to_owned(),
        "delay" => "waits for its beginning".to_owned(),
        "workflow" => "its workflow is paused".to_owned(),
        "singleton" => "waits for the end of the run before it".to_owned(),
        other => format!("waits: {other}"),
    }
}

/// How many runs of a status there are, for people.
#[derive(Debug, Serialize, Hash)]
pub(crate) struct Count {
    pub(crate) status: &'static str,
    pub(crate) runs: u64,
    pub(crate) is_all: bool,
}

/// In the order in which they matter to whoever looks.
pub(crate) fn counts_of(counted: &std::collections::BTreeMap<Status, Counted>) -> Vec<Count> {
    Status::ALL
        .into_iter()
        .map(|status| {
            let count = counted.get(&status).copied().unwrap_or_default();
            Count {
                status: status.as_str(),
                runs: count.runs,
                is_all: count.is_all,
            }
        })
        .collect()
}

/// What the form above the list asks for.
#[derive(Debug, Default, Serialize)]
struct Asked {
    status: String,
    workflow: String,
    labels: String,
    failure: String,
    since: String,
    from: String,
    until: String,
    deployment: String,
}

/// How far back a list goes: the name, the words, and the seconds.
const PRESETS: [(&str, &str, i64); 6] = [
    ("15m", "15 minutes", 15 * 60),
    ("1h", "hour", 3_600),
    ("24h", "24 hours", 86_400),
    ("7d", "7 days", 7 * 86_400),
    ("30d", "30 days", 30 * 86_400),
    ("90d", "90 days", 90 * 86_400),
];

impl Asked {
    fn of(query: &Query) -> Self {
        let text = |name| query.filled(name).unwrap_or("").to_owned();
        Self {
            status: text("status"),
            workflow: text("workflow"),
            labels: text("labels"),
            failure: text("failure"),
            since: text("since"),
            from: text("from"),
            until: text("until"),
            deployment: text("deployment"),
        }
    }

    /// The query of an address that asks for the same, with another status if one is given.
    fn address(&self, status: &str) -> String {
        Query::of([
            ("status", status),
            ("workflow", &self.workflow),
            ("labels", &self.labels),
            ("failure", &self.failure),
            ("since", &self.since),
            ("from", &self.from),
            ("until", &self.until),
            ("deployment", &self.deployment),
        ])
    }

    fn filter(&self) -> Result<RunFilter, ClientError> {
        let bad = |what, message| ClientError::BadArgument { what, message };
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let status = match self.status.as_str() {
            "" => None,
            text => Some(
                text.parse::<Status>()
                    .map_err(|error| bad("status", error.to_string()))?,
            ),
        };
        let deployment = match self.deployment.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                bad(
                    "deployment",
                    format!("{text:?} is no number of a deployment"),
                )
            })?),
        };
        let since = match self.from.as_str() {
            "" => since_of(&self.since)?,
            text => Some(time_of(text)?),
        };
        let before = match self.until.as_str() {
            "" => None,
            text => Some(time_of(text)?),
        };
        Ok(RunFilter {
            status,
            workflow: filled(&self.workflow),
            deployment,
            labels: labels_of(&self.labels)?,
            failure: filled(&self.failure),
            created_since: since,
            created_before: before,
        })
    }
}

/// The words that a form has for how far back a list goes, by their names.
pub(crate) fn presets() -> Vec<(&'static str, &'static str)> {
    PRESETS.map(|(name, words, _)| (name, words)).into()
}

/// The time that one of them stands for, or a time as it is written.
pub(crate) fn since_of(text: &str) -> Result<Option<Timestamp>, ClientError> {
    let preset = PRESETS.iter().find(|(name, ..)| *name == text);
    match preset {
        Some((.., seconds)) => {
            let micros = now().as_micros() - seconds * 1_000_000;
            Ok(Some(Timestamp::from_micros(micros)))
        }
        None if text.is_empty() => Ok(None),
        None => time_of(text).map(Some),
    }
}

/// A time as forms and people write it; without an offset it is in UTC.
pub(crate) fn time_of(text: &str) -> Result<Timestamp, ClientError> {
    let short = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    short.parse().map_err(|_| ClientError::BadArgument {
        what: "time",
        message: format!("{text:?}: expected a time such as 2026-11-23T08:00"),
    })
}

/// `name=value`, several of them separated by commas or on lines of their own.
pub(crate) fn labels_of(
    text: &str,
) -> Result<std::collections::BTreeMap<String, String>, ClientError> {
    let parts = text.split([',', '\n']).map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(|part| match part.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => Err(ClientError::BadArgument {
                what: "label",
                message: format!("{part:?}: expected name=value"),
            }),
        })
        .collect()
}

/// A part of the list, and how many there are.
pub(crate) struct Found {
    rows: Vec<Row>,
    counts: Vec<Count>,
    next: Option<String>,
    previous: Option<String>,
    /// What is wrong with what was asked for.
    problem: Option<Problem>,
    status: StatusCode,
}

/// What is wrong, and what to do about it.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn of(error: &ClientError) -> Self {
        Self {
            message: chain(error),
            hint: error.hint(),
        }
    }
}

impl Found {
    /// What of it a visitor would see change.
    fn seen(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.rows, &self.counts).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

async fn find(dashboard: &Dashboard, asked: &Asked, query: &Query) -> Result<Found, Oops> {
    let look = async {
        let cursor = |name| {
            let text = query.filled(name);
            text.map(str::parse::<Cursor>)
                .transpose()
                .map_err(|error| ClientError::BadArgument {
                    what: "cursor",
                    message: error.to_string(),
                })
        };
        let filter = ListFilter {
            runs: asked.filter()?,
            limit: LIMIT,
            after: cursor("after")?,
            before: cursor("before")?,
        };
        let client = dashboard.client();
        let counted = client.count_up_to(filter.runs.clone(), COUNT_ROWS);
        tokio::try_join!(client.list(filter.clone()), counted)
    };
    match look.await {
        Ok((page, counted)) => Ok(Found {
            rows: page.items.iter().map(Row::of).collect(),
            counts: counts_of(&counted),
            next: page.next.map(|cursor| cursor.to_string()),
            previous: page.previous.map(|cursor| cursor.to_string()),
            problem: None,
            status: StatusCode::OK,
        }),
        Err(error) if is_visitors(&error) => Ok(Found {
            rows: Vec::new(),
            counts: counts_of(&Default::default()),
            next: None,
            previous: None,
            problem: Some(Problem::of(&error)),
            status: status_of(&error),
        }),
        Err(error) => Err(error.into()),
    }
}

/// What the template says of the list.
fn values(asked: &Asked, found: &Found, query: &Query) -> minijinja::Value {
    let tabs: Vec<_> = std::iter::once(("", None))
        .chain(found.counts.iter().map(|count| (count.status, Some(count))))
        .map(|(status, count)| {
            context! {
                status,
                count,
                address => asked.address(status),
                is_current => asked.status == status,
            }
        })
        .collect();
    let is_filtered = !asked.address("").is_empty();
    let is_first = query.get("after").is_none() && query.get("before").is_none();
    context! {
        asked,
        rows => found.rows,
        tabs,
        next => found.next,
        previous => found.previous,
        problem => found.problem,
        is_filtered,
        is_first,
        address => asked.address(&asked.status),
        count_rows => COUNT_ROWS,
    }
}

/// The page.
pub(crate) async fn show(
    dashboard: Dashboard,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let asked = Asked::of(&query);
    let found = find(&dashboard, &asked, &query).await?;
    let workflows = dashboard.client().workflows().await?;
    let names: Vec<String> = workflows
        .into_iter()
        .map(|workflow| workflow.name)
        .collect();
    let html = page(
        &visitor,
        "runs.html",
        context! {
            nothing_deployed => names.is_empty(),
            workflows => names,
            presets => presets(),
            seen => found.seen(),
            quiet => 0,
            every => QUICK,
            ..values(&asked, &found, &query)
        },
    )?;
    Ok((found.status, html).into_response())
}

/// What has changed of the page, if anything has, and when to ask again. Only the beginning of a list does so.
pub(crate) async fn live(
    dashboard: Dashboard,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let asked = Asked::of(&query);
    let address = asked.address(&asked.status);
    let beginning = Query::default();
    let look = || find(&dashboard, &asked, &beginning);
    let found = dashboard.moments.lists.get(&address, look).await?;
    let seen = found.seen();
    let again = Again::after(&query, &seen);
    let html = page(
        &visitor,
        "runs_live.html",
        context! {
            seen,
            quiet => again.quiet,
            every => again.every,
            is_changed => again.is_changed,
            workflows => Vec::<String>::new(),
            nothing_deployed => false,
            ..values(&asked, &found, &beginning)
        },
    )?;
    Ok(html.into_response())
}

/// When a page asks again: the longer nothing changes, the later.
pub(crate) struct Again {
    /// How often in a row nothing had changed.
    pub(crate) quiet: u32,
    /// In seconds.
    pub(crate) every: u32,
    pub(crate) is_changed: bool,
}

impl Again {
    /// `seen` is what there is to be seen now; the address says what the visitor has seen.
    pub(crate) fn after(query: &Query, seen: &str) -> Self {
        let is_changed = query.get("seen") != Some(seen);
        let before = query.get("quiet").and_then(|text| text.parse().ok());
        let quiet = match is_changed {
            true => 0,
            false => before.unwrap_or(0_u32).saturating_add(1).min(30),
        };
        // A few times as quickly as ever, for whoever waits for something to happen.
        let doublings = quiet.saturating_sub(5).min(4);
        Self {
            quiet,
            every: (QUICK << doublings).min(SLOW),
            is_changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::from_pairs(url::form_urlencoded::parse(text.as_bytes()).into_owned())
    }

    #[test]
    fn what_is_asked_for_survives_its_address() {
        let asked = Asked::of(&query(
            "status=failed&labels=a%3D1%2C+b%3D2&failure=no+money&from=2026-11-23T08:00&until=2026-11-24&deployment=3",
        ));
        let filter = asked.filter().unwrap();
        assert_eq!(filter.status, Some(Status::Failed));
        assert_eq!(filter.labels.len(), 2);
        assert_eq!(filter.deployment, Some(3));
        assert_eq!(
            filter.created_since.unwrap().to_string(),
            "2026-11-23T08:00:00.000000Z"
        );
        let again = Asked::of(&query(&asked.address(&asked.status)));
        assert_eq!(again.filter().unwrap(), filter);
    }

    #[test]
    fn what_cannot_be_asked_for_is_said() {
        for (text, expected) in [
            ("status=odd", "bad status"),
            ("labels=a", "bad label: \"a\": expected name=value"),
            ("from=soon", "bad time: \"soon\""),
            ("deployment=x", "bad deployment"),
        ] {
            let error = Asked::of(&query(text)).filter().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_page_on_which_nothing_happens_asks_less_and_less_often() {
        let at = |quiet: u32| Again::after(&query(&format!("seen=a&quiet={quiet}")), "a").every;
        assert_eq!(at(0), 2);
        assert_eq!(at(4), 2);
        assert_eq!(at(6), 8);
        assert_eq!(at(30), 30);
        let changed = Again::after(&query("seen=a&quiet=30"), "b");
        assert_eq!((changed.quiet, changed.every), (0, 2));
    }
}
