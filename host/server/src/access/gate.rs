//! The layer before all routes: who asks, whether they may, and a note of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use dacapo_client::{Access, Client, ClientError, Deed, DeedOutcome, Known, Role, Via};
use futures_util::StreamExt;
use ipnet::IpNet;

use super::oidc::Oidc;
use super::slow::Failures;
use super::{AccessConfig, AccessError, Caller, cookies};
use crate::api::Principal;
use crate::{Problem, guard, mcp, routes};

/// How often it is looked whether whoever reads a stream may still get in.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The cookie of a session.
pub(super) const SESSION: &str = "dacapo-session";

/// Decides who gets in.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    tls: bool,
    /// Whether everybody on this machine gets in while there are no tokens.
    open_on_loopback: bool,
    trusted_proxies: Vec<IpNet>,
    session: Duration,
    oidc: Option<Oidc>,
    failures: Failures,
}

impl Gate {
    /// A gate for a server that listens as the configuration says.
    ///
    /// # Errors
    /// [`AccessError::Open`] if anybody who reaches the server could do anything; those of the provider's settings and of the database.
    pub async fn new(client: Client, config: AccessConfig) -> Result<Self, AccessError> {
        let is_loopback = config.address.ip().to_canonical().is_loopback();
        let oidc = config.oidc.map(Oidc::new).transpose()?;
        if !is_loopback && oidc.is_none() && !client.has_tokens().await? {
            return Err(AccessError::Open {
                address: config.address,
                namespace: client.namespace().to_owned(),
            });
        }
        let shared = Shared {
            client,
            tls: config.tls,
            open_on_loopback: is_loopback && oidc.is_none(),
            trusted_proxies: config.trusted_proxies,
            session: config.session,
            oidc,
            failures: Failures::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether everybody on this machine gets in, now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_open(&self) -> Result<bool, ClientError> {
        Ok(self.shared.open_on_loopback && !self.client().has_tokens().await?)
    }

    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }

    pub(super) fn session(&self) -> Duration {
        self.shared.session
    }

    pub(super) fn oidc(&self) -> Option<&Oidc> {
        self.shared.oidc.as_ref()
    }

    pub(super) fn failures(&self) -> &Failures {
        &self.shared.failures
    }

    /// Whether the server has TLS of its own.
    pub(crate) fn has_tls(&self) -> bool {
        self.shared.tls
    }

    /// The address that a request comes from: that of the connection, or what a trusted proxy says of it.
    pub(super) fn address(&self, request: &Request) -> IpAddr {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
            peer.0.ip().to_canonical()
        });
        if !self.is_trusted(peer) {
            return peer;
        }
        // The last one that no trusted proxy has: what stands before it anybody may have written.
        let forwarded = request.headers().get_all("x-forwarded-for").into_iter();
        let forwarded: Vec<IpAddr> = forwarded
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|address| address.trim().parse().ok())
            .collect();
        let first = forwarded.into_iter().rev();
        let mut first = first.map(|address| address.to_canonical());
        first
            .find(|address| !self.is_trusted(*address))
            .unwrap_or(peer)
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        let mut trusted = self.shared.trusted_proxies.iter();
        trusted.any(|network| network.contains(&address))
    }

    /// Whether nobody between the browser and us can read what they say.
    pub(super) fn is_secure(&self, request: &Request) -> bool {
        if let Some(IsSecure(known)) = request.extensions().get() {
            return *known;
        }
        let proxied = || {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
            let is_trusted = peer.is_some_and(|peer| self.is_trusted(peer.0.ip().to_canonical()));
            let proto = request.headers().get("x-forwarded-proto");
            is_trusted && proto.is_some_and(|proto| proto.as_bytes() == b"https")
        };
        self.shared.tls || proxied() || self.oidc().is_some_and(Oidc::is_public_tls)
    }

    /// What a request shows of who sends it.
    fn shown(&self, request: &Request) -> Shown {
        let headers = request.headers();
        let authorization = headers.get(header::AUTHORIZATION);
        let token = authorization.map(|authorization| {
            let authorization = authorization.to_str().unwrap_or_default();
            bearer(authorization).unwrap_or_default().to_owned()
        });
        let session = cookies::value(headers, SESSION, self.is_secure(request));
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        Shown {
            token,
            session: session.map(str::to_owned),
            is_here: self.shared.open_on_loopback && self.address(request).is_loopback(),
            is_local_name: host.is_none_or(guard::is_local_name),
        }
    }

    /// Who that is.
    async fn know(&self, shown: &Shown) -> Result<Knowledge, ClientError> {
        if let Some(token) = &shown.token {
            return Ok(match self.client().know_token(token).await? {
                Some(known) => Knowledge::Caller(self.caller(known, Via::Token)),
                // Never as somebody else: whoever shows a token means it.
                None => Knowledge::BadToken,
            });
        }
        if let Some(cookie) = &shown.session
            && let Some(known) = self.client().know_session(cookie).await?
        {
            let via = match known.is_token {
                true => Via::Session,
                false => Via::Oidc,
            };
            return Ok(Knowledge::Caller(self.caller(known, via)));
        }
        if shown.is_here && self.is_open().await? {
            // A page of another site may give this address a name of its own, and read what is answered.
            if !shown.is_local_name {
                return Ok(Knowledge::BadHost);
            }
            let (who, all) = ("local".to_owned(), Access::all());
            let local = Caller::new(self.client(), who, Via::Local, all);
            return Ok(Knowledge::Caller(local));
        }
        Ok(Knowledge::Nobody)
    }

    /// Ready once whoever has shown this may not get in any more.
    async fn gone(self, shown: Shown) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            // A database that is away for a moment ends no stream.
            match self.know(&shown).await {
                Ok(Knowledge::Caller(_)) | Err(_) => {}
                Ok(_) => return,
            }
        }
    }

    fn caller(&self, known: Known, via: Via) -> Caller {
        Caller::new(self.client(), known.who, via, known.access)
    }

    /// Notes what somebody did or wanted to do.
    pub(super) async fn note(&self, deed: Deed) {
        let action = deed.action.clone();
        if let Err(error) = self.client().note_deed(deed).await {
            // What was done is done. The log has what the audit has not.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                action,
                "not noted in the audit"
            );
        }
    }
}

