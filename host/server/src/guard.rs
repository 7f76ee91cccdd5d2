//! What is looked at before any handler is asked: where a request comes from, how fast its network sends, and how long the answer takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::{App, Problem, routes};

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

/// Whether a browser says that something else than a page of ours sent this. What is no browser says nothing.
pub(crate) fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap_or_default())
    };
    // No page can write this one, and it holds by whatever name a proxy asks.
    if let Some(site) = text(&HeaderName::from_static("sec-fetch-site")) {
        return site != "same-origin";
    }
    match (text(&header::ORIGIN), text(&header::HOST)) {
        (None, _) => false,
        (Some(origin), Some(host)) => !origin
            .split_once("://")
            .is_some_and(|(_, of)| of.eq_ignore_ascii_case(host)),
        (Some(_), None) => true,
    }
}

/// What counts as one address: whoever has one of IPv6 has all of its /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}

/// Refuses what comes faster than it may. The gate has not been asked yet, and so the database has not either.
pub(crate) async fn paced(State(app): State<App>, request: Request, next: Next) -> Response {
    let address = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip());
    if let (Some(rate), Some(address)) = (app.rate(), address)
        && let Err(after) = rate.take(address, Instant::now())
    {
        let problem = Problem::new(
            "rate-limited",
            format!(
                "expected at most {} requests a second from {address}",
                app.limits().requests_per_second
            ),
        );
        let is_page = routes::is_page(request.uri().path());
        return routes::refused(is_page, problem.come_back(after));
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
        for (pairs, expected) in [
            (&[("host", "a:1")][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "http://a:1"), ("host", "a:1")], false),
            (&[("origin", "https://A:1"), ("host", "a:1")], false),
            (&[("origin", "http://b:1"), ("host", "a:1")], true),
            (&[("origin", "null"), ("host", "a:1")], true),
            (&[("origin", "http://a:1")], true),
            // A proxy may ask under another name than the browser does.
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://a"),
                    ("host", "b:1"),
                ],
                false,
            ),
        ] {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            };
            let headers: HeaderMap = pairs.iter().map(pair).collect();
            assert_eq!(is_cross_site(&headers), expected, "{pairs:?}");
        }
    }
}
