//! Who works, and how they are.

use axum::response::{IntoResponse, Response};
use minijinja::context;

use super::Dashboard;
use super::error::Oops;
use super::guard::Visitor;
use super::page::page;

/// The page.
pub(crate) async fn list(dashboard: Dashboard, visitor: Visitor) -> Result<Response, Oops> {
    let client = dashboard.client();
    let (workers, standstill) = tokio::try_join!(client.workers(), client.standstill())?;
    let shown: Vec<_> = workers
        .iter()
        .map(|worker| {
            context! {
                id => worker.id,
                name => worker.name,
                version => worker.version,
                is_other_version => worker.version != env!("CARGO_PKG_VERSION"),
                started_at => worker.started_at.to_string(),
                lease_until => worker.lease_until.to_string(),
                alive => worker.alive,
                queues => worker.queues,
                runs => worker.runs,
            }
        })
        .collect();
    let standstill = standstill.map(|standstill| {
        context! { since => standstill.since.to_string(), reason => standstill.reason }
    });
    let html = page(
        &visitor,
        "workers.html",
        context! { workers => shown, standstill },
    )?;
    Ok(html.into_response())
}
