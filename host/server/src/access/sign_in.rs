//! Signing in and out with a browser.

use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use dacapo_client::{ClientError, Deed, DeedOutcome, Role, Via};

use super::gate::SESSION;
use super::oidc::{Begun, OidcError};
use super::{Caller, Gate, cookies};
use crate::Problem;
use crate::dashboard::sign_in_page;
use crate::guard::is_cross_site;

/// The cookie of a sign-in that is under way at the provider.
const BEGUN: &str = "dacapo-sign-in";

/// How long somebody may take at the provider.
const BEGUN_LASTS: u64 = 600;

/// The longest form, in bytes.
const FORM_BYTES_MAX: usize = 16 << 10;

/// The pages and the forms for it.
pub(crate) fn sign_in_routes(gate: Gate) -> Router {
    Router::new()
        .route("/sign-in", get(page).post(with_token))
        .route("/sign-in/oidc", get(begin))
        .route("/sign-in/oidc/callback", get(finish))
        .route("/sign-out", post(sign_out))
        .with_state(gate)
}

/// The value of a field of a form or a query.
fn field(text: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(text)
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

fn of_query(request: &Request, name: &str) -> Option<String> {
    field(request.uri().query().unwrap_or_default().as_bytes(), name)
}

/// A page of ours, and no other site's: where somebody wanted to go.
fn own_page(next: Option<String>) -> String {
    let is_ours = |next: &String| {
        let mut letters = next.chars();
        letters.next() == Some('/')
            && !matches!(letters.next(), Some('/' | '\\'))
            && !next.chars().any(char::is_control)
            && !next.starts_with("/sign-")
    };
    next.filter(is_ours).unwrap_or_else(|| "/".to_owned())
}

async fn page(State(gate): State<Gate>, request: Request) -> Response {
    let next = own_page(of_query(&request, "next"));
    let caller = request.extensions().get::<Caller>();
    if caller.is_some() {
        return Redirect::to(&next).into_response();
    }
    shown(&gate, &next, None, StatusCode::OK)
}

fn shown(gate: &Gate, next: &str, error: Option<&str>, status: StatusCode) -> Response {
    let provider = gate.oidc().map(|oidc| oidc.name());
    let mut response = sign_in_page(next, provider, error);
    *response.status_mut() = status;
    response
}

async fn with_token(State(gate): State<Gate>, request: Request) -> Response {
    if is_cross_site(request.headers()) {
        return cross_site();
    }
    let (address, secure) = (gate.address(&request), gate.is_secure(&request));
    if let Some(wait) = gate.failures().wait(address) {
        return slow_down(&gate, wait);
    }
    let Ok(form) = to_bytes(request.into_body(), FORM_BYTES_MAX).await else {
        return Problem::bad_request("the form is longer than 16 KiB, or broke off")
            .into_response();
    };
    let next = own_page(field(&form, "next"));
    let secret = field(&form, "secret").unwrap_or_default();
    let begun = gate
        .client()
        .begin_session(secret.trim(), gate.session())
        .await;
    let mut deed = signing_in(address.to_string());
    match begun {
        Ok(Some((cookie, known))) => {
            deed.who = Some(known.who);
            deed.via = Via::Session;
            deed.role = Some(known.access.role);
            signed_in(&gate, deed, &cookie, secure, &next).await
        }
        Ok(None) => {
            gate.failures().note(address);
            deed.status = 401;
            gate.note(deed).await;
            let error = "This is no token, or it was revoked, or it has expired.";
            shown(&gate, &next, Some(error), StatusCode::UNAUTHORIZED)
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn begin(State(gate): State<Gate>, request: Request) -> Response {
    let Some(oidc) = gate.oidc() else {
        return Problem::new("not-found", "this server knows no provider").into_response();
    };
    let next = own_page(of_query(&request, "next"));
    let secure = gate.is_secure(&request);
    match oidc.begin(next).await {
        Ok((url, begun)) => {
            let cookie = cookies::set(BEGUN, &begun.to_cookie(), BEGUN_LASTS, secure);
            with_cookie(Redirect::to(&url).into_response(), cookie)
        }
        Err(error) => not_signed_in(&gate, &error),
    }
}

async fn finish(State(gate): State<Gate>, request: Request) -> Response {
    let Some(oidc) = gate.oidc() else {
        return Problem::new("not-found", "this server knows no provider").into_response();
    };
    let (address, secure) = (gate.address(&request), gate.is_secure(&request));
    if let Some(wait) = gate.failures().wait(address) {
        return slow_down(&gate, wait);
    }
    let begun = cookies::value(request.headers(), BEGUN, secure).and_then(Begun::from_cookie);
    let state = of_query(&request, "state").unwrap_or_default();
    let outcome = match (begun, of_query(&request, "code")) {
        (Some(begun), Some(code)) => {
            let next = begun.next.clone();
            let access = oidc.finish(begun, &state, code).await;
            access.map(|(who, access)| (who, access, next))
        }
        (None, _) => Err(OidcError::Refused(
            "no sign-in is under way in this browser: begin again".to_owned(),
        )),
        (_, None) => {
            let word = of_query(&request, "error").unwrap_or_else(|| "no code".to_owned());
            let word: String = word.chars().take(100).collect();
            Err(OidcError::Refused(format!("the provider says: {word}")))
        }
    };
    let mut deed = signing_in(address.to_string());
    let (who, access, next) = match outcome {
        Ok(known) => known,
        Err(error) => {
            if let OidcError::Nobody(who) = &error {
                deed.who = Some(who.clone());
                deed.via = Via::Oidc;
            }
            deed.status = 403;
            gate.failures().note(address);
            gate.note(deed).await;
            return not_signed_in(&gate, &error);
        }
    };
    let client = gate.client();
    match client.begin_session_of(&who, &access, gate.session()).await {
        Ok(cookie) => {
            deed.who = Some(who);
            deed.via = Via::Oidc;
            deed.role = Some(access.role);
            let response = signed_in(&gate, deed, &cookie, secure, &own_page(Some(next))).await;
            with_cookie(response, cookies::set(BEGUN, "", 0, secure))
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn sign_out(State(gate): State<Gate>, request: Request) -> Response {
    if is_cross_site(request.headers()) {
        return cross_site();
    }
    let secure = gate.is_secure(&request);
    let ended: Result<(), ClientError> = match cookies::value(request.headers(), SESSION, secure) {
        Some(cookie) => gate.client().end_session(cookie).await,
        None => Ok(()),
    };
    if let Err(error) = ended {
        return Problem::from(error).into_response();
    }
    if let Some(caller) = request.extensions().get::<Caller>() {
        let mut deed = signing_in(gate.address(&request).to_string());
        deed.action = "sign-out".to_owned();
        deed.who = Some(caller.who.clone());
        deed.via = caller.via;
        deed.role = Some(caller.access.role);
        deed.outcome = DeedOutcome::Done;
        deed.status = 303;
        gate.note(deed).await;
    }
    let response = Redirect::to("/sign-in").into_response();
    with_cookie(response, cookies::set(SESSION, "", 0, secure))
}

fn signing_in(address: String) -> Deed {
    Deed {
        who: None,
        via: Via::Nobody,
        role: None::<Role>,
        action: "sign-in".to_owned(),
        target: None,
        outcome: DeedOutcome::Refused,
        status: 0,
        address: Some(address),
    }
}

async fn signed_in(
    gate: &Gate,
    mut deed: Deed,
    cookie: &str,
    secure: bool,
    next: &str,
) -> Response {
    deed.outcome = DeedOutcome::Done;
    deed.status = 303;
    gate.note(deed).await;
    let response = Redirect::to(next).into_response();
    let seconds = gate.session().as_secs();
    with_cookie(response, cookies::set(SESSION, cookie, seconds, secure))
}

fn with_cookie(
    mut response: Response,
    cookie: Result<axum::http::HeaderValue, axum::http::header::InvalidHeaderValue>,
) -> Response {
    match cookie {
        Ok(cookie) => {
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(_) => {
            Problem::bad_request("what was to be kept in the browser cannot be").into_response()
        }
    }
}

fn not_signed_in(gate: &Gate, error: &OidcError) -> Response {
    if matches!(error, OidcError::Provider { .. }) {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "nobody can sign in"
        );
    }
    // What a provider says of itself is for whoever runs the server.
    let (text, status) = match error {
        OidcError::Provider { issuer, .. } => (
            format!(
                "The provider {issuer} does not answer as it should; the server's log says more."
            ),
            StatusCode::BAD_GATEWAY,
        ),
        error => (
            format!("You were not signed in: {error}."),
            StatusCode::FORBIDDEN,
        ),
    };
    shown(gate, "/", Some(&text), status)
}

fn slow_down(gate: &Gate, wait: Duration) -> Response {
    let seconds = wait.as_secs().max(1);
    let error = format!("Too many attempts from your address: try again in {seconds} s.");
    let mut response = shown(gate, "/", Some(&error), StatusCode::TOO_MANY_REQUESTS);
    if let Ok(after) = seconds.to_string().parse() {
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    response
}

fn cross_site() -> Response {
    Problem::new(
        "cross-site",
        "a page of another site asks this server to change something",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_site() {
        let page = |next: &str| own_page(Some(next.to_owned()));
        assert_eq!(page("/runs?status=failed"), "/runs?status=failed");
        for next in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "/a\r\nb",
            "/sign-out",
            "\\/evil.example",
        ] {
            assert_eq!(page(next), "/", "{next:?}");
        }
        assert_eq!(own_page(None), "/");
    }
}
