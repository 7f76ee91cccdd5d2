//! An HTTP service in front of the workflow `process-payment`. It uses the client and the types that it generates from the workflow's
//! WIT, and nothing else of Dacapo: no WebAssembly, no worker.
//!
//! | request | what it does |
//! |---|---|
//! | `POST /payments` | starts a payment, once for each order however often it is sent |
//! | `GET /payments/{id}` | how the payment stands |
//! | `POST /payments/{id}/settled` | tells the payment that the bank has settled it |

#![forbid(unsafe_code)]

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dacapo_client::{Client, ClientError, RunId, StartOptions, Status};
use serde::{Deserialize, Serialize};

mod workflows {
    dacapo_client::refs!("../../examples-guests/process-payment/wit");
}

use workflows::payments::{PROCESS, Payment, ProcessError, Receipt};

/// All routes of the service.
pub fn router(client: Client) -> Router {
    Router::new()
        .route("/payments", post(start))
        .route("/payments/{id}", get(show))
        .route("/payments/{id}/settled", post(settled))
        .with_state(client)
}

/// A payment as the service shows it.
#[derive(Debug, Serialize)]
struct View {
    id: RunId,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProcessError>,
}

async fn start(
    State(client): State<Client>,
    Json(payment): Json<Payment>,
) -> Result<Response, Refusal> {
    let options = StartOptions::keyed(payment.order_id.to_string())
        .label("order", payment.order_id.to_string());
    let run = client.start_with(PROCESS, &payment, options).await?;
    let status = if run.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let view = view(&client, run.id).await?;
    Ok((
        status,
        [("location", format!("/payments/{}", run.id))],
        Json(view),
    )
        .into_response())
}

async fn show(State(client): State<Client>, Path(id): Path<RunId>) -> Result<Json<View>, Refusal> {
    Ok(Json(view(&client, id).await?))
}

/// What the bank says.
#[derive(Debug, Serialize, Deserialize)]
struct Settled {
    reference: String,
}

async fn settled(
    State(client): State<Client>,
    Path(id): Path<RunId>,
    Json(settled): Json<Settled>,
) -> Result<StatusCode, Refusal> {
    // Banks repeat themselves; the reference makes it one event.
    client
        .send_event_value(id, "settled", &settled, Some(&settled.reference))
        .await?;
    Ok(StatusCode::ACCEPTED)
}

async fn view(client: &Client, id: RunId) -> Result<View, ClientError> {
    let run = client.get(id).await?;
    let receipt = run
        .output
        .and_then(|output| PROCESS.decode(output.as_str()).ok());
    let problem = run
        .failure
        .and_then(|failure| failure.details)
        .and_then(|details| serde_json::from_str(details.as_str()).ok());
    Ok(View {
        id,
        status: run.status,
        receipt,
        problem,
    })
}

/// An error of the client as an answer.
struct Refusal(ClientError);

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            ClientError::RunNotFound(_) => StatusCode::NOT_FOUND,
            ClientError::BadInput { .. }
            | ClientError::BadPayload { .. }
            | ClientError::BadArgument { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ClientError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ClientError::KeyConflict { .. } | ClientError::Conflict { .. } => StatusCode::CONFLICT,
            error if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let body = serde_json::json!({"error": self.0.code(), "message": self.0.to_string()});
        (status, Json(body)).into_response()
    }
}
