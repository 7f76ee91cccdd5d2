//! What all handlers share, and all routes.

use std::sync::Arc;

use axum::Router;
use dacapo_client::Client;

use crate::{Probe, Render, health, metrics};

/// What all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    client: Client,
    probe: Probe,
    render: Option<Render>,
}

impl App {
    /// An application over a database, in the namespace of the client.
    pub fn new(client: Client, probe: Probe) -> Self {
        Self {
            client,
            probe,
            render: None,
        }
    }

    /// The same, which shows what the process counts.
    #[must_use]
    pub fn with_metrics(mut self, render: Render) -> Self {
        self.render = Some(render);
        self
    }

    /// What starts, steers and finds runs.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// All routes.
pub fn everything(app: App) -> Router {
    let routes = health(app.probe.clone());
    match &app.render {
        Some(render) => routes.merge(metrics(Arc::clone(render), app.client.clone())),
        None => routes,
    }
}
