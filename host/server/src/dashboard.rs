//! The dashboard: pages for people, made on the server. A small script exchanges parts of them, and they can be read and used without it.
//!
//! [`guard`] stands before all of it, and is where a visitor gets a name. Each page is a file here and a template of the same name.

mod assets;
mod deployments;
mod error;
mod fields;
mod guard;
mod json_view;
mod kept;
mod logs;
mod overview;
mod page;
mod query;
mod queues;
mod run;
mod runs;
mod samples;
mod schedules;
mod start;
mod steer;
mod timeline;
mod wit;
mod workers;
mod workflows;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;
use dacapo_client::{Client, Run};

use crate::App;
use kept::Kept;
use samples::Samples;

/// How long what live updates look up is kept for others who ask for the same: less than a page waits before it asks again.
const MOMENT: Duration = Duration::from_millis(1_500);

/// What all pages share.
#[derive(Clone)]
pub(crate) struct Dashboard {
    app: App,
    samples: Arc<Samples>,
    moments: Arc<Moments>,
}

/// What was looked up for live updates.
struct Moments {
    lists: Kept<runs::Found>,
    runs: Kept<Run>,
    overviews: Kept<overview::Overview>,
}

impl Dashboard {
    fn client(&self) -> &Client {
        self.app.client()
    }
}

/// All pages.
pub(crate) fn router(app: App) -> Router {
    let samples = samples::begin(app.client().clone());
    let moments = Arc::new(Moments {
        lists: Kept::for_up_to(MOMENT),
        runs: Kept::for_up_to(MOMENT),
        overviews: Kept::for_up_to(MOMENT),
    });
    Router::new()
        .route("/", get(overview::show))
        .route("/overview/live", get(overview::live))
        .route("/runs", get(runs::show))
        .route("/runs/live", get(runs::live))
        .route("/runs/{id}", get(run::show))
        .route("/runs/{id}/live", get(run::live))
        .route("/runs/{id}/brief", get(run::brief))
        .route("/runs/{id}/step", get(run::step))
        .route("/runs/{id}/json", get(run::json))
        .route("/runs/{id}/logs", get(logs::show))
        .route("/runs/{id}/logs/more", get(logs::more))
        .route("/runs/{id}/do/{action}", get(steer::ask).post(steer::act))
        .route("/workflows", get(workflows::list))
        .route("/workflows/{*name}", get(workflows::show))
        .route("/start/{*name}", get(start::show).post(start::act))
        .route("/deployments", get(deployments::list))
        .route("/deployments/{package}/diff", get(deployments::diff))
        .route("/deployments/{package}/{number}", get(deployments::show))
        .route("/schedules", get(schedules::list))
        .route(
            "/schedules/{name}/do/{action}",
            get(schedules::ask).post(schedules::act),
        )
        .route("/queues", get(queues::list))
        .route("/queues/live", get(queues::live))
        .route(
            "/queues/{name}/do/{action}",
            get(queues::ask).post(queues::act),
        )
        .route("/workers", get(workers::list))
        .route("/assets/{sum}/{name}", get(assets::serve))
        .fallback(error::nothing)
        .layer(from_fn(error::in_time))
        .layer(from_fn(guard::guard))
        .with_state(Dashboard {
            app,
            samples,
            moments,
        })
}
