//! The dashboard: pages for people, made on the server. A small script exchanges parts of them, and they can be read and used without it.
//!
//! [`guard`] stands before all of it, and is where a visitor gets a name. Each page is a file here and a template of the same name.

mod assets;
mod audit;
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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dacapo_client::{Client, ClientError, Role, Watched};
use minijinja::context;

use crate::access::Need;
use crate::app::sight;
use crate::{App, Problem};
use error::Oops;
use kept::Kept;
use samples::Samples;

/// How long what live updates look up is kept for others who ask for the same: less than a page waits before it asks again.
const MOMENT: Duration = Duration::from_millis(1_500);

/// What all pages share.
#[derive(Clone)]
pub(crate) struct Dashboard {
    app: App,
    samples: Arc<Samples>,
    /// Of whoever may see the same.
    moments: Arc<Moments>,
    all_moments: Arc<AllMoments>,
    proofs: Arc<deployments::Proofs>,
}

/// What was looked up for live updates.
struct Moments {
    lists: Kept<runs::Found>,
    runs: Kept<Watched>,
    overviews: Kept<overview::Overview>,
}

/// What was looked up for live updates, by what those who asked may see.
#[derive(Default)]
struct AllMoments(Mutex<HashMap<String, Arc<Moments>>>);

/// Scopes and rights to payloads that are kept apart; when there are more, all are forgotten.
const SIGHTS_MAX: usize = 200;

impl AllMoments {
    fn of(&self, client: &Client) -> Arc<Moments> {
        let sight = sight(client);
        // The map is whole whenever the lock is free, whoever panicked.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SIGHTS_MAX && !all.contains_key(&sight) {
            all.clear();
        }
        Arc::clone(all.entry(sight).or_default())
    }
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            lists: Kept::for_up_to(MOMENT),
            runs: Kept::for_up_to(MOMENT),
            overviews: Kept::for_up_to(MOMENT),
        }
    }
}

impl Dashboard {
    fn client(&self) -> &Client {
        self.app.client()
    }
}

/// What a handler is handed: the dashboard as whoever asks may see it.
impl FromRequestParts<Dashboard> for Dashboard {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Dashboard) -> Result<Self, Oops> {
        let seen = dashboard.app.seen_by(parts);
        let app = seen.map_err(|problem| Oops::refused(problem.words().0))?;
        Ok(Self {
            moments: dashboard.all_moments.of(app.client()),
            all_moments: Arc::clone(&dashboard.all_moments),
            proofs: Arc::clone(&dashboard.proofs),
            samples: Arc::clone(&dashboard.samples),
            app,
        })
    }
}

/// What a page or a form takes, by its path as the router knows it and as it was asked for. What is done here has the name that the API has
/// for it.
pub(crate) fn need(method: &Method, path: &str, asked: &str) -> Option<Need> {
    let last = asked.rsplit('/').next().unwrap_or_default();
    let does = |of: &str| {
        let name = match (of, last) {
            ("run", "force") => "cancelRun".to_owned(),
            ("run", "event") => "sendEvent".to_owned(),
            ("run", "skip") => "skipStep".to_owned(),
            ("run", "note") => "addNote".to_owned(),
            (of, action) => {
                let (first, rest) = of.split_at(1);
                let action: String = action.chars().take(40).collect();
                format!("{action}{}{rest}", first.to_uppercase())
            }
        };
        Some(Need::Role(Role::Operate, name))
    };
    match path {
        "/assets/{sum}/{name}" => Some(Need::Nothing),
        "/runs/{id}/do/{action}" => does("run"),
        "/schedules/{name}/do/{action}" => does("schedule"),
        "/queues/{name}/do/{action}" => does("queue"),
        "/start/{*name}" => Some(Need::Role(Role::Operate, "startRun".to_owned())),
        "/deployments/{package}/{number}/proof" => {
            Some(Need::Role(Role::Deploy, "proveDeployment".to_owned()))
        }
        "/audit" if *method == Method::GET => Some(Need::Role(Role::Admin, "listAudit".to_owned())),
        path if *method == Method::GET => Some(Need::Role(Role::Read, path.to_owned())),
        _ => None,
    }
}

/// The page where it cannot be found out who asks.
pub(crate) fn failed(error: ClientError) -> Response {
    Oops::from(error).into_response()
}

/// The page for whoever may not see another one.
pub(crate) fn refused(problem: Problem) -> Response {
    Oops::Problem(problem).into_response()
}

/// The page to sign in on, which leads to another one.
pub(crate) fn sign_in_page(next: &str, provider: Option<&str>, error: Option<&str>) -> Response {
    match page::render(
        "sign_in.html",
        context! { next, provider, error, token => "" },
    ) {
        Ok(html) => html.into_response(),
        Err(error) => Oops::from(error).into_response(),
    }
}

/// All pages.
pub(crate) fn router(app: App) -> Router {
    let samples = samples::begin(app.client().clone());
    let all_moments = Arc::new(AllMoments::default());
    let moments = all_moments.of(app.client());
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
        .route(
            "/deployments/{package}/{number}/proof",
            post(deployments::prove),
        )
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
        .route("/audit", get(audit::list))
        .route("/assets/{sum}/{name}", get(assets::serve))
        .fallback(error::nothing)
        .layer(from_fn(error::in_time))
        .layer(from_fn(guard::guard))
        .with_state(Dashboard {
            app,
            samples,
            moments,
            all_moments,
            proofs: Arc::default(),
        })
}
