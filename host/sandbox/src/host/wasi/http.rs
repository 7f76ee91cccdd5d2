//! `wasi:http/outgoing-handler`: what `dacapo:workflow/http` offers, for languages that bring a client of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dacapo_model::Failure;
use dacapo_outbound::{
    BAD_REQUEST, Body, BodyError, Grants, NOT_GRANTED, Outbound, Refused, Sending, StepOver,
    TOO_SLOW, Target, hide_response,
};
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode, HostOutgoingRequest as _};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::console::Console;
use crate::guest::Guest;
use crate::host::http::TRACE_PARENT;
use crate::interrupt::Interrupt;
use crate::journal::Level;

/// The interfaces, in the version that the library has.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";
const TYPES: &str = "wasi:http/types@0.2.12";

/// Bytes of a request's body that a guest may write before it asks again. Some are kept for each request, also for one that is never sent.
const CHUNK_MAX_BYTES: usize = 16 << 10;

/// The method or the scheme of a request, its host and port, its path and query: in bytes.
const WORD_MAX_BYTES: usize = 100;
const AUTHORITY_MAX_BYTES: usize = 300;
const PATH_MAX_BYTES: usize = 8 << 10;

/// Requests of one instance that may be under way at the same time.
const UNDER_WAY_MAX: usize = 64;
const TOO_MANY: &str = "too-many-requests";

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let options = types::LinkOptions::default();
    types::add_to_linker::<_, WasiHttp>(linker, &options, Guest::http)?;
    // The library's own knows no error that ends a body.
    linker.allow_shadowing(true);
    linker.instance(TYPES)?.func_wrap(
        "http-error-code",
        |store: StoreContextMut<'_, Guest>, (error,): (Resource<types::IoError>,)| {
            let error = store.data().table.get(&error)?;
            Ok((error.downcast_ref::<Error>().and_then(code_of_body),))
        },
    )?;
    limit_parts(linker)?;
    linker.allow_shadowing(false);
    let mut instance = linker.instance(OUTGOING_HANDLER)?;
    instance.func_wrap(
        "handle",
        |store: StoreContextMut<'_, Guest>, (request, options)| {
            Ok((handle(store, request, options)?,))
        },
    )
}

/// The library keeps the parts of a request however long they are, and a guest can make many requests that it never sends.
fn limit_parts(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Request = Resource<HostOutgoingRequest>;
    type Set = Result<(), ()>;
    let mut instance = linker.instance(TYPES)?;
    instance.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, Guest>, (request, method): (Request, types::Method)| {
            let set: Set = match &method {
                types::Method::Other(name) if name.len() > WORD_MAX_BYTES => Err(()),
                _ => store.data_mut().http().set_method(request, method)?,
            };
            Ok((set,))
        },
    )?;
    instance.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store: StoreContextMut<'_, Guest>,
         (request, scheme): (Request, Option<types::Scheme>)| {
            let set: Set = match &scheme {
                Some(types::Scheme::Other(name)) if name.len() > WORD_MAX_BYTES => Err(()),
                _ => store.data_mut().http().set_scheme(request, scheme)?,
            };
            Ok((set,))
        },
    )?;
    instance.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, Guest>, (request, authority): (Request, Option<String>)| {
            let set: Set = match &authority {
                Some(text) if text.len() > AUTHORITY_MAX_BYTES => Err(()),
                _ => store.data_mut().http().set_authority(request, authority)?,
            };
            Ok((set,))
        },
    )?;
    instance.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, Guest>, (request, path): (Request, Option<String>)| {
            let set: Set = match &path {
                Some(text) if text.len() > PATH_MAX_BYTES => Err(()),
                _ => store.data_mut().http().set_path_with_query(request, path)?,
            };
            Ok((set,))
        },
    )
}

type Handled = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

