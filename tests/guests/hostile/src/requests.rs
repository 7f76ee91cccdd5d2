//! What services do to whoever asks them.

use dacapo_guest::http::get;
use dacapo_guest::{Failure, Fatal, step};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, FutureIncomingResponse, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

use crate::Hostile;
use crate::bindings::exports::test::hostile::requests::Guest;

impl Guest for Hostile {
    fn fetches(url: String) -> Result<String, String> {
        told(step("ask").attempts(1).run(|| {
            let response = get(&url).send()?;
            Ok(format!("{} {}", response.status, response.body.len()))
        }))
    }

    fn wasi_fetches(url: String) -> Result<String, String> {
        told(
            step("ask")
                .attempts(1)
                .run(|| Ok(read(&begin(&url).map_err(Fatal)?).map_err(Fatal)?)),
        )
    }

    fn floods(url: String) -> Result<u32, String> {
        Ok(step("flood").attempts(1).run(|| {
            let mut begun = Vec::new();
            while let Ok(response) = begin(&url) {
                begun.push(response);
            }
            Ok(u32::try_from(begun.len()).unwrap_or(u32::MAX))
        })?)
    }
}

fn told(result: Result<String, Failure>) -> Result<String, String> {
    result.map_err(|failure| format!("{}: {}", failure.code, failure.message))
}

fn begin(url: &str) -> Result<FutureIncomingResponse, String> {
    let rest = url.strip_prefix("http://").ok_or("no http")?;
    let (authority, path) = rest.split_at(rest.find('/').ok_or("no path")?);
    let request = OutgoingRequest::new(Fields::new());
    let refused = |()| "a part of the request was refused".to_owned();
    request.set_scheme(Some(&Scheme::Http)).map_err(refused)?;
    request.set_authority(Some(authority)).map_err(refused)?;
    request.set_path_with_query(Some(path)).map_err(refused)?;
    handle(request, None).map_err(|error| format!("{error:?}"))
}

fn read(response: &FutureIncomingResponse) -> Result<String, String> {
    response.subscribe().block();
    let response = match response.get() {
        Some(Ok(response)) => response.map_err(|error| format!("{error:?}"))?,
        Some(Err(())) | None => return Err("no response".to_owned()),
    };
    let body = response.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut length = 0;
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(more) => length += more.len(),
            Err(StreamError::Closed) => return Ok(format!("{} {length}", response.status())),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match wasip2::http::types::http_error_code(&error) {
                    Some(error) => format!("{error:?}"),
                    None => error.to_debug_string(),
                });
            }
        }
    }
}
