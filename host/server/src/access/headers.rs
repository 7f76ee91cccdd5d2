//! What browsers are told about every answer, whoever made it.

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderName, STRICT_TRANSPORT_SECURITY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// What a page may load and do: what this server has, nothing that is written into the page itself, and no page within another site's.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of all answers. `same-origin`, and not `no-referrer`: with that a form of our own would say that it comes from nowhere.
const ALWAYS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// A year.
const STRICT: &str = "max-age=31536000";

/// Whether the server has TLS of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HasTls(pub(crate) bool);

/// Puts them on an answer.
pub(crate) async fn secure(
    State(HasTls(tls)): State<HasTls>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    put(response.headers_mut(), tls);
    response
}

fn put(headers: &mut HeaderMap, tls: bool) {
    for (name, value) in ALWAYS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STRICT));
    }
    // What somebody may see is nothing to be kept for others, unless whoever answers says so.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_may_be_kept_unless_it_says_so_and_none_runs_what_is_not_ours() {
        let mut headers = HeaderMap::new();
        put(&mut headers, false);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("immutable"));
        put(&mut headers, true);
        assert_eq!(headers[CACHE_CONTROL], "immutable");
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], STRICT);
    }
}