fn handle(
    mut store: StoreContextMut<'_, Guest>,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Handled> {
    let guest = store.data_mut();
    let over = guest
        .attempt_for("wasi:http/outgoing-handler.handle")?
        .is_over
        .flag();
    guest.limit_attempt();
    let grants = &guest.go.terms.grants;
    guest.hooks.way = guest.go.outbound.as_ref().map(|outbound| Way {
        outbound: outbound.clone(),
        grants: Arc::clone(grants),
        key: guest.open_idempotency_key(),
        trace_parent: guest.open_trace_parent(),
        over: over.clone(),
        under_way: Arc::clone(&guest.hooks.under_way),
        console: guest.console.clone(),
    });
    let handled = guest.http().handle(request, options);
    guest.hooks.way = None;
    if let Some(refused) = guest.hooks.refused.take() {
        let failure = match guest.refuse::<()>(Err(refused))? {
            Ok(()) => return Err(Interrupt::misuse("a request was refused for nothing").into()),
            Err(failure) => failure,
        };
        log_refusal(&guest.console, &failure);
        if let Ok(response) = handled {
            guest.table.delete(response)?;
        }
        return Ok(Err(code_of(&failure)));
    }
    match handled {
        Ok(response) => Ok(Ok(response)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

/// The codes of WASI do not say what is missing.
fn log_refusal(console: &Console, failure: &Failure) {
    let text = format!("a request was refused: {}", failure.message);
    console.log(Level::Warn, &text, Vec::new());
}

fn code_of(failure: &Failure) -> ErrorCode {
    match failure.code.as_str() {
        NOT_GRANTED => ErrorCode::HttpRequestDenied,
        BAD_REQUEST => ErrorCode::HttpRequestUriInvalid,
        _ => ErrorCode::InternalError(Some(failure.message.clone())),
    }
}

/// What the library asks of us.
pub(crate) struct Hooks {
    /// Where a request goes that is being handed over.
    way: Option<Way>,
    /// Why it does not go.
    refused: Option<Refused>,
    /// Places for requests whose responses have not been read.
    under_way: Arc<Semaphore>,
}

impl Default for Hooks {
    fn default() -> Self {
        Hooks {
            way: None,
            refused: None,
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        }
    }
}

struct Way {
    outbound: Outbound,
    grants: Arc<Grants>,
    key: Option<String>,
    /// Says to which trace the request belongs.
    trace_parent: Option<String>,
    over: StepOver,
    under_way: Arc<Semaphore>,
    console: Console,
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.wasi_http,
        }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Response = Result<(http::Response<WasiBody>, Io), Error>;

impl Way {
    /// How far the request may go. What the guest says of time is a wish, which the manifest and the worker bound.
    fn sending(&self, options: Option<&RequestOptions>) -> Sending {
        let said = options.is_some_and(|options| *options != RequestOptions::default());
        let all = said.then_some(Duration::MAX);
        let mut sending = self.outbound.sending(&self.grants, all, None, &self.over);
        sending.connect_max = options.and_then(|options| options.connect_timeout);
        sending.between_max = options.and_then(|options| options.between_bytes_timeout);
        sending
    }

    /// Checks a request, and puts into it what only we know.
    fn check(&self, request: &mut http::Request<WasiBody>) -> Result<Target, Refused> {
        let method = request.method().as_str().to_owned();
        let target = self.grants.target(&request.uri().to_string(), &method)?;
        let name = self.grants.idempotency_header();
        let name = name.and_then(|name| name.parse::<HeaderName>().ok());
        let key = self
            .key
            .as_deref()
            .and_then(|key| HeaderValue::from_str(key).ok());
        let headers = request.headers_mut();
        if let (Some(name), Some(key)) = (name, key)
            && !headers.contains_key(&name)
        {
            headers.insert(name, key);
        }
        if let Some(place) = self.trace_parent.as_deref()
            && let Ok(place) = HeaderValue::from_str(place)
            && !headers.contains_key(TRACE_PARENT)
        {
            headers.insert(TRACE_PARENT, place);
        }
        // The client says it as the URL has it in its normal form.
        headers.remove(http::header::HOST);
        self.outbound.fill_headers(headers, &self.grants, &target)?;
        *request.uri_mut() = target.uri().clone();
        Ok(target)
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Response> + Send> {
        let refused = |hooks: &mut Hooks, refused| -> Box<dyn Future<Output = Response> + Send> {
            hooks.refused = Some(refused);
            Box::new(async { Err(Error::HttpRequestDenied) })
        };
        let Some(way) = self.way.take() else {
            return refused(self, Refused::Failure(Guest::no_outbound()));
        };
        let Ok(place) = Arc::clone(&way.under_way).try_acquire_owned() else {
            let message = format!(
                "{UNDER_WAY_MAX} requests are under way, as many as may be: read or drop their responses first"
            );
            return refused(self, Refused::Failure(Failure::new(TOO_MANY, message)));
        };
        let target = match way.check(&mut request) {
            Ok(target) => target,
            Err(why) => return refused(self, why),
        };
        let request = request.map(|body| {
            body.map_err(|error| BodyError::Broken(error.into()))
                .boxed_unsync()
        });
        let first_byte = options.and_then(|options| options.first_byte_timeout);
        let mut sending = way.sending(options.as_ref());
        let Way {
            outbound,
            grants,
            console,
            ..
        } = way;
        sending.permit = Some(Arc::new(place));
        Box::new(async move {
            let sent = outbound.send(&target, request, sending);
            let response = match first_byte {
                Some(limit) => tokio::time::timeout(limit, sent)
                    .await
                    .map_err(|_| Error::HttpResponseTimeout)?,
                None => sent.await,
            };
            let response = response.map_err(|failure| {
                if failure.code == NOT_GRANTED {
                    log_refusal(&console, &failure);
                }
                failed(&grants, &failure)
            })?;
            let response = hide_response(response, &grants);
            let body = |body: Body| body.map_err(broken).boxed_unsync();
            Ok((response.map(body), Box::new(async { Ok(()) }) as Io))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_MAX_BYTES
    }
}

fn failed(grants: &Grants, failure: &Failure) -> Error {
    match failure.code.as_str() {
        NOT_GRANTED => Error::DestinationIpProhibited,
        TOO_SLOW => Error::HttpResponseTimeout,
        // All else that could be wrong with it was seen before it was sent.
        BAD_REQUEST => Error::ConnectionTerminated,
        _ => Error::InternalError(Some(grants.hide(failure.message.as_str()).into_owned())),
    }
}

fn broken(error: BodyError) -> Error {
    match error {
        BodyError::TooLarge { max } => Error::HttpResponseBodySize(Some(max)),
        BodyError::TooSlow => Error::HttpResponseTimeout,
        BodyError::Stalled => Error::ConnectionReadTimeout,
        BodyError::StepOver => Error::ConnectionTerminated,
        BodyError::Broken(_) => Error::HttpResponseIncomplete,
    }
}

/// What a guest is told of an error that ended a body, as [`broken`] made it.
fn code_of_body(error: &Error) -> Option<ErrorCode> {
    match error {
        Error::HttpResponseBodySize(max) => Some(ErrorCode::HttpResponseBodySize(*max)),
        Error::HttpResponseTimeout => Some(ErrorCode::HttpResponseTimeout),
        Error::ConnectionReadTimeout => Some(ErrorCode::ConnectionReadTimeout),
        Error::ConnectionTerminated => Some(ErrorCode::ConnectionTerminated),
        Error::HttpResponseIncomplete => Some(ErrorCode::HttpResponseIncomplete),
        _ => None,
    }
}
