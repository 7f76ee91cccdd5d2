//! What each route takes of who asks for it: one table for all of them. Those of the API are in the OpenAPI document, those of the dashboard
//! with it; what is in neither is for admins alone.

use axum::http::Method;
use axum::response::{IntoResponse, Response};
use dacapo_client::Role;

use crate::access::Need;
use crate::{Problem, api, dashboard};

/// What a request takes, by its method and the path as the router knows it.
pub(crate) fn need(method: &Method, path: &str) -> Need {
    // A HEAD is answered as a GET is.
    let method = match *method {
        Method::HEAD => &Method::GET,
        _ => method,
    };
    if path == "/sign-in" || path.starts_with("/sign-in/") || path == "/sign-out" {
        return Need::Nothing;
    }
    let known = match path.starts_with(api::PREFIX) {
        true => api::operations()
            .iter()
            .find(|operation| operation.path == path && operation.method == *method)
            .map(|operation| Need::Role(operation.role, operation.id.clone())),
        false => dashboard::need(method, path),
    };
    known.unwrap_or_else(|| Need::Role(Role::Admin, format!("{method} {path}")))
}

/// The answer to whoever may not.
pub(crate) fn refused(is_page: bool, problem: Problem) -> Response {
    match is_page {
        true => dashboard::refused(&problem),
        false => problem.into_response(),
    }
}
