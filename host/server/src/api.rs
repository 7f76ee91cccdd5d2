//! The HTTP API: everything that the command can do, under one path.
//!
//! Each operation is a function with `#[utoipa::path]`, which says its path, its parameters and its answers; the router and the OpenAPI
//! document are made from that one place. Two extensions say what OpenAPI has no words for: `x-role` is what somebody must be allowed to
//! ask for it ([`Role`]), and `x-problems` are the codes of problems that are its own. The answers for these, and for what may go wrong with
//! any operation, are put into the document here, from the table of codes.

mod audit;
mod bulk;
mod deployments;
mod extract;
mod in_use;
mod lists;
mod queues;
mod retention;
mod runs;
mod schedules;
mod schema;
mod start;
mod stats;
mod steer;
mod stream;
mod watches;
mod workflows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router, routing};
use serde_json::{Map, Value, json};
use utoipa::openapi::{InfoBuilder, OpenApiBuilder, ServerBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use dacapo_client::Role;

use crate::{App, Limits, Problem, guard, problem};

pub(crate) use deployments::nobody_reads;
pub use extract::Principal;
pub(crate) use extract::{BodyMax, too_large};
pub(crate) use in_use::InUse;
pub(crate) use lists::List;
pub(crate) use stats::Counts;
pub(crate) use stream::permit;
pub(crate) use watches::Watch;

/// Where the API is.
pub const PREFIX: &str = "/api/v1";

/// The option of a server that says how large the bodies of most requests may be.
pub(crate) const BODY_MAX: &str = "--body-max";

/// An operation of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path with [`PREFIX`], as the router knows it: `/api/v1/runs/{run}`.
    pub path: String,
    /// Its name.
    pub id: String,
    /// What somebody must be allowed to who asks for it.
    pub role: Role,
}

/// All operations, out of the document.
pub fn operations() -> &'static [Operation] {
    static OPERATIONS: OnceLock<Vec<Operation>> = OnceLock::new();
    OPERATIONS.get_or_init(|| {
        let mut operations = Vec::new();
        for (path, method, operation) in each(document()) {
            let word = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
            let role = word("x-role");
            operations.push(Operation {
                method,
                path: format!("{PREFIX}{path}"),
                id: word("operationId"),
                // Who forgets to say it has an operation for nobody but admins.
                role: Role::ALL
                    .into_iter()
                    .find(|known| known.as_str() == role)
                    .unwrap_or(Role::Admin),
            });
        }
        operations
    })
}

/// The OpenAPI document.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let all = all(&Limits::default());
        let document = serde_json::to_value(all.into_openapi()).unwrap_or_default();
        completed(document)
    })
}

/// The routes of the API, below [`PREFIX`].
pub(crate) fn routes(app: App) -> Router {
    let (router, _) = all(app.limits()).split_for_parts();
    router
        .route("/openapi.json", routing::get(openapi))
        .method_not_allowed_fallback(no_such_method)
        .fallback(no_such_path)
        .layer(from_fn(guard::same_site))
        .with_state(app)
}

