//! What handlers are handed: parts of a request that could be read. What could not be read is a problem.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;

use axum::Json;
use axum::body::HttpBody;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Multipart, Request};
use axum::http::Extensions;
use axum::http::request::Parts;
use dacapo_model::{TRACE_PARENT, is_trace_parent};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};
use utoipa::IntoParams;

use crate::Problem;
pub(crate) use crate::access::About;

/// The header in which somebody says who they are, for the record.
const BY: &str = "dacapo-by";

/// The header with the key of a start, or the id of a delivery.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How much of a value an error shows, in characters.
const SHOWN_MAX: usize = 60;

/// A part of the path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|error| Problem::bad_request(format!("path: {}", bad_path(error))))
    }
}

fn bad_path(error: PathRejection) -> String {
    let PathRejection::FailedToDeserializePathParams(error) = error else {
        return error.body_text();
    };
    match error.into_kind() {
        ErrorKind::ParseErrorAtKey {
            value,
            expected_type,
            ..
        }
        | ErrorKind::ParseErrorAtIndex {
            value,
            expected_type,
            ..
        }
        | ErrorKind::ParseError {
            value,
            expected_type,
        } => plain("", &format!("got {value:?}, expected {expected_type}")),
        ErrorKind::DeserializeError { message, .. } | ErrorKind::Message(message) => message,
        other => other.to_string(),
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
            .map_err(|error| {
                let place = error.path().to_string();
                let got = url::form_urlencoded::parse(query.as_bytes())
                    .find(|(name, _)| *name == place)
                    .map(|(_, value)| value.into_owned());
                let problem = match (expected(&error.inner().to_string()), got) {
                    (Some(expected), Some(got)) => {
                        let got: String = got.chars().take(SHOWN_MAX).collect();
                        format!("{place}: expected {expected}, got {got:?}")
                    }
                    _ => plain(&place, &error.to_string()),
                };
                Problem::bad_request(format!("query: {problem}"))
            })
    }
}

/// What was expected of a text, where the standard library says only what is wrong with it.
fn expected(message: &str) -> Option<&'static str> {
    Some(match message {
        "invalid digit found in string"
        | "cannot parse integer from empty string"
        | "number too small to fit in target type" => "a whole number, not below 0",
        "number too large to fit in target type" => "a whole number that is not so large",
        "provided string was not `true` or `false`" => "true or false",
        _ => return None,
    })
}

/// A message about a value in words that are not those of Rust: `expected u64` tells nothing to whoever has no Rust.
fn plain(place: &str, message: &str) -> String {
    const EXPECTED: &str = "expected ";
    let Some((before, after)) = message.rsplit_once(EXPECTED) else {
        return message.to_owned();
    };
    let end = after.find([' ', ',']).unwrap_or(after.len());
    let (word, rest) = after.split_at(end);
    let unit = match place {
        place if place.ends_with("Ms") => " of milliseconds",
        place if place.ends_with("Seconds") => " of seconds",
        _ => "",
    };
    let (words, rest) = match word {
        "u8" | "u16" | "u32" | "u64" | "usize" => {
            (format!("a whole number{unit}, not below 0"), rest)
        }
        "i8" | "i16" | "i32" | "i64" | "isize" => (format!("a whole number{unit}"), rest),
        "f32" | "f64" => ("a number".to_owned(), rest),
        "struct" => {
            // The name of the type follows.
            let rest = rest.trim_start();
            let end = rest.find(' ').unwrap_or(rest.len());
            ("an object".to_owned(), &rest[end..])
        }
        _ => return message.to_owned(),
    };
    format!("{before}{EXPECTED}{words}{rest}")
}

/// A body in JSON.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let max = BodyMax::of(request.extensions());
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(bad_body(&rejection, max)),
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
        let max = BodyMax::of(request.extensions());
        match Option::<Json<T>>::from_request(request, state).await {
            Ok(Some(Json(value))) => Ok(Self(value)),
            Ok(None) => Ok(Self(T::default())),
            Err(rejection) => Err(bad_body(&rejection, max)),
        }
    }
}

