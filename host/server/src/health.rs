//! The answers of the health and version endpoints.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde::Serialize;

/// Whether the process does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, for this reason: one sentence for people.
    NotReady(String),
}

/// Tells the readiness whenever somebody asks for it. It must not block.
pub type Probe = Arc<dyn Fn() -> Readiness + Send + Sync>;

#[derive(Serialize)]
struct LiveBody {
    live: bool,
}

#[derive(Serialize)]
struct ReadyBody {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct VersionBody {
    name: &'static str,
    version: &'static str,
}

/// The endpoints that say whether the process works, and what it is.
pub fn health(probe: Probe) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/version", get(version))
        .with_state(probe)
}

async fn live() -> Json<LiveBody> {
    Json(LiveBody { live: true })
}

async fn ready(State(probe): State<Probe>) -> (StatusCode, Json<ReadyBody>) {
    match probe() {
        Readiness::Ready => (
            StatusCode::OK,
            Json(ReadyBody {
                ready: true,
                reason: None,
            }),
        ),
        Readiness::NotReady(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(ReadyBody {
                ready: false,
                reason: Some(reason),
            }),
        ),
    }
}

async fn version() -> Json<VersionBody> {
    Json(VersionBody {
        name: "dacapo",
        version: env!("CARGO_PKG_VERSION"),
    })
}