/// `Bearer …`
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// What a request shows of who sends it.
#[derive(Debug, Clone)]
struct Shown {
    /// The token in its header; empty if what is there is none.
    token: Option<String>,
    /// The cookie of a session.
    session: Option<String>,
    /// Whether it comes from the machine of a server that is open to whoever is there while there are no tokens.
    is_here: bool,
    /// Whether it asks for a name of this machine.
    is_local_name: bool,
}

/// What is known of who asks.
enum Knowledge {
    Caller(Caller),
    Nobody,
    /// They have shown a token that is none, or none any more.
    BadToken,
    /// They ask for a name that is not this machine's.
    BadHost,
}

/// Notes what is asked for within a request that is none of the operations itself.
#[derive(Clone)]
pub(crate) struct Auditor {
    gate: Gate,
    address: IpAddr,
}

impl Auditor {
    /// Notes what somebody did or wanted to do.
    pub(crate) async fn note(
        &self,
        caller: &Caller,
        action: &str,
        target: Option<String>,
        status: StatusCode,
    ) {
        let deed = Deed {
            who: Some(caller.who.clone()),
            via: caller.via,
            role: Some(caller.access.role),
            action: action.to_owned(),
            target,
            outcome: outcome(status),
            status: status.as_u16(),
            address: Some(self.address.to_string()),
        };
        self.gate.note(deed).await;
    }
}

/// What a request is about where its path does not say it, for the audit: whoever has read its body says so, before anything is done or
/// refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct About(Arc<Mutex<Option<String>>>);

impl About {
    /// It is about this: a workflow, a package, a schedule, a run.
    pub(crate) fn is(&self, target: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.into());
    }

    fn told(&self) -> Option<String> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.take()
    }
}

/// What became of what was answered with this status.
fn outcome(status: StatusCode) -> DeedOutcome {
    match status {
        status if status.is_server_error() => DeedOutcome::Failed,
        status if status.is_client_error() => DeedOutcome::Refused,
        _ => DeedOutcome::Done,
    }
}

/// What an operation takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: signing in, and what pages are made of.
    Nothing,
    /// This role. The name is for the audit.
    Role(Role, String),
}

/// Whether nobody on the way can read a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsSecure(pub(crate) bool);

