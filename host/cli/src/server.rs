//! Carries requests to a server's API, for commands that are given one in the place of a database.

use std::time::Duration;

use dacapo_client::{Carried, RemoteAnswer, RemoteRequest, Transport};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::connect::known_scheme;
use crate::error::{Failed, Result, chain};

/// How long a server may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long it may take to answer: what is done to many runs takes a while.
const ANSWER_MAX: Duration = Duration::from_secs(660);

const HINT: &str = "expected http://host:port or https://host";

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Without a slash at its end.
    url: String,
    token: Option<String>,
    client: Client<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>,
}

impl Server {
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let is_one = ["http://", "https://"].iter().any(|scheme| {
            url.strip_prefix(scheme)
                .is_some_and(|host| !host.is_empty())
        });
        let parsed: std::result::Result<http::Uri, _> = url.parse();
        let Some(parsed) = parsed.ok().filter(|_| is_one) else {
            // It may be the URL of a database, with its password.
            let problem = match known_scheme(url) {
                Some(scheme) => format!("it begins with {scheme}:"),
                None => "it does not begin with http:// or https://".to_owned(),
            };
            return Err(
                Failed::usage(format!("--server: not the URL of a server: {problem}")).hint(HINT),
            );
        };
        if parsed
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(
                Failed::usage("--server: expected a URL without a user and a password")
                    .hint("a server is shown a token: give it as DACAPO_TOKEN"),
            );
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_MAX));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(Failed::new)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self {
            url: url.to_owned(),
            token,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    async fn ask(&self, request: RemoteRequest) -> std::result::Result<RemoteAnswer, String> {
        let RemoteRequest {
            method,
            path,
            by,
            content_type,
            body,
        } = request;
        let mut builder = http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.url))
            .header("accept", "application/json");
        let token = self.token.as_ref().map(|token| format!("Bearer {token}"));
        for (name, value) in [
            ("content-type", content_type),
            ("dacapo-by", by),
            ("authorization", token),
        ] {
            if let Some(value) = value {
                builder = builder.header(name, value.as_bytes());
            }
        }
        let request = builder
            .body(Full::from(body))
            .map_err(|error| error.to_string())?;
        let answer = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| chain(&error))?;
            let status = response.status().as_u16();
            let after = response.headers().get("retry-after");
            let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| chain(&error))?.to_bytes();
            Ok(RemoteAnswer {
                status,
                retry_after: after.map(Duration::from_secs),
                body: body.into(),
            })
        };
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(answer) => answer.map_err(|error: String| format!("{}: {error}", self.url)),
            Err(_) => Err(format!(
                "{}: no answer within {} s",
                self.url,
                ANSWER_MAX.as_secs()
            )),
        }
    }
}

impl Transport for Server {
    fn carry(&self, request: RemoteRequest) -> Carried<'_> {
        Box::pin(self.ask(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_of_a_server_is_refused_without_showing_what_may_be_secret() {
        for url in [
            "hunter2",
            "hunter2:7007",
            "postgres://app:hunter2@db.example.com/app",
            "http://app:hunter2@dacapo.example.com",
            "https://hunter2@dacapo.example.com",
            "http://app:hunter2@",
            "http://",
        ] {
            let failed = Server::new(url, None).unwrap_err();
            let said = format!("{} {}", failed.message, failed.hint.unwrap_or_default());
            assert!(said.starts_with("--server: "), "{said}");
            for part in ["hunter2", "app", "example"] {
                assert!(!said.contains(part), "{url}: {said}");
            }
        }
    }
}
