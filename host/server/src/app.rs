//! What all handlers share, and all routes.

use axum::Router;
use dacapo_client::Client;

use crate::{Probe, dashboard, health};

/// What all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    client: Client,
    probe: Probe,
}

impl App {
    /// An application over a database, in the namespace of the client.
    pub fn new(client: Client, probe: Probe) -> Self {
        Self { client, probe }
    }

    /// What starts, steers and finds runs.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// All routes.
pub fn everything(app: App) -> Router {
    health(app.probe.clone()).merge(dashboard::router(app))
}
