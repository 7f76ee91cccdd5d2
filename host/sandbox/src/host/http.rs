//! `dacapo:workflow/http`: requests that steps send.

use std::sync::Arc;
use std::time::Duration;

use dacapo_model::{Failure, Payload};
use dacapo_outbound::{FetchRequest, NOT_GRANTED, Refused};
use wasmtime::component::Resource;

use super::bindings::dacapo::workflow::http::{Host, HostOptions, Request, Response};
use super::bindings::dacapo::workflow::types;
use crate::attempt::OpenAttempt;
use crate::ending::{BlockCode, BlockReason};
use crate::guest::Guest;
use crate::interrupt::Interrupt;

/// Redirects that are followed unless the guest says otherwise.
const REDIRECTS_MAX: u32 = 10;

/// The name of the header for the idempotency key, in bytes.
const HEADER_NAME_MAX_BYTES: usize = 200;

/// The header that says to which trace a request belongs.
pub(crate) const TRACE_PARENT: &str = "traceparent";

/// How a guest wants a request to be sent.
#[derive(Debug, Clone)]
pub struct Options {
    timeout: Option<Duration>,
    redirects_max: u32,
    response_max_bytes: Option<u64>,
    idempotency_header: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            timeout: None,
            redirects_max: REDIRECTS_MAX,
            response_max_bytes: None,
            idempotency_header: None,
        }
    }
}

impl Host for Guest {
    async fn fetch(
        &mut self,
        request: Request,
        options: Option<Resource<Options>>,
    ) -> wasmtime::Result<Result<Response, types::Failure>> {
        let over = self.attempt_for("http.fetch")?.is_over.flag();
        self.limit_attempt();
        let options = match options {
            Some(options) => self.table.get(&options)?.clone(),
            None => Options::default(),
        };
        let mut headers = request.headers;
        if let Some(name) = options.idempotency_header {
            headers.extend(self.open_idempotency_key().map(|key| (name, key)));
        }
        let says = |(name, _): &(String, _)| name.eq_ignore_ascii_case(TRACE_PARENT);
        if !headers.iter().any(says) {
            let place = self.open_trace_parent();
            headers.extend(place.map(|place| (TRACE_PARENT.to_owned(), place)));
        }
        let Some(outbound) = self.go.outbound.clone() else {
            return Ok(Err(Guest::no_outbound().into()));
        };
        let request = FetchRequest {
            method: request.method,
            url: request.url,
            headers,
            body: request.body,
            timeout: options.timeout,
            response_max_bytes: options.response_max_bytes,
            redirects_max: options.redirects_max,
        };
        let grants = Arc::clone(&self.go.terms.grants);
        let fetched = outbound.fetch(&grants, request, &over).await;
        let fetched = self.refuse(fetched)?.map(|response| Response {
            status: response.status,
            headers: response.headers,
            body: response.body,
        });
        Ok(fetched.map_err(Into::into))
    }
}

impl Guest {
    /// The open attempt: nothing else may have effects.
    pub(crate) fn attempt_for(&self, call: &str) -> Result<&OpenAttempt, Interrupt> {
        self.attempt.as_ref().ok_or_else(|| {
            Interrupt::misuse(format!(
                "`{call}` was called outside of a step: it is a side effect, which a replay would repeat; move it into the body of a step(...)"
            ))
        })
    }

    /// What a refusal means for the guest, or for its run.
    pub(crate) fn refuse<T>(
        &self,
        result: Result<T, Refused>,
    ) -> Result<Result<T, Failure>, Interrupt> {
        // Whoever mends it wants to know where it is lacking.
        let of_step = |message: String| match &self.attempt {
            Some(attempt) => format!("step `{}`: {message}", attempt.slot.key),
            None => message,
        };
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(Refused::Failure(failure)) => Ok(Err(failure)),
            Err(Refused::NotGranted(message)) => Err(Interrupt::Blocked(BlockReason {
                code: BlockCode::NotGranted,
                message: of_step(message),
                details: None,
            })),
            Err(Refused::MissingSecret { name, message }) => Err(Interrupt::Blocked(BlockReason {
                code: BlockCode::MissingSecret,
                message: of_step(message),
                // By this the run is found when a worker starts that has it.
                details: Some(Payload::from_trusted(
                    serde_json::json!({ "secret": name.as_str() }).to_string(),
                )),
            })),
        }
    }

    /// Who plays runs without a way out, a test for one, tells guests so.
    pub(crate) fn no_outbound() -> Failure {
        Failure::new(
            NOT_GRANTED,
            "nothing is reached from here: whoever plays this run lets no requests out; in a test, script the step",
        )
    }

    /// The open attempt's place in its run's trace.
    pub(crate) fn open_trace_parent(&self) -> Option<String> {
        let attempt = self.attempt.as_ref()?;
        self.journal.trace_parent(&attempt.slot.key, attempt.number)
    }

    /// A text that names the open attempt's step, in characters that every header can carry.
    pub(crate) fn open_idempotency_key(&self) -> Option<String> {
        let key = &self.attempt.as_ref()?.slot.key;
        let mut text = String::new();
        for byte in format!("{}/{key}", self.go.run_id).bytes() {
            if byte.is_ascii_graphic() && byte != b'%' {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        Some(text)
    }
}

impl HostOptions for Guest {
    fn new(&mut self) -> wasmtime::Result<Resource<Options>> {
        Ok(self.table.push(Options::default())?)
    }

    fn set_timeout(&mut self, options: Resource<Options>, ms: u64) -> wasmtime::Result<()> {
        if ms == 0 {
            let message = "time-out of a request: expected at least 1 ms, got 0 ms";
            return Err(Interrupt::misuse(message).into());
        }
        self.table.get_mut(&options)?.timeout = Some(Duration::from_millis(ms));
        Ok(())
    }

    fn set_redirects(&mut self, options: Resource<Options>, max: u32) -> wasmtime::Result<()> {
        self.table.get_mut(&options)?.redirects_max = max.min(REDIRECTS_MAX);
        Ok(())
    }

    fn set_response_max(&mut self, options: Resource<Options>, bytes: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&options)?.response_max_bytes = Some(bytes);
        Ok(())
    }

    fn set_idempotency_header(
        &mut self,
        options: Resource<Options>,
        name: String,
    ) -> wasmtime::Result<()> {
        if name.len() > HEADER_NAME_MAX_BYTES {
            let message = format!(
                "name of a header: expected at most {HEADER_NAME_MAX_BYTES} bytes, got {}",
                name.len()
            );
            return Err(Interrupt::misuse(message).into());
        }
        self.table.get_mut(&options)?.idempotency_header = Some(name);
        Ok(())
    }

    fn drop(&mut self, options: Resource<Options>) -> wasmtime::Result<()> {
        self.table.delete(options)?;
        Ok(())
    }
}