fn bad_body(rejection: &JsonRejection, max: Option<BodyMax>) -> Problem {
    let text = rejection.body_text();
    match rejection {
        JsonRejection::MissingJsonContentType(_) => Problem::new(
            "unsupported-media-type",
            "expected a body in JSON with the header Content-Type: application/json",
        ),
        JsonRejection::BytesRejection(_)
            if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE =>
        {
            too_large(max)
        }
        JsonRejection::JsonDataError(_) => {
            let text = without(
                &text,
                "Failed to deserialize the JSON body into the target type: ",
            );
            let place = text.split(':').next().unwrap_or_default();
            Problem::bad_request(format!("body: {}", plain(place, text)))
        }
        _ => {
            let text = without(&text, "Failed to parse the request body as JSON: ");
            Problem::bad_request(format!("body: not JSON: {text}"))
        }
    }
}

fn without<'a>(text: &'a str, beginning: &str) -> &'a str {
    text.strip_prefix(beginning).unwrap_or(text)
}

/// How many bytes the body of a request may have, and which option of the server says so. A layer puts it among the extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyMax {
    pub(crate) bytes: usize,
    pub(crate) option: &'static str,
}

impl BodyMax {
    fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }
}

/// The body is larger than it may be.
pub(crate) fn too_large(max: Option<BodyMax>) -> Problem {
    let (detail, option) = match max {
        Some(BodyMax { bytes, option }) => (
            format!("the body is larger than {bytes} bytes, which this server takes at most"),
            option,
        ),
        None => (
            "the body is larger than this server takes".to_owned(),
            "its limit",
        ),
    };
    Problem::new("too-large", detail).hint(format!(
        "keep large data elsewhere and pass a reference to it, or start the server with a higher {option}"
    ))
}

/// A body of several parts, and how large it may be.
pub(crate) struct Form(pub(crate) Multipart, pub(crate) Option<BodyMax>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let max = BodyMax::of(request.extensions());
        match Multipart::from_request(request, state).await {
            Ok(parts) => Ok(Self(parts, max)),
            Err(_) => Err(Problem::new(
                "unsupported-media-type",
                "expected a body with the header Content-Type: multipart/form-data; boundary=…",
            )),
        }
    }
}

/// A priority: a number, or a level by its name, as the command takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Priority(pub(crate) i16);

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Priority;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a whole number from -100 to 100, or lowest, low, normal, high or highest",
                )
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Priority, E> {
                i16::try_from(number)
                    .map(Priority)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Priority, E> {
                i16::try_from(number)
                    .map(Priority)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Priority, E> {
                dacapo_client::parse_priority(text)
                    .map(Priority)
                    .map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
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

impl<S: Send + Sync> FromRequestParts<S> for About {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
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

/// Where in a trace the sender of a request stands, as the header has it; what is no such place is passed over, as W3C wants it.
#[derive(Debug)]
pub(crate) struct TraceParent(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for TraceParent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let said = header(parts, TRACE_PARENT).ok().flatten();
        Ok(Self(said.filter(|said| is_trace_parent(said))))
    }
}

impl TraceParent {
    /// The labels of a run that is started, which may say another place.
    pub(crate) fn and(&self, mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if let Some(place) = &self.0 {
            let label = labels.entry(TRACE_PARENT.to_owned());
            label.or_insert_with(|| place.clone());
        }
        labels
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_of_values_are_told_without_the_names_of_types() {
        for (place, message, expected) in [
            (
                "deadlineMs",
                "deadlineMs: invalid type: string \"2h\", expected u64 at line 1 column 9",
                "deadlineMs: invalid type: string \"2h\", expected a whole number of milliseconds, not below 0 at line 1 column 9",
            ),
            (
                "number",
                "number: invalid type: map, expected i32 at line 1 column 9",
                "number: invalid type: map, expected a whole number at line 1 column 9",
            ),
            (
                "invalid type",
                "invalid type: string \"x\", expected struct Start at line 1 column 3",
                "invalid type: string \"x\", expected an object at line 1 column 3",
            ),
            (
                "workflow",
                "workflow: invalid type: integer `1`, expected a string at line 1 column 13",
                "workflow: invalid type: integer `1`, expected a string at line 1 column 13",
            ),
        ] {
            assert_eq!(plain(place, message), expected);
        }
    }

    #[test]
    fn a_priority_is_a_number_or_a_level() {
        let read = |json: &str| serde_json::from_str::<Priority>(json);
        assert_eq!(read("-7").unwrap(), Priority(-7));
        assert_eq!(read("7").unwrap(), Priority(7));
        assert_eq!(read("\"high\"").unwrap(), Priority(10));
        for json in ["\"urgent\"", "99999", "1.5", "{}"] {
            let problem = read(json).unwrap_err().to_string();
            assert!(
                problem.contains("lowest, low, normal, high or highest"),
                "{problem}"
            );
        }
    }
}
