//! The one client: its connections are kept and used again by whoever is granted them next.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use dacapo_model::Failure;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::address::{NotPublic, Resolver};
use crate::body::{Body, BodyError, Limited, UntilOver};
use crate::grants::{Grants, Refused, Target};
use crate::over::StepOver;
use crate::secrets::Secrets;
use crate::{BAD_REQUEST, NOT_GRANTED, TOO_SLOW, UNREACHABLE};

/// How long a connection that nobody uses is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Connections to one host that are kept while nobody uses them.
const IDLE_PER_HOST_MAX: usize = 32;
/// How long it may take until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The head of a response, in bytes.
const HEAD_MAX_BYTES: usize = 128 << 10;

/// How far requests may go; a deployment can only ask for less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundConfig {
    /// How long a request and its response may take together, in milliseconds. Default: 300,000.
    pub timeout_max_ms: u64,
    /// How long a request and its response may take of which neither the guest nor its manifest says it, in milliseconds. Default: 30,000.
    pub timeout_ms: u64,
    /// How long the body of a response may be, in bytes. Default: 16 MiB.
    pub response_max_bytes: u64,
    /// Requests that may be under way at the same time, each with its socket; of one deployment half as many. Others wait for their turn,
    /// within their time. Default: 512.
    pub requests_max: u32,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        OutboundConfig {
            timeout_max_ms: 300_000,
            timeout_ms: 30_000,
            response_max_bytes: 16 << 20,
            requests_max: 512,
        }
    }
}

