//! What all handlers share, and all routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use dacapo_client::Client;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::{Gate, HasTls, guarded, located, secure, sign_in_routes};
use crate::api::{Counts, InUse, List, Watch};
use crate::guard::paced;
use crate::rate::Rate;
use crate::{
    Caller, Code, Limits, Probe, Problem, Proof, Prove, Render, api, dashboard, health, mcp,
    metrics,
};

/// What all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    client: Client,
    probe: Probe,
    render: Option<Render>,
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    rate: Option<Rate>,
    /// A permit for each stream that may be opened.
    streams: Arc<Semaphore>,
    stopping: CancellationToken,
    code: Option<Arc<dyn Code>>,
    /// Who plays journals holds it: one at a time takes all that a processor has.
    proofs: Semaphore,
    lists: InUse<List>,
    watches: InUse<Watch>,
    counts: Counts,
}

impl App {
    /// An application over a database, in the namespace of the client. Its streams end once `stopping` is cancelled.
    pub fn new(client: Client, probe: Probe, limits: Limits, stopping: CancellationToken) -> Self {
        let streams = usize::try_from(limits.streams_max).unwrap_or(usize::MAX);
        let shared = Shared {
            rate: Rate::new(&limits),
            streams: Arc::new(Semaphore::new(streams.min(Semaphore::MAX_PERMITS))),
            limits,
            stopping,
            code: None,
            proofs: Semaphore::new(1),
            lists: InUse::default(),
            watches: InUse::default(),
            counts: Counts::default(),
        };
        Self {
            client,
            probe,
            render: None,
            shared: Arc::new(shared),
        }
    }

    /// The same application, which shows what the process counts.
    #[must_use]
    pub fn with_metrics(mut self, render: Render) -> Self {
        self.render = Some(render);
        self
    }

    /// The same application with somebody who can read components. Called before the application is cloned.
    #[must_use]
    pub fn with_code(mut self, code: Arc<dyn Code>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.code = Some(code);
        }
        self
    }

    /// What starts, steers and finds runs.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How much may be asked.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Cancelled when the server is to stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    /// A permit for each stream that may be opened.
    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.shared.streams
    }

    pub(crate) fn rate(&self) -> Option<&Rate> {
        self.shared.rate.as_ref()
    }

    /// What would become of runs in flight with the code of another deployment.
    pub(crate) async fn prove(&self, prove: Prove) -> Result<Proof, Problem> {
        // Which runs are tried no scope says.
        self.client.check_sees_all()?;
        let code = self.code().ok_or_else(api::nobody_reads)?;
        // It is never closed.
        let _one = self.shared.proofs.acquire().await;
        code.prove(&self.client, prove).await
    }

    /// The lists that streams look at.
    pub(crate) fn lists(&self) -> &InUse<List> {
        &self.shared.lists
    }

    /// The runs that streams look at.
    pub(crate) fn watches(&self) -> &InUse<Watch> {
        &self.shared.watches
    }

    /// How many runs there were when they were counted last.
    pub(crate) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    pub(crate) fn code(&self) -> Option<&Arc<dyn Code>> {
        self.shared.code.as_ref()
    }
}

/// What a client may see, in words that are others where it sees other things: nobody is shown what was looked up for somebody who may see more.
pub(crate) fn sight(client: &Client) -> String {
    format!("{:?} {:?}", client.payloads(), client.scope())
}

/// What a handler is handed: the application as whoever asks may see it. No handler takes the state itself, whose client sees everything.
impl FromRequestParts<App> for App {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        app.seen_by(parts)
    }
}

impl App {
    /// The same application with a client that sees what the sender of a request may see.
    pub(crate) fn seen_by(&self, parts: &Parts) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>();
        let caller = caller.ok_or_else(|| {
            Problem::new(
                "unauthenticated",
                "the request did not come through the gate",
            )
        })?;
        Ok(Self {
            client: caller.client().clone(),
            ..self.clone()
        })
    }
}

/// All routes, behind the gate. Whoever sends too much does not come as far as that.
pub fn everything(app: App, gate: Gate) -> Router {
    let tls = HasTls(gate.has_tls());
    let probe = app.probe.clone();
    let counted = match &app.render {
        Some(render) => metrics(Arc::clone(render), app.client.clone()),
        None => Router::new(),
    };
    // A path that is nested does not have the one with a slash behind it.
    let bare = format!("{}/", api::PREFIX);
    Router::new()
        .route(&bare, any(api::nothing_at_all))
        .nest(api::PREFIX, api::routes(app.clone()))
        .merge(mcp::routes(app.clone()))
        .merge(counted)
        .merge(dashboard::router(app.clone()))
        .merge(sign_in_routes(gate.clone()))
        .layer(from_fn_with_state(gate.clone(), guarded))
        .layer(from_fn_with_state(app, paced))
        .layer(from_fn_with_state(gate, located))
        .merge(health(probe))
        .layer(from_fn_with_state(tls, secure))
}
