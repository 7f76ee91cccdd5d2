//! MCP, by which programs around a language model ask for things: each workflow that is deployed is a tool, and others look at runs and steer
//! them.
//!
//! There are two ways to it. A server answers at [`PATH`], behind its gate: who asks, and what they see, is found out for each request as
//! for those of the API. A process speaks over its standard input and output ([`mcp_over_stdio`]): whoever has started it has said what its
//! client may do.
//!
//! A tool that is beyond a role is in no list, and refused. Over HTTP there are no sessions: each request stands for itself, so that it does
//! not matter which of several servers it comes to.

mod answer;
mod asker;
mod calls;
mod own;
mod progress;
mod workflow;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use dacapo_client::{Client, Role, WorkflowInfo};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientJsonRpcMessage, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::{NotificationContext, RequestContext, ServerInitializeError};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler, ServiceExt};
use serde_json::error::Category;
use serde_json::json;
use thiserror::Error;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use self::asker::Asker;
use crate::api::{BODY_MAX, BodyMax, too_large};
use crate::{App, guard};

/// Where a server answers.
pub(crate) const PATH: &str = "/mcp";

/// How often it is looked whether something else is deployed, for a client that is to be told.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a client is told about all tools.
const INSTRUCTIONS: &str = "Each workflow that is deployed is a tool. Calling it starts a run, which is durable: it goes on whatever becomes \
    of the call or of this server. The call waits for the run's end for a while; if the run has not ended by then, the answer says so and has \
    its id. dacapo_get_run shows what a run waits for, dacapo_wait_run waits on, dacapo_send_event gives a run what it waits for.";

/// How a process speaks to the client that has started it.
#[derive(Debug, Clone)]
pub struct McpConfig {
    /// Who steers runs by it, for the record.
    pub who: String,
    /// What its client may do: what takes more than this is refused.
    pub role: Role,
    /// How long the call of a workflow waits for the end of its run.
    pub wait: Duration,
}

