//! Who did what, for those who may know.

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use dacapo_client::{AuditEntry, AuditFilter, ClientError, RunId};
use minijinja::context;
use serde::Serialize;

use super::Dashboard;
use super::error::{Oops, is_visitors, status_of};
use super::guard::Visitor;
use super::page::page;
use super::query::Query;
use super::runs::{Problem, presets, since_of};
use crate::api;

/// Entries of a page.
const LIMIT: u32 = 50;

/// What is noted beside operations of the API.
const OTHER_ACTIONS: [&str; 4] = ["sign-in", "sign-out", "token-create", "token-revoke"];

/// What the form above the list asks for.
#[derive(Debug, Serialize)]
struct Asked {
    who: String,
    action: String,
    target: String,
    outcome: String,
    since: String,
}

impl Asked {
    fn of(query: &Query) -> Self {
        let text = |name| query.filled(name).unwrap_or("").to_owned();
        Self {
            who: text("who"),
            action: text("action"),
            target: text("target"),
            outcome: text("outcome"),
            since: text("since"),
        }
    }

    /// The query of an address that asks for the same.
    fn address(&self) -> String {
        Query::of([
            ("who", self.who.as_str()),
            ("action", &self.action),
            ("target", &self.target),
            ("outcome", &self.outcome),
            ("since", &self.since),
        ])
    }

    fn filter(&self, after: Option<&str>) -> Result<AuditFilter, ClientError> {
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let after = after.map(|text| {
            text.parse().map_err(|_| ClientError::BadArgument {
                what: "cursor",
                message: format!("{text:?}: expected the number of an entry"),
            })
        });
        Ok(AuditFilter {
            who: filled(&self.who),
            action: filled(&self.action),
            target: filled(&self.target),
            outcome: filled(&self.outcome),
            since: since_of(&self.since)?,
            before: None,
            limit: LIMIT,
            after: after.transpose()?,
        })
    }
}

#[derive(Debug, Serialize)]
struct Row {
    at: String,
    who: Option<String>,
    via: String,
    role: Option<String>,
    action: String,
    target: Option<String>,
    /// Whether the target is the id of a run.
    is_run: bool,
    outcome: String,
    status: Option<i16>,
    address: Option<String>,
}

impl Row {
    fn of(entry: AuditEntry) -> Self {
        let is_id = |target: &String| target.parse::<RunId>().is_ok();
        Self {
            at: entry.at.to_string(),
            who: entry.who,
            via: entry.via,
            role: entry.role,
            action: entry.action,
            is_run: entry.target.as_ref().is_some_and(is_id),
            target: entry.target,
            outcome: entry.outcome,
            status: entry.status,
            address: entry.address,
        }
    }
}

/// The page.
pub(crate) async fn list(
    dashboard: Dashboard,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let asked = Asked::of(&query);
    let after = query.filled("after");
    let found = match asked.filter(after) {
        Ok(filter) => dashboard.client().audit(&filter).await,
        Err(error) => Err(error),
    };
    let (items, next, problem, status) = match found {
        Ok(found) => (found.items, found.next, None, StatusCode::OK),
        // Whoever may not know is not shown what to ask for.
        Err(error @ ClientError::OutOfScope { .. }) => return Err(error.into()),
        Err(error) if is_visitors(&error) => {
            let problem = Problem::of(&error);
            (Vec::new(), None, Some(problem), status_of(&error))
        }
        Err(error) => return Err(error.into()),
    };
    let operations = api::operations().iter();
    let changing = operations.filter(|operation| operation.method != Method::GET);
    let mut actions: Vec<&str> = changing.map(|operation| operation.id.as_str()).collect();
    actions.extend(OTHER_ACTIONS);
    actions.sort_unstable();
    let address = asked.address();
    let html = page(
        &visitor,
        "audit.html",
        context! {
            is_filtered => !address.is_empty(),
            is_first => after.is_none(),
            rows => items.into_iter().map(Row::of).collect::<Vec<_>>(),
            presets => presets(),
            asked,
            actions,
            address,
            next,
            problem,
        },
    )?;
    Ok((status, html).into_response())
}