/// Notes where a request comes from, and whether anybody on the way can read it.
pub(crate) async fn located(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Response {
    let (address, secure) = (gate.address(&request), gate.is_secure(&request));
    let extensions = request.extensions_mut();
    extensions.insert(IsSecure(secure));
    // Whoever is behind a proxy that is trusted is who asks, for whatever goes by addresses.
    extensions.insert(ConnectInfo(SocketAddr::new(address, 0)));
    next.run(request).await
}

/// Lets through whoever may.
pub(crate) async fn guarded(
    State(gate): State<Gate>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    // Whatever there is not, there is for nobody.
    let Some(matched) = matched else {
        return next.run(request).await;
    };
    let path = matched.as_str().to_owned();
    let method = request.method().clone();
    let is_tools = path == mcp::PATH;
    let is_page = routes::is_page(&path);
    let need = routes::need(&method, &path, request.uri().path());
    let shown = gate.shown(&request);
    let address = gate.address(&request);
    let known = match gate.know(&shown).await {
        Ok(known) => known,
        Err(error) => return routes::failed(is_page, error),
    };
    let changes = !matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
    let (role, action) = match need {
        Need::Nothing => {
            if let Knowledge::Caller(caller) = known {
                request.extensions_mut().insert(caller);
            }
            return next.run(request).await;
        }
        Need::Role(role, action) => (role, action),
    };
    let mut deed = Deed {
        who: None,
        via: Via::Nobody,
        role: None,
        action,
        target: target(&path, request.uri().path()),
        outcome: DeedOutcome::Refused,
        status: 0,
        address: Some(address.to_string()),
    };
    let refusal = match known {
        Knowledge::Caller(caller) if caller.may(role) => {
            deed.who = Some(caller.who.clone());
            deed.via = caller.via;
            deed.role = Some(caller.access.role);
            let extensions = request.extensions_mut();
            // Whoever is on this machine has shown nothing, and is who they say.
            if caller.via != Via::Local {
                extensions.insert(Principal(caller.who.clone()));
            }
            extensions.insert(caller);
            let about = About::default();
            extensions.insert(about.clone());
            if is_tools {
                let gate = gate.clone();
                extensions.insert(Auditor { gate, address });
            }
            let response = next.run(request).await;
            // Most calls of tools only look; those that do not are noted one by one.
            if changes && !is_tools {
                if deed.target.is_none() {
                    deed.target = made(&response).or_else(|| about.told());
                }
                deed.status = response.status().as_u16();
                deed.outcome = outcome(response.status());
                gate.note(deed).await;
            }
            return watched(gate, shown, response);
        }
        Knowledge::Caller(caller) => {
            let problem = Problem::new(
                "forbidden",
                format!(
                    "{} has the role {}, and this takes {role}",
                    caller.who, caller.access.role
                ),
            );
            deed.who = Some(caller.who);
            deed.via = caller.via;
            deed.role = Some(caller.access.role);
            problem.hint(format!("use a token that was made with --role {role}"))
        }
        Knowledge::BadHost => Problem::new(
            "bad-host",
            "this server has no token and answers to the names of this machine alone: expected localhost or an address",
        ),
        Knowledge::BadToken => Problem::new(
            "unauthenticated",
            "the token in the header Authorization is none, or was revoked, or has expired",
        )
        .hint("`dacapo token list` shows the tokens that there are"),
        Knowledge::Nobody => Problem::new("unauthenticated", "this takes a token").hint(
            "send the header Authorization: Bearer dcp_…; `dacapo token create` makes a token",
        ),
    };
    let is_unknown = refusal.code() == "unauthenticated";
    let mut response = if is_unknown && is_page && !changes {
        sign_in_first(&request)
    } else {
        routes::refused(is_page, refusal)
    };
    if is_unknown && !is_page {
        let challenge = axum::http::HeaderValue::from_static("Bearer realm=\"dacapo\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    if changes {
        deed.status = response.status().as_u16();
        // Whoever is nobody may come as often as they like, and would fill the audit.
        if deed.who.is_some() || gate.failures().wait(address).is_none() {
            if deed.who.is_none() {
                gate.failures().note(address);
            }
            gate.note(deed).await;
        }
    }
    response
}

/// An answer that goes on and on, for as long as whoever asked for it may get in.
fn watched(gate: Gate, shown: Shown, response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        return response;
    }
    let gone = Box::pin(gate.gone(shown));
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(gone)))
}

/// The page to sign in on, which leads back to the one that was asked for.
fn sign_in_first(request: &Request) -> Response {
    // A part of a page would be put into it; the browser is told to go there as a whole.
    if request.headers().contains_key("hx-request") {
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", "/sign-in")]).into_response();
    }
    let wanted = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let next: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
    Redirect::to(&format!("/sign-in?next={next}")).into_response()
}

/// What stands in a path in the places of its parameters.
fn target(template: &str, path: &str) -> Option<String> {
    let mut found = Vec::new();
    let mut parts = path.split('/');
    for part in template.split('/') {
        let here = parts.next();
        if part.starts_with("{*") {
            let rest = here.into_iter().chain(parts.by_ref());
            found.push(rest.collect::<Vec<_>>().join("/"));
        } else if part == "{action}" {
            // It is in the name of what was done.
        } else if part.starts_with('{') {
            found.extend(here.map(str::to_owned));
        }
    }
    let found = found.join("/");
    let decoded = percent_decoded(&found);
    (!decoded.is_empty()).then_some(decoded)
}

/// What an answer says that was made: the end of the address where it is.
fn made(response: &Response) -> Option<String> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let path = location.split('?').next()?;
    let last = path.rsplit('/').next().filter(|last| !last.is_empty())?;
    Some(percent_decoded(last))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |at: usize| {
            after
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_stands_in_the_place_of_parameters() {
        for (template, path, expected) in [
            (
                "/api/v1/runs/{run}/cancel",
                "/api/v1/runs/7/cancel",
                Some("7"),
            ),
            ("/api/v1/runs", "/api/v1/runs", None),
            (
                "/d/{package}/{number}",
                "/d/shop%3Aorders/3",
                Some("shop:orders/3"),
            ),
            ("/runs/{id}/do/{action}", "/runs/7/do/pause", Some("7")),
            (
                "/w/{*name}",
                "/w/shop:orders/api.place",
                Some("shop:orders/api.place"),
            ),
        ] {
            assert_eq!(target(template, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_token_stands_behind_its_scheme() {
        assert_eq!(bearer("Bearer dcp_x"), Some("dcp_x"));
        assert_eq!(bearer("bearer  dcp_x "), Some("dcp_x"));
        assert_eq!(bearer("Basic dcp_x"), None);
        assert_eq!(bearer("dcp_x"), None);
    }
}
