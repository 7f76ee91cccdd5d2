//! A request and its response as plain data.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dacapo_model::{CARRYING_HEADERS, Failure, PLACEHOLDER_START};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use memchr::memmem;

use crate::body::Body;
use crate::client::{AbortOnDrop, Outbound, Sending, broken_off};
use crate::grants::{Grants, Refused, Target};
use crate::over::StepOver;
use crate::{BAD_REQUEST, TOO_LARGE};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// In capitals.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Names and values, which may hold placeholders for secrets.
    pub headers: Vec<(String, String)>,
    /// None: no body.
    pub body: Option<Vec<u8>>,
    /// How long it may take together with its response.
    pub timeout: Option<Duration>,
    /// How long the body of the response may be, in bytes.
    pub response_max_bytes: Option<u64>,
    /// How many redirects are followed, of GET and HEAD requests; others are answered as they come.
    pub redirects_max: u32,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body as it came; nothing is unpacked.
    pub body: Vec<u8>,
}

impl Outbound {
    /// Sends a request, follows its redirects, and reads the whole response. Each redirect is checked like a request of its own. Dropped,
    /// it is broken off.
    ///
    /// # Errors
    /// Nothing grants it, a secret is missing, or there is no response within its limits.
    pub async fn fetch(
        &self,
        grants: &Arc<Grants>,
        request: FetchRequest,
        over: &StepOver,
    ) -> Result<FetchResponse, Refused> {
        let sending = self.sending(grants, request.timeout, request.response_max_bytes, over);
        let (outbound, grants) = (self.clone(), Arc::clone(grants));
        let task = self
            .io()
            .spawn(async move { follow(&outbound, &grants, request, sending).await });
        AbortOnDrop(task).wait().await.unwrap_or_else(|_| {
            Err(Refused::new(
                crate::UNREACHABLE,
                "the request was broken off",
            ))
        })
    }
}

async fn follow(
    outbound: &Outbound,
    grants: &Grants,
    request: FetchRequest,
    sending: Sending,
) -> Result<FetchResponse, Refused> {
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|method| {
            dacapo_model::check_method(method.as_str()).is_ok() && method != Method::CONNECT
        })
        .ok_or_else(|| {
            let message = format!(
                "method of a request: expected one in capitals, such as GET, got `{}`",
                request.method
            );
            Refused::new(BAD_REQUEST, message)
        })?;
    let mut headers = headers(&request.headers)?;
    let body = Bytes::from(request.body.unwrap_or_default());
    let may_follow = matches!(method, Method::GET | Method::HEAD);
    let mut target = grants.target(&request.url, method.as_str())?;
    let mut left = request.redirects_max;
    loop {
        let mut sent = headers.clone();
        outbound.fill_headers(&mut sent, grants, &target)?;
        let mut message = Request::new(whole(body.clone()));
        *message.method_mut() = method.clone();
        *message.uri_mut() = target.uri.clone();
        *message.headers_mut() = sent;
        let response = outbound
            .send(&target, message, sending.clone())
            .await
            .map_err(|failure| told(grants, failure))?;
        let location = response.headers().get(header::LOCATION);
        let Some(location) = location.filter(|_| may_follow && leads_on(response.status())) else {
            return read(response, &target, grants, sending.response_max_bytes).await;
        };
        let Some(fewer) = left.checked_sub(1) else {
            if request.redirects_max == 0 {
                return read(response, &target, grants, sending.response_max_bytes).await;
            }
            let message = format!(
                "{} led on more than {} times",
                target.host, request.redirects_max
            );
            return Err(told(grants, Failure::new(BAD_REQUEST, message)));
        };
        left = fewer;
        let next = location
            .to_str()
            .ok()
            .and_then(|location| target.url.join(location).ok())
            .ok_or_else(|| {
                let message = format!("{} leads on to something that is no URL", target.host);
                told(grants, Failure::new(BAD_REQUEST, message))
            })?;
        // A URL in its normal form may not show a secret as it is known, but still tell it.
        let tells = grants.hide(next.as_str()) != next.as_str()
            || grants.hide_bytes(location.as_bytes().to_vec()) != location.as_bytes();
        let from = target;
        target = grants
            .find(next, method.as_str())
            .map_err(|refused| match refused {
                Refused::Failure(failure) => {
                    let why = if tells {
                        "that is refused, and where it leads is not told, since there is a secret in it"
                    } else {
                        failure.message.as_str()
                    };
                    let message = format!("{} leads on: {why}", from.host);
                    told(grants, Failure { message, ..failure })
                }
                other => other,
            })?;
        if target.url.origin() != from.url.origin() {
            drop_credentials(&mut headers);
        }
    }
}

/// What was meant for one host is not for another one.
fn drop_credentials(headers: &mut HeaderMap) {
    let personal: Vec<HeaderName> = headers
        .iter()
        .filter(|(name, value)| {
            [header::AUTHORIZATION, header::COOKIE].contains(name)
                || memmem::find(value.as_bytes(), PLACEHOLDER_START.as_bytes()).is_some()
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in personal {
        headers.remove(name);
    }
}

fn leads_on(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn whole(body: Bytes) -> Body {
    Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Refused> {
    let bad = |expected: &str, name: &str| {
        Refused::new(
            BAD_REQUEST,
            format!("header of a request: expected {expected}, got `{name}`"),
        )
    };
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let parsed: HeaderName = name
            .parse()
            .map_err(|_| bad("the name of a header", name))?;
        if CARRYING_HEADERS.contains(&parsed.as_str()) {
            return Err(bad("none of those that say how a message is carried", name));
        }
        let value =
            HeaderValue::from_str(value).map_err(|_| bad("a value that HTTP can carry", name))?;
        headers
            .try_append(parsed, value)
            .map_err(|_| bad("fewer headers", name))?;
    }
    Ok(headers)
}

async fn read(
    response: http::Response<Body>,
    target: &Target,
    grants: &Grants,
    max: u64,
) -> Result<FetchResponse, Refused> {
    let (head, mut body) = response.into_parts();
    let announced = http_body::Body::size_hint(&body).lower();
    if announced > max {
        let message = format!(
            "the response of {} is {announced} bytes long, the limit is {max} bytes",
            target.host
        );
        return Err(Refused::new(TOO_LARGE, message));
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| told(grants, broken_off(&target.host, &error)))?;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.as_str().to_owned(), grants.hide(value).into_owned())
    });
    Ok(FetchResponse {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: grants.hide_bytes(bytes),
    })
}

/// Whatever a failure quotes, it is no secret.
fn told(grants: &Grants, failure: Failure) -> Refused {
    let message = grants.hide(failure.message.as_str()).into_owned();
    Refused::Failure(Failure { message, ..failure })
}
