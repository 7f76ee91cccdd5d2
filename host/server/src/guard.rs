//! What is looked at before any handler is asked: where a request comes from, how fast its address sends, and how long the answer takes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::{App, Problem};

/// Refuses what a page of another site makes a browser send: whoever has such a server on their machine has a browser there, too.
pub(crate) async fn same_site(request: Request, next: Next) -> Response {
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if changes && is_cross_site(request.headers()) {
        return Problem::new(
            "cross-site",
            "a page of another site asks this server to change something",
        )
        .into_response();
    }
    next.run(request).await
}

/// `localhost` or an address, with a port or without.
pub(crate) fn is_local_name(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split(']').next().unwrap_or_default();
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.split(':').next().unwrap_or_default();
    name.parse::<Ipv4Addr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

pub(crate) fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &axum::http::HeaderValue| value.as_bytes())
    };
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site"))
        && !matches!(site, b"same-origin" | b"none")
    {
        return true;
    }
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let host = text(header::HOST).unwrap_or_default();
    let of_origin = [&b"https://"[..], b"http://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(*scheme));
    of_origin != Some(host)
}

/// Refuses what comes faster than it may.
pub(crate) async fn paced(State(app): State<App>, request: Request, next: Next) -> Response {
    let address = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip());
    if let (Some(rate), Some(address)) = (app.rate(), address)
        && let Err(after) = rate.take(address, Instant::now())
    {
        return Problem::new(
            "rate-limited",
            format!(
                "expected at most {} requests a second from {address}",
                app.limits().requests_per_second
            ),
        )
        .come_back(after)
        .into_response();
    }
    next.run(request).await
}

/// Gives an answer up that takes too long. What was asked for may still be done.
pub(crate) async fn within(time: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            "timed-out",
            format!(
                "no answer within {} s; whether it was done is not known",
                time.as_secs_f64()
            ),
        )
        .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_local_name_is_localhost_or_an_address() {
        for host in [
            "localhost",
            "localhost:7007",
            "a.localhost:1",
            "127.0.0.1",
            "127.0.0.1:7007",
            "[::1]",
            "[::1]:7007",
        ] {
            assert!(is_local_name(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7007",
            "localhost.evil.example",
            "",
        ] {
            assert!(!is_local_name(host), "{host}");
        }
    }

    #[test]
    fn a_browser_is_believed_about_where_a_request_comes_from() {
        let cross = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            is_cross_site(&headers)
        };
        let host = ("host", "localhost:7007");
        assert!(!cross(&[host]));
        assert!(!cross(&[host, ("origin", "http://localhost:7007")]));
        assert!(!cross(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(cross(&[host, ("origin", "http://evil.example")]));
        assert!(cross(&[host, ("origin", "null")]));
        assert!(cross(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(cross(&[host, ("sec-fetch-site", "same-site")]));
    }
}
