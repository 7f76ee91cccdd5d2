//! Requests as a language's own client sends them, through `wasi:http`.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::{OutputStream, StreamError};

use crate::bindings::exports::test::gate::requests::Ask;

/// A status and a body, or what went wrong.
pub type Answer = Result<(u16, Vec<u8>), String>;

pub fn fetch(ask: &Ask) -> Answer {
    answer(&begin(ask)?)
}

pub fn begin(ask: &Ask) -> Result<FutureIncomingResponse, String> {
    let (response, body) = send(ask)?;
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

/// A request whose body has not ended.
pub struct Upload {
    // Dropped in this order: a stream is a child of its body.
    stream: OutputStream,
    body: OutgoingBody,
    _response: FutureIncomingResponse,
}

/// Sends a request with the beginning of its body, and waits for the response's head.
pub fn begin_upload(ask: &Ask, first: &[u8]) -> Result<Upload, String> {
    let (response, body) = send(ask)?;
    let stream = body.write().map_err(|()| "no stream")?;
    stream
        .blocking_write_and_flush(first)
        .map_err(|error| error.to_string())?;
    response.subscribe().block();
    Ok(Upload {
        stream,
        body,
        _response: response,
    })
}

pub fn go_on(upload: Upload, rest: &[u8]) -> Result<(), String> {
    let Upload {
        stream,
        body,
        _response,
    } = upload;
    let written = stream.blocking_write_and_flush(rest);
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|error| code(&error))?;
    written.map_err(|error| error.to_string())
}

fn options(ask: &Ask) -> Result<Option<RequestOptions>, String> {
    let all = [
        ask.connect_timeout_ms,
        ask.first_byte_timeout_ms,
        ask.between_bytes_timeout_ms,
    ];
    if all.iter().all(Option::is_none) {
        return Ok(None);
    }
    let options = RequestOptions::new();
    let [connect, first_byte, between_bytes] = all.map(|ms| ms.map(|ms| ms * 1_000_000));
    let set = |done: Result<(), ()>| done.map_err(|()| "an option was refused".to_owned());
    set(options.set_connect_timeout(connect))?;
    set(options.set_first_byte_timeout(first_byte))?;
    set(options.set_between_bytes_timeout(between_bytes))?;
    Ok(Some(options))
}

fn send(ask: &Ask) -> Result<(FutureIncomingResponse, OutgoingBody), String> {
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
    let response = handle(request, options(ask)?).map_err(|error| code(&error))?;
    Ok((response, body))
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
