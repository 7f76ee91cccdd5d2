//! Who visits, and whether what they send was sent from a page of ours. Everything that changes state comes through here. Whether they may is
//! decided before ([`access`](crate::access)).

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dacapo_client::Role;
use rand::Rng;
use url::form_urlencoded;

use crate::Caller;
use crate::access::{IsSecure, cookies};
use crate::guard::is_cross_site;

use super::error::Oops;
use super::query::Query;

/// The cookie whose value each form repeats: another site can make a browser send the one, but cannot know it to write the other.
const COOKIE_NAME: &str = "dacapo-form";

/// The field that repeats it.
pub(crate) const TOKEN_FIELD: &str = "token";

/// The longest form, in bytes: a payload of a megabyte in which each byte is escaped, and what comes with it.
const FORM_BYTES_MAX: usize = 4 << 20;

/// Who looks at a page.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// What forms repeat.
    pub(crate) token: String,
    /// Who they are.
    caller: Caller,
}

impl Visitor {
    /// Who does what this visitor asks for, as runs and deployments keep it.
    pub(crate) fn who(&self) -> &str {
        &self.caller.who
    }

    /// Whether they may start and steer runs.
    pub(crate) fn may_operate(&self) -> bool {
        self.caller.may(Role::Operate)
    }

    /// Whether they may deal with deployments.
    pub(crate) fn may_deploy(&self) -> bool {
        self.caller.may(Role::Deploy)
    }

    /// Whether they see payloads and logs.
    pub(crate) fn sees_payloads(&self) -> bool {
        self.caller.sees_payloads()
    }

    /// Whether they may see who did what.
    pub(crate) fn sees_audit(&self) -> bool {
        self.caller.may(Role::Admin) && self.sees_all()
    }

    /// Whether they see what concerns all runs.
    pub(crate) fn sees_all(&self) -> bool {
        self.caller.sees_all()
    }

    /// Their name, if they have signed in and can sign out.
    pub(crate) fn signed_in(&self) -> Option<&str> {
        self.caller.is_signed_in().then_some(&*self.caller.who)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Oops> {
        let visitor = parts.extensions.get::<Self>();
        visitor
            .cloned()
            .ok_or_else(|| Oops::refused("the request did not come through the guard"))
    }
}

/// A form that was sent from one of our pages.
#[derive(Debug)]
pub(crate) struct Posted {
    /// Who sent it.
    pub(crate) visitor: Visitor,
    /// What it says.
    pub(crate) fields: Query,
}

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Oops;

    async fn from_request(request: Request, state: &S) -> Result<Self, Oops> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, state).await?;
        let kind = parts.headers.get(CONTENT_TYPE);
        let is_form = kind
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if !is_form {
            return Err(Oops::refused(
                "expected a form (application/x-www-form-urlencoded)",
            ));
        }
        let body = to_bytes(body, FORM_BYTES_MAX)
            .await
            .map_err(|_| Oops::refused("the form is longer than 4 MiB, or broke off"))?;
        let fields = Query::from_pairs(form_urlencoded::parse(&body).into_owned());
        if fields.get(TOKEN_FIELD) != Some(visitor.token.as_str()) {
            return Err(Oops::refused(
                "the form does not carry the token of this browser; go back, load the page anew and try again (cookies must be allowed)",
            ));
        }
        Ok(Self { visitor, fields })
    }
}

/// Stands before all pages: knows the visitor, and refuses what another site has sent.
pub(crate) async fn guard(mut request: Request, next: Next) -> Response {
    let IsSecure(secure) = request
        .extensions()
        .get()
        .copied()
        .unwrap_or(IsSecure(false));
    let known = token_of(request.headers(), secure);
    let is_new = known.is_none();
    let token = known.unwrap_or_else(new_token);
    // Files are for everybody, and need no visitor.
    let caller = request.extensions().get::<Caller>().cloned();
    if let Some(caller) = caller {
        let token = token.clone();
        request.extensions_mut().insert(Visitor { token, caller });
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if is_safe || !is_cross_site(request.headers()) {
        next.run(request).await
    } else {
        Oops::refused("the request was sent by a page of another site").into_response()
    };
    let headers = response.headers_mut();
    let is_page = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_new
        && is_page
        && let Ok(cookie) = cookies::set_strict(COOKIE_NAME, &token, secure)
    {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

fn token_of(headers: &HeaderMap, secure: bool) -> Option<String> {
    let token = cookies::value(headers, COOKIE_NAME, secure)?;
    let is_one = token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| token.to_owned())
}

fn new_token() -> String {
    format!(
        "{:032x}",
        rand::rng().next_u64() as u128 | (u128::from(rand::rng().next_u64()) << 64)
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::COOKIE;

    use super::*;

    #[test]
    fn a_token_is_taken_only_in_its_form() {
        let token = new_token();
        assert_eq!(token.len(), 32);
        let of = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
            token_of(&headers, false)
        };
        assert_eq!(of(&format!("a=b; dacapo-form={token}")), Some(token));
        assert_eq!(of("dacapo-form=\"><script>"), None);
        assert_eq!(of("dacapo-form="), None);
    }
}