/// All operations. Those of a kind have their limits in common.
fn all(limits: &Limits) -> OpenApiRouter<App> {
    let info = InfoBuilder::new()
        .title("Dacapo")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(include_str!("api/about.md")))
        .build();
    let server = ServerBuilder::new().url(PREFIX).build();
    let openapi = OpenApiBuilder::new()
        .info(info)
        .servers(Some([server]))
        .build();
    let answers = |time: Duration| {
        from_fn(move |request: Request, next: Next| guard::within(time, request, next))
    };
    let at_most = |bytes: usize, option: &'static str| {
        let limit = DefaultBodyLimit::max(bytes);
        (limit, Extension(BodyMax { bytes, option }))
    };
    let ordinary = OpenApiRouter::new()
        .routes(routes!(workflows::list))
        .routes(routes!(workflows::get))
        .routes(routes!(workflows::pause))
        .routes(routes!(workflows::resume))
        .routes(routes!(workflows::paused))
        .routes(routes!(runs::list, start::start))
        .routes(routes!(runs::count))
        .routes(routes!(runs::get))
        .routes(routes!(runs::steps))
        .routes(routes!(runs::progress))
        .routes(routes!(runs::logs))
        .routes(routes!(runs::export))
        .routes(routes!(steer::event))
        .routes(routes!(steer::pause))
        .routes(routes!(steer::resume))
        .routes(routes!(steer::cancel))
        .routes(routes!(steer::rerun))
        .routes(routes!(steer::retry))
        .routes(routes!(steer::skip))
        .routes(routes!(steer::note))
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(
            schedules::get,
            schedules::replace,
            schedules::delete
        ))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::trigger))
        .routes(routes!(queues::list))
        .routes(routes!(queues::get, queues::set, queues::delete))
        .routes(routes!(queues::pause))
        .routes(routes!(queues::resume))
        .routes(routes!(
            queues::standstill,
            queues::begin_standstill,
            queues::end_standstill
        ))
        .routes(routes!(retention::list, retention::set, retention::reset))
        .routes(routes!(audit::list))
        .routes(routes!(stats::stats))
        .routes(routes!(stats::workers))
        .routes(routes!(deployments::list))
        .routes(routes!(deployments::get))
        .routes(routes!(deployments::types))
        .routes(routes!(deployments::diff))
        .routes(routes!(deployments::activate))
        .routes(routes!(deployments::retire))
        .layer(answers(limits.answer_time_max))
        .layer(at_most(limits.body_max_bytes, BODY_MAX));
    let large = OpenApiRouter::new()
        .routes(routes!(start::start_many))
        .routes(routes!(runs::import))
        .layer(answers(limits.bulk_time_max))
        .layer(at_most(limits.large_body_max_bytes, "--large-body-max"));
    let deploying = OpenApiRouter::new()
        .routes(routes!(deployments::deploy))
        .layer(answers(limits.bulk_time_max))
        .layer(at_most(limits.component_max_bytes, "--component-max"));
    let bulk = OpenApiRouter::new()
        .routes(routes!(bulk::event))
        .routes(routes!(bulk::rerun))
        .routes(routes!(bulk::retry))
        .routes(routes!(bulk::skip))
        .routes(routes!(bulk::repair))
        .routes(routes!(deployments::prove))
        .routes(routes!(schedules::backfill))
        .routes(routes!(deployments::collect))
        .layer(answers(limits.bulk_time_max))
        .layer(at_most(limits.body_max_bytes, BODY_MAX));
    // These end by themselves: when what they wait for has come, or the server is to stop.
    let streams = OpenApiRouter::new()
        .routes(routes!(runs::wait))
        .routes(routes!(stream::run))
        .routes(routes!(stream::logs))
        .routes(routes!(stream::list));
    OpenApiRouter::with_openapi(openapi)
        .merge(ordinary)
        .merge(large)
        .merge(deploying)
        .merge(bulk)
        .merge(streams)
}

async fn openapi() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

async fn no_such_path(request: Request) -> Problem {
    nothing_at(&format!("{PREFIX}{}", request.uri().path()))
}

/// There is nothing at the path of the API itself.
pub(crate) async fn nothing_at_all() -> Problem {
    nothing_at(&format!("{PREFIX}/"))
}

fn nothing_at(path: &str) -> Problem {
    Problem::new("not-found", format!("there is nothing at {path}"))
        .hint(format!("{PREFIX}/openapi.json says what there is"))
}

async fn no_such_method(request: Request) -> Problem {
    Problem::new(
        "method-not-allowed",
        format!(
            "{PREFIX}{} has no method {}",
            request.uri().path(),
            request.method()
        ),
    )
    .hint("the header Allow says which it has")
}

/// Each operation of a document, with its path and its method.
fn each(document: &Value) -> impl Iterator<Item = (&str, Method, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.filter_map(|(name, operation)| {
            let method = Method::from_bytes(name.to_ascii_uppercase().as_bytes()).ok()?;
            operation
                .is_object()
                .then_some((path.as_str(), method, operation))
        })
    })
}

