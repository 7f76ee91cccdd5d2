//! What all handlers share, and all routes.

use std::sync::Arc;

use axum::Router;
use axum::routing::any;
use dacapo_client::Client;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::rate::Rate;
use crate::{Code, Limits, Probe, api, health};

/// What all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    client: Client,
    probe: Probe,
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    rate: Option<Rate>,
    /// A permit for each stream that may be opened.
    streams: Arc<Semaphore>,
    stopping: CancellationToken,
    code: Option<Arc<dyn Code>>,
    local_names_only: bool,
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
            local_names_only: false,
        };
        Self {
            client,
            probe,
            shared: Arc::new(shared),
        }
    }

    /// The same application with somebody who can read components. Called before the application is cloned.
    #[must_use]
    pub fn with_code(mut self, code: Arc<dyn Code>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.code = Some(code);
        }
        self
    }

    /// The same application for a server that only its own machine reaches, and that asks for no token: it answers to no other names than
    /// that machine's own, since a page of another site may give this address a name of its own and read what is answered. Called before the
    /// application is cloned.
    #[must_use]
    pub fn with_local_names_only(mut self) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.local_names_only = true;
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

    pub(crate) fn local_names_only(&self) -> bool {
        self.shared.local_names_only
    }

    pub(crate) fn rate(&self) -> Option<&Rate> {
        self.shared.rate.as_ref()
    }

    pub(crate) fn code(&self) -> Option<&Arc<dyn Code>> {
        self.shared.code.as_ref()
    }
}

/// All routes.
pub fn everything(app: App) -> Router {
    // A path that is nested does not have the one with a slash behind it.
    let bare = format!("{}/", api::PREFIX);
    health(app.probe.clone())
        .route(&bare, any(api::nothing_at_all))
        .nest(api::PREFIX, api::routes(app))
}