/// The client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the client for requests of steps")]
pub struct OutboundError(#[source] rustls::Error);

/// Sends the requests of steps. Cheap to clone; all clones are the same client.
#[derive(Clone)]
pub struct Outbound {
    inner: Arc<Inner>,
}

type Connector = HttpsConnector<HttpConnector<Resolver>>;

struct Inner {
    config: OutboundConfig,
    secrets: Secrets,
    /// Where connections live: they outlast the guest that they were made for.
    io: Handle,
    places: Arc<Semaphore>,
    public: Client<Connector, Body>,
    /// Apart from the other one, so that a connection to a private address is never handed to who may not have it.
    private: Client<Connector, Body>,
}

/// How a request is sent.
#[derive(Debug, Clone)]
pub struct Sending {
    /// When the whole of it must be over.
    pub deadline: Instant,
    /// How long it may take until a connection stands. None: within all of its time.
    pub connect_max: Option<Duration>,
    /// How long the response's body may take from one piece to the next. None: within all of its time.
    pub between_max: Option<Duration>,
    /// How long the body of the response may be, in bytes.
    pub response_max_bytes: u64,
    /// The end of the step that sends it, with which it ends as well.
    pub over: StepOver,
    /// Kept until the response has been read or dropped, for who counts requests under way.
    pub permit: Option<Arc<OwnedSemaphorePermit>>,
    /// Places for requests of its deployment.
    share: Arc<Semaphore>,
}

impl Outbound {
    /// A client whose connections live on this runtime.
    ///
    /// # Errors
    /// The system's cryptography does not work.
    pub fn new(
        config: OutboundConfig,
        secrets: Secrets,
        io: Handle,
    ) -> Result<Outbound, OutboundError> {
        Ok(Outbound {
            inner: Arc::new(Inner {
                places: Arc::new(Semaphore::new(places(config.requests_max))),
                config,
                secrets,
                io,
                public: client(false).map_err(OutboundError)?,
                private: client(true).map_err(OutboundError)?,
            }),
        })
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    pub(crate) fn io(&self) -> &Handle {
        &self.inner.io
    }

    /// The limits of a request that begins now, as the deployment has them or more narrowly.
    pub fn sending(
        &self,
        grants: &Grants,
        timeout: Option<Duration>,
        response_max_bytes: Option<u64>,
        over: &StepOver,
    ) -> Sending {
        let config = &self.inner.config;
        let own_ms = grants.http.timeout_ms;
        let max_ms = own_ms.map_or(config.timeout_max_ms, |ms| ms.min(config.timeout_max_ms));
        let asked_ms = timeout.map_or(own_ms.unwrap_or(config.timeout_ms), |timeout| {
            u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
        });
        let wanted = [
            Some(config.response_max_bytes),
            grants.http.response_max_bytes,
            response_max_bytes,
        ];
        Sending {
            deadline: Instant::now() + Duration::from_millis(asked_ms.min(max_ms)),
            response_max_bytes: wanted.into_iter().flatten().min().unwrap_or(0),
            connect_max: None,
            between_max: None,
            over: over.clone(),
            permit: None,
            share: grants.share(self.share_places()),
        }
    }

    fn share_places(&self) -> usize {
        places(self.inner.config.requests_max / 2)
    }

    /// The headers of a request as they are sent: with secrets in the places of their placeholders. From now on none of the deployment's
    /// secrets is shown in what comes back.
    ///
    /// # Errors
    /// A secret is not granted for the host, or not there.
    pub fn fill_headers(
        &self,
        headers: &mut http::HeaderMap,
        grants: &Grants,
        target: &Target,
    ) -> Result<(), Refused> {
        grants.remember_all(self.secrets());
        for value in headers.values_mut() {
            let filled = grants.fill(value.as_bytes(), target, self.secrets())?;
            if let std::borrow::Cow::Owned(filled) = filled {
                let mut sent = HeaderValue::from_bytes(&filled).map_err(|_| {
                    Refused::new(
                        BAD_REQUEST,
                        "a header with a secret in it is none that HTTP can carry",
                    )
                })?;
                sent.set_sensitive(true);
                *value = sent;
            }
        }
        Ok(())
    }

    /// The bytes of a secret that is granted to be revealed.
    ///
    /// # Errors
    /// It is not granted, or not there.
    pub fn reveal(&self, grants: &Grants, name: &str) -> Result<String, Refused> {
        grants.reveal(name, self.secrets())
    }

    /// Sends one request and returns when the head of its response is there. Dropped, it is broken off.
    ///
    /// # Errors
    /// What the guest is told.
    pub async fn send(
        &self,
        target: &Target,
        request: Request<Body>,
        sending: Sending,
    ) -> Result<Response<Body>, Failure> {
        let client = if target.may_be_private {
            self.inner.private.clone()
        } else {
            self.inner.public.clone()
        };
        let host = target.host.clone();
        let places = self.places(&host, &sending).await?;
        let over = sending.over.clone();
        let mut request = request.map(|body| UntilOver::new(body, over.clone()).boxed_unsync());
        let connected = capture_connection(&mut request);
        let (deadline, connect_max) = (sending.deadline, sending.connect_max);
        let request = async move {
            tokio::select! {
                biased;
                () = over.wait() => Err(Unsent::StepOver),
                sent = tokio::time::timeout_at(deadline, client.request(request)) => match sent {
                    Ok(Ok(response)) => Ok(response),
                    Ok(Err(_)) if over.is_set() => Err(Unsent::StepOver),
                    Ok(Err(error)) => Err(Unsent::Failed(error)),
                    Err(_elapsed) => Err(Unsent::TooSlow),
                },
                () = connects_too_slowly(connected, connect_max) => Err(Unsent::NotConnected),
            }
        };
        // A task goes on when its handle is dropped.
        let sent = AbortOnDrop(self.inner.io.spawn(request));
        let response = match sent.wait().await {
            Ok(Ok(response)) => response,
            Ok(Err(Unsent::Failed(error))) => return Err(unreachable(&host, &error)),
            Ok(Err(Unsent::TooSlow)) => return Err(too_slow(&host)),
            Ok(Err(Unsent::NotConnected)) => {
                let message = format!("no connection to {host} stood in time");
                return Err(retryable(TOO_SLOW, message));
            }
            Ok(Err(Unsent::StepOver)) => return Err(broken_off(&host, &BodyError::StepOver)),
            Err(_) => {
                return Err(retryable(
                    UNREACHABLE,
                    format!("the request to {host} was broken off"),
                ));
            }
        };
        if sending.over.is_set() {
            return Err(broken_off(&host, &BodyError::StepOver));
        }
        let limited = |body| Limited::new(body, sending, places).boxed_unsync();
        Ok(response.map(limited))
    }

    /// Waits for a place among the deployment's requests, and one among all of them.
    async fn places(
        &self,
        host: &str,
        sending: &Sending,
    ) -> Result<Vec<Arc<OwnedSemaphorePermit>>, Failure> {
        let wait = async {
            let share = Arc::clone(&sending.share).acquire_owned().await?;
            let place = Arc::clone(&self.inner.places).acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>(vec![Arc::new(share), Arc::new(place)])
        };
        let crowded = || {
            let (share, all) = (self.share_places(), self.inner.config.requests_max);
            let message = format!(
                "the request to {host} did not get its turn in time: {share} of its deployment, or {all} of the worker, are under way, as \
                 many as may be (http-requests-max)"
            );
            retryable(TOO_SLOW, message)
        };
        tokio::select! {
            biased;
            () = sending.over.wait() => Err(broken_off(host, &BodyError::StepOver)),
            places = tokio::time::timeout_at(sending.deadline, wait) => match places {
                Ok(Ok(places)) => Ok(places),
                // Nobody closes them.
                Ok(Err(_)) | Err(_) => Err(crowded()),
            },
        }
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// Why there is no response.
enum Unsent {
    Failed(legacy::Error),
    TooSlow,
    NotConnected,
    StepOver,
}

/// Returns when a connection would have had to stand, and does not.
async fn connects_too_slowly(mut connected: CaptureConnection, max: Option<Duration>) {
    if let Some(max) = max {
        let stands = async {
            connected.wait_for_connection_metadata().await;
        };
        if tokio::time::timeout(max, stands).await.is_err() {
            return;
        }
    }
    std::future::pending().await
}

fn places(requests: u32) -> usize {
    usize::try_from(requests)
        .unwrap_or(usize::MAX)
        .clamp(1, Semaphore::MAX_PERMITS)
}

/// A task that ends with whoever waits for it.
pub(crate) struct AbortOnDrop<T>(pub(crate) tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    pub(crate) async fn wait(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn client(may_be_private: bool) -> Result<Client<Connector, Body>, rustls::Error> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::new(may_be_private));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_MAX));
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .http1_max_buf_size(HEAD_MAX_BYTES)
        .build(connector))
}

fn unreachable(host: &str, error: &legacy::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(one) = cause {
        let inner = one
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref());
        if let Some(refused) = inner.and_then(|inner| inner.downcast_ref::<NotPublic>()) {
            return not_public(refused);
        }
        if let Some(refused) = one.downcast_ref::<NotPublic>() {
            return not_public(refused);
        }
        last = one.to_string();
        cause = one.source();
    }
    retryable(UNREACHABLE, format!("cannot reach {host}: {last}"))
}

fn not_public(refused: &NotPublic) -> Failure {
    Failure::new(
        NOT_GRANTED,
        format!(
            "{refused}: to grant that, write `private = true` for its entry in `allow` under [http] in dacapo.toml and deploy again"
        ),
    )
}

pub(crate) fn too_slow(host: &str) -> Failure {
    retryable(TOO_SLOW, format!("{host} did not answer in time"))
}

pub(crate) fn retryable(code: &str, message: String) -> Failure {
    Failure {
        retryable: true,
        ..Failure::new(code, message)
    }
}

/// What a guest is told of a body that ended before its end.
pub(crate) fn broken_off(host: &str, error: &BodyError) -> Failure {
    match error {
        BodyError::TooLarge { max } => Failure::new(
            crate::TOO_LARGE,
            format!("the response of {host} is longer than {max} bytes"),
        ),
        BodyError::TooSlow => too_slow(host),
        BodyError::Stalled => retryable(TOO_SLOW, format!("{host} stopped answering")),
        BodyError::StepOver => Failure::new(BAD_REQUEST, error.to_string()),
        BodyError::Broken(cause) => retryable(
            UNREACHABLE,
            format!("the response of {host} broke off: {cause}"),
        ),
    }
}