/// The document with what may go wrong with each operation.
fn completed(mut document: Value) -> Value {
    let problem = serde_json::to_value(<schema::Problem as utoipa::PartialSchema>::schema());
    document["components"]["schemas"]["Problem"] = problem.unwrap_or_default();
    document["components"]["securitySchemes"] = json!({ "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token that `dacapo token create` has made. A server without tokens that listens on loopback alone asks for none.",
    }});
    document["security"] = json!([{ "token": [] }, {}]);
    document["paths"]["/openapi.json"] = json!({ "get": {
        "tags": ["about"],
        "summary": "This document",
        "operationId": "getOpenApi",
        "x-role": "read",
        "responses": { "200": {
            "description": "OpenAPI 3.1",
            "content": { "application/json": { "schema": { "type": "object" } } },
        }},
    }});
    let places: Vec<(String, String, Method)> = each(&document)
        .map(|(path, method, _)| {
            let name = method.as_str().to_ascii_lowercase();
            (path.to_owned(), name, method)
        })
        .collect();
    for (path, name, method) in places {
        let operation = &mut document["paths"][&path][&name];
        complete(operation, &method);
    }
    document
}

/// Puts the answers for problems into one operation: those of its own, and those that any operation may have.
fn complete(operation: &mut Value, method: &Method) {
    let mut codes: BTreeSet<&str> = BTreeSet::from([
        "bad-host",
        "forbidden",
        "out-of-scope",
        "rate-limited",
        "unauthenticated",
        "withheld",
    ]);
    let own: Vec<String> = operation["x-problems"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|code| Some(code.as_str()?.to_owned()))
        .collect();
    codes.extend(own.iter().map(String::as_str));
    if operation["operationId"] != "getOpenApi" {
        codes.extend(["database", "schema", "timed-out", "unavailable"]);
    }
    let has = |name: &str| operation.get(name).is_some_and(|part| !part.is_null());
    if has("parameters") || has("requestBody") {
        codes.extend(["bad-argument", "bad-request"]);
    }
    if has("requestBody") {
        codes.extend(["too-large", "unsupported-media-type"]);
    }
    if *method != Method::GET {
        codes.insert("cross-site");
    }
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in codes {
        if let Some((code, status, _)) = problem::known(code) {
            by_status.entry(status.as_u16()).or_default().push(code);
        }
    }
    let mut answers = Map::new();
    for (status, codes) in by_status {
        let titles: Vec<String> = codes
            .iter()
            .filter_map(|code| Some(format!("`{code}`: {}", problem::known(code)?.2)))
            .collect();
        let mut answer = json!({
            "description": titles.join("\n\n"),
            "content": { "application/problem+json": { "schema": { "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "properties": { "code": { "enum": codes }, "status": { "const": status } } },
            ]}}},
        });
        if matches!(status, 429 | 503) {
            answer["headers"] = json!({ "Retry-After": {
                "description": "Seconds after which to try again",
                "schema": { "type": "integer", "minimum": 1 },
            }});
        }
        answers.insert(status.to_string(), answer);
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        responses.extend(answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_its_name_its_role_and_what_it_is() {
        let mut names = BTreeSet::new();
        for (path, method, operation) in each(document()) {
            let name = operation["operationId"].as_str().unwrap_or_default();
            assert!(names.insert(name), "{method} {path}: {name} is there twice");
            let role = operation["x-role"].as_str();
            assert!(
                Role::ALL.iter().any(|known| Some(known.as_str()) == role),
                "{method} {path}: {role:?}"
            );
            let changes = method != Method::GET;
            assert!(!changes || role != Some("read"), "{method} {path}");
            for part in ["summary", "tags"] {
                assert!(!operation[part].is_null(), "{method} {path} has no {part}");
            }
            for code in operation["x-problems"].as_array().into_iter().flatten() {
                let code = code.as_str().unwrap();
                assert!(problem::known(code).is_some(), "{method} {path}: {code}");
            }
        }
        assert!(names.len() > 60, "{}", names.len());
    }
}
