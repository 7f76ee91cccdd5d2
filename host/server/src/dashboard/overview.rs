//! The first page: how things are, and what needs somebody.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::response::{IntoResponse, Response};
use dacapo_client::{ListFilter, RunFilter, Status};
use minijinja::{Value, context};

use super::Dashboard;
use super::error::Oops;
use super::guard::Visitor;
use super::page::page;
use super::query::Query;
use super::runs::{Again, COUNT_ROWS, Row, counts_of};

/// Runs of each list.
const RUNS: u32 = 8;

/// What it says.
pub(crate) struct Overview {
    values: Value,
    seen: String,
}

async fn look(dashboard: &Dashboard) -> Result<Overview, Oops> {
    let client = dashboard.client();
    let of_status = |status: Option<Status>| {
        client.list(ListFilter {
            runs: RunFilter {
                status,
                ..RunFilter::default()
            },
            limit: RUNS,
            ..ListFilter::default()
        })
    };
    let (counted, failed, blocked, newest) = tokio::try_join!(
        client.count_up_to(RunFilter::default(), COUNT_ROWS),
        of_status(Some(Status::Failed)),
        of_status(Some(Status::Blocked)),
        of_status(None),
    )?;
    // Workers are everybody's; whoever is limited to some runs sees none.
    let workers = async {
        match client.check_sees_all() {
            Ok(()) => client.workers().await,
            Err(_) => Ok(Vec::new()),
        }
    };
    let (workers, workflows, schedules, standstill) = tokio::try_join!(
        workers,
        client.workflows(),
        client.schedules(),
        client.standstill(),
    )?;
    let depths = dashboard.samples.of(client).await?;
    let rows = |page: &dacapo_client::Page<dacapo_client::RunSummary>| -> Vec<Row> {
        page.items.iter().map(Row::of).collect()
    };
    let (failed, blocked, newest) = (rows(&failed), rows(&blocked), rows(&newest));
    let counts = counts_of(&counted);
    let alive = workers.iter().filter(|worker| worker.alive).count();
    let waiting: u64 = depths
        .iter()
        .filter_map(|(_, line)| line.last())
        .map(|sample| sample.waiting)
        .sum();
    let age = depths
        .iter()
        .filter_map(|(_, line)| line.last())
        .map(|sample| sample.age)
        .max()
        .unwrap_or(0);
    let mut hasher = DefaultHasher::new();
    (
        &failed,
        &blocked,
        &newest,
        &counts,
        alive,
        workers.len(),
        waiting,
    )
        .hash(&mut hasher);
    let troubled = schedules
        .iter()
        .filter(|schedule| schedule.trouble.is_some())
        .count();
    let next = schedules
        .iter()
        .filter_map(|schedule| schedule.next_ticks.first())
        .min();
    Ok(Overview {
        values: context! {
            counts,
            failed,
            blocked,
            newest,
            alive,
            dead => workers.len() - alive,
            waiting,
            age,
            workflow_count => workflows.len(),
            first_workflow => workflows.first().map(|workflow| workflow.name.clone()),
            schedule_count => schedules.len(),
            troubled,
            next_tick => next.map(ToString::to_string),
            standstill => standstill.map(|standstill| {
                context! { since => standstill.since.to_string(), reason => standstill.reason }
            }),
        },
        seen: format!("{:016x}", hasher.finish()),
    })
}

/// The page.
pub(crate) async fn show(dashboard: Dashboard, visitor: Visitor) -> Result<Response, Oops> {
    let overview = look(&dashboard).await?;
    let html = page(
        &visitor,
        "overview.html",
        context! { seen => overview.seen, quiet => 0, every => 2, is_live => false, is_changed => true, ..overview.values },
    )?;
    Ok(html.into_response())
}

/// What has changed of it.
pub(crate) async fn live(
    dashboard: Dashboard,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let overview = dashboard
        .moments
        .overviews
        .get("", || look(&dashboard))
        .await?;
    let again = Again::after(&query, &overview.seen);
    let html = page(
        &visitor,
        "overview_body.html",
        context! {
            seen => overview.seen,
            quiet => again.quiet,
            every => again.every,
            is_live => true,
            is_changed => again.is_changed,
            ..overview.values.clone()
        },
    )?;
    Ok(html.into_response())
}
