//! Who visits, and whether what they send was sent from a page of ours. Everything that changes state comes through here. Whether they may is
//! decided before ([`access`](crate::access)).

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dacapo_client::Role;
use rand::Rng;
use url::form_urlencoded;

use crate::Caller;
use crate::access::IsSecure;

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

    /// Whether they see payloads and logs.
    pub(crate) fn sees_payloads(&self) -> bool {
        self.caller.sees_payloads()
    }

    /// Whether they may see who did what.
    pub(crate) fn sees_audit(&self) -> bool {
        self.caller.may(Role::Admin) && self.caller.client().check_sees_all().is_ok()
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
    let known = token_of(request.headers());
    let is_new = known.is_none();
    let token = known.unwrap_or_else(new_token);
    // Files are for everybody, and need no visitor.
    let caller = request.extensions().get::<Caller>().cloned();
    let IsSecure(secure) = request
        .extensions()
        .get()
        .copied()
        .unwrap_or(IsSecure(false));
    if let Some(caller) = caller {
        let token = token.clone();
        request.extensions_mut().insert(Visitor { token, caller });
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if is_safe || is_from_here(request.headers()) {
        next.run(request).await
    } else {
        Oops::refused("the request was sent by a page of another site").into_response()
    };
    let headers = response.headers_mut();
    let is_page = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict{secure}");
    if is_new
        && is_page
        && let Ok(cookie) = HeaderValue::from_str(&cookie)
    {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

/// Whether a browser says that one of our pages sent this. What is no browser says nothing, and does not know the token.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    if let Some(site) = text(&HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    match (text(&ORIGIN), text(&HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, of)| of.eq_ignore_ascii_case(host)),
        (Some(_), None) => false,
    }
}

fn token_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).into_iter();
    cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, value)| {
            *name == COOKIE_NAME
                && value.len() == 32
                && value.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
        .map(|(_, value)| value.to_owned())
}

fn new_token() -> String {
    format!(
        "{:032x}",
        rand::rng().next_u64() as u128 | (u128::from(rand::rng().next_u64()) << 64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_another_site_sends_is_known_by_what_the_browser_says() {
        for (pairs, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "http://a:1"), ("host", "a:1")], true),
            (&[("origin", "http://b:1"), ("host", "a:1")], false),
            (&[("origin", "null"), ("host", "a:1")], false),
            (&[("origin", "http://a:1")], false),
            (&[("host", "a:1")], true),
        ] {
            assert_eq!(is_from_here(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_token_is_taken_only_in_its_form() {
        let token = new_token();
        assert_eq!(token.len(), 32);
        let of = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
            token_of(&headers)
        };
        assert_eq!(of(&format!("a=b; dacapo-form={token}")), Some(token));
        assert_eq!(of("dacapo-form=\"><script>"), None);
        assert_eq!(of("dacapo-form="), None);
    }
}
