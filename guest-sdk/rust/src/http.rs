//! Requests to other services, from inside of steps.
//!
//! They go to the hosts that the deployment's manifest grants. Outside of a step a request ends the run with an explanation.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wait::whole_ms;
use crate::{Failure, StepError, raw};

/// A GET request.
///
/// ```no_run
/// use dacapo_guest::{http, step};
///
/// let stock: u32 = step("stock").run(|| {
///     Ok(http::get("https://stock.example.com/items/7").send()?.success()?.json()?)
/// })?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A POST request.
///
/// ```no_run
/// use dacapo_guest::{http, step};
///
/// # let amount = 1200_u64;
/// step("pay").run(|| {
///     http::post("https://bank.example.com/payments").json(&amount).idempotent().send()?.success()?;
///     Ok(())
/// })?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A request that has not been sent yet.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    request: raw::http::Request,
    timeout: Option<Duration>,
    redirects: Option<u32>,
    response_max: Option<u64>,
    idempotency_header: Option<String>,
    mistake: Option<Failure>,
}

impl Request {
    /// A request with this method, in capitals.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            request: raw::http::Request {
                method: method.into(),
                url: url.into(),
                headers: Vec::new(),
                body: None,
            },
            timeout: None,
            redirects: None,
            response_max: None,
            idempotency_header: None,
            mistake: None,
        }
    }

    /// Adds a header. The value may hold a [`secret`](crate::secret).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.headers.push((name.into(), value.into()));
        self
    }

    /// The body, as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = Some(body.into());
        self
    }

    /// The body as JSON, and the header that says so. A value that JSON cannot carry fails in [`Request::send`].
    pub fn json(self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => Self {
                mistake: Some(Failure::fatal(
                    "encode",
                    format!("the body of a request: {error}"),
                )),
                ..self
            },
        }
    }

    /// How long the request may take together with its response, in whole milliseconds (rounded up). Without it: 30 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// How many redirects are followed, of GET and HEAD requests alone. Without it: 10.
    pub fn redirects(mut self, max: u32) -> Self {
        self.redirects = Some(max);
        self
    }

    /// How long the body of the response may be, in bytes.
    pub fn response_max(mut self, bytes: u64) -> Self {
        self.response_max = Some(bytes);
        self
    }

    /// The request carries the step's key in the header `Idempotency-Key`, so that a service knows it when the step is tried again.
    pub fn idempotent(self) -> Self {
        self.idempotency_header("Idempotency-Key")
    }

    /// Like [`Request::idempotent`], for services that call the header something else.
    pub fn idempotency_header(mut self, name: impl Into<String>) -> Self {
        self.idempotency_header = Some(name.into());
        self
    }

    /// Sends it, and returns the response, whatever its status.
    ///
    /// # Errors
    ///
    /// The codes `http-bad-request` and `http-too-large`, which trying again does not mend, and `http-unreachable` and `http-timeout`, which
    /// it may. A host that is not granted blocks the run until it is, or has the code `not-granted` where the manifest says so.
    pub fn send(self) -> Result<Response, Failure> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let options = raw::http::Options::new();
        if let Some(timeout) = self.timeout {
            options.set_timeout(whole_ms(timeout));
        }
        if let Some(redirects) = self.redirects {
            options.set_redirects(redirects);
        }
        if let Some(bytes) = self.response_max {
            options.set_response_max(bytes);
        }
        if let Some(name) = &self.idempotency_header {
            options.set_idempotency_header(name);
        }
        let response = raw::http::fetch(&self.request, Some(&options))?;
        Ok(Response {
            status: response.status,
            headers: response.headers,
            body: response.body,
        })
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The response if its status is one of success (200 to 299).
    ///
    /// # Errors
    ///
    /// A failure with the code `http-status`, which is worth another try for 408, 425, 429 and from 500 on; a `retry-after` in seconds says
    /// how long that one waits at least.
    pub fn success(self) -> Result<Self, StepError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let message = format!("the service answered with status {}", self.status);
        if !matches!(self.status, 408 | 425 | 429 | 500..) {
            return Err(Failure::fatal("http-status", message).into());
        }
        let error = StepError::from(Failure::retry("http-status", message));
        let wait = self
            .header("retry-after")
            .and_then(|text| text.trim().parse().ok());
        Err(match wait {
            Some(seconds) => error.after(Duration::from_secs(seconds)),
            None => error,
        })
    }

    /// The body as text.
    ///
    /// # Errors
    ///
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.body)
    }

    /// The body from JSON.
    ///
    /// # Errors
    ///
    /// It is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Response {
            status,
            headers: headers.collect(),
            body: b"[7]".to_vec(),
        }
    }

    #[test]
    fn a_busy_service_is_asked_again_when_it_says_and_a_refusal_is_final() {
        let busy = response(503, &[("retry-after", "7")])
            .success()
            .unwrap_err();
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
        assert!(Failure::from(busy).retryable);
        let refused = response(403, &[]).success().unwrap_err();
        assert!(!Failure::from(refused).retryable);
        assert_eq!(
            response(204, &[])
                .success()
                .unwrap()
                .json::<Vec<u8>>()
                .unwrap(),
            [7]
        );
    }

    #[test]
    fn a_body_that_json_cannot_carry_fails_when_it_is_sent() {
        let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        let failure = post("https://example.com").json(&keys).send().unwrap_err();
        assert_eq!(failure.code, "encode");
    }
}
