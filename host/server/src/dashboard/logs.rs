//! What a run has logged.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use dacapo_client::LogLevel;
use minijinja::{Value, context};
use serde::Serialize;
use uuid::Uuid;

use super::Dashboard;
use super::error::Oops;
use super::guard::Visitor;
use super::json_view;
use super::page::page;
use super::query::Query;
use super::run::id_of;

/// Lines that come together.
const LINES: u32 = 300;

#[derive(Debug, Serialize)]
struct Line {
    at: String,
    level: String,
    step: Option<String>,
    source: String,
    message: String,
    fields: Option<Value>,
}

/// The next lines behind those that the visitor has. A line of a worker whose clock is slower than that of the last line shows when the
/// page is loaded anew.
async fn lines(dashboard: &Dashboard, id: &str, query: &Query) -> Result<Value, Oops> {
    let run = id_of(id)?;
    let client = dashboard.client();
    let status = client.check_progress(run).await?.status;
    let level: LogLevel = query
        .get("level")
        .and_then(|text| text.parse().ok())
        .unwrap_or(LogLevel::Trace);
    let after: Option<Uuid> = query.get("after").and_then(|text| text.parse().ok());
    let found = client.log_page(run, level, after, LINES).await?;
    let is_more = found.len() == LINES as usize;
    let newest = found.last().map(|(id, _)| *id).or(after);
    let lines: Vec<Line> = found
        .into_iter()
        .map(|(_, line)| Line {
            at: line.at.to_string(),
            level: line.level,
            step: line.step,
            source: line.source,
            message: line.message,
            fields: line.fields.map(|fields| json_view::html(fields.as_str())),
        })
        .collect();
    let is_followed = !is_more && !status.is_terminal();
    // Nothing there for now: ask less often.
    let every = match lines.is_empty() {
        true => 5,
        false => 2,
    };
    Ok(context! {
        id,
        status => status.as_str(),
        is_over => status.is_terminal(),
        level => level.as_str(),
        levels => LogLevel::ALL.map(LogLevel::as_str),
        after => newest.map(|id| id.to_string()).unwrap_or_default(),
        is_first => after.is_none(),
        is_more,
        is_followed,
        every,
        lines,
    })
}

/// The page, or what of it stands in the page of the run.
pub(crate) async fn show(
    dashboard: Dashboard,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let values = lines(&dashboard, &id, &query).await?;
    let layout = super::run::layout_of(&query);
    let html = page(&visitor, "logs.html", context! { layout, ..values })?;
    Ok(html.into_response())
}

/// The lines that come next.
pub(crate) async fn more(
    dashboard: Dashboard,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let values = lines(&dashboard, &id, &query).await?;
    Ok(page(&visitor, "log_rows.html", values)?.into_response())
}
