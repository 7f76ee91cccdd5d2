//! Who calls tools, what they may, and what is noted of it.

use axum::http::StatusCode;
use axum::http::request::Parts;
use dacapo_client::{Client, Role};
use rmcp::ErrorData;
use rmcp::model::Extensions;
use tokio::sync::OwnedSemaphorePermit;

use super::McpConfig;
use crate::access::Auditor;
use crate::{App, Caller, Problem, api};

/// Somebody who calls tools.
#[derive(Clone)]
pub(super) struct Asker {
    client: Client,
    who: String,
    role: Role,
    /// The server that they ask, if they ask one.
    server: Option<Server>,
}

#[derive(Clone)]
struct Server {
    app: App,
    caller: Caller,
    auditor: Auditor,
}

impl Asker {
    /// The client of a process that speaks with nobody else.
    pub(super) fn on_this_machine(client: Client, config: McpConfig) -> Self {
        Self {
            client,
            who: config.who,
            role: config.role,
            server: None,
        }
    }

    /// Whoever the gate has let in with this request.
    pub(super) fn of(app: &App, extensions: &Extensions) -> Result<Self, ErrorData> {
        let parts = extensions.get::<Parts>().map(|parts| &parts.extensions);
        let caller = parts.and_then(|parts| parts.get::<Caller>());
        let auditor = parts.and_then(|parts| parts.get::<Auditor>());
        let (Some(caller), Some(auditor)) = (caller, auditor) else {
            return Err(ErrorData::internal_error(
                "the request did not come through the gate",
                None,
            ));
        };
        Ok(Self {
            client: caller.client().clone(),
            who: caller.who.clone(),
            role: caller.access.role,
            server: Some(Server {
                app: app.clone(),
                caller: caller.clone(),
                auditor: auditor.clone(),
            }),
        })
    }

    /// A client that sees what they may see.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Who they are, for the record.
    pub(super) fn who(&self) -> &str {
        &self.who
    }

    /// What they may do.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Refuses what is beyond their role.
    pub(super) fn must_be(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        let (who, own) = (&self.who, self.role);
        Err(Problem::new(
            "forbidden",
            format!("{who} has the role {own}, and this tool takes {role}"),
        ))
    }

    /// Held while they wait for a run: a server lets only so many wait at the same time.
    pub(super) fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        let app = self.server.as_ref().map(|server| &server.app);
        app.map(api::permit).transpose()
    }

    /// Notes what they did or wanted to do, by the name that the API has for it.
    pub(super) async fn note<T>(
        &self,
        action: &str,
        target: Option<String>,
        result: &Result<T, Problem>,
    ) {
        if let Some(Server {
            caller, auditor, ..
        }) = &self.server
        {
            let status = match result {
                Ok(_) => StatusCode::OK,
                Err(problem) => problem.status(),
            };
            auditor.note(caller, action, target, status).await;
        }
    }
}
