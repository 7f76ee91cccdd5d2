//! What each route takes of who asks for it: one table for all of them. Those of the API are in the OpenAPI document, those of the dashboard
//! with it; what is in neither is for admins alone.

use axum::http::Method;
use axum::response::{IntoResponse, Response};
use dacapo_client::{ClientError, Role};

use crate::access::Need;
use crate::{Problem, api, dashboard, mcp};

/// What a request takes, by its method and its path, as the router knows it and as it was asked for.
pub(crate) fn need(method: &Method, path: &str, asked: &str) -> Need {
    // A HEAD is answered as a GET is.
    let method = match *method {
        Method::HEAD => &Method::GET,
        _ => method,
    };
    // Whatever there is not, there is for nobody.
    if path.strip_suffix('/') == Some(api::PREFIX) {
        return Need::Nothing;
    }
    if path == "/sign-in" || path.starts_with("/sign-in/") || path == "/sign-out" {
        return Need::Nothing;
    }
    if path == crate::metrics::PATH {
        return Need::Role(Role::Read, "getMetrics".to_owned());
    }
    // What a tool takes beyond this is looked at when it is called, and noted by the name of what it does.
    if path == mcp::PATH {
        return Need::Role(Role::Read, "callTool".to_owned());
    }
    let known = match path.starts_with(api::PREFIX) {
        true => api::operations()
            .iter()
            .find(|operation| operation.path == path && operation.method == *method)
            .map(|operation| Need::Role(operation.role, operation.id.clone())),
        false => dashboard::need(method, path, asked),
    };
    known.unwrap_or_else(|| Need::Role(Role::Admin, format!("{method} {path}")))
}

/// Whether what is at this path is for people to look at.
pub(crate) fn is_page(path: &str) -> bool {
    !path.starts_with("/api/") && path != mcp::PATH && path != crate::metrics::PATH
}

/// The answer to whoever cannot be known now.
pub(crate) fn failed(is_page: bool, error: ClientError) -> Response {
    match is_page {
        true => dashboard::failed(error),
        false => Problem::from(error).into_response(),
    }
}

/// The answer to whoever may not.
pub(crate) fn refused(is_page: bool, problem: Problem) -> Response {
    match is_page {
        true => dashboard::refused(problem),
        false => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(method: &Method, path: &str) -> Option<(Role, String)> {
        match need(method, path, path) {
            Need::Nothing => None,
            Need::Role(role, name) => Some((role, name)),
        }
    }

    #[test]
    fn an_operation_takes_what_the_document_says_and_what_nobody_knows_is_for_admins() {
        let run = "/api/v1/runs/{run}";
        assert_eq!(
            role(&Method::GET, run),
            Some((Role::Read, "getRun".to_owned()))
        );
        assert_eq!(role(&Method::HEAD, run), role(&Method::GET, run));
        let tools = role(&Method::POST, mcp::PATH);
        assert_eq!(tools, Some((Role::Read, "callTool".to_owned())));
        for (method, path) in [
            (Method::PUT, "/api/v1/runs"),
            (Method::GET, "/api/v1/nothing"),
            (Method::POST, "/runs"),
        ] {
            assert_eq!(
                role(&method, path).unwrap().0,
                Role::Admin,
                "{method} {path}"
            );
        }
        for operation in api::operations() {
            let (needed, name) = role(&operation.method, &operation.path).unwrap();
            assert_eq!((needed, &name), (operation.role, &operation.id));
        }
    }

    #[test]
    fn a_form_of_the_dashboard_is_called_as_the_api_calls_it_and_takes_as_much() {
        for (path, asked) in [
            ("/runs/{id}/do/{action}", "/runs/7/do/"),
            ("/schedules/{name}/do/{action}", "/schedules/x/do/"),
            ("/queues/{name}/do/{action}", "/queues/x/do/"),
        ] {
            let actions: &[&str] = match path.starts_with("/runs") {
                true => &[
                    "pause", "resume", "cancel", "force", "event", "retry", "rerun", "skip", "note",
                ],
                false if path.starts_with("/schedules") => &["pause", "resume", "trigger"],
                false => &["pause", "resume"],
            };
            for action in actions {
                let Need::Role(role, name) = need(&Method::POST, path, &format!("{asked}{action}"))
                else {
                    panic!("{action} takes nothing");
                };
                let operation = api::operations().iter().find(|one| one.id == name);
                let operation = operation.unwrap_or_else(|| panic!("the API knows no {name}"));
                assert_eq!(role, operation.role, "{name}");
            }
        }
    }

    /// No route of the dashboard is forgotten: what it does not know is for admins.
    #[test]
    fn each_page_takes_no_more_than_a_look() {
        let source = include_str!("dashboard.rs");
        let routes = source.split(".route(").skip(1);
        let routes = routes.filter_map(|rest| rest.split('"').nth(1));
        let mut pages = 0;
        for path in routes {
            pages += 1;
            let needed = need(&Method::GET, path, path);
            let is_ask = path.contains("/do/") || path.starts_with("/start/");
            match needed {
                Need::Nothing => assert!(path.starts_with("/assets/"), "{path}"),
                Need::Role(role, _) if is_ask => assert_eq!(role, Role::Operate, "{path}"),
                // What the API takes for the same.
                Need::Role(role, name) if path == "/audit" || path.ends_with("/proof") => {
                    let known = api::operations().iter().find(|known| known.id == name);
                    assert_eq!(known.map(|known| known.role), Some(role), "{path}");
                    assert!(role >= Role::Deploy, "{path}");
                }
                Need::Role(role, _) => assert_eq!(role, Role::Read, "{path}"),
            }
        }
        assert!(pages > 20, "{pages}");
    }
}
