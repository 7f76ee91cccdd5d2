//! Requests as a language's own client sends them, through `wasi:http`.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;

use crate::bindings::exports::test::gate::requests::Ask;

/// A status and a body, or what went wrong.
pub type Answer = Result<(u16, Vec<u8>), String>;

pub fn fetch(ask: &Ask) -> Answer {
    answer(&begin(ask)?)
}

pub fn begin(ask: &Ask) -> Result<FutureIncomingResponse, String> {
    let (scheme, rest) = ask.url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let fields = Fields::new();
    for header in &ask.headers {
        fields
            .append(&header.name, header.value.as_bytes())
            .map_err(|error| error.to_string())?;
    }
    let request = OutgoingRequest::new(fields);
    let method = match ask.method.as_deref() {
        None | Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        Some(other) => Method::Other(other.to_owned()),
    };
    let scheme = if scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let set =
        |done: Result<(), ()>| done.map_err(|()| "a part of the request was refused".to_owned());
    set(request.set_method(&method))?;
    set(request.set_scheme(Some(&scheme)))?;
    set(request.set_authority(Some(authority)))?;
    set(request.set_path_with_query(Some(path)))?;
    let body = request.body().map_err(|()| "no body")?;
    let response = handle(request, None).map_err(|error| code(&error))?;
    if let Some(text) = &ask.body {
        let stream = body.write().map_err(|()| "no stream")?;
        stream
            .blocking_write_and_flush(text.as_bytes())
            .map_err(|error| error.to_string())?;
        drop(stream);
    }
    OutgoingBody::finish(body, None).map_err(|error| code(&error))?;
    Ok(response)
}

pub fn answer(response: &FutureIncomingResponse) -> Answer {
    response.subscribe().block();
    let response = match response.get() {
        Some(Ok(response)) => response.map_err(|error| code(&error))?,
        Some(Err(())) | None => return Err("no response".to_owned()),
    };
    let status = response.status();
    let body = response.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return Ok((status, bytes)),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match wasip2::http::types::http_error_code(&error) {
                    Some(error) => code(&error),
                    None => error.to_debug_string(),
                });
            }
        }
    }
}

fn code(error: &ErrorCode) -> String {
    format!("{error:?}")
}
