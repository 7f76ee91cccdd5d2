//! What handlers are handed: parts of a request that could be read. What could not be read is a problem.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Json;
use axum::body::HttpBody;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Multipart, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::Problem;

/// The header in which somebody says who they are, for the record.
const BY: &str = "dacapo-by";

/// The header with the key of a start, or the id of a delivery.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A part of the path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|error| Problem::bad_request(format!("path: {}", error.body_text())))
    }
}

/// What stands behind the question mark.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let reader = serde_html_form::Deserializer::from_bytes(query.as_bytes());
        serde_path_to_error::deserialize(reader)
            .map(Self)
            .map_err(|error| Problem::bad_request(format!("query: {error}")))
    }
}

/// A body in JSON.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(bad_body(&rejection)),
        }
    }
}

/// A body in JSON, or none: then everything is as if nothing was said.
#[derive(Debug)]
pub(crate) struct MaybeBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // Some say the type of a body that they do not send.
        if request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        match Option::<Json<T>>::from_request(request, state).await {
            Ok(Some(Json(value))) => Ok(Self(value)),
            Ok(None) => Ok(Self(T::default())),
            Err(rejection) => Err(bad_body(&rejection)),
        }
    }
}

fn bad_body(rejection: &JsonRejection) -> Problem {
    let text = rejection.body_text();
    match rejection {
        JsonRejection::MissingJsonContentType(_) => Problem::new(
            "unsupported-media-type",
            "expected a body in JSON with the header Content-Type: application/json",
        ),
        JsonRejection::BytesRejection(_)
            if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE =>
        {
            too_large()
        }
        _ => Problem::bad_request(format!("body: {text}")),
    }
}

/// The body is larger than it may be.
pub(crate) fn too_large() -> Problem {
    Problem::new("too-large", "the body is larger than this server takes")
        .hint("keep large data elsewhere and pass a reference to it, or raise the server's limit")
}

/// A body of several parts.
pub(crate) struct Form(pub(crate) Multipart);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Multipart::from_request(request, state).await {
            Ok(parts) => Ok(Self(parts)),
            Err(_) => Err(Problem::new(
                "unsupported-media-type",
                "expected a body with the header Content-Type: multipart/form-data; boundary=…",
            )),
        }
    }
}

/// Somebody who has shown who they are. Whoever checks that puts it among the extensions of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(pub String);

/// Who asks, for the record: as it was shown, or as they say, or from where they ask.
#[derive(Debug)]
pub(crate) struct Who(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let said = header(parts, BY)?;
        let shown = parts.extensions.get::<Principal>();
        Ok(Self(match (shown, said) {
            (Some(Principal(shown)), Some(said)) => format!("{shown} ({said})"),
            (Some(Principal(shown)), None) => shown.clone(),
            (None, Some(said)) => said,
            (None, None) => match parts.extensions.get::<ConnectInfo<SocketAddr>>() {
                Some(ConnectInfo(address)) => format!("api@{}", address.ip()),
                None => "api".to_owned(),
            },
        }))
    }
}

/// How the header for that is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct By {
    /// Who does this, for the record
    #[param(rename = "Dacapo-By", max_length = 200)]
    by: Option<String>,
}

/// The key of a start or the id of a delivery, as the header has it.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let key = header(parts, IDEMPOTENCY_KEY)?;
        // A draft of the header wants a text of structured fields, in quotes.
        let bare = key.as_deref().and_then(|key| {
            let inner = key.strip_prefix('"')?.strip_suffix('"')?;
            (!inner.is_empty() && !inner.contains(['"', '\\'])).then(|| inner.to_owned())
        });
        Ok(Self(bare.or(key)))
    }
}

impl IdempotencyKey {
    /// The key, which the body may say, too.
    pub(crate) fn or(self, said: Option<String>) -> Result<Option<String>, Problem> {
        match (self.0, said) {
            (Some(header), Some(body)) if header != body => Err(Problem::bad_request(format!(
                "the header Idempotency-Key says {header:?} and the body {body:?}: expected one of them, or both the same"
            ))),
            (header, body) => Ok(header.or(body)),
        }
    }
}

/// Where a stream is to go on.
#[derive(Debug)]
pub(crate) struct LastEventId(pub(crate) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(header(parts, "last-event-id").ok().flatten()))
    }
}

fn header(parts: &Parts, name: &'static str) -> Result<Option<String>, Problem> {
    let Some(value) = parts.headers.get(name) else {
        return Ok(None);
    };
    // Headers are Latin-1 by their old rules, and UTF-8 by what is sent.
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| Problem::bad_request(format!("header {name}: expected UTF-8")))?;
    Ok(Some(text.to_owned()))
}