/// A client could not be spoken to.
#[derive(Debug, Error)]
pub enum McpError {
    /// What it said first is no beginning.
    #[error("what came over standard input does not begin as MCP does")]
    Begin(#[source] Box<ServerInitializeError>),
    /// A mistake of ours.
    #[error("the conversation was broken off")]
    Broken(#[from] JoinError),
}

/// Speaks over standard input and output until the client goes away or `stopping` is cancelled. What the client given here shows and reaches
/// is what the other side sees.
///
/// # Errors
/// [`McpError`]. A client that goes away before it has begun is none.
pub async fn mcp_over_stdio(
    client: Client,
    config: McpConfig,
    stopping: CancellationToken,
) -> Result<(), McpError> {
    let mcp = Mcp {
        wait: config.wait,
        asking: Asking::One(Box::new(Asker::on_this_machine(client, config))),
        stopping: stopping.clone(),
        listed: Arc::default(),
    };
    let streams = rmcp::transport::stdio();
    let serving = match mcp.serve_with_ct(streams, stopping).await {
        Ok(serving) => serving,
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => {
            return Ok(());
        }
        Err(error) => return Err(McpError::Begin(Box::new(error))),
    };
    serving.waiting().await?;
    Ok(())
}

type Service = StreamableHttpService<Mcp, NeverSessionManager>;

/// The route of a server. The gate stands before it.
pub(crate) fn routes(app: App) -> Router {
    let config = StreamableHttpServerConfig::default()
        // The gate has looked by which name it is asked, and by whom.
        .disable_allowed_hosts()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(Some(app.limits().stream_heartbeat))
        .with_max_request_body_bytes(app.limits().body_max_bytes);
    let max = BodyMax {
        bytes: app.limits().body_max_bytes,
        option: BODY_MAX,
    };
    let mcp = Mcp {
        wait: app.limits().tool_wait_max,
        stopping: app.stopping().clone(),
        asking: Asking::Requests(app),
        listed: Arc::default(),
    };
    let service = Service::new(move || Ok(mcp.clone()), Arc::default(), config);
    Router::new()
        .route(PATH, any(answered))
        .with_state((service, max))
        .layer(from_fn(guard::same_site))
}

async fn answered(State((service, max)): State<(Service, BodyMax)>, request: Request) -> Response {
    if request.method() != Method::POST {
        return service.handle(request).await.into_response();
    }
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, max.bytes).await else {
        return too_large(Some(max)).into_response();
    };
    // The library answers what it cannot read as if it were a body of another kind.
    if let Err(error) = serde_json::from_slice::<ClientJsonRpcMessage>(&body) {
        let data = match error.classify() {
            Category::Data => ErrorData::invalid_request(format!("no message: {error}"), None),
            _ => ErrorData::parse_error(format!("not JSON: {error}"), None),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": null, "error": data });
        return (StatusCode::BAD_REQUEST, Json(answer)).into_response();
    }
    let request = Request::from_parts(head, Body::from(body));
    service.handle(request).await.into_response()
}

/// Who asks.
#[derive(Clone)]
enum Asking {
    /// Always the same client.
    One(Box<Asker>),
    /// Whoever the gate has let in, for each request anew.
    Requests(App),
}

/// Answers what a client asks for.
#[derive(Clone)]
struct Mcp {
    asking: Asking,
    /// How long the call of a workflow waits for the end of its run.
    wait: Duration,
    stopping: CancellationToken,
    /// What was deployed when the client was last told; none if it has not asked.
    listed: Arc<Mutex<Option<Deployed>>>,
}

/// The workflows with their components.
type Deployed = Vec<(String, String)>;

fn deployed(workflows: &[WorkflowInfo]) -> Deployed {
    let pair = |workflow: &WorkflowInfo| (workflow.name.clone(), workflow.digest.clone());
    workflows.iter().map(pair).collect()
}

impl Mcp {
    fn asker(&self, context: &RequestContext<RoleServer>) -> Result<Asker, ErrorData> {
        match &self.asking {
            Asking::One(asker) => Ok(asker.as_ref().clone()),
            Asking::Requests(app) => Asker::of(app, &context.extensions),
        }
    }

    /// Notes what the client knows of, and answers whether it knew of something else.
    fn knows(&self, now: Deployed) -> bool {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = listed.as_ref().is_some_and(|known| *known != now);
        *listed = Some(now);
        is_other
    }

    fn has_listed(&self) -> bool {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.is_some()
    }

    /// Tells a client again and again that the tools are others, whenever they are.
    async fn watch(self, client: Client, peer: Peer<RoleServer>) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if !self.has_listed() {
                continue;
            }
            match client.workflows().await {
                Ok(workflows) => {
                    if self.knows(deployed(&workflows))
                        && peer.notify_tool_list_changed().await.is_err()
                    {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot look what is deployed"),
            }
        }
    }
}

impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        let capabilities = match &self.asking {
            Asking::One(_) => ServerCapabilities::builder()
                .enable_tools()
                .enable_tool_list_changed()
                .build(),
            // There is nobody to tell between two requests.
            Asking::Requests(_) => ServerCapabilities::builder().enable_tools().build(),
        };
        let us = Implementation::new("dacapo", env!("CARGO_PKG_VERSION")).with_title("Dacapo");
        ServerConfig::new(capabilities)
            .with_server_info(us)
            .with_instructions(INSTRUCTIONS)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        if let Asking::One(asker) = &self.asking
            && asker.role() >= Role::Operate
        {
            let client = asker.client().clone();
            tokio::spawn(self.clone().watch(client, context.peer));
        }
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let asker = self.asker(&context)?;
        let mut tools = own::tools(asker.role());
        if asker.role() >= Role::Operate {
            let workflows = asker.client().workflows().await;
            let workflows = workflows.map_err(|error| answer::unanswerable(&error.into()))?;
            self.knows(deployed(&workflows));
            tools.extend(workflow::tools(&workflows, asker.client().payloads()));
        }
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let asker = self.asker(&context)?;
        let result = calls::call(self, &asker, request, &context).await?;
        Ok(result.into())
    }
}
